"""Blobs in which nothing is unusual, taken apart in memory: one read, no second look.

Nearly all blobs hold a descriptor and a main stream and nothing else. Their heads lie in the first piece of the file,
for small files with all of the content. Whatever is different is left to the readers that go stream by stream.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple

from wclayer.errors import WclayerError
from wclayer.formats.transport.names import ATTRIBUTES_SIZE
from wclayer.formats.volume import Status, Volume
from wclayer.formats.volume.file_data import PIECE, extent_pieces, file_pieces
from wclayer.model import Buffer, Stream
from wclayer.ntfs import backup
from wclayer.ntfs.ea import ExtendedAttribute, decode_eas

__all__ = ["PlainBlob", "blob_stream", "plain_blob"]

_HEAD = Struct("<IIQI")
_CHUNK = 1 << 16
_BEFORE_DATA = (backup.BACKUP_SECURITY_DATA, backup.BACKUP_REPARSE_DATA)


class PlainBlob(NamedTuple):
    """A blob that holds at most a descriptor, reparse data, extended attributes and a dense main stream, each once.

    ``size`` is that of the main stream, None without one. ``place`` is where in the file it begins; ``front`` is what
    was read of it already, all of it usually.
    """

    attributes: int
    security_descriptor: bytes | None
    reparse: bytes | None
    extended_attributes: tuple[ExtendedAttribute, ...]
    size: int | None
    place: int
    front: bytes


def plain_blob(descriptor: int, end: int) -> PlainBlob | None:
    """What is in the blob ``descriptor`` of ``end`` bytes; None for one that must be read stream by stream.

    That is one in which anything is unusual or wrong. Nothing is read but a piece from the front of the file and, where
    attributes follow a large main stream, one from its end.
    """
    if end < ATTRIBUTES_SIZE:
        return None
    chunk, base = os.pread(descriptor, min(end, _CHUNK), 0), 0
    word = int.from_bytes(chunk[:ATTRIBUTES_SIZE], "little")
    small: dict[int, bytes] = {}
    size, place, at = None, 0, ATTRIBUTES_SIZE
    front = b""
    while at < end:
        if at + _HEAD.size > base + len(chunk):
            if size is None or base or end - at > _CHUNK:
                return None
            chunk, base = os.pread(descriptor, end - at, at), at
            if len(chunk) < _HEAD.size:
                return None
        kind, flags, length, name_size = _HEAD.unpack_from(chunk, at - base)
        at += _HEAD.size
        if name_size or kind in small or length > end - at:
            return None
        found = chunk[at - base : at - base + length]
        if kind == backup.BACKUP_DATA and size is None and not flags & backup.STREAM_SPARSE_ATTRIBUTE:
            size, place, front = length, at, found
        elif len(found) == length and (kind == backup.BACKUP_EA_DATA or (kind in _BEFORE_DATA and size is None)):
            small[kind] = found
        else:
            return None
        at += length
    try:
        attributes = decode_eas(small.get(backup.BACKUP_EA_DATA, b""))
    except WclayerError:
        return None  # whoever reads it stream by stream says what is wrong, and where
    descriptor_found, reparse = small.get(backup.BACKUP_SECURITY_DATA), small.get(backup.BACKUP_REPARSE_DATA)
    return PlainBlob(word, descriptor_found, reparse, attributes, size, place, front)


def blob_stream(
    volume: Volume, blob: Status, found: PlainBlob, path: str, opened: Callable[[], int | None] = lambda: None
) -> Stream | None:
    """The main stream of the file ``blob``. What was not read yet is read when it is asked for.

    ``opened`` tells the descriptor of the file as long as it is open anyway, then None.
    """
    if found.size is None:
        return None
    front, start, end = found.front, found.place + len(found.front), found.place + found.size
    if start == end:
        return Stream.from_bytes(front)

    def source(_size: int) -> Iterator[Buffer]:
        offset = start
        if front:
            yield front
        while offset < end and (descriptor := opened()) is not None:
            piece = next(file_pieces(descriptor, offset, min(PIECE, end - offset), path))
            offset += len(piece)
            yield piece
        if offset < end:
            yield from extent_pieces(lambda: volume.open_data(blob), [(offset, end - offset)], path)

    return Stream(found.size, source)
