"""Names of a volume: from a Windows path to a file of this machine, letter case aside, through no reparse point.

The file system of this machine is the truth about which names there are. A folder's names are read once and kept,
folded, while the folder is in use; a name that is not there in its exact spelling is found through its fold. A reparse
point is what the manifest calls one, and every symbolic link of this machine besides.
"""

from __future__ import annotations

import os
import stat
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from wclayer.errors import StoreError, UnsupportedError
from wclayer.formats.folder.content import host_leaf
from wclayer.formats.folder.door import Door, joined, store_error
from wclayer.formats.volume.errors import (
    ERROR_FILE_NOT_FOUND,
    ERROR_PATH_NOT_FOUND,
    ERROR_REPARSE_POINT_ENCOUNTERED,
    UnsafePathError,
    VolumeError,
)
from wclayer.formats.volume.manifest import Manifest
from wclayer.formats.volume.paths import components, is_common_name
from wclayer.formats.volume.record import BasicInfo, Record
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS
from wclayer.ntfs.names import decode_wtf8, encode_wtf8, fold
from wclayer.ntfs.reparse import build_link

__all__ = ["PendingFiles", "Place", "Status", "Tree"]

_FOLDERS = 64
_TOGETHER = 256
_ALIAS = b".wcl-"
_MAX_LEAF = 255
_FOREIGN_LINK = build_link("?", mount_point=False)


class Status(NamedTuple):
    r"""A file or folder that is there.

    ``path`` is its path as it is spelt in the volume, with ``\``; ``parent`` and ``leaf`` are where it lies on this
    machine. ``size`` is in bytes, 0 for a folder. ``links`` counts the names it has on this machine, ``file_id`` tells
    files apart. ``described`` is False where no manifest knows it and times come from this machine.
    """

    path: str
    parent: bytes
    leaf: bytes
    is_directory: bool
    size: int
    links: int
    file_id: bytes
    record: Record
    described: bool

    @property
    def host(self) -> bytes:
        """The path on this machine, below the root."""
        return joined(self.parent, self.leaf)

    @property
    def is_reparse_point(self) -> bool:
        """Whether Windows would call it a reparse point."""
        return self.record.reparse is not None

    @property
    def is_foreign_link(self) -> bool:
        """Whether it is a symbolic link of this machine, whose content is nothing that a layer has."""
        return self.record.reparse == _FOREIGN_LINK

    @property
    def basic(self) -> BasicInfo:
        """Attributes and times as Windows would report them."""
        return self.record.basic(is_directory=self.is_directory)


class Folder:
    """A folder in use: where it lies, and its names by their folds; ``twins`` are those that a fold cannot tell."""

    __slots__ = ("host", "names", "path", "twins")

    def __init__(self, host: bytes, path: str, names: dict[str, bytes] | None = None) -> None:
        self.host = host
        self.path = path
        self.names = names
        self.twins: set[bytes] = set()


class Place(NamedTuple):
    """Where something is or would be: its folder, its name as asked for, and the name it has there, if it is there."""

    folder: Folder
    name: str
    leaf: bytes | None
    path: str


class PendingFiles(Protocol):
    """Whoever makes files that are not there yet; paths are those on this machine. Raises what went wrong."""

    def finish_file(self, host: bytes, /) -> None:
        """The file ``host`` is looked at."""

    def finish_folder(self, parent: bytes, /) -> None:
        """The names in ``parent`` are looked at."""


