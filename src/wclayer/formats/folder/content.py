"""Data of streams in files of this machine: writing it, reading it, and what such files are called.

A sparse stream becomes a file with holes: only its ranges are written, and only they are read.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from functools import partial

from wclayer.errors import FormatError, IntegrityError
from wclayer.formats.folder.checksums import crc32
from wclayer.formats.folder.door import Door, joined, readable, store_error
from wclayer.items import Ranges
from wclayer.model import Stream
from wclayer.ntfs.names import encode_wtf8, fold
from wclayer.writing import BITE, write_whole

__all__ = [
    "HEADER_RECORD",
    "INDEX",
    "LAYER_CHAIN",
    "PIECE",
    "PRISTINE",
    "STREAM_FOLDER",
    "copy_beside",
    "copy_file",
    "crc32",
    "file_at",
    "file_stream",
    "host_leaf",
    "host_wants_escape",
    "inline_stream",
    "stored_bytes",
    "write_stream",
]

INDEX = b"layer.db"
LAYER_CHAIN = b"layerchain.json"
HEADER_RECORD = b"layer.headers"
STREAM_FOLDER = b"layer.streams"
PRISTINE = frozenset((b"bcd.bak", b"bcd.log.bak", b"bcd.log1.bak", b"bcd.log2.bak"))
"""Docker's copies of the boot configuration of a utility VM, at the top of the layer."""

PIECE = 1 << 18
"""Files are read in pieces of this many bytes."""

_MAX_LEAF = 255  # NAME_MAX of every file system in use
_ESCAPED = ".WCL-"
_RESERVED = "LAYER"


def host_wants_escape(name: str, *, top: bool) -> bool:
    """Whether ``name`` cannot stand for itself on this machine.

    Names of more than 255 bytes cannot, nor names like those of the escaped ones, nor, at the ``top`` of the layer,
    names that begin like those of its own files (``layer.db``, ``layerchain.json``, Docker's ``layerId``).
    """
    if len(name) * 4 > _MAX_LEAF and len(encode_wtf8(name)) > _MAX_LEAF:
        return True
    folded = fold(name)
    return folded.startswith(_ESCAPED) or (top and folded.startswith(_RESERVED))


def host_leaf(name: str, *, escape: bool) -> bytes:
    """The name on this machine for ``name``: WTF-8, or ``.wcl-`` and a hash of it."""
    leaf = encode_wtf8(name)
    if not escape:
        return leaf
    import hashlib  # rarely needed, and a tenth of what starting a second process takes

    return b".wcl-" + hashlib.sha256(leaf).hexdigest()[:32].encode()


def write_stream(descriptor: int, data: Stream, path: str) -> int:
    """Write ``data`` into the new file ``descriptor``; returns the CRC-32 of its stored bytes.

    Raises FormatError naming ``path`` when the source yields more or less than it promised, and OSError.
    """
    checksum = written = 0
    write = partial(os.write, descriptor)
    if data.ranges is None:
        for piece in data.source(data.size):
            write_whole(write, piece, written)
            checksum = crc32(piece, checksum)
            written += len(piece)
        if written != data.size:
            raise FormatError(
                f"the data has {written} bytes where {data.size} were promised", kind="data-size", path=path
            )
        return checksum
    if data.size >= 1 << 63:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    ranges = iter(data.ranges)
    offset = end = 0
    for piece in data.stored_pieces():
        rest = memoryview(piece)
        while rest:
            while offset == end:
                offset, length = next(ranges, (0, -1))
                end = offset + length
                if length < 0:
                    raise FormatError("the data is longer than its ranges", kind="data-size", path=path)
            length = os.pwrite(descriptor, rest[: min(end - offset, BITE)], offset)
            offset += length
            rest = rest[length:]
        checksum = crc32(piece, checksum)
    if offset != end or any(length for _, length in ranges):
        raise FormatError("the data is shorter than its ranges", kind="data-size", path=path)
    os.ftruncate(descriptor, data.size)
    return checksum


def copy_file(descriptor: int, data: Stream, times: tuple[int, int], path: str, where: str) -> None:
    """Write ``data`` into the new file ``descriptor``, set its times (ns after 1970), close it. Raises StoreError."""
    try:
        try:
            write_stream(descriptor, data, path)
            os.utime(descriptor, ns=times)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise store_error(error, "cannot write the file", encode_wtf8(path), where) from error


def copy_beside(
    door: Door, folder: bytes, source: bytes, parent: bytes, leaf: bytes, *, ranges: Ranges | None, path: str
) -> None:
    """Make the new file ``leaf`` in ``parent``, of data and time of the file ``source`` in ``folder``.

    ``path`` names it in errors: StoreError, and IntegrityError for a source that is not what it was.
    """
    try:
        status = os.stat(source, dir_fd=door.directory(folder), follow_symlinks=False)
    except OSError as error:
        raise store_error(error, "cannot look at", joined(folder, source), door.where) from error
    data = file_at(door, folder, source, status.st_size, ranges)
    times = (status.st_mtime_ns, status.st_mtime_ns)
    copy_file(door.create(parent, leaf), data, times, path, door.where)


def file_stream(
    open_file: Callable[[], int],
    size: int,
    ranges: Ranges | None,
    path: bytes,
    host_path: bytes | None,
    where: str,
) -> Stream:
    """The stream in an ordinary file that ``open_file`` opens for each reading.

    A file of another size than ``size`` is an IntegrityError, raised when it is read; ``path`` and the layer ``where``
    name it.
    """
    extents = ((0, size),) if ranges is None else ranges

    def source(_stored: int) -> Iterator[bytes]:
        descriptor = open_file()
        try:
            found = os.fstat(descriptor).st_size
            if found != size:
                raise IntegrityError(f"the file has {found} bytes instead of {size}", layer=where, path=readable(path))
            for offset, length in extents:
                end = offset + length
                while offset < end:
                    piece = os.pread(descriptor, min(PIECE, end - offset), offset)
                    if not piece:
                        raise IntegrityError(
                            "the file became shorter while it was read", layer=where, path=readable(path)
                        )
                    yield piece
                    offset += len(piece)
        except OSError as error:
            raise store_error(error, "cannot read the file", path, where) from error
        finally:
            os.close(descriptor)

    return Stream(size, source, ranges, host_path)


def file_at(door: Door, folder: bytes, leaf: bytes, size: int, ranges: Ranges | None) -> Stream:
    """The stream in the file ``leaf`` in ``folder`` of ``door``: :func:`file_stream` says how it is read."""
    path = joined(folder, leaf)
    return file_stream(lambda: door.open(folder, leaf), size, ranges, path, None, door.where)


def stored_bytes(data: Stream, path: str) -> bytes:
    """All stored bytes of a small stream. Raises FormatError naming ``path`` when it is not as long as it says."""
    content = b"".join(bytes(piece) for piece in data.stored_pieces())
    if len(content) != data.stored:
        raise FormatError(
            f"the data has {len(content)} bytes where {data.stored} were promised", kind="data-size", path=path
        )
    return content


def inline_stream(content: bytes, size: int, ranges: Ranges | None) -> Stream:
    """The stream whose stored bytes are ``content``. Raises IntegrityError when their number is wrong."""
    stored = size if ranges is None else sum(length for _, length in ranges)
    if len(content) != stored:
        raise IntegrityError(f"a stream has {len(content)} bytes in the database instead of {stored}")
    return Stream(size, lambda _stored: iter((content,) if content else ()), ranges)
