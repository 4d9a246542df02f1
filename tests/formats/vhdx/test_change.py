"""Growing and rebasing a disk: what it holds afterwards, and after a crash at any moment."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.vhdx.model import Model, scatter
from wclayer.errors import FormatError, StoreError, UsageError
from wclayer.formats.vhdx import VhdxDisk, VhdxWriter, create_vhdx, new_vhdx, rebase_vhdx, resize_vhdx
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.newdisk import new_disk_file

MIB, GIB = 1 << 20, 1 << 30


def read(path: Path) -> bytes:
    with VhdxDisk.open(path) as disk:
        return disk.read(0, disk.size)


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_a_disk_grows_by_zeros(kind: str, tmp_path: Path, peer: Callable[[str], str]) -> None:
    path, model = tmp_path / "d.vhdx", Model(21 * MIB + 512)
    with new_vhdx(path, model.size, kind="fixed" if kind == "fixed" else "dynamic", block_size=2 * MIB) as disk:
        scatter(disk, model, random.Random(1), 8)
        disk.write(model.size - 512, b"e" * 512)
        model.write(model.size - 512, b"e" * 512)
    with path.open("r+b") as file:  # what lies behind the end, in the last block, is nobody's
        end = path.read_bytes().index(b"e" * 512) + 512
        file.seek(end)
        file.write(b"junk")
    resize_vhdx(path, 75 * MIB)
    model.size = 75 * MIB
    with VhdxDisk.open(path) as found:
        assert (found.kind, found.size) == (kind, 75 * MIB)
        model.check(found.read)
    done = subprocess.run([peer("qemu-img"), "check", str(path)], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "No errors were found on the image."


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_a_table_that_no_longer_fits_moves(kind: str, tmp_path: Path, peer: Callable[[str], str]) -> None:
    path = tmp_path / "d.vhdx"
    with new_vhdx(path, GIB, kind="fixed" if kind == "fixed" else "dynamic") as disk:
        disk.write(5 * MIB, b"here")
    resize_vhdx(path, 200 * GIB)
    with VhdxDisk.open(path) as found:
        assert found.regions[next(iter(found.regions))].length >= MIB
        assert found.read(5 * MIB, 6) == b"here\0\0"
        assert found.read(200 * GIB - 4, 100) == bytes(4)
        assert found.block(200 * 1024 - 1)[0] == (6 if kind == "fixed" else 0)
    done = subprocess.run([peer("qemu-img"), "check", str(path)], check=False, capture_output=True, text=True)
    assert done.stdout.strip() == "No errors were found on the image."


def test_a_child_grows_beyond_its_parent(tmp_path: Path) -> None:
    with new_vhdx(tmp_path / "base.vhdx", 3 * MIB + 512) as disk:
        disk.write(0, b"b" * disk.size)
    with new_vhdx(tmp_path / "child.vhdx", parent=tmp_path / "base.vhdx") as disk:
        disk.write(MIB, b"c" * 512)
        disk.write(3 * MIB, b"d" * 512)
    resize_vhdx(tmp_path / "child.vhdx", 10 * MIB)
    expected = b"b" * MIB + b"c" * 512 + b"b" * (2 * MIB - 512) + b"d" * 512
    assert read(tmp_path / "child.vhdx") == expected.ljust(10 * MIB, b"\0")


def test_disks_do_not_shrink_and_a_size_that_is_there_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "d.vhdx"
    create_vhdx(path, 8 * MIB)
    before = path.read_bytes()
    resize_vhdx(path, 8 * MIB)
    for size in (4 * MIB, 8 * MIB + 1, 65 << 40):
        with pytest.raises(UsageError):
            resize_vhdx(path, size)
    assert path.read_bytes() == before


def test_a_parent_that_grew_no_longer_fits(tmp_path: Path) -> None:
    create_vhdx(tmp_path / "base.vhdx", 8 * MIB)
    create_vhdx(tmp_path / "child.vhdx", parent=tmp_path / "base.vhdx")
    resize_vhdx(tmp_path / "base.vhdx", 16 * MIB)
    with pytest.raises(FormatError) as caught:
        VhdxDisk.open(tmp_path / "child.vhdx")
    assert caught.value.kind == "parent-changed"


def test_a_child_finds_a_parent_that_moved(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b/c").mkdir(parents=True)
    base, child = tmp_path / "a/base.vhdx", tmp_path / "b/c/child.vhdx"
    with new_vhdx(base, 4 * MIB) as disk:
        disk.write(0, b"base")
    create_vhdx(child, parent=base)
    with VhdxDisk.open(child, within=[tmp_path]) as disk:
        assert disk.parameters.locator is not None
        assert disk.parameters.locator.paths == ["..\\..\\a\\base.vhdx", "\\\\?\\C:\\base.vhdx"]
        linkage = disk.parameters.locator.linkage
    moved = base.rename(tmp_path / "b" / ("base " + "long" * 50 + ".vhdx"))
    rebase_vhdx(child, moved)
    with VhdxDisk.open(child, within=[tmp_path]) as disk:
        assert disk.read(0, 5) == b"base\0"
        assert disk.parameters.locator is not None
        assert disk.parameters.locator.linkage == linkage
    rebase_vhdx(child, moved.rename(tmp_path / "b/c/x.vhdx"))
    assert read(child)[:4] == b"base"


def test_a_disk_is_only_rebased_to_its_own_parent(tmp_path: Path) -> None:
    base, other, child = (tmp_path / name for name in ("base.vhdx", "other.vhdx", "child.vhdx"))
    create_vhdx(base, 4 * MIB)
    create_vhdx(other, 4 * MIB)
    create_vhdx(child, parent=base)
    before = child.read_bytes()
    with pytest.raises(FormatError, match="is not what it was"):
        rebase_vhdx(child, other)
    with pytest.raises(UsageError, match="cannot stand on itself"):
        rebase_vhdx(child, child)
    with pytest.raises(UsageError, match="has no parent"):
        rebase_vhdx(other, base)
    assert child.read_bytes() == before


def test_a_disk_that_somebody_else_changes_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "d.vhdx"
    create_vhdx(path, 4 * MIB)
    with DiskFile(path, writable=True), pytest.raises(StoreError, match="in use"):
        resize_vhdx(path, 8 * MIB)
    resize_vhdx(path, 8 * MIB)


class Crash(Exception):
    """The machine stops here."""


class Recorder:
    """Notes what a file is told to do, so that a crash at any moment can be played."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[tuple[str, int, bytes]] = []
        write, set_size = DiskFile.write, DiskFile.set_size

        def noted_write(file: DiskFile, offset: int, data: bytes) -> None:
            self.steps.append(("write", offset, bytes(data)))
            write(file, offset, data)

        def noted_size(file: DiskFile, size: int) -> None:
            self.steps.append(("size", size, b""))
            set_size(file, size)

        monkeypatch.setattr(DiskFile, "write", noted_write)
        monkeypatch.setattr(DiskFile, "set_size", noted_size)
        monkeypatch.setattr(DiskFile, "sync", lambda _file: self.steps.append(("sync", 0, b"")))

    def crashes(self, before: bytes, chance: random.Random) -> list[bytes]:
        """What the file may be after a crash: all up to a step, where writes since the last sync may be lost."""
        found = []
        for end in range(len(self.steps) + 1):
            synced = max((i for i in range(end) if self.steps[i][0] == "sync"), default=-1)
            for attempt in range(3):
                file = bytearray(before)
                for index, (what, offset, data) in enumerate(self.steps[:end]):
                    if index > synced and attempt and chance.random() < 0.5:
                        continue
                    if what == "size":
                        file[offset:] = b""
                        file.extend(bytes(offset - len(file)))
                    elif what == "write":
                        file.extend(bytes(max(0, offset + len(data) - len(file))))
                        file[offset : offset + len(data)] = data
                found.append(bytes(file))
        return found


