"""More paths that lead elsewhere, in the spellings of a tar, and file systems that will not link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.transport.layers import content_of, info, put, volume
from wclayer.errors import UnsafeEntryError, WclayerError
from wclayer.formats.volume import Volume, VolumeError

OPERATIONS: dict[str, Callable[[Volume, str], object]] = {
    "open": lambda v, path: os.close(v.open_data(v.ensure_not_reparse_point(path))),
    "create": lambda v, path: v.create(path).close(),
    "mkdir": Volume.mkdir,
    "mkdirall": Volume.mkdir_all,
    "lstat": Volume.lstat,
    "remove": Volume.remove,
    "removeall": Volume.remove_all,
    "link-old": lambda v, path: v.link(v, path, "linked"),
    "link-new": lambda v, path: v.link(v, "file", path),
    "ensure": Volume.ensure_not_reparse_point,
}
PATHS = {
    "nothing": "",
    "up": "../outside/secret",
    "up after cleaning": "a/../../outside/secret",
    "up and down again": "d/../../root/../outside/secret",
    "absolute": "/file",
    "backslash absolute": "\\file",
    "device": "\\\\?\\C:\\file",
    "drive in the middle": "d/C:/x",
    "through a link": "out/secret",
    "through a link and back": "out/../out/secret",
    "a link with a slash behind it": "out/.",
}


@pytest.fixture(params=["openat2", "component by component"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    """A volume with a link of this machine to a folder with a secret."""
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    made = volume(tmp_path / "root")
    if request.param != "openat2":
        made.tree.door._has_openat2 = False
    put(made, "file", b"content")
    made.mkdir("d")
    (tmp_path / "root" / "out").symlink_to(tmp_path / "outside")
    made.tree.locate("file", "open").folder.names = None
    return made


def untouched(tmp_path: Path) -> None:
    assert [(p.name, p.read_text()) for p in (tmp_path / "outside").iterdir()] == [("secret", "secret")]
    assert os.stat(tmp_path / "outside" / "secret").st_nlink == 1
    assert stat.S_ISLNK(os.lstat(tmp_path / "root" / "out").st_mode)
    assert sorted(os.listdir(tmp_path / "root")) == ["d", "file", "out"]


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("kind", PATHS)
def test_40_no_spelling_of_a_tar_leads_out_either(tmp_path: Path, root: Volume, operation: str, kind: str) -> None:
    path = PATHS[kind]
    if operation in ("lstat", "remove", "removeall") and kind == "a link with a slash behind it":
        OPERATIONS[operation](root, path)
        assert root.exists("out") == (operation == "lstat")
        return
    if operation in ("open", "lstat", "ensure") and kind == "nothing":
        assert root.lstat(path).is_directory  # the root itself may be looked at, as a walk does
        return
    with pytest.raises((UnsafeEntryError, VolumeError)):
        OPERATIONS[operation](root, path)
    untouched(tmp_path)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_40_a_backslash_in_a_name_separates_and_is_never_part_of_it(
    tmp_path: Path, root: Volume, operation: str
) -> None:
    (tmp_path / "root" / "d\\file").write_text("a name of this machine with a backslash in it")
    put(root, "d\\inside", b"content")
    fine = {"open": "d\\inside", "lstat": "d\\inside", "remove": "d\\inside", "removeall": "d\\inside"}
    fine |= {"link-old": "d\\inside", "ensure": "d\\inside"}
    OPERATIONS[operation](root, fine.get(operation, "d\\new"))
    assert (tmp_path / "root" / "d\\file").read_text() == "a name of this machine with a backslash in it"
    assert not (tmp_path / "root" / "d\\new").exists()
    assert (tmp_path / "root" / "d" / "new").exists() == (operation in ("create", "mkdir", "mkdirall", "link-new"))


@pytest.mark.parametrize("number", [errno.EXDEV, errno.EMLINK, errno.EPERM])
def test_42_a_link_that_this_machine_cannot_make_is_told_and_nothing_is_made(
    root: Volume, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "link", refuse)
    assert not root.link(root, "file", "d\\x")
    assert not root.exists("d\\x")
    assert content_of(root, "file") == b"content"


def test_42_read_only_files_in_folders_are_removed_with_them(root: Volume) -> None:
    for name in ("a", "b\\c"):
        put(root, f"d\\{name}", b"x", info(0x21))
    os.chmod(root.root / "d" / "a", 0o400)
    root.remove_all("d")
    assert not root.exists("d")


def test_42_the_first_error_counts_and_the_rest_is_removed_all_the_same(
    root: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        put(root, f"d\\{name}", b"x")
    unlink = os.unlink

    def stubborn(path: str | bytes, **options: int) -> None:
        if os.fsdecode(path) == "b":
            raise OSError(errno.EACCES, "Permission denied")
        unlink(path, **options)

    monkeypatch.setattr(os, "unlink", stubborn)
    with pytest.raises(WclayerError, match="Permission denied"):
        root.remove_all("d")
    monkeypatch.undo()
    assert [status.path for status in root.walk("d")] == ["d", "d\\b"]
