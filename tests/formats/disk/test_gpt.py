"""Partition tables: what Windows makes, what is read, and what is refused."""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wclayer.errors import FormatError, NotFoundError, UsageError, WclayerError
from wclayer.formats.disk.gpt import BASIC_DATA, MICROSOFT_RESERVED, pack_gpt, read_gpt, windows_gpt
from wclayer.formats.disk.partitions import Partition, find_partitions, ntfs_partition
from wclayer.formats.disk.window import Window, read_at

MIB = 1 << 20
SIZE = 64 * MIB
BOOT = b"\xebR\x90NTFS    "


def disk(size: int = SIZE, sector: int = 512) -> bytearray:
    data = bytearray(size)
    front, back = pack_gpt(windows_gpt(size, sector))
    data[: len(front)] = front
    data[-len(back) :] = back
    return data


SMALLEST = bytes(disk(18 * MIB))


def test_the_partitions_are_those_of_windows() -> None:
    gpt = read_gpt(io.BytesIO(disk()), SIZE)
    assert gpt is not None
    reserved, data = gpt.partitions
    assert (reserved.type, reserved.first, reserved.last) == (MICROSOFT_RESERVED, 34, 32767)
    assert (data.type, data.first, (data.last + 1) % 2048) == (BASIC_DATA, 32768, 0)
    assert SIZE // 512 - 34 - 2048 < data.last <= SIZE // 512 - 34
    assert not gpt.backup


@pytest.mark.parametrize("sector", [512, 4096])
def test_what_is_packed_is_read(sector: int) -> None:
    gpt = windows_gpt(SIZE, sector)
    front, back = pack_gpt(gpt)
    data = front + bytes(SIZE - len(front) - len(back)) + back
    assert read_gpt(io.BytesIO(data), SIZE, sector) == gpt
    assert find_partitions(io.BytesIO(data), SIZE, sector)[1].offset == 16 * MIB


def test_sgdisk_finds_no_problem(tmp_path: Path, peer: Callable[[str], str]) -> None:
    (tmp_path / "disk").write_bytes(disk())
    done = subprocess.run([peer("sgdisk"), "-v", str(tmp_path / "disk")], check=True, capture_output=True, text=True)
    assert "No problems found" in done.stdout


