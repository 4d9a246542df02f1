"""Everything about CIM images that Microsoft has not published stands here, once, with how sure we are of it.

The structures come from the ``format.go`` that the author of CimFS published with hcsshim, the rest from hcsshim's
callers of the CimFS API and from the API's documentation. Three words say what a choice rests on:

* *confirmed*: a public source states or does it;
* *inferred*: it follows from public sources, none of which says so;
* *unknown*: no public source says; the value is the one that can do the least harm.

Whoever learns more from an image that Windows made changes a line here and nothing else.

Sources: hcsshim ``pkg/cimfs``, ``pkg/cimfs/format``, ``internal/wclayer/cim``; Windows CimFS API reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = [
    "COMPACT_LIMIT",
    "DATA_ALIGNMENT",
    "DATA_REGION",
    "DEFAULT_SECURITY_DESCRIPTOR",
    "END_PADDING",
    "FILESYSTEM_HEADER_LENGTH",
    "FIRST_FILE_ID",
    "KNOWN_FLAGS",
    "LTSC2022",
    "LTSC2025",
    "MAX_ENTRY_SIZE",
    "MAX_MAJOR",
    "MAX_REGIONS",
    "METADATA_ALIGNMENT",
    "METADATA_INDEX",
    "METADATA_REGION",
    "MINOR",
    "MIN_ENTRY_SIZE",
    "MIN_MAJOR",
    "OBJECT_ID_ENTRIES",
    "OBJECT_ID_HEADER_LENGTH",
    "OBJECT_ID_TABLE_OFFSET",
    "PE_VALID_IMAGE",
    "PROFILES",
    "RECORD_TAIL_FROM",
    "REGION_HEADER_LENGTH",
    "ROOT_ID",
    "ROOT_PARENT_ID",
    "SMALL_DATA_ALIGNMENT",
    "SMALL_DATA_REGION",
    "STANDARD_UPCASE_SHA256",
    "TABLE_RECORDS",
    "VERSION_1",
    "Profile",
    "profile_for_build",
]


@dataclass(frozen=True, slots=True)
class Profile:
    """What to write for one generation of Windows.

    ``major`` is the version in every header (the minor one is 0), ``entry_size`` the bytes of a file record: a driver
    that knows shorter records may stop the machine over longer ones, and one that knows longer ones may read what lies
    behind shorter ones. A file of fewer than ``small_limit`` bytes goes into the region of small data.
    """

    name: str
    major: int
    entry_size: int
    small_limit: int = 0


#: Windows Server 2022, build 20348. Version and record: confirmed by format.go 2.0. No small data: inferred from the
#: numbering of the kinds of regions being uncertain; data at whole pages is right under any numbering.
LTSC2022: Final = Profile("ltsc2022", major=2, entry_size=96)
#: Windows Server 2025, builds from 26100 on. The version is confirmed by hcsshim (3.0 is its current one), the record
#: of 104 bytes by a published comparison of two builds of the driver; that the two belong together is inferred.
LTSC2025: Final = Profile("ltsc2025", major=3, entry_size=104)
PROFILES: Final = {profile.name: profile for profile in (LTSC2022, LTSC2025)}

#: Inferred: a driver of 20348 takes version 2, and so does every later one that hcsshim accepts.
_FIRST_LTSC2025_BUILD: Final = 26100


def profile_for_build(build: int) -> Profile:
    """The profile for Windows build ``build`` (20348, 26100): of the host that is to mount the image."""
    return LTSC2025 if build >= _FIRST_LTSC2025_BUILD else LTSC2022


# --- versions ---------------------------------------------------------------------------------------------------------

#: Confirmed: hcsshim reads major versions 2 to 3 and does not look at the minor one.
MIN_MAJOR: Final = 2
MAX_MAJOR: Final = 3
#: Confirmed by format.go 1.0: records of 88 bytes, no sparse bit, the kind of a stream in 16 bits. Windows 10 wrote it
#: (inferred); hcsshim refuses it, and so do we unless told otherwise.
VERSION_1: Final = 1
#: Confirmed: every public source writes 0.
MINOR: Final = 0

# --- lengths in headers -----------------------------------------------------------------------------------------------

#: Inferred: each header tells its own length, which readers ignore. For an image with parents it is unknown whether the
#: list of parents counts; it is written as not counting.
FILESYSTEM_HEADER_LENGTH: Final = 72
REGION_HEADER_LENGTH: Final = 40
OBJECT_ID_HEADER_LENGTH: Final = 48
#: Inferred: the table of object ids follows its header.
OBJECT_ID_TABLE_OFFSET: Final = 48
#: Unknown: which hash of what an object id is. An empty table is right whatever it is: a later writer shares nothing.
OBJECT_ID_ENTRIES: Final = 0

# --- regions ----------------------------------------------------------------------------------------------------------

#: Inferred from the order in which format.go lists them; the constants themselves are all 0 there by a slip.
METADATA_REGION: Final = 0
DATA_REGION: Final = 1
SMALL_DATA_REGION: Final = 2
#: Inferred from the sizes of a real image: region 0 of a set is the metadata.
METADATA_INDEX: Final = 0
#: Confirmed for link tables and both kinds of data, inferred for all other metadata.
METADATA_ALIGNMENT: Final = 8
DATA_ALIGNMENT: Final = 4096
SMALL_DATA_ALIGNMENT: Final = 8
#: Inferred: region files end at a whole page, so that their last page can be read as one.
END_PADDING: Final = 4096
#: Unknown; a real image averages a few hundred bytes for each object of small data, so it is about that.
COMPACT_LIMIT: Final = 1024
#: Confirmed: own regions and those of parents, at least 1.
MAX_REGIONS: Final = 65536

# --- files ------------------------------------------------------------------------------------------------------------

#: Confirmed: file ids count from 1, and a file table holds this many records.
FIRST_FILE_ID: Final = 1
TABLE_RECORDS: Final = 1024
#: Inferred: the header names the root, whatever its id; ours is the first.
ROOT_ID: Final = 1
#: Unknown: nothing needs the parent of the root. 0 is no file, so whoever climbs stops there.
ROOT_PARENT_ID: Final = 0
#: Confirmed: a record of version 1. Shorter ones are not known.
MIN_ENTRY_SIZE: Final = 88
#: Ours: far above every known record (104), far below what could be hostile.
MAX_ENTRY_SIZE: Final = 1024
#: Unknown: what records hold from byte 96 on. It is kept and shown, and written as zeros.
RECORD_TAIL_FROM: Final = 96
#: Confirmed: read-only, hidden, system, archive, sparse. Other bits are unknown (they may be tombstones).
KNOWN_FLAGS: Final = 0x1F
#: Inferred: the bit of a PE image's flags that says that the mapping is one.
PE_VALID_IMAGE: Final = 1
#: Confirmed by hcsshim: never leave a descriptor out; this one allows all to everybody (no DACL).
DEFAULT_SECURITY_DESCRIPTOR: Final = bytes.fromhex("01000480") + bytes(16)
#: Unknown: which upper-case table Windows writes. Readers use the image's own, so any one is right for its own names;
#: this is the one of NTFS since Windows 7.
STANDARD_UPCASE_SHA256: Final = "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742"
