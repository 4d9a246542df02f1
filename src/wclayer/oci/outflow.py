"""Small pieces become slabs, and every slab goes to several takers at once, each with a thread of its own.

The way out of a layer: while the caller makes the next piece, one thread hashes what was made before, and another
compresses and writes it. What fits into one slab needs no threads, and gets none.
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from queue import SimpleQueue
from typing import TypeAlias

from wclayer.threads import Helper

__all__ = ["SLAB_SIZE", "Outflow", "SlabWriter", "Taker"]

SLAB_SIZE = 1 << 18
"""Small enough for the cache that a core has to itself: what was just copied is hashed and written from there."""
_SLABS = 8
_PATIENCE = 1.0
"""How many seconds to wait for a taker that is told to stop: it may be at a pipe from which nobody reads."""

Taker: TypeAlias = Callable[[memoryview], object]
"""Gets each slab, valid during the call, in order. What it raises is raised in the caller, sooner or later."""


class SlabWriter:
    """What gathers small pieces in slabs. Who inherits says what becomes of a slab that is full."""

    def __init__(self, slab: memoryview) -> None:
        self._view = slab
        self._filled = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Take ``data``, which may change afterwards. Raises what went wrong meanwhile."""
        filled, size = self._filled, len(data)
        if filled + size < SLAB_SIZE:
            self._view[filled : filled + size] = data
            self._filled = filled + size
            return
        rest = memoryview(data)
        while rest:
            part = rest[: SLAB_SIZE - self._filled]
            self._view[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rest = rest[len(part) :]
            if self._filled == SLAB_SIZE:
                self._view = self._exchanged()
                self._filled = 0

    @abstractmethod
    def _exchanged(self) -> memoryview:
        """Hand over the slab at hand, and get another one."""


class Outflow(SlabWriter):
    """Takes pieces through :meth:`write`; :meth:`finish` returns when every taker has had everything.

    Holds no reference to whoever writes. One that is not finished has to be stopped.
    """

    def __init__(self, takers: Sequence[Taker]) -> None:
        self._slab = _Slab(memoryview(bytearray(SLAB_SIZE)))
        super().__init__(self._slab.view)
        self._takers = takers
        self._free: SimpleQueue[_Slab] = SimpleQueue()
        self._queues: list[SimpleQueue[_Slab | None]] = []
        self._threads: list[Helper] = []
        self._lock = threading.Lock()
        self._stopping = False
        self._error: BaseException | None = None

    def finish(self) -> None:
        """Hand over the rest and wait for all takers. Raises what one raised."""
        if self._threads:
            self._hand_over()
            self._end()
            for thread in self._threads:
                thread.join()
            self._raise()
        elif self._filled:
            for take in self._takers:
                take(self._view[: self._filled])

    def stop(self) -> None:
        """Tell the takers to end; returns at once."""
        self._stopping = True
        self._end()

    def join(self) -> None:
        """Wait until the takers have ended, but not for one that is stuck in a call that blocks."""
        for thread in self._threads:
            thread.join(_PATIENCE)

    def _exchanged(self) -> memoryview:
        if not self._threads:
            self._start()
        self._hand_over()
        self._raise()
        self._slab = self._free.get()
        self._raise()
        return self._slab.view

    def _hand_over(self) -> None:
        slab = self._slab
        slab.length = self._filled
        slab.pending = len(self._takers)
        for queue in self._queues:
            queue.put(slab)

    def _start(self) -> None:
        for _ in range(_SLABS - 1):
            self._free.put(_Slab(memoryview(bytearray(SLAB_SIZE))))
        for take in self._takers:
            queue: SimpleQueue[_Slab | None] = SimpleQueue()
            self._queues.append(queue)
            thread = Helper(partial(self._run, take, queue), "wclayer-outflow")
            self._threads.append(thread)
            thread.start()

    def _end(self) -> None:
        for queue in self._queues:
            queue.put(None)

    def _run(self, take: Taker, queue: SimpleQueue[_Slab | None]) -> None:
        """One taker's thread. After an error slabs only go round, so that the caller gets one and hears of it."""
        while (slab := queue.get()) is not None:
            if not self._stopping and self._error is None:
                try:
                    take(slab.view[: slab.length])
                except BaseException as error:  # raised again in the caller
                    self._error = error
            with self._lock:
                slab.pending -= 1
                is_done = not slab.pending
            if is_done:
                self._free.put(slab)

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error


class _Slab:
    """A buffer; ``pending`` counts the takers who have not had it yet."""

    __slots__ = ("length", "pending", "view")

    def __init__(self, view: memoryview) -> None:
        self.view = view
        self.length = 0
        self.pending = 0
