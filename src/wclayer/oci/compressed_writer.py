"""Writing a layer blob: hashed before and after compression, in one pass.

The gzip header has no name and no time, so the same content gives the same blob wherever the same library in the same
version compresses it. No more can be promised of gzip; what never differs is the DiffID. ISA-L compresses about four
times as fast as zlib at much the same size, and is taken where it is there.
"""

from __future__ import annotations

import struct
import weakref
import zlib
from collections.abc import Callable, Sequence
from functools import partial
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from wclayer.errors import UsageError
from wclayer.oci import engines
from wclayer.oci.digests import Digest, Hash, new_hash
from wclayer.oci.engines import zstd
from wclayer.oci.mediatypes import Compression
from wclayer.oci.outflow import Outflow, Taker
from wclayer.oci.outflow_process import OutflowProcess
from wclayer.oci.sources import store_error
from wclayer.processes import can_start_workers
from wclayer.writing import write_whole

__all__ = ["BinarySink", "CompressedWriter"]

_GZIP_HEADER = struct.pack("<BBBBLBB", 0x1F, 0x8B, 8, 0, 0, 0, 255)
_ISAL_LEVELS = range(4)
_ZLIB_LEVELS = range(10)
_ZSTD_LEVELS = range(1, 23)


class BinarySink(Protocol):
    """Takes bytes; returns how many it took."""

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Write a part of ``data``."""


class _Compressor(Protocol):
    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes: ...

    def flush(self) -> bytes: ...


class CompressedWriter:
    """Takes the uncompressed tar through :meth:`write` and writes the blob to ``sink``, which it does not close.

    ``level`` is that of the library: 0 to 3 with ISA-L (2), 0 to 9 with zlib (6), 1 to 22 with zstd (3); UsageError for
    another. ``isal`` False insists on zlib. The digests and sizes are known after :meth:`finish`.

    Hashing, compressing and writing go on in threads meanwhile, or with ``apart`` in another process, where there is
    nothing to compress and the ``sink`` is an open file. So the ``sink`` gets nothing for sure before the end,
    and an error of it is raised by a later call. Use it as a context manager, or call :meth:`finish` or :meth:`close`
    before the sink is closed.
    """

    def __init__(
        self,
        sink: BinarySink,
        compression: Compression = "gzip",
        level: int | None = None,
        *,
        algorithm: str = "sha256",
        isal: bool = True,
        apart: bool = False,
    ) -> None:
        self.compression = compression
        self.uncompressed_size = 0
        self._algorithm = algorithm
        self._diff_hash = new_hash(algorithm)
        self._blob = _Blob(sink, None if compression == "none" else new_hash(algorithm))
        self._packer = _Packer(_compressor(compression, level, isal=isal), self._blob)
        takers: list[Taker] = [self._diff_hash.update, self._packer.write]
        another = _another_process(sink, algorithm, takers) if apart and compression == "none" else None
        self._outflow = another or Outflow(takers)
        self._abandoned = weakref.finalize(self, self._outflow.stop)  # one that nobody closed
        self._closed = self._finished = False

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take a piece of the tar; returns its length. StoreError when the sink could not take an earlier one."""
        if self._closed:
            raise ValueError("the blob is finished")
        if not isinstance(data, bytes):
            data = memoryview(data).cast("B")
        self._outflow.write(data)
        size = len(data)
        self.uncompressed_size += size
        return size

    def finish(self) -> None:
        """Write what is still held back. Harmless when called twice. Raises StoreError."""
        if self._closed:
            return
        try:
            self._outflow.finish()
            self._packer.finish()
            self._finished = True
        finally:
            self.close()

    def close(self) -> None:
        """Stop; what is not finished then never will be. Harmless when called twice."""
        if not self._closed:
            self._closed = True
            self._abandoned()
            self._outflow.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()
        else:
            self.close()

    @property
    def blob_size(self) -> int:
        """How many bytes were written to the sink."""
        self._require_end()
        return self.uncompressed_size if self._blob.hash is None else self._blob.size

    @property
    def blob_digest(self) -> Digest:
        """The digest of what was written to the sink."""
        self._require_end()
        return self.diff_id if self._blob.hash is None else Digest(self._algorithm, self._blob.hash.hexdigest())

    @property
    def diff_id(self) -> Digest:
        """The digest of the uncompressed tar."""
        self._require_end()
        computed = self._outflow.digest if isinstance(self._outflow, OutflowProcess) else None
        return Digest(self._algorithm, computed or self._diff_hash.hexdigest())

    def _require_end(self) -> None:
        if not self._finished:
            raise ValueError("the blob is not finished yet: call finish() first")


