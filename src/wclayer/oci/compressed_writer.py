"""Writing a layer blob: hashed before and after compression, in one pass.

The gzip header has no name and no time, so the same content gives the same blob wherever the same library in the same
version compresses it. No more can be promised of gzip; what never differs is the DiffID. ISA-L compresses about four
times as fast as zlib at much the same size, and is taken where it is there.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from wclayer.errors import UsageError
from wclayer.oci import engines
from wclayer.oci.digests import Digest, new_hash
from wclayer.oci.engines import zstd
from wclayer.oci.mediatypes import Compression
from wclayer.oci.sources import store_error
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
    """

    def __init__(
        self,
        sink: BinarySink,
        compression: Compression = "gzip",
        level: int | None = None,
        *,
        algorithm: str = "sha256",
        isal: bool = True,
    ) -> None:
        self.compression = compression
        self.blob_size = 0
        self.uncompressed_size = 0
        self._sink = sink
        self._algorithm = algorithm
        self._diff_hash = new_hash(algorithm)
        self._blob_hash = self._diff_hash if compression == "none" else new_hash(algorithm)
        self._finished = False
        self._compressor = _compressor(compression, level, isal=isal)
        if isinstance(self._compressor, _Gzip):
            self._emit(_GZIP_HEADER)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take a piece of the tar; returns its length. StoreError when the sink cannot take it."""
        if self._finished:
            raise ValueError("the blob is finished")
        self._diff_hash.update(data)
        size = memoryview(data).nbytes
        self.uncompressed_size += size
        self._emit(data if self._compressor is None else self._compressor.compress(data))
        return size

    def finish(self) -> None:
        """Write what is still held back. Harmless when called twice."""
        if not self._finished:
            if self._compressor is not None:
                self._emit(self._compressor.flush())
            self._finished = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.finish()

    @property
    def blob_digest(self) -> Digest:
        """The digest of what was written to the sink."""
        self._require_end()
        return Digest(self._algorithm, self._blob_hash.hexdigest())

    @property
    def diff_id(self) -> Digest:
        """The digest of the uncompressed tar."""
        self._require_end()
        return Digest(self._algorithm, self._diff_hash.hexdigest())

    def _require_end(self) -> None:
        if not self._finished:
            raise ValueError("the blob is not finished yet: call finish() first")

    def _emit(self, piece: bytes | bytearray | memoryview) -> None:
        view = memoryview(piece).cast("B")
        if not view:
            return
        if self._compressor is not None:
            self._blob_hash.update(view)
        self.blob_size += len(view)
        try:
            write_whole(self._sink.write, view)
        except BrokenPipeError:
            raise  # no failure of ours: whoever read from the pipe has gone
        except OSError as error:
            name = getattr(self._sink, "name", None)
            raise store_error(error, f"cannot write {name if isinstance(name, str | Path) else 'the blob'}") from error


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
