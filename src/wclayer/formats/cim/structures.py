"""Every binary structure of a CIM image, once: layouts and numbers, apart from the code that walks or writes them.

An image is a file with a :class:`FilesystemHeader`, which names sets of region files; all else lies in those and is
pointed at by *region offsets*: 48 bits of position and 16 bits that count through all regions of all sets. All integers
are little-endian, and no structure has padding.

Source: hcsshim ``pkg/cimfs/format`` and the fuller ``format.go`` of its history; what no source says is in
:mod:`wclayer.formats.cim.profiles`.
"""

from __future__ import annotations

import struct
import uuid
from typing import Final, NamedTuple, Self

from wclayer.formats.cim.profiles import (
    FILESYSTEM_HEADER_LENGTH,
    MINOR,
    OBJECT_ID_ENTRIES,
    OBJECT_ID_HEADER_LENGTH,
    OBJECT_ID_TABLE_OFFSET,
    REGION_HEADER_LENGTH,
)

__all__ = [
    "COMMON_HEADER",
    "FILESYSTEM",
    "FILESYSTEM_HEADER",
    "FILE_RECORD",
    "FILE_TABLE",
    "LENGTH_MASK",
    "LINK_TABLE",
    "MAGIC",
    "OBJECT_ID",
    "OBJECT_ID_HEADER",
    "PE_IMAGE",
    "PE_MAPPING",
    "POSITION_MASK",
    "REGION_HEADER",
    "REGION_SET",
    "SPARSE",
    "STREAM",
    "STREAM_DATA",
    "STREAM_LINK_TABLE",
    "STREAM_PE_IMAGE",
    "TYPE_IMAGE",
    "TYPE_OBJECT_ID",
    "TYPE_REGION",
    "UPCASE_SIZE",
    "CommonHeader",
    "FileRecord",
    "FileTable",
    "Filesystem",
    "FilesystemHeader",
    "ObjectIdHeader",
    "PeImage",
    "RegionHeader",
    "RegionSet",
    "StreamRecord",
    "object_id_name",
    "region_index",
    "region_name",
    "region_offset",
    "region_position",
]

MAGIC: Final = b"cimfile0"
TYPE_IMAGE: Final = 0
TYPE_REGION: Final = 1
TYPE_OBJECT_ID: Final = 2

#: magic, header length, type, two reserved, major and minor version, reserved
COMMON_HEADER: Final = struct.Struct("<8sIBBHIIQ")
#: behind the common header: index in its own set, kind of region, two reserved
REGION_HEADER: Final = struct.Struct("<HBBI")
#: behind the common header: as in a region, then offset of the table and number of its entries
OBJECT_ID_HEADER: Final = struct.Struct("<HBBIII")
#: length of an object, its digest, its position in the region
OBJECT_ID: Final = struct.Struct("<Q24sQ")
#: GUID, number of regions, two reserved
REGION_SET: Final = struct.Struct("<16sHHI")
#: behind the common header and the own region set: region offset of the Filesystem, two reserved, number of parents
FILESYSTEM_HEADER: Final = struct.Struct("<QIHH")
#: region offsets of the upper-case table and of the file table directory, entries of that directory, id of the root
FILESYSTEM: Final = struct.Struct("<QQII")
#: region offset of a file table, records in it, bytes of a record, reserved
FILE_TABLE: Final = struct.Struct("<QHHI")
#: flags, length of the extended attributes, reparse tag; creation, write, change, access time; data offset and length
#: of the default stream; region offsets of security descriptor, extended attributes, reparse buffer, stream table;
#: id of the parent, base region index, reserved
FILE_RECORD: Final = struct.Struct("<HHI4Q2Q4QIHH")
#: region offset of the data; length (48 bits), kind (8 bits), sparse (1 bit)
STREAM: Final = struct.Struct("<QQ")
#: length of the whole table with this head, number of links; then values, then offsets of names, then names
LINK_TABLE: Final = struct.Struct("<II")
#: region offset and length of the data, size of the image in memory, mappings, flags; then the mappings
PE_IMAGE: Final = struct.Struct("<QQIHH")
#: position in the file, what is added to positions from there on
PE_MAPPING: Final = struct.Struct("<II")

UPCASE_SIZE: Final = 0x20000

POSITION_MASK: Final = (1 << 48) - 1
LENGTH_MASK: Final = (1 << 48) - 1
#: Bit of the length: the whole stream reads as zeros and has no data.
SPARSE: Final = 1 << 56
_KIND_SHIFT: Final = 48
_UNUSED_LENGTH_BITS: Final = ~((1 << 57) - 1)

STREAM_DATA: Final = 0
STREAM_LINK_TABLE: Final = 1
STREAM_PE_IMAGE: Final = 2


def region_offset(index: int, position: int) -> int:
    """The pointer to byte ``position`` of region ``index``, counted through all sets."""
    return index << 48 | position


