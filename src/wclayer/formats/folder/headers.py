"""``layer.headers``: what a tar holds besides the data of its entries, so that it can be written again byte for byte.

The tar is cut into raw bytes (headers, padding, trailer, whatever is not kept elsewhere) and references to data that
lies in the files of the layer folder. Both are collected in chunks of about 64 KiB: a table of the references, then all
raw bytes. The whole is one Zstandard frame of level 1 with a checksum: about 110 bytes an entry, 1-2 us.

Inside the frame: :data:`MAGIC`, then chunks. A chunk is two little-endian 32-bit numbers, the count of references and
the count of raw bytes; for each reference four 64-bit ones (raw bytes before it since the last one, ordinal, offset,
length); then the raw bytes, of which those beyond the last reference come after it. An empty chunk ends the record.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import Struct, pack, unpack
from typing import NamedTuple

from wclayer.errors import FormatError, NotFoundError, StoreError
from wclayer.formats.folder.door import store_error
from wclayer.writing import write_whole

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["MAGIC", "Body", "HeaderRecordReader", "HeaderRecordWriter"]

MAGIC = b"wclayer header record 1\n"

_HEAD = Struct("<II")
_CHUNK_RAW = 1 << 16  # they stay in the processor's cache until they are compressed
_CHUNK_NUMBERS = 4 * 2048
_MAX_RAW = 4 << 20
_MAX_REFERENCES = 1 << 16
_READ = 1 << 18


class Body(NamedTuple):
    """A reference: ``length`` bytes from ``offset`` of the logical content of stream ``ordinal`` stand here."""

    ordinal: int
    offset: int
    length: int


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
            options={zstd.CompressionParameter.compression_level: 1, zstd.CompressionParameter.checksum_flag: 1}
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
            self._write(_HEAD.pack(0, 0))
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
                    _HEAD.pack(len(numbers) // 4, self._raw_length),
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


class HeaderRecordReader:
    """Reads the record ``path``: iterating yields raw ``bytes`` and :class:`Body` references in the order of the tar.

    Raises NotFoundError, StoreError, and FormatError of kind ``header-record`` for a record that is damaged or was
    never finished. At most a few MiB are held, whatever the file says.
    """

    def __init__(self, path: Path | str | bytes, *, opener: Callable[[str, int], int] | None = None) -> None:
        self._path = os.fsdecode(path)
        self._opener = opener

    def __iter__(self) -> Iterator[bytes | Body]:
        try:
            with open(self._path, "rb", buffering=0, opener=self._opener) as file:
                inflated = _Inflated(file.read, self._path)
                if inflated.take(len(MAGIC)) != MAGIC:
                    raise inflated.damaged("it does not begin as one")
                while True:
                    references, raw_length = _HEAD.unpack(inflated.take(_HEAD.size))
                    if not references and not raw_length:
                        break
                    yield from self._chunk(inflated, references, raw_length)
                inflated.expect_end()
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no header record {self._path}") from error
        except OSError as error:
            raise store_error(error, "cannot read the header record", os.fsencode(self._path), "") from error

    def _chunk(self, inflated: _Inflated, references: int, raw_length: int) -> Iterator[bytes | Body]:
        if references > _MAX_REFERENCES or raw_length > _MAX_RAW:
            raise inflated.damaged(f"a chunk of {references} references and {raw_length} bytes")
        numbers = unpack(f"<{4 * references}Q", inflated.take(32 * references))
        raw = inflated.take(raw_length)
        position = 0
        for index in range(0, len(numbers), 4):
            before, ordinal, offset, length = numbers[index : index + 4]
            if before > raw_length - position:
                raise inflated.damaged("a reference lies beyond its chunk")
            if before:
                yield raw[position : position + before]
                position += before
            yield Body(ordinal, offset, length)
        if position < raw_length:
            yield raw[position:]


class _Inflated:
    """The content of one Zstandard frame, taken in exact lengths."""

    def __init__(self, read: Callable[[int], bytes | None], path: str) -> None:
        self._read = read
        self._path = path
        self._decompressor = zstd.ZstdDecompressor()
        self._buffer = bytearray()

    def take(self, length: int) -> bytes:
        """Exactly ``length`` bytes. Raises FormatError when there are fewer."""
        buffer = self._buffer
        while len(buffer) < length:
            if not self._more():
                raise self.damaged("it ends too early")
        data = bytes(buffer[:length])
        del buffer[:length]
        return data

    def expect_end(self) -> None:
        """Raises FormatError unless the frame and the file end here."""
        while not self._buffer and self._more():
            pass
        if self._buffer or self._decompressor.unused_data or self._read(1):
            raise self.damaged("something follows its end")

    def damaged(self, reason: str) -> FormatError:
        """The error for a record that cannot be used."""
        return FormatError(f"the header record {self._path} is damaged: {reason}", kind="header-record")

    def _more(self) -> bool:
        """Inflate some more; False at the end of the frame."""
        inflater = self._decompressor
        if inflater.eof:
            return False
        data = b""
        if inflater.needs_input:
            data = self._read(_READ) or b""
            if not data:
                raise self.damaged("the file is cut off")
        try:
            self._buffer += inflater.decompress(data, _READ)
        except zstd.ZstdError as error:
            raise self.damaged(str(error)) from error
        return True
