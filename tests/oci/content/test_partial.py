"""A blob on its way: what was written is known again, whatever happened, and a lie never becomes a blob."""

from __future__ import annotations

import errno
import hashlib
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import DigestMismatchError, StoreError
from wclayer.oci.content.extents import Extents
from wclayer.oci.content.journal import journal_path, read_journal
from wclayer.oci.content.partial import PartialBlob, read_front
from wclayer.oci.digests import Digest, digest_of

MEBI = 1 << 20


def content(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


Open = Callable[[bytes], PartialBlob]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """``opened(data)`` is the blob of ``data``, as far as it is there; closed in the end."""
    with ExitStack() as stack:
        yield lambda data: stack.enter_context(PartialBlob(tmp_path / "blob.partial", digest_of(data), len(data)))


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)).map(lambda pair: (min(pair), max(pair)))))
def test_extents_are_the_set_of_their_bytes(ranges: list[tuple[int, int]]) -> None:
    extents = Extents(ranges)
    model = {byte for start, end in ranges for byte in range(start, end)}
    listed = list(extents)
    assert {byte for start, end in listed for byte in range(start, end)} == model
    assert extents.total == len(model)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(listed)), "disjoint, not touching"
    assert extents.front == next(byte for byte in range(61) if byte not in model)
    gaps = {byte for start, end in extents.missing(60) for byte in range(start, end)}
    assert gaps == set(range(60)) - model


def test_a_range_that_ends_before_it_starts_is_none() -> None:
    with pytest.raises(ValueError, match="5 to 4"):
        Extents().add(5, 4)


@pytest.mark.parametrize("size", [0, 1, 1000, MEBI, 5 * MEBI + 3])
def test_a_blob_written_in_any_order_is_verified(tmp_path: Path, opened: Open, size: int) -> None:
    data = content(size)
    partial = opened(data)
    pieces = [(start, data[start : start + 70_001]) for start in range(0, size, 70_001)]
    random.Random(2).shuffle(pieces)
    for start, piece in pieces:
        partial.write(start, piece)
    assert partial.is_complete
    assert partial.front == size
    partial.finish()
    assert partial.path.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["blob.partial"]


def test_sha512_is_verified_as_well(tmp_path: Path) -> None:
    data = content(2 * MEBI)
    with PartialBlob(tmp_path / "b", Digest("sha512", hashlib.sha512(data).hexdigest()), len(data)) as partial:
        partial.write(0, data)
        partial.finish()


def test_the_front_grows_up_to_the_first_hole_and_is_told(opened: Open) -> None:
    data = content(300)
    partial = opened(data)
    seen: list[int] = []
    partial.on_front = seen.append
    partial.write(100, data[100:200])
    assert (partial.front, partial.present, partial.missing()) == (0, 100, [(0, 100), (200, 300)])
    partial.write(0, data[:100])
    partial.write(200, data[200:])
    partial.reset()
    assert seen == [200, 300, 0]


def test_what_the_observer_of_the_front_raises_goes_through_and_nothing_is_lost(opened: Open) -> None:
    class Cancelled(Exception):
        pass

    def cancel(front: int) -> None:
        raise Cancelled

    data = content(3000)
    partial = opened(data)
    partial.on_front = cancel
    with pytest.raises(Cancelled):
        partial.write(0, data[:1000])
    partial.close()
    assert opened(data).front == 1000


def test_another_start_goes_on_where_the_first_one_ended(opened: Open) -> None:
    data = content(4 * MEBI)
    first = opened(data)
    first.write(0, data[:MEBI])
    first.write(2 * MEBI, data[2 * MEBI : 3 * MEBI])
    first.close()
    second = opened(data)
    assert second.extents() == [(0, MEBI), (2 * MEBI, 3 * MEBI)]
    assert read_front(second.path) == second.front == MEBI
    for start, end in second.missing():
        second.write(start, data[start:end])
    second.finish()
    assert second.path.read_bytes() == data


