"""A file that comes into being whole, or not at all."""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from wclayer.errors import StoreError
from wclayer.image.whole import new_file, sweep_files


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with new_file(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_after_an_error_everything_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyError), new_file(path) as file:
        raise KeyError(file.write(b"new"))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_dead_process_left_is_removed_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    dead = tmp_path / ".file.0123456789abcdef"
    dead.write_bytes(b"half")
    others = [tmp_path / name for name in (".file.0123", ".other.0123456789abcdef", "file.0123456789abcdef")]
    for other in others:
        other.write_bytes(b"")
    (tmp_path / ".file.fedcba9876543210").mkdir()
    with new_file(tmp_path / "file") as first:
        assert not dead.exists()
        first.write(b"1")
        with new_file(tmp_path / "file") as second:
            second.write(b"2")
        assert (tmp_path / "file").read_bytes() == b"2"
    assert (tmp_path / "file").read_bytes() == b"1"
    sweep_files(tmp_path / "file")
    assert all(other.exists() for other in others)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no flock, and nothing is swept there")
@pytest.mark.parametrize("ended", [True, False], ids=["removed already", "about to be removed"])
def test_a_file_that_another_writer_takes_for_a_leftover_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """It has its name before it has its lock; who sweeps in between removes it."""
    import fcntl

    path = tmp_path / "file"
    lock = fcntl.flock
    swept: list[Path] = []
    with ExitStack() as sweeping:

        def late(descriptor: int, operation: int) -> None:
            if not swept:
                swept.extend(tmp_path.iterdir())
                if ended:
                    sweep_files(path)
                else:
                    lock(sweeping.enter_context(swept[0].open("rb")).fileno(), fcntl.LOCK_EX)
            lock(descriptor, operation)

        monkeypatch.setattr(fcntl, "flock", late)
        with new_file(path) as file:
            file.write(b"whole")
            assert len(swept) == 1
            assert swept[0] not in tmp_path.iterdir()
    assert path.read_bytes() == b"whole"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)
    for data in (b"1", b"2"):
        with new_file(path) as file:
            file.write(data)
    assert path.read_bytes() == b"2"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write"), new_file(tmp_path / "nowhere" / "file"):
        pytest.fail("there is no file to write")


@pytest.fixture
def synchronised(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what was made durable."""
    sizes: list[int] = []
    fsync = os.fsync

    def counted(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", counted)
    return sizes


def write(path: Path, data: bytes, *, sync: bool) -> None:
    with new_file(path, sync=sync) as file:
        file.write(data)


@pytest.mark.parametrize(("sync", "expected"), [(True, [3]), (False, [])])
def test_a_new_file_is_durable_when_that_is_asked_for(
    tmp_path: Path, synchronised: list[int], sync: bool, expected: list[int]
) -> None:
    write(tmp_path / "file", b"new", sync=sync)
    assert (tmp_path / "file").read_bytes() == b"new"
    assert synchronised == expected


def test_what_replaces_a_file_is_durable_first(tmp_path: Path, synchronised: list[int]) -> None:
    (tmp_path / "file").write_bytes(b"old")
    write(tmp_path / "file", b"newer", sync=False)
    assert (tmp_path / "file").read_bytes() == b"newer"
    assert synchronised == [5]
