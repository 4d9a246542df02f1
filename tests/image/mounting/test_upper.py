"""The upper folder keeps what was closed or synchronised, whatever happens to the process."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.image.mounting.conftest import Mount, Unpacked
from tests.image.mounting.test_commit import BASE
from wclayer.errors import FormatError, NotFoundError, UnsupportedError, WclayerError
from wclayer.image.mounting.committing import commit
from wclayer.image.mounting.mounts import mount_information, unmount
from wclayer.image.mounting.upper import Upper

WRITER = """
import itertools, pathlib, sys
try:
    for count in itertools.count():
        name = f"{sys.argv[2]}-{count}"
        folder = pathlib.Path(sys.argv[1], name)
        folder.mkdir()
        (folder / "file").write_bytes(name.encode())
        (folder / "file").rename(folder / "done")
except OSError:
    sys.exit(0)
"""
"""Somebody who writes until nothing answers any more."""


def killed(mount: Path) -> None:
    """Kill the process of a mount, and take the dead mount away."""
    about = mount_information(mount)
    assert about is not None
    os.kill(about.process, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            mount.stat()
        except OSError:
            break
        time.sleep(0.01)
    assert unmount(mount).process == 0
    assert mount_information(mount) is None


def test_what_was_closed_or_synchronised_survives_a_killed_process(
    mounted: Mount, layers: Unpacked, tmp_path: Path
) -> None:
    image, upper = layers(BASE), tmp_path / "upper"
    mount = mounted(image, upper=upper)
    files = mount / "Files"
    (files / "closed").write_bytes(b"closed" * 100_000)
    (files / "d" / "f.txt").write_bytes(b"changed")
    os.setxattr(files / "d" / "f.txt", "user.s", b"new")
    (files / "d" / "other.txt").unlink()
    (files / "e").rename(files / "moved")
    open_file = (files / "open").open("wb", buffering=0)
    open_file.write(b"synchronised")
    os.fsync(open_file.fileno())
    killed(mount)
    with pytest.raises(OSError, match=r"not connected|aborted"):
        open_file.close()
    again = mounted(image, upper=upper) / "Files"
    assert (again / "closed").read_bytes() == b"closed" * 100_000
    assert (again / "open").read_bytes() == b"synchronised"
    assert (again / "d" / "f.txt").read_bytes() == b"changed"
    assert os.getxattr(again / "d" / "f.txt", "user.s") == b"new"
    assert sorted(os.listdir(again)) == ["closed", "d", "moved", "open"]
    assert os.listdir(again / "d") == ["f.txt"]
    assert (again / "moved" / "x").read_bytes() == b"x"


def test_a_process_that_is_killed_at_any_moment_leaves_a_whole_upper_folder(
    mounted: Mount, layers: Unpacked, tmp_path: Path
) -> None:
    image, upper = layers(BASE), tmp_path / "upper"
    for number in range(3):
        mount = mounted(image, upper=upper)
        about = mount_information(mount)
        assert about is not None
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(mount / "Files"), str(number)])
        deadline = time.monotonic() + 30
        while len(os.listdir(mount / "Files")) < 10 * (number + 1) and time.monotonic() < deadline:
            time.sleep(0.01)
        killed(mount)
        assert writer.wait(30) == 0
    mount = mounted(image, upper=upper)
    made = [entry for entry in (mount / "Files").iterdir() if "-" in entry.name]
    assert len(made) >= 20
    for folder in made:
        names = os.listdir(folder)
        assert names in ([], ["file"], ["done"])
        if names == ["done"]:
            assert (folder / "done").read_bytes() == folder.name.encode()
    unmount(mount)
    owned = {path.name for path in (upper / "data").iterdir()}
    opened = Upper(upper, writable=False)
    assert owned == {str(node.id) for node in opened.nodes.values() if node.data}
    opened.close()


def test_content_that_belongs_to_nothing_is_removed(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    image, upper = layers(BASE), tmp_path / "upper"
    unmount(mounted(image, upper=upper))
    (upper / "data" / "77").write_bytes(b"left behind")
    mount = mounted(image, upper=upper)
    (mount / "Files" / "new").write_bytes(b"new")
    (mount / "Files" / "gone").write_bytes(b"gone")
    (mount / "Files" / "gone").unlink()
    unmount(mount)
    assert [path.read_bytes() for path in (upper / "data").iterdir()] == [b"new"]


def test_a_file_without_a_name_can_still_be_used(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    with (mount / "Files" / "e" / "x").open("r+b", buffering=0) as file:
        (mount / "Files" / "e" / "x").unlink()
        assert os.listdir(mount / "Files" / "e") == []
        file.write(b"written")
        file.truncate(4)
        file.seek(0)
        assert file.read() == b"writ"
        assert os.fstat(file.fileno()).st_size == 4
    with tempfile.TemporaryFile(dir=mount / "Files") as unnamed, open(os.dup(unnamed.fileno()), "rb") as same:
        unnamed.write(b"temporary")
        unnamed.flush()
        assert os.fstat(same.fileno()).st_size == 9
    with (mount / "Files" / "d" / "f.txt").open("rb") as reader, (mount / "Files" / "d" / "f.txt").open("rb") as other:
        (mount / "Files" / "d" / "f.txt").unlink()
        reader.close()
        assert (os.fstat(other.fileno()).st_size, other.read()) == (4, b"data")
    assert os.listdir(mount / "Files" / "d") == ["other.txt"]
    assert list(tmp_path.rglob(".fuse_hidden*")) == []


def test_renaming_obeys_what_was_asked(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    files = mount / "Files"
    with pytest.raises(OSError, match="Invalid argument"):
        (files / "e").rename(files / "E" / "inside")
    (files / "d" / "f.txt").rename(files / "D" / "F.TXT")
    assert sorted(os.listdir(files / "d")) == ["F.TXT", "other.txt"]
    assert (files / "d" / "f.txt").read_bytes() == b"data"
    # What must not replace does not, and what should be exchanged is not replaced instead.
    libc = ctypes.CDLL(None, use_errno=True)
    names = [os.fsencode(files / "d" / name) for name in ("other.txt", "F.TXT")]
    for flags, expected in ((1, errno.EEXIST), (2, errno.EINVAL)):
        assert libc.renameat2(-1, names[0], -1, names[1], flags) == -1
        assert ctypes.get_errno() == expected
    assert libc.renameat2(-1, names[0], -1, names[0] + b"2", 1) == 0
    (files / "d" / "other.txt2").rename(files / "d" / "other.txt")
    with pytest.raises(FileExistsError):
        os.link(files / "d" / "other.txt", files / "d" / "f.TXT")
    with pytest.raises(OSError, match="not empty"):
        (files / "e").rename(files / "d")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("UPDATE name SET name = '../../x' WHERE name = 'new'", "a file called"),
        ("UPDATE name SET name = 'a/b' WHERE name = 'new'", "a file called"),
        ("UPDATE name SET node = 99 WHERE name = 'new'", "damaged"),
        ("UPDATE name SET parent = 99 WHERE name = 'new'", "damaged"),
        ("UPDATE node SET attributes = 'x' WHERE id > 1", "damaged"),
        ("UPDATE node SET security = 'x' WHERE id > 1", "damaged"),
        ("UPDATE node SET ea = x'ff' WHERE id > 1", "invalid extended attribute"),
        ("UPDATE node SET last_write_time = 'x' WHERE id > 1", "not a number"),
        ("DELETE FROM node WHERE id = 1", "damaged"),
    ],
)
def test_a_damaged_upper_folder_is_refused(
    mounted: Mount, layers: Unpacked, tmp_path: Path, statement: str, said: str
) -> None:
    upper = made(mounted, layers, tmp_path)
    with sqlite3.connect(upper / "upper.db") as database:
        assert database.execute(statement).rowcount > 0
    database.close()
    with pytest.raises(FormatError, match=said):
        commit(str(upper), str(tmp_path / "layer.tar"))


def test_content_that_is_no_file_is_not_read(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    upper, secret = made(mounted, layers, tmp_path), tmp_path / "secret"
    secret.write_bytes(b"new")
    (content,) = (upper / "data").iterdir()
    content.unlink()
    content.symlink_to(secret)
    with pytest.raises(WclayerError):
        commit(str(upper), str(tmp_path / "layer.tar"))
    assert not (tmp_path / "layer.tar").exists()


def made(mounted: Mount, layers: Unpacked, tmp_path: Path) -> Path:
    """An upper folder with one new file."""
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    (mount / "Files" / "new").write_bytes(b"new")
    unmount(mount)
    return tmp_path / "upper"


def test_what_is_no_upper_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="is no upper folder"):
        Upper(tmp_path, writable=False)
    with sqlite3.connect(tmp_path / "upper.db") as database:
        database.execute("CREATE TABLE other(x)")
    database.close()
    with pytest.raises(FormatError, match="no database of an upper folder"):
        Upper(tmp_path, writable=False)
    newer = tmp_path / "newer"
    Upper(newer, writable=True).close()
    with sqlite3.connect(newer / "upper.db") as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(UnsupportedError, match="version 99"):
        Upper(newer, writable=True)
    (tmp_path / "noise").mkdir()
    (tmp_path / "noise" / "upper.db").write_bytes(os.urandom(8192))
    with pytest.raises(FormatError):
        Upper(tmp_path / "noise", writable=False)
