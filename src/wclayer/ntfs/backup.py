"""Win32 backup streams: a file as one sequence of bytes, the way BackupRead gives it and BackupWrite takes it.

The sequence is a row of streams, each a WIN32_STREAM_ID head, a name and a content, without padding or end mark. Both
sides work front to back and hold one piece at a time. What is announced is believed only as far as it is checked: a
stream cut short is an error wherever it is cut. Format: Microsoft's documentation of WIN32_STREAM_ID; behaviour:
go-winio's ``backup.go``. Sparse data, which is spread over several streams, is put together in
:mod:`wclayer.ntfs.backup_sparse`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from struct import Struct
from typing import NamedTuple, TypeAlias

from wclayer.errors import FormatError, LimitError
from wclayer.ntfs.names import from_utf16le, to_utf16le

__all__ = [
    "BACKUP_ALTERNATE_DATA",
    "BACKUP_DATA",
    "BACKUP_EA_DATA",
    "BACKUP_GHOSTED_FILE_EXTENTS",
    "BACKUP_LINK",
    "BACKUP_OBJECT_ID",
    "BACKUP_PROPERTY_DATA",
    "BACKUP_REPARSE_DATA",
    "BACKUP_SECURITY_DATA",
    "BACKUP_SPARSE_BLOCK",
    "BACKUP_TXFS_DATA",
    "STREAM_CONTAINS_GHOSTED_FILE_EXTENTS",
    "STREAM_CONTAINS_PROPERTIES",
    "STREAM_CONTAINS_SECURITY",
    "STREAM_MODIFIED_WHEN_READ",
    "STREAM_SPARSE_ATTRIBUTE",
    "BackupStreamReader",
    "BackupStreamWriter",
    "StreamHeader",
    "stream_id_name",
]

Buffer: TypeAlias = bytes | bytearray | memoryview

BACKUP_DATA = 1
BACKUP_EA_DATA = 2
BACKUP_SECURITY_DATA = 3
BACKUP_ALTERNATE_DATA = 4
BACKUP_LINK = 5
BACKUP_PROPERTY_DATA = 6
BACKUP_OBJECT_ID = 7
BACKUP_REPARSE_DATA = 8
BACKUP_SPARSE_BLOCK = 9
BACKUP_TXFS_DATA = 10
BACKUP_GHOSTED_FILE_EXTENTS = 11

STREAM_MODIFIED_WHEN_READ = 1
STREAM_CONTAINS_SECURITY = 2
STREAM_CONTAINS_PROPERTIES = 4
STREAM_SPARSE_ATTRIBUTE = 8
STREAM_CONTAINS_GHOSTED_FILE_EXTENTS = 0x10

_HEAD = Struct("<IIQI")  # stream id, attributes, content size, name size in bytes
_OFFSET = Struct("<Q")  # the offset that a sparse block begins with; the size in the head counts it
_MAX_SIZE = (1 << 63) - 1
_MAX_NAME = 1 << 16
_PIECE = 1 << 20
_ID_NAMES = {
    value: name.removeprefix("BACKUP_")
    for name, value in dict(globals()).items()
    if name.startswith("BACKUP_") and isinstance(value, int)
}


class StreamHeader(NamedTuple):
    """The head of one stream.

    ``id`` is a BACKUP_* number, known or not; ``attributes`` holds STREAM_* bits; ``size`` is the length of the content
    in bytes; ``name`` the full name of an alternate stream (``:name:$DATA``), in which lone surrogates and NULs are
    kept. For a BACKUP_SPARSE_BLOCK ``offset`` is its place in the file, and ``size`` does not count the 8 bytes that
    the offset takes; for every other stream it is 0.
    """

    id: int
    attributes: int
    size: int
    name: str
    offset: int


def stream_id_name(stream_id: int) -> str:
    """The name of a stream id without ``BACKUP_``, or the number for one not known."""
    return _ID_NAMES.get(stream_id) or str(stream_id)


class BackupStreamReader:
    """Takes a sequence of backup streams apart.

    ``read(n)`` returns up to n bytes of the source and ``b""`` only at its end. ``skip(n)``, where given, passes over n
    bytes without reading them and returns how many there were, so that a truncated content is noticed even when nobody
    reads it. ``position`` counts the bytes taken from the source: right after :meth:`next` it is where the content of
    that stream begins.
    """

    def __init__(self, read: Callable[[int], bytes], *, skip: Callable[[int], int] | None = None) -> None:
        self.position = 0
        self._read = read
        self._skip = skip or self._read_over
        self._left = 0
        self._peeked: StreamHeader | None = None

    def next(self) -> StreamHeader | None:
        """Pass over what is left of the current content and return the head of the next stream; None at the end.

        Raises FormatError of kind ``unexpected-eof`` when the source ends within a content or a head, and ``malformed``
        for a size of 2**63 or more, a sparse block without room for its offset, and a name that is not UTF-16 or longer
        than 64 KiB.
        """
        if self._peeked is not None:
            header, self._peeked = self._peeked, None
            self._left = header.size
            return header
        self._finish()
        head = self._take(_HEAD.size, at_boundary=True)
        if not head:
            return None
        stream_id, attributes, size, name_size = _HEAD.unpack(head)
        if size > _MAX_SIZE:
            raise FormatError(f"a backup stream {stream_id_name(stream_id)} claims {size} bytes")
        if name_size % 2 or name_size > _MAX_NAME:
            raise FormatError(f"the name of a backup stream {stream_id_name(stream_id)} claims {name_size} bytes")
        name = from_utf16le(self._take(name_size)) if name_size else ""
        offset = 0
        if stream_id == BACKUP_SPARSE_BLOCK:
            if size < _OFFSET.size:
                raise FormatError(f"a sparse block of {size} bytes, its offset alone takes {_OFFSET.size}")
            size -= _OFFSET.size
            offset = _OFFSET.unpack(self._take(_OFFSET.size))[0]
            if offset + size > _MAX_SIZE:
                raise FormatError(f"a sparse block of {size} bytes at offset {offset}")
        self._left = size
        return StreamHeader(stream_id, attributes, size, name, offset)

    def peek(self) -> StreamHeader | None:
        """The head that :meth:`next` will return. The current content is passed over, no other is open until then."""
        if self._peeked is None:
            self._peeked = self.next()
            self._left = 0
        return self._peeked

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes of the current content, ``b""`` at its end and before the first stream.

        Raises FormatError of kind ``unexpected-eof`` when the source ends before the content does.
        """
        if not self._left or count <= 0:
            return b""
        data = self._read(min(count, self._left))
        if not data:
            raise _truncated(f"{self._left} bytes of a backup stream's content are missing")
        self._left -= len(data)
        self.position += len(data)
        return data

    def pieces(self, size: int = _PIECE) -> Iterator[bytes]:
        """The rest of the current content in pieces of at most ``size`` bytes."""
        while data := self.read(size):
            yield data

    def content(self, limit: int) -> bytes:
        """The rest of the current content whole, for small ones. Raises LimitError when it exceeds ``limit`` bytes."""
        if self._left > limit:
            raise LimitError(f"a backup stream of {self._left} bytes where {limit} is the most")
        return b"".join(self.pieces())

    def _finish(self) -> None:
        if self._left:
            skipped = self._skip(self._left)
            self._left -= skipped
            self.position += skipped
            if self._left:
                raise _truncated(f"{self._left} bytes of a backup stream's content are missing")

    def _read_over(self, count: int) -> int:
        done = 0
        while done < count and (data := self._read(min(_PIECE, count - done))):
            done += len(data)
        return done

    def _take(self, count: int, *, at_boundary: bool = False) -> bytes:
        data = self._read(count)
        while len(data) < count:
            more = self._read(count - len(data))
            if not more:
                if at_boundary and not data:
                    return data
                raise _truncated(f"a backup stream's head ends after {len(data)} of {count} bytes")
            data += more
        self.position += count
        return data


