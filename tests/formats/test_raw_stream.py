"""What is read by position behaves as a file does, and asks for no more than lies where it is."""

from __future__ import annotations

import io

import pytest

from wclayer.errors import FormatError
from wclayer.formats.raw_stream import RawStream

DATA = bytes(range(200))


class Pieces(RawStream):
    """``DATA``, at most 30 bytes at once; what was asked for is kept."""

    def __init__(self) -> None:
        super().__init__(len(DATA))
        self.asked: list[tuple[int, int]] = []

    def _read_at(self, position: int, length: int) -> bytes:
        self.asked.append((position, length))
        return DATA[position : position + min(length, 30)]


def test_it_says_what_it_can() -> None:
    stream = Pieces()
    assert (stream.readable(), stream.seekable(), stream.writable(), stream.size) == (True, True, False, 200)


def test_a_read_is_one_piece_and_goes_on_where_the_last_one_ended() -> None:
    stream = Pieces()
    assert stream.read(10) == DATA[:10]
    assert stream.read(100) == DATA[10:40]
    assert stream.tell() == 40
    assert stream.asked == [(0, 10), (10, 100)]


def test_everything_comes_from_pieces() -> None:
    assert Pieces().readall() == DATA
    assert io.BufferedReader(Pieces(), 64).read() == DATA
    words = memoryview(bytearray(16)).cast("I")
    assert Pieces().readinto(words) == 16
    assert words.tobytes() == DATA[:16]


def test_nothing_is_asked_for_behind_the_end_or_for_an_empty_buffer() -> None:
    stream = Pieces()
    assert stream.seek(-5, io.SEEK_END) == 195
    assert stream.read(100) == DATA[195:]
    assert stream.asked == [(195, 5)]
    assert stream.read(1) == b""
    assert (stream.seek(1000), stream.read(1), stream.tell()) == (1000, b"", 1000)
    stream.seek(0)
    assert stream.readinto(bytearray()) == 0
    assert stream.asked == [(195, 5)]


def test_there_is_no_position_before_the_start_and_none_from_nowhere() -> None:
    stream = Pieces()
    assert (stream.seek(7), stream.seek(-2, io.SEEK_CUR), stream.tell()) == (7, 5, 5)
    for offset, whence in ((-1, io.SEEK_SET), (-6, io.SEEK_CUR), (-201, io.SEEK_END), (0, 9)):
        with pytest.raises(ValueError, match=f"no position: seek to {offset} from {whence}"):
            stream.seek(offset, whence)
    assert stream.tell() == 5


def test_an_error_leaves_the_position_where_it_was() -> None:
    class Damaged(RawStream):
        def _read_at(self, position: int, length: int) -> bytes:
            raise FormatError(f"{length} bytes at {position}: damaged")

    stream = Damaged(9)
    stream.seek(3)
    with pytest.raises(FormatError, match="2 bytes at 3: damaged"):
        stream.read(2)
    assert stream.tell() == 3
