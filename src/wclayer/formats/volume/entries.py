"""Entries without the detour over a backup stream, for files whose stream holds no surprise.

What an exporter makes of a file follows from the order of the streams in its backup stream. For a file with at most a
descriptor, reparse data, extended attributes and a dense main stream that is known beforehand, so no stream need be put
together only to be taken apart again. All others go the long way.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from wclayer.errors import IntegrityError, WclayerError
from wclayer.formats.folder.door import readable
from wclayer.formats.volume.items import metadata_of
from wclayer.formats.volume.record import BasicInfo
from wclayer.formats.volume.tree import Status
from wclayer.formats.volume.volume import Volume
from wclayer.model import Buffer, Entry, Stream
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.ea import decode_eas

__all__ = ["described_entry", "plain_entry"]

_PIECE = 1 << 20
_MAX_METADATA = 1 << 20


def plain_entry(
    volume: Volume, status: Status, basic: BasicInfo, path: str, file_id: bytes | None, *, to_the_end: bool
) -> Entry | None:
    """The entry ``path`` that BackupRead with the descriptor makes of ``status``; None when its stream must be read.

    ``to_the_end`` is for an exporter that looks at what comes behind the data, where the extended attributes are.
    """
    record = status.record
    if (
        status.is_foreign_link
        or record.ranges is not None
        or record.streams
        or (status.is_directory and status.size)
        or len(record.security_descriptor or b"") > _MAX_METADATA
        or len(record.reparse or b"") > _MAX_METADATA
        or len(record.extended_attributes or b"") > _MAX_METADATA
    ):
        return None
    size = status.size
    data = Stream(size, _reading(volume, status)) if size else None
    entry = described_entry(path, basic, record.security_descriptor, record.reparse, data, file_id)
    if record.extended_attributes and (to_the_end or data is None):
        try:
            entry.metadata.extended_attributes = decode_eas(record.extended_attributes)
        except WclayerError:
            return None  # who reads the stream says what is wrong, and where
    return entry


def described_entry(
    path: str,
    basic: BasicInfo,
    descriptor: bytes | None,
    reparse: bytes | None,
    data: Stream | None,
    file_id: bytes | None,
) -> Entry:
    """The entry of a file with these streams and no others."""
    metadata = metadata_of(basic)
    metadata.security_descriptor = descriptor
    metadata.reparse = reparse
    is_directory = bool(basic.attributes & FILE_ATTRIBUTE_DIRECTORY)
    size = data.size if data is not None and not is_directory else 0
    return Entry(path, metadata, is_directory=is_directory, data=data, file_id=file_id, reported_size=size)


def _reading(volume: Volume, status: Status) -> Callable[[int], Iterator[Buffer]]:
    def source(size: int) -> Iterator[Buffer]:
        descriptor = volume.open_data(status)
        try:
            # One byte more than there should be tells whether the file has grown, without another call.
            left = size
            while left:
                piece = os.read(descriptor, min(_PIECE, left) + 1)
                left -= len(piece)
                if not piece or left < 0:
                    raise IntegrityError(
                        "the file changed while it was read", layer=volume.label, path=readable(status.host)
                    )
                yield piece
        finally:
            os.close(descriptor)

    return source
