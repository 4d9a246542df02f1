"""Which layer comes next, for several lanes that write layers of one image at once.

The largest are poured first, so that no lane is left alone with a large one at the end; those of about the same size
base first, so that they wait for each other the least. They are committed base first, for a hard link may lead into a
parent: what is poured is held until everything below it is committed. Nobody waits for ever, because a lane that holds
all it may can still pour the lowest layer that is missing.

After a failure the layers above it stop, and those below it go on to their ends: they are complete then, and another
run takes them as they are. So the error is that of the lowest bad layer, however many lanes there are.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from threading import Condition
from typing import Literal, NamedTuple

__all__ = ["Schedule", "Step", "Stopped"]


class Stopped(Exception):
    """Raised in the middle of a layer that cannot be committed any more. No error: nobody wants it."""


class Step(NamedTuple):
    """What a lane is to do with ``layer``, which counts from 0, the base."""

    action: Literal["pour", "commit"]
    layer: int


class Schedule:
    """The layers of one image, shared by all lanes. ``sizes``, base first, is how many bytes each has left to pour.

    Those that have none are there already, and come first. With ``largest_first`` false all come base first.
    """

    def __init__(self, sizes: Sequence[int], *, largest_first: bool) -> None:
        self._open = list(range(len(sizes)))
        if largest_first:
            self._open.sort(key=lambda index: (sizes[index] > 0, -_size_class(sizes[index])))
        self._settled = [False] * len(sizes)
        self._due = 0  # the lowest layer that is not settled
        self._end = len(sizes)  # the lowest layer that failed: neither it nor any above it can be committed
        self._errors: dict[int, BaseException] = {}
        self._changed = Condition()

    @property
    def order(self) -> tuple[int, ...]:
        """The layers that nobody pours yet, in the order in which they will be."""
        return tuple(self._open)

    @property
    def error(self) -> BaseException | None:
        """The error of the lowest layer that failed."""
        return self._errors[min(self._errors)] if self._errors else None

    def next_step(self, held: Collection[int], capacity: int) -> Step | None:
        """What the lane that holds the poured layers ``held``, and may hold ``capacity``, does next; waits for it.

        None when nothing is left that it could ever do.
        """
        with self._changed:
            while True:
                due = self._due
                if due >= self._end:
                    return None
                if due in held:
                    return Step("commit", due)
                wanted = [index for index in self._open if index < self._end]
                held_below = sum(index < self._end for index in held)
                if held_below >= capacity:
                    wanted = [index for index in wanted if index == due]
                elif not wanted and not held_below:
                    return None
                if wanted:
                    self._open.remove(wanted[0])
                    return Step("pour", wanted[0])
                self._changed.wait()

    def settle(self, index: int) -> None:
        """The layer is committed, or was there already."""
        with self._changed:
            self._settled[index] = True
            while self._due < len(self._settled) and self._settled[self._due]:
                self._due += 1
            self._changed.notify_all()

    def fail(self, index: int, error: BaseException) -> None:
        """The layer cannot be had; -1: none can, for the whole is interrupted."""
        with self._changed:
            self._errors.setdefault(index, error)
            self._end = min(self._end, index)
            self._changed.notify_all()

    def check(self, index: int) -> None:
        """Raises Stopped when the layer cannot be committed any more."""
        if index > self._end:
            raise Stopped


def _size_class(size: int) -> int:
    """Sizes of one class differ by less than a quarter."""
    return int(math.log(max(size, 1), 1.25))
