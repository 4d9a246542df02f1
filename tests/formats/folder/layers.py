"""Short ways to say layer items, and to make and read layer folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wclayer.formats.folder import LayerFolder, LayerFolderReader, LayerFolderWriter
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs.reparse import build_link

TIME = 132_223_104_000_000_000
LINK_BUFFER = build_link("C:\\elsewhere", mount_point=False)


def file(path: str, data: bytes | None = b"", **metadata: Any) -> LayerItem:
    """A file; ``data`` None means that it has no stream."""
    return Entry(path, _metadata(0x20, metadata), data=None if data is None else Stream.from_bytes(data))


def folder(path: str, **metadata: Any) -> LayerItem:
    """A folder."""
    return Entry(path, _metadata(0x10, metadata), is_directory=True)


def symlink(path: str, *, is_directory: bool = False) -> LayerItem:
    """A symbolic link of Windows: a reparse point."""
    return Entry(path, Metadata(0x400, reparse=LINK_BUFFER), is_directory=is_directory)


def alternate(path: str, name: str, data: bytes) -> LayerItem:
    """An alternate stream."""
    return AlternateStream(path, name, Stream.from_bytes(data))


def sparse(path: str, size: int, *extents: tuple[int, bytes]) -> LayerItem:
    """A sparse file."""
    pieces = [data for _, data in extents]
    ranges = tuple((offset, len(data)) for offset, data in extents)
    return Entry(path, Metadata(0x220), data=Stream(size, lambda _stored: iter(pieces), ranges))


def write(
    destination: Path, *items: LayerItem, parents: Iterable[Path] = (), notices: Notices | None = None, **options: Any
) -> Path:
    """Write a layer folder of ``items``; returns its path."""
    with LayerFolderWriter(destination, parents=parents, notices=notices, **options) as writer:
        for item in items:
            writer.write(item)
    return destination


def plain(items: Iterable[LayerItem]) -> list[tuple[Any, ...]]:
    """Items as tuples that can be compared, data read."""
    return [_plain(item) for item in items]


def read(path: Path) -> list[tuple[Any, ...]]:
    """The items of the layer folder ``path``, as :func:`plain` has them."""
    with LayerFolder(path) as opened:
        return plain(LayerFolderReader(opened))


def tree(path: Path) -> set[str]:
    """What lies below ``path``, relative to it."""
    return {
        os.path.relpath(os.path.join(base, name), path)
        for base, names, files in os.walk(path)
        for name in names + files
    }


def _metadata(attributes: int, given: dict[str, Any]) -> Metadata:
    return Metadata(**{"attributes": attributes, "last_write_time": TIME, **given})


def _plain(item: LayerItem) -> tuple[Any, ...]:
    if isinstance(item, Tombstone):
        return ("tombstone", item.path, item.ordinal)
    if isinstance(item, HardLink):
        return ("link", item.path, item.target, item.metadata, item.ordinal)
    if isinstance(item, AlternateStream):
        return ("stream", item.path, item.name, _data(item.data), item.ordinal)
    data = None if item.data is None else _data(item.data)
    return ("folder" if item.is_directory else "file", item.path, item.metadata, data, item.file_id, item.ordinal)


def _data(data: Stream) -> tuple[Any, ...]:
    return (data.size, data.ranges, b"".join(bytes(piece) for piece in data.stored_pieces()))
