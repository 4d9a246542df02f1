r"""The names of a transport folder, and what class a path is of: the fixed vocabulary of hcsshim's ``legacy.go``.

Which files are blobs, which are plain, and where anything goes is decided by the class of a path alone. Classes are
told by prefix, letter by letter as written, and strictly below: ``Files`` itself is not below ``Files``.
"""

from __future__ import annotations

from wclayer.formats.volume.paths import is_below
from wclayer.ntfs.names import fold

__all__ = [
    "ATTRIBUTES_SIZE",
    "BCD",
    "FILES",
    "HIVES",
    "MUTATED",
    "MUTATED_BACKUPS",
    "RECYCLE_BIN",
    "SIDECAR",
    "SYSTEM_DELTA",
    "TOMBSTONES",
    "UTILITY_VM",
    "UTILITY_VM_FILES",
    "holds_links",
    "is_blob",
    "is_mutated",
    "is_sidecar",
]

FILES = "Files"
HIVES = "Hives"
UTILITY_VM = "UtilityVM"
UTILITY_VM_FILES = "UtilityVM\\Files"
SIDECAR = ".$wcidirs$"
TOMBSTONES = "tombstones.txt"
SYSTEM_DELTA = "Hives\\System_Delta"
RECYCLE_BIN = "Files\\$Recycle.Bin"
BCD = "UtilityVM\\Files\\EFI\\Microsoft\\Boot\\BCD"

ATTRIBUTES_SIZE = 4
"""A blob begins with the attribute word, four bytes, little endian; the backup stream follows."""

MUTATED = {"bcd": "bcd.bak", "bcd.log": "bcd.log.bak", "bcd.log1": "bcd.log1.bak", "bcd.log2": "bcd.log2.bak"}
"""The boot files that Windows changes in place when it processes a utility VM, and where a pristine copy is kept."""

MUTATED_BACKUPS = frozenset(MUTATED.values())

_BOOT_FOLDER = fold("EFI\\Microsoft\\Boot\\")
_MUTATED_FOLDS = frozenset(_BOOT_FOLDER + fold(name) for name in MUTATED)


def is_blob(path: str) -> bool:
    """Whether the file ``path`` of a transport folder is a blob: attributes and a backup stream."""
    return is_below(path, FILES)


def is_sidecar(path: str) -> bool:
    """Whether ``path`` is the file that describes a folder; its suffix counts as written."""
    return path.endswith(SIDECAR)


def is_mutated(path: str) -> bool:
    r"""Whether ``path``, relative to the layer, is one of the boot files that Windows changes in place.

    hcsshim looks up the path from the layer's root in a table of paths from ``UtilityVM\Files`` and so never finds one,
    which leaves the boot configuration of the parent shared with the new layer. Here the two are brought together.
    """
    return is_below(path, UTILITY_VM_FILES) and fold(path[len(UTILITY_VM_FILES) + 1 :]) in _MUTATED_FOLDS


def holds_links(path: str) -> bool:
    """Whether hard links may be made from and to ``path``."""
    return is_below(path, FILES) or is_below(path, UTILITY_VM_FILES)
