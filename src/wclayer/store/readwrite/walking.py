"""What is in a work tree now, as one side of a comparison."""

from __future__ import annotations

import os
import stat
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from wclayer.errors import StoreError, UnsafeEntryError
from wclayer.formats.folder.content import file_stream
from wclayer.formats.folder.door import Door, readable, store_error
from wclayer.model import Entry, HardLink, LayerItem, Metadata, Stream
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_REPARSE_POINT
from wclayer.ntfs.filetime import from_unix
from wclayer.ntfs.names import checked_path, decode_wtf8, is_wtf8
from wclayer.store.chain_view import ChainView, Seen
from wclayer.store.comparing import Candidate, same_content

__all__ = ["OfTree", "Written"]


class Written(NamedTuple):
    """What a file was when the tree was written.

    ``host`` is its path there, ``path`` its layer path, ``kind`` one of ``folder``, ``file`` and ``point``, which is
    the folder that stands for a reparse point; the rest is what this machine says, times in ns.
    """

    host: bytes
    path: str
    kind: str
    inode: int
    size: int
    mtime: int
    ctime: int


@dataclass(frozen=True)
class _Tree:
    door: Door
    view: ChainView
    written: Mapping[bytes, Written]
    overrides: Mapping[bytes, Metadata]
    by_inode: dict[int, Written] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for one in self.written.values():
            self.by_inode.setdefault(one.inode, one)

    def moved(self, status: os.stat_result) -> Written | None:
        """What the file was when the tree was written; None for a new one that was given the number of one removed."""
        one = self.by_inode.get(status.st_ino)
        if one is None or one.mtime != status.st_mtime_ns or (one.kind == "file") == stat.S_ISDIR(status.st_mode):
            return None
        return one if one.kind != "file" or one.size == status.st_size else None


