"""BackupWrite: a backup stream, pushed in pieces of any size, becomes a file of a volume.

The main stream goes to the file itself, with holes where it is sparse; alternate streams go to the manifest piece by
piece; security, extended attributes and reparse data become part of the file's record. What cannot be restored is
refused before anything of it is written.
"""

from __future__ import annotations

import os
from functools import lru_cache
from struct import Struct

from wclayer.errors import FormatError, LimitError, UnsupportedError
from wclayer.formats.folder.door import store_error
from wclayer.formats.volume.errors import (
    ERROR_DIR_NOT_EMPTY,
    ERROR_INVALID_PARAMETER,
    VolumeError,
)
from wclayer.formats.volume.volume import OpenNode
from wclayer.model import Buffer
from wclayer.ntfs import backup
from wclayer.ntfs.ea import decode_eas, encode_eas
from wclayer.ntfs.names import from_utf16le
from wclayer.ntfs.reparse import tag_of

__all__ = ["BackupRestore"]

_HEAD = Struct("<IIQI")
_OFFSET = Struct("<Q")
_MAX_SIZE = (1 << 63) - 1
_MAX_NAME = 1 << 10
_MAX_METADATA = 1 << 20
_MAX_RANGES = 1 << 16
_PIECE = 1 << 20
_USUAL = 1 << 12
_IGNORED = (backup.BACKUP_LINK, backup.BACKUP_PROPERTY_DATA, backup.BACKUP_OBJECT_ID, backup.BACKUP_TXFS_DATA)
_IN_SINK = (backup.BACKUP_DATA, backup.BACKUP_ALTERNATE_DATA, backup.BACKUP_SPARSE_BLOCK)
_SMALL = (backup.BACKUP_SECURITY_DATA, backup.BACKUP_EA_DATA, backup.BACKUP_REPARSE_DATA)


