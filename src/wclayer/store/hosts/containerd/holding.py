"""What keeps blobs and snapshots: containerd's garbage collection, followed from its roots without collecting anything.

Images, containers, leases and whatever has the label ``containerd.io/gc.root`` are roots. A blob holds what its labels
``containerd.io/gc.ref.content…`` and ``containerd.io/gc.ref.snapshot.…`` name, a snapshot holds its parent.

Source: containerd, ``docs/garbage-collection.md`` and ``metadata/gc.go``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from wclayer.store.hosts.containerd.metadata import Namespace

__all__ = ["Node", "held"]

Node: TypeAlias = tuple[str, str, str]
"""``("blob", "", digest)`` or ``("snapshot", snapshotter, key)``."""

_ROOT = "containerd.io/gc.root"
_CONTENT = "containerd.io/gc.ref.content"
_SNAPSHOT = "containerd.io/gc.ref.snapshot."
_LISTED = 100  # roots that are remembered for a node


def held(namespace: Namespace) -> dict[Node, list[str]]:
    """Everything in ``namespace`` that is held, and by what: ``image NAME``, ``container ID``, ``lease ID``, …."""
    found: dict[Node, list[str]] = {}
    for root, first in _roots(namespace):
        waiting = list(first)
        seen: set[Node] = set()
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            holders = found.setdefault(node, [])
            if len(holders) < _LISTED and root not in holders:
                holders.append(root)
            waiting += _below(namespace, node)
    return found


def _roots(namespace: Namespace) -> Iterator[tuple[str, list[Node]]]:
    for image in namespace.images.values():
        yield f"image {image.name}", [("blob", "", image.digest), *_labelled(image.labels)]
    for container in namespace.containers.values():
        snapshot = ("snapshot", container.snapshotter, container.snapshot_key)
        yield f"container {container.id}", [snapshot, *_labelled(container.labels)]
    for lease in namespace.leases.values():
        nodes: list[Node] = [("blob", "", digest) for digest in lease.blobs]
        nodes += [("snapshot", snapshotter, key) for snapshotter, key in lease.snapshots]
        yield f"lease {lease.id}", [*nodes, *_labelled(lease.labels)]
    for blob in namespace.blobs.values():
        if _ROOT in blob.labels:
            yield "the label gc.root", [("blob", "", blob.digest)]
    for snapshotter, snapshots in namespace.snapshots.items():
        for snapshot_ref in snapshots.values():
            if _ROOT in snapshot_ref.labels:
                yield "the label gc.root", [("snapshot", snapshotter, snapshot_ref.key)]


def _below(namespace: Namespace, node: Node) -> Iterable[Node]:
    kind, snapshotter, name = node
    if kind == "blob":
        blob = namespace.blobs.get(name)
        return _labelled(blob.labels) if blob is not None else []
    snapshot = namespace.snapshots.get(snapshotter, {}).get(name)
    if snapshot is None:
        return []
    parent: list[Node] = [("snapshot", snapshotter, snapshot.parent)] if snapshot.parent else []
    return [*parent, *_labelled(snapshot.labels)]


def _labelled(labels: Mapping[str, str]) -> list[Node]:
    found: list[Node] = []
    for label, value in labels.items():
        if label == _CONTENT or label.startswith((f"{_CONTENT}.", f"{_CONTENT}/")):
            found.append(("blob", "", value))
        elif label.startswith(_SNAPSHOT):
            found.append(("snapshot", label.removeprefix(_SNAPSHOT).partition("/")[0], value))
    return found
