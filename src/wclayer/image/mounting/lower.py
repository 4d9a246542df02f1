"""The layers below a mount: a merged view whose folders are remembered, whose files can be opened.

A file system is asked the same things over and over, so a folder is looked up in the layers once and kept, with what
``stat`` wants of what lies in it; the longest unused folders are forgotten.
"""

from __future__ import annotations

import errno
import os
import stat as modes
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

from wclayer.errors import WclayerError
from wclayer.formats.folder import Node as LayerNode
from wclayer.formats.folder import StreamNode
from wclayer.formats.folder.host_times import host_times
from wclayer.image.chain import open_all
from wclayer.image.mounting.fuse import Stat
from wclayer.image.target import FolderLayer
from wclayer.image.view import Found, View, ViewLayer
from wclayer.model import LayerChain, Metadata, Stream
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_READONLY
from wclayer.ntfs.names import fold
from wclayer.ntfs.reparse import IO_REPARSE_TAG_MOUNT_POINT, IO_REPARSE_TAG_SYMLINK, tag_of

__all__ = ["FILE_MODE", "FOLDER_MODE", "LINK_MODE", "Lower", "LowerItem", "is_link", "mode_of", "stat_times"]

FOLDER_MODE, FILE_MODE, LINK_MODE = modes.S_IFDIR | 0o755, modes.S_IFREG | 0o644, modes.S_IFLNK | 0o777
_WRITABLE = 0o222
_KEPT = 200_000  # items of folders, each of some hundred bytes


class LowerItem:
    """Something in a folder of the layers. ``stat`` and ``links`` are filled in when they are first wanted."""

    __slots__ = ("found", "holder", "name", "stat")

    def __init__(self, found: Found) -> None:
        self.found = found
        self.name = found.name
        self.stat: Stat | None = None
        self.holder: tuple[int, LayerNode] | None = None


