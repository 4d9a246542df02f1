"""How far a long job is, for whoever wants to know. Whoever works calls; whoever watches draws."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from wclayer.oci import LayerStream

__all__ = ["NO_PROGRESS", "Progress", "watched"]


class Progress(Protocol):
    """Watches a job that comes in parts, such as the layers of an image. Called from several threads."""

    def expect(self, parts: int, total: int | None) -> None:
        """So many more parts will come, of ``total`` bytes together where that is known."""

    def begin(self, part: str) -> None:
        """A part begins."""

    def advance(self, part: str, count: int) -> None:
        """``count`` more bytes of it are done."""

    def end(self, part: str) -> None:
        """It is over, one way or the other."""


class _NoProgress:
    def expect(self, parts: int, total: int | None) -> None:
        """Nobody watches."""

    def begin(self, part: str) -> None:
        """Nobody watches."""

    def advance(self, part: str, count: int) -> None:
        """Nobody watches."""

    def end(self, part: str) -> None:
        """Nobody watches."""


NO_PROGRESS: Progress = _NoProgress()


def watched(stream: LayerStream, progress: Progress, part: str) -> Iterator[memoryview]:
    """The slabs of ``stream``; its bytes are counted as they are stored, compressed or not."""
    before = 0
    for slab in stream:
        now = stream.consumed
        progress.advance(part, now - before)
        before = now
        yield slab
