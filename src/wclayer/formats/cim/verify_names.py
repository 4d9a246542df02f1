"""The names in one table, checked: each for itself, their order, and that a search finds them all.

The public sources disagree on the order: the driver compares 16-bit units, hcsshim's former reader code points. They
differ when one folder holds both a character beyond U+FFFF and one from U+E000 to U+FFFF at the same place. A table
sorted one way only is a warning, one sorted neither way an error.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from typing import TYPE_CHECKING

from wclayer.formats.cim.links import name_defect
from wclayer.ntfs.names import name_notice

if TYPE_CHECKING:
    from wclayer.formats.cim.findings import Report
    from wclayer.formats.cim.upcase import UpcaseTable

__all__ = ["NameChecks"]


class NameChecks:
    """Checks names by the upper-case table of their image; without one only each for itself."""

    def __init__(self, upcase: UpcaseTable | None, report: Report) -> None:
        self._upcase = upcase
        self._report = report

    def check(self, names: list[str], path: str, what: str) -> None:
        """The names of one table: of the folder ``path``, or of its alternate streams. ``what`` says which."""
        add = self._report.add
        for name in names:
            if defect := name_defect(name):
                add("name", path, f"{what}: {defect}")
            elif notice := name_notice(name):
                add("name-win32", path, f"{what}: {notice}")
        if self._upcase is not None:
            self._check_order(names, [self._upcase.key(name) for name in names], self._upcase, path, what)

    def _check_order(self, names: list[str], keys: list[bytes], upcase: UpcaseTable, path: str, what: str) -> None:
        add = self._report.add
        ordered = sorted(keys)
        twice = [key for key, following in pairwise(ordered) if key == following]
        if twice:
            first = names[keys.index(twice[0])]
            add(
                "name-twice", path, f"{what}: {len(twice)} that another one equals but for case, the first is {first!a}"
            )
        by_units = keys == ordered
        by_points = by_units
        if not all(name.isascii() for name in names):
            points = [upcase.code_point_key(name) for name in names]
            by_points = points == sorted(points)
        if by_units and by_points:
            return
        if by_units:
            add("order-code-points", path, f"{what}: the names are sorted by UTF-16 units only")
        elif by_points:
            add("order-units", path, f"{what}: the names are sorted by code points only")
        else:
            add("name-order", path, f"{what}: the names are not sorted")
            for number, key in enumerate(keys):
                found = bisect_left(keys, key)
                if found == len(keys) or keys[found] != key:
                    add("name-lost", path, f"{what}: a search does not find {names[number]!a}")