def region_index(offset: int) -> int:
    """The region that a pointer names, counted through all sets: the parents' in their order, then the own one."""
    return offset >> 48


def region_position(offset: int) -> int:
    """The byte inside the region that a pointer names; 0 means that there is no object."""
    return offset & POSITION_MASK


def region_name(guid: uuid.UUID, number: int) -> str:
    """The name of region file ``number`` of the set ``guid``."""
    return f"region_{guid}_{number}"


def object_id_name(guid: uuid.UUID, number: int) -> str:
    """The name of the object id file of region ``number`` of the set ``guid``. Readers have no use for it."""
    return f"objectid_{guid}_{number}"


class CommonHeader(NamedTuple):
    """The 32 bytes that every file of an image begins with. ``length`` is that of the whole header, in bytes."""

    length: int
    type: int
    major: int
    minor: int = MINOR
    magic: bytes = MAGIC

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The header at the front of ``data``, whatever it says."""
        magic, length, kind, _, _, major, minor, _ = COMMON_HEADER.unpack_from(data)
        return cls(length, kind, major, minor, magic)

    def pack(self) -> bytes:
        """The 32 bytes."""
        return COMMON_HEADER.pack(self.magic, self.length, self.type, 0, 0, self.major, self.minor, 0)


class RegionHeader(NamedTuple):
    """The 40 bytes at the front of a region file. ``number`` counts in the own set, ``kind`` is a ``*_REGION``."""

    common: CommonHeader
    number: int
    kind: int

    @classmethod
    def of(cls, major: int, number: int, kind: int) -> Self:
        """The header to write."""
        return cls(CommonHeader(REGION_HEADER_LENGTH, TYPE_REGION, major), number, kind)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The header at the front of ``data``, whatever it says."""
        number, kind, _, _ = REGION_HEADER.unpack_from(data, COMMON_HEADER.size)
        return cls(CommonHeader.unpack(data), number, kind)

    def pack(self) -> bytes:
        """The 40 bytes."""
        return self.common.pack() + REGION_HEADER.pack(self.number, self.kind, 0, 0)


