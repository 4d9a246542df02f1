"""Regions of metadata are mapped, regions of data are read: what nobody asks for costs nothing.

Metadata is small and asked for in many small pieces. Data may be larger than the memory, and would stay in it if it
were mapped, so it is read where and when it is wanted, as is metadata where it cannot be mapped. Nothing outside a file
can be asked for.

A pointer names a region by a number that counts through all sets: those of the parents in their order, then the
image's own. Each file must exist when an image is opened, and is opened when something in it is first wanted.

Source: hcsshim ``format.go``. The kind of a region stands in its header; its number says nothing.
"""

from __future__ import annotations

import mmap
import os
import stat
import threading
import uuid
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError
from wclayer.formats.cim.profiles import DATA_REGION, MAX_REGIONS, METADATA_REGION, SMALL_DATA_REGION
from wclayer.formats.cim.structures import (
    COMMON_HEADER,
    MAGIC,
    POSITION_MASK,
    REGION_HEADER,
    TYPE_REGION,
    CommonHeader,
    RegionHeader,
    RegionSet,
    region_name,
)

__all__ = ["KIND_NAMES", "Region", "RegionFiles", "check_common", "open_regular"]

#: What a kind of region is called.
KIND_NAMES: Final = {METADATA_REGION: "metadata", DATA_REGION: "data", SMALL_DATA_REGION: "small data"}

_HEADER_SIZE: Final = COMMON_HEADER.size + REGION_HEADER.size


class _Bytes(Protocol):
    """What a region needs of the bytes of its file: a slice that lies inside, and an end."""

    def __getitem__(self, part: slice, /) -> bytes: ...

    def close(self) -> None: ...


class _FileBytes:
    """The bytes of a file that is not mapped, for slices with a start and a stop."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()

    def __getitem__(self, part: slice) -> bytes:
        data = self._read(part.stop - part.start, part.start)
        if len(data) == part.stop - part.start:
            return data
        pieces = [data]
        position = part.start + len(data)
        while data and position < part.stop:
            data = self._read(part.stop - position, position)
            pieces.append(data)
            position += len(data)
        return b"".join(pieces)

    def close(self) -> None:
        os.close(self._descriptor)

    def _read(self, length: int, position: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, length, position)
        with self._lock:
            os.lseek(self._descriptor, position, os.SEEK_SET)
            return os.read(self._descriptor, length)


def open_regular(path: Path, image: str) -> tuple[int, int]:
    """A descriptor of the ordinary file ``path`` and its size in bytes.

    Raises NotFoundError or StoreError naming ``image``. What is no ordinary file is refused without waiting for anybody
    to write to it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise NotFoundError(f"{path.name} does not exist", image=image) from error
    except OSError as error:
        raise StoreError(f"{path.name} cannot be opened: {error.strerror}", image=image) from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise StoreError(f"{path.name} is no ordinary file", image=image)
    return descriptor, found.st_size


def check_common(header: CommonHeader, kind: int, majors: range, name: str, image: str) -> None:
    """Check the header that every file of an image begins with.

    Raises FormatError when it belongs to no file of that ``kind`` (``TYPE_*``), UnsupportedError when the version is
    none of ``majors``.
    """
    if header.magic != MAGIC:
        raise FormatError(f"{name} does not begin with {MAGIC.decode()}", kind="cim-header", image=image)
    if header.type != kind:
        raise FormatError(f"{name} is a file of type {header.type}, not {kind}", kind="cim-header", image=image)
    if header.major not in majors:
        raise UnsupportedError(
            f"{name} has version {header.major}.{header.minor} of the CIM format; "
            f"known are {majors.start} to {majors.stop - 1}",
            image=image,
            hint="version 1 is read on request only" if header.major == 1 else None,
        )


