"""All of a buffer arrives, in pieces, whatever the file takes at a time."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.writing import BITE, write_whole, write_whole_at


class Reluctant:
    """Takes at most ``most`` bytes of what it is given, and remembers how long each piece was."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.taken = bytearray()
        self.offered: list[int] = []

    def write(self, data: memoryview) -> int:
        self.offered.append(len(data))
        piece = data[: self.most]
        self.taken += piece
        return len(piece)


@given(st.binary(max_size=500), st.integers(1, 600))
def test_all_arrives_however_little_is_taken_at_a_time(data: bytes, most: int) -> None:
    file = Reluctant(most)
    write_whole(file.write, data)
    assert file.taken == data


@pytest.mark.parametrize("size", [0, 1, BITE - 1, BITE, BITE + 1, 3 * BITE + 5])
def test_no_write_is_longer_than_a_bite(size: int) -> None:
    file = Reluctant(1 << 30)
    write_whole(file.write, memoryview(bytes(size)))
    assert len(file.taken) == size
    assert max(file.offered, default=0) <= BITE
    assert len(file.offered) == -(-size // BITE)


def test_at_an_offset(tmp_path: Path) -> None:
    data = os.urandom(2 * BITE + 7)
    with (tmp_path / "file").open("w+b", buffering=0) as file:
        write_whole_at(partial(os.pwrite, file.fileno()), data, 11)
        assert os.pread(file.fileno(), 1 << 20, 0) == bytes(11) + data


def test_an_error_is_passed_on() -> None:
    def full(_data: memoryview) -> int:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(full, b"x")
