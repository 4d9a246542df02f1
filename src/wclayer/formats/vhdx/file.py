"""The file that a disk lies in, read at any place, with the changes of its log laid over it.

A log that was not written back is no reason to write to a disk that somebody only looks at: what it would change is
kept beside the file (:class:`Overlay`) and seen by every read.
"""

from __future__ import annotations

import os
import stat
import sys
from bisect import bisect_left, bisect_right
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError

if sys.platform != "win32":
    import fcntl

__all__ = ["DiskFile", "Overlay"]

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)
_NEW = 0o644


class Overlay:
    """Ranges of a file with other content: later ones cover earlier ones. ``size`` is the least size of the file."""

    def __init__(self) -> None:
        self.size = 0
        self._starts: list[int] = []
        self._ends: list[int] = []
        self._data: list[bytes | None] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    def put(self, offset: int, length: int, data: bytes | None) -> None:
        """Cover ``length`` bytes with ``data``, or with zeros when it is None."""
        end = offset + length
        first, last = bisect_right(self._ends, offset), bisect_left(self._starts, end)
        pieces: list[tuple[int, int, bytes | None]] = [(offset, end, data)]
        if first < last:
            start, stop = self._starts[first], self._ends[last - 1]
            before, behind = self._data[first], self._data[last - 1]
            if start < offset:
                pieces.insert(0, (start, offset, before and before[: offset - start]))
            if stop > end:
                pieces.append((end, stop, behind and behind[len(behind) - (stop - end) :]))
        self._starts[first:last] = [piece[0] for piece in pieces]
        self._ends[first:last] = [piece[1] for piece in pieces]
        self._data[first:last] = [piece[2] for piece in pieces]

    def lay_over(self, offset: int, piece: bytes) -> bytes:
        """``piece``, read at ``offset``, as it is with the changes."""
        end = offset + len(piece)
        first, last = bisect_right(self._ends, offset), bisect_left(self._starts, end)
        if first >= last:
            return piece
        changed = bytearray(piece)
        for index in range(first, last):
            start, stop, data = self._starts[index], self._ends[index], self._data[index]
            low, high = max(start, offset), min(stop, end)
            changed[low - offset : high - offset] = (
                bytes(high - low) if data is None else data[low - start : high - start]
            )
        return bytes(changed)

    def ranges(self) -> list[tuple[int, int, bytes | None]]:
        """Start, end and content of each range, in order."""
        return list(zip(self._starts, self._ends, self._data, strict=True))


class DiskFile:
    """An open regular file. ``name`` is its path, for errors; ``overlay`` what a log changes of it.

    Raises NotFoundError, UnsupportedError for what is no regular file, StoreError.
    """

    def __init__(self, path: Path, *, writable: bool = False, create: bool = False) -> None:
        self.name = str(path)
        self.overlay = Overlay()
        flags = (os.O_RDWR if writable or create else os.O_RDONLY) | _BINARY
        try:
            self.descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, _NEW) if create else os.open(path, flags)
        except FileNotFoundError:
            raise NotFoundError(f"there is no disk {path}") from None
        except OSError as error:
            raise StoreError(f"cannot open the disk {path}: {error.strerror}") from error
        try:
            self._check()
            if writable or create:
                self._lock()
        except BaseException:
            self.close()
            raise

    @property
    def size(self) -> int:
        """The size in bytes, as it is with the changes of the log."""
        return max(os.fstat(self.descriptor).st_size, self.overlay.size)

    @property
    def identity(self) -> tuple[int, int]:
        """The same for two names of one file."""
        status = os.fstat(self.descriptor)
        return status.st_dev, status.st_ino

    def read(self, offset: int, length: int) -> bytes:
        """``length`` bytes at ``offset``. FormatError when the file ends before."""
        if offset + length > self.size:
            raise self.error(
                f"the file ends at {self.size}, and {length} bytes are to be at {offset}", kind="unexpected-eof"
            )
        try:
            pieces = []
            position, end = offset, offset + length
            while position < end:
                piece = os.pread(self.descriptor, min(end - position, 1 << 24), position)
                if not piece:
                    pieces.append(bytes(end - position))  # a log that lets the file grow
                    break
                pieces.append(piece)
                position += len(piece)
        except OSError as error:
            raise self.failure("read", error) from error
        found = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return self.overlay.lay_over(offset, found) if self.overlay else found

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write ``data`` at ``offset``; the file grows when it has to."""
        rest = memoryview(data)
        try:
            while rest:
                done = os.pwrite(self.descriptor, rest, offset)
                offset, rest = offset + done, rest[done:]
        except OSError as error:
            raise self.failure("write", error) from error

    def set_size(self, size: int) -> None:
        """Let the file end at ``size``; what is new reads as zeros and takes no room where the system allows it."""
        try:
            os.ftruncate(self.descriptor, size)
        except OSError as error:
            raise self.failure("enlarge", error) from error

    def sync(self) -> None:
        """Return when all that was written is on the disk of this machine."""
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            raise self.failure("write", error) from error

    def error(self, message: str, *, kind: str = "vhdx") -> FormatError:
        """A FormatError that names the file."""
        return FormatError(message, kind=kind, image=self.name)

    def failure(self, what: str, error: OSError) -> StoreError:
        """A StoreError that names the file."""
        return StoreError(f"cannot {what} the disk {self.name}: {error.strerror}")

    def close(self) -> None:
        """Harmless when called twice."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self) -> None:
        if not stat.S_ISREG(os.fstat(self.descriptor).st_mode):
            raise UnsupportedError("this is no file", image=self.name)

    def _lock(self) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StoreError(f"the disk {self.name} is in use by another process") from None
            except OSError as error:
                raise self.failure("lock", error) from error
