"""``layer.headers``: what a tar holds besides the data of its entries, so that it can be written again byte for byte.

The tar is cut into raw bytes (headers, padding, trailer, whatever is not kept elsewhere) and references to data that
lies in the files of the layer folder. Both are collected in chunks of about 64 KiB: a table of the references, then all
raw bytes. The whole is one Zstandard frame of level 1 with a checksum: about 110 bytes an entry, 1-2 us.

Inside the frame: :data:`~wclayer.formats.folder.header_writer.MAGIC`, then chunks. A chunk is two little-endian 32-bit
numbers, the count of references and the count of raw bytes; for each reference four 64-bit ones (raw bytes before it
since the last one, ordinal, offset, length); then the raw bytes, of which those beyond the last reference come after
it. An empty chunk ends the record.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from struct import unpack
from typing import NamedTuple

from wclayer.errors import FormatError, NotFoundError
from wclayer.formats.folder.door import store_error
from wclayer.formats.folder.header_writer import HEAD, MAGIC

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["Body", "HeaderRecordReader"]

_MAX_RAW = 4 << 20
_MAX_REFERENCES = 1 << 16
_READ = 1 << 18


class Body(NamedTuple):
    """A reference: ``length`` bytes from ``offset`` of the logical content of stream ``ordinal`` stand here."""

    ordinal: int
    offset: int
    length: int


class HeaderRecordReader:
    """Reads the record ``path``: iterating yields raw ``bytes`` and :class:`Body` references in the order of the tar.

    Raises NotFoundError, and FormatError of kind ``header-record`` for a record that is damaged or was
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
                    references, raw_length = HEAD.unpack(inflated.take(HEAD.size))
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
