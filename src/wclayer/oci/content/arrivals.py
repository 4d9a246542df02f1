"""Blobs on their way into the store, several at once: those that were begun first come first.

Each is fetched by a thread of this process, unless another process does so already. The threads are daemons: a program
that has to end need not wait for a slow registry, for what has come is on disk.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from wclayer.errors import StoreError
from wclayer.oci.content.following import Arrival, Cancelled
from wclayer.oci.content.store import INGEST, ContentStore
from wclayer.oci.digests import Digest
from wclayer.threads import Helper

if TYPE_CHECKING:
    from wclayer.oci.content.partial import PartialBlob
    from wclayer.oci.network import TransferProgress

__all__ = ["Arrivals", "Fetch"]

_PARTING = 5.0  # seconds that a download gets to note how far it came


class Fetch(Protocol):
    """Gets what is missing of a blob."""

    def __call__(self, partial: PartialBlob, advance: Callable[[int], None], /) -> None:
        """``advance`` is told how many bytes came; it may raise, and that has to be let through."""


class Arrivals:
    """The blobs that come into ``store``, at most ``most`` at once; ``transfers`` watches them. Safe for threads."""

    def __init__(self, store: ContentStore, transfers: TransferProgress, most: int) -> None:
        self._store = store
        self._transfers = transfers
        self._most = most
        self._known: dict[Digest, Arrival] = {}
        self._waiting: deque[_Download] = deque()
        self._threads: list[Helper] = []
        self._idle = 0
        self._closed = False
        self._changed = threading.Condition()

    def begin(self, digest: Digest, size: int, fetch: Fetch) -> Arrival:
        """Let a blob come, unless it does already; returns at once. One that failed is tried again."""
        with self._changed:
            if self._closed:
                raise StoreError(f"the blob {digest} was not fetched: interrupted")
            known = self._known.get(digest)
            if known is not None and not known.has_failed:
                return known
            partial = self._store.folder / INGEST / f"{digest.algorithm}-{digest.hex}"
            arrival = Arrival(digest, size, partial, self._store.folder / digest.blob_path)
            self._known[digest] = arrival
            self._waiting.append(_Download(self._store, self._transfers, arrival, fetch))
            if self._idle < len(self._waiting) and len(self._threads) < self._most:
                thread = Helper(self._work, "wclayer-download")
                self._threads.append(thread)
                thread.start()
            self._changed.notify()
            return arrival

    def share(self, size: int) -> int:
        """How many connections a blob of ``size`` bytes gets beside all that are to come: the large ones more."""
        with self._changed:
            pending = sum(arrival.size for arrival in self._known.values() if not arrival.is_over)
        return max(1, self._most * size // max(pending, size, 1))

    def interrupt(self) -> None:
        """Stop everything; whoever waits for a blob fails. What has come is kept for the next run."""
        with self._changed:
            self._closed = True
            self._waiting.clear()
            for arrival in self._known.values():
                arrival.cancel()
            self._changed.notify_all()

    def close(self) -> None:
        """The same, and wait a little until the threads have noted how far they came."""
        self.interrupt()
        for thread in self._threads:
            thread.join(_PARTING)

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                try:
                    while not self._waiting:
                        if self._closed:
                            return
                        self._changed.wait()
                    download = self._waiting.popleft()
                finally:
                    self._idle -= 1
            download.run()


class _Download:
    """One blob, fetched by this process or watched while another one fetches it."""

    def __init__(self, store: ContentStore, transfers: TransferProgress, arrival: Arrival, fetch: Fetch) -> None:
        self._store = store
        self._transfers = transfers
        self._arrival = arrival
        self._fetch = fetch
        self._name = f"{arrival.digest.algorithm}:{arrival.digest.short}"
        self._is_mine = False
        self._shown = -1

    def run(self) -> None:
        """Fetch it; errors go to whoever waits."""
        arrival = self._arrival
        try:
            self._store.ingest(arrival.digest, arrival.size, self._get, watch=self._watch)
            arrival.succeed()
        except Cancelled:
            arrival.fail(StoreError(f"the blob {arrival.digest} was not fetched to its end: interrupted"))
        except BaseException as error:  # raised again in whoever waits
            arrival.fail(error)
        finally:
            if self._shown >= 0:
                self._transfers.end_blob(self._name)

    def _get(self, partial: PartialBlob) -> None:
        self._is_mine = True
        self._show(partial.present)
        self._watch(partial.front)
        self._fetch(partial, self._advance)

    def _watch(self, front: int) -> None:
        if not self._is_mine:
            self._show(front)
        self._arrival.advance(front)

    def _advance(self, count: int) -> None:
        self._arrival.check()
        self._shown += count
        self._transfers.advance_blob(self._name, count)

    def _show(self, done: int) -> None:
        if self._shown < 0:
            self._transfers.start_blob(self._name, self._arrival.size, done)
        elif done != self._shown:
            self._transfers.advance_blob(self._name, done - self._shown)
        self._shown = done
