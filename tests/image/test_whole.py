from __future__ import annotations

import os
from pathlib import Path

import pytest

from wclayer.errors import StoreError
from wclayer.image.whole import new_file


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


def test_after_an_error_everything_is_as_it_was(tmp_path: Path) -> None:
    def stop() -> None:
        with new_file(tmp_path / "file", sync=False) as file:
            file.write(b"half")
            raise StoreError("stopped")

    (tmp_path / "file").write_bytes(b"old")
    with pytest.raises(StoreError, match="stopped"):
        stop()
    assert (tmp_path / "file").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]
