"""Blobs taken apart completely: every stream of the backup stream, wherever in it, by its place in the file.

One pass over the heads finds where the contents are; they are read when they are asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from wclayer.errors import FormatError
from wclayer.formats.transport.reader import open_blob
from wclayer.formats.volume import Status, Volume
from wclayer.formats.volume.file_data import extent_pieces
from wclayer.formats.volume.items import metadata_of
from wclayer.model import AlternateStream, Buffer, Entry, Stream
from wclayer.ntfs import backup
from wclayer.ntfs.backup import BackupStreamReader
from wclayer.ntfs.backup_sparse import StreamLayout, stream_layout
from wclayer.ntfs.ea import ExtendedAttribute, decode_eas

__all__ = ["blob_items"]

_MAX_METADATA = 1 << 20
_DROPPED = (backup.BACKUP_LINK, backup.BACKUP_PROPERTY_DATA, backup.BACKUP_OBJECT_ID, backup.BACKUP_TXFS_DATA)


def blob_items(volume: Volume, status: Status, blob: Status, path: str) -> Iterator[Entry | AlternateStream]:
    """The entry ``path`` of the file or folder ``status``, which ``blob`` describes, and its alternate streams.

    Object ids and the like, which no other format has, are counted. Raises FormatError.
    """
    descriptor, attributes = open_blob(volume, blob)
    metadata = metadata_of(blob.basic._replace(attributes=attributes))
    eas: list[ExtendedAttribute] = []
    main: StreamLayout | None = None
    others: list[tuple[str, StreamLayout]] = []
    try:
        reader = BackupStreamReader(lambda count: os.read(descriptor, count), skip=_skipping(descriptor))
        start = os.lseek(descriptor, 0, os.SEEK_CUR)
        while (header := reader.next()) is not None:
            if header.id == backup.BACKUP_SECURITY_DATA:
                metadata.security_descriptor = reader.content(_MAX_METADATA)
            elif header.id == backup.BACKUP_EA_DATA:
                eas += decode_eas(reader.content(_MAX_METADATA))
            elif header.id == backup.BACKUP_REPARSE_DATA:
                metadata.reparse = reader.content(_MAX_METADATA)
            elif header.id == backup.BACKUP_DATA and main is None:
                main = stream_layout(reader, header)
            elif header.id == backup.BACKUP_ALTERNATE_DATA:
                others.append((header.name, stream_layout(reader, header)))
            elif header.id in _DROPPED:
                name = backup.stream_id_name(header.id)
                volume.notices.add("stream-dropped", path, f"a backup stream {name}, which no layer format holds")
            else:
                raise FormatError(f"unknown stream ID {header.id}", kind="stream-unknown", path=path)
    finally:
        os.close(descriptor)
    metadata.extended_attributes = tuple(eas)
    yield Entry(
        path,
        metadata,
        is_directory=status.is_directory,
        data=_stream(volume, blob, main, start, path) if main is not None else None,
        file_id=blob.file_id if blob.links > 1 else None,
    )
    for name, layout in others:
        yield AlternateStream(path, name, _stream(volume, blob, layout, start, path))


def _stream(volume: Volume, blob: Status, layout: StreamLayout, start: int, path: str) -> Stream:
    ranges = ((0, layout.size),) if layout.ranges is None else layout.ranges

    def source(_stored: int) -> Iterator[Buffer]:
        extents = ((start + place, length) for (_, length), place in zip(ranges, layout.positions, strict=True))
        return extent_pieces(lambda: volume.open_data(blob), extents, path)

    return Stream(layout.size, source, layout.ranges)


def _skipping(descriptor: int) -> Callable[[int], int]:
    end = os.fstat(descriptor).st_size

    def skip(count: int) -> int:
        here = os.lseek(descriptor, 0, os.SEEK_CUR)
        return os.lseek(descriptor, min(here + count, end), os.SEEK_SET) - here

    return skip
