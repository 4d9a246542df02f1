"""Reading a layer blob whose slabs another process sees, and hashes.

Where there are two processors this is the better division: one process inflates and parses, the other one hashes and
makes the files, and each has one thread that hardly ever waits. Nobody waits for the interpreter lock, nothing has to
be moved between processors, and the slab that was given back last is used next, while it is still in a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import partial

from wclayer.oci.compression import RawReader, open_decoder
from wclayer.oci.counting import CountingSource
from wclayer.oci.limits import Limits
from wclayer.oci.mediatypes import Compression
from wclayer.oci.workers import SLAB_SIZE, Outcome, SlabHash, SlabKeeper, fill

__all__ = ["shared_slabs"]

_PIECE = 1 << 19
"""How much of the blob is read at once, in bytes."""
_AHEAD = 1 << 22
"""How much of it the system reads ahead, since nobody here reads while something else is done."""


def shared_slabs(
    blob: CountingSource,
    compression: Compression,
    keeper: SlabKeeper,
    blob_hash: SlabHash | None,
    diff_hash: SlabHash | None,
    limits: Limits,
    outcome: Outcome,
) -> Generator[memoryview]:
    """What the consumer iterates; everything happens in its thread, but the hashing and whatever it asks for itself.

    ``blob_hash`` gets the blob as it was read, ``diff_hash`` what was inflated.
    """
    slabs = _Slabs(keeper)
    blob.read_ahead(_AHEAD)
    raw: RawReader = blob if blob_hash is None else _HandedOn(blob, slabs, blob_hash)
    decoder = open_decoder(compression, raw, is_alone=True)
    while True:
        offset, view = slabs.take()
        length = fill(decoder, view)
        if not length:
            break
        outcome.size += length
        limits.check(blob.count, outcome.size)
        if diff_hash is not None:
            diff_hash.update(offset, length)
        keeper.begin(offset)
        yield view[:length].toreadonly()
        slabs.give_back(offset, view)
    outcome.complete = True


class _Slabs:
    """The slabs of the keeper. There is always a free one: of as many as there are, it keeps fewer."""

    def __init__(self, keeper: SlabKeeper) -> None:
        memory = keeper.slabs
        self._free = [(offset, memory[offset : offset + SLAB_SIZE]) for offset in range(0, len(memory), SLAB_SIZE)]
        self._done: Callable[[Callable[[], None]], None] = keeper.done

    def take(self) -> tuple[int, memoryview]:
        """The offset of a slab, and its memory."""
        return self._free.pop()

    def give_back(self, offset: int, view: memoryview) -> None:
        """Nothing more is asked for that concerns the slab."""
        self._done(partial(self._free.append, (offset, view)))


class _HandedOn:
    """The blob, read into slabs, so that the keeper can hash it."""

    def __init__(self, blob: CountingSource, slabs: _Slabs, blob_hash: SlabHash) -> None:
        self._blob = blob
        self._slabs = slabs
        self._hash = blob_hash
        self._slab: tuple[int, memoryview] | None = None
        self._rest = memoryview(b"")

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a part of ``buffer``."""
        rest = self._rest or self.take()
        count = min(len(rest), len(buffer))
        buffer[:count] = rest[:count]
        self._rest = rest[count:]
        return count

    def take(self) -> memoryview:
        """The next piece, nothing at the end; valid until the next call."""
        if self._slab is not None:
            self._slabs.give_back(*self._slab)
            self._slab = None
        offset, view = self._slabs.take()
        self._slab = offset, view
        length = self._blob.readinto(view[:_PIECE])
        if length:
            self._hash.update(offset, length)
        return view[:length]
