"""Backup streams: what is written reads back, and whatever is cut short or out of order is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BytesIO
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.ntfs.backup import (
    BACKUP_ALTERNATE_DATA,
    BACKUP_DATA,
    BACKUP_EA_DATA,
    BACKUP_SECURITY_DATA,
    BACKUP_SPARSE_BLOCK,
    STREAM_SPARSE_ATTRIBUTE,
    BackupStreamReader,
    BackupStreamWriter,
    StreamHeader,
    stream_id_name,
)
from wclayer.ntfs.backup_sparse import SparseAssembler, StreamLayout, stream_layout, write_sparse
from wclayer.ntfs.names import to_utf16le

SPARSE = STREAM_SPARSE_ATTRIBUTE
Ranges = tuple[tuple[int, int], ...]
NAMES = st.text(max_size=20).map(lambda text: to_utf16le(text).decode("utf-16-le", "surrogatepass"))


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


def everything(reader: BackupStreamReader) -> list[tuple[StreamHeader, bytes]]:
    found = []
    while header := reader.next():
        found.append((header, b"".join(reader.pieces())))
    return found


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


# ------------------------------------------------------------------------------------------------------------- reading


def test_no_bytes_are_no_streams() -> None:
    assert reader_of(b"").next() is None


def test_a_file_of_one_data_stream_byte_for_byte() -> None:
    expected = bytes.fromhex("01000000 00000000 0300000000000000 00000000 68690a".replace(" ", ""))
    assert written(lambda writer: writer.stream(BACKUP_DATA, b"hi\n")) == expected
    assert everything(reader_of(expected)) == [(StreamHeader(BACKUP_DATA, 0, 3, "", 0), b"hi\n")]


def test_an_alternate_stream_has_its_full_name() -> None:
    data = written(lambda writer: writer.stream(BACKUP_ALTERNATE_DATA, b"stream", name=":s:$DATA"))
    assert data == head(BACKUP_ALTERNATE_DATA, 6, name=":s:$DATA") + b"stream"
    assert everything(reader_of(data)) == [(StreamHeader(BACKUP_ALTERNATE_DATA, 0, 6, ":s:$DATA", 0), b"stream")]


def test_lone_surrogates_and_nuls_stay_in_a_name() -> None:
    name = ":a\ud800\0b:$DATA"
    data = written(lambda writer: writer.stream(BACKUP_ALTERNATE_DATA, b"", name=name))
    header = reader_of(data).next()
    assert header is not None
    assert header.name == name


@pytest.mark.parametrize("at_most", [1, 7, 1 << 20])
def test_a_source_may_hand_out_as_little_as_it_likes(at_most: int) -> None:
    data = head(BACKUP_SECURITY_DATA, 5, 2) + b"abcde" + head(77, 2, name="n") + b"xy" + block(9, b"z")
    assert everything(reader_of(data, at_most)) == [
        (StreamHeader(BACKUP_SECURITY_DATA, 2, 5, "", 0), b"abcde"),
        (StreamHeader(77, 0, 2, "n", 0), b"xy"),
        (StreamHeader(BACKUP_SPARSE_BLOCK, SPARSE, 1, "", 9), b"z"),
    ]


@pytest.mark.parametrize("make", [reader_of, seeking_reader_of])
def test_moving_on_passes_over_what_was_not_read(make: Callable[[bytes], BackupStreamReader]) -> None:
    reader = make(head(1, 3) + b"abc" + head(2, 2) + b"de" + head(3, 1) + b"f")
    reader.next()
    assert reader.read(1) == b"a"
    assert reader.position == 21
    header = reader.next()
    assert header is not None
    assert (header.id, reader.position) == (2, 43)
    assert reader.next() == StreamHeader(3, 0, 1, "", 0)
    assert reader.content(1) == b"f"
    assert reader.read(5) == b""
    assert reader.next() is None
    assert reader.next() is None


def test_peeking_does_not_move_on_twice() -> None:
    reader = reader_of(head(1, 1) + b"a" + head(2, 1) + b"b")
    assert reader.peek() == reader.peek() == reader.next() == StreamHeader(1, 0, 1, "", 0)
    assert reader.peek() == StreamHeader(2, 0, 1, "", 0)
    assert reader.next() == StreamHeader(2, 0, 1, "", 0)
    assert reader.read(9) == b"b"
    assert reader.peek() is None
    assert reader.next() is None


@pytest.mark.parametrize("make", [reader_of, seeking_reader_of])
@pytest.mark.parametrize(
    "whole",
    [
        head(1, 3) + b"abc",
        head(4, 1, name=":n:$DATA") + b"a",
        block(4, b"abc"),
        block(4),
    ],
)
def test_every_cut_is_noticed_whether_the_content_is_read_or_not(
    make: Callable[[bytes], BackupStreamReader], whole: bytes
) -> None:
    for length in range(1, len(whole)):
        cut = whole[:length]
        assert kind_of(lambda cut=cut: everything(make(cut))) == "unexpected-eof"  # type: ignore[misc]

        def skip_all(cut: bytes = cut) -> None:
            reader = make(cut)
            while reader.next():
                pass

        assert kind_of(skip_all) == "unexpected-eof"


@pytest.mark.parametrize(
    "data",
    [
        head(1, 1 << 63),
        head(1, (1 << 64) - 1),
        head(BACKUP_SPARSE_BLOCK, 0) + bytes(8),
        head(BACKUP_SPARSE_BLOCK, 7) + bytes(8),
        head(BACKUP_SPARSE_BLOCK, 9) + pack("<Q", (1 << 63) - 1) + b"a",
        head(BACKUP_SPARSE_BLOCK, 8) + pack("<Q", (1 << 64) - 1),
        pack("<IIQI", 4, 0, 0, 3) + b"abc",
        pack("<IIQI", 4, 0, 0, 65538) + bytes(65538),
        pack("<IIQI", 4, 0, 0, 0xFFFFFFFE),
    ],
)
def test_sizes_that_cannot_be_are_refused(data: bytes) -> None:
    assert kind_of(reader_of(data).next) == "malformed"


def test_the_largest_name_is_read() -> None:
    header = reader_of(pack("<IIQI", 4, 0, 0, 65536) + b"a\0" * 32768).next()
    assert header is not None
    assert header.name == "a" * 32768


def test_a_small_content_has_a_limit() -> None:
    reader = reader_of(head(3, 1 << 40))
    reader.next()
    with pytest.raises(LimitError):
        reader.content(1 << 16)


def test_ids_have_names_where_they_are_known() -> None:
    assert [stream_id_name(number) for number in (1, 4, 9, 11, 12)] == [
        "DATA",
        "ALTERNATE_DATA",
        "SPARSE_BLOCK",
        "GHOSTED_FILE_EXTENTS",
        "12",
    ]


# ------------------------------------------------------------------------------------------------------------- writing


def test_a_content_longer_than_announced_is_not_written() -> None:
    target = BytesIO()
    writer = BackupStreamWriter(target.write)
    writer.header(BACKUP_DATA, 3)
    writer.write(b"ab")
    assert kind_of(lambda: writer.write(b"cd")) == "data-too-long"
    assert target.getvalue() == head(BACKUP_DATA, 3) + b"ab"


def test_a_content_shorter_than_announced_is_noticed_at_the_next_stream_and_at_the_end() -> None:
    writer = BackupStreamWriter(BytesIO().write)
    writer.header(BACKUP_DATA, 3)
    writer.write(b"ab")
    assert kind_of(lambda: writer.header(BACKUP_EA_DATA, 0)) == "data-too-short"
    assert kind_of(writer.close) == "data-too-short"


def test_what_does_not_fit_into_a_head_is_refused() -> None:
    writer = BackupStreamWriter(BytesIO().write)
    assert kind_of(lambda: writer.header(BACKUP_DATA, -1)) == "malformed"
    assert kind_of(lambda: writer.header(BACKUP_DATA, 1 << 63)) == "malformed"
    assert kind_of(lambda: writer.header(BACKUP_SPARSE_BLOCK, 0, offset=-1)) == "malformed"
    assert kind_of(lambda: writer.header(BACKUP_ALTERNATE_DATA, 0, name="n" * 32769)) == "malformed"


@given(
    st.lists(
        st.tuples(
            st.integers(0, 20), st.integers(0, 31), NAMES, st.binary(max_size=50), st.integers(0, (1 << 63) - 100)
        ),
        max_size=6,
    ),
    st.integers(1, 64),
)
def test_what_is_written_reads_back(streams: list[tuple[int, int, str, bytes, int]], at_most: int) -> None:
    def fill(writer: BackupStreamWriter) -> None:
        for stream_id, attributes, name, content, offset in streams:
            writer.header(stream_id, len(content), attributes=attributes, name=name, offset=offset)
            writer.write(memoryview(content))

    expected = [
        (StreamHeader(number, attributes, len(content), name, offset if number == BACKUP_SPARSE_BLOCK else 0), content)
        for number, attributes, name, content, offset in streams
    ]
    assert everything(reader_of(written(fill), at_most)) == expected


@given(st.binary(max_size=120))
def test_garbage_is_read_or_refused_but_nothing_else(data: bytes) -> None:
    for make in (reader_of, seeking_reader_of):
        try:
            everything(make(data))
        except WclayerError as error:
            assert isinstance(error, FormatError)
            assert error.kind in ("malformed", "unexpected-eof")


# -------------------------------------------------------------------------------------------------------------- sparse


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
        lambda writer: write_sparse(
            writer, 9, ((8, 1),), [(8, b"x")], stream_id=BACKUP_ALTERNATE_DATA, name=":s:$DATA"
        )
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
def test_a_sparse_file_comes_back_with_its_size_ranges_and_content(
    file: tuple[int, Ranges, bytes], piece: int
) -> None:
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
        try:
            while header := reader.next():
                result = take(reader, header)
                if isinstance(result, SparseAssembler):
                    for _ in result:
                        pass
        except WclayerError as error:
            assert isinstance(error, FormatError)
