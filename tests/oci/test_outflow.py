from __future__ import annotations

import gc
import os
import threading
import time
from collections import deque
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import StoreError
from wclayer.oci import CompressedWriter
from wclayer.oci.outflow import SLAB_SIZE, Outflow


@pytest.fixture(autouse=True)
def no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    assert set(threading.enumerate()) <= before


def is_working() -> bool:
    return any(thread.name == "wclayer-outflow" for thread in threading.enumerate())


class Taken:
    """A taker that keeps all it gets."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.threads: set[int] = set()

    def __call__(self, slab: memoryview) -> None:
        self.threads.add(threading.get_ident())
        self.data += slab


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, SLAB_SIZE // 3)), max_size=12))
def test_every_taker_gets_everything_in_order(parts: list[tuple[bytes, int]]) -> None:
    takers = [Taken(), Taken()]
    outflow = Outflow(takers)
    for part, times in parts:
        outflow.write(part * times)
    outflow.finish()
    expected = b"".join(part * times for part, times in parts)
    assert [bytes(taker.data) for taker in takers] == [expected] * 2


def test_what_fits_into_a_slab_needs_no_threads() -> None:
    taken = Taken()
    outflow = Outflow([taken])
    outflow.write(bytes(SLAB_SIZE - 1))
    outflow.finish()
    assert taken.threads == {threading.get_ident()}
    assert len(taken.data) == SLAB_SIZE - 1


def test_a_piece_may_change_after_it_was_taken() -> None:
    taken = Taken()
    outflow = Outflow([taken])
    piece = bytearray(SLAB_SIZE // 2)
    for number in range(20):
        piece[:] = bytes([number]) * len(piece)
        outflow.write(piece)
    outflow.finish()
    assert taken.data == b"".join(bytes([number]) * len(piece) for number in range(20))


def test_a_slow_taker_holds_up_the_writer_and_memory_stays_bounded() -> None:
    gate = threading.Event()
    written = 0

    def wait(_slab: memoryview) -> None:
        gate.wait()

    def write() -> None:
        nonlocal written
        for _ in range(100):
            outflow.write(bytes(SLAB_SIZE))
            written += 1

    outflow = Outflow([wait])
    writer = threading.Thread(target=write)
    writer.start()
    deadline = time.monotonic() + 30
    while written < 7 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert written < 10
    gate.set()
    writer.join()
    outflow.finish()
    assert written == 100


def test_what_a_taker_raises_is_raised_in_the_writer_at_the_latest_at_the_end() -> None:
    def refuse(_slab: memoryview) -> None:
        raise StoreError("full")

    outflow = Outflow([refuse, Taken()])
    with pytest.raises(StoreError, match="full"):
        deque(map(outflow.write, [bytes(SLAB_SIZE)] * 1000), 0)
    with pytest.raises(StoreError, match="full"):
        outflow.finish()


def test_a_stuck_taker_does_not_keep_who_gives_up() -> None:
    read, write = os.pipe()
    outflow = Outflow([lambda slab: os.write(write, slab)])
    for _ in range(4):
        outflow.write(bytes(SLAB_SIZE))  # nobody reads from the pipe
    begun = time.monotonic()
    outflow.stop()
    outflow.join()
    assert time.monotonic() - begun < 20
    os.set_blocking(read, False)
    deadline = time.monotonic() + 30
    while is_working() and time.monotonic() < deadline:  # now it can end
        try:
            os.read(read, 1 << 20)
        except BlockingIOError:
            time.sleep(0.01)
    os.close(read)
    os.close(write)


def test_a_writer_that_nobody_closed_leaves_no_threads() -> None:
    class Sink:
        def write(self, data: bytes | bytearray | memoryview, /) -> int:
            return len(data)

    writer = CompressedWriter(Sink(), "none")
    writer.write(bytes(3 * SLAB_SIZE))
    del writer
    gc.collect()
    deadline = time.monotonic() + 30
    while is_working() and time.monotonic() < deadline:
        time.sleep(0.01)
