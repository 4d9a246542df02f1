"""How far a long job is, for whoever wants to know. Whoever works calls; whoever watches draws."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

__all__ = ["NO_PROGRESS", "Progress", "watched"]


class Progress(Protocol):
    """Watches a job that comes in parts, such as the layers of an image. Called from several threads."""

    def begin(self, part: str, total: int | None) -> None:
        """A part begins, of ``total`` bytes where that is known."""

    def advance(self, part: str, count: int) -> None:
        """``count`` more bytes of it are done."""

    def end(self, part: str) -> None:
        """It is over, one way or the other."""


class _NoProgress:
    def begin(self, part: str, total: int | None) -> None:
        """Nobody watches."""

    def advance(self, part: str, count: int) -> None:
        """Nobody watches."""

    def end(self, part: str) -> None:
        """Nobody watches."""


NO_PROGRESS: Progress = _NoProgress()


def watched(slabs: Iterable[memoryview], progress: Progress, part: str) -> Iterator[memoryview]:
    """``slabs``, with their bytes counted."""
    for slab in slabs:
        progress.advance(part, len(slab))
        yield slab
