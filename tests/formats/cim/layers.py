"""What an image must keep of a layer: items in a form that can be compared, whatever their order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_NORMAL
from wclayer.ntfs.names import fold

__all__ = ["facts_of"]


def facts_of(items: Iterable[LayerItem]) -> dict[str, Any]:
    """All that ``items`` say, by path: each file under every name, with all its names and streams.

    FILE_ATTRIBUTE_NORMAL says that no attribute is set, and so does the absence of all; here they are the same.
    """
    files: dict[str, dict[str, Any]] = {}
    spelt: dict[str, str] = {}
    for item in items:
        if isinstance(item, Entry):
            files[item.path] = {
                "folder": item.is_directory,
                "size": item.reported_size if item.data is None else item.data.size,
                "data": None if item.data is None else _content(item.data),
                "streams": {},
                "names": [item.path],
                **_said(item.metadata),
            }
        elif isinstance(item, AlternateStream):
            content = (item.data.size, _content(item.data))
            files.setdefault(item.path, {"streams": {}})["streams"][item.name] = content
        elif isinstance(item, HardLink):
            target = spelt.get(fold(item.target), fold(item.target))
            file = files.setdefault(target, {"streams": {}, "names": [target], "elsewhere": True})
            file["names"].append(item.path)
            files[item.path] = file
        else:
            assert isinstance(item, Tombstone)
            files[item.path] = {"deleted": True}
        spelt[fold(item.path)] = item.path
    for file in files.values():
        if "names" in file:
            file["names"] = sorted({fold(name) for name in file["names"]})
    return files


def _said(metadata: Metadata) -> dict[str, Any]:
    return {
        "attributes": metadata.attributes & ~FILE_ATTRIBUTE_NORMAL,
        "creation": metadata.creation_time,
        "access": metadata.last_access_time,
        "write": metadata.last_write_time,
        "change": metadata.change_time,
        "descriptor": metadata.security_descriptor,
        "attributes-extended": metadata.extended_attributes,
        "reparse": metadata.reparse,
    }


def _content(data: Stream) -> str:
    if data.ranges == () and data.size > 1 << 24:
        return "zeros"
    digest = hashlib.sha256()
    for piece in data.pieces():
        digest.update(piece)
    return digest.hexdigest()