def test_a_table_of_sgdisk_is_read(tmp_path: Path, peer: Callable[[str], str]) -> None:
    path = tmp_path / "disk"
    with path.open("wb") as file:
        file.truncate(SIZE)
    command = [peer("sgdisk"), "-n", "1:2048:4095", "-n", "5:8192:0", "-c", "5:daten", "-t", "5:0700", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("rb") as raw:
        found = find_partitions(raw, SIZE)
    assert [(one.offset, one.name) for one in found] == [(MIB, ""), (4 * MIB, "daten")]
    assert found[1].type == "basic data"


def test_the_backup_serves_where_the_front_is_damaged() -> None:
    for place in (0x200 + 20, 0x400 + 3, 0x200):
        data = disk()
        data[place] ^= 0xFF
        found = read_gpt(io.BytesIO(data), SIZE)
        assert found is not None
        assert found.backup
        assert len(found.partitions) == 2


def test_a_table_damaged_in_both_places_is_an_error() -> None:
    data = disk()
    data[0x210] ^= 1
    data[-500] ^= 1
    with pytest.raises(FormatError, match="damaged") as caught:
        read_gpt(io.BytesIO(data), SIZE)
    assert caught.value.kind == "gpt"


@pytest.mark.parametrize(
    ("offset", "field"),
    [
        (12, struct.pack("<I", 91)),
        (12, struct.pack("<I", 0xFFFFFFFF)),
        (24, struct.pack("<Q", 2)),
        (72, struct.pack("<Q", 1 << 60)),
        (80, struct.pack("<I", 0xFFFFFFFF)),
        (80, struct.pack("<I", 0)),
        (84, struct.pack("<I", 0)),
        (84, struct.pack("<I", 129)),
        (84, struct.pack("<I", 1 << 30)),
        (48, struct.pack("<Q", 1 << 60)),
    ],
)
def test_a_header_that_makes_no_sense_is_not_believed(offset: int, field: bytes) -> None:
    data = disk()
    data[-512 + 16] ^= 1
    data[0x200 + offset : 0x200 + offset + len(field)] = field
    size = min(struct.unpack_from("<I", data, 0x20C)[0], 512)
    data[0x210:0x214] = bytes(4)
    data[0x210:0x214] = struct.pack("<I", crc32(data[0x200 : 0x200 + size]))
    if offset == 48:  # the partitions are then inside, and the end is not
        with pytest.raises(FormatError):
            read_gpt(io.BytesIO(data), SIZE)
        return
    with pytest.raises(FormatError):
        read_gpt(io.BytesIO(data), SIZE)


def test_an_empty_disk_has_no_partitions() -> None:
    assert find_partitions(io.BytesIO(bytes(MIB)), MIB) == ()
    assert find_partitions(io.BytesIO(b""), 0) == ()
    with pytest.raises(NotFoundError, match="no NTFS volume"):
        ntfs_partition(io.BytesIO(bytes(MIB)), MIB)


def test_a_disk_too_small_for_windows_is_refused() -> None:
    windows_gpt(18 * MIB)
    for size in (0, MIB, 17 * MIB):
        with pytest.raises(UsageError):
            windows_gpt(size)


def test_partitions_of_an_mbr_are_read_and_those_outside_are_not() -> None:
    data = bytearray(4 * MIB)
    data[510:512] = b"\x55\xaa"
    data[446:462] = struct.pack("<B3xB3xII", 0x80, 7, 2048, 2048)
    data[462:478] = struct.pack("<B3xB3xII", 0, 7, 4096, 0xFFFFFFFF)
    data[MIB : MIB + len(BOOT)] = BOOT
    assert find_partitions(io.BytesIO(data), len(data)) == (Partition(1, MIB, MIB, "mbr", "0x07"),)
    assert ntfs_partition(io.BytesIO(data), len(data)).offset == MIB


def test_the_largest_volume_is_taken_or_the_one_that_is_asked_for() -> None:
    data = bytearray(8 * MIB)
    data[510:512] = b"\x55\xaa"
    for number, (first, count) in enumerate(((2048, 2048), (4096, 6144))):
        place = 446 + 16 * number
        data[place : place + 16] = struct.pack("<B3xB3xII", 0, 7, first, count)
        data[first * 512 : first * 512 + len(BOOT)] = BOOT
    raw = io.BytesIO(data)
    assert ntfs_partition(raw, len(data)).number == 2
    assert ntfs_partition(raw, len(data), number=1).number == 1
    with pytest.raises(NotFoundError, match="partition 3"):
        ntfs_partition(raw, len(data), number=3)


def test_a_volume_may_fill_the_disk() -> None:
    data = BOOT.ljust(MIB, b"\0")
    assert find_partitions(io.BytesIO(data), MIB) == (Partition(1, 0, MIB, "none", "NTFS"),)


def test_a_window_is_a_file_of_its_own() -> None:
    window = Window(io.BytesIO(bytes(range(100))), 10, 20)
    assert window.readall() == bytes(range(10, 30))
    assert window.read(1) == b""
    assert window.seek(-5, io.SEEK_END) == 15
    assert window.read(100) == bytes(range(25, 30))
    assert (window.seek(50), window.read(1)) == (50, b"")
    with pytest.raises(ValueError, match="seek to -1"):
        window.seek(-1)
    assert read_at(io.BytesIO(b"abc"), 1, 10) == b"bc"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=8)), max_size=4), st.booleans())
def test_whatever_is_changed_ends_well_or_with_an_error(patches: list[tuple[int, bytes]], at_the_end: bool) -> None:
    size = 18 * MIB
    data = bytearray(SMALLEST)
    for place, patch in patches:
        where = size - 1208 + place if at_the_end else place
        data[where : where + len(patch)] = patch
    try:
        for one in find_partitions(io.BytesIO(data), size):
            assert 0 <= one.offset < one.offset + one.length <= size
    except WclayerError:
        return
