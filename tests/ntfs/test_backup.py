"""Backup streams: what is written reads back, and whatever is cut short or out of order is noticed."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError, LimitError
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
from wclayer.ntfs.names import to_utf16le

SPARSE = STREAM_SPARSE_ATTRIBUTE
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


def refusal(call: Callable[[], object]) -> str | None:
    """The kind of FormatError that ``call`` raises, None when it returns; any other error passes."""
    try:
        call()
    except FormatError as error:
        return error.kind
    return None


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
    assert reader.read(9) == reader.content(0) == b""
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
        assert refusal(lambda make=make: everything(make(data))) in (None, "malformed", "unexpected-eof")  # type: ignore[misc]
