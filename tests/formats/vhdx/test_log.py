"""Logs that were not written back: what counts in them, and that a reader never writes."""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.formats.vhdx import VhdxDisk, new_vhdx, resize_vhdx
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.headers import read_header, write_header

MIB = 1 << 20
LOG = MIB
TABLE = 3 * MIB  # where our disks have the BAT


def entry(
    log_id: UUID,
    sequence: int,
    tail: int,
    *changes: tuple[int, bytes | int],
    flushed: int = 4 * MIB,
    last: int = 4 * MIB,
) -> bytes:
    """A log entry as MS-VHDX 2.3.1 has it, put together without the code under test. An int is a length of zeros."""
    descriptors, sectors = b"", b""
    for offset, what in changes:
        if isinstance(what, int):
            descriptors += b"zero" + bytes(4) + struct.pack("<QQQ", what, offset, sequence)
            continue
        descriptors += b"desc" + what[4092:] + what[:8] + struct.pack("<QQ", offset, sequence)
        sectors += b"data" + struct.pack("<I", sequence >> 32) + what[8:4092] + struct.pack("<I", sequence & 0xFFFFFFFF)
    head_size = -(-(64 + len(descriptors)) // 4096) * 4096
    length = head_size + len(sectors)
    head = b"loge" + struct.pack("<IIIQII", 0, length, tail, sequence, len(changes), 0) + log_id.bytes_le
    whole = bytearray((head + struct.pack("<QQ", flushed, last) + descriptors).ljust(head_size, b"\0") + sectors)
    whole[4:8] = struct.pack("<I", crc32c(whole))
    return bytes(whole)


def announce(path: Path, log_id: UUID) -> None:
    """Let the header that counts name the log."""
    data = bytearray(path.read_bytes()[: MIB // 4])
    where = max((0x10000, 0x20000), key=lambda place: struct.unpack_from("<Q", data, place + 8)[0])
    data[where + 48 : where + 64] = log_id.bytes_le
    data[where + 4 : where + 8] = bytes(4)
    data[where + 4 : where + 8] = struct.pack("<I", crc32c(data[where : where + 4096]))
    put(path, where, bytes(data[where : where + 4096]))


def put(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def table_with(path: Path, *entries: tuple[int, int]) -> bytes:
    """The first sector of the BAT with other entries."""
    with path.open("rb") as file:
        file.seek(TABLE)
        sector = bytearray(file.read(4096))
    for number, value in entries:
        struct.pack_into("<Q", sector, number * 8, value)
    return bytes(sector)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A dynamic disk of 8 MiB with one block, and one behind it that nothing refers to."""
    path = tmp_path / "disk.vhdx"
    with new_vhdx(path, 8 * MIB) as writer:
        writer.write(0, b"first" * 100)
    with path.open("r+b") as file:
        file.truncate(6 * MIB)
    put(path, 5 * MIB, b"second" * 100)
    return path


def test_a_log_is_applied_in_memory_and_the_file_stays_as_it_is(disk: Path) -> None:
    log_id = uuid4()
    put(disk, LOG, entry(log_id, 7, 0, (TABLE, table_with(disk, (3, 5 * MIB | 6)))))
    announce(disk, log_id)
    before = disk.read_bytes()
    with VhdxDisk.open(disk) as found:
        assert found.has_log
        assert found.read(3 * MIB, 600) == b"second" * 100
        assert found.read(0, 500) == b"first" * 100
    assert disk.read_bytes() == before


def test_qemu_applies_the_same_log_to_the_same_end(disk: Path, peer: Callable[[str], str]) -> None:
    log_id = uuid4()
    chance = random.Random(1)
    put(disk, LOG, entry(log_id, 7, 0, (TABLE, table_with(disk, (3, 5 * MIB | 6)))))
    data = chance.randbytes(4096)
    put(disk, LOG + 8192, entry(log_id, 8, 0, (5 * MIB + 8192, data), (4 * MIB, 8192)))
    announce(disk, log_id)
    with VhdxDisk.open(disk) as found:
        ours = found.read(0, found.size)
    done = subprocess.run(
        [peer("qemu-img"), "check", "-r", "all", str(disk)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done
    with VhdxDisk.open(disk) as found:
        assert not found.has_log
        assert found.read(0, found.size) == ours
    assert ours[:8192] == bytes(8192)
    assert ours[3 * MIB + 8192 : 3 * MIB + 12288] == data


def test_later_entries_cover_earlier_ones_and_the_log_goes_round(disk: Path) -> None:
    log_id = uuid4()
    first = entry(log_id, 7, MIB - 4096, (5 * MIB, b"a" * 4096), (5 * MIB + 4096, b"b" * 4096))
    put(disk, LOG + MIB - 4096, first[:4096])
    put(disk, LOG, first[4096:])
    put(disk, LOG + 8192, entry(log_id, 8, MIB - 4096, (5 * MIB + 4096, 4096)))
    put(
        disk,
        LOG + 12288,
        entry(log_id, 9, MIB - 4096, (TABLE, table_with(disk, (1, 5 * MIB | 6)))),
    )
    announce(disk, log_id)
    with VhdxDisk.open(disk) as found:
        assert found.read(MIB, 3 * 4096) == b"a" * 4096 + bytes(8192)


def test_what_is_behind_the_tail_or_of_another_log_does_not_count(disk: Path) -> None:
    log_id = uuid4()
    put(disk, LOG, entry(log_id, 6, 0, (4 * MIB, b"x" * 4096)))  # done before: the tail is behind it
    put(disk, LOG + 8192, entry(log_id, 7, 8192, (4 * MIB, b"y" * 4096)))
    put(disk, LOG + 16384, entry(uuid4(), 8, 8192, (4 * MIB, b"z" * 4096)))
    announce(disk, log_id)
    with VhdxDisk.open(disk) as found:
        assert found.read(0, 4096) == b"y" * 4096


def test_an_entry_that_was_not_written_to_its_end_does_not_count(disk: Path) -> None:
    log_id = uuid4()
    put(disk, LOG, entry(log_id, 7, 0, (4 * MIB, b"y" * 4096)))
    torn = bytearray(entry(log_id, 8, 0, (4 * MIB, b"z" * 4096)))
    torn[5000] ^= 1
    put(disk, LOG + 8192, bytes(torn))
    announce(disk, log_id)
    with VhdxDisk.open(disk) as found:
        assert found.read(0, 4096) == b"y" * 4096


def test_a_log_lets_the_file_grow(disk: Path) -> None:
    log_id = uuid4()
    put(disk, LOG, entry(log_id, 7, 0, (TABLE, table_with(disk, (2, 6 * MIB | 6))), last=7 * MIB))
    announce(disk, log_id)
    with VhdxDisk.open(disk) as found:
        assert found.read(2 * MIB, MIB) == bytes(MIB)
    resize_vhdx(disk, 16 * MIB)  # writes it back
    assert disk.stat().st_size >= 7 * MIB
    with VhdxDisk.open(disk) as found:
        assert not found.has_log
        assert found.read(2 * MIB, MIB) == bytes(MIB)
        assert found.read(0, 500) == b"first" * 100


def test_a_change_writes_back_the_log_that_was_left(disk: Path, peer: Callable[[str], str]) -> None:
    log_id = uuid4()
    changes: list[tuple[int, bytes | int]] = [
        (4 * MIB, 4096),
        (4 * MIB + 4096, b"z" * 4096),
        (5 * MIB, 1 << 45),
    ]  # zeros far behind the end, too
    put(disk, LOG, entry(log_id, 7, 0, *changes))
    announce(disk, log_id)
    resize_vhdx(disk, 16 * MIB)
    assert disk.stat().st_size == 6 * MIB
    with VhdxDisk.open(disk) as found:
        assert (found.has_log, found.size) == (False, 16 * MIB)
        assert found.read(0, 12288) == bytes(4096) + b"z" * 4096 + bytes(4096)
    assert disk.read_bytes()[5 * MIB :] == bytes(MIB)
    done = subprocess.run([peer("qemu-img"), "check", str(disk)], check=False, capture_output=True, text=True)
    assert "No errors were found" in done.stdout


def test_a_log_too_large_to_be_read_is_refused(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.truncate(128 * MIB)
    announce(disk, uuid4())
    with DiskFile(disk, writable=True) as file_of_disk:
        header = read_header(file_of_disk)
        write_header(file_of_disk, replace(header, log_offset=6 * MIB, log_length=65 * MIB))
    with pytest.raises(LimitError, match="a log of"):
        VhdxDisk.open(disk)


def test_a_log_without_a_whole_sequence_is_an_error(disk: Path) -> None:
    announce(disk, uuid4())
    with pytest.raises(FormatError, match="no sequence of it is whole") as caught:
        VhdxDisk.open(disk)
    assert caught.value.kind == "vhdx-log"
    before = disk.read_bytes()
    with pytest.raises(FormatError):
        resize_vhdx(disk, 16 * MIB)
    assert disk.read_bytes() == before


def test_a_file_shorter_than_when_its_log_was_written_is_an_error(disk: Path) -> None:
    log_id = uuid4()
    put(disk, LOG, entry(log_id, 7, 0, (4 * MIB, 4096), flushed=7 * MIB, last=7 * MIB))
    announce(disk, log_id)
    with pytest.raises(FormatError, match="the file ends at"):
        VhdxDisk.open(disk)


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _resummed(data: bytes, offset: int, field: bytes) -> bytes:
    changed = bytearray(data)
    changed[offset : offset + len(field)] = field
    changed[4:8] = bytes(4)
    changed[4:8] = struct.pack("<I", crc32c(changed))
    return bytes(changed)


@pytest.mark.parametrize(
    ("offset", "field"),
    [
        (8, struct.pack("<I", 4096)),  # too short for its sectors
        (8, struct.pack("<I", 8191)),
        (8, struct.pack("<I", 2 << 20)),
        (16, struct.pack("<Q", 0)),
        (24, struct.pack("<I", 0xFFFFFFFF)),
        (24, struct.pack("<I", 2)),
        (56, struct.pack("<Q", 1 << 63)),
        (64, b"what"),
        (64 + 16, struct.pack("<Q", 4 * MIB + 1)),
        (64 + 16, struct.pack("<Q", 1 << 62)),
        (64 + 24, struct.pack("<Q", 8)),
        (4096, b"what"),
        (4096 + 4, struct.pack("<I", 9)),
        (8188, struct.pack("<I", 9)),
    ],
)
def test_an_entry_that_makes_no_sense_does_not_count(disk: Path, offset: int, field: bytes) -> None:
    log_id = uuid4()
    good = entry(log_id, 7, 0, (4 * MIB, b"y" * 4096))
    put(disk, LOG, _resummed(good, offset, field))
    announce(disk, log_id)
    with pytest.raises(FormatError, match="no sequence of it is whole"):
        VhdxDisk.open(disk)
    put(disk, LOG, good)
    with VhdxDisk.open(disk) as found:
        assert found.read(0, 4096) == b"y" * 4096


def test_entries_that_claim_all_of_the_log_over_and_over_are_refused_soon(disk: Path) -> None:
    log_id = uuid4()
    head = b"loge" + struct.pack("<IIIQII", 1, MIB, 0, 1, 0, 0) + log_id.bytes_le
    put(disk, LOG, head.ljust(4096, b"\0") * 256)
    announce(disk, log_id)
    with pytest.raises(LimitError):
        VhdxDisk.open(disk)


def test_zeros_without_end_take_no_memory(disk: Path) -> None:
    log_id = uuid4()
    put(disk, LOG, entry(log_id, 7, 0, (5 * MIB, 1 << 45)))
    announce(disk, log_id)
    with VhdxDisk.open(disk) as found:
        assert found.read(0, 500) == b"first" * 100


def test_a_damaged_log_never_makes_more_than_an_error(disk: Path) -> None:
    log_id = uuid4()
    good = entry(log_id, 7, 0, (TABLE, table_with(disk, (3, 5 * MIB | 6))), (4 * MIB, 4096))
    announce(disk, log_id)
    chance = random.Random(7)
    for _ in range(150):
        put(disk, LOG, _flipped(good, chance.randrange(len(good))))
        try:
            with VhdxDisk.open(disk) as found:
                found.read(0, found.size)
        except WclayerError:
            continue
        pytest.fail("a damaged entry was taken for a whole one")
