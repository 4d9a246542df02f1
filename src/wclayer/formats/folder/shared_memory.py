"""Memory that this process shares with the one that makes the files of a layer.

It has two parts: a ring, into which data is copied, and room for the slabs of a stream, which are filled in place, so
that what was inflated there is written to a file without having been copied.
"""

from __future__ import annotations

import mmap
import os
import weakref
from collections.abc import Callable
from typing import TypeAlias

__all__ = ["RING", "Release", "SharedMemory"]

RING = 8 << 20
"""Bytes in the ring: enough that neither process waits for the other's odd slow call."""

Release: TypeAlias = Callable[[], None]


class SharedMemory:
    """The ring and ``room`` bytes for slabs; raises OSError when there is no such memory.

    It keeps the slabs of one stream (:class:`wclayer.oci.workers.SlabKeeper`): ``slabs`` is their memory, and
    ``place()`` tells where in all the memory the one lies that the reader has. ``hold`` is told when the reader goes on
    to the next one: it calls what it is given as soon as nobody needs the slab.
    """

    def __init__(self, room: int = 0) -> None:
        self.descriptor = os.memfd_create("wclayer-data")
        self._finalizer = weakref.finalize(self, os.close, self.descriptor)
        os.ftruncate(self.descriptor, RING + room)
        self.all = memoryview(mmap.mmap(self.descriptor, RING + room))
        self.slabs = self.all[RING:]
        self.hold: Callable[[Release], None] = _at_once
        self._offset = RING

    def begin(self, offset: int) -> None:
        """The reader has the slab at ``offset`` of ``slabs``."""
        self._offset = RING + offset

    def done(self, release: Release) -> None:
        """The reader goes on; ``release`` gives the slab back."""
        self.hold(release)

    def place(self) -> int:
        """Where the slab of the reader lies."""
        return self._offset

    def forget(self) -> None:
        """Whoever was told of the slabs is gone."""
        self.hold = _at_once

    def close(self) -> None:
        """Let go of the descriptor; the memory goes with whoever still looks at it. Harmless when called twice."""
        self._finalizer()


def _at_once(release: Release) -> None:
    release()
