"""Checksums, and the arithmetic of blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.formats.vhdx.blocks import Geometry
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.file import Overlay


@pytest.mark.parametrize(
    ("data", "checksum"),
    [
        (b"", 0),
        (b"123456789", 0xE3069283),
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(range(31, -1, -1)), 0x113FDB5C),
    ],
)
def test_the_checksum_is_that_of_rfc_3720(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum


@given(st.binary(max_size=40), st.integers(0, 5000))
def test_a_run_of_zeros_counts_as_its_bytes_do(data: bytes, zeros: int) -> None:
    register = 0xFFFFFFFF
    for byte in data + bytes(zeros):
        register ^= byte
        for _ in range(8):
            register = (register >> 1) ^ (0x82F63B78 if register & 1 else 0)
    assert crc32c(data + bytes(zeros)) == register ^ 0xFFFFFFFF


def test_the_blocks_of_20_gib() -> None:
    plain, child = Geometry(20 << 30, 1 << 20, 512, False), Geometry(20 << 30, 1 << 20, 512, True)
    assert (plain.chunk_ratio, plain.blocks, plain.entries) == (4096, 20480, 20484)
    assert (child.blocks, child.entries, child.table_length) == (20480, 20485, 1 << 20)
    assert [child.entry(block) for block in (0, 4095, 4096, 20479)] == [0, 4095, 4097, 20483]
    assert [child.bitmap_entry(block) for block in (0, 4095, 4096, 20479)] == [4096, 4096, 8193, 20484]


@given(st.integers(1, 1 << 40), st.integers(20, 28), st.sampled_from([512, 4096]), st.booleans())
def test_every_block_has_an_entry_of_its_own(size: int, shift: int, sector: int, has_parent: bool) -> None:
    geometry = Geometry(size, 1 << shift, sector, has_parent)
    last = geometry.blocks - 1
    assert geometry.entry(last) < geometry.entries
    assert geometry.table_length >= geometry.entries * 8
    if has_parent:
        assert geometry.bitmap_entry(last) == geometry.entries - 1
    else:
        assert geometry.entry(last) == geometry.entries - 1
    around = range(max(0, geometry.chunk_ratio - 2), min(geometry.blocks, geometry.chunk_ratio + 2))
    assert not {geometry.entry(block) for block in around} & {geometry.bitmap_entry(block) for block in around}


_RANGES = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 20), st.none() | st.integers(1, 255)), max_size=12)


@given(_RANGES, st.integers(0, 60), st.integers(0, 30))
def test_later_changes_cover_earlier_ones(changes: list[tuple[int, int, int | None]], at: int, length: int) -> None:
    overlay, expected = Overlay(), bytearray(b"." * 100)
    for offset, count, value in changes:
        data = None if value is None else bytes((value + index) % 256 for index in range(count))
        overlay.put(offset, count, data)
        expected[offset : offset + count] = data or bytes(count)
    assert overlay.lay_over(at, b"." * length) == expected[at : at + length]
    assert all(one[1] <= other[0] for one, other in zip(overlay.ranges(), overlay.ranges()[1:], strict=False))
