"""A tar written in a fixed shape: the same members give the same bytes, whoever writes them, when, and in which order.

Members whose sizes are known get their places first, so that several threads may fill them at the same time; one whose
size is not known grows at the end, and its header follows when it is done. On a stream, which cannot go back, the first
are filled in their order, and the second is kept in a temporary file until it is complete. Headers are those of GNU tar
(sizes beyond 8 GiB are binary), which moby, containerd and containers/image read.
"""

from __future__ import annotations

import os
import tarfile
import tempfile
import threading
from collections import deque
from io import FileIO
from types import TracebackType
from typing import Protocol, Self

from wclayer.errors import StoreError
from wclayer.oci.sources import store_error
from wclayer.writing import write_whole

__all__ = ["ArchiveMember", "ArchiveWriter", "archive_time"]

_BLOCK = 512
_RECORD = 20 * _BLOCK
_PIECE = 1 << 20
_FILE_MODE, _FOLDER_MODE = 0o444, 0o755
_LATEST = (1 << 33) - 1
"""The latest time that the octal digits of a header hold."""


def archive_time() -> int:
    """The time that members get, in seconds since 1970: ``SOURCE_DATE_EPOCH`` where it is set, else 0."""
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    return min(int(text), _LATEST) if text.isascii() and text.isdigit() else 0


class ArchiveMember:
    """A member that is being written. Leaving the ``with`` statement checks that it is complete."""

    def __init__(self, archive: ArchiveWriter, name: str, offset: int, size: int | None) -> None:
        self.name = name
        self.size = size
        self._archive = archive
        self._offset = offset
        self._written = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take the next bytes; returns how many. StoreError when the file system refuses them, or they are too many."""
        view = memoryview(data).cast("B")
        if self.size is not None and self._written + len(view) > self.size:
            raise StoreError(f"more than the {self.size} bytes that were announced", path=self.name)
        self._put(view)
        self._written += len(view)
        return len(view)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._finish()

    def _put(self, view: memoryview) -> None:
        self._archive._output.put_data(self._offset + self._written, view)

    def _finish(self) -> None:
        if self._written != self.size:
            raise StoreError(f"{self._written} bytes instead of the {self.size} that were announced", path=self.name)


class _Growing(ArchiveMember):
    """Of unknown size, at the end of a file."""

    def _finish(self) -> None:
        self.size = self._written
        self._archive._close_growing(self.name, self._offset, self._written)


class _Spooled(ArchiveMember):
    """Of unknown size, for a stream: kept until its size is known."""

    def __init__(self, archive: ArchiveWriter, name: str) -> None:
        super().__init__(archive, name, 0, None)
        try:
            self._spool = _Seekable(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115  # closed at the end
        except OSError as error:
            raise store_error(error, "cannot write to the temporary folder") from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._spool.file:
            super().__exit__(kind, error, trace)

    def _put(self, view: memoryview) -> None:
        self._spool.put_data(self._written, view)

    def _finish(self) -> None:
        self.size = self._written
        buffer = memoryview(bytearray(_PIECE))
        self._spool.file.seek(0)
        with self._archive.reserve(self.name, self._written) as member:
            while count := self._spool.file.readinto(buffer):
                member.write(buffer[:count])


class ArchiveWriter:
    """Writes to ``file``, which it does not close: a new file, or with ``stream`` whatever takes bytes.

    ``mtime`` is the time of every member in seconds since 1970. Whatever raises leaves an archive that must be thrown
    away: it is complete when :meth:`finish` has returned.
    """

    def __init__(self, file: FileIO, *, stream: bool = False, mtime: int = 0) -> None:
        self.is_stream = stream
        self._output: _Output = _Stream(file) if stream else _Seekable(file)
        self._mtime = mtime
        self._end = 0
        self._growing = False

    def add_folder(self, name: str) -> None:
        """A folder; ``name`` without a slash at its end."""
        self._place(self._header(name, 0, folder=True), 0)

    def add(self, name: str, data: bytes) -> None:
        """A small file."""
        with self.reserve(name, len(data)) as member:
            member.write(data)

    def reserve(self, name: str, size: int) -> ArchiveMember:
        """The place of a file of ``size`` bytes, which comes after everything that has its place by now."""
        return ArchiveMember(self, name, self._place(self._header(name, size), size), size)

    def append(self, name: str) -> ArchiveMember:
        """A file of unknown size at the end. Until it is done, no other may be added."""
        if self.is_stream:
            return _Spooled(self, name)
        self._require_still()
        self._growing = True
        return _Growing(self, name, self._end + len(self._header(name, 0)), None)

    def finish(self) -> None:
        """Write the end of the archive, up to the end of a record."""
        self._require_still()
        size = 2 * _BLOCK
        self._output.put_fixed(self._end, bytes(size + -(self._end + size) % _RECORD))
        self._output.drain()

    def _header(self, name: str, size: int, *, folder: bool = False) -> bytes:
        info = tarfile.TarInfo(f"{name}/" if folder else name)
        info.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
        info.size = size
        info.mtime = self._mtime
        info.mode = _FOLDER_MODE if folder else _FILE_MODE
        return info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")

    def _place(self, header: bytes, size: int) -> int:
        """Put a header, and the padding of what will follow; returns where that begins."""
        self._require_still()
        self._output.put_fixed(self._end, header)
        start = self._end + len(header)
        padding = -size % _BLOCK
        self._output.put_fixed(start + size, bytes(padding))
        self._end = start + size + padding
        return start

    def _close_growing(self, name: str, start: int, size: int) -> None:
        self._growing = False
        if self._place(self._header(name, size), size) != start:
            raise StoreError("a header of another length than was left for it", path=name)

    def _require_still(self) -> None:
        if self._growing:
            raise ValueError("a member of the archive is still growing")


class _Output(Protocol):
    def put_fixed(self, offset: int, data: bytes) -> None: ...

    def put_data(self, offset: int, data: memoryview) -> None: ...

    def drain(self) -> None: ...


class _Seekable:
    """Any place at any time, from any thread."""

    def __init__(self, file: FileIO) -> None:
        self.file = file
        self._lock = threading.Lock()

    def put_fixed(self, offset: int, data: bytes) -> None:
        self.put_data(offset, memoryview(data))

    def put_data(self, offset: int, data: memoryview) -> None:
        try:
            while data:
                count = self._write_at(offset, data)
                offset += count
                data = data[count:]
        except OSError as error:
            raise store_error(error, f"cannot write {self.file.name}") from error

    def drain(self) -> None:
        return

    def _write_at(self, offset: int, data: memoryview) -> int:
        if hasattr(os, "pwrite"):
            return os.pwrite(self.file.fileno(), data, offset)
        with self._lock:
            self.file.seek(offset)
            return self.file.write(data)


class _Stream:
    """One byte after the other; headers and padding wait until what is before them was written."""

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self._position = 0
        self._fixed: deque[tuple[int, bytes]] = deque()

    def put_fixed(self, offset: int, data: bytes) -> None:
        self._fixed.append((offset, data))

    def put_data(self, offset: int, data: memoryview) -> None:
        self.drain()
        if offset != self._position:
            raise ValueError("the members of a stream are written in their order")
        self._write(data)

    def drain(self) -> None:
        while self._fixed and self._fixed[0][0] == self._position:
            self._write(memoryview(self._fixed.popleft()[1]))

    def _write(self, data: memoryview) -> None:
        self._position += len(data)
        try:
            write_whole(self._file.write, data)
        except BrokenPipeError:
            raise  # whoever read from the pipe has gone
        except OSError as error:
            raise store_error(error, "cannot write to standard output") from error
