from __future__ import annotations

import gzip
import io
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oci.samples import Source
from wclayer.errors import StoreError, UsageError
from wclayer.oci import CompressedWriter, engines, open_layer
from wclayer.oci.digests import digest_of
from wclayer.oci.mediatypes import Compression

COMPRESSIONS: list[Compression] = ["none", "gzip", "zstd"]


def write(pieces: list[bytes], compression: Compression, level: int | None = None, **options: Any) -> tuple[bytes, Any]:
    sink = io.BytesIO()
    with CompressedWriter(sink, compression, level, **options) as writer:
        for piece in pieces:
            assert writer.write(piece) == len(piece)
    return sink.getvalue(), writer


@given(st.lists(st.binary(max_size=500), max_size=8), st.sampled_from(COMPRESSIONS), st.booleans())
def test_what_is_written_is_read_back(pieces: list[bytes], compression: Compression, isal: bool) -> None:
    data = b"".join(pieces)
    blob, writer = write(pieces, compression, isal=isal)
    assert (writer.blob_digest, writer.blob_size) == (digest_of(blob), len(blob))
    assert (writer.diff_id, writer.uncompressed_size) == (digest_of(data), len(data))
    if compression == "none":
        assert blob == data
        return
    with open_layer(Source(blob), threads=False) as stream:
        assert stream.compression == compression
        assert b"".join(bytes(slab) for slab in stream) == data


@pytest.mark.parametrize("isal", [True, False])
def test_a_gzip_blob_tells_no_time_no_name_and_no_system(isal: bool) -> None:
    blob, _ = write([b"x" * 1000], "gzip", isal=isal)
    assert blob[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
    assert gzip.decompress(blob) == b"x" * 1000


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_the_same_content_gives_the_same_blob(compression: Compression) -> None:
    pieces = [b"a" * 100_000, b"b" * 100_000]
    assert write(pieces, compression)[0] == write(pieces, compression)[0]


@pytest.mark.parametrize(("compression", "levels"), [("gzip", range(4)), ("zstd", (1, 3, 19))])
def test_levels(compression: Compression, levels: Any) -> None:
    for level in levels:
        assert write([b"abc" * 1000], compression, level)[1].diff_id == digest_of(b"abc" * 1000)
    for level in (-1, 23):
        with pytest.raises(UsageError, match="levels"):
            write([], compression, level)
    with pytest.raises(UsageError, match="no levels"):
        write([], "none", 1)
    assert write([b"abc" * 1000], "gzip", 9, isal=False)[1].uncompressed_size == 3000


def test_without_isal_zlib_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "isal", None)
    blob, _ = write([b"abc" * 1000], "gzip", 9)
    assert gzip.decompress(blob) == b"abc" * 1000


def test_another_algorithm() -> None:
    blob, writer = write([b"abc"], "gzip", algorithm="sha512")
    assert writer.blob_digest == digest_of(blob, "sha512")
    assert writer.diff_id == digest_of(b"abc", "sha512")


def test_nothing_is_known_before_the_end_and_nothing_is_taken_after_it() -> None:
    writer = CompressedWriter(io.BytesIO())
    with pytest.raises(ValueError, match="finish"):
        _ = writer.blob_digest
    with pytest.raises(ValueError, match="finish"):
        _ = writer.diff_id
    writer.finish()
    writer.finish()
    with pytest.raises(ValueError, match="finished"):
        writer.write(b"x")
    assert writer.diff_id == digest_of(b"")


def test_any_buffer_is_taken_and_short_writes_are_completed() -> None:
    class Sink:
        data = b""

        def write(self, piece: Any, /) -> int:
            self.data += bytes(piece[:3])
            return min(3, len(piece))

    sink = Sink()
    with CompressedWriter(sink, "none") as writer:
        writer.write(bytearray(b"abcdefg"))
        writer.write(memoryview(b"hij"))
    assert sink.data == b"abcdefghij"


def test_a_full_disk_is_a_store_error() -> None:
    class Full:
        def write(self, _piece: Any, /) -> int:
            raise OSError(28, "No space left on device")

    with pytest.raises(StoreError, match="No space left"), CompressedWriter(Full(), "none") as writer:
        writer.write(b"x")


def test_a_full_disk_is_told_before_the_end() -> None:
    class Full:
        def write(self, _piece: Any, /) -> int:
            raise OSError(28, "No space left on device")

    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(100_000)

    writer = CompressedWriter(Full(), "none")
    with pytest.raises(StoreError, match="No space left"):
        deque(map(writer.write, endless()), 0)
    writer.close()


def test_an_error_on_the_way_finishes_nothing() -> None:
    sink = io.BytesIO()
    with pytest.raises(TypeError), CompressedWriter(sink, "gzip") as writer:
        writer.write("no bytes")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finish"):
        _ = writer.diff_id