class BackupRestore:
    """Restores one backup stream to the open ``node``; without ``security`` its descriptor is passed over.

    The volume's observer is told of it, unless it is not ``observed``.

    :meth:`close` checks that the stream is whole. Neither closes the node. Raises FormatError, LimitError,
    VolumeError, StoreError.
    """

    def __init__(self, node: OpenNode, *, security: bool, observed: bool = True) -> None:
        self._node = node
        self._security = security
        self._observer = node.volume.observer if observed else None
        self._head = bytearray()
        self._needed = _HEAD.size
        self._left = 0
        self._id = 0
        self._attributes = 0
        self._name = ""
        self._small = bytearray()
        self._main = _Main(node)
        self._sink: _Main | _Alternate | None = None

    def write(self, data: Buffer) -> None:
        """Take the next piece of the backup stream."""
        view = memoryview(data)
        if self._observer is not None and len(view):
            self._observer(self._node, self._security, bytes(view))
        while view:
            left = self._left
            if left:
                piece = view if len(view) <= left else view[:left]
                view = view[len(piece) :]
                self._left = left - len(piece)
                self._content(piece)
            elif not self._head and self._plain_head(view):
                view = view[_HEAD.size :]
            else:
                wanted = self._needed - len(self._head)
                self._head += view[:wanted]
                view = view[wanted:]
                if len(self._head) == self._needed:
                    self._header()
            if not self._left and not self._head:
                self._end()

    def close(self) -> None:
        """Finish. Raises FormatError of kind ``unexpected-eof`` when the stream was cut short."""
        if self._left or self._head:
            raise FormatError("the backup stream is cut short", kind="unexpected-eof", path=self._node.path)
        self._close_alternate()
        self._main.finish()

    # ------------------------------------------------------------------ one stream after the other

    def _plain_head(self, view: memoryview) -> bool:
        """Take a head that is there whole and has neither name nor offset, as nearly all have."""
        if len(view) < _HEAD.size:
            return False
        stream_id, attributes, size, name_size = _HEAD.unpack_from(view)
        if name_size or size > _MAX_SIZE or stream_id == backup.BACKUP_SPARSE_BLOCK:
            return False
        self._id, self._left = stream_id, size
        self._begin(attributes, "", 0)
        return True

    def _header(self) -> None:
        """Parse the head as far as it is there: fixed part, then name and offset."""
        stream_id, attributes, size, name_size = _HEAD.unpack_from(self._head)
        offset_size = _OFFSET.size if stream_id == backup.BACKUP_SPARSE_BLOCK else 0
        if len(self._head) == _HEAD.size:
            if size > _MAX_SIZE or name_size % 2 or name_size > _MAX_NAME or size < offset_size:
                raise FormatError(f"a backup stream {stream_id} with a head that makes no sense", path=self._node.path)
            self._needed = _HEAD.size + name_size + offset_size
            if self._needed > _HEAD.size:
                return
        name = from_utf16le(bytes(self._head[_HEAD.size : _HEAD.size + name_size]))
        offset = _OFFSET.unpack_from(self._head, _HEAD.size + name_size)[0] if offset_size else 0
        self._head.clear()
        self._needed = _HEAD.size
        self._left = size - offset_size
        self._id = stream_id
        self._begin(attributes, name, offset)

    def _begin(self, attributes: int, name: str, offset: int) -> None:
        node, size = self._node, self._left
        if self._id == backup.BACKUP_DATA:
            self._close_alternate()
            if node.is_directory and size:
                raise VolumeError(
                    "write", node.path, ERROR_INVALID_PARAMETER, where=node.volume.label, reason="a folder has no data"
                )
            self._sink = self._main
            self._main.begin(attributes)
        elif self._id == backup.BACKUP_ALTERNATE_DATA:
            self._close_alternate()
            self._sink = _Alternate(node, name)
            self._sink.begin(attributes)
        elif self._id == backup.BACKUP_SPARSE_BLOCK:
            if self._sink is None:
                raise FormatError("a sparse block that belongs to no stream", kind="stream-unknown", path=node.path)
            self._sink.block(offset, size)
        elif self._id in _SMALL:
            if size > _MAX_METADATA:
                raise LimitError(f"{size} bytes of metadata, {_MAX_METADATA} at most", path=node.path)
            self._small.clear()
        elif self._id not in _IGNORED:
            raise FormatError(f"unknown stream ID {self._id}", kind="stream-unknown", path=node.path)

    def _content(self, piece: memoryview) -> None:
        if self._id in _IN_SINK:
            if self._sink is not None:
                self._sink.write(piece)
        elif self._id in _SMALL:
            self._small += piece

    def _end(self) -> None:
        if self._id not in _SMALL:
            return
        record, content = self._node.record, bytes(self._small)
        if self._id == backup.BACKUP_SECURITY_DATA:
            if self._security:
                record.security_descriptor = content
        elif self._id == backup.BACKUP_EA_DATA:
            merge = _merged if len(content) <= _USUAL else _merged.__wrapped__
            record.extended_attributes = merge(record.extended_attributes, content)
        else:
            self._reparse(content)
        self._small.clear()

    def _reparse(self, content: bytes) -> None:
        node = self._node
        tag_of(content)
        if node.is_directory:
            if not node.volume.is_empty(node.path):
                raise VolumeError("write", node.path, ERROR_DIR_NOT_EMPTY, where=node.volume.label)
            node.volume.tree.forget_folder(node.volume.lstat(node.path))
        node.record.reparse = content
        node.volume.changed(node.record)

    def _close_alternate(self) -> None:
        if isinstance(self._sink, _Alternate):
            self._sink.finish()
        self._sink = None


