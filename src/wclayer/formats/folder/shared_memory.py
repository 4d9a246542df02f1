"""Memory that this process shares with the one that makes the files of a layer.

It has two parts: a ring, into which data is copied, and room for the slabs of a stream, which are filled in place, so
that what was inflated there is written to a file without having been copied.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import weakref
from collections.abc import Callable
from typing import Protocol, TypeAlias

__all__ = ["MAX_HELD", "RING", "Borrower", "FileMaker", "Release", "SharedMemory", "SlabHash"]

RING = 8 << 20
"""Bytes in the ring: enough that neither process waits for the other's odd slow call."""
MAX_HELD = 2
"""Slabs that the reader has done with and the other process may not, where the stream needs others to go on."""

_MANY = 100
"""So many files and folders in each slab take longer to make than to inflate and to parse, as measured."""
_SEEN = 8
"""Slabs that were read when it is settled who hashes the blob, or ..."""
_EARLY = 16
"""... so many pieces of the blob, of half a MiB."""

Release: TypeAlias = Callable[[], None]


class Borrower(Protocol):
    """Whoever lets another process see the memory."""

    def hold(self, release: Release, /) -> None:
        """Call ``release`` as soon as it needs nothing more of what it was told so far."""


class FileMaker(Borrower, Protocol):
    """The process that makes files of what lies in the memory."""

    @property
    def jobs(self) -> int:
        """How much it was told to do so far: files, folders and links, and a little more."""

    def hash(self, number: int, algorithm: str, offset: int, length: int, /) -> None:
        """Let it take so many bytes at ``offset`` of all the memory into the digest ``number``."""

    def hash_copy(self, number: int, algorithm: str, data: bytes, /) -> None:
        """Let it take ``data``, which lies elsewhere, into the digest ``number``."""

    def digest(self, number: int, /) -> str:
        """That digest, once all before is done."""


class SharedMemory:
    """The ring and ``room`` bytes for slabs; raises OSError when there is no such memory.

    It keeps the slabs of one stream (:class:`wclayer.oci.workers.SlabKeeper`): ``slabs`` is their memory, and
    ``place()`` tells where in all the memory the one lies that the reader has. Up to ``most_held`` of them are kept for
    the other process once there is one (:meth:`attach`). With ``hashes`` that one hashes what lies in them, too. With
    ``inflated_apart`` a third one may fill them.
    ``begun`` counts the slabs that the reader got.
    """

    def __init__(
        self, room: int = 0, *, most_held: int = MAX_HELD, hashes: bool = False, inflated_apart: bool = False
    ) -> None:
        self.most_held = most_held
        self.hashes = hashes
        self.descriptor = os.memfd_create("wclayer-data")
        self._finalizer = weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, RING + room)
        self.all = memoryview(mmap.mmap(self.descriptor, RING + room))
        self.slabs = self.all[RING:]
        self.region = (self.descriptor, RING) if inflated_apart else None
        self._other: FileMaker | None = None
        self._borrower: Borrower | None = None
        self._is_alone = True
        self._digests = 0
        self._offset = RING
        self.begun = 0

    def attach(self, other: FileMaker) -> None:
        """Another process sees the memory from now on."""
        self._other = self._borrower = other
        self._is_alone = False

    def lend(self, borrower: Borrower) -> None:
        """The same for a process that does not hash."""
        self._borrower = borrower

    def begin(self, offset: int) -> None:
        """The reader has the slab at ``offset`` of ``slabs``."""
        self._offset = RING + offset
        self.begun += 1

    def done(self, release: Release) -> None:
        """The reader goes on; ``release`` gives the slab back."""
        if self._borrower is None:
            release()
        else:
            self._borrower.hold(release)

    def new_hash(self, algorithm: str, *, late: bool = False) -> SlabHash:
        """A digest of bytes in the slabs; whether there is another process must be known before the first of them.

        For what is ``late`` it is settled only after a few slabs who takes it.
        """
        self._digests += 1
        return SlabHash(self, self._digests, algorithm, late=late)

    def place(self) -> int:
        """Where the slab of the reader lies."""
        return self._offset

    def other(self) -> FileMaker | None:
        """Who hashes: the other process, None if there was none. Raises ValueError if it is gone."""
        if self._other is None and not self._is_alone:
            raise ValueError("whoever hashed the layer is gone")
        return self._other

    def forget(self) -> None:
        """Whoever was told of the slabs is gone."""
        self._other = self._borrower = None

    def close(self) -> None:
        """Let go of the descriptor; the memory goes with whoever still looks at it. Harmless when called twice."""
        self._finalizer()


class SlabHash:
    """A digest of bytes in the slabs (:class:`wclayer.oci.workers.SlabHash`): of the other process, if there is one."""

    def __init__(self, memory: SharedMemory, number: int, algorithm: str, *, late: bool) -> None:
        self._memory = memory
        self._number = number
        self._algorithm = algorithm
        self._early: list[bytes] | None = [] if late else None  # what came before it is settled who hashes
        self._is_own = False
        self._own: hashlib._Hash | None = None
        self._has_begun = False
        self._known: str | None = None

    def update(self, offset: int, length: int) -> None:
        """Take so many bytes from ``offset`` of the slabs."""
        self._has_begun = True
        if self._early is not None:
            self._early.append(bytes(self._memory.slabs[offset : offset + length]))
            if len(self._early) >= _EARLY or self._memory.begun >= _SEEN:
                self._decide(self._early)
            return
        other = self._other()
        if other is not None:
            other.hash(self._number, self._algorithm, RING + offset, length)
        else:
            self._add(self._memory.slabs[offset : offset + length])

    def hexdigest(self) -> str:
        """The hash of all that was taken; nothing more may be taken then. Raises what went wrong with it."""
        if self._early:
            self._decide(self._early)
        if self._known is None:
            other = self._other() if self._has_begun else None
            if other is not None:
                self._known = other.digest(self._number)
            else:
                self._known = (self._own or hashlib.new(self._algorithm)).hexdigest()
        return self._known

    def _decide(self, early: list[bytes]) -> None:
        """Leave it to the other process, unless that has many files to make: then this one waits for it anyway."""
        self._early = None
        other = self._memory.other()
        self._is_own = other is not None and other.jobs > _MANY * self._memory.begun
        for piece in early:
            other = self._other()
            if other is not None:
                other.hash_copy(self._number, self._algorithm, piece)
            else:
                self._add(piece)

    def _other(self) -> FileMaker | None:
        return None if self._is_own else self._memory.other()

    def _add(self, piece: bytes | memoryview) -> None:
        if self._own is None:
            self._own = hashlib.new(self._algorithm)
        self._own.update(piece)
