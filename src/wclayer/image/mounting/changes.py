"""A changed tree as the layer that changes the image below into it.

The layer has an entry for whatever is new or different, one for every folder above such an entry, and a tombstone for
whatever is gone; all else it leaves to its parents. In a folder that was replaced by a new one each old name gets a
tombstone of its own, for a layer cannot both delete a folder and bring it. Items come in hcsshim's order:
``Files`` and ``Hives`` first, a folder before its tombstones, and these before what is in it; names in folded order.

A file that got a further name and no other change is not written again: the name is a hard link to the file below.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace

from wclayer.errors import LimitError
from wclayer.image.mounting.lower import Lower, LowerItem
from wclayer.image.mounting.overlay import Item, Overlay
from wclayer.image.mounting.upper import UpperNode
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Tombstone
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS
from wclayer.ntfs.names import fold

__all__ = ["ALWAYS", "check_depth", "clamped", "overlay_changes", "root_entry", "same_metadata"]

ALWAYS = ("Files", "Hives")
"""The folders that every layer has: without them Windows refuses it."""

_MAX_DEPTH = 256
_TIMES = ("creation_time", "last_access_time", "last_write_time", "change_time")


def clamped(metadata: Metadata, latest: int | None) -> Metadata:
    """``metadata`` with no time after ``latest``, a FILETIME; None leaves them as they are."""
    if latest is None:
        return metadata
    changed = replace(metadata)
    for name in _TIMES:
        moment = getattr(metadata, name)
        if moment is not None and moment > latest:
            setattr(changed, name, latest)
    return changed


def check_depth(path: str) -> None:
    """Raise LimitError for a folder that lies too deep to be compared."""
    if path.count("/") > _MAX_DEPTH:
        raise LimitError(f"more than {_MAX_DEPTH} folders in each other", path=path)


def same_metadata(one: Metadata, other: Metadata) -> bool:
    """Whether they are the same but for the time of the last change, which any touch of a file sets."""
    return all(
        getattr(one, field.name) == getattr(other, field.name) for field in fields(one) if field.name != "change_time"
    )


def root_entry(lower: Lower, name: str) -> Entry:
    """The entry of one of the top folders, with the metadata that it has below."""
    below = lower.item(name)
    if below is None or not below.found.is_folder:
        return Entry(name, Metadata(FILE_ATTRIBUTE_DIRECTORY, *(UNIX_EPOCH_TICKS,) * 4), is_directory=True)
    known = lower.metadata(below)
    attributes = known.attributes | FILE_ATTRIBUTE_DIRECTORY
    return Entry(below.name, replace(known, attributes=attributes), is_directory=True)


def overlay_changes(overlay: Overlay, *, latest: int | None = None) -> Iterator[LayerItem]:
    """The items of the layer that ``overlay`` makes of the layers below; no new time is after ``latest``."""
    changes = _Changes(overlay, latest)
    tops = {fold(item.name): item for item in overlay.children(overlay.top)}
    bodies: list[Iterator[LayerItem]] = []
    for name in (*ALWAYS, "UtilityVM"):
        item = tops.get(fold(name))
        below = overlay.lower.item(name)
        if item is None or item.node is None:
            if name in ALWAYS:
                yield root_entry(overlay.lower, name)
            continue
        items = changes.folder(item, below if below is not None and below.found.is_folder else None)
        first = next(items, None)
        if first is None:
            if name in ALWAYS:
                yield root_entry(overlay.lower, name)
            continue
        if name in ALWAYS:
            yield first
        else:
            bodies.append(iter((first,)))
        bodies.append(items)
    for body in bodies:
        yield from body


class _Changes:
    def __init__(self, overlay: Overlay, latest: int | None) -> None:
        self.overlay = overlay
        self.lower = overlay.lower
        self.latest = latest
        self.first: dict[int | str, str] = {}

    def folder(self, item: Item, below: LowerItem | None) -> Iterator[LayerItem]:
        """A folder, if it or anything in it has changed. ``below`` is the folder of that name in the parents."""
        check_depth(item.path)
        waiting = [self._entry(item)]
        node = item.node
        is_old = below is not None and node is not None and self._keeps(node, below) and not node.streams
        if below is None or not is_old or not same_metadata(waiting[0].metadata, self.lower.metadata(below)):
            yield from waiting
            yield from self._streams(item)
            waiting = []
        for one in self._inside(item, below):
            yield from waiting
            waiting = []
            yield one

    def _keeps(self, node: UpperNode, below: LowerItem) -> bool:
        return node.lower is not None and node.lower == below.found.path

    def _inside(self, item: Item, below: LowerItem | None) -> Iterator[LayerItem]:
        listing = {} if below is None else self.lower.listing(below.found.path)
        node = item.node
        if node is not None and below is not None and self._keeps(node, below):
            keys = sorted(node.names)  # nothing else can differ
            now = {key: self._named(item, key) for key in keys}
        else:
            now = {}
            for child in self.overlay.children(item):
                now.setdefault(fold(child.name), []).append(child)
            keys = sorted({*now, *listing})
        for key in keys:
            if not now.get(key):
                for one in listing.get(key, ()):
                    yield Tombstone(f"{item.path}/{one.name}")
        for key in keys:
            for child in now.get(key, ()):
                alike = listing.get(key, ())
                same = next((one for one in alike if one.name == child.name), alike[0] if alike else None)
                yield from self._child(child, same)

    def _named(self, folder: Item, key: str) -> list[Item]:
        node = folder.node
        found = []
        for name in sorted(node.names[key]) if node is not None else ():
            child = self.overlay.child(folder, name)
            if child is not None:
                found.append(child)
        return found

    def _child(self, child: Item, below: LowerItem | None) -> Iterator[LayerItem]:
        if child.is_folder:
            yield from self.folder(child, below if below is not None and below.found.is_folder else None)
            return
        identity = self._identity(child)
        if identity is not None and identity in self.first:
            yield HardLink(child.path, self.first[identity], self._metadata(child))
            return
        origin = self._unchanged_origin(child)
        if origin is not None:
            if below is not None and below.name == child.name and self._is_file(below, origin):
                return  # as it was
            kept = self._kept_name(origin)
            if kept is not None:
                yield HardLink(child.path, kept, self._metadata(child))
                return
        if identity is not None:
            self.first[identity] = child.path
        yield self._entry(child)
        yield from self._streams(child)

    def _identity(self, child: Item) -> int | str | None:
        if child.node is not None:
            return child.node.id if child.node.links > 1 else None
        return None

    def _is_file(self, one: LowerItem, other: LowerItem) -> bool:
        if one.found.is_folder or one.found.node is None or other.found.node is None:
            return False
        return self.lower.holder(one) == self.lower.holder(other)

    def _unchanged_origin(self, child: Item) -> LowerItem | None:
        """The file below that ``child`` still is, None when it is another or has changed."""
        origin = self.overlay.origin(child)
        if origin is None or origin.found.is_folder or child.node is None:
            return origin if origin is not None and not origin.found.is_folder else None
        if child.node.data or child.node.streams:
            return None
        return origin if same_metadata(child.node.metadata, self.lower.metadata(origin)) else None

    def _kept_name(self, origin: LowerItem) -> str | None:
        """A name of the file ``origin`` that still means it, so that hard links can lead to it."""
        metadata = self.lower.metadata(origin)
        if metadata.reparse is not None or (origin.found.node is not None and origin.found.node.is_folder):
            return None
        for path in self.lower.names(origin):
            try:
                shown = self.overlay.find(path)
            except OSError:
                continue  # gone, or elsewhere
            now = self._unchanged_origin(shown)
            if shown.path == path and now is not None and self._is_file(now, origin):
                return path
        return None

    def _metadata(self, item: Item) -> Metadata:
        metadata = self.overlay.metadata(item)
        return metadata if item.node is None else clamped(metadata, self.latest)

    def _entry(self, item: Item) -> Entry:
        data = None if item.is_folder else self.overlay.data(item)
        return Entry(item.path, self._metadata(item), is_directory=item.is_directory, data=data)

    def _streams(self, item: Item) -> Iterator[LayerItem]:
        for name in sorted(self.overlay.stream_names(item), key=fold):
            data = self.overlay.stream(item, name)
            if data is not None:
                yield AlternateStream(item.path, name, data)
