"""A transport folder as a layer format: items out of it.

The reader knows two policies. ``reference`` gives what hcsshim's exporter would see, ``faithful`` all that the folder
holds: streams of folders, sparse ranges, what the sidecars of ``Files`` and ``Hives`` say. Whoever stops reading has
the folder closed, which what mypyc makes of a generator would not do: this module stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import UsageError, WclayerError
from wclayer.formats.tar.reader import Policy
from wclayer.formats.transport.blobs import blob_items
from wclayer.formats.transport.names import FILES, HIVES, SIDECAR
from wclayer.formats.transport.pour import current_items
from wclayer.formats.transport.publish import manifest_beside
from wclayer.formats.transport.reader import LegacyLayerReader
from wclayer.formats.volume import Manifest, Volume
from wclayer.formats.volume.items import metadata_of, volume_items
from wclayer.formats.volume.paths import is_below
from wclayer.model import AlternateStream, Entry, LayerItem, Notices, Tombstone

__all__ = ["TransportFolderReader", "open_transport_folder"]


def open_transport_folder(folder: Path, notices: Notices | None = None) -> Volume:
    """A transport folder as a volume to read, with its manifest if there is one."""
    folder = folder.absolute()
    place = manifest_beside(folder)
    manifest = Manifest(place, read_only=True) if place.exists() else None
    return Volume(folder, manifest, notices=notices)


class TransportFolderReader:
    """Reads the transport folder ``folder`` as layer items. ``lenient`` is that of :class:`LegacyLayerReader`."""

    def __init__(
        self, folder: Path, *, policy: Policy = "faithful", lenient: bool = False, notices: Notices | None = None
    ) -> None:
        self.folder = folder
        self.notices = Notices() if notices is None else notices
        self._faithful = policy == "faithful"
        self._lenient = lenient

    def __iter__(self) -> Iterator[LayerItem]:
        with open_transport_folder(self.folder, self.notices) as volume, self._reader(volume) as reader:
            implied = volume.manifest.implied() if volume.manifest is not None and self._faithful else frozenset()
            while (head := reader.next()) is not None:
                if head.path in implied and head.basic is not None:
                    continue
                path = head.path.replace("\\", "/")
                if head.basic is None:
                    yield Tombstone(path)
                    continue
                try:
                    if not self._faithful:
                        info = reader.link_info()
                        file_id = info.file_id if info.links > 1 else None
                        yield from current_items(reader, head, head.basic, path, file_id)
                    else:
                        yield from self._everything(volume, reader, path)
                except WclayerError as error:
                    raise error.locate(path=path) from None

    def _reader(self, volume: Volume) -> LegacyLayerReader:
        return LegacyLayerReader(volume, lenient=self._lenient, own_times=self._faithful)

    def _everything(self, volume: Volume, reader: LegacyLayerReader, path: str) -> Iterator[Entry | AlternateStream]:
        status = reader.status
        if status is None:
            raise UsageError("no current file")
        if is_below(status.path, FILES):
            blob, found = reader.blob_status(), reader.plain_blob
            if found is None:
                yield from blob_items(volume, status, blob, path)
                return
            metadata = metadata_of(blob.basic)
            metadata.attributes = found.attributes
            metadata.security_descriptor, metadata.reparse = found.security_descriptor, found.reparse
            metadata.extended_attributes = found.extended_attributes
            data = reader.plain_stream(found, path)
            file_id = blob.file_id if blob.links > 1 else None
            yield Entry(path, metadata, is_directory=status.is_directory, data=data, file_id=file_id)
        elif status.path in (FILES, HIVES) and volume.exists(status.path + SIDECAR):
            yield from blob_items(volume, status, volume.lstat(status.path + SIDECAR), path)
        else:
            yield from volume_items(volume, status, path)