@pytest.mark.parametrize("kind", ["dynamic", "fixed", "child", "moved table"])
def test_a_crash_while_a_disk_grows_leaves_the_old_or_the_new_size(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, chance = tmp_path / "d.vhdx", random.Random(5)
    old, new = (3 * MIB + 512, 6 * MIB) if kind != "moved table" else (127 * GIB, 129 * GIB)
    create_vhdx(tmp_path / "base.vhdx", old)
    parent = tmp_path / "base.vhdx" if kind == "child" else None
    with new_vhdx(path, old, kind="fixed" if kind == "fixed" else "dynamic", parent=parent) as disk:
        disk.write(MIB, b"m" * 512)
        disk.write(old - 512, b"e" * 512)
    before = path.read_bytes()
    recorder = Recorder(monkeypatch)
    resize_vhdx(path, new)
    monkeypatch.undo()
    sizes = set()
    for state in recorder.crashes(before, chance):
        path.write_bytes(state)
        with VhdxDisk.open(path) as disk:
            sizes.add(disk.size)
            assert disk.size in (old, new)
            assert disk.read(MIB, 1024) == (b"m" * 512).ljust(1024, b"\0")
            assert disk.read(old - 512, MIB) == (b"e" * 512).ljust(min(MIB, disk.size - old + 512), b"\0")
            assert disk.read(disk.size - 512, 512) == (b"e" * 512 if disk.size == old else bytes(512))
    assert sizes == {old, new}


def test_a_crash_while_a_disk_is_rebased_leaves_the_old_or_the_new_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, child = tmp_path / "base.vhdx", tmp_path / "child.vhdx"
    with new_vhdx(base, 4 * MIB) as disk:
        disk.write(0, b"base")
    create_vhdx(child, parent=base)
    before = child.read_bytes()
    other = tmp_path / ("copy " + "of " * 60 + "base.vhdx")
    other.write_bytes(base.read_bytes())
    recorder = Recorder(monkeypatch)
    rebase_vhdx(child, other)
    monkeypatch.undo()
    names = set()
    for state in recorder.crashes(before, random.Random(6)):
        child.write_bytes(state)
        with VhdxDisk.open(child) as disk:
            assert disk.read(0, 5) == b"base\0"
            assert disk.parent is not None
            names.add(disk.parent.path.name)
    assert names == {base.name, other.name}


def test_a_new_disk_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "d.vhdx"

    def crash(disk: VhdxWriter | DiskFile) -> None:
        disk.write(0, b"half")
        raise Crash

    with pytest.raises(Crash), new_vhdx(path, 4 * MIB) as disk:
        crash(disk)
    assert list(tmp_path.iterdir()) == []
    left = tmp_path / f".{path.name}.0123456789abcdef"  # of a process that was killed
    left.write_bytes(b"half a disk")
    create_vhdx(path, 4 * MIB)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(StoreError, match="is there already"):
        create_vhdx(path, 4 * MIB)
    with new_disk_file(tmp_path / "other.vhdx") as _file:  # while one is being made, its file is nobody's to remove
        before = set(tmp_path.iterdir())
        with pytest.raises(Crash), new_disk_file(tmp_path / "other.vhdx") as second:
            crash(second)
        assert set(tmp_path.iterdir()) == before


def test_where_there_are_no_hard_links_nothing_is_overwritten_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    create_vhdx(tmp_path / "d.vhdx", 4 * MIB)
    with pytest.raises(StoreError, match="is there already"), new_disk_file(tmp_path / "e.vhdx"):
        (tmp_path / "e.vhdx").write_bytes(b"came in between")
    assert (tmp_path / "e.vhdx").read_bytes() == b"came in between"
    monkeypatch.undo()
    with pytest.raises(StoreError, match="is there already"), new_disk_file(tmp_path / "f.vhdx"):
        (tmp_path / "f.vhdx").write_bytes(b"came in between")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.vhdx", "e.vhdx", "f.vhdx"]
    with pytest.raises(StoreError):
        create_vhdx(tmp_path / "nowhere/d.vhdx", 4 * MIB)


def test_what_no_disk_can_be_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "d.vhdx"
    create_vhdx(tmp_path / "base.vhdx", 4 * MIB)
    for size in (0, -512, 511, 1000, (64 << 40) + 512, None):
        with pytest.raises(UsageError):
            create_vhdx(path, size)
    for block_size in (0, 512, 3 << 20, 512 << 20):
        with pytest.raises(UsageError):
            create_vhdx(path, MIB, block_size=block_size)
    with pytest.raises(UsageError):
        create_vhdx(path, MIB, logical_sector_size=1024)
    with pytest.raises(UsageError):
        create_vhdx(path, kind="fixed", parent=tmp_path / "base.vhdx")
    with new_vhdx(path, parent=tmp_path / "base.vhdx") as disk:
        for offset, length in ((-512, 512), (4 * MIB, 512), (1, 512), (0, 100)):
            with pytest.raises(UsageError):
                disk.write(offset, bytes(length))
    create_vhdx(tmp_path / "largest.vhdx", 64 << 40, block_size=256 << 20)
    with VhdxDisk.open(tmp_path / "largest.vhdx") as disk:
        assert disk.read((64 << 40) - 10, 100) == bytes(10)
