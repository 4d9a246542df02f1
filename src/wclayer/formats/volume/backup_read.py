"""BackupRead: a file of a volume as a backup stream, piece by piece.

The streams come in the order in which Windows delivers them: security, reparse data, main stream, extended attributes,
alternate streams. An empty main stream is not delivered at all. What reads it once, front to back, therefore meets the
attributes only behind the data.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator

from wclayer.errors import IntegrityError, UnsafeEntryError
from wclayer.formats.folder.door import readable
from wclayer.formats.volume.record import Ranges
from wclayer.formats.volume.tree import Status
from wclayer.formats.volume.volume import Volume
from wclayer.ntfs import backup
from wclayer.ntfs.backup import BackupStreamWriter

__all__ = ["backup_pieces", "copy_backup", "read_function"]

_PIECE = 1 << 20


def backup_pieces(volume: Volume, status: Status, *, security: bool) -> Generator[bytes, None, None]:
    """The backup stream of the file or folder ``status``; with ``security`` it begins with the descriptor."""
    if status.is_foreign_link:
        raise UnsafeEntryError("a symbolic link of this machine", layer=volume.label, path=readable(status.host))
    record, manifest = status.record, volume.manifest
    if security and record.security_descriptor is not None:
        yield _head(backup.BACKUP_SECURITY_DATA, len(record.security_descriptor), backup.STREAM_CONTAINS_SECURITY)
        yield record.security_descriptor
    if record.reparse is not None:
        yield _head(backup.BACKUP_REPARSE_DATA, len(record.reparse))
        yield record.reparse
    if status.size or record.ranges is not None:
        yield from _main_stream(volume, status)
    if record.extended_attributes:
        yield _head(backup.BACKUP_EA_DATA, len(record.extended_attributes))
        yield record.extended_attributes
    if manifest is None:
        return
    for row in manifest.streams_of(record):
        pieces = manifest.stream_pieces(row.stream)
        if row.ranges is None:
            yield _head(backup.BACKUP_ALTERNATE_DATA, row.size, name=row.name)
            yield from pieces
        else:
            yield from _sparse(row.size, row.ranges, _rows(pieces), backup.BACKUP_ALTERNATE_DATA, row.name)


def read_function(pieces: Iterator[bytes]) -> Callable[[int], bytes]:
    """``read(n)`` over ``pieces``: up to n bytes, ``b""`` at the end."""
    rest = b""

    def read(count: int) -> bytes:
        nonlocal rest
        while not rest:
            piece = next(pieces, None)
            if piece is None:
                return b""
            rest = piece
        taken, rest = rest[:count], rest[count:]
        return taken

    return read


def copy_backup(volume: Volume, status: Status, write: Callable[[bytes], object], *, security: bool) -> None:
    """Hand the backup stream of ``status`` to ``write``."""
    for piece in backup_pieces(volume, status, security=security):
        write(piece)


def _main_stream(volume: Volume, status: Status) -> Iterator[bytes]:
    ranges = status.record.ranges
    descriptor = volume.open_data(status)
    try:
        found = os.fstat(descriptor).st_size
        if found != status.size:
            raise _changed(volume, status)

        def content(offset: int, length: int) -> Iterator[bytes]:
            end = offset + length
            while offset < end:
                piece = os.pread(descriptor, min(_PIECE, end - offset), offset)
                if not piece:
                    raise _changed(volume, status)
                yield piece
                offset += len(piece)

        if ranges is None:
            yield _head(backup.BACKUP_DATA, status.size)
            yield from content(0, status.size)
        else:
            yield from _sparse(status.size, ranges, content, backup.BACKUP_DATA)
    finally:
        os.close(descriptor)


def _sparse(
    size: int,
    ranges: Ranges,
    content: Callable[[int, int], Iterator[bytes]],
    stream_id: int,
    name: str = "",
) -> Iterator[bytes]:
    if ranges == ((0, size),) and size:
        yield _head(stream_id, size, backup.STREAM_SPARSE_ATTRIBUTE, name)
        yield from content(0, size)
        return
    yield _head(stream_id, 0, backup.STREAM_SPARSE_ATTRIBUTE, name)
    for offset, length in ranges:
        yield _head(backup.BACKUP_SPARSE_BLOCK, length, backup.STREAM_SPARSE_ATTRIBUTE, offset=offset)
        yield from content(offset, length)
    if size:
        yield _head(backup.BACKUP_SPARSE_BLOCK, 0, backup.STREAM_SPARSE_ATTRIBUTE, offset=size)


def _rows(pieces: Iterator[bytes]) -> Callable[[int, int], Iterator[bytes]]:
    """The pieces of a stream range by range; they lie one behind the other, so the offsets do not matter."""
    read = read_function(pieces)

    def take(_offset: int, count: int) -> Iterator[bytes]:
        while count and (piece := read(count)):
            count -= len(piece)
            yield piece

    return take


def _head(stream_id: int, size: int, attributes: int = 0, name: str = "", offset: int = 0) -> bytes:
    parts: list[bytes] = []
    BackupStreamWriter(lambda data: parts.append(bytes(data))).header(
        stream_id, size, attributes=attributes, name=name, offset=offset
    )
    return b"".join(parts)


def _changed(volume: Volume, status: Status) -> IntegrityError:
    return IntegrityError("the file changed while it was read", layer=volume.label, path=readable(status.host))
