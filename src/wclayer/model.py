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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Generic, Protocol, Self, TypeAlias, TypeVar

from wclayer.errors import FormatError
from wclayer.ntfs.ea import ExtendedAttribute

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
    "Stream",
    "Tombstone",
    "Transaction",
    "copy_layer",
]

Buffer: TypeAlias = bytes | bytearray | memoryview
Ranges: TypeAlias = tuple[tuple[int, int], ...]

_ZEROS = memoryview(bytes(1 << 16))


@dataclass(slots=True)
class Metadata:
    """What NTFS keeps about a file besides its data.

    ``attributes`` is the 32-bit FILE_ATTRIBUTE_* word (MS-FSCC 2.6). The four times are FILETIMEs: 100 ns ticks since
    1601-01-01 UTC; None means that the source did not say, which is not the same as any time. ``security_descriptor``
    is the self-relative form (MS-DTYP 2.4.6), None when there is none; an empty one is different from none.
    ``reparse`` is the whole REPARSE_DATA_BUFFER (MS-FSCC 2.1.2), head included.
    """

    attributes: int = 0
    creation_time: int | None = None
    last_access_time: int | None = None
    last_write_time: int | None = None
    change_time: int | None = None
    security_descriptor: bytes | None = None
    extended_attributes: tuple[ExtendedAttribute, ...] = ()
    reparse: bytes | None = None


class SharedSource(Protocol):
    """Data that lies in memory which another process sees, too: where it lies there, instead of the data.

    Like ``source`` of a :class:`Stream` it passes over the data, so it is asked once: :meth:`span`, and if that finds
    nothing :meth:`places`.
    """

    def span(self, stored: int) -> int:
        """Where the ``stored`` bytes lie in one piece; -1 when they do not, and then nothing is passed over."""

    def places(self, stored: int) -> Iterator[tuple[int, int]]:
        """Offset and length of each piece, which may change as soon as the next one is asked for, or told so."""


class Stream:
    """The data of one NTFS stream, read front to back.

    ``size`` is the logical size in bytes. ``ranges`` is None for a dense stream; for a sparse one it lists the
    allocated ``(offset, length)`` ranges, ordered and disjoint, and only those bytes are stored. ``source`` is called
    with the number of stored bytes and yields exactly that many, in pieces. ``host_path`` names an ordinary file that
    holds exactly this data, where there is one, so that a writer may link or clone it. ``shared`` is an alternative to
    ``source``: it tells where in shared memory the data lies.
    """

    __slots__ = ("host_path", "ranges", "shared", "size", "source")

    def __init__(
        self,
        size: int,
        source: Callable[[int], Iterator[Buffer]],
        ranges: Ranges | None = None,
        host_path: bytes | None = None,
        shared: SharedSource | None = None,
    ) -> None:
        self.size = size
        self.source = source
        self.ranges = ranges
        self.host_path = host_path
        self.shared = shared

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """A dense stream over ``data``."""
        return cls(len(data), lambda _stored: iter((data,)) if data else iter(()))

    @property
    def stored(self) -> int:
        """How many bytes the source yields: the logical size, or what the ranges of a sparse stream hold."""
        return self.size if self.ranges is None else sum(length for _, length in self.ranges)

    def stored_pieces(self) -> Iterator[Buffer]:
        """The stored bytes in pieces; for a sparse stream without the holes."""
        return self.source(self.stored)

    def pieces(self) -> Iterator[Buffer]:
        """The logical content in pieces, holes filled with zeros."""
        if self.ranges is None:
            yield from self.source(self.size)
            return
        position = 0
        for offset, piece in self.extents():
            yield from _zeros(offset - position)
            yield piece
            position = offset + len(piece)
        yield from _zeros(self.size - position)

    def extents(self) -> Iterator[tuple[int, Buffer]]:
        """The stored bytes as ``(offset, piece)``; a piece never crosses the end of a range."""
        if self.ranges is None:
            position = 0
            for piece in self.source(self.size):
                yield position, piece
                position += len(piece)
            return
        pieces = self.source(self.stored)
        rest: memoryview = memoryview(b"")
        for offset, length in self.ranges:
            end = offset + length
            while offset < end:
                while not rest:
                    rest = memoryview(next(pieces))
                piece = rest[: end - offset]
                yield offset, piece
                rest = rest[len(piece) :]
                offset += len(piece)

    def read(self, limit: int) -> bytes:
        """The whole logical content, for small streams. Raises FormatError when it is larger than ``limit`` bytes."""
        if self.size > limit:
            raise FormatError(f"a stream of {self.size} bytes where at most {limit} were expected", kind="too-large")
        return b"".join(bytes(piece) for piece in self.pieces())


def _zeros(count: int) -> Iterator[memoryview]:
    while count > 0:
        piece = _ZEROS[:count]
        yield piece
        count -= len(piece)


class Entry:
    """A file or a folder.

    ``data`` is its main stream. Four cases differ: None (no stream at all), a stream of size 0, a sparse one, a dense
    one. ``file_id`` identifies a file that has several names, for sources that know identities instead of links.
    ``ordinal`` counts the items of a source that has an order of its own, from 0. ``reported_size`` is what a source
    says of the size of something that has no main stream, where that is not 0.
    """

    __slots__ = ("data", "file_id", "is_directory", "metadata", "ordinal", "path", "reported_size")

    def __init__(
        self,
        path: str,
        metadata: Metadata,
        *,
        is_directory: bool = False,
        data: Stream | None = None,
        file_id: bytes | None = None,
        ordinal: int = -1,
        reported_size: int = 0,
    ) -> None:
        self.path = path
        self.metadata = metadata
        self.reported_size = reported_size
        self.is_directory = is_directory
        self.data = data
        self.file_id = file_id
        self.ordinal = ordinal

    def __repr__(self) -> str:
        return f"Entry({self.path!r}, is_directory={self.is_directory}, data={self.data and self.data.size})"


@dataclass(slots=True)
class AlternateStream:
    """A named stream of the file or folder ``path``, normally right after its entry.

    ``name`` is the full NTFS name with type, as a backup stream spells it: ``:Zone.Identifier:$DATA``.
    """

    path: str
    name: str
    data: Stream
    ordinal: int = -1


@dataclass(slots=True)
class HardLink:
    """Another name of the file ``target``, which lies in this layer or in a parent.

    ``metadata`` holds what the source says of this name: times and attributes, nothing else.
    """

    path: str
    target: str
    metadata: Metadata = field(default_factory=Metadata)
    ordinal: int = -1


@dataclass(slots=True)
class Tombstone:
    """The deletion of ``path``, which exists in a parent layer."""

    path: str
    ordinal: int = -1


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
