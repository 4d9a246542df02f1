"""What a mount shows: the layers below, and over them what the upper folder has changed.

A folder shows the names that the upper folder gives it, and those below that it does not replace. Names are found
without regard to case and listed as they are spelt; of two that differ only in case the exact spelling is meant.
"""

from __future__ import annotations

import errno
import os
import stat as modes
from collections.abc import Iterator

from wclayer.errors import WclayerError
from wclayer.formats.folder.content import file_stream
from wclayer.image.mounting.fuse import Stat
from wclayer.image.mounting.lower import Lower, LowerItem, is_link, mode_of, stat_times
from wclayer.image.mounting.upper import TOP, Upper, UpperNode
from wclayer.image.paths import windows_path
from wclayer.model import Metadata, Stream
from wclayer.ntfs.names import encode_wtf8, fold

__all__ = ["Item", "Overlay"]

_REMEMBERED = 8192  # folders


class Item:
    """Something that a mount shows: a node of the upper folder, or what is below. ``path`` is as it is spelt."""

    __slots__ = ("below", "node", "path")

    def __init__(self, path: str, node: UpperNode | None, below: LowerItem | None) -> None:
        self.path = path
        self.node = node
        self.below = below

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rpartition("/")[2]

    @property
    def is_folder(self) -> bool:
        """Whether names can lie in it: a folder that is no reparse point."""
        if self.node is not None:
            return self.node.is_folder and self.node.metadata.reparse is None
        return self.below is not None and self.below.found.is_folder

    @property
    def is_directory(self) -> bool:
        """Whether Windows takes it for a directory, a link to one included."""
        if self.node is not None:
            return self.node.is_folder
        node = self.below.found.node if self.below is not None else None
        return node is None or node.is_folder


