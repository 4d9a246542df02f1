"""The data of a stream, found by position: plain, all zeros, or the pages of a PE image put back into file order.

A PE file may be stored as it would lie in memory, its sections at whole pages. Its mappings say what to add to a
position in the file to find the byte in the stored image; each holds until the next one. To whoever reads, all three
are one file that can be read anywhere.

Source: hcsshim ``format.go`` (Stream, PeImage) and its former reader.
"""

from __future__ import annotations

import io
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from wclayer.errors import FormatError, UnsupportedError
from wclayer.formats.cim.structures import (
    PE_IMAGE,
    PE_MAPPING,
    STREAM_DATA,
    STREAM_PE_IMAGE,
    PeImage,
    StreamRecord,
)
from wclayer.formats.raw_stream import RawStream

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from wclayer.formats.cim.regions import Region, RegionFiles

__all__ = ["PIECE", "CimStream", "StreamData", "read_pe_image"]

#: Bytes of a piece, 1 MiB.
PIECE: Final = 1 << 20

_ZEROS: Final = bytes(PIECE)


def read_pe_image(regions: RegionFiles, offset: int, path: str) -> PeImage:
    """The PE image structure at region offset ``offset``. Raises FormatError when it does not lie in its region."""
    region, position = regions.locate(offset, "PE image", path)
    data_offset, data_length, image_length, count, flags = PE_IMAGE.unpack(
        region.read(position, PE_IMAGE.size, "PE image", path)
    )
    pairs = region.read(position + PE_IMAGE.size, count * PE_MAPPING.size, "PE mappings", path)
    mappings = tuple((start, delta) for start, delta in PE_MAPPING.iter_unpack(pairs))
    return PeImage(data_offset, data_length, image_length, flags, mappings)


class StreamData:
    """Where each byte of a stream lies. All of them lie inside a region, or there is an error here.

    ``record`` describes the stream, whose kind is ``kind`` (``STREAM_DATA`` or ``STREAM_PE_IMAGE``); ``path`` names it
    in errors. Raises FormatError, and UnsupportedError for another kind and for bits of no known meaning.
    """

    __slots__ = ("_base", "_deltas", "_region", "_starts", "image", "path", "size")

    def __init__(self, regions: RegionFiles, record: StreamRecord, kind: int, *, sparse: bool, path: str) -> None:
        if kind not in (STREAM_DATA, STREAM_PE_IMAGE) or record.unused_bits:
            raise UnsupportedError(
                f"a stream of type 0x{record.length_and_kind >> 48:x}, which is not known",
                image=regions.image,
                path=path,
            )
        #: Bytes of the stream.
        self.size = record.length
        self.path = path
        self.image = regions.image
        self._region: Region | None = None
        self._base = 0
        self._starts: list[int] = [0]
        self._deltas: list[int] = [0]
        if not self.size or sparse:
            return
        offset = record.data_offset
        if kind == STREAM_PE_IMAGE:
            image = read_pe_image(regions, offset, path)
            offset = image.data_offset
            self._map(image)
        self._region, self._base = regions.locate(offset, "data", path)
        for start, end, delta in self.runs():
            if self._base + end + delta > self._region.size:
                raise FormatError(
                    f"data: {end - start} bytes at 0x{self._base + start + delta:x} of {self._region.name}, which "
                    f"has {self._region.size}",
                    kind="cim-offset",
                    image=self.image,
                    path=path,
                )

    def _map(self, image: PeImage) -> None:
        if image.data_length < self.size:
            raise self._bad(f"a PE image of {image.data_length} bytes for a stream of {self.size}")
        last = -1
        for start, delta in image.mappings:
            if start <= last:
                raise self._bad("the mappings of a PE image do not ascend")
            last = start
            if start == 0:
                self._deltas[0] = delta
                continue
            self._starts.append(start)
            self._deltas.append(delta)

    def _bad(self, reason: str) -> FormatError:
        return FormatError(reason, kind="cim-pe-image", image=self.image, path=self.path)

    def runs(self) -> Iterator[tuple[int, int, int]]:
        """The runs as ``(start, end, delta)``, positions in the file; nothing beyond the end of the stream."""
        for number, (start, delta) in enumerate(zip(self._starts, self._deltas, strict=True)):
            end = self._starts[number + 1] if number + 1 < len(self._starts) else self.size
            if start < self.size:
                yield start, min(end, self.size), delta

    def read_at(self, position: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``position`` on, fewer at the end of the stream or of a run, none behind it."""
        if position >= self.size:
            return b""
        if self._region is None:
            return _ZEROS[: min(length, self.size - position)]
        run = bisect_right(self._starts, position) - 1
        end = min(self._starts[run + 1] if run + 1 < len(self._starts) else self.size, self.size)
        return self._region.read(
            self._base + position + self._deltas[run], min(length, end - position, PIECE), "data", self.path
        )

    def pieces(self) -> Iterator[bytes]:
        """The whole stream in pieces of at most :data:`PIECE` bytes."""
        position = 0
        while position < self.size:
            piece = self.read_at(position, PIECE)
            yield piece
            position += len(piece)


class _OpenStream(RawStream):
    """A stream as a file, which a read fills from as many pieces as it takes."""

    def __init__(self, data: StreamData) -> None:
        super().__init__(data.size)
        self._data = data

    def _read_at(self, position: int, length: int) -> bytes:
        return self._data.read_at(position, length)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        done = 0
        while count := super().readinto(view[done:]):
            done += count
        return done


class CimStream:
    """A stream of a file: the default one (``name`` is ``""``) or an alternate one (a bare name, without colons)."""

    __slots__ = ("_regions", "_version_1", "name", "path", "record")

    def __init__(self, regions: RegionFiles, name: str, record: StreamRecord, path: str, *, version_1: bool) -> None:
        self._regions = regions
        #: That of the file, and the name of the stream behind a colon.
        self.path = path
        self._version_1 = version_1
        self.name = name
        #: The record of the stream as it is stored.
        self.record = record

    @property
    def size(self) -> int:
        """Bytes of the stream."""
        return self.record.length

    @property
    def kind(self) -> int:
        """``STREAM_DATA`` or ``STREAM_PE_IMAGE``; anything else is an error as soon as the data is wanted."""
        return self.record.version_1_kind if self._version_1 else self.record.kind

    @property
    def is_sparse(self) -> bool:
        """Whether the stream has no data at all and reads as zeros. Not the attribute of that name."""
        return self.record.sparse and not self._version_1

    def data(self) -> StreamData:
        """Where the data lies. Raises FormatError and UnsupportedError."""
        if self.name and self.kind != STREAM_DATA:
            raise UnsupportedError(
                f"an alternate stream of type 0x{self.kind:x}, which is not known",
                image=self._regions.image,
                path=self.path,
            )
        return StreamData(self._regions, self.record, self.kind, sparse=self.is_sparse, path=self.path)

    def open(self) -> io.RawIOBase:
        """The data as a seekable file. Raises what :meth:`data` raises."""
        return _OpenStream(self.data())

    def pieces(self) -> Iterator[bytes]:
        """The data in pieces of at most 1 MiB. Raises what :meth:`data` raises."""
        return self.data().pieces()