class BackupStreamWriter:
    """Puts backup streams in a row.

    For each stream call :meth:`header`, then :meth:`write` for its content; at the end :meth:`close`. ``write`` takes
    bytes; what it returns does not matter. Every stream must get exactly the content it announced.
    """

    def __init__(self, write: Callable[[Buffer], object]) -> None:
        self._write = write
        self._left = 0

    def header(self, stream_id: int, size: int, *, attributes: int = 0, name: str = "", offset: int = 0) -> None:
        """Begin a stream of ``size`` bytes of content; for a sparse block that does not count its ``offset``.

        Raises FormatError of kind ``data-too-short`` when the stream before is not complete, and ``malformed`` when
        something does not fit into the head.
        """
        self._write(self._head(stream_id, size, attributes, name, offset))
        self._left = size

    def _head(self, stream_id: int, size: int, attributes: int, name: str, offset: int) -> bytes:
        if self._left:
            self.close()
        encoded = to_utf16le(name) if name else b""
        end = offset + size if stream_id == BACKUP_SPARSE_BLOCK else size
        if size < 0 or offset < 0 or end > _MAX_SIZE - _OFFSET.size or len(encoded) > _MAX_NAME:
            raise FormatError(f"a backup stream {stream_id_name(stream_id)} of {size} bytes cannot be written")
        if stream_id == BACKUP_SPARSE_BLOCK:
            head = _HEAD.pack(stream_id, attributes, size + _OFFSET.size, len(encoded))
            return head + encoded + _OFFSET.pack(offset)
        return _HEAD.pack(stream_id, attributes, size, len(encoded)) + encoded

    def write(self, data: Buffer) -> None:
        """Write a piece of the content.

        Raises FormatError of kind ``data-too-long``, before anything is written, when it exceeds what was announced.
        """
        if len(data) > self._left:
            raise FormatError(
                f"{len(data) - self._left} bytes more than the backup stream was announced with", kind="data-too-long"
            )
        self._left -= len(data)
        self._write(data)

    def written_elsewhere(self) -> None:
        """The whole content that was announced goes where this goes, past it."""
        self._left = 0

    def stream(self, stream_id: int, content: bytes, *, attributes: int = 0, name: str = "") -> None:
        """Write a whole small stream, in one piece."""
        self._write(self._head(stream_id, len(content), attributes, name, 0) + content)

    def close(self) -> None:
        """Check that the last stream is complete: FormatError of kind ``data-too-short`` if not. Nothing is closed."""
        if self._left:
            raise FormatError(f"a backup stream is {self._left} bytes short", kind="data-too-short")


def _truncated(reason: str) -> FormatError:
    return FormatError(f"unexpected end: {reason}", kind="unexpected-eof")
