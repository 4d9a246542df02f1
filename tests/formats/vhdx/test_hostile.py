"""Damaged and hostile disks: an error that names the file, soon, and never more memory than was asked for."""

from __future__ import annotations

import struct
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wclayer.errors import FormatError, UnsupportedError, WclayerError
from wclayer.formats.vhdx import VhdxDisk, new_vhdx, rebase_vhdx, resize_vhdx
from wclayer.formats.vhdx.crc32c import crc32c

MIB = 1 << 20
HEADERS, REGIONS = (0x10000, 0x20000), (0x30000, 0x40000)
METADATA, TABLE = 2 * MIB, 3 * MIB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("hostile")
    with new_vhdx(home / "base.vhdx", 4 * MIB) as disk:
        disk.write(0, b"base" * 1000)
    with new_vhdx(home / "child.vhdx", parent=home / "base.vhdx") as disk:
        disk.write(512, b"c" * 512)
        disk.write(MIB, b"d" * MIB)
    return home


def changed(folder: Path, *patches: tuple[int, bytes], name: str = "child.vhdx", size: int | None = None) -> Path:
    """A copy of a disk with other bytes, and with the checksums that belong to them."""
    data = bytearray((folder / name).read_bytes())
    for offset, patch in patches:
        data[offset : offset + len(patch)] = patch
    for places, length in ((HEADERS, 4096), (REGIONS, 65536)):
        for place in places:
            data[place + 4 : place + 8] = bytes(4)
            data[place + 4 : place + 8] = struct.pack("<I", crc32c(data[place : place + length]))
    path = folder / "changed.vhdx"
    path.write_bytes(data[:size])
    return path


def both(places: tuple[int, int], offset: int, patch: bytes) -> list[tuple[int, bytes]]:
    return [(place + offset, patch) for place in places]


def use(path: Path) -> None:
    with VhdxDisk.open(path) as disk:
        disk.read(0, min(disk.size, 8 * MIB))


PATCHES = {
    "no signature": [(0, b"vhdxfilf")],
    "no header": both(HEADERS, 0, b"heae"),
    "log not aligned": both(HEADERS, 72, struct.pack("<Q", MIB + 4096)),
    "log behind the end": both(HEADERS, 72, struct.pack("<Q", 1 << 50)),
    "log of 4 GiB": both(HEADERS, 68, struct.pack("<I", 0xFFF00000)),
    "no region table": both(REGIONS, 0, b"rego"),
    "regions without end": both(REGIONS, 8, struct.pack("<I", 0xFFFFFFFF)),
    "no regions": both(REGIONS, 8, struct.pack("<I", 0)),
    "only one region": both(REGIONS, 8, struct.pack("<I", 1)),
    "region not aligned": both(REGIONS, 32, struct.pack("<Q", METADATA + 1)),
    "region behind the end": both(REGIONS, 32, struct.pack("<Q", 1 << 62)),
    "region over the header": both(REGIONS, 32, struct.pack("<Q", 0)),
    "region over the log": both(REGIONS, 32, struct.pack("<Q", MIB)),
    "region over a region": both(REGIONS, 32, struct.pack("<Q", TABLE)),
    "region without length": both(REGIONS, 40, struct.pack("<I", 0)),
    "metadata without table": [(METADATA, b"metadatb")],
    "items without end": [(METADATA + 10, b"\xff\xff")],
    "no items": [(METADATA + 10, b"\0\0")],
    "item before the items": [(METADATA + 48, struct.pack("<I", 4096))],
    "item behind the region": [(METADATA + 48, struct.pack("<I", MIB))],
    "item of another length": [(METADATA + 52, struct.pack("<I", 4))],
    "item twice": [(METADATA + 64, bytes.fromhex("3767a1ca36fa434db3b633f0aa44e76b"))],
    "blocks of no size": [(METADATA + 65536, struct.pack("<I", 0))],
    "blocks of 3 MiB": [(METADATA + 65536, struct.pack("<I", 3 * MIB))],
    "disk of no size": [(METADATA + 65544, struct.pack("<Q", 0))],
    "disk of half a sector": [(METADATA + 65544, struct.pack("<Q", 256))],
    "disk of 65 TiB": [(METADATA + 65544, struct.pack("<Q", 65 << 40))],
    "disk larger than its table": [(METADATA + 65544, struct.pack("<Q", 1 << 40))],
    "sectors of 1024": [(METADATA + 65568, struct.pack("<I", 1024))],
    "locator without entries": [(METADATA + 65576 + 18, b"\0\0")],
    "locator with too many": [(METADATA + 65576 + 18, b"\xff\xff")],
    "locator text outside": [(METADATA + 65576 + 20, struct.pack("<I", 0xFFFFFFF0))],
    "locator text of odd length": [(METADATA + 65576 + 28, struct.pack("<H", 27))],
    "spare bits of a block": [(TABLE, struct.pack("<Q", 6 * MIB | 0x10 | 7))],
    "block in the header": [(TABLE, struct.pack("<Q", 6))],
    "block behind the end": [(TABLE, struct.pack("<Q", 1 << 40 | 6))],
    "block of state 4": [(TABLE, struct.pack("<Q", 4))],
    "no sector bitmap": [(TABLE + 4096 * 8, struct.pack("<Q", 0))],
    "sector bitmap behind the end": [(TABLE + 4096 * 8, struct.pack("<Q", 1 << 40 | 6))],
}


