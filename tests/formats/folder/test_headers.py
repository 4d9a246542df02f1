"""The header record gives back what was put in, and refuses whatever was not."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError, NotFoundError, StoreError, WclayerError
from wclayer.formats.folder.header_writer import MAGIC, HeaderRecordWriter
from wclayer.formats.folder.headers import Body, HeaderRecordReader

NUMBER = st.integers(0, 2**64 - 1)
PARTS = st.lists(st.binary(max_size=50) | st.builds(Body, NUMBER, NUMBER, NUMBER), max_size=40)


def put(path: Path, parts: list[bytes | Body]) -> Path:
    writer = HeaderRecordWriter(path)
    for part in parts:
        if isinstance(part, Body):
            writer.body(*part)
        else:
            writer.segment(part)
    writer.close()
    return path


def joined(parts: list[bytes | Body]) -> list[bytes | Body]:
    """Raw bytes next to each other made one, empty ones dropped: what the cuts into chunks may change."""
    result: list[bytes | Body] = []
    for part in parts:
        if isinstance(part, bytes) and result and isinstance(result[-1], bytes):
            result[-1] += part
        elif part != b"":
            result.append(part)
    return result


@given(PARTS)
def test_what_is_put_in_comes_out(parts: list[bytes | Body]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = put(Path(place) / "record", parts)
        assert joined(list(HeaderRecordReader(path))) == joined(parts)


def test_many_and_large_parts_are_cut_into_chunks(tmp_path: Path) -> None:
    generator = random.Random(1)
    parts: list[bytes | Body] = [b"x" * (5 << 20), Body(0, 0, 1)]
    parts += [Body(number, 1, 2) for number in range(20_000)]
    for number in range(3000):
        parts += [generator.randbytes(generator.randrange(2000)), Body(number, 0, number)]
    path = put(tmp_path / "record", parts)
    read = list(HeaderRecordReader(path))
    assert max(len(part) for part in read if not isinstance(part, Body)) <= 1 << 20
    assert joined(read) == joined(parts)


def test_a_buffer_that_is_used_again_is_copied(tmp_path: Path) -> None:
    writer = HeaderRecordWriter(tmp_path / "record")
    buffer = bytearray(b"first")
    writer.segment(memoryview(buffer))
    buffer[:] = b"later"
    writer.close()
    writer.close()
    assert list(HeaderRecordReader(tmp_path / "record")) == [b"first"]


def test_a_record_is_not_overwritten(tmp_path: Path) -> None:
    put(tmp_path / "record", [b"1"])
    with pytest.raises(StoreError):
        HeaderRecordWriter(tmp_path / "record")


def test_a_record_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        list(HeaderRecordReader(tmp_path / "record"))


def test_a_record_that_was_never_finished_is_refused(tmp_path: Path) -> None:
    writer = HeaderRecordWriter(tmp_path / "record")
    writer.segment(b"x" * (3 << 20))
    writer.abandon()
    with pytest.raises(FormatError) as caught:
        list(HeaderRecordReader(tmp_path / "record"))
    assert caught.value.kind == "header-record"


@given(cut=st.integers(0, 400), flips=st.lists(st.tuples(st.integers(0, 400), st.integers(1, 255)), max_size=3))
def test_a_damaged_record_is_refused(cut: int, flips: list[tuple[int, int]]) -> None:
    with tempfile.TemporaryDirectory() as place:
        parts: list[bytes | Body] = []
        generator = random.Random(5)
        for number in range(5):
            parts += [generator.randbytes(60), Body(number, 0, 10)]
        path = put(Path(place) / "record", parts)
        whole = path.read_bytes()
        damaged = bytearray(whole)
        for position, mask in flips:
            if position < len(damaged):
                damaged[position] ^= mask
        damaged = damaged[: len(damaged) - cut] if cut else damaged
        path.write_bytes(damaged)
        try:
            read = list(HeaderRecordReader(path))
        except WclayerError:
            return
        assert joined(read) == joined(parts)


def framed(content: bytes) -> bytes:
    import sys

    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return zstd.compress(content)


END = bytes(8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"something else entirely, long enough",
        MAGIC,
        MAGIC + b"\1\0\0",
        MAGIC + b"\1\0\0\0\0\0\0\0" + END,
        MAGIC + b"\xff\xff\xff\xff\0\0\0\0" + END,
        MAGIC + b"\0\0\0\0\xff\xff\xff\xff" + END,
        MAGIC + b"\1\0\0\0\1\0\0\0" + b"\2" + bytes(31) + b"x" + END,
        MAGIC + END + b"x",
        MAGIC + END + bytes(1 << 20),
    ],
)
def test_a_record_of_another_form_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "record").write_bytes(framed(content))
    with pytest.raises(FormatError):
        list(HeaderRecordReader(tmp_path / "record"))


def test_what_follows_the_record_is_refused(tmp_path: Path) -> None:
    path = put(tmp_path / "record", [b"1"])
    with path.open("ab") as file:
        file.write(b"x")
    with pytest.raises(FormatError, match="follows"):
        list(HeaderRecordReader(path))


def test_a_record_that_inflates_without_end_takes_no_memory(tmp_path: Path) -> None:
    import tracemalloc

    (tmp_path / "record").write_bytes(framed(MAGIC + END + bytes(300 << 20)))
    tracemalloc.start()
    with pytest.raises(FormatError):
        list(HeaderRecordReader(tmp_path / "record"))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
