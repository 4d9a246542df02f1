"""A layer is an ordered flow of items; every layer format is a reader or a writer of that flow.

::

    for item in reader:          # Entry, AlternateStream, HardLink, Tombstone, in the order of the format
        writer.write(item)       # so any format pours into any other: see copy_layer

Data is never held whole. A :class:`Stream` is read in pieces, front to back, and a piece is only valid until the next
one is asked for. A reader of a one-way source (a tar from a pipe) moves on when the next item is asked for; what was
not read of the previous one is skipped.

Paths are relative, ``/``-separated, without a leading or trailing separator, spelt as the source spelt them. A Windows
name is a sequence of UTF-16 units, so a path may hold lone surrogates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

from wclayer.errors import FormatError
from wclayer.items import (
    AlternateStream,
    Buffer,
    Entry,
    HardLink,
    Metadata,
    SharedSource,
    Stream,
    Tombstone,
)

__all__ = [
    "AlternateStream",
    "Buffer",
    "Entry",
    "HardLink",
    "LayerChain",
    "LayerItem",
    "LayerReader",
    "LayerWriter",
    "Metadata",
    "Notice",
    "Notices",
    "SharedSource",
    "Stream",
    "Tombstone",
    "Transaction",
    "copy_layer",
]

LayerItem: TypeAlias = Entry | AlternateStream | HardLink | Tombstone


class LayerReader(Protocol):
    """A source of layer items. Iterating it once yields the layer in its own order."""

    def __iter__(self) -> Iterator[LayerItem]: ...


class LayerWriter(Protocol):
    """A transaction that takes layer items: all of them arrive with :meth:`commit`, or none."""

    def write(self, item: LayerItem) -> None:
        """Take one item; a stream is read before this returns."""

    def commit(self) -> None:
        """Make the layer exist, whole."""

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Commit, or abort when an error is on its way."""


class Transaction(ABC):
    """The ``with`` statement of a writer that leaves all of a layer or nothing, for writers to inherit.

    A writer is ``open``, ``broken`` by an error in an item, ``committed`` or ``aborted``. Leaving the block commits
    what is not over, which for a broken writer is an error; an error on its way aborts.
    """

    _state = "open"

    @abstractmethod
    def commit(self) -> object:
        """Make the layer exist, whole; a writer may tell what it made."""

    @abstractmethod
    def abort(self) -> None:
        """Leave nothing behind."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.abort()
        elif self._state in ("open", "broken"):
            self.commit()


def copy_layer(reader: Iterable[LayerItem], writer: LayerWriter) -> None:
    """Pour ``reader`` into ``writer``. Neither commits nor aborts: that is the caller's ``with`` statement."""
    write = writer.write
    for item in reader:
        write(item)


T = TypeVar("T")


class LayerChain(Generic[T]):
    """Layers that stand on each other, nearest first and base last: the order of ``layerchain.json`` and of hcsshim.

    Manifests and ``diff_ids`` list the base first; :meth:`from_base_first` and :meth:`base_first` are the only places
    where one order becomes the other.
    """

    __slots__ = ("layers",)

    def __init__(self, layers: Iterable[T] = ()) -> None:
        self.layers: tuple[T, ...] = tuple(layers)

    @classmethod
    def from_base_first(cls, layers: Sequence[T]) -> LayerChain[T]:
        """The chain of layers that a manifest lists."""
        return cls(reversed(layers))

    def base_first(self) -> tuple[T, ...]:
        """The layers in the order of a manifest."""
        return self.layers[::-1]

    def __iter__(self) -> Iterator[T]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)


@dataclass(frozen=True, slots=True)
class Notice:
    """Something odd that was kept, or something that could not be kept; never silent."""

    code: str
    path: str
    detail: str


class Notices:
    """Collects notices: every one is counted, the first ``keep`` of each code are listed.

    With ``strict`` a notice is an error instead (FormatError of the notice's code).
    """

    def __init__(self, *, strict: bool = False, keep: int = 1000) -> None:
        self.strict = strict
        self.keep = keep
        self.counts: dict[str, int] = {}
        self.listed: list[Notice] = []

    def add(self, code: str, path: str, detail: str) -> None:
        """Count one notice; raises FormatError when strict."""
        if self.strict:
            raise FormatError(detail, kind=code, path=path, hint="refused because of --strict")
        count = self.counts[code] = self.counts.get(code, 0) + 1
        if count <= self.keep:
            self.listed.append(Notice(code, path, detail))
