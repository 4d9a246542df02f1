"""moby's suite for graph drivers (``daemon/graphdriver/graphtest``), restated for trees of plain files."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from tests.image.stacks import file, folder
from tests.store.tars import add, tree
from wclayer.errors import UsageError
from wclayer.store.driver import Change, ChangeKind, WindowsFilterDriver
from wclayer.store.driver.checking import check_home
from wclayer.store.readwrite import ReadWriteBody


def files(driver: WindowsFilterDriver, name: str) -> Path:
    """The mounted files of drive C."""
    return Path(driver.get(name)) / "Files"


def written(driver: WindowsFilterDriver, name: str, parent: str, contents: dict[str, bytes]) -> None:
    """A read-only layer made in a read-write one."""
    driver.create_read_write(f"{name}-rw", parent)
    root = files(driver, f"{name}-rw")
    for path, data in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    driver.put(f"{name}-rw")
    driver.commit(name, f"{name}-rw")
    driver.remove(f"{name}-rw")


def test_create_empty(merged: WindowsFilterDriver) -> None:
    merged.create("empty")
    assert merged.exists("empty")
    assert tree(Path(merged.get("empty"))) == {}
    merged.put("empty")
    merged.create_read_write("empty-rw")
    assert tree(Path(merged.get("empty-rw"))) == {}
    merged.put("empty-rw")
    for name in ("empty", "empty-rw"):
        merged.remove(name)
        assert not merged.exists(name)


def test_create_base_and_create_snap(merged: WindowsFilterDriver) -> None:
    contents = {"a file": b"old", "a subdir/an empty": b"", "a subdir/deep/er": os.urandom(5000)}
    written(merged, "base", "", contents)
    before = tree(files(merged, "base"))
    merged.put("base")
    assert {path: data for path, data in before.items() if data is not None} == contents
    merged.create_read_write("snap", "base")
    assert tree(files(merged, "snap")) == before
    merged.put("snap")
    assert merged.changes("snap") == []
    assert list(check_home(merged.home)) == []


def test_deep_layer_read(merged: WindowsFilterDriver) -> None:
    add(merged, "layer-0", "", [folder("Files"), file("Files/top", b"0"), file("Files/0", b"0")])
    for number in range(1, 30):
        name = f"{number}".encode()
        add(
            merged,
            f"layer-{number}",
            f"layer-{number - 1}",
            [folder("Files"), file("Files/top", name), file(f"Files/{number}", name)],
        )
    merged.create_read_write("rw", "layer-29")
    found = tree(files(merged, "rw"))
    assert found == {"top": b"29", **{str(number): str(number).encode() for number in range(30)}}
    merged.put("rw")


def test_diff_apply(merged: WindowsFilterDriver) -> None:
    contents = {f"file-{n}": os.urandom(64) for n in range(10)} | {
        "var/lib/x": b"x",
        "var/lib/d/y": b"y",
        "var/z": b"z",
    }
    written(merged, "base", "", contents)
    merged.create_read_write("upper-rw", "base")
    root = files(merged, "upper-rw")
    (root / "new").write_bytes(os.urandom(1234))
    (root / "file-3").unlink()
    shutil.rmtree(root / "var" / "lib")
    expected = tree(root)
    merged.put("upper-rw")
    merged.commit("upper", "upper-rw")
    size = merged.diff_size("upper", "base")
    assert size == 1234
    merged.create("copy", "base")
    with merged.diff("upper", "base") as diff:
        assert merged.apply_diff("copy", "base", diff).size == size
    assert tree(files(merged, "copy")) == expected
    merged.put("copy")
    assert merged.changes("copy", "base") == merged.changes("upper", "base")


def test_changes(merged: WindowsFilterDriver) -> None:
    chance = random.Random(20)
    contents = {f"d{n % 3}/file-{n}": os.urandom(64) for n in range(20)}
    written(merged, "base", "", contents)
    merged.create_read_write("upper", "base")
    root = files(merged, "upper")
    expected: set[Change] = set()
    for path in contents:
        kind = chance.choice([*ChangeKind, None])
        if kind is ChangeKind.DELETED:
            (root / path).unlink()
            expected.add(Change(f"Files/{path}", kind))
        elif kind is ChangeKind.MODIFIED:
            (root / path).write_bytes(os.urandom(64))
            expected.add(Change(f"Files/{path}", kind))
        elif kind is ChangeKind.ADDED:
            (root / f"{path}-new").write_bytes(b"new")
            expected.add(Change(f"Files/{path}-new", kind))
    for _ in range(2):  # while it is mounted, and afterwards
        found = merged.changes("upper", "base")
        assert {change for change in found if change.path.count("/") == 2} == expected
        assert len(found) == len(set(found))
        merged.put("upper")


def test_set_quota_the_size_of_a_disk_is_kept_for_where_there_is_one(merged: WindowsFilterDriver) -> None:
    # Folders have no quota on this machine: what is asked for is recorded, and what is no size is refused.
    merged.create_read_write("rw", storage_options={"size": "50M"})
    assert ReadWriteBody(merged.layer_path("rw")).state.size == 50 << 20
    with pytest.raises(UsageError):
        merged.create_read_write("other", storage_options={"size": "50 X"})
