"""What one run of a program shares when it talks to registries: settings, connections, the content store, downloads.

Connections and the store are made when they are first needed. A tag is resolved once for each run.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Protocol, Self

from wclayer.oci.registry.settings import RegistrySettings

if TYPE_CHECKING:
    from wclayer.oci.content.arrivals import Arrivals
    from wclayer.oci.content.store import ContentStore
    from wclayer.oci.descriptors import Descriptor
    from wclayer.oci.registry.client import RegistryClient

__all__ = ["NO_TRANSFERS", "Network", "TransferProgress", "default_store_folder"]

STORE_VARIABLE = "WCLAYER_STORE"


class TransferProgress(Protocol):
    """Watches blobs on their way, up or down. Called from several threads; ``name`` names a blob to people."""

    def start_blob(self, name: str, size: int, done: int) -> None:
        """A blob of ``size`` bytes begins to move; ``done`` bytes moved in an earlier run."""

    def advance_blob(self, name: str, count: int) -> None:
        """``count`` more bytes of it moved; below 0 when some have to move once more."""

    def end_blob(self, name: str) -> None:
        """It is over, one way or the other."""


class _NoTransfers:
    def start_blob(self, name: str, size: int, done: int) -> None:
        """Nobody watches."""

    def advance_blob(self, name: str, count: int) -> None:
        """Nobody watches."""

    def end_blob(self, name: str) -> None:
        """Nobody watches."""


NO_TRANSFERS: TransferProgress = _NoTransfers()


def default_store_folder() -> Path:
    """Where the content store of this user is: ``WCLAYER_STORE``, else ``wclayer`` in the cache folder.

    That is ``XDG_CACHE_HOME`` where it is set (to an absolute path), else what the system has for it.
    """
    named = os.environ.get(STORE_VARIABLE)
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME", "")
    if Path(cache).is_absolute():
        return Path(cache) / "wclayer"
    import platformdirs

    return platformdirs.user_cache_path("wclayer", appauthor=False)


@dataclass(slots=True)
class Network:
    """How registries are reached, and what is kept of them. A context manager.

    ``settings`` are those of all registries. ``store_folder`` is where the content store is, None for
    :func:`default_store_folder`. With ``offline`` only the store is asked. ``max_downloads`` blobs move at once;
    ``transfers`` watches them.
    """

    settings: RegistrySettings = field(default_factory=RegistrySettings)
    store_folder: Path | None = None
    offline: bool = False
    max_downloads: int = 4
    transfers: TransferProgress = field(default=NO_TRANSFERS, repr=False)
    resolved: dict[str, Descriptor] = field(default_factory=dict, repr=False)
    _lock: RLock = field(default_factory=RLock, init=False, repr=False, compare=False)
    _client: RegistryClient | None = field(default=None, init=False, repr=False, compare=False)
    _store: ContentStore | None = field(default=None, init=False, repr=False, compare=False)
    _arrivals: Arrivals | None = field(default=None, init=False, repr=False, compare=False)

    def client(self) -> RegistryClient:
        """The connections to registries."""
        with self._lock:
            if self._client is None:
                from wclayer.oci.registry.client import RegistryClient

                self._client = RegistryClient(self.settings)
            return self._client

    def store(self) -> ContentStore:
        """The content store; StoreError when the folder holds something else."""
        with self._lock:
            if self._store is None:
                from wclayer.oci.content.store import ContentStore

                self._store = ContentStore(self.store_folder or default_store_folder())
            return self._store

    def arrivals(self) -> Arrivals:
        """The blobs that are on their way into the store."""
        with self._lock:
            if self._arrivals is None:
                from wclayer.oci.content.arrivals import Arrivals

                self._arrivals = Arrivals(self.store(), self.transfers, self.max_downloads)
            return self._arrivals

    def interrupt(self) -> None:
        """Stop all downloads, and let whoever waits for them fail; what has come is kept. From any thread."""
        arrivals = self._arrivals
        if arrivals is not None:
            arrivals.interrupt()

    def close(self) -> None:
        """Stop all downloads and close all connections; harmless when called twice."""
        with self._lock:
            if self._arrivals is not None:
                self._arrivals.close()
                self._arrivals = None
            if self._client is not None:
                self._client.close()
                self._client = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
