"""A name sorts by the key that the image's own upper-case table makes of it, so a reader and a writer share one class.

The key of a name is its UTF-16 units, each mapped through the table, as big-endian bytes: those compare as the units
do, and a proper prefix comes first. Two names are the same to Windows exactly when their keys are equal. Names are
almost always ASCII, which every sensible table maps alike, so the table is asked about the others only.

Source: hcsshim ``format.go`` (the table lies in each image, 65536 units); the default is the one of NTFS,
:mod:`wclayer.ntfs.upcase`.
"""

from __future__ import annotations

import hashlib
import struct
from functools import cache
from typing import Final

from wclayer.errors import FormatError
from wclayer.formats.cim.structures import UPCASE_SIZE
from wclayer.ntfs.upcase import UPCASE_RUNS

__all__ = ["UpcaseTable", "standard_upcase"]

_UNITS: Final = 65536


class UpcaseTable:
    """An upper-case table. Raises FormatError when ``data`` has not 131072 bytes."""

    __slots__ = ("_ascii", "_map", "data")

    def __init__(self, data: bytes) -> None:
        if len(data) != UPCASE_SIZE:
            raise FormatError(f"an upper-case table of {len(data)} bytes instead of {UPCASE_SIZE}", kind="cim-upcase")
        #: The table as it lies in an image: 65536 little-endian units.
        self.data = data
        self._map: tuple[int, ...] = struct.unpack(f"<{_UNITS}H", data)
        self._ascii = self._map[:128] == tuple(chr(unit).upper().encode("ascii")[0] for unit in range(128))

    def key(self, name: str) -> bytes:
        """What ``name`` sorts by and is compared by. A lone surrogate stands for itself."""
        if self._ascii and name.isascii():
            return name.upper().encode("utf-16-be")
        return self.units_key(name.encode("utf-16-le", "surrogatepass"))

    def units_key(self, units: bytes) -> bytes:
        """The same for a name as it lies in an image, UTF-16LE."""
        count = len(units) >> 1
        table = self._map
        return struct.pack(f">{count}H", *[table[unit] for unit in struct.unpack(f"<{count}H", units)])

    def code_point_key(self, name: str) -> str:
        """What ``name`` sorts by for a reader that compares code points: those beyond U+FFFF behind all others."""
        table = self._map
        joined = name.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
        return "".join([chr(table[ord(c)]) if c < "\U00010000" else c for c in joined])

    def sha256(self) -> str:
        """The SHA-256 of :attr:`data` in hexadecimal, which names a table."""
        return hashlib.sha256(self.data).hexdigest()

    def changed(self) -> int:
        """How many units do not map to themselves; 0 makes names differ by case."""
        return sum(unit != upper for unit, upper in enumerate(self._map))

    def unstable(self) -> int:
        """How many units map to one that maps on to another, so that a key is not its own key. 0 in a sound table."""
        table = self._map
        return sum(table[upper] != upper for upper in table)


@cache
def standard_upcase() -> UpcaseTable:
    """The table that is written into new images."""
    table = list(range(_UNITS))
    for first, last, step, delta in UPCASE_RUNS:
        for unit in range(first, last + 1, step):
            table[unit] = unit + delta & 0xFFFF
    return UpcaseTable(struct.pack(f"<{_UNITS}H", *table))