class OfTree:
    """A file or folder of a work tree, ``host`` being its path there and ``path`` its layer path."""

    def __init__(self, tree: _Tree, parent: bytes, leaf: bytes, path: str, status: os.stat_result) -> None:
        self._tree = tree
        self._parent = parent
        self._leaf = leaf
        self._host = parent + b"/" + leaf if parent else leaf
        self._status = status
        self.path = path
        is_directory = stat.S_ISDIR(status.st_mode)
        known = tree.written.get(self._host)
        self._moved = tree.moved(status)
        if known is None or (known.kind == "file") == is_directory:
            known = self._moved
        self._known = known
        self._is_directory = is_directory
        self.is_folder = is_directory and not (known is not None and known.kind == "point")

    @classmethod
    def top(
        cls, door: Door, view: ChainView, written: Mapping[bytes, Written], overrides: Mapping[bytes, Metadata]
    ) -> OfTree:
        """The root of a tree."""
        return cls(_Tree(door, view, written, overrides), b"", b"", "", os.fstat(door.root))

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    @property
    def identity(self) -> Hashable:
        """The number of a file that has several names."""
        return self._status.st_ino if self._status.st_nlink > 1 and not self._is_directory else None

    def children(self) -> Sequence[Candidate]:
        """What lies in it."""
        door = self._tree.door
        try:
            directory = door.directory(self._host)
            with os.scandir(directory) as entries:
                found = [(os.fsencode(entry.name), entry.stat(follow_symlinks=False)) for entry in entries]
        except OSError as error:
            raise store_error(error, "cannot read the folder", self._host, door.where) from error
        return [self._child(leaf, status) for leaf, status in found]

    def _child(self, leaf: bytes, status: os.stat_result) -> OfTree:
        host = self._host + b"/" + leaf if self._host else leaf
        known = self._tree.written.get(host)
        if known is not None:
            name = known.path.rpartition("/")[2]
        else:
            moved = self._tree.moved(status)
            if moved is not None and moved.host.rpartition(b"/")[2] == leaf:
                name = moved.path.rpartition("/")[2]  # a name that this machine cannot hold, in another folder
            else:
                name = _checked_name(leaf, host)
        if not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
            raise UnsafeEntryError(
                "a link, pipe or device of this machine has no place in a layer", path=readable(host)
            )
        return OfTree(self._tree, self._host, leaf, f"{self.path}/{name}" if self.path else name, status)

    def same_as(self, old: Seen) -> bool:
        """Whether it is what it was when the tree was written; see the head of :mod:`.tree`."""
        tree = self._tree
        override = tree.overrides.get(self._host)
        if override is not None and override != tree.view.metadata(old):
            return False
        if self.is_folder:
            return self._known is not None and self._known.path == old.path
        if not self._untouched_kind(old):
            return False
        known, status = self._known, self._status
        if self._is_directory:
            self._refuse_content()
            return True
        if known is None or known.path != old.path or known.mtime != status.st_mtime_ns:
            return False
        if (known.inode, known.size, known.ctime) == (status.st_ino, status.st_size, status.st_ctime_ns):
            return True
        data = tree.view.data(old)
        return same_content(self._data(), Stream.from_bytes(b"") if data is None else data)

    def _untouched_kind(self, old: Seen) -> bool:
        """Whether it is a file as before, or the empty stand-in of the reparse point that it was."""
        node = self._tree.view.file(old)[1]
        if node.is_folder != self._is_directory:
            return False
        return not node.is_reparse_point or self._is_directory or self._status.st_size == (node.size or 0)

    def described(self, old: Seen | None) -> Iterator[LayerItem]:
        """What it is now, with what NTFS knew about it before it was changed or moved here."""
        tree, view = self._tree, self._tree.view
        origin = self._origin(old)
        first = self._first_name()
        if first is not None and origin is not None and self._host not in tree.overrides:
            metadata = view.metadata(origin)
            if metadata.reparse is None:
                yield HardLink(self.path, first, metadata)
                return
        data = None if self._is_directory else self._data()
        kept = tree.overrides.get(self._host)
        if kept is None:
            kept = self._new_metadata() if origin is None else self._kept_metadata(origin)
        if kept.reparse is not None and not self._status.st_size:
            data = None
        yield Entry(self.path, kept, is_directory=self._is_directory, data=data)
        if origin is not None:
            yield from view.alternate_streams(origin, self.path)

    def _first_name(self) -> str | None:
        """The name under which the file was there before, when this is a further one of it and that is still there."""
        moved, door = self._moved, self._tree.door
        if moved is None or moved.host == self._host or self._is_directory or self._status.st_nlink < 2:
            return None
        known = self._tree.written.get(self._host)
        if known is not None and known.inode == self._status.st_ino:
            return None  # it was a name of it before, too
        parent, _, leaf = moved.host.rpartition(b"/")
        try:
            there = os.stat(leaf, dir_fd=door.directory(parent), follow_symlinks=False)
        except (OSError, StoreError):
            return None
        return moved.path if os.path.samestat(there, self._status) else None

    def _origin(self, old: Seen | None) -> Seen | None:
        """What the metadata is taken from: what moved here, or what had the name before."""
        view, known = self._tree.view, self._known
        here = known is not None and known.host == self._host and known.inode == self._status.st_ino
        origin = known if here else self._moved
        found = old if origin is None else view.find(origin.path)
        if found is None or found.node is None or found.is_folder != self.is_folder:
            return None
        return found

    def _kept_metadata(self, origin: Seen) -> Metadata:
        metadata = self._tree.view.metadata(origin)
        if self._is_directory:
            if not self.is_folder:
                self._refuse_content()
            return metadata
        if metadata.reparse is not None and self._status.st_size:
            metadata = replace(metadata, reparse=None, attributes=metadata.attributes & ~FILE_ATTRIBUTE_REPARSE_POINT)
        if self._known is None or self._known.mtime != self._status.st_mtime_ns:
            now = from_unix(0, self._status.st_mtime_ns)
            return replace(metadata, last_write_time=now, change_time=now)
        return metadata

    def _new_metadata(self) -> Metadata:
        now = from_unix(0, self._status.st_mtime_ns)
        kind = FILE_ATTRIBUTE_DIRECTORY if self._is_directory else FILE_ATTRIBUTE_ARCHIVE
        return Metadata(kind, now, now, now, now)

    def _data(self) -> Stream:
        door, parent, leaf = self._tree.door, self._parent, self._leaf
        return file_stream(lambda: door.open(parent, leaf), self._status.st_size, None, self._host, None, door.where)

    def _refuse_content(self) -> None:
        door = self._tree.door
        if os.listdir(door.directory(self._host)):
            raise UnsafeEntryError("something lies in what is a link to another folder", path=self.path)


def _checked_name(leaf: bytes, host: bytes) -> str:
    if not is_wtf8(leaf) or b"\\" in leaf:
        raise UnsafeEntryError("Windows has no such name", path=readable(host))
    return checked_path(decode_wtf8(leaf))
