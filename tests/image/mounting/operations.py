"""A model of a tree, and random operations that are done to it and to a mount: both must end up the same.

The model knows what the documentation promises: names without regard to case, hard links, read-only, times, streams.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from wclayer.ntfs.names import fold
from wclayer.ntfs.reparse import build_link

READONLY = 1


@dataclass
class ModelFile:
    """A file: all its names share it. ``link`` is the reparse buffer of a link."""

    data: bytes = b""
    link: bytes | None = None
    readonly: bool = False
    modified: int | None = None
    touched: bool = False
    streams: dict[str, bytes] = field(default_factory=dict)


@dataclass
class ModelFolder:
    """A folder: by folded name the spelling and what it is."""

    names: dict[str, tuple[str, ModelFile | ModelFolder]] = field(default_factory=dict)


class Model:
    """The tree below ``root``, and every change of it done to ``mount`` as well."""

    def __init__(self, mount: Path, top: str, rng: random.Random) -> None:
        self.mount = mount
        self.top = top
        self.rng = rng
        self.root = ModelFolder()
        self.done: dict[str, int] = {}

    # ------------------------------------------------------------------ reading

    def read_from_mount(self) -> None:
        """Take over what the mount shows, once, before anything is changed."""
        inodes: dict[int, ModelFile] = {}
        self._read(self.root, self.mount / self.top, inodes)

    def _read(self, folder: ModelFolder, place: Path, inodes: dict[int, ModelFile]) -> None:
        for entry in os.scandir(place):
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                child = ModelFolder()
                folder.names[fold(entry.name)] = (entry.name, child)
                self._read(child, Path(entry.path), inodes)
                continue
            known = inodes.get(status.st_ino)
            if known is None:
                known = inodes[status.st_ino] = read_file(Path(entry.path))
            folder.names[fold(entry.name)] = (entry.name, known)

    def shown(self) -> dict[str, object]:
        """What there is, by path as it is spelt: contents, links, streams; hard links by the first name."""
        found: dict[str, object] = {}
        first: dict[int, str] = {}

        def walk(folder: ModelFolder, path: str) -> None:
            for key in sorted(folder.names):
                name, child = folder.names[key]
                here = f"{path}/{name}" if path else name
                if isinstance(child, ModelFolder):
                    found[here] = "folder"
                    walk(child, here)
                else:
                    leader = first.setdefault(id(child), here)
                    found[here] = (child.data, child.link, child.readonly, child.modified, child.streams, leader)

        walk(self.root, "")
        return found

    def kinds(self) -> set[str]:
        """The names of all operations."""
        return {operation.__name__.lstrip("_") for operation in _OPERATIONS}

    def untouched(self) -> set[str]:
        """The names of files with which nothing was ever done."""
        names = ((path, folder.names[fold(name)][1]) for path, folder, name in self.things(ModelFile))
        return {path for path, child in names if isinstance(child, ModelFile) and not child.touched}

    # ------------------------------------------------------------------ changing

    def step(self) -> None:
        """One random operation."""
        operation = self.rng.choice(_OPERATIONS)
        try:
            operation(self)
        except _NothingToDo:
            return
        name = operation.__name__.lstrip("_")
        self.done[name] = self.done.get(name, 0) + 1

    def folders(self) -> list[tuple[str, ModelFolder]]:
        """All folders."""
        found: list[tuple[str, ModelFolder]] = [("", self.root)]
        for path, folder in found:
            for name, child in folder.names.values():
                if isinstance(child, ModelFolder):
                    found.append((f"{path}/{name}" if path else name, child))
        return found

    def things(self, kind: type) -> list[tuple[str, ModelFolder, str]]:
        """All names of files, or of folders, with the folder they are in."""
        return [
            (f"{path}/{name}" if path else name, folder, name)
            for path, folder in self.folders()
            for name, child in folder.names.values()
            if isinstance(child, kind)
        ]

    def place(self, path: str) -> Path:
        """The path in the mount, in whatever case."""
        if self.rng.random() < 0.3:
            path = "".join(self.rng.choice(pair) for pair in zip(path, swapped_case(path), strict=True))
        return self.mount / self.top / path

    def exactly(self, path: str) -> Path:
        """The path in the mount, its last name as it is spelt."""
        above, slash, name = path.rpartition("/")
        return self.place(above) / name if slash else self.mount / self.top / name

    def some_folder(self) -> tuple[str, ModelFolder]:
        return self.rng.choice(self.folders())

    def some_file(self) -> tuple[str, ModelFolder, str, ModelFile]:
        names = self.things(ModelFile)
        if not names:
            raise _NothingToDo
        path, folder, name = self.rng.choice(names)
        child = folder.names[fold(name)][1]
        assert isinstance(child, ModelFile)
        child.touched = True
        return path, folder, name, child

    def regular(self) -> tuple[str, ModelFile]:
        for _ in range(20):
            path, _, _, child = self.some_file()
            if child.link is None:
                return path, child
        raise _NothingToDo

    def new_name(self) -> str:
        return self.rng.choice(("alpha", "Beta", "GAMMA", "delta.txt", "Äpfel", "ein name", "x")) + str(
            self.rng.randrange(12)
        )

    def content(self) -> bytes:
        return self.rng.randbytes(self.rng.choice((0, 1, 100, 5000, 70_000)))


def swapped_case(name: str) -> str:
    """The same name to Windows in other letters, where there are some."""
    return "".join(c.swapcase() if fold(c.swapcase()) == fold(c) else c for c in name)


def touch(thing: ModelFile | ModelFolder) -> None:
    """Note that a file, or all in a folder, is not what or where it was."""
    if isinstance(thing, ModelFile):
        thing.touched = True
        return
    for _, child in thing.names.values():
        touch(child)


class _NothingToDo(Exception):
    pass


def read_file(place: Path) -> ModelFile:
    """A file as the mount shows it."""
    status = place.lstat()
    if place.is_symlink():
        buffer = os.getxattr(place, "system.ntfs_reparse_data", follow_symlinks=False)
        return ModelFile(b"", buffer, modified=status.st_mtime_ns)
    streams = {name: os.getxattr(place, name) for name in os.listxattr(place)}
    readonly = not status.st_mode & 0o200
    return ModelFile(place.read_bytes(), None, readonly, status.st_mtime_ns, streams=streams)


def _create(model: Model) -> None:
    path, folder = model.some_folder()
    name, data = model.new_name(), model.content()
    if fold(name) in folder.names:
        raise _NothingToDo
    place = model.place(path) / name
    with open(place, "xb") as file:
        file.write(data)
    folder.names[fold(name)] = (name, ModelFile(data, modified=place.stat().st_mtime_ns, touched=True))


def _overwrite(model: Model) -> None:
    path, child = model.regular()
    child.data = model.content()
    place = model.place(path)
    place.write_bytes(child.data)
    child.modified = place.stat().st_mtime_ns


def _append(model: Model) -> None:
    path, child = model.regular()
    more = model.content()
    place = model.place(path)
    with open(place, "ab") as file:
        file.write(more)
    child.data += more
    child.modified = place.stat().st_mtime_ns


def _patch(model: Model) -> None:
    path, child = model.regular()
    at, piece = model.rng.randrange(len(child.data) + 100), model.content()[:500]
    place = model.place(path)
    with open(place, "r+b") as file:
        file.seek(at)
        file.write(piece)
    if piece:
        child.data = child.data.ljust(at, b"\0")
        child.data = child.data[:at] + piece + child.data[at + len(piece) :]
    child.modified = place.stat().st_mtime_ns


def _truncate(model: Model) -> None:
    path, child = model.regular()
    size = model.rng.randrange(len(child.data) + 1000)
    place = model.place(path)
    os.truncate(place, size)
    child.data = child.data[:size].ljust(size, b"\0")
    child.modified = place.stat().st_mtime_ns


def _unlink(model: Model) -> None:
    path, folder, name, _ = model.some_file()
    os.unlink(model.place(path))
    del folder.names[fold(name)]


def _mkdir(model: Model) -> None:
    path, folder = model.some_folder()
    name = model.new_name()
    if path.count("/") > 6:
        raise _NothingToDo
    if fold(name) in folder.names:
        with pytest.raises(FileExistsError):
            os.mkdir(model.place(path) / name)
        return
    os.mkdir(model.place(path) / name)
    folder.names[fold(name)] = (name, ModelFolder())


def _rmdir(model: Model) -> None:
    names = model.things(ModelFolder)
    if not names:
        raise _NothingToDo
    path, folder, name = model.rng.choice(names)
    child = folder.names[fold(name)][1]
    assert isinstance(child, ModelFolder)
    if child.names:
        with pytest.raises(OSError, match="not empty") as refused:
            os.rmdir(model.place(path))
        assert refused.value.errno == errno.ENOTEMPTY
        return
    os.rmdir(model.place(path))
    del folder.names[fold(name)]


def _remove_tree(model: Model) -> None:
    names = [one for one in model.things(ModelFolder) if one[0].count("/") >= 1]
    if not names or model.rng.random() < 0.8:
        raise _NothingToDo
    path, folder, name = model.rng.choice(names)
    shutil.rmtree(model.exactly(path))
    del folder.names[fold(name)]


def _rename_file(model: Model) -> None:
    path, folder, name, child = model.some_file()
    to, into = model.some_folder()
    new = model.new_name() if model.rng.random() < 0.8 else swapped_case(name)
    _rename(model, path, folder, name, child, to, into, new)


def _rename_folder(model: Model) -> None:
    names = model.things(ModelFolder)
    if not names:
        raise _NothingToDo
    path, folder, name = model.rng.choice(names)
    child = folder.names[fold(name)][1]
    to, into = model.some_folder()
    if fold(to + "/").startswith(fold(path + "/")):
        raise _NothingToDo
    _rename(model, path, folder, name, child, to, into, model.new_name())


def _rename(
    model: Model,
    path: str,
    folder: ModelFolder,
    name: str,
    child: ModelFile | ModelFolder,
    to: str,
    into: ModelFolder,
    new: str,
) -> None:
    there = into.names.get(fold(new))
    target = model.place(to) / new
    if there is not None and there[1] is not child:
        wrong = isinstance(there[1], ModelFolder) != isinstance(child, ModelFolder)
        full = isinstance(there[1], ModelFolder) and bool(there[1].names)
        if wrong or full:
            with pytest.raises(OSError, match=r"\[Errno") as refused:
                os.rename(model.exactly(path), target)
            assert refused.value.errno in (errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR, errno.EEXIST)
            return
    elif there is not None and (into is not folder or fold(new) != fold(name)):
        os.rename(model.exactly(path), target)  # two names of one file: nothing happens
        return
    os.rename(model.exactly(path), target)
    touch(child)
    del folder.names[fold(name)]
    into.names[fold(new)] = (new, child)


def _link(model: Model) -> None:
    path, child = model.regular()
    to, into = model.some_folder()
    name = model.new_name()
    if fold(name) in into.names:
        raise _NothingToDo
    os.link(model.place(path), model.place(to) / name)
    into.names[fold(name)] = (name, child)


def _symlink(model: Model) -> None:
    path, folder = model.some_folder()
    name, target = model.new_name(), model.rng.choice(("x1", "alpha1/Beta2", "../delta.txt3"))
    if fold(name) in folder.names or (target.startswith("..") and not path):
        raise _NothingToDo
    place = model.place(path) / name
    os.symlink(target, place)
    folder.names[fold(name)] = (
        name,
        ModelFile(b"", build_link(target, mount_point=False), modified=place.lstat().st_mtime_ns, touched=True),
    )


def _chmod(model: Model) -> None:
    path, child = model.regular()
    child.readonly = model.rng.random() < 0.5
    os.chmod(model.place(path), 0o444 if child.readonly else 0o644)


def _utime(model: Model) -> None:
    path, child = model.regular()
    child.modified = model.rng.randrange(10**9, 2 * 10**9) * 10**9 + model.rng.randrange(10**7) * 100
    os.utime(model.place(path), ns=(child.modified, child.modified))


def _stream(model: Model) -> None:
    path, child = model.regular()
    name, data = "user." + model.rng.choice(("one", "Zone.Identifier")), model.content()[:60_000]
    os.setxattr(model.place(path), name, data)
    child.streams = {**child.streams, name: data}


def _stream_removed(model: Model) -> None:
    path, child = model.regular()
    if not child.streams:
        raise _NothingToDo
    name = sorted(child.streams)[0]
    os.removexattr(model.place(path), name)
    child.streams = {key: value for key, value in child.streams.items() if key != name}


_OPERATIONS = (
    _create,
    _create,
    _overwrite,
    _append,
    _patch,
    _truncate,
    _unlink,
    _mkdir,
    _rmdir,
    _remove_tree,
    _rename_file,
    _rename_file,
    _rename_folder,
    _link,
    _symlink,
    _chmod,
    _utime,
    _stream,
    _stream_removed,
)
