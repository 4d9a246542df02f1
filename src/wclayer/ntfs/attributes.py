"""File attributes: the 32-bit word that NTFS keeps for every file, and how it is shown. Source: MS-FSCC 2.6."""

from __future__ import annotations

from functools import lru_cache

FILE_ATTRIBUTE_READONLY = 0x00000001
FILE_ATTRIBUTE_HIDDEN = 0x00000002
FILE_ATTRIBUTE_SYSTEM = 0x00000004
FILE_ATTRIBUTE_DIRECTORY = 0x00000010
FILE_ATTRIBUTE_ARCHIVE = 0x00000020
FILE_ATTRIBUTE_DEVICE = 0x00000040
FILE_ATTRIBUTE_NORMAL = 0x00000080
FILE_ATTRIBUTE_TEMPORARY = 0x00000100
FILE_ATTRIBUTE_SPARSE_FILE = 0x00000200
FILE_ATTRIBUTE_REPARSE_POINT = 0x00000400
FILE_ATTRIBUTE_COMPRESSED = 0x00000800
FILE_ATTRIBUTE_OFFLINE = 0x00001000
FILE_ATTRIBUTE_NOT_CONTENT_INDEXED = 0x00002000
FILE_ATTRIBUTE_ENCRYPTED = 0x00004000
FILE_ATTRIBUTE_INTEGRITY_STREAM = 0x00008000
FILE_ATTRIBUTE_VIRTUAL = 0x00010000
FILE_ATTRIBUTE_NO_SCRUB_DATA = 0x00020000
FILE_ATTRIBUTE_EA = 0x00040000
FILE_ATTRIBUTE_RECALL_ON_OPEN = 0x00040000
FILE_ATTRIBUTE_PINNED = 0x00080000
FILE_ATTRIBUTE_UNPINNED = 0x00100000
FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS = 0x00400000
FILE_ATTRIBUTE_STRICTLY_SEQUENTIAL = 0x20000000

__all__ = [
    "FILE_ATTRIBUTE_ARCHIVE",
    "FILE_ATTRIBUTE_COMPRESSED",
    "FILE_ATTRIBUTE_DEVICE",
    "FILE_ATTRIBUTE_DIRECTORY",
    "FILE_ATTRIBUTE_EA",
    "FILE_ATTRIBUTE_ENCRYPTED",
    "FILE_ATTRIBUTE_HIDDEN",
    "FILE_ATTRIBUTE_INTEGRITY_STREAM",
    "FILE_ATTRIBUTE_NORMAL",
    "FILE_ATTRIBUTE_NOT_CONTENT_INDEXED",
    "FILE_ATTRIBUTE_NO_SCRUB_DATA",
    "FILE_ATTRIBUTE_OFFLINE",
    "FILE_ATTRIBUTE_PINNED",
    "FILE_ATTRIBUTE_READONLY",
    "FILE_ATTRIBUTE_RECALL_ON_DATA_ACCESS",
    "FILE_ATTRIBUTE_RECALL_ON_OPEN",
    "FILE_ATTRIBUTE_REPARSE_POINT",
    "FILE_ATTRIBUTE_SPARSE_FILE",
    "FILE_ATTRIBUTE_STRICTLY_SEQUENTIAL",
    "FILE_ATTRIBUTE_SYSTEM",
    "FILE_ATTRIBUTE_TEMPORARY",
    "FILE_ATTRIBUTE_UNPINNED",
    "FILE_ATTRIBUTE_VIRTUAL",
    "letters",
    "names",
]

# The bit 0x00040000 has two names; on a file that is stored, rather than found in a listing, it means recall-on-open.
_NAMES = {
    value: name.removeprefix("FILE_ATTRIBUTE_")
    for name, value in dict(globals()).items()
    if name.startswith("FILE_ATTRIBUTE_")
}

_COLUMNS = (
    (FILE_ATTRIBUTE_DIRECTORY, "D"),
    (FILE_ATTRIBUTE_REPARSE_POINT, "L"),
    (FILE_ATTRIBUTE_ARCHIVE, "A"),
    (FILE_ATTRIBUTE_SYSTEM, "S"),
    (FILE_ATTRIBUTE_HIDDEN, "H"),
    (FILE_ATTRIBUTE_READONLY, "R"),
)
_RARE = (
    (FILE_ATTRIBUTE_OFFLINE, "O"),
    (FILE_ATTRIBUTE_NOT_CONTENT_INDEXED, "I"),
    (FILE_ATTRIBUTE_NO_SCRUB_DATA, "X"),
    (FILE_ATTRIBUTE_INTEGRITY_STREAM, "V"),
    (FILE_ATTRIBUTE_PINNED, "P"),
    (FILE_ATTRIBUTE_UNPINNED, "U"),
    (FILE_ATTRIBUTE_STRICTLY_SEQUENTIAL, "B"),
    (FILE_ATTRIBUTE_COMPRESSED, "C"),
    (FILE_ATTRIBUTE_ENCRYPTED, "E"),
    (FILE_ATTRIBUTE_TEMPORARY, "T"),
    (FILE_ATTRIBUTE_SPARSE_FILE, "p"),
)


def names(attributes: int) -> list[str]:
    """The names of the bits in ``attributes`` without ``FILE_ATTRIBUTE_``, lowest first; ``0x…`` for one not known."""
    return [
        _NAMES.get(1 << bit, f"0x{1 << bit:08X}") for bit in range(attributes.bit_length()) if attributes >> bit & 1
    ]


@lru_cache(maxsize=256)  # a layer has a handful of combinations
def letters(attributes: int) -> str:
    """``attributes`` for a listing: six columns ``DLASHR``, ``-`` for a bit that is not set, then the rare ones.

    The letters are those of the ``attrib`` command and the Explorer: Directory, Link (any reparse point), Archive,
    System, Hidden, Read-only; then Offline, not content Indexed, no scrub (X), integrity (V), Pinned, Unpinned,
    SMR blob (B), Compressed, Encrypted, Temporary, and a small p for sparse, which shares its letter with Pinned.
    """
    columns = "".join(letter if attributes & bit else "-" for bit, letter in _COLUMNS)
    return columns + "".join(letter for bit, letter in _RARE if attributes & bit)
