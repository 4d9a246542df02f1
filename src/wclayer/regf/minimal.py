"""The smallest registry hive that every reader accepts: one base block and one bin, 8192 bytes.

A base layer needs five hives in ``Files/Windows/System32/config``, an upper layer may carry delta hives, and all of
them must be real: an empty file in their place makes Windows report a corrupt registry when the next layer is
imported. So this lays a small tree out in a single 4096-byte bin, with fixed times, the same bytes always. A tree that
needs a second bin is refused; :func:`wclayer.regf.writer.write_hive` takes any.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wclayer.errors import UnsupportedError
from wclayer.regf.structures import BIN, PAGE
from wclayer.regf.tree import HiveKey, HiveValue
from wclayer.regf.writer import write_hive

__all__ = ["HIVE_SIZE", "minimal_hive"]

#: The size of every hive made here, in bytes.
HIVE_SIZE: Final = 2 * PAGE

_ROOT_NAME: Final = "ROOT"


def minimal_hive(
    name: str,
    *,
    delta: bool = False,
    timestamp: int = 0,
    subkeys: Iterable[HiveKey] = (),
    values: Iterable[HiveValue] = (),
) -> bytes:
    """A clean hive of exactly :data:`HIVE_SIZE` bytes.

    ``name`` is the file name kept in the base block (only its last 31 UTF-16 units are). ``delta`` makes a hive of
    layered keys: version 1.6 with the layered flag, instead of 1.5. ``timestamp`` (FILETIME ticks) is the time of the
    hive and of every key. ``subkeys`` and ``values`` belong to the root key, which is called ``ROOT``. One security
    descriptor serves all keys: full access for Administrators and SYSTEM, read for Users.

    Raises UnsupportedError when the tree does not fit one bin, and UsageError for a name or a layer byte that no hive
    may hold.
    """
    root = HiveKey(_ROOT_NAME, tuple(values), tuple(subkeys))
    hive = write_hive(root, name=name, delta=delta, timestamp=timestamp)
    if len(hive) != HIVE_SIZE:
        raise UnsupportedError(
            f"the registry keys need more than the {PAGE - BIN.size} bytes of the one bin of a minimal hive",
            hint="give it fewer or smaller keys and values",
        )
    return hive
