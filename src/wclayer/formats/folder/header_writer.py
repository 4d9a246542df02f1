"""Writes ``layer.headers``; what is in it says :mod:`wclayer.formats.folder.headers`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from struct import Struct, pack

from wclayer.errors import StoreError
from wclayer.formats.folder.door import store_error
from wclayer.writing import write_whole

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["HEAD", "MAGIC", "HeaderRecordWriter"]

MAGIC = b"wclayer header record 1\n"
HEAD = Struct("<II")
"""What a chunk begins with: how many references and how many raw bytes it has."""

_CHUNK_RAW = 1 << 16  # they stay in the processor's cache until they are compressed
_CHUNK_NUMBERS = 4 * 2048
_WINDOW = 18  # a twelfth less time than with twice as much, which is usual, for a sixtieth more bytes


class HeaderRecordWriter:
    """Writes the record ``path``, which must not exist; ``opener`` is that of :func:`open`.

    The caller calls :meth:`segment` and :meth:`body` in the order of the tar, and :meth:`close` at its end: a record
    that was not closed is refused by the reader. Raises StoreError.
    """

    def __init__(self, path: Path | str | bytes, *, opener: Callable[[str, int], int] | None = None) -> None:
        self._path = os.fsdecode(path)
        try:
            self._file = open(path, "xb", buffering=0, opener=opener)  # noqa: SIM115 - closed by close()
        except OSError as error:
            raise self._refused(error) from error
        self._compressor = zstd.ZstdCompressor(
            options={
                zstd.CompressionParameter.compression_level: 1,
                zstd.CompressionParameter.checksum_flag: 1,
                zstd.CompressionParameter.window_log: _WINDOW,
            }
        )
        self._raw: list[bytes] = []
        self._raw_length = 0
        self._before = 0
        self._numbers: list[int] = []
        self._write(MAGIC)

    def segment(self, data: bytes | bytearray | memoryview) -> None:
        """Raw bytes of the tar; they are kept, so a buffer that will be used again is copied."""
        if type(data) is not bytes:
            data = bytes(data)
        length = len(data)
        if not length:
            return
        if length > _CHUNK_RAW:
            for start in range(0, length, _CHUNK_RAW):
                self.segment(data[start : start + _CHUNK_RAW])
            return
        self._raw.append(data)
        self._before += length
        self._raw_length += length
        if self._raw_length >= _CHUNK_RAW:
            self._flush()

    def body(self, ordinal: int, offset: int, length: int) -> None:
        """Here the tar holds ``length`` bytes from ``offset`` of the logical content of stream ``ordinal``."""
        numbers = self._numbers
        numbers += (self._before, ordinal, offset, length)
        self._before = 0
        if len(numbers) >= _CHUNK_NUMBERS:
            self._flush()

    def close(self) -> None:
        """Write what is left and the end mark. Harmless when called twice."""
        if self._file.closed:
            return
        try:
            self._flush()
            self._write(HEAD.pack(0, 0))
            self._put(self._compressor.flush())
        finally:
            self._file.close()

    def abandon(self) -> None:
        """Close the file as it is; the record is not complete."""
        self._file.close()

    def _flush(self) -> None:
        if not self._raw and not self._numbers:
            return
        numbers = self._numbers
        self._write(
            b"".join(
                (
                    HEAD.pack(len(numbers) // 4, self._raw_length),
                    pack(f"<{len(numbers)}Q", *numbers),
                    *self._raw,
                )
            )
        )
        self._raw.clear()
        numbers.clear()
        self._raw_length = self._before = 0

    def _write(self, data: bytes) -> None:
        self._put(self._compressor.compress(data))

    def _put(self, data: bytes) -> None:
        try:
            write_whole(self._file.write, data)
        except OSError as error:
            raise self._refused(error) from error

    def _refused(self, error: OSError) -> StoreError:
        return store_error(error, "cannot write the header record", os.fsencode(self._path), "")
