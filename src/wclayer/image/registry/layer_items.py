"""The layer that carries a change of the registry: two folders and the delta hives, with the metadata they should have.

An upper layer of Windows has ``Files``, even with nothing in it, and ``Hives`` with a delta of each of the five hives;
where one is missing, Windows and hcsshim may refuse to put the next layer on top. The folders get the metadata they
have in the image, so that the layer changes nothing but the registry. An export of Windows has no security descriptors
on the deltas (hcsshim, ``legacyLayerReader``), so there are none here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from wclayer.errors import NotFoundError
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.hives_of_view import ViewHives
from wclayer.model import Entry, LayerItem, Metadata, Stream
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY

__all__ = ["registry_layer_items"]


def registry_layer_items(registry: ImageRegistry, hives: Mapping[str, bytes], timestamp: int) -> list[LayerItem]:
    """The items of a layer that holds ``hives``, by their names, in the order of an export.

    ``timestamp`` (FILETIME ticks) is the time of what is new.
    """
    items: list[LayerItem] = [_folder(registry, "Files", timestamp), _folder(registry, "Hives", timestamp)]
    times = (timestamp,) * 4
    for name, data in sorted(hives.items()):
        metadata = Metadata(FILE_ATTRIBUTE_ARCHIVE, *times)
        items.append(Entry(f"Hives/{name}", metadata, data=Stream.from_bytes(data)))
    return items


def _folder(registry: ImageRegistry, name: str, timestamp: int) -> Entry:
    metadata = Metadata(FILE_ATTRIBUTE_DIRECTORY, timestamp, timestamp, timestamp, timestamp)
    if isinstance(registry.source, ViewHives):
        view = registry.source.view
        try:
            found = view.find(name, follow=False)
        except NotFoundError:
            return Entry(name, metadata, is_directory=True)
        if found.is_folder and not found.is_reparse_point:
            known = view.metadata(found)
            metadata = replace(known, attributes=known.attributes | FILE_ATTRIBUTE_DIRECTORY)
    return Entry(name, metadata, is_directory=True)
