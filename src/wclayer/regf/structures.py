"""Every binary structure of a hive, once: layouts, marks and sums, apart from the code that walks or writes them.

All integers are little-endian. A hive is a base block of 4096 bytes and bins; every offset counts from the end of the
base block and 0xFFFFFFFF means none. A bin consists of cells; the size in front of a cell counts itself, and is
negative when the cell is in use.

Source: "Windows registry file format specification" by Maxim Suhanov (github.com/msuhanov/regf, CC BY 4.0); layered
keys also US patent application 20170279678.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

from wclayer.ntfs.names import to_utf16le

__all__ = [
    "BASE_BLOCK",
    "BASE_BLOCK_SIZE",
    "BASE_LAYERED_KEYS",
    "BIG_DATA",
    "BIN",
    "CHECKSUM_OFFSET",
    "FLAGS_OFFSET",
    "INLINE",
    "KEY_HIVE_ENTRY",
    "KEY_LATIN1_NAME",
    "KEY_NO_DELETE",
    "KEY_PREDEFINED_HANDLE",
    "LEAF_ELEMENTS",
    "LIST",
    "LIST_STEP",
    "NK",
    "NK_CELL",
    "NK_SIZE",
    "NONE",
    "PAGE",
    "SEGMENT",
    "SK",
    "SK_CELL",
    "VALUE_LATIN1_NAME",
    "VALUE_TOMBSTONE",
    "VK",
    "VK_CELL",
    "base_block_checksum",
    "name_hash",
    "name_hint",
    "own_flags",
    "sort_key",
]

PAGE: Final = 4096
BASE_BLOCK_SIZE: Final = 4096
NONE: Final = 0xFFFFFFFF

#: signature, two sequence numbers, written, major and minor version, type, format, root, size of the bins, clustering,
#: file name, (two log identifiers), flags
BASE_BLOCK: Final = struct.Struct("<4sIIQIIIIIII64s32xI")
CHECKSUM_OFFSET: Final = 508
FLAGS_OFFSET: Final = 144
#: Bit of the base block's flags: the hive holds layered keys.
BASE_LAYERED_KEYS: Final = 0x02

#: signature, offset, size, reserved, written, spare
BIN: Final = struct.Struct("<4sIIQQI")

#: signature, flags, written, access, layer, spare, then fourteen words: parent, subkeys, volatile subkeys, their two
#: lists, values, value list, security, class, longest subkey name, subkey class, value name and value data, spare;
#: name length, class length
NK: Final = struct.Struct("<2sHQBBH14IHH")
NK_SIZE: Final = NK.size
#: The same behind the size of its cell, without what a reader has no use for: cell size, signature, flags, written,
#: layer, parent, subkeys, subkey list, values, value list, security, class, virtualization and user flags, name length,
#: class length
NK_CELL: Final = struct.Struct("<i2sHQxBxxII4xI4xIIIIxxH16xHH")
KEY_HIVE_ENTRY: Final = 0x04
KEY_NO_DELETE: Final = 0x08
KEY_LATIN1_NAME: Final = 0x20
#: The number of values is no number of values, but a handle.
KEY_PREDEFINED_HANDLE: Final = 0x40

#: signature, name length, data size, data offset, type, flags, spare
VK: Final = struct.Struct("<2sHIIIHH")
#: The same behind the size of its cell, without the spare.
VK_CELL: Final = struct.Struct("<i2sHIIIH2x")
VALUE_LATIN1_NAME: Final = 0x01
VALUE_TOMBSTONE: Final = 0x02
#: Bit of a data size: the data, at most four bytes, stands where its offset would.
INLINE: Final = 0x80000000

#: signature, spare, next, previous, references, descriptor length
SK: Final = struct.Struct("<2sHIIII")
#: The same behind the size of its cell: cell size, signature, descriptor length.
SK_CELL: Final = struct.Struct("<i2s14xI")

#: signature, number of elements; of lf, lh, li and ri
LIST: Final = struct.Struct("<2sH")
#: The size of an element of each kind of subkey list.
LIST_STEP: Final = {b"lf": 8, b"lh": 8, b"li": 4}
#: As many elements of lf or lh as fill a bin of one page.
LEAF_ELEMENTS: Final = (PAGE - BIN.size - 4 - LIST.size) // 8

#: signature, segments, list of segments, spare
BIG_DATA: Final = struct.Struct("<2sHII")
#: Data longer than this is cut into segments of this many bytes, from version 1.4 on.
SEGMENT: Final = 16344


def base_block_checksum(block: bytes) -> int:
    """The checksum of a base block: its first 127 words, combined by exclusive or.

    0 and 0xFFFFFFFF are never stored, since a reader takes them for "no checksum".
    """
    checksum = 0
    for (word,) in struct.iter_unpack("<I", block[:CHECKSUM_OFFSET]):
        checksum ^= word
    return {0: 1, NONE: NONE - 1}.get(checksum, checksum)


def own_flags(flags: int) -> int:
    """The flags of a key node without those that say where it stands and how its name is written."""
    return flags & ~(KEY_LATIN1_NAME | (KEY_HIVE_ENTRY | KEY_NO_DELETE if flags & KEY_HIVE_ENTRY else 0))


def sort_key(folded: str) -> bytes:
    """What subkeys are ordered by, of a folded name: its UTF-16 units. Big-endian bytes compare as their units do."""
    return folded.encode("utf-16-be", "surrogatepass")


def name_hash(folded: str) -> int:
    """The hash in an ``lh`` list, of a folded name."""
    units: Iterable[int] = folded.encode("ascii") if folded.isascii() else _units(folded)
    value = 0
    for unit in units:
        value = value * 37 + unit
    return value & 0xFFFFFFFF


def name_hint(name: str) -> int:
    """The hint in an ``lf`` list: the first four characters as bytes; 0 when one of them is no single byte."""
    units = list(_units(name[:4]))[:4]
    return 0 if max(units, default=0) > 0xFF else int.from_bytes(bytes(units), "little")


def _units(text: str) -> Iterable[int]:
    return (unit for (unit,) in struct.iter_unpack("<H", to_utf16le(text)))
