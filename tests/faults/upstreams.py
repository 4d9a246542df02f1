"""The registries behind the proxy."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.origin import Bytes, Origin
from tests.faults.runner import Mode, connected
from tests.faults.wire import Server
from tests.registries.content import put_blob
from tests.registries.docker_registry import start_registry

__all__ = ["CONTENT", "Upstream", "docker_upstream", "memory_upstream"]

CONTENT = Bytes(random.Random(5).randbytes(4 << 20))
"""The blob that is fetched and sent."""

_FULL = "faults/full"


@dataclass(frozen=True)
class Upstream:
    """A registry that has the blob in one of its repositories."""

    name: str
    host: str
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def repository_for(self, mode: Mode) -> str:
        """A repository with the blob to fetch it, or a new one to send it to."""
        return f"faults/empty{next(self.numbers)}" if mode in ("upload", "chunks") else _FULL


@contextmanager
def memory_upstream() -> Iterator[Upstream]:
    """The registry in memory."""
    with Server(Origin(CONTENT, repository=_FULL)) as server:
        yield Upstream("a registry in memory", server.host)


@contextmanager
def docker_upstream(folder: Path) -> Iterator[Upstream]:
    """Debian's docker-registry, with its files below ``folder``."""
    with start_registry(folder / "registry") as registry:
        with connected(registry.host, _FULL) as repository:
            put_blob(repository, CONTENT.data)
        yield Upstream("docker-registry", registry.host)