class _Blob:
    """The way into the sink. ``hash`` is None where the blob is the tar itself, which is hashed anyway."""

    def __init__(self, sink: BinarySink, blob_hash: Hash | None) -> None:
        self.size = 0
        self.hash = blob_hash
        self._sink = sink

    def write(self, piece: bytes | memoryview) -> None:
        if not piece:
            return
        if self.hash is not None:
            self.hash.update(piece)
        self.size += len(piece)
        try:
            write_whole(self._sink.write, piece)
        except OSError as error:
            raise _refused(self._sink, error) from None


def _refused(sink: BinarySink, error: OSError) -> Exception:
    """What to raise when the ``sink`` did not take something."""
    if isinstance(error, BrokenPipeError):
        return error  # no failure of ours: whoever read from the pipe has gone
    name = getattr(sink, "name", None)
    return store_error(error, f"cannot write {name if isinstance(name, str | Path) else 'the blob'}")


def _another_process(sink: BinarySink, algorithm: str, takers: Sequence[Taker]) -> OutflowProcess | None:
    """One that hashes and writes, where there can be one."""
    if not isinstance(sink, FileIO) or not can_start_workers():
        return None
    try:
        return OutflowProcess(sink.fileno(), algorithm, takers, partial(_refused, sink))
    except OSError:
        return None


class _Packer:
    """The tar on its way into the blob: compressed, or as it is."""

    def __init__(self, compressor: _Compressor | None, blob: _Blob) -> None:
        self._compressor = compressor
        self._blob = blob
        self._is_begun = not isinstance(compressor, _Gzip)

    def write(self, slab: memoryview) -> None:
        if self._compressor is None:
            self._blob.write(slab)
            return
        self._begin()
        self._blob.write(self._compressor.compress(slab))

    def finish(self) -> None:
        if self._compressor is not None:
            self._begin()
            self._blob.write(self._compressor.flush())

    def _begin(self) -> None:
        if not self._is_begun:
            self._is_begun = True
            self._blob.write(_GZIP_HEADER)


class _Gzip:
    """One gzip member: raw deflate with a trailer, so that the header is the same whoever deflates."""

    def __init__(self, deflate: _Compressor, crc: int = 0) -> None:
        self._deflate = deflate
        self._crc = crc
        self._size = 0
        self._crc32: Callable[..., int] = zlib.crc32 if engines.isal is None else engines.isal.crc32

    def compress(self, data: bytes | bytearray | memoryview, /) -> bytes:
        self._crc = self._crc32(data, self._crc)
        self._size += memoryview(data).nbytes
        return self._deflate.compress(data)

    def flush(self) -> bytes:
        return self._deflate.flush() + struct.pack("<LL", self._crc, self._size & 0xFFFFFFFF)


def _compressor(compression: Compression, level: int | None, *, isal: bool) -> _Compressor | None:
    if compression == "none":
        _require_level(level, range(0), "no compression")
        return None
    if compression == "zstd":
        return zstd.ZstdCompressor(level=_require_level(level, _ZSTD_LEVELS, "zstd", 3))
    if isal and engines.isal is not None:
        level = _require_level(level, _ISAL_LEVELS, "gzip (ISA-L)", 2)
        return _Gzip(engines.isal.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS))
    return _Gzip(zlib.compressobj(_require_level(level, _ZLIB_LEVELS, "gzip", 6), zlib.DEFLATED, -zlib.MAX_WBITS))


def _require_level(level: int | None, allowed: range, what: str, default: int = 0) -> int:
    if level is None:
        return default
    if level not in allowed:
        levels = f"has the levels {allowed[0]} to {allowed[-1]}" if allowed else "has no levels"
        raise UsageError(f"{what} {levels}, not {level}")
    return level