class Region:
    """One region file. ``number`` counts inside its set; ``own`` tells the image's regions from those of parents."""

    __slots__ = ("_bytes", "_header", "_image", "_majors", "guid", "number", "own", "path", "size")

    def __init__(self, directory: Path, guid: uuid.UUID, number: int, *, own: bool, majors: range, image: str) -> None:
        self.path = directory / region_name(guid, number)
        self.guid = guid
        self.number = number
        self.own = own
        self._majors = majors
        self._image = image
        self._bytes: _Bytes | None = None
        self._header: RegionHeader | None = None
        try:
            found = self.path.stat()
        except FileNotFoundError as error:
            whose = "the image" if own else "a parent"
            raise FormatError(
                f"{self.name} is missing, a region of {whose}", kind="cim-region-missing", image=image
            ) from error
        except OSError as error:
            raise StoreError(f"{self.name} cannot be looked at: {error.strerror}", image=image) from error
        if not stat.S_ISREG(found.st_mode):
            raise StoreError(f"{self.name} is no ordinary file", image=image)
        #: Bytes of the file.
        self.size = found.st_size

    @property
    def name(self) -> str:
        """The name of the file."""
        return self.path.name

    @property
    def header(self) -> RegionHeader:
        """The header. Raises FormatError, UnsupportedError or StoreError when there is none that fits."""
        return self._header or self._open()[1]

    def read(self, position: int, length: int, what: str, path: str | None = None) -> bytes:
        """``length`` bytes from ``position`` on; ``what`` and the ``path`` in the image name them in errors.

        Raises FormatError when they do not lie inside the file, and what :attr:`header` raises.
        """
        if position + length > self.size:
            raise self._outside(position, length, what, path)
        data = self._slice(self._bytes or self._open()[0], position, length)
        if len(data) != length:
            raise self._outside(position, length, what, path)
        return data

    def close(self) -> None:
        """Give the file back."""
        if self._bytes is not None:
            self._bytes.close()
            self._bytes = None

    def _outside(self, position: int, length: int, what: str, path: str | None) -> FormatError:
        return FormatError(
            f"{what}: {length} bytes at 0x{position:x} of {self.name}, which has {self.size}",
            kind="cim-offset",
            image=self._image,
            path=path,
        )

    def _open(self) -> tuple[_Bytes, RegionHeader]:
        descriptor, self.size = open_regular(self.path, self._image)
        data: _Bytes = _FileBytes(descriptor)
        try:
            header = self._checked_header(data)
        except BaseException:
            data.close()
            raise
        if header.kind == METADATA_REGION:
            try:
                mapped = mmap.mmap(descriptor, self.size, access=mmap.ACCESS_READ)
            except (OSError, ValueError, OverflowError):  # a file system without mapping, an address space too small
                pass
            else:
                data.close()
                data = mapped
        self._bytes, self._header = data, header
        return data, header

    def _checked_header(self, data: _Bytes) -> RegionHeader:
        if self.size < _HEADER_SIZE:
            raise FormatError(f"{self.name} has {self.size} bytes, too few", kind="cim-header", image=self._image)
        header = RegionHeader.unpack(self._slice(data, 0, _HEADER_SIZE))
        check_common(header.common, TYPE_REGION, self._majors, self.name, self._image)
        return header

    def _slice(self, data: _Bytes, position: int, length: int) -> bytes:
        try:
            return data[position : position + length]
        except OSError as error:
            raise StoreError(f"{self.name} cannot be read: {error.strerror}", image=self._image) from error


class RegionFiles:
    """All regions that the pointers of an image can name, in the order in which they count.

    Raises FormatError when there are none or more than 65536, or when a file is missing.
    """

    def __init__(
        self, directory: Path, own: RegionSet, parents: tuple[RegionSet, ...], *, majors: range, image: str
    ) -> None:
        total = own.size + sum(parent.size for parent in parents)
        if not 1 <= total <= MAX_REGIONS:
            raise FormatError(f"{total} regions where 1 to {MAX_REGIONS} are possible", kind="cim-header", image=image)
        #: What names the image in errors.
        self.image = image
        #: The regions; a pointer names one by its place here.
        self.regions = tuple(
            Region(directory, regions.guid, number, own=is_own, majors=majors, image=image)
            for regions, is_own in (*((parent, False) for parent in parents), (own, True))
            for number in range(regions.size)
        )

    @property
    def size(self) -> int:
        """Bytes of all regions together."""
        return sum(region.size for region in self.regions)

    def locate(self, offset: int, what: str, path: str | None = None) -> tuple[Region, int]:
        """The region and the position in it that the region offset ``offset`` of ``what`` names.

        ``path`` is that in the image, for errors. Raises FormatError when the pointer names no object or no region.
        """
        position = offset & POSITION_MASK
        if not position:
            raise FormatError(f"{what}: a pointer to nothing", kind="cim-offset", image=self.image, path=path)
        try:
            return self.regions[offset >> 48], position
        except IndexError:
            raise FormatError(
                f"{what}: a pointer into region {offset >> 48} of {len(self.regions)}",
                kind="cim-offset",
                image=self.image,
                path=path,
            ) from None

    def read(self, offset: int, length: int, what: str, path: str | None = None) -> bytes:
        """``length`` bytes at region offset ``offset``; ``what`` and ``path`` name them in errors.

        Raises FormatError when the pointer names nothing or the bytes do not lie inside the region.
        """
        region, position = self.locate(offset, what, path)
        return region.read(position, length, what, path)

    def close(self) -> None:
        """Give all files back."""
        for region in self.regions:
            region.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