@pytest.mark.parametrize("name", PATCHES)
def test_what_cannot_be_is_an_error_that_names_the_file(name: str, folder: Path) -> None:
    path = changed(folder, *PATCHES[name])
    with pytest.raises(FormatError) as caught:
        use(path)
    assert caught.value.image == str(path)


UNSUPPORTED = {
    "another version": both(HEADERS, 66, b"\2\0"),
    "another version of the log": both(HEADERS, 64, b"\1\0"),
    "region that must be understood": both(REGIONS, 16, bytes(range(16))),
    "item that must be understood": [(METADATA + 32, bytes(range(16)))],
    "locator of another type": [(METADATA + 65576, bytes(range(16)))],
    "disk of the older format": [(0, b"conectix")],
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_understood_is_unsupported(name: str, folder: Path) -> None:
    with pytest.raises(UnsupportedError):
        use(changed(folder, *UNSUPPORTED[name]))


def test_without_a_patch_the_disk_is_fine(folder: Path) -> None:
    use(changed(folder))


def test_one_header_and_one_region_table_may_be_damaged(folder: Path) -> None:
    whole = (folder / "child.vhdx").read_bytes()
    for place in (*HEADERS, *REGIONS):
        data = bytearray(whole)
        data[place + 100] ^= 0xFF
        path = folder / "changed.vhdx"
        path.write_bytes(data)
        use(path)


def test_a_partial_block_in_a_disk_without_parent_is_an_error(folder: Path) -> None:
    with pytest.raises(FormatError, match="without a parent"):
        use(changed(folder, (TABLE, struct.pack("<Q", 4 * MIB | 7)), name="base.vhdx"))


def test_the_states_of_absence(folder: Path) -> None:
    """In a child, only a block that is not present is the parent's; the other states are zeros."""
    for state, expected in ((0, b"base"), (1, bytes(4)), (2, bytes(4)), (3, bytes(4))):
        with VhdxDisk.open(changed(folder, (TABLE, struct.pack("<Q", state)))) as disk:
            assert disk.read(0, 4) == expected


@pytest.mark.parametrize(
    "size", [0, 7, 8, 100, 65536, 65536 + 4096, 0x30000, 0x40000, MIB, 2 * MIB + 100, 4 * MIB, -MIB]
)
def test_a_file_that_was_cut_is_an_error(size: int, folder: Path) -> None:
    with pytest.raises(FormatError) as caught:
        use(changed(folder, size=size))
    assert caught.value.image is not None


def test_a_huge_disk_takes_no_memory(folder: Path) -> None:
    """64 TiB in blocks of 1 MiB: the table of them has 512 MiB, of which pages are read."""
    path = folder / "huge.vhdx"
    with new_vhdx(path, 64 << 40) as disk:
        disk.write(60 << 40, b"far")
    tracemalloc.start()
    try:
        with VhdxDisk.open(path) as found:
            assert found.read(60 << 40, 4) == b"far\0"
            assert found.own_blocks() == 1
            for place in range(0, 64 << 40, 1 << 34):
                found.read(place, 16)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        path.unlink()
    assert peak < 8 * MIB


_PLACES = st.one_of(
    *(st.integers(place, place + 96) for place in (*HEADERS, *REGIONS)),
    st.integers(METADATA, METADATA + 220),
    st.integers(METADATA + 65536, METADATA + 65536 + 400),
    st.integers(TABLE, TABLE + 64),
    st.integers(TABLE + 4096 * 8, TABLE + 4096 * 8 + 16),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(_PLACES, st.binary(min_size=1, max_size=8)), min_size=1, max_size=4), st.booleans())
def test_whatever_is_changed_reading_ends_well_or_with_an_error(
    folder: Path, patches: list[tuple[int, bytes]], change: bool
) -> None:
    path = changed(folder, *patches)
    try:
        use(path)
        if change:
            resize_vhdx(path, 6 * MIB)
            rebase_vhdx(path, folder / "base.vhdx")
            use(path)
    except WclayerError:
        return
