from __future__ import annotations

import gzip
import random
import zlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oci.samples import Source
from wclayer.errors import FormatError, UnsupportedError, WclayerError
from wclayer.oci import engines
from wclayer.oci.compression import has_isal, open_decoder, sniff
from wclayer.oci.counting import CountingSource
from wclayer.oci.engines import zstd

NOISE = random.Random(1).randbytes(3000)
CONTENT = NOISE + bytes(5000) + b"text " * 400
GZIP = gzip.compress(CONTENT, mtime=0)
ZSTD = zstd.compress(CONTENT)
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (7).to_bytes(4, "little") + b"skipped"


@pytest.fixture(params=["isal", "zlib"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Every test of gzip runs with both libraries."""
    if request.param == "zlib":
        monkeypatch.setattr(engines, "isal", None)
        assert not has_isal()
    elif not has_isal():
        pytest.skip("ISA-L is not for this platform")
    return str(request.param)


def decode(blob: bytes, *, step: int = 1 << 30, buffer: int = 4096) -> bytes:
    source = CountingSource(Source(blob, step))
    decoder = open_decoder(sniff(blob[:16]), source)
    view = memoryview(bytearray(buffer))
    out = bytearray()
    while count := decoder.readinto(view):
        out += view[:count]
    return bytes(out)


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"", "none"),
        (b"Files/", "none"),
        (b"\x1f\x8b", "none"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\x1f\x8b\x09\x00", "none"),
        (b"\x1f", "none"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"\x50\x2a\x4d\x18", "zstd"),
        (b"\x5f\x2a\x4d\x18", "zstd"),
        (b"\x60\x2a\x4d\x18", "none"),
        (b"BZh9 is a name", "none"),
    ],
)
def test_51_the_first_bytes_tell_the_compression(head: bytes, name: str) -> None:
    assert sniff(head) == name


@pytest.mark.parametrize(("head", "name"), [(b"BZh91AY&SY", "bzip2"), (b"\xfd7zXZ\x00", "xz")])
def test_other_compressions_are_named(head: bytes, name: str) -> None:
    with pytest.raises(UnsupportedError, match=name):
        sniff(head)


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "blob",
    [
        GZIP,
        GZIP + GZIP,
        gzip.compress(b"") + GZIP + gzip.compress(b"") * 3,
        GZIP + bytes(10) + GZIP,
        GZIP + bytes(100_000),
    ],
)
def test_all_members_of_a_gzip_blob_are_read(engine: str, blob: bytes, step: int) -> None:
    assert decode(blob, step=step) == CONTENT * blob.count(GZIP)


@pytest.mark.parametrize("buffer", [1, 3, 1 << 20])
def test_a_buffer_of_any_size_will_do(engine: str, buffer: int) -> None:
    assert decode(GZIP + GZIP, buffer=buffer) == CONTENT * 2
    assert decode(ZSTD + ZSTD, buffer=buffer) == CONTENT * 2


@pytest.mark.parametrize("step", [1, 7, 1 << 20])
@pytest.mark.parametrize(
    "blob",
    [
        ZSTD,
        ZSTD + ZSTD,
        SKIPPABLE + ZSTD,
        ZSTD + SKIPPABLE + zstd.compress(b"") + ZSTD + SKIPPABLE,
    ],
)
def test_all_frames_of_a_zstd_blob_are_read(blob: bytes, step: int) -> None:
    assert decode(blob, step=step) == CONTENT * blob.count(ZSTD)


def test_the_optional_fields_of_a_gzip_header_are_passed_over(engine: str) -> None:
    head = b"\x1f\x8b\x08" + bytes([2 | 4 | 8 | 16]) + bytes(6) + b"\x03\x00abc" + b"name\0" + b"comment\0"
    head += (zlib.crc32(head) & 0xFFFF).to_bytes(2, "little")
    assert decode(head + GZIP[10:]) == CONTENT


def test_a_gzip_blob_cut_anywhere_is_refused(engine: str) -> None:
    for length in range(3, len(GZIP)):
        with pytest.raises(FormatError) as caught:
            decode(GZIP[:length])
        assert caught.value.kind == "unexpected-eof", length


def test_a_second_member_cut_anywhere_is_refused(engine: str) -> None:
    for length in range(1, len(GZIP), 13):
        with pytest.raises(FormatError):
            decode(GZIP + GZIP[:length])


def test_a_zstd_blob_cut_anywhere_is_refused() -> None:
    for length in range(4, len(ZSTD)):
        with pytest.raises(FormatError) as caught:
            decode(ZSTD[:length])
        assert caught.value.kind == "unexpected-eof", length


@pytest.mark.parametrize("junk", [b"x", b"junk", b"\0\0junk", NOISE, b"\x1f\x8b\x08"])
def test_anything_else_after_gzip_members_is_refused(engine: str, junk: bytes) -> None:
    with pytest.raises(FormatError):
        decode(GZIP + junk)


@pytest.mark.parametrize("junk", [b"x", b"junk", bytes(8), NOISE])
def test_anything_else_after_zstd_frames_is_refused(junk: bytes) -> None:
    with pytest.raises(FormatError):
        decode(ZSTD + junk)


def test_a_wrong_checksum_or_length_is_refused(engine: str) -> None:
    for position in range(-8, 0):
        damaged = bytearray(GZIP)
        damaged[position] ^= 1
        with pytest.raises(FormatError) as caught:
            decode(bytes(damaged))
        assert caught.value.kind == "gzip"


def test_a_wrong_zstd_checksum_is_refused() -> None:
    blob = bytearray(zstd.compress(CONTENT, options={zstd.CompressionParameter.checksum_flag: 1}))
    blob[-1] ^= 1
    with pytest.raises(FormatError) as caught:
        decode(bytes(blob))
    assert caught.value.kind == "zstd"


def test_a_header_without_end_is_refused(engine: str) -> None:
    class Endless:
        given = 0

        def readinto(self, buffer: memoryview, /) -> int:
            if self.given > 64 << 20:
                return 0
            buffer[:] = b"a" * len(buffer)
            if not self.given:
                buffer[:10] = b"\x1f\x8b\x08\x08" + bytes(6)
            self.given += len(buffer)
            return len(buffer)

        def close(self) -> None:
            return

    decoder = open_decoder("gzip", Endless())
    with pytest.raises(FormatError):
        decoder.readinto(memoryview(bytearray(100)))


def test_an_error_of_the_source_passes_as_it_is(engine: str) -> None:
    class Broken:
        def readinto(self, _buffer: memoryview, /) -> int:
            raise UnsupportedError("from below")

    for name in ("gzip", "zstd"):
        with pytest.raises(UnsupportedError, match="from below"):
            open_decoder(name, Broken()).readinto(memoryview(bytearray(10)))


@given(st.lists(st.tuples(st.booleans(), st.binary(max_size=200)), min_size=1, max_size=6), st.integers(1, 50))
def test_members_and_frames_of_any_content_are_read(parts: list[tuple[bool, bytes]], step: int) -> None:
    expected = b"".join(data for _, data in parts)
    assert decode(b"".join(gzip.compress(data) for _, data in parts), step=step) == expected
    blob = b"".join(SKIPPABLE * skip + zstd.compress(data) for skip, data in parts)
    assert decode(blob, step=step) == expected


@given(st.sampled_from([GZIP, ZSTD, GZIP + GZIP, SKIPPABLE + ZSTD]), st.data())
def test_damage_raises_nothing_but_errors_of_the_package(blob: bytes, data: st.DataObject) -> None:
    damaged = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(4, len(blob) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WclayerError):
        decode(bytes(damaged))
