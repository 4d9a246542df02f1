"""Which parts of something are there: disjoint ranges of bytes, in order, that grow together as they are filled.

A range is a start and an end, the end not belonging to it, both in bytes from the start of the blob.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator

__all__ = ["Extents"]


class Extents:
    """A set of bytes, as the ranges it consists of; iterating yields them in order."""

    __slots__ = ("_ends", "_starts", "total")

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self.total = 0
        """How many bytes there are."""
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in ranges:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Add the bytes from ``start`` to ``end``; those that are there already stay. ValueError for no range."""
        if not 0 <= start <= end:
            raise ValueError(f"not a range of bytes: {start} to {end}")
        if start == end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:  # touches the ranges first … last - 1, which become one
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
            self.total -= sum(self._ends[first:last]) - sum(self._starts[first:last])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]
        self.total += end - start

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    @property
    def front(self) -> int:
        """How many bytes there are from the very start up to the first hole."""
        return self._ends[0] if self._starts and self._starts[0] == 0 else 0

    def missing(self, size: int) -> Iterator[tuple[int, int]]:
        """The ranges of the first ``size`` bytes that are not there."""
        position = 0
        for start, end in self:
            if start >= size:
                break
            if start > position:
                yield position, start
            position = end
        if position < size:
            yield position, size