class Lower:
    """The layer folders ``layers``, nearest first, as one tree. Close it after use."""

    def __init__(self, layers: Sequence[Path], *, reference: str | None = None) -> None:
        folders = [FolderLayer(folder) for folder in open_all(layers)]
        self.view = View(LayerChain[ViewLayer](folders), reference=reference)
        self._folders = folders
        self._listings: OrderedDict[str, dict[str, list[LowerItem]]] = OrderedDict()
        self._count = 0
        self._names: dict[tuple[int, int], list[str]] | None = None

    def close(self) -> None:
        """Close the layers."""
        self.view.close()

    # ------------------------------------------------------------------ looking up

    def listing(self, path: str) -> dict[str, list[LowerItem]]:
        """What lies in the folder ``path``, spelt as the layers spell it: by folded name, usually one of each."""
        known = self._listings.get(path)
        if known is not None:
            self._listings.move_to_end(path)
            return known
        found = self.view.find(path, follow=False)
        made: dict[str, list[LowerItem]] = {}
        if found.is_folder:
            for child in self.view.children(found):
                item = LowerItem(child)
                made.setdefault(fold(item.name), []).append(item)
        self._listings[path] = made
        self._count += len(made) + 1
        while self._count > _KEPT and len(self._listings) > 1:
            _, dropped = self._listings.popitem(last=False)
            self._count -= len(dropped) + 1
        return made

    def item(self, path: str) -> LowerItem | None:
        """What is at ``path``, spelt in any case; links on the way are not followed."""
        item: LowerItem | None = LowerItem(self.view.root)
        for name in path.split("/") if path else ():
            if item is None or not item.found.is_folder:
                return None
            item = self.child(item.found.path, name)
        return item

    def child(self, folder: str, name: str) -> LowerItem | None:
        """What ``name`` means in the folder ``folder``: the exact spelling before others."""
        alike = self.listing(folder).get(fold(name))
        if not alike:
            return None
        if len(alike) == 1:
            return alike[0]
        return next((item for item in alike if item.name == name), alike[0])

    def holder(self, item: LowerItem) -> tuple[int, LayerNode]:
        """The layer and the entry that hold its metadata and data. Raises UnsafeEntryError for a broken hard link."""
        if item.holder is None:
            item.holder = self.view.content(item.found)
        return item.holder

    def names(self, item: LowerItem) -> list[str]:
        """The paths of the file ``item``, all of them, in an order that does not change."""
        identity = self._identity(item)
        names = self._all_names().get(identity)
        return [item.found.path] if names is None else names

    # ------------------------------------------------------------------ what is there

    def metadata(self, item: LowerItem) -> Metadata:
        """What NTFS keeps about it."""
        return Metadata() if item.found.node is None else self.holder(item)[1].metadata()

    def size(self, item: LowerItem) -> int | None:
        """The size of its main stream in bytes, None where it has none."""
        return None if item.found.is_folder else self.holder(item)[1].size

    def stat(self, item: LowerItem) -> Stat:
        """What ``stat`` shows of it."""
        if item.stat is None:
            item.stat = self._stat(item)
        return item.stat

    def open(self, item: LowerItem) -> int:
        """A descriptor of its data; it must be a file with a main stream. Raises OSError."""
        layer, node = self.holder(item)
        folder = self._folders[layer].folder
        try:
            path = folder.folder_path(node.parent)[1]
            descriptor = folder.door.open(path, node.host_leaf)
        except WclayerError as error:
            raise OSError(errno.EIO, str(error)) from error
        if os.fstat(descriptor).st_size != node.size:
            os.close(descriptor)
            raise OSError(errno.EIO, f"{node.path} has not the size that its layer says")
        return descriptor

    def data(self, item: LowerItem) -> Stream | None:
        """Its main stream."""
        layer, node = self.holder(item)
        return self._folders[layer].folder.open_data(node)

    def streams(self, item: LowerItem) -> dict[str, tuple[int, StreamNode]]:
        """Its alternate streams by their names as backup streams spell them."""
        return {stream.name: (layer, stream) for layer, stream in self.view.streams(item.found)}

    def stream(self, layer: int, stream: StreamNode) -> Stream:
        """The data of an alternate stream."""
        return self._folders[layer].folder.open_stream(stream)

    # ------------------------------------------------------------------ details

    def _stat(self, item: LowerItem) -> Stat:
        node = item.found.node
        if node is None:
            return Stat(FOLDER_MODE, 1, 1, 0, 0, 0, 0)
        layer, node = self.holder(item)
        metadata = node.metadata()
        size, links = node.size or 0, 1
        mode = mode_of(metadata, is_folder=item.found.is_folder or (node.is_folder and not is_link(metadata)))
        if modes.S_ISREG(mode) and self._all_names():
            links = len(self.names(item))
        elif modes.S_ISLNK(mode):
            size = 0
        return Stat(mode, (layer + 1) << 40 | node.id, links, size, *stat_times(metadata))

    def _identity(self, item: LowerItem) -> tuple[int, int]:
        layer, node = self.holder(item)
        return layer, node.id

    def _all_names(self) -> dict[tuple[int, int], list[str]]:
        """The names of every file that has several, by its identity."""
        if self._names is None:
            self._names = {}
            seen: dict[tuple[int, int], dict[str, None]] = {}
            for number, layer in enumerate(self._folders):
                for link in layer.folder.links():
                    self._take_names(number, link, seen)
            self._names = {identity: sorted(paths) for identity, paths in seen.items()}
        return self._names

    def _take_names(self, layer: int, link: LayerNode, seen: dict[tuple[int, int], dict[str, None]]) -> None:
        try:
            found = Found(link.path, layer, link)
            held_by, node = self.view.content(found)
        except WclayerError:
            return  # a link without a file: looking at it says so
        identity = (held_by, node.id)
        for path in (link.path, node.path):
            try:
                shown = self.item(path)
                if shown is not None and not shown.found.is_folder and self._identity(shown) == identity:
                    seen.setdefault(identity, {})[shown.found.path] = None
            except WclayerError:
                continue  # hidden by such a link


def is_link(metadata: Metadata) -> bool:
    """Whether it is a symbolic link or a junction, which is a symbolic link to this machine."""
    reparse = metadata.reparse
    if reparse is None or len(reparse) < 8:
        return False
    return tag_of(reparse) in (IO_REPARSE_TAG_SYMLINK, IO_REPARSE_TAG_MOUNT_POINT)


def mode_of(metadata: Metadata, *, is_folder: bool) -> int:
    """Type and permissions. Only the attribute read-only of files is one of the permissions."""
    if is_link(metadata):
        return LINK_MODE
    if is_folder:
        return FOLDER_MODE
    return FILE_MODE & ~_WRITABLE if metadata.attributes & FILE_ATTRIBUTE_READONLY else FILE_MODE


def stat_times(metadata: Metadata) -> tuple[int, int, int]:
    """Access, modification and change in ns after 1970; a time that is not known is 1970."""
    accessed, written, changed = metadata.last_access_time, metadata.last_write_time, metadata.change_time
    return host_times(accessed)[0], host_times(written)[0], host_times(changed)[0]
