from __future__ import annotations

import gc
import gzip
import random
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oci.samples import Source, packed
from wclayer.errors import DigestMismatchError, FormatError, LimitError, StoreError, UnsupportedError
from wclayer.oci import Limits, open_layer
from wclayer.oci.digests import digest_of
from wclayer.oci.engines import zstd

RANDOM = random.Random(2)
SMALL = b"small layer"
LARGE = b"".join(RANDOM.randbytes(1000) + bytes(9000) for _ in range(1500))  # 15 MB: more than all slabs hold


@pytest.fixture(params=[True, False], ids=["threads", "inline"])
def threads(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def content(stream: Any) -> bytes:
    return b"".join(bytes(slab) for slab in stream)


@pytest.mark.parametrize("data", [b"", SMALL, LARGE], ids=["empty", "small", "large"])
@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_content_digests_and_sizes(threads: bool, compression: str, data: bytes) -> None:
    blob = {"none": lambda d: d, "gzip": packed, "zstd": zstd.compress}[compression](data)
    source = Source(blob)
    with open_layer(
        source,
        descriptor_digest=digest_of(blob),
        descriptor_size=len(blob),
        diff_id=digest_of(data),
        threads=threads,
    ) as stream:
        assert stream.compression == compression
        assert content(stream) == data
        stream.finish()
        assert (stream.blob_digest, stream.blob_size) == (digest_of(blob), len(blob))
        assert (stream.diff_id, stream.uncompressed_size) == (digest_of(data), len(data))
    assert source.closed
    assert stream.diff_id == digest_of(data)  # known also afterwards


def test_digests_are_computed_where_nothing_was_promised(threads: bool) -> None:
    blob = packed(SMALL)
    with open_layer(Source(blob), threads=threads) as stream:
        stream.finish()
        stream.finish()
    assert (stream.blob_digest, stream.diff_id) == (digest_of(blob), digest_of(SMALL))


@pytest.mark.parametrize("blob_algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("diff_algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("compress", [packed, bytes])
def test_both_algorithms_in_any_combination(
    threads: bool, compress: Any, blob_algorithm: str, diff_algorithm: str
) -> None:
    blob = compress(SMALL)
    digest, diff_id = digest_of(blob, blob_algorithm), digest_of(SMALL, diff_algorithm)
    with open_layer(Source(blob), descriptor_digest=digest, diff_id=diff_id, threads=threads) as stream:
        stream.finish()
    assert (stream.blob_digest, stream.diff_id) == (digest, diff_id)


@pytest.mark.parametrize("compress", [packed, bytes], ids=["gzip", "none"])
def test_without_digests_only_what_was_promised_is_hashed(threads: bool, compress: Any) -> None:
    blob = compress(LARGE)
    with open_layer(Source(blob), threads=threads, digests=False) as stream:
        assert content(stream) == LARGE
        stream.finish()
        assert (stream.blob_size, stream.uncompressed_size) == (len(blob), len(LARGE))
        for digest in ("blob_digest", "diff_id"):
            with pytest.raises(ValueError, match="nobody asked"):
                getattr(stream, digest)
    other = digest_of(b"other")
    for blob_digest, diff_id in ((other, None), (None, other)):
        with (
            open_layer(
                Source(blob), threads=threads, digests=False, descriptor_digest=blob_digest, diff_id=diff_id
            ) as stream,
            pytest.raises(DigestMismatchError, match="promised"),
        ):
            stream.finish()


def test_finish_reads_what_the_consumer_left(threads: bool) -> None:
    """The bytes after the end of a tar belong to the DiffID."""
    blob = packed(LARGE)
    with open_layer(Source(blob), diff_id=digest_of(LARGE), threads=threads) as stream:
        next(stream)
        stream.finish()
    assert stream.uncompressed_size == len(LARGE)


@pytest.mark.parametrize("compress", [packed, zstd.compress, bytes])
def test_a_wrong_blob_digest_names_both(threads: bool, compress: Any) -> None:
    blob = compress(SMALL)
    wrong = digest_of(b"wrong")
    with open_layer(Source(blob), descriptor_digest=wrong, threads=threads, layer="2 of 3") as stream:
        assert content(stream) == SMALL
        with pytest.raises(DigestMismatchError) as caught:
            stream.finish()
        assert str(wrong) in str(caught.value)
        assert str(digest_of(blob)) in str(caught.value)
        assert caught.value.layer == "2 of 3"
        with pytest.raises(DigestMismatchError):  # it does not become right by asking again
            stream.finish()


def test_a_wrong_diff_id_names_both(threads: bool) -> None:
    blob = packed(SMALL)
    wrong = digest_of(b"wrong")
    with (
        open_layer(Source(blob), descriptor_digest=digest_of(blob), diff_id=wrong, threads=threads) as stream,
        pytest.raises(DigestMismatchError) as caught,
    ):
        stream.finish()
    assert str(wrong) in str(caught.value)
    assert str(digest_of(SMALL)) in str(caught.value)


@pytest.mark.parametrize("difference", [-1, 1, -5, 1000])
@pytest.mark.parametrize("compress", [packed, zstd.compress, bytes])
def test_a_wrong_size_is_refused(threads: bool, compress: Any, difference: int) -> None:
    blob = compress(SMALL)
    with (
        open_layer(Source(blob), descriptor_size=len(blob) + difference, threads=threads) as stream,
        pytest.raises(DigestMismatchError, match="promised"),
    ):
        stream.finish()


def test_a_source_longer_than_promised_is_not_read_to_its_end(threads: bool) -> None:
    class Endless:
        given = 0

        def readinto(self, buffer: Any, /) -> int:
            self.given += len(buffer)
            return len(buffer)

        def close(self) -> None:
            return

    source = Endless()
    with (
        open_layer(source, descriptor_size=1000, threads=threads) as stream,
        pytest.raises(DigestMismatchError, match="longer than the 1000 bytes"),
    ):
        stream.finish()
    assert source.given < 64 << 20


def test_a_blob_cut_short_is_an_unexpected_end(threads: bool) -> None:
    for blob in (packed(LARGE), zstd.compress(LARGE)):
        with open_layer(Source(blob[:-1000]), threads=threads) as stream, pytest.raises(FormatError) as caught:
            stream.finish()
        assert caught.value.kind == "unexpected-eof"


def test_after_an_error_nothing_is_ever_right(threads: bool) -> None:
    with open_layer(Source(packed(LARGE)[:-1]), threads=threads) as stream:
        for _ in range(3):
            with pytest.raises(FormatError):
                stream.finish()
        with pytest.raises(FormatError):
            next(stream)
        with pytest.raises(ValueError, match="finish"):
            _ = stream.diff_id


def test_an_unknown_compression_closes_the_source(threads: bool) -> None:
    source = Source(b"\xfd7zXZ\x00 and more")
    with pytest.raises(UnsupportedError) as caught:
        open_layer(source, threads=threads, layer="1 of 1")
    assert caught.value.layer == "1 of 1"
    assert source.closed


class Broken(Source):
    """Fails after so many bytes."""

    def __init__(self, data: bytes, good: int, error: BaseException) -> None:
        super().__init__(data, 1000)
        self.good = good
        self.error = error

    def readinto(self, buffer: Any, /) -> int:
        if self.tell() >= self.good:
            raise self.error
        return super().readinto(buffer)


@pytest.mark.parametrize("good", [1000, 5000, 400_000])
@pytest.mark.parametrize("compress", [packed, bytes])
def test_what_the_source_raises_reaches_the_consumer(threads: bool, compress: Any, good: int) -> None:
    blob = compress(LARGE)
    source = Broken(blob, good, OSError(5, "Input/output error"))
    with open_layer(source, threads=threads) as stream, pytest.raises(StoreError, match="Input/output error"):
        stream.finish()
    assert source.closed
    error = RuntimeError("a defect")
    with open_layer(Broken(blob, good, error), threads=threads) as stream, pytest.raises(RuntimeError) as caught:
        stream.finish()
    assert caught.value is error


@pytest.mark.parametrize("taken", [0, 1, 3, 12])
@pytest.mark.parametrize("compress", [packed, zstd.compress, bytes])
def test_a_consumer_may_stop_early(threads: bool, compress: Any, taken: int) -> None:
    source = Source(compress(LARGE))
    stream = open_layer(source, threads=threads)
    for _ in range(taken):
        next(stream)
    stream.close()
    stream.close()
    assert source.closed
    with pytest.raises(ValueError, match="closed"):
        next(stream)
    with pytest.raises(ValueError, match="closed"):
        stream.finish()


def test_a_consumer_may_fail(threads: bool) -> None:
    source = Source(packed(LARGE))
    with pytest.raises(ZeroDivisionError), open_layer(source, threads=threads) as stream:
        _ = len(next(stream)) // 0
    assert source.closed


def test_a_stream_that_nobody_closed_leaves_no_threads() -> None:
    stream = open_layer(Source(packed(LARGE)))
    next(stream)
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None
    deadline = time.monotonic() + 10
    while any(thread.name == "wclayer-layer" for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_slow_consumer_and_a_slow_source() -> None:
    class Slow(Source):
        def readinto(self, buffer: Any, /) -> int:
            time.sleep(0.001)
            return super().readinto(buffer)

    with open_layer(Slow(packed(LARGE), 20_000), diff_id=digest_of(LARGE)) as stream:
        for number, _ in enumerate(stream):
            time.sleep(0.005 if number % 3 else 0)
        stream.finish()


def test_memory_is_bounded_however_slow_the_consumer() -> None:
    source = Source(bytes(200 << 20))
    with open_layer(source) as stream:
        next(stream)
        time.sleep(0.2)
        assert source.tell() <= 16 << 20


def test_a_slab_cannot_be_written_to(threads: bool) -> None:
    with open_layer(Source(packed(SMALL)), threads=threads) as stream:
        assert next(stream).readonly


BOMB = Limits(ratio=200, ratio_after=4 << 20)


@pytest.mark.parametrize("compress", [packed, zstd.compress])
def test_a_bomb_is_a_limit_error(threads: bool, compress: Any) -> None:
    blob = compress(bytes(64 << 20))
    with (
        open_layer(Source(blob), limits=BOMB, threads=threads) as stream,
        pytest.raises(LimitError, match="bomb"),
    ):
        stream.finish()


def test_a_bomb_of_many_members_is_a_limit_error(threads: bool) -> None:
    blob = packed(bytes(1 << 20)) * 64
    with open_layer(Source(blob), limits=BOMB, threads=threads) as stream, pytest.raises(LimitError):
        stream.finish()


def test_limits_can_be_lifted_and_small_layers_of_zeros_are_honest(threads: bool) -> None:
    blob = packed(bytes(8 << 20))
    for limits in (Limits.none(), Limits()):
        with open_layer(Source(blob), limits=limits, threads=threads) as stream:
            stream.finish()
        assert stream.uncompressed_size == 8 << 20


def test_output_can_be_limited_as_such(threads: bool) -> None:
    with (
        open_layer(Source(LARGE), limits=Limits(output=1 << 20), threads=threads) as stream,
        pytest.raises(LimitError, match="more than 1048576 bytes"),
    ):
        stream.finish()


@given(st.binary(max_size=3000), st.integers(1, 4000), st.booleans(), st.sampled_from([packed, zstd.compress, bytes]))
def test_any_content_comes_out_as_it_went_in(data: bytes, step: int, threads: bool, compress: Any) -> None:
    blob = compress(data)
    if compress is bytes and data.startswith((b"\x1f\x8b", b"\x28\xb5", b"BZh", b"\xfd7")):
        return
    with open_layer(
        Source(blob, step), descriptor_digest=digest_of(blob), diff_id=digest_of(data), threads=threads
    ) as stream:
        assert content(stream) == data
        stream.finish()


def test_a_blob_of_two_members_is_one_layer(threads: bool) -> None:
    blob = gzip.compress(SMALL) + gzip.compress(LARGE)
    with open_layer(Source(blob), diff_id=digest_of(SMALL + LARGE), threads=threads) as stream:
        stream.finish()
