"""Bytes that are read front to back: what a blob is to the code that inflates, hashes and copies it.

A source is anything with ``readinto`` and ``close``: a file, a part of an archive, standard input, an answer of a
registry. Nothing else is asked of it, so nothing else has to be faked.
"""

from __future__ import annotations

import os
import threading
from io import FileIO
from pathlib import Path
from typing import NamedTuple, Protocol

from wclayer.errors import LimitError, NotFoundError, StoreError

__all__ = [
    "BinarySource",
    "FilePart",
    "PartSource",
    "SharedFile",
    "file_part",
    "open_file",
    "read_all",
    "store_error",
]


class BinarySource(Protocol):
    """A one-way source of bytes. ``readinto`` fills a part of the buffer and returns its length; 0 is the end."""

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:
        """Fill a part of ``buffer``; returns how much."""

    def close(self) -> None:
        """Let go of the source."""


class FilePart(NamedTuple):
    """A part of an open file, or all of it: ``size`` bytes from ``offset``, None meaning up to its end."""

    descriptor: int
    offset: int = 0
    size: int | None = None


def file_part(source: BinarySource) -> FilePart | None:
    """The part of an ordinary file that ``source``, of which nothing was read yet, will read; None when it is none.

    Another process that gets the descriptor can read the same with a :class:`PartSource`.
    """
    if isinstance(source, FileIO):
        return FilePart(source.fileno(), source.tell()) if source.seekable() else None
    return source.part() if isinstance(source, _Section) else None


class PartSource:
    """A part of a file as a source. It has a position of its own, whoever else reads the file.

    Owns ``part.descriptor`` and closes it.
    """

    def __init__(self, part: FilePart) -> None:
        self._descriptor = part.descriptor
        self._position = part.offset
        self._left = part.size

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        """Fill a part of ``buffer``; raises OSError."""
        view = memoryview(buffer)[: self._left]
        piece = os.pread(self._descriptor, len(view), self._position)
        view[: len(piece)] = piece
        self._position += len(piece)
        if self._left is not None:
            self._left -= len(piece)
        return len(piece)

    def close(self) -> None:
        """Close the file; harmless when called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def store_error(error: OSError, what: str) -> StoreError:
    """What the operating system said, as an error of this package."""
    return StoreError(f"{what}: {error.strerror or error}")


def open_file(path: Path) -> FileIO:
    """Open an ordinary file without a buffer of Python's own; NotFoundError, StoreError."""
    try:
        return path.open("rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"no such file: {path}") from None
    except ValueError as error:  # an embedded NUL
        raise NotFoundError(f"not a file name: {str(path)!r}: {error}") from None
    except OSError as error:
        raise store_error(error, f"cannot open {path}") from error


def read_all(source: BinarySource, limit: int, *, what: str) -> bytes:
    """Everything ``source`` holds, and close it. Raises LimitError when that is more than ``limit`` bytes."""
    try:
        pieces: list[bytes] = []
        total = 0
        buffer = bytearray(1 << 16)
        while count := source.readinto(buffer):
            total += count
            if total > limit:
                raise LimitError(f"{what} is larger than {limit} bytes, more than any honest one")
            pieces.append(bytes(memoryview(buffer)[:count]))
        return b"".join(pieces)
    except OSError as error:
        raise store_error(error, f"cannot read {what}") from error
    finally:
        source.close()


class SharedFile:
    """One open file of which several parts are read at the same time, also from several threads.

    Owns ``file`` and closes it; parts that are still open then fail.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """The size of the file in bytes."""
        with self._lock:
            return self._file.seek(0, os.SEEK_END)

    def section(self, offset: int, size: int) -> BinarySource:
        """The ``size`` bytes that start at ``offset``, as a source of its own."""
        return _Section(self, offset, size)

    def part(self, offset: int, size: int) -> FilePart:
        """The same as a part of this file."""
        return FilePart(self._file.fileno(), offset, size)

    def read_at(self, offset: int, buffer: memoryview) -> int:
        """Fill a part of ``buffer`` from ``offset`` and return its length."""
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(buffer) or 0

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()


class _Section:
    __slots__ = ("_end", "_file", "_position")

    def __init__(self, file: SharedFile, offset: int, size: int) -> None:
        self._file = file
        self._position = offset
        self._end = offset + size

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        view = memoryview(buffer)[: self._end - self._position]
        if not view:
            return 0
        try:
            count = self._file.read_at(self._position, view)
        except ValueError as error:
            raise StoreError("the archive was closed while a blob of it was still being read") from error
        self._position += count
        return count

    def part(self) -> FilePart:
        return self._file.part(self._position, self._end - self._position)

    def close(self) -> None:
        self._end = self._position
