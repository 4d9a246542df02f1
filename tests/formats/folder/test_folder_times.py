"""The times of folders, kept until nothing is added to them any more."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from wclayer.formats.folder.door import Door
from wclayer.formats.folder.folder_times import FolderTimes, seal_folders
from wclayer.formats.folder.host_times import host_times

TIME = 132_000_000_000_000_000


@given(st.lists(st.tuples(st.binary(max_size=300), st.none() | st.integers(-(1 << 70), 1 << 70))))
def test_everything_that_was_noted_comes_back_in_order_and_means_the_same_time(
    notes: list[tuple[bytes, int | None]],
) -> None:
    times = FolderTimes()
    for path, time in notes:
        times.note(path, time)
    found = list(times)
    assert [path for path, _ in found] == [path for path, _ in notes]
    assert [host_times(time) for _, time in found] == [host_times(time) for _, time in notes]
    assert [time is None for _, time in found] == [time is None for _, time in notes]


def test_what_is_said_last_of_a_folder_counts(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    times = FolderTimes()
    times.note(b"a", None)
    times.note(b"a/b", TIME + 1)
    times.note(b"a", TIME)
    root = os.open(tmp_path, os.O_RDONLY)
    door = Door(root, where="layer")
    try:
        seal_folders(door, times, 0o550)
    finally:
        door.close()
        os.close(root)
    for name, time in (("a", TIME), ("a/b", TIME + 1)):
        status = (tmp_path / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o550, host_times(time)[1])
        (tmp_path / name).chmod(0o700)
