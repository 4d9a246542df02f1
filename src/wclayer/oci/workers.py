"""The threads of the pipeline: a reader, an inflater and a hasher, and the buffers that travel between them.

Every queue is unbounded, and every buffer comes from a fixed pool: a sender never waits, a receiver waits only for a
buffer that somebody else has. To stop, a mark is put into every queue that anybody may be waiting on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from functools import partial
from queue import SimpleQueue
from typing import Protocol, TypeAlias

from wclayer.oci.compression import Decoder, open_decoder
from wclayer.oci.counting import CountingSource
from wclayer.oci.digests import Hash
from wclayer.oci.limits import Limits
from wclayer.oci.mediatypes import Compression
from wclayer.threads import Helper

__all__ = ["SLABS", "SLAB_SIZE", "Outcome", "SlabHash", "SlabKeeper", "Workers", "fill"]

SLAB_SIZE = 1 << 20
SLABS = 8
"""The least that the pipeline needs, so that nobody waits for the odd slow step of another."""
_CHUNK_SIZE = 1 << 19
_CHUNKS = 4


class SlabKeeper(Protocol):
    """Whoever has memory for the slabs, and reads in it still when the consumer of the stream has gone on.

    All methods are called by the consumer's thread.
    """

    slabs: memoryview
    """Writable memory for more slabs than are ever kept: two, or :data:`SLABS` of them if it does not hash."""
    hashes: bool
    """Whether it hashes what lies in the slabs, which leaves inflating to the consumer's thread."""
    region: tuple[int, int] | None
    """The descriptor of the memory and where in it the slabs begin, if another process may inflate into them."""

    def begin(self, offset: int) -> None:
        """The consumer gets the slab at ``offset``."""

    def done(self, release: Callable[[], None]) -> None:
        """The consumer goes on; ``release`` gives the slab back, now or later. What this raises, the consumer gets."""

    def new_hash(self, algorithm: str, *, late: bool = False) -> SlabHash:
        """A digest of what is in slabs, ``sha256`` or ``sha512``.

        With ``late`` the keeper may look for a while who had better compute it.
        """


class SlabHash(Protocol):
    """A digest that somebody else computes."""

    def update(self, offset: int, length: int, /) -> None:
        """Take so many bytes from ``offset`` of the slabs. They stay as they are until their slab is released."""

    def hexdigest(self) -> str:
        """The hash of all that was taken, in lower-case hexadecimal. Raises what went wrong."""


class Outcome:
    """What is known of the uncompressed side: its size in bytes so far, and whether the end was reached."""

    __slots__ = ("complete", "size")

    def __init__(self) -> None:
        self.size = 0
        self.complete = False


def fill(decoder: Decoder, view: memoryview) -> int:
    """Fill ``view`` as far as the content goes; returns the number of bytes."""
    filled = 0
    while filled < len(view) and (count := decoder.readinto(view[filled:])):
        filled += count
    return filled


class _Stopped(Exception):  # no error: the consumer went away
    """Raised in a thread when the stream is being closed."""


class _Buffer:
    """A slab or a chunk; ``pending`` counts who still has it."""

    __slots__ = ("length", "offset", "pending", "view")

    def __init__(self, view: memoryview, offset: int = 0) -> None:
        self.view = view
        self.offset = offset
        self.length = 0
        self.pending = 0


_Item: TypeAlias = _Buffer | BaseException | None
"""What travels: a filled buffer, an error, or None for the end."""


class _Prefetch:
    """The source, read ahead by a thread of its own; ``readinto`` is called by the inflater."""

    def __init__(self, blob: CountingSource) -> None:
        self.consumed = 0
        self._blob = blob
        self._free: SimpleQueue[_Buffer | None] = SimpleQueue()
        self._full: SimpleQueue[_Item] = SimpleQueue()
        self._chunk: _Buffer | None = None
        self._taken: _Buffer | None = None
        self._position = 0
        self._ended = False
        for _ in range(_CHUNKS):
            self._free.put(_Buffer(memoryview(bytearray(_CHUNK_SIZE))))

    def run(self) -> None:
        """The reader thread."""
        try:
            while (chunk := self._free.get()) is not None:
                chunk.length = self._blob.readinto(chunk.view)
                if not chunk.length:
                    self._full.put(None)
                    return
                self._full.put(chunk)
        except BaseException as error:  # raised again in the consumer
            self._full.put(error)

    def readinto(self, buffer: memoryview, /) -> int:
        chunk = self._next()
        if chunk is None:
            return 0
        count = min(chunk.length - self._position, len(buffer))
        buffer[:count] = chunk.view[self._position : self._position + count]
        self._advance(chunk, count)
        return count

    def take(self) -> memoryview:
        """All of the piece at hand, nothing at the end. It is valid until the next call."""
        if self._taken is not None:
            self._free.put(self._taken)
            self._taken = None
        chunk = self._next()
        if chunk is None:
            return memoryview(b"")
        piece = chunk.view[self._position : chunk.length]
        self.consumed += len(piece)
        self._chunk, self._taken = None, chunk
        return piece

    def _next(self) -> _Buffer | None:
        """What is to be read now, of which something is left."""
        chunk = self._chunk
        if chunk is None and not self._ended:
            item = self._full.get()
            if isinstance(item, BaseException):
                raise item
            self._chunk = chunk = item
            self._ended = item is None
            self._position = 0
        return chunk

    def _advance(self, chunk: _Buffer, count: int) -> None:
        self._position += count
        self.consumed += count
        if self._position == chunk.length:
            self._chunk = None
            self._free.put(chunk)

    def stop(self) -> None:
        self._free.put(None)
        self._full.put(_Stopped())