class Tree:
    """The names below the open folder ``root`` but the ``hidden`` ones at its top; ``where`` names it in errors.

    ``has_aliases`` tells whether any name got one. ``pending`` makes files that were noted (:meth:`added`) and may not
    be there yet.
    """

    def __init__(self, root: int, manifest: Manifest | None, where: str, hidden: Sequence[str] = ()) -> None:
        self.door = Door(root, where=where)
        self.pending: PendingFiles | None = None
        self.has_aliases = False
        self._hidden = frozenset(fold(name) for name in hidden)
        self.manifest = manifest
        self.where = where
        self._root = Folder(b"", "")
        self._folders: OrderedDict[str, Folder] = OrderedDict()
        self._last_path = ""
        self._last = self._root

    def locate(self, path: str, op: str) -> Place:
        """The place of ``path``, which is empty for the root and nothing else.

        Raises UnsafePathError, and VolumeError when its folder does not exist.
        """
        if not path:
            return Place(self._root, "", b"", "")
        folder, name = self._reach(path, op)
        return Place(folder, name, self.leaf_in(folder, name), path)

    def find(self, path: str, op: str) -> Status:
        """What is at ``path``, which may be a reparse point. Raises as :meth:`locate`, and VolumeError."""
        if not path:
            return self._root_status()
        folder, name = self._reach(path, op)
        status = self._find_in(folder, name)
        if status is None:
            raise VolumeError(op, path, ERROR_FILE_NOT_FOUND, where=self.where)
        return status

    def is_in_use(self, path: str) -> bool:
        """Whether the cleaned ``path`` is known for a folder that can be passed through."""
        return path == self._last_path or fold(path) in self._folders

    def _reach(self, path: str, op: str) -> tuple[Folder, str]:
        """The folder that ``path`` is in, and its name there."""
        parent, _, name = path.rpartition("\\")
        if parent and parent == self._last_path and is_common_name(name, path):
            return self._last, name
        parts = components(path, op)
        parents = parts[:-1]
        self._last = folder = self._folder(parents, path, op)
        self._last_path = "\\".join(parents)
        return folder, parts[-1]

    def _find_in(self, folder: Folder, name: str) -> Status | None:
        if folder.names is None and self.manifest is not None and name[0] != ".":
            # What the manifest knows under just this name has it on this machine, so the folder need not be read.
            leaf = encode_wtf8(name)
            is_shown = bool(folder.host) or not self._hides(fold(name))
            if is_shown and self.manifest.get(joined(folder.host, leaf)) is not None:
                found = self.status(folder, leaf)
                if found is not None:
                    return found
        leaf_found = self.leaf_in(folder, name)
        return None if leaf_found is None else self.status(folder, leaf_found)

    def leaf_in(self, folder: Folder, name: str) -> bytes | None:
        """The name that ``name`` has in ``folder``, None when it is not there."""
        names = folder.names
        if names is None:
            names = folder.names = self._read(folder)
        leaf = names.get(fold(name))
        if folder.twins and leaf is not None:
            exact = encode_wtf8(name)
            return exact if exact in folder.twins else leaf
        return leaf

    def status(self, folder: Folder, leaf: bytes) -> Status | None:
        """What the name ``leaf`` of ``folder`` is; None when it is gone."""
        if self.pending is not None:
            self.pending.finish_file(joined(folder.host, leaf))
        try:
            found = os.stat(leaf, dir_fd=self.door.directory(folder.host), follow_symlinks=False)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise store_error(error, "cannot look at", joined(folder.host, leaf), self.where) from error
        name = self.name_of(leaf)
        path = f"{folder.path}\\{name}" if folder.path else name
        return self._status(found, path, folder.host, leaf)

    def entries(self, status: Status) -> Iterator[Status]:
        """What is in the folder ``status``, in byte order of the names."""
        folder = Folder(status.host, status.path)
        leaves = sorted(self._listed(folder))
        if any(leaf.startswith(_ALIAS) for leaf in leaves):
            leaves.sort(key=self._sorting_key)
        for start in range(0, len(leaves), _TOGETHER):
            some = leaves[start : start + _TOGETHER]
            if self.manifest is not None:
                self.manifest.prepare([joined(folder.host, leaf) for leaf in some])
            for leaf in some:
                found = self.status(folder, leaf)
                if found is not None:
                    yield found

    def host_leaf(self, name: str) -> bytes:
        """The name on this machine for ``name``: a name of its own for what no file system here can hold."""
        leaf = encode_wtf8(name)
        if (len(leaf) <= _MAX_LEAF and not leaf.startswith(_ALIAS)) or self.manifest is None:
            return leaf
        alias = host_leaf(name, escape=True)
        self.has_aliases = True
        self.manifest.set_alias(alias, name)
        return alias

    def name_of(self, leaf: bytes) -> str:
        """The name for which ``leaf`` stands."""
        if leaf.startswith(_ALIAS) and self.manifest is not None:
            return self.manifest.alias(leaf) or decode_wtf8(leaf)
        return decode_wtf8(leaf)

    def _sorting_key(self, leaf: bytes) -> bytes:
        return encode_wtf8(self.name_of(leaf)) if leaf.startswith(_ALIAS) else leaf

    def is_hidden(self, place: Place) -> bool:
        """Whether the name is one that the volume does not show, or a companion of one (``name-journal``)."""
        return not place.folder.host and self._hides(fold(place.name))

    def _hides(self, folded: str) -> bool:
        return any(folded.startswith(name) for name in self._hidden)

    def added(self, folder: Folder, name: str, leaf: bytes) -> None:
        """Note a name that was made in ``folder``."""
        if folder.names is not None:
            folder.names[fold(name)] = leaf

    def entered(self, path: str, host: bytes) -> None:
        """Note a new folder, which is empty."""
        self._remember(path, Folder(host, path, {}))

    def removed(self, status: Status) -> None:
        """Forget a name that is gone, and everything below it."""
        self.forget_folder(status)
        for folder in (self._root, *self._folders.values()):
            if folder.host != status.parent or folder.names is None:
                continue
            if folder.twins:
                folder.names = None  # the other one of a pair must be found again
                folder.twins.clear()
            else:
                folder.names.pop(fold(self.name_of(status.leaf)), None)

    def forget_folder(self, status: Status) -> None:
        """Hold nothing open of the folder ``status`` and what is below it."""
        self.door.forget(status.host)
        inside = status.host + b"/"
        for key in [k for k, f in self._folders.items() if f.host == status.host or f.host.startswith(inside)]:
            del self._folders[key]
        self._last_path, self._last = "", self._root

    # ------------------------------------------------------------------ folders

    def _folder(self, parts: tuple[str, ...], path: str, op: str) -> Folder:
        depth, folder = self._nearest(parts)
        for name in parts[depth:]:
            known = self._known_folder(folder, name)
            if known is not None:
                folder = known
                continue
            status = self._find_in(folder, name)
            if status is not None and status.is_reparse_point:
                raise UnsafePathError(
                    op, path, f"{status.path} is a reparse point", ERROR_REPARSE_POINT_ENCOUNTERED, where=self.where
                )
            if status is None or not status.is_directory:
                raise VolumeError(op, path, ERROR_PATH_NOT_FOUND, where=self.where)
            folder = Folder(status.host, status.path)
            self._remember(status.path, folder)
        return folder

    def _nearest(self, parts: tuple[str, ...]) -> tuple[int, Folder]:
        """The deepest folder in use on the way to ``parts``, and how deep it lies."""
        if len(parts) <= _FOLDERS:
            for depth in range(len(parts), 0, -1):
                key = fold("\\".join(parts[:depth]))
                known = self._folders.get(key)
                if known is not None:
                    self._folders.move_to_end(key)  # or one that holds many folders is read again and again
                    return depth, known
            return 0, self._root
        # Trying each part of a path of thousands would cost the square of its length.
        folded = fold("\\".join(parts)) + "\\"
        nearest = max((key for key in self._folders if folded.startswith(key + "\\")), key=len, default="")
        return (nearest.count("\\") + 1, self._folders[nearest]) if nearest else (0, self._root)

    def _known_folder(self, folder: Folder, name: str) -> Folder | None:
        """The folder ``name`` in ``folder``, if the manifest knows it under just this name and it can be opened."""
        if self.manifest is None or not folder.host or name[0] == ".":
            return None
        host = joined(folder.host, encode_wtf8(name))
        record = self.manifest.get(host)
        if record is None or record.reparse is not None:
            return None
        try:
            self.door.directory(host)
        except StoreError:
            return None  # a file, or a link in its place: whoever looks closer says what it is
        path = f"{folder.path}\\{name}"
        found = Folder(host, path)
        self._remember(path, found)
        return found

    def _remember(self, path: str, folder: Folder) -> None:
        while len(self._folders) >= _FOLDERS:
            self._folders.popitem(last=False)
        self._folders[fold(path)] = folder

    def _listed(self, folder: Folder) -> list[bytes]:
        if self.pending is not None:
            self.pending.finish_folder(folder.host)
        try:
            # A descriptor of its own: listing moves the position of the one that the door holds.
            here = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self.door.directory(folder.host))
            try:
                names = os.listdir(here)
            finally:
                os.close(here)
        except OSError as error:
            raise store_error(error, "cannot list the folder", folder.host, self.where) from error
        leaves = [os.fsencode(name) for name in names]
        if not folder.host and self._hidden:
            leaves = [leaf for leaf in leaves if not self._hides(fold(decode_wtf8(leaf)))]
        return leaves

    def _read(self, folder: Folder) -> dict[str, bytes]:
        names: dict[str, bytes] = {}
        for leaf in sorted(self._listed(folder)):
            other = names.setdefault(fold(self.name_of(leaf)), leaf)
            if other != leaf:
                folder.twins |= {leaf, other}
        return names

    # ------------------------------------------------------------------ one file

    def _root_status(self) -> Status:
        return self._status(os.fstat(self.door.root), "", b"", b"")

    def _status(self, found: os.stat_result, path: str, parent: bytes, leaf: bytes) -> Status:
        is_directory = stat.S_ISDIR(found.st_mode)
        is_link = stat.S_ISLNK(found.st_mode)
        if not (is_directory or is_link or stat.S_ISREG(found.st_mode)):
            raise UnsupportedError("a device, pipe or socket, which no layer can hold", layer=self.where, path=path)
        known = self.manifest.get(joined(parent, leaf)) if self.manifest is not None else None
        record = known if known is not None else _undescribed(found, is_directory=is_directory)
        if is_link:
            # A link of this machine is nothing that a layer made: known as a reparse point, it is never passed through.
            record = record.copy()
            record.reparse = _FOREIGN_LINK
        return Status(
            path,
            parent,
            leaf,
            is_directory,
            0 if is_directory or is_link else found.st_size,
            1 if is_directory else found.st_nlink,
            found.st_dev.to_bytes(8, "little") + found.st_ino.to_bytes(8, "little"),
            record,
            known is not None,
        )


def _undescribed(found: os.stat_result, *, is_directory: bool) -> Record:
    """The record of a file that no manifest knows: its time of last change stands for all four."""
    record = Record.new(is_directory=is_directory)
    modified = found.st_mtime_ns // 100 + UNIX_EPOCH_TICKS
    record.creation_time = record.last_access_time = record.last_write_time = record.change_time = modified
    return record
