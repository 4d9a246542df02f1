"""Every binary structure of a VHDX file, once: layouts, identifiers and limits, apart from the code that uses them.

All integers are little-endian, GUIDs in the mixed-endian form of Windows. A file is an identifier, two headers, two
region tables, and then, each at a multiple of 1 MiB and in any order: a log, the metadata, the block allocation table
(BAT), and blocks of data and of sector bitmaps.

Source: MS-VHDX, "Virtual Hard Disk v2 (VHDX) File Format".
"""

from __future__ import annotations

import struct
from typing import Final
from uuid import UUID

__all__ = [
    "ALIGNMENT",
    "BAT_ENTRY",
    "BAT_REGION",
    "BITMAP_PRESENT",
    "BLOCK_SIZES",
    "CREATOR",
    "CREATOR_SIZE",
    "FILE_PARAMETERS",
    "FIRST_HEADER",
    "FIRST_REGIONS",
    "FLAG_REQUIRED",
    "FLAG_USER",
    "FLAG_VIRTUAL_DISK",
    "FULL",
    "HAS_PARENT",
    "HEADER",
    "HEADERS",
    "HEADER_SIZE",
    "IDENTIFIER",
    "LEAVE_ALLOCATED",
    "LOCATOR_ENTRY",
    "LOCATOR_HEADER",
    "LOGICAL_SECTOR_SIZE",
    "LOG_DATA",
    "LOG_DESCRIPTOR",
    "LOG_ENTRY",
    "LOG_SECTOR",
    "MAXIMAL_SIZE",
    "METADATA_ENTRY",
    "METADATA_HEADER",
    "METADATA_REGION",
    "METADATA_TABLE_SIZE",
    "NOT_PRESENT",
    "NO_GUID",
    "PARENT_LOCATOR",
    "PARTIAL",
    "PHYSICAL_SECTOR_SIZE",
    "REGION_ENTRY",
    "REGION_HEADER",
    "REGION_TABLES",
    "REGION_TABLE_SIZE",
    "SECTOR_BITMAP_BITS",
    "SECTOR_SIZES",
    "TABLE_ENTRIES",
    "UNDEFINED",
    "UNMAPPED",
    "VHDX_LOCATOR",
    "VIRTUAL_DISK_ID",
    "VIRTUAL_DISK_SIZE",
    "ZERO",
]

#: Regions, log and blocks begin at multiples of this.
ALIGNMENT: Final = 1 << 20
NO_GUID: Final = UUID(int=0)

# --- the file identifier, at 0: signature, creator in UTF-16
IDENTIFIER: Final = b"vhdxfile"
CREATOR: Final = "wclayer"
CREATOR_SIZE: Final = 512

# --- the two headers
FIRST_HEADER: Final = 64 << 10
HEADERS: Final = (FIRST_HEADER, 128 << 10)
HEADER_SIZE: Final = 4096
#: signature, checksum, sequence number, file write GUID, data write GUID, log GUID, log version, version, log length,
#: log offset; zeros up to 4096
HEADER: Final = struct.Struct("<4sIQ16s16s16sHHIQ")

# --- the two region tables
FIRST_REGIONS: Final = 192 << 10
REGION_TABLES: Final = (FIRST_REGIONS, 256 << 10)
REGION_TABLE_SIZE: Final = 64 << 10
#: signature, checksum, number of entries
REGION_HEADER: Final = struct.Struct("<4sII4x")
#: identifier, offset in the file, length, whether it is required
REGION_ENTRY: Final = struct.Struct("<16sQII")
BAT_REGION: Final = UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
METADATA_REGION: Final = UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
#: The most entries that a region table or the table of metadata has room for.
TABLE_ENTRIES: Final = 2047

# --- metadata
METADATA_TABLE_SIZE: Final = 64 << 10
#: signature, number of entries
METADATA_HEADER: Final = struct.Struct("<8s2xH20x")
#: identifier, offset in the region, length, flags
METADATA_ENTRY: Final = struct.Struct("<16sIII4x")
FLAG_USER: Final = 1
FLAG_VIRTUAL_DISK: Final = 2
FLAG_REQUIRED: Final = 4
FILE_PARAMETERS: Final = UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
VIRTUAL_DISK_SIZE: Final = UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
VIRTUAL_DISK_ID: Final = UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
LOGICAL_SECTOR_SIZE: Final = UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
PHYSICAL_SECTOR_SIZE: Final = UUID("cda348c7-445d-4471-9cc9-e9885251c556")
PARENT_LOCATOR: Final = UUID("a8d35f2d-b30b-454d-abf7-d3d84834ab0c")
#: Bits of the file parameters.
LEAVE_ALLOCATED: Final = 1
HAS_PARENT: Final = 2

BLOCK_SIZES: Final = tuple(1 << shift for shift in range(20, 29))
SECTOR_SIZES: Final = (512, 4096)
MAXIMAL_SIZE: Final = 64 << 40

# --- the parent locator: type, number of entries; offsets and lengths of a key and of its value
LOCATOR_HEADER: Final = struct.Struct("<16s2xH")
LOCATOR_ENTRY: Final = struct.Struct("<IIHH")
VHDX_LOCATOR: Final = UUID("b04aefb7-d19e-4a81-b789-25b8e9445913")

# --- the BAT: a state in the low three bits, an offset that is a multiple of 1 MiB
BAT_ENTRY: Final = struct.Struct("<Q")
NOT_PRESENT: Final = 0
UNDEFINED: Final = 1
ZERO: Final = 2
UNMAPPED: Final = 3
FULL: Final = 6
PARTIAL: Final = 7
BITMAP_PRESENT: Final = 6
#: The number of sectors that one block of sector bitmap (1 MiB) speaks of.
SECTOR_BITMAP_BITS: Final = 1 << 23

# --- the log: entries of whole sectors, each a header, descriptors, and a sector for each descriptor of data
LOG_SECTOR: Final = 4096
#: signature, checksum, length, tail, sequence number, number of descriptors, log GUID, flushed and last file offset
LOG_ENTRY: Final = struct.Struct("<4sIIIQI4x16sQQ")
#: signature; of data the last 4 and the first 8 bytes of the sector, of zeros 4 spare bytes and a length; file offset,
#: sequence number
LOG_DESCRIPTOR: Final = struct.Struct("<4s4s8sQQ")
#: signature, upper half of the sequence number, all but the first 8 and last 4 bytes of the sector, lower half
LOG_DATA: Final = struct.Struct("<4sI4084sI")