class Workers:
    """Starts the threads for one blob. Holds no reference to whoever consumes it."""

    def __init__(
        self,
        blob: CountingSource,
        compression: Compression,
        diff_hash: Hash | None,
        limits: Limits,
        outcome: Outcome,
        keeper: SlabKeeper | None = None,
    ) -> None:
        self._blob = blob
        self._compression = compression
        self._hash = diff_hash
        self._limits = limits
        self._outcome = outcome
        self._free: SimpleQueue[_Buffer | None] = SimpleQueue()
        self._full: SimpleQueue[_Item] = SimpleQueue()
        self._to_hash: SimpleQueue[_Buffer | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._stopping = False
        self._keeper = keeper
        memory = keeper.slabs if keeper is not None else memoryview(bytearray(SLABS * SLAB_SIZE))
        for offset in range(0, len(memory), SLAB_SIZE):
            self._free.put(_Buffer(memory[offset : offset + SLAB_SIZE], offset))
        # Uncompressed content goes straight into the slabs: reading ahead is what the slabs do.
        self._prefetch = None if compression == "none" else _Prefetch(blob)
        tasks: list[Callable[[], None]] = [self._inflate]
        if diff_hash is not None:
            tasks.append(partial(self._hash_slabs, diff_hash))
        if self._prefetch is not None:
            tasks.append(self._prefetch.run)
        self._threads = [Helper(task, "wclayer-layer") for task in tasks]
        try:
            for thread in self._threads:
                thread.start()
        except BaseException:
            self.stop()
            raise

    def slabs(self) -> Generator[memoryview]:
        """What the consumer iterates: each slab goes back to the pool when the next is asked for."""
        keeper = self._keeper
        while (item := self._full.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            if keeper is None:
                yield item.view[: item.length].toreadonly()
                self._release(item)
            else:
                keeper.begin(item.offset)
                yield item.view[: item.length].toreadonly()
                keeper.done(partial(self._release, item))
        for thread in self._threads:
            thread.join()  # the hasher may still be at the last slab
        self._outcome.complete = True

    def stop(self) -> None:
        """Tell every thread to end; returns at once."""
        self._stopping = True
        self._free.put(None)
        if self._prefetch is not None:
            self._prefetch.stop()

    def join(self) -> None:
        """Wait until every thread has ended."""
        for thread in self._threads:
            thread.join()

    def _release(self, slab: _Buffer) -> None:
        with self._lock:
            slab.pending -= 1
            done = not slab.pending
        if done:
            self._free.put(slab)

    def _inflate(self) -> None:
        blob = self._blob
        prefetch = self._prefetch
        try:
            decoder = open_decoder(self._compression, prefetch or blob)
            while not self._stopping and (slab := self._free.get()) is not None:
                slab.length = fill(decoder, slab.view)
                if not slab.length:
                    self._full.put(None)
                    return
                self._outcome.size += slab.length
                self._limits.check(prefetch.consumed if prefetch else blob.count, self._outcome.size)
                if self._hash is None:
                    slab.pending = 1
                else:
                    slab.pending = 2
                    self._to_hash.put(slab)
                self._full.put(slab)
        except _Stopped:
            pass
        except BaseException as error:  # raised again in the consumer
            self._full.put(error)
        finally:
            self._to_hash.put(None)

    def _hash_slabs(self, diff_hash: Hash) -> None:
        while (slab := self._to_hash.get()) is not None:
            if not self._stopping:
                diff_hash.update(slab.view[: slab.length])
            self._release(slab)