def test_the_journal_of_another_blob_is_not_believed(opened: Open) -> None:
    data, other = content(1000), content(1000, seed=2)
    first = opened(data)
    first.write(0, data[:500])
    first.close()
    second = opened(other)
    assert second.present == 0
    assert second.path.stat().st_size == 0


def test_a_journal_cut_off_or_damaged_anywhere_names_nothing_that_is_not_there(opened: Open) -> None:
    data = content(1000)
    with opened(data) as partial:
        for start in (0, 100, 300, 400):
            partial.write(start, data[start : start + 100])
            partial.checkpoint()
        journal = journal_path(partial.path)
        whole = journal.read_bytes()
        truth = set(range(200)) | set(range(300, 500))
        for cut in range(len(whole) + 1):
            for damaged in (whole[:cut], whole[:cut] + b"\0" * 40, whole[:cut] + b"7" + whole[cut + 1 :]):
                journal.write_bytes(damaged)
                known = read_journal(partial.path, partial.digest, partial.size)
                assert known is None or {i for start, end in known for i in range(start, end)} <= truth
        journal.write_bytes(whole)


def test_a_journal_that_speaks_of_bytes_beyond_the_end_of_the_file_is_not_believed(opened: Open) -> None:
    data = content(1000)
    with opened(data) as partial:
        partial.write(0, data[:400])
        partial.checkpoint()
        partial.write(400, data[400:900])
    os.truncate(partial.path, 700)
    assert opened(data).extents() == [(0, 400)]


def test_a_journal_that_lies_is_caught_by_the_digest(opened: Open) -> None:
    data = content(2 * MEBI)
    with opened(data) as partial:
        partial.write(0, data)
    with partial.path.open("r+b") as file:
        file.seek(MEBI)
        file.write(b"\0" * 4096)
    again = opened(data)
    assert again.is_complete
    with pytest.raises(DigestMismatchError, match="has the digest"):
        again.finish()
    assert (again.present, again.front) == (0, 0)
    again.write(0, data)
    again.finish()
    assert again.path.read_bytes() == data


def test_a_whole_file_without_journal_is_believed_until_it_is_hashed(opened: Open) -> None:
    data = content(MEBI)
    partial = opened(data)
    partial.write(0, data)
    partial.finish()  # and killed before anybody gave the file its name
    opened(data).finish()
    partial.path.write_bytes(b"\0" * len(data))
    with pytest.raises(DigestMismatchError):
        opened(data).finish()


@pytest.mark.parametrize("left", [b"short", b"x" * 2000])
def test_a_file_of_another_size_without_journal_is_started_anew(tmp_path: Path, opened: Open, left: bytes) -> None:
    (tmp_path / "blob.partial").write_bytes(left)
    assert opened(content(1000)).present == 0


def test_a_blob_with_a_hole_is_not_finished_and_not_forgotten(opened: Open) -> None:
    data = content(1000)
    partial = opened(data)
    partial.write(0, data[:999])
    with pytest.raises(DigestMismatchError, match="999 of the 1000 bytes"):
        partial.finish()
    partial.write(999, data[999:])
    partial.finish()


def test_more_than_was_promised_is_refused(opened: Open) -> None:
    partial = opened(content(1000))
    with pytest.raises(DigestMismatchError, match="longer than the 1000 bytes"):
        partial.write(900, b"x" * 101)


def test_a_closed_blob_is_not_written_to(opened: Open) -> None:
    data = content(1000)
    partial = opened(data)
    partial.write(0, data)
    partial.finish()
    partial.close()
    with pytest.raises(ValueError, match="closed"):
        partial.write(0, data)


