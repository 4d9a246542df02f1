"""Reading a blob that is still on its way."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from wclayer.errors import DigestMismatchError, NetworkError, StoreError
from wclayer.oci.content.arrivals import Arrivals
from wclayer.oci.content.following import Arrival, FollowingSource
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.content.store import ContentStore
from wclayer.oci.digests import digest_of
from wclayer.oci.network import NO_TRANSFERS

DATA = os.urandom(1_000_000)
DIGEST = digest_of(DATA)
DEADLINE = 60.0


class Pace:
    """A fetch that goes as far as the test lets it."""

    def __init__(self, data: bytes = DATA) -> None:
        self.data = data
        self.calls = 0
        self._allowed = 0
        self._error: Exception | None = None
        self._changed = threading.Condition()

    def allow(self, count: int = len(DATA)) -> None:
        with self._changed:
            self._allowed = count
            self._changed.notify_all()

    def fail(self, error: Exception) -> None:
        with self._changed:
            self._error = error
            self._changed.notify_all()

    def __call__(self, partial: PartialBlob, advance: Callable[[int], None]) -> None:
        self.calls += 1
        while partial.front < partial.size:
            with self._changed:
                self._changed.wait_for(lambda: self._allowed > partial.front or self._error is not None, 0.05)
                allowed = self._allowed
                if self._error is not None:
                    raise self._error
            advance(0)
            piece = self.data[partial.front : allowed]
            if piece:
                partial.write(partial.front, piece)
                advance(len(piece))


@pytest.fixture
def arrivals(tmp_path: Path) -> Arrivals:
    return Arrivals(ContentStore(tmp_path / "store"), NO_TRANSFERS, 2)


def read(source: FollowingSource, count: int) -> bytes:
    """Exactly so many bytes."""
    data = bytearray(count)
    view = memoryview(data)
    while view:
        got = source.readinto(view)
        assert got
        view = view[got:]
    return bytes(data)


def test_what_has_come_is_read_and_the_rest_when_it_comes(arrivals: Arrivals) -> None:
    pace = Pace()
    source = FollowingSource(arrivals.begin(DIGEST, len(DATA), pace))
    pace.allow(1000)
    assert read(source, 1000) == DATA[:1000]
    pace.allow(500_000)
    assert read(source, 499_000) == DATA[1000:500_000]
    pace.allow()
    assert read(source, 500_000) == DATA[500_000:]
    assert source.readinto(bytearray(10)) == 0
    source.close()
    late = FollowingSource(arrivals.begin(DIGEST, len(DATA), pace))
    assert read(late, len(DATA)) == DATA
    assert late.readinto(bytearray(10)) == 0
    late.close()
    assert pace.calls == 1
    arrivals.close()


def test_the_end_is_told_only_when_the_digest_is_right(arrivals: Arrivals) -> None:
    pace = Pace(DATA[:-1] + bytes([DATA[-1] ^ 1]))
    arrival = arrivals.begin(DIGEST, len(DATA), pace)
    source = FollowingSource(arrival)
    pace.allow(len(DATA) - 1)
    assert read(source, len(DATA) - 1) == DATA[:-1]
    pace.allow()
    with pytest.raises(DigestMismatchError):
        read(source, 2)
    with pytest.raises(DigestMismatchError):
        arrival.wait()
    source.close()
    arrivals.close()


def test_a_blob_cut_off_because_it_was_wrong_has_no_end_before_that_is_told(tmp_path: Path) -> None:
    (tmp_path / "partial").write_bytes(DATA[:-1])
    arrival = Arrival(DIGEST, len(DATA), tmp_path / "partial", tmp_path / "whole")
    arrival.advance(len(DATA) - 1)
    source = FollowingSource(arrival)
    assert read(source, len(DATA) - 1) == DATA[:-1]
    (tmp_path / "partial").write_bytes(b"")  # as a reset does, before it tells
    arrival.advance(len(DATA))
    reset = threading.Timer(0.1, arrival.advance, (0,))
    reset.start()
    with pytest.raises(DigestMismatchError, match="fetched once more"):
        source.readinto(bytearray(10))
    reset.join()
    source.close()


def test_a_whole_blob_that_was_cut_off_is_an_error_and_no_end(tmp_path: Path) -> None:
    (tmp_path / "partial").write_bytes(DATA[:1000])
    arrival = Arrival(DIGEST, len(DATA), tmp_path / "partial", tmp_path / "whole")
    source = FollowingSource(arrival)
    arrival.succeed()
    (tmp_path / "whole").write_bytes(DATA[:1000])
    assert read(source, 1000) == DATA[:1000]
    with pytest.raises(StoreError, match="shorter"):
        source.readinto(bytearray(10))
    source.close()


def test_what_goes_wrong_goes_to_whoever_waits_and_the_next_one_tries_again(arrivals: Arrivals) -> None:
    pace = Pace()
    source = FollowingSource(arrivals.begin(DIGEST, len(DATA), pace))
    pace.allow(1000)
    assert read(source, 1000) == DATA[:1000]
    pace.fail(NetworkError("it broke"))
    with pytest.raises(NetworkError, match="it broke"):
        read(source, 1)
    source.close()
    better = Pace()
    better.allow()
    again = FollowingSource(arrivals.begin(DIGEST, len(DATA), better))
    assert read(again, len(DATA)) == DATA
    again.close()
    arrivals.close()


def test_what_was_read_before_all_is_fetched_anew_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "partial").write_bytes(bytes(1000))
    arrival = Arrival(DIGEST, len(DATA), tmp_path / "partial", tmp_path / "whole")
    source = FollowingSource(arrival)
    arrival.advance(1000)
    assert read(source, 500) == bytes(500)
    untouched = FollowingSource(arrival)
    arrival.advance(0)
    (tmp_path / "partial").write_bytes(DATA[:600])
    arrival.advance(600)
    with pytest.raises(DigestMismatchError, match="arrived damaged"):
        source.readinto(bytearray(10))
    assert read(untouched, 600) == DATA[:600]
    source.close()
    untouched.close()


def test_a_read_that_waits_can_be_ended(arrivals: Arrivals) -> None:
    source = FollowingSource(arrivals.begin(DIGEST, len(DATA), Pace()))
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(source.readinto(bytearray(10))))
    thread.start()
    time.sleep(0.05)
    assert thread.is_alive()
    source.interrupt()
    thread.join(DEADLINE)
    assert got == [0]
    arrivals.close()


def test_an_interruption_ends_all_waiting_and_keeps_what_came(arrivals: Arrivals, tmp_path: Path) -> None:
    pace = Pace()
    pace.allow(1000)
    arrival = arrivals.begin(DIGEST, len(DATA), pace)
    source = FollowingSource(arrival)
    assert read(source, 1000) == DATA[:1000]
    errors: list[Exception] = []

    def wait() -> None:
        try:
            arrival.wait()
        except StoreError as error:
            errors.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    arrivals.interrupt()
    thread.join(DEADLINE)
    assert "interrupted" in str(errors[0])
    with pytest.raises(StoreError, match="interrupted"):
        read(source, 1)
    source.close()
    arrivals.close()
    with pytest.raises(StoreError, match="interrupted"):
        arrivals.begin(DIGEST, len(DATA), pace)
    seen: list[int] = []
    store = ContentStore(tmp_path / "store")

    def rest(partial: PartialBlob) -> None:
        seen.append(partial.front)
        partial.write(partial.front, DATA[partial.front :])

    store.ingest(DIGEST, len(DATA), rest)
    assert seen == [1000]


def test_no_more_come_at_once_than_may_and_the_first_comes_first(arrivals: Arrivals) -> None:
    order: list[int] = []
    running: list[int] = []
    most: list[int] = []
    lock = threading.Lock()

    def fetch(number: int, data: bytes) -> Callable[[PartialBlob, Callable[[int], None]], None]:
        def run(partial: PartialBlob, advance: Callable[[int], None]) -> None:
            with lock:
                order.append(number)
                running.append(number)
                most.append(len(running))
            time.sleep(0.02)
            partial.write(0, data)
            advance(len(data))
            with lock:
                running.remove(number)

        return run

    blobs = [os.urandom(1000) for _ in range(10)]
    begun = [arrivals.begin(digest_of(data), 1000, fetch(number, data)) for number, data in enumerate(blobs)]
    for arrival in begun:
        arrival.wait()
    assert max(most) == 2
    assert all(abs(place - number) <= 1 for place, number in enumerate(order))
    arrivals.close()


def test_who_waits_is_asked_now_and_then_whether_to_go_on(arrivals: Arrivals) -> None:
    class Enough(Exception):
        pass

    def enough() -> None:
        raise Enough

    arrival = arrivals.begin(DIGEST, len(DATA), Pace())
    with pytest.raises(Enough):
        arrival.wait(enough)
    arrivals.close()