class ObjectIdHeader(NamedTuple):
    """The 48 bytes at the front of an object id file."""

    common: CommonHeader
    number: int
    kind: int
    table_offset: int
    entries: int

    @classmethod
    def of(cls, major: int, number: int, kind: int) -> Self:
        """The header to write, of a table without entries."""
        common = CommonHeader(OBJECT_ID_HEADER_LENGTH, TYPE_OBJECT_ID, major)
        return cls(common, number, kind, OBJECT_ID_TABLE_OFFSET, OBJECT_ID_ENTRIES)

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The header at the front of ``data``, whatever it says."""
        number, kind, _, _, table_offset, entries = OBJECT_ID_HEADER.unpack_from(data, COMMON_HEADER.size)
        return cls(CommonHeader.unpack(data), number, kind, table_offset, entries)

    def pack(self) -> bytes:
        """The 48 bytes."""
        return self.common.pack() + OBJECT_ID_HEADER.pack(self.number, self.kind, 0, 0, self.table_offset, self.entries)


class RegionSet(NamedTuple):
    """The 24 bytes that name ``size`` region files of one image."""

    guid: uuid.UUID
    size: int

    @classmethod
    def unpack(cls, data: bytes, at: int = 0) -> Self:
        """The set at byte ``at`` of ``data``."""
        guid, size, _, _ = REGION_SET.unpack_from(data, at)
        return cls(uuid.UUID(bytes_le=guid), size)

    def pack(self) -> bytes:
        """The 24 bytes."""
        return REGION_SET.pack(self.guid.bytes_le, self.size, 0, 0)


class FilesystemHeader(NamedTuple):
    """The whole ``.cim`` file: 72 bytes, and 24 for each parent. ``filesystem`` is a region offset."""

    common: CommonHeader
    own: RegionSet
    filesystem: int
    parents: tuple[RegionSet, ...] = ()

    @classmethod
    def of(cls, major: int, own: RegionSet, filesystem: int, parents: tuple[RegionSet, ...] = ()) -> Self:
        """The header to write."""
        return cls(CommonHeader(FILESYSTEM_HEADER_LENGTH, TYPE_IMAGE, major), own, filesystem, parents)

    @classmethod
    def parent_count(cls, data: bytes) -> int:
        """How many parents the first 72 bytes announce."""
        count: int = FILESYSTEM_HEADER.unpack_from(data, COMMON_HEADER.size + REGION_SET.size)[3]
        return count

    @classmethod
    def unpack(cls, data: bytes) -> Self:
        """The header in ``data``, whatever it says. Raises struct.error when the parents are cut off."""
        filesystem, _, _, count = FILESYSTEM_HEADER.unpack_from(data, COMMON_HEADER.size + REGION_SET.size)
        first = FILESYSTEM_HEADER_LENGTH
        parents = tuple(RegionSet.unpack(data, first + number * REGION_SET.size) for number in range(count))
        return cls(CommonHeader.unpack(data), RegionSet.unpack(data, COMMON_HEADER.size), filesystem, parents)

    def pack(self) -> bytes:
        """The bytes of the file."""
        middle = FILESYSTEM_HEADER.pack(self.filesystem, 0, 0, len(self.parents))
        return b"".join([self.common.pack(), self.own.pack(), middle, *(parent.pack() for parent in self.parents)])


class Filesystem(NamedTuple):
    """The 24 bytes that the tree hangs from: two region offsets, the number of file tables, the id of the root."""

    upcase: int
    tables: int
    table_count: int
    root: int

    @classmethod
    def unpack(cls, data: bytes, at: int = 0) -> Self:
        """The structure at byte ``at`` of ``data``."""
        return cls._make(FILESYSTEM.unpack_from(data, at))

    def pack(self) -> bytes:
        """The 24 bytes."""
        return FILESYSTEM.pack(*self)


class FileTable(NamedTuple):
    """The 16 bytes that point to a file table of ``records`` file records of ``entry_size`` bytes."""

    offset: int
    records: int
    entry_size: int

    @classmethod
    def unpack(cls, data: bytes, at: int = 0) -> Self:
        """The entry at byte ``at`` of ``data``."""
        return cls._make(FILE_TABLE.unpack_from(data, at)[:3])

    def pack(self) -> bytes:
        """The 16 bytes."""
        return FILE_TABLE.pack(*self, 0)


class StreamRecord(NamedTuple):
    """The 16 bytes that describe the data of a stream. ``length_and_kind`` is as it is stored."""

    data_offset: int
    length_and_kind: int

    @classmethod
    def of(cls, data_offset: int, length: int, kind: int = STREAM_DATA, *, sparse: bool = False) -> Self:
        """The record of ``length`` bytes at region offset ``data_offset``."""
        return cls(data_offset, length | kind << _KIND_SHIFT | (SPARSE if sparse else 0))

    @property
    def length(self) -> int:
        """Bytes of the stream."""
        return self.length_and_kind & LENGTH_MASK

    @property
    def kind(self) -> int:
        """One of ``STREAM_*``."""
        return self.length_and_kind >> _KIND_SHIFT & 0xFF

    @property
    def sparse(self) -> bool:
        """Whether the whole stream reads as zeros and has no data."""
        return bool(self.length_and_kind & SPARSE)

    @property
    def unused_bits(self) -> int:
        """The bits above, of which no meaning is known."""
        return self.length_and_kind & _UNUSED_LENGTH_BITS

    @property
    def version_1_kind(self) -> int:
        """The kind as version 1 has it: 16 bits, and no sparse bit."""
        return self.length_and_kind >> _KIND_SHIFT

    def pack(self) -> bytes:
        """The 16 bytes."""
        return STREAM.pack(*self)


class FileRecord(NamedTuple):
    """The first 96 bytes of a file record. Times are FILETIMEs, ``*_offset`` region offsets (0: there is none)."""

    flags: int
    ea_length: int
    reparse_tag: int
    creation_time: int
    last_write_time: int
    change_time: int
    last_access_time: int
    data_offset: int
    length_and_kind: int
    sd_offset: int
    ea_offset: int
    reparse_offset: int
    stream_table_offset: int
    parent_id: int
    base_region_index: int = 0
    reserved: int = 0

    @classmethod
    def unpack(cls, data: bytes, at: int = 0) -> Self:
        """The record at byte ``at`` of ``data``, which holds all 96 bytes."""
        return cls._make(FILE_RECORD.unpack_from(data, at))

    @property
    def stream(self) -> StreamRecord:
        """The default stream: the data of a file, the link table of a folder."""
        return StreamRecord(self.data_offset, self.length_and_kind)

    def pack(self, entry_size: int = FILE_RECORD.size, tail: bytes = b"") -> bytes:
        """The record in ``entry_size`` bytes: cut off, or filled up with ``tail`` and zeros."""
        return (FILE_RECORD.pack(*self) + tail)[:entry_size].ljust(entry_size, b"\0")


class PeImage(NamedTuple):
    """The 24 bytes in front of the mappings of a file that lies as an image in memory would.

    ``image_length`` is the size in memory. Each mapping, ``(position in the file, delta)``, says what is added to the
    position from there on to find the byte behind ``data_offset``.
    """

    data_offset: int
    data_length: int
    image_length: int
    flags: int
    mappings: tuple[tuple[int, int], ...]

    def pack(self) -> bytes:
        """The whole structure."""
        head = PE_IMAGE.pack(self.data_offset, self.data_length, self.image_length, len(self.mappings), self.flags)
        return head + b"".join(PE_MAPPING.pack(*mapping) for mapping in self.mappings)
