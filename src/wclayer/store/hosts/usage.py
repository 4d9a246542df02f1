"""What the folders of layers take on their disk: every file is looked at, and one with several names counts once."""

from __future__ import annotations

from collections.abc import Iterable

from wclayer.errors import LimitError
from wclayer.store.hosts.files import HostTree, joined
from wclayer.store.hosts.records import HostLayer, LayerUsage

__all__ = ["measure"]

_MAX_DEPTH = 1000  # folders in each other


def measure(tree: HostTree, layers: Iterable[HostLayer]) -> list[LayerUsage]:
    """What each of ``layers`` takes; those without a folder are left out. Raises StoreError, LimitError."""
    seen: set[tuple[int, int]] = set()
    found = []
    for layer in layers:
        if layer.path is None:
            continue
        files = size = allocated = 0
        knows = True
        waiting = [(layer.path, 0)]
        while waiting:
            folder, depth = waiting.pop()
            if depth > _MAX_DEPTH:
                raise LimitError(f"{folder[:200]}: more than {_MAX_DEPTH} folders in each other")
            for entry in tree.files.entries(folder):
                if entry.kind == "folder":
                    waiting.append((joined(folder, entry.name), depth + 1))
                elif entry.kind == "file":
                    files += 1
                    if entry.identity is not None:
                        if entry.identity in seen:
                            continue
                        seen.add(entry.identity)
                    size += entry.size
                    knows = knows and entry.allocated is not None
                    allocated += entry.allocated or 0
        found.append(LayerUsage(layer, files, size, allocated if knows else None))
    return found
