"""Changes over an upper folder: each of them as Windows would do it, and each of them one transaction.

What is below is never changed. The first change of a file takes its metadata up, under all its names; the first write
takes its content. A folder is taken up by name only: what lies in it shows through. A new file gets the security
descriptor that it inherits from its folder, the attribute archive, and the time of the moment.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from wclayer.errors import IntegrityError
from wclayer.formats.folder.content import write_stream
from wclayer.image.mounting.inheritance import inherited_descriptor
from wclayer.image.mounting.overlay import Item, Overlay
from wclayer.image.mounting.upper import TOP, Upper, UpperNode
from wclayer.model import Metadata
from wclayer.ntfs.attributes import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
)
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS
from wclayer.ntfs.names import MAX_COMPONENT, checked_path, fold, utf16_length

__all__ = ["Editor", "ticks_now", "ticks_of"]

_DELETABLE = re.compile("(?:FILES|UTILITYVM/FILES)/").match
_TOP_NAMES = frozenset(("FILES", "HIVES", "UTILITYVM"))


def ticks_of(nanoseconds: int) -> int:
    """The FILETIME of a time in ns after 1970."""
    return nanoseconds // 100 + UNIX_EPOCH_TICKS


def ticks_now() -> int:
    """The FILETIME of this moment."""
    return ticks_of(time.time_ns())


class Editor:
    """Changes ``overlay``, which has an upper folder. Every method raises OSError to say no."""

    def __init__(self, overlay: Overlay, upper: Upper) -> None:
        self.overlay = overlay
        self.upper = upper

    @contextmanager
    def change(self) -> Iterator[None]:
        """One change: all of it, or nothing."""
        try:
            with self.upper.change():
                yield
        finally:
            self.overlay.forget()

    # ------------------------------------------------------------------ taking up what is below

    def raised_folder(self, item: Item) -> UpperNode:
        """The node of a folder; where it has none, it and those above it get one."""
        if item.node is not None:
            return item.node
        above, _, name = item.path.rpartition("/")
        parent = self.raised_folder(self.overlay.find(above))
        return self._raise_name(parent, self.overlay.find(above), name)

    def raised(self, item: Item) -> UpperNode:
        """The node of a file or folder. A file that is below gets one, under every name by which it is to be seen."""
        if item.node is not None:
            return item.node
        if item.is_folder or item.is_directory:
            return self.raised_folder(item)
        node: UpperNode | None = None
        for path in self.overlay.names_of(item):
            above, _, name = path.rpartition("/")
            folder = self.overlay.find(above)
            node = self._raise_name(self.raised_folder(folder), folder, name, node)
        if node is None:
            raise OSError(errno.ENOENT, "the file is gone")
        return node

    def _raise_name(self, parent: UpperNode, folder: Item, name: str, node: UpperNode | None = None) -> UpperNode:
        """Take up ``name`` in ``folder``, and what is spelt alike; ``node`` if the file has one by now."""
        wanted = node
        path = f"{folder.path}/" if folder.path else ""
        for below in list(self.overlay.lower.listing(parent.lower or "").get(fold(name), ())):
            spelling = below.name
            one = node if spelling == name and node is not None else self._add(Item(path + spelling, None, below))
            self.upper.name(parent, spelling, one)
            if spelling == name:
                wanted = one
        self.overlay.forget()
        if wanted is None:
            raise OSError(errno.ENOENT, "the file is gone")
        return wanted

    def _add(self, item: Item) -> UpperNode:
        below = item.below
        assert below is not None  # noqa: S101 - it is what is taken up
        stat = self.overlay.lower.stat(below)
        return self.upper.add(
            is_folder=item.is_directory,
            lower=below.found.path,
            inode=stat.inode,
            metadata=self.overlay.lower.metadata(below),
        )

    def owned(self, node: UpperNode, *, empty: bool = False) -> None:
        """Give a file content of its own: what is below, or with ``empty`` nothing."""
        if node.data:
            if empty:
                os.close(self.upper.open_data(node, os.O_RDWR | os.O_TRUNC))
            return
        descriptor = self.upper.open_data(node, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            data = None if empty else self.overlay.data(Item("", node, None))
            if data is not None:
                write_stream(descriptor, data, "")
        finally:
            os.close(descriptor)
        node.data = True
        self.upper.save(node)

    # ------------------------------------------------------------------ names

    def create(self, path: str) -> UpperNode:
        """A new, empty file."""

        def make(folder: Item) -> UpperNode:
            node = self._new(folder, is_folder=False)
            self.owned(node, empty=True)
            return node

        return self._make(path, make)

    def mkdir(self, path: str) -> None:
        """A new folder."""
        self._make(path, lambda folder: self._new(folder, is_folder=True))

    def symlink(self, path: str, reparse: bytes, *, is_directory: bool) -> None:
        """A new reparse point with this buffer."""

        def make(folder: Item) -> UpperNode:
            node = self._new(folder, is_folder=is_directory)
            attributes = node.metadata.attributes | FILE_ATTRIBUTE_REPARSE_POINT
            node.metadata = replace(node.metadata, attributes=attributes, reparse=reparse)
            self.upper.save(node)
            return node

        self._make(path, make)

    def link(self, path: str, existing: str) -> None:
        """Another name of the file ``existing``."""
        item = self.overlay.find(existing)
        if item.is_directory or self.overlay.metadata(item).reparse is not None:
            raise OSError(errno.EPERM, "only files can have several names")

        def make(_folder: Item) -> UpperNode:
            node = self.raised(self.overlay.find(existing))
            node.metadata = replace(node.metadata, change_time=ticks_now())
            self.upper.save(node)
            return node

        self._make(path, make)

    def remove(self, path: str, *, folder: bool) -> None:
        """Remove a file, or with ``folder`` an empty folder."""
        item = self.overlay.find(path)
        self._check_place(item.path, removing=True)
        if folder != (item.is_directory and not self.overlay.is_symlink(item)):
            raise OSError(errno.ENOTDIR if folder else errno.EISDIR, "it is of the other kind")
        if folder and next(iter(self.overlay.children(item)) if item.is_folder else iter(()), None) is not None:
            raise OSError(errno.ENOTEMPTY, "the folder is not empty")
        with self.change():
            self._remove(item)

    def rename(self, old: str, new: str, *, replacing: bool) -> None:
        """Give what is at ``old`` the name ``new``, in place of what has it."""
        item = self.overlay.find(old)
        there = self._existing(new)
        self._check_place(item.path, removing=True)
        self._check_place(new, removing=False)
        same_name = there is not None and there.path == item.path
        if there is not None and not same_name:
            if not replacing:
                raise OSError(errno.EEXIST, "that name is taken")
            if item.node is not None and there.node is item.node:
                return  # two names of one file: POSIX keeps both
            if item.node is None and there.path in self.overlay.names_of(item):
                return
            self._check_replacing(item, there)
        elif same_name and not replacing and new != item.path:
            replacing = True  # only the case of its letters changes
        if same_name and new.rpartition("/")[2] == item.name:
            return
        with self.change():
            # A file below that has further names must not be taken for one at its place below once that has moved.
            if item.is_folder:
                self._raise_linked(item)
            node = self.raised(self.overlay.find(old))
            folder = self.overlay.find(new.rpartition("/")[0])
            self._refuse_circle(node, folder)
            parent = self.raised_folder(folder)
            if there is not None and not same_name:
                self._remove(self.overlay.find(new), replaced=True)
            node.links += 1  # so that it stays while it has no name
            self._unname(self.overlay.find(old))
            node.links -= 1
            self.upper.name(parent, new.rpartition("/")[2], node)
            node.metadata = replace(node.metadata, change_time=ticks_now())
            self.upper.save(node)
            self._touch(parent)

    def _make(self, path: str, make: Callable[[Item], UpperNode]) -> UpperNode:
        """Put what ``make`` makes at ``path``, where nothing may be."""
        self._check_place(path, removing=False)
        above, _, name = path.rpartition("/")
        folder = self.overlay.find(above)
        if not folder.is_folder:
            raise OSError(errno.ENOTDIR, "that is not a folder")
        if self.overlay.child(folder, name) is not None:
            raise OSError(errno.EEXIST, "that name is taken")
        with self.change():
            parent = self.raised_folder(folder)
            node = make(Item(folder.path, parent, None))
            self.upper.name(parent, name, node)
            self._touch(parent)
        return node

    def _new(self, folder: Item, *, is_folder: bool) -> UpperNode:
        now = ticks_now()
        descriptor = inherited_descriptor(self.overlay.metadata(folder).security_descriptor, is_folder=is_folder)
        attributes = FILE_ATTRIBUTE_DIRECTORY if is_folder else FILE_ATTRIBUTE_ARCHIVE
        metadata = Metadata(attributes, now, now, now, now, descriptor)
        return self.upper.add(is_folder=is_folder, lower=None, inode=None, metadata=metadata)

    def _remove(self, item: Item, *, replaced: bool = False) -> None:
        parent = self._unname(item, replaced=replaced)
        if item.node is not None and item.node.links:
            item.node.metadata = replace(item.node.metadata, change_time=ticks_now())
            self.upper.save(item.node)
        self._touch(parent)

    def _unname(self, item: Item, *, replaced: bool = False) -> UpperNode:
        """Take the name of ``item`` away; of names that differ only in case the others stay.

        Unless it is ``replaced`` at once, what is below must be where a layer can delete.
        """
        above, _, name = item.path.rpartition("/")
        folder = self.overlay.find(above)
        parent = self.raised_folder(folder)
        below = self.overlay.lower.listing(parent.lower).get(fold(name), ()) if parent.lower is not None else ()
        if item.node is None and len(below) > 1:
            self._raise_name(parent, Item(folder.path, parent, None), name)
        if below and not replaced and not _DELETABLE(fold(item.path)):
            raise OSError(errno.EPERM, "a layer can delete below Files and UtilityVM/Files only")
        self.upper.unname(parent, name, deletion=bool(below))
        self.overlay.forget()
        return parent

    def _existing(self, path: str) -> Item | None:
        try:
            return self.overlay.find(path)
        except FileNotFoundError:
            return None

    def _raise_linked(self, folder: Item) -> None:
        """Take up the files below ``folder`` that have further names anywhere."""
        pending = [folder]
        while pending:
            for child in list(self.overlay.children(pending.pop())):
                if child.is_folder:
                    pending.append(child)
                elif child.below is not None and len(self.overlay.lower.names(child.below)) > 1:
                    self.raised(self.overlay.find(child.path))  # another name may have taken it up by now

    def _check_replacing(self, item: Item, there: Item) -> None:
        is_folder, onto_folder = (one.is_directory and not self.overlay.is_symlink(one) for one in (item, there))
        if is_folder and not onto_folder:
            raise OSError(errno.ENOTDIR, "a folder cannot replace a file")
        if onto_folder and not is_folder:
            raise OSError(errno.EISDIR, "a file cannot replace a folder")
        if there.is_folder and next(iter(self.overlay.children(there)), None) is not None:
            raise OSError(errno.ENOTEMPTY, "the folder is not empty")

    def _refuse_circle(self, node: UpperNode, folder: Item) -> None:
        parts = folder.path.split("/") if folder.path else []
        for depth in range(1, len(parts) + 1):
            if self.overlay.find("/".join(parts[:depth])).node is node:
                raise OSError(errno.EINVAL, "a folder cannot be moved into itself")

    def _check_place(self, path: str, *, removing: bool) -> None:
        """Raise OSError where a layer cannot have, or lose, something of that name."""
        above, _, name = path.rpartition("/")
        if not above and (removing or fold(name) not in _TOP_NAMES):
            raise OSError(errno.EPERM, "at the top of an image are Files, Hives and UtilityVM, and nothing else")
        if utf16_length(name) > MAX_COMPONENT:
            raise OSError(errno.ENAMETOOLONG, "the name is too long")
        try:
            if "\\" in name or checked_path(name) != name:
                raise OSError(errno.EINVAL, "no file can have that name")
        except IntegrityError as error:
            raise OSError(errno.EINVAL, str(error)) from error

    # ------------------------------------------------------------------ metadata

    def set_metadata(self, path: str, change: Callable[[Metadata], Metadata]) -> None:
        """Set what ``change`` makes of the metadata of ``path``."""
        item = self.overlay.find(path)
        if not item.path:
            raise OSError(errno.EPERM, "the top of an image has no metadata")
        changed = change(self.overlay.metadata(item))
        becomes_link = changed.reparse is not None and item.is_folder
        if becomes_link and next(iter(self.overlay.children(item)), None) is not None:
            raise OSError(errno.ENOTEMPTY, "a folder that is a reparse point has nothing in it")
        with self.change():
            node = self.raised(item)
            node.metadata = changed
            self.upper.save(node)

    def set_times(self, path: str, accessed: int | None, modified: int | None) -> None:
        """Set times, in ns after 1970, of what is not None."""

        def change(metadata: Metadata) -> Metadata:
            return replace(
                metadata,
                last_access_time=metadata.last_access_time if accessed is None else ticks_of(accessed),
                last_write_time=metadata.last_write_time if modified is None else ticks_of(modified),
                change_time=ticks_now(),
            )

        self.set_metadata(path, change)

    def set_mode(self, path: str, mode: int) -> None:
        """Set the attribute read-only of a file that nobody may write; of other permissions nothing is kept."""
        item = self.overlay.find(path)
        if item.is_directory or self.overlay.is_symlink(item):
            return
        attributes = self.overlay.metadata(item).attributes & ~FILE_ATTRIBUTE_READONLY
        if not mode & 0o222:
            attributes |= FILE_ATTRIBUTE_READONLY
        self.set_metadata(path, lambda metadata: replace(metadata, attributes=attributes, change_time=ticks_now()))

    def set_stream(self, path: str, name: str, data: bytes | None) -> None:
        """Set an alternate stream, or remove it."""
        item = self.overlay.find(path)
        if not item.path:
            raise OSError(errno.EPERM, "the top of an image has no streams")
        known = next((one for one in self.overlay.stream_names(item) if fold(one) == fold(name)), name)
        with self.change():
            node = self.raised(item)
            self.upper.set_stream(node, known, data)
            node.metadata = replace(node.metadata, change_time=ticks_now())
            self.upper.save(node)

    def _touch(self, folder: UpperNode) -> None:
        if folder.id != TOP:
            now = ticks_now()
            folder.metadata = replace(folder.metadata, last_write_time=now, change_time=now)
            self.upper.save(folder)
