"""The items of a layer, of which :mod:`wclayer.model` says how they flow: entries, alternate streams, links, deletions.

Objects of these classes are made for every entry of a layer, so this module is one of those that can be compiled: no
class here may be inherited from, and attributes hold what their types say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, Self, TypeAlias

from wclayer.errors import FormatError
from wclayer.ntfs.ea import ExtendedAttribute

__all__ = [
    "AlternateStream",
    "Buffer",
    "Entry",
    "HardLink",
    "Metadata",
    "Ranges",
    "SharedSource",
    "Stream",
    "Tombstone",
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
