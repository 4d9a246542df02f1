"""Sparse files in backup streams: every shape is written as it must be and comes back with its ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from io import BytesIO
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError, LimitError
from wclayer.ntfs.backup import (
    BACKUP_ALTERNATE_DATA,
    BACKUP_SPARSE_BLOCK,
    STREAM_SPARSE_ATTRIBUTE,
    BackupStreamReader,
    BackupStreamWriter,
)
from wclayer.ntfs.backup_sparse import SparseAssembler, StreamLayout, stream_layout, write_sparse

SPARSE = STREAM_SPARSE_ATTRIBUTE
Ranges = tuple[tuple[int, int], ...]


def head(stream_id: int, size: int, attributes: int = 0, name: str = "") -> bytes:
    encoded = name.encode("utf-16-le")
    return pack("<IIQI", stream_id, attributes, size, len(encoded)) + encoded


def block(offset: int, data: bytes = b"") -> bytes:
    return head(BACKUP_SPARSE_BLOCK, 8 + len(data), SPARSE) + pack("<Q", offset) + data


def reader_of(data: bytes, at_most: int = 1 << 30) -> BackupStreamReader:
    """A reader over ``data`` whose source hands out at most ``at_most`` bytes at a time."""
    source = BytesIO(data)
    return BackupStreamReader(lambda count: source.read(min(count, at_most)))


def seeking_reader_of(data: bytes) -> BackupStreamReader:
    source = BytesIO(data)

    def skip(count: int) -> int:
        before = source.tell()
        return min(source.seek(count, 1), len(data)) - before

    return BackupStreamReader(source.read, skip=skip)


def written(fill: Callable[[BackupStreamWriter], object]) -> bytes:
    target = BytesIO()
    writer = BackupStreamWriter(target.write)
    fill(writer)
    writer.close()
    return target.getvalue()


def kind_of(call: Callable[[], object]) -> str:
    with pytest.raises(FormatError) as caught:
        call()
    return caught.value.kind


def sparse(size: int, ranges: Ranges, content: bytes, piece: int = 1 << 20) -> bytes:
    """The streams of a sparse file whose logical content is ``content``."""

    def extents() -> Iterator[tuple[int, bytes]]:
        for offset, length in ranges:
            for start in range(offset, offset + length, piece):
                yield start, content[start : min(start + piece, offset + length)]

    return written(lambda writer: write_sparse(writer, size, ranges, extents()))


def assembled(data: bytes) -> tuple[int, Ranges | None, bytes]:
    reader = reader_of(data, 5)
    header = reader.next()
    assert header is not None
    assembler = SparseAssembler(reader, header)
    content = bytearray()
    for offset, piece in assembler:
        content += bytes(offset - len(content)) + piece
    content += bytes(assembler.size - len(content))
    assert reader.next() is None
    return assembler.size, assembler.ranges, bytes(content)


def layout_of(data: bytes) -> StreamLayout:
    reader = seeking_reader_of(data)
    header = reader.next()
    assert header is not None
    layout = stream_layout(reader, header)
    assert reader.next() is None
    return layout


@pytest.mark.parametrize(
    ("size", "ranges", "content", "streams"),
    [
        (0, (), b"", head(1, 0, SPARSE)),
        (4, ((0, 4),), b"abcd", head(1, 4, SPARSE) + b"abcd"),
        (4, (), bytes(4), head(1, 0, SPARSE) + block(4)),
        (6, ((2, 2),), b"\0\0ab\0\0", head(1, 0, SPARSE) + block(2, b"ab") + block(6)),
        (6, ((0, 2), (4, 2)), b"ab\0\0cd", head(1, 0, SPARSE) + block(0, b"ab") + block(4, b"cd") + block(6)),
    ],
)
def test_the_shapes_of_a_sparse_file(size: int, ranges: Ranges, content: bytes, streams: bytes) -> None:
    assert sparse(size, ranges, content) == streams
    assert assembled(streams) == (size, ranges, content)
    layout = layout_of(streams)
    assert (layout.size, layout.ranges) == (size, ranges)
    stored = [streams[at : at + length] for at, (_, length) in zip(layout.positions, ranges, strict=False)]
    assert stored == [content[offset : offset + length] for offset, length in ranges]


def test_a_sparse_file_of_128_kib_byte_for_byte() -> None:
    content = bytes(0x10000) + b"ABCD" + bytes(0xFFFC)
    assert sparse(0x20000, ((0x10000, 4),), content) == bytes.fromhex(
        "0100000008000000000000000000000000000000"
        "09000000080000000c000000000000000000000000000100000000004142434409000000"
        "08000000080000000000000000000000"
        "0000020000000000"
    )


def test_a_dense_file_has_no_ranges() -> None:
    data = head(1, 3) + b"abc"
    assert assembled(data) == (3, None, b"abc")
    assert layout_of(data) == StreamLayout(3, None, (20,))
    assert assembled(head(1, 0)) == (0, None, b"")


def test_an_empty_sparse_file_may_have_a_closing_block_or_none() -> None:
    assert assembled(head(1, 0, SPARSE)) == assembled(head(1, 0, SPARSE) + block(0)) == (0, (), b"")


def test_an_alternate_stream_may_be_sparse() -> None:
    data = written(
        lambda writer: write_sparse(writer, 9, ((8, 1),), [(8, b"x")], stream_id=BACKUP_ALTERNATE_DATA, name=":s:$DATA")
    )
    assert data == head(4, 0, SPARSE, ":s:$DATA") + block(8, b"x") + block(9)


@pytest.mark.parametrize("next_stream", [head(3, 1) + b"s", head(4, 0, name=":a:$DATA")])
@pytest.mark.parametrize("shape", [head(1, 0, SPARSE), head(1, 0, SPARSE) + block(2, b"a") + block(5)])
def test_the_stream_behind_a_sparse_file_is_found(shape: bytes, next_stream: bytes) -> None:
    for take in (SparseAssembler, stream_layout):
        reader = reader_of(shape + next_stream)
        header = reader.next()
        assert header is not None
        result = take(reader, header)
        if isinstance(result, SparseAssembler):
            assert sum(len(piece) for _, piece in result) <= 1
        assert reader.next() == reader_of(next_stream).next()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (head(1, 0, SPARSE) + block(0, b"a"), "unexpected-eof"),
        (head(1, 0, SPARSE) + block(0, b"a") + head(3, 0), "stream-unknown"),
        (head(1, 0, SPARSE) + block(4, b"a") + block(3, b"b") + block(9), "sparse-order"),
        (head(1, 0, SPARSE) + block(4, b"ab") + block(5), "sparse-order"),
        (head(1, 0, SPARSE) + block(0, b"a")[:-1], "unexpected-eof"),
        (head(1, 5, SPARSE) + b"abc", "unexpected-eof"),
    ],
)
def test_blocks_that_do_not_make_a_file_are_refused(data: bytes, kind: str) -> None:
    assert kind_of(lambda: assembled(data)) == kind
    assert kind_of(lambda: layout_of(data)) == kind


def test_more_ranges_than_any_file_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.ntfs.backup_sparse._MAX_RANGES", 3)
    blocks = [block(2 * number, b"x") for number in range(4)]
    assert len(layout_of(head(1, 0, SPARSE) + b"".join(blocks[:3]) + block(9)).positions) == 3
    with pytest.raises(LimitError):
        layout_of(head(1, 0, SPARSE) + b"".join(blocks) + block(9))


@pytest.mark.parametrize(
    ("size", "ranges", "extents", "kind"),
    [
        (9, ((4, 2), (0, 2)), [], "sparse-order"),
        (9, ((0, 4), (3, 2)), [], "sparse-order"),
        (9, ((0, -1),), [], "sparse-order"),
        (9, ((8, 2),), [], "sparse-order"),
        (9, ((-1, 2),), [], "sparse-order"),
        (9, ((1, 2),), [(1, b"a")], "data-too-short"),
        (9, ((1, 2),), [(2, b"ab")], "sparse-order"),
        (9, ((1, 2),), [(1, b"abc")], "data-too-long"),
        (9, ((1, 2),), [(1, b"ab"), (3, b"c")], "data-too-long"),
        (2, ((0, 2),), [(0, b"abc")], "data-too-long"),
        (9, (), [(0, b"a")], "data-too-long"),
    ],
)
def test_extents_must_fill_the_ranges_exactly(
    size: int, ranges: Ranges, extents: list[tuple[int, bytes]], kind: str
) -> None:
    assert kind_of(lambda: written(lambda writer: write_sparse(writer, size, ranges, extents))) == kind


def test_empty_ranges_do_not_end_the_file_early() -> None:
    assert sparse(9, ((0, 0), (3, 1), (5, 0)), bytes(9)) == head(1, 0, SPARSE) + block(3, b"\0") + block(9)


@st.composite
def sparse_files(draw: st.DrawFn) -> tuple[int, Ranges, bytes]:
    ranges: list[tuple[int, int]] = []
    position = 0
    for _ in range(draw(st.integers(0, 5))):
        offset = position + draw(st.integers(0, 20))
        length = draw(st.integers(1, 20))
        ranges.append((offset, length))
        position = offset + length
    size = position + draw(st.integers(0, 20))
    content = bytearray(size)
    for offset, length in ranges:
        content[offset : offset + length] = draw(st.binary(min_size=length, max_size=length))
    return size, tuple(ranges), bytes(content)


@given(sparse_files(), st.integers(1, 30))
def test_a_sparse_file_comes_back_with_its_size_ranges_and_content(file: tuple[int, Ranges, bytes], piece: int) -> None:
    size, ranges, content = file
    streams = sparse(size, ranges, content, piece)
    assert assembled(streams) == (size, ranges, content)
    layout = layout_of(streams)
    assert (layout.size, layout.ranges) == (size, ranges)


@given(sparse_files(), st.data())
def test_damaged_sparse_streams_are_read_or_refused_but_nothing_else(
    file: tuple[int, Ranges, bytes], data: st.DataObject
) -> None:
    streams = bytearray(sparse(*file))
    streams[data.draw(st.integers(0, len(streams) - 1))] = data.draw(st.integers(0, 255))
    for take in (SparseAssembler, stream_layout):
        reader = reader_of(bytes(streams))
        with suppress(FormatError):
            while header := reader.next():
                result = take(reader, header)
                if isinstance(result, SparseAssembler):
                    for _ in result:
                        pass