class _Main:
    """The main stream: the file itself, written where each block belongs."""

    def __init__(self, node: OpenNode) -> None:
        self._node = node
        self._position = 0
        self._sparse = False
        self._size = 0
        self._ranges: list[tuple[int, int]] = []

    def begin(self, attributes: int) -> None:
        self._sparse = bool(attributes & backup.STREAM_SPARSE_ATTRIBUTE)

    def block(self, offset: int, size: int) -> None:
        """A range of ``size`` bytes; one of none ends the file."""
        _check_block(self._node, offset, size, self._size, len(self._ranges))
        self._position = offset
        if size:
            self._ranges.append((offset, 0))
        self._size = offset + size

    def write(self, piece: memoryview) -> None:
        descriptor, position = self._node.descriptor, self._position
        if self._sparse:
            start, length = self._ranges.pop() if self._ranges else (position, 0)
            self._ranges.append((start, length + len(piece)))
        try:
            while piece:
                count = os.pwrite(descriptor, piece, position)
                position += count
                piece = piece[count:]
        except OSError as error:
            raise store_error(error, "cannot write", self._node.host, self._node.volume.label) from error
        self._position = position
        self._size = max(self._size, position)

    def finish(self) -> None:
        if not self._sparse:
            return
        self._node.record.ranges = tuple(self._ranges)
        if self._node.descriptor >= 0:
            try:
                os.ftruncate(self._node.descriptor, self._size)
            except OSError as error:
                raise store_error(error, "cannot write", self._node.host, self._node.volume.label) from error


class _Alternate:
    """An alternate stream, gathered into pieces of the manifest."""

    def __init__(self, node: OpenNode, name: str) -> None:
        manifest = node.volume.manifest
        if manifest is None:
            raise UnsupportedError("alternate streams need a manifest", path=node.path)
        self._node = node
        self._manifest = manifest
        self._number = manifest.open_stream(node.record, name)
        self._buffer = bytearray()
        self._place = 0
        self._size = 0
        self._sparse = False
        self._ranges: list[tuple[int, int]] = []

    def begin(self, attributes: int) -> None:
        self._sparse = bool(attributes & backup.STREAM_SPARSE_ATTRIBUTE)

    def block(self, offset: int, size: int) -> None:
        _check_block(self._node, offset, size, self._size, len(self._ranges))
        if size:
            self._ranges.append((offset, size))
            self._size = offset
        else:
            self._size = offset

    def write(self, piece: memoryview) -> None:
        self._size += len(piece)
        if self._sparse and not self._ranges:
            self._ranges.append((0, 0))
        if self._sparse and self._ranges[-1][0] == 0 and len(self._ranges) == 1:
            self._ranges[0] = (0, self._size)
        self._buffer += piece
        while len(self._buffer) >= _PIECE:
            self._put(bytes(self._buffer[:_PIECE]))
            del self._buffer[:_PIECE]

    def finish(self) -> None:
        if self._buffer:
            self._put(bytes(self._buffer))
            self._buffer.clear()
        self._manifest.close_stream(self._number, self._size, tuple(self._ranges) if self._sparse else None)

    def _put(self, content: bytes) -> None:
        self._manifest.add_piece(self._number, self._place, content)
        self._place += 1


@lru_cache(maxsize=256)
def _merged(old: bytes | None, new: bytes) -> bytes | None:
    """The extended attributes ``old`` after ``new`` were set. Files of one package have the same ones."""
    merged = {ea.name.upper(): ea for ea in decode_eas(old or b"")}
    merged |= {ea.name.upper(): ea for ea in decode_eas(new)}
    # An attribute without a value is one that is removed.
    return encode_eas(ea for ea in merged.values() if ea.value) or None


def _check_block(node: OpenNode, offset: int, size: int, end: int, count: int) -> None:
    if offset < end or offset + size > _MAX_SIZE:
        raise FormatError(
            f"a sparse block at offset {offset} after one that ends at {end}", kind="sparse-order", path=node.path
        )
    if count >= _MAX_RANGES:
        raise LimitError(f"a sparse file of more than {_MAX_RANGES} ranges", path=node.path)