def test_bytes_of_the_front_are_not_written_over(opened: Open) -> None:
    data = content(3 * MEBI)
    partial = opened(data)
    assert partial.write(0, data[:MEBI]) == MEBI
    assert partial.write(0, bytes(MEBI)) == 0
    assert partial.write(10, bytes(10)) == 0
    assert partial.write(MEBI // 2, bytes(MEBI // 2) + data[MEBI : 2 * MEBI]) == MEBI
    assert partial.write(MEBI, data[MEBI:]) == MEBI
    partial.finish()
    assert partial.path.read_bytes() == data


@given(st.data())
def test_any_order_of_any_pieces_ends_in_the_right_digest(data: st.DataObject) -> None:
    size = 4 * MEBI
    whole = content(size, seed=7)
    cuts = data.draw(st.lists(st.integers(0, size), max_size=8).map(lambda cuts: sorted({0, size, *cuts})))
    pieces = data.draw(st.permutations(list(itertools.pairwise(cuts))))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "blob"
        stop = data.draw(st.integers(0, len(pieces)))
        for part in (pieces[:stop], pieces[stop:]):  # and another start in between
            with PartialBlob(path, digest_of(whole), size) as partial:
                for start, end in part:
                    partial.write(start, whole[start:end])
                if partial.is_complete:
                    partial.finish()
        assert path.read_bytes() == whole
        assert [found.name for found in Path(folder).iterdir()] == ["blob"]


def test_a_disk_that_fails_while_it_is_written_to_behind_is_not_forgotten(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = threading.Event()

    def fail(_: int) -> None:
        asked.set()
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("wclayer.oci.content.writeback._flush", fail)
    data = content(40 * MEBI)
    partial = opened(data)
    partial.write(0, data[: 36 * MEBI])
    assert asked.wait(60)
    partial.write(36 * MEBI, data[36 * MEBI :])
    with pytest.raises(StoreError, match="Input/output error"):
        partial.finish()


def test_discarding_leaves_nothing(tmp_path: Path, opened: Open) -> None:
    partial = opened(content(1000))
    partial.write(0, b"x")
    partial.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path, opened: Open) -> None:
    (tmp_path / "blob.partial").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        opened(b"x")


def test_several_threads_write_at_the_same_time(opened: Open) -> None:
    data = content(8 * MEBI)
    partial = opened(data)
    fronts: list[int] = []
    partial.on_front = fronts.append

    def part(number: int) -> None:
        for start in range(number * 10_007, len(data), 4 * 10_007):
            partial.write(start, data[start : start + 10_007])

    threads = [threading.Thread(target=part, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    partial.finish()
    assert partial.path.read_bytes() == data
    assert fronts == sorted(fronts)


def test_the_front_starts_again_while_it_is_being_hashed(opened: Open) -> None:
    wrong, right = content(16 * MEBI, seed=1), content(16 * MEBI, seed=2)
    partial = opened(right)
    for attempt in range(3):
        partial.write(0, wrong[: (attempt + 3) * MEBI])
        partial.reset()
    partial.write(0, right)
    partial.finish()


WRITER = """
import sys
from pathlib import Path
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.digests import digest_of
data = Path(sys.argv[1]).read_bytes()
partial = PartialBlob(Path(sys.argv[2]), digest_of(data), len(data))
print(partial.present, flush=True)
for start, end in partial.missing():
    for at in range(start, end, 10_000):
        partial.write(at, data[at : min(at + 10_000, end)])
        if at % 70_000 == 0:
            partial.checkpoint()
partial.finish()
"""


def test_a_writer_killed_at_any_moment_goes_on_and_ends_with_the_right_blob(tmp_path: Path) -> None:
    data = content(24 * MEBI)
    (tmp_path / "data").write_bytes(data)
    partial = tmp_path / "blob.partial"
    command = [sys.executable, "-c", WRITER, str(tmp_path / "data"), str(partial)]
    moments = random.Random(3)
    present = [0]
    for run in range(100):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            present.append(int(process.stdout.readline()))
            time.sleep(moments.random() * 0.01 * run)  # longer each time: the end is reached as well
            process.send_signal(signal.SIGKILL)
        known = read_journal(partial)
        for start, end in known or ():
            with partial.open("rb") as file:
                file.seek(start)
                assert file.read(end - start) == data[start:end], "journalled before it was written"
        if process.returncode == 0:
            break
    else:
        pytest.fail(f"no run came to an end: {present}")
    assert present == sorted(present)
    assert partial.read_bytes() == data