class Overlay:
    """The layers ``lower`` under the upper folder ``upper``, or without one."""

    def __init__(self, lower: Lower, upper: Upper | None = None) -> None:
        self.lower = lower
        self.upper = upper
        self._folders: dict[str, Item] = {}

    @property
    def top(self) -> Item:
        """The top of the layers."""
        if self.upper is not None:
            return Item("", self.upper.nodes[TOP], None)
        return Item("", None, self.lower.item(""))

    def forget(self) -> None:
        """Forget where folders are, because names have changed."""
        self._folders.clear()

    # ------------------------------------------------------------------ looking up

    def find(self, path: str) -> Item:
        """What is at ``path``; links are not followed. Raises OSError, ENOENT or ENOTDIR."""
        folders = self._folders
        above, _, name = path.rpartition("/")
        known = folders.get(above)
        if known is not None:  # nearly always: folders are looked at before what lies in them
            return self._entered(known, name, path)
        here, reached = self.top, ""
        folders[""] = here
        for name in path.split("/") if path else ():
            reached = f"{reached}/{name}" if reached else name
            here = folders.get(reached) or self._entered(here, name, reached)
        return here

    def _entered(self, folder: Item, name: str, path: str) -> Item:
        if not name:
            return folder
        if not folder.is_folder:
            raise OSError(errno.ENOTDIR, f"{windows_path(folder.path)} is not a folder")
        item = self.child(folder, name)
        if item is None:
            raise OSError(errno.ENOENT, f"there is no {windows_path(path)}")
        if item.is_folder:
            if len(self._folders) >= _REMEMBERED:
                self._folders.clear()
            self._folders[path] = item
        return item

    def child(self, folder: Item, name: str) -> Item | None:
        """What ``name`` means in ``folder``, None for nothing."""
        path = f"{folder.path}/" if folder.path else ""
        if folder.node is not None:
            spellings = folder.node.names.get(fold(name))
            if spellings is not None:
                if not spellings:
                    return None
                spelling = name if name in spellings else next(iter(spellings))
                return Item(path + spelling, self._node(spellings[spelling]), None)
        below = self.path_below(folder)
        found = None if below is None else self.lower.child(below, name)
        return None if found is None else Item(path + found.name, None, found)

    def children(self, folder: Item) -> Iterator[Item]:
        """What lies in ``folder``, in the order of folded names."""
        path = f"{folder.path}/" if folder.path else ""
        below = self.path_below(folder)
        listing = {} if below is None else self.lower.listing(below)
        if folder.node is None or not folder.node.names:
            for alike in listing.values():
                for one in alike:
                    yield Item(path + one.name, None, one)
            return
        names = folder.node.names
        for key in sorted({*listing, *names}):
            spellings = names.get(key)
            if spellings is None:
                for one in listing[key]:
                    yield Item(path + one.name, None, one)
            else:
                for name in sorted(spellings):
                    yield Item(path + name, self._node(spellings[name]), None)

    def path_below(self, folder: Item) -> str | None:
        """The path in the layers of what shows through in ``folder``, None where nothing does."""
        if folder.node is not None:
            return folder.node.lower
        return folder.below.found.path if folder.below is not None else None

    def origin(self, item: Item) -> LowerItem | None:
        """What is below ``item``: itself, or what its node was before it was changed."""
        if item.node is None:
            return item.below
        return None if item.node.lower is None else self.lower.item(item.node.lower)

    def names_of(self, item: Item) -> list[str]:
        """The paths under which a file that only lies below is to be seen."""
        if item.below is None:
            return [item.path]
        known = self.lower.names(item.below)
        if len(known) < 2:
            return [item.path]
        names = []
        for path in known:
            try:
                shown = self.find(path)
            except OSError:
                continue  # deleted above
            # Only folders without such files are moved without them, so a name that shows is where it was.
            if shown.below is not None and shown.below.found.path == path:
                names.append(shown.path)
        return names

    # ------------------------------------------------------------------ what is there

    def metadata(self, item: Item) -> Metadata:
        """What NTFS keeps about it."""
        if item.node is not None:
            if item.node.id == TOP:
                return Metadata()
            return item.node.metadata
        return Metadata() if item.below is None else self.lower.metadata(item.below)

    def size(self, item: Item) -> int | None:
        """The size of its main stream in bytes, None where it has none."""
        node = item.node
        if node is not None and node.data and self.upper is not None:
            return self.upper.data_size(node)
        if item.is_folder:
            return None
        origin = self.origin(item)
        return None if origin is None else self.lower.size(origin)

    def data(self, item: Item) -> Stream | None:
        """Its main stream, to be read while it is not written to."""
        node = item.node
        if node is not None and node.data and self.upper is not None:
            upper, size = self.upper, self.upper.data_size(node)
            return file_stream(
                lambda: upper.open_data(node, os.O_RDONLY), size, None, encode_wtf8(item.path), None, "upper"
            )
        origin = self.origin(item)
        return None if item.is_folder or origin is None else self.lower.data(origin)

    def stat(self, item: Item) -> Stat:
        """What ``stat`` shows of it."""
        node = item.node
        if node is None:
            assert item.below is not None  # noqa: S101 - an item is one of the two
            stat = self.lower.stat(item.below)
            if stat.links > 1 and self.upper is not None:
                return stat._replace(links=len(self.names_of(item)))
            return stat
        mode = mode_of(node.metadata, is_folder=node.is_folder)
        size = (self.size(item) or 0) if modes.S_ISREG(mode) else 0
        links = node.links if modes.S_ISREG(mode) else 1
        return Stat(mode, node.inode, max(links, 1), size, *stat_times(node.metadata))

    def is_symlink(self, item: Item) -> bool:
        """Whether it is shown as a symbolic link."""
        return is_link(self.metadata(item))

    def stream_names(self, item: Item) -> list[str]:
        """The names of its alternate streams, as backup streams spell them."""
        origin = self.origin(item)
        names = {} if origin is None or origin.found.node is None else dict.fromkeys(self.lower.streams(origin))
        if item.node is not None:
            for name, data in item.node.streams.items():
                known = next((one for one in names if fold(one) == fold(name)), None)
                if known is not None:
                    del names[known]
                if data is not None:
                    names[name] = None
        return list(names)

    def stream(self, item: Item, name: str) -> Stream | None:
        """The alternate stream ``name``, in any case; None where there is none."""
        key = fold(name)
        if item.node is not None:
            for own, data in item.node.streams.items():
                if fold(own) == key:
                    return None if data is None else Stream.from_bytes(data)
        origin = self.origin(item)
        if origin is None or origin.found.node is None:
            return None
        for one, (layer, stream) in self.lower.streams(origin).items():
            if fold(one) == key:
                return self.lower.stream(layer, stream)
        return None

    def _node(self, number: int) -> UpperNode:
        if self.upper is None or number not in self.upper.nodes:
            raise WclayerError(f"there is no node {number} in the upper folder")
        return self.upper.nodes[number]
