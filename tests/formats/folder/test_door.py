"""Nothing gets through the door that would leave the folder."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.formats.folder.layers import file, folder
from wclayer.errors import IntegrityError, StoreError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.formats.folder import LayerFolderWriter
from wclayer.formats.folder import door as door_module
from wclayer.formats.folder.door import Door, NameTakenError


@pytest.fixture(params=["openat2", "component by component"])
def door(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """A door to ``tmp_path/root``, by either way of opening folders."""
    if request.param != "openat2":

        def missing(_here: int, _path: bytes) -> int:
            raise OSError(errno.ENOSYS, "no such call")

        monkeypatch.setattr(door_module, "open_folder_beneath", missing)
    (tmp_path / "root").mkdir()
    root = os.open(tmp_path / "root", os.O_RDONLY)
    opened = Door(root, where="here", capacity=8)
    yield opened
    opened.close()
    os.close(root)


def test_a_folder_is_opened(door: Door, tmp_path: Path) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    assert os.fstat(door.directory(b"a/b")).st_ino == (tmp_path / "root/a/b").stat().st_ino
    assert door.directory(b"") == door.root


@pytest.mark.parametrize("path", [b"..", b"a/..", b"a/../..", b"/", b"/etc", b".", b"a//b", b"a/"])
def test_a_path_that_leaves_is_refused(door: Door, tmp_path: Path, path: bytes) -> None:
    (tmp_path / "root/a/b").mkdir(parents=True)
    with pytest.raises(StoreError):
        door.directory(path)


@pytest.mark.parametrize("path", [b"link", b"link/inside", b"a/link", b"a/link/inside"])
@pytest.mark.parametrize("target", ["absolute", "relative", "within"])
def test_a_symlink_is_not_followed(door: Door, tmp_path: Path, path: bytes, target: str) -> None:
    (tmp_path / "outside/inside").mkdir(parents=True)
    (tmp_path / "root/a/inside").mkdir(parents=True)
    targets = {"absolute": str(tmp_path / "outside"), "relative": "../../outside", "within": "."}
    for place in ("root/link", "root/a/link"):
        (tmp_path / place).symlink_to(targets[target])
    with pytest.raises(StoreError):
        door.directory(path)


@pytest.mark.parametrize("leaf", [b"", b".", b"..", b"a/b", b"/etc/passwd", b"nul\0", b"../x"])
def test_a_leaf_is_one_plain_name(door: Door, leaf: bytes) -> None:
    for use in (
        lambda: door.create(b"", leaf),
        lambda: door.make_directory(b"", leaf),
        lambda: door.open(b"", leaf),
    ):
        with pytest.raises(WclayerError):
            use()


def test_what_is_there_is_not_overwritten(door: Door, tmp_path: Path) -> None:
    (tmp_path / "root/file").write_text("x")
    (tmp_path / "root/dangling").symlink_to(tmp_path / "created")
    for leaf in (b"file", b"dangling"):
        with pytest.raises(NameTakenError):
            door.create(b"", leaf)
        with pytest.raises(NameTakenError):
            door.make_directory(b"", leaf)
    assert not (tmp_path / "created").exists()


def test_only_ordinary_files_are_opened(door: Door, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "root/pipe")
    (tmp_path / "root/folder").mkdir()
    (tmp_path / "root/link").symlink_to("/etc/passwd")
    for leaf in (b"pipe", b"folder", b"link", b"missing"):
        with pytest.raises(IntegrityError):
            door.open(b"", leaf)


def test_a_link_is_made_to_the_file_itself(door: Door, tmp_path: Path) -> None:
    (tmp_path / "root/d").mkdir()
    (tmp_path / "root/d/a").write_text("x")
    assert door.link(door, b"d", b"a", b"", b"b", size=1)
    assert (tmp_path / "root/b").stat().st_ino == (tmp_path / "root/d/a").stat().st_ino
    with pytest.raises(NameTakenError):
        door.link(door, b"d", b"a", b"", b"b", size=1)


@pytest.mark.parametrize("other", ["another size", "symlink", "pipe"])
def test_a_file_exchanged_while_it_is_linked_is_noticed(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other: str
) -> None:
    source = tmp_path / "root/a"
    source.write_text("x")
    real = os.link

    def racing(*arguments: object, **options: object) -> None:
        source.unlink()
        if other == "symlink":
            source.symlink_to("/etc/passwd")
        elif other == "pipe":
            os.mkfifo(source)
        else:
            source.write_text("xyz")
        real(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "link", racing)
    with pytest.raises(IntegrityError, match="3 bytes instead of 1" if other == "another size" else "no ordinary file"):
        door.link(door, b"", b"a", b"", b"b", size=1)
    assert not os.path.lexists(tmp_path / "root/b")


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_a_file_that_cannot_be_linked_is_looked_at_all_the_same(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refused(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refused)
    (tmp_path / "root/a").write_text("x")
    (tmp_path / "root/folder").mkdir()
    assert not door.link(door, b"", b"a", b"", b"b", size=1)
    with pytest.raises(IntegrityError, match="1 bytes instead of 2"):
        door.link(door, b"", b"a", b"", b"b", size=2)
    with pytest.raises(IntegrityError, match="no ordinary file"):
        door.link(door, b"", b"folder", b"", b"b", size=0)


def test_a_missing_source_of_a_link_is_named(door: Door) -> None:
    with pytest.raises(IntegrityError, match="missing") as caught:
        door.link(door, b"", b"a", b"", b"b", size=1)
    assert caught.value.path == "a"


def test_a_full_disk_is_named_as_such(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "mkdir", full)
    with pytest.raises(StoreError, match="no space left") as caught:
        door.make_directory(b"", b"folder")
    assert caught.value.path == "folder"
    assert caught.value.hint
    assert caught.value.exit_code == 8


def test_descriptors_are_kept_until_enough_others_were_asked_for(door: Door, tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"root/{number}").mkdir()
    held = door.directory(b"0")
    for number in range(1, 8):
        door.directory(str(number).encode())
    assert os.fstat(held).st_ino == (tmp_path / "root/0").stat().st_ino
    assert door.directory(b"0") == held
    for number in range(8, 15):
        door.directory(str(number).encode())
    assert door.directory(b"0") == held
    for number in range(1, 20):
        assert os.fstat(door.directory(str(number).encode())).st_ino == (tmp_path / f"root/{number}").stat().st_ino
    assert len(door._open) == 8


def test_many_folders_wide_and_deep_are_all_the_right_ones(door: Door, tmp_path: Path) -> None:
    paths = [f"{number}" for number in range(250)] + ["/".join(["deep" * 20] * depth) for depth in range(1, 250)]
    for path in paths:
        parent, _, leaf = path.rpartition("/")
        door.make_directory(parent.encode(), leaf.encode())
    import random

    random.Random(1).shuffle(paths)
    identities = {path: os.fstat(door.directory(path.encode())).st_ino for path in paths}
    assert len(set(identities.values())) == len(paths)
    for path in reversed(paths):
        assert os.fstat(door.directory(path.encode())).st_ino == identities[path]
    assert len(os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd")) < 60


def test_when_descriptors_run_out_the_kept_ones_are_given_back(door: Door, tmp_path: Path) -> None:
    import resource

    for number in range(6):
        (tmp_path / f"root/{number}").mkdir()
        door.directory(str(number).encode())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "root/last").mkdir()
    highest = max(int(name) for name in os.listdir("/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(highest, soft), hard))
    filled: list[int] = []
    try:
        while True:
            filled.append(os.dup(door.root))
    except OSError:
        pass
    try:
        assert stat.S_ISDIR(os.fstat(door.directory(b"last")).st_mode)
    finally:
        for descriptor in filled:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("replaced", ["Files", "Files/sub"])
def test_a_symlink_planted_in_the_growing_layer_is_not_followed(tmp_path: Path, replaced: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (tmp_path / "store").mkdir()
    writer = LayerFolderWriter(tmp_path / "store/layer")
    writer.write(folder("Files"))
    writer.write(folder("Files/sub"))
    (staging,) = (tmp_path / "store").iterdir()
    writer._tree.door.close()  # so that it must be reached again, as in a layer of many folders
    (staging / replaced).rename(staging / "moved")
    (staging / replaced).symlink_to(outside)
    with pytest.raises((StoreError, UnsafeEntryError)):
        writer.write(file("Files/sub/secret", b"x"))
    writer.abort()
    assert list(outside.iterdir()) == []
    assert list((tmp_path / "store").iterdir()) == []


def test_a_system_without_descriptor_relative_calls_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "supports_dir_fd", set())
    with pytest.raises(UnsupportedError, match="relative to an open folder"):
        LayerFolderWriter(tmp_path / "layer")
    assert list(tmp_path.iterdir()) == []
