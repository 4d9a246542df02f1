"""Inflating a blob of unknown compression: the content says what it is, and it is read to its very end.

gzip (RFC 1952) may have several members and zstd (RFC 8878) several frames, some of them skippable; all belong to the
blob. A decoder fills a buffer of the caller's, so that memory stays bounded whatever the content claims to be.
ISA-L inflates gzip about twice as fast as zlib; where it is missing, zlib gives the same bytes.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from typing import Protocol

from wclayer.errors import FormatError, UnsupportedError, WclayerError
from wclayer.oci import engines
from wclayer.oci.engines import zstd
from wclayer.oci.mediatypes import Compression

__all__ = ["HEAD_SIZE", "Decoder", "has_isal", "open_decoder", "sniff"]

HEAD_SIZE = 16
"""How many bytes :func:`sniff` needs at most."""

_INPUT = 1 << 19
"""How much compressed input is asked for at once, in bytes: callbacks into Python must be rare."""
_ZSTD_OUTPUT = 1 << 15
"""So much the zstd module puts into one piece of memory; more it gathers in several, and copies them together."""


class RawReader(Protocol):
    """The compressed side: fills a part of the buffer, 0 is the end. Raises only errors of this package."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a part of ``buffer``; returns how much."""


class Decoder(Protocol):
    """The uncompressed side: fills a part of the buffer, 0 is the end. Raises FormatError for damaged content."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a part of ``buffer``; returns how much."""


def has_isal() -> bool:
    """Whether ISA-L does the gzip work here."""
    return engines.isal is not None


def sniff(head: bytes) -> Compression:
    """The compression that the first bytes of a blob show.

    Raises UnsupportedError for bzip2 and xz, which some engines read but no image specification allows.
    """
    if head.startswith(b"\x1f\x8b\x08"):
        return "gzip"
    if head.startswith(b"\x28\xb5\x2f\xfd") or (len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] >> 4 == 5):
        return "zstd"
    for is_it, name in ((head.startswith(b"\xfd7zXZ\0"), "xz"), (head[:3] + head[4:10] == b"BZh1AY&SY", "bzip2")):
        if is_it:
            raise UnsupportedError(
                f"compressed with {name}, which no image specification allows",
                hint=f"decompress it first: {name} -dc FILE > FILE.tar",
            )
    return "none"


def open_decoder(compression: Compression, raw: RawReader, *, is_alone: bool = False) -> Decoder:
    """A decoder of everything that ``raw`` still holds.

    ``is_alone`` says that no other thread runs Python meanwhile, so that it may give up the interpreter lock often.
    """
    if compression == "gzip":
        return _Guarded(_isal_gzip(raw) or _ZlibGzip(raw).readinto, "gzip")
    if compression == "zstd":
        return _Guarded(_Zstd(_ReadAdaptor(raw), _ZSTD_OUTPUT if is_alone else sys.maxsize).readinto, "zstd")
    return raw


def _isal_gzip(raw: RawReader) -> Callable[[memoryview], int] | None:
    """ISA-L's reader, None where there is no ISA-L, or one whose reader is not the one known here."""
    # It is the one below the public IGzipFile, which it outruns because it inflates into the caller's buffer.
    reader = getattr(engines.isal, "_GzipReader", None)
    if reader is None:
        return None
    readinto: Callable[[memoryview], int] = reader(_ReadAdaptor(raw), _INPUT).readinto
    return readinto


class _Guarded:
    """Turns what the libraries raise into FormatError. Errors of this package come from below, and pass."""

    def __init__(self, readinto: Callable[[memoryview], int], name: str) -> None:
        self._readinto = readinto
        self._name = name

    def readinto(self, buffer: memoryview, /) -> int:
        try:
            return self._readinto(buffer)
        except WclayerError:
            raise
        except EOFError:
            raise FormatError(
                f"the blob ends inside its last {self._name} {_PART[self._name]}",
                kind="unexpected-eof",
                hint="it is cut short, or something else was appended to it",
            ) from None
        except _DAMAGE as error:
            raise FormatError(f"damaged {self._name} data: {error}", kind=self._name) from error


_PART = {"gzip": "member", "zstd": "frame"}
_DAMAGE: tuple[type[Exception], ...] = (OSError, OverflowError, ValueError, zlib.error, zstd.ZstdError)
if engines.isal is not None:
    _DAMAGE += (engines.isal.error,)


class _ReadAdaptor:
    """As much of a file as the libraries look for.

    What has pieces of a good size at hand may have a method ``take`` that gives one; otherwise they are gathered here.
    A piece is read no more when the next is asked for: a decoder keeps a copy of what it has no use for yet.
    """

    def __init__(self, raw: RawReader) -> None:
        self._raw = raw
        self._buffer = memoryview(b"")
        self._take: Callable[[], memoryview] | None = getattr(raw, "take", None)

    def read(self, _size: int = -1) -> bytes | memoryview:
        if self._take is not None:
            return self._take()
        if not self._buffer:
            self._buffer = memoryview(bytearray(_INPUT))
        return bytes(self._buffer[: self._raw.readinto(self._buffer)])

    def readinto(self, buffer: memoryview) -> int:
        return self._raw.readinto(memoryview(buffer))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


class _Zstd:
    """All frames of a zstd blob. A call of the library gives ``most`` bytes, or as many as are wanted."""

    def __init__(self, raw: _ReadAdaptor, most: int) -> None:
        self._read = raw.read
        self._most = most
        self._frame = zstd.ZstdDecompressor()

    def readinto(self, buffer: memoryview, /) -> int:
        filled, size, frame = 0, len(buffer), self._frame
        while filled < size:
            data: bytes | memoryview = b""
            if frame.eof:
                data = frame.unused_data or self._read()
                if not data:
                    break
                frame = self._frame = zstd.ZstdDecompressor()
            elif frame.needs_input:
                data = self._read()
                if not data:
                    raise EOFError
            output = frame.decompress(data, min(size - filled, self._most))
            end = filled + len(output)
            buffer[filled:end] = output
            filled = end
        return filled


class _ZlibGzip:
    """All members of a gzip blob, with nothing but zlib. Zeros after a member are padding, as gzip(1) has it."""

    def __init__(self, raw: RawReader) -> None:
        self._raw = raw
        self._buffer = memoryview(bytearray(_INPUT))
        self._input: bytes | memoryview = b""
        self._member: zlib._Decompress | None = zlib.decompressobj(31)

    def _refill(self) -> bool:
        self._input = self._buffer[: self._raw.readinto(self._buffer)]
        return bool(self._input)

    def _next_member(self) -> bool:
        while True:
            rest = bytes(self._input).lstrip(b"\0")
            if rest:
                self._input = rest
                self._member = zlib.decompressobj(31)
                return True
            if not self._refill():
                return False

    def readinto(self, buffer: memoryview, /) -> int:
        while True:
            member = self._member
            if member is None:
                if not self._next_member():
                    return 0
                continue
            if not self._input and not self._refill():
                raise EOFError
            output = member.decompress(self._input, len(buffer))
            if member.eof:
                self._input = member.unused_data
                self._member = None
            else:
                self._input = member.unconsumed_tail
            if output:
                buffer[: len(output)] = output
                return len(output)
