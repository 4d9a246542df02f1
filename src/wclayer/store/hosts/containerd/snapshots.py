"""A snapshotter: ``metadata.db`` with a record for each snapshot, and ``snapshots`` with a folder for each.

The folder is named by a number that is never used again. Before a snapshot is removed its folder becomes ``rm-`` and
the number, and while one is made it is ``new-`` and something: what is left of those an interruption left. The schema
is the same for every snapshotter.

Source: containerd, ``snapshots/storage/bolt.go``, ``plugins/snapshots/windows``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from wclayer.errors import WclayerError
from wclayer.store.hosts.bolt import BoltDatabase, Bucket
from wclayer.store.hosts.containerd.values import labels_of, signed, text_of, time_of, unsigned
from wclayer.store.hosts.files import HostEntry, HostTree, joined

__all__ = ["KINDS", "SnapshotRecord", "Snapshotter", "open_database"]

KINDS = {1: "view", 2: "active", 3: "committed"}
"""What a snapshot is: a view of a committed one, one that is written to, or one that others stand on."""

_NUMBER = re.compile(r"[0-9]{1,20}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SnapshotRecord:
    """A snapshot; ``parent`` is a name as ``name`` is. ``size`` in bytes and ``inodes`` are known once committed."""

    name: str
    id: int | None
    kind: str
    parent: str
    created: int | None
    updated: int | None
    size: int | None
    inodes: int | None
    labels: dict[str, str] = field(default_factory=dict)


class Snapshotter:
    """The snapshotter whose folder is ``path``; ``name`` is ``windows``, ``native`` or another."""

    def __init__(self, tree: HostTree, path: str, name: str) -> None:
        self.name = name
        self.path = path
        self.records: dict[str, SnapshotRecord] = {}
        self.problem = ""
        """Why ``metadata.db`` cannot be read."""
        self.damage = ""
        self.has_database = tree.find(joined(path, "metadata.db")) is not None
        self.snapshots_path = joined(path, "snapshots")
        self.folders: dict[str, HostEntry] = {}
        self.half_removed: list[str] = []
        self.half_made: list[str] = []
        self.unknown: list[str] = []
        self.variants = tree.variants(self.snapshots_path)
        if self.has_database:
            self._read(tree)
        for entry in tree.entries(self.snapshots_path):
            if entry.kind == "folder" and _NUMBER.fullmatch(entry.name):
                self.folders[entry.name] = entry
            elif entry.name.startswith("rm-"):
                self.half_removed.append(entry.name)
            elif entry.name.startswith("new-"):
                self.half_made.append(entry.name)
            elif entry.name != "cim-layers":
                self.unknown.append(entry.name)

    def ancestors(self, record: SnapshotRecord) -> tuple[list[SnapshotRecord], str]:
        """What ``record`` stands on, nearest first, and why that ended early: a missing name, ``cycle``, or nothing."""
        found: list[SnapshotRecord] = []
        seen = {record.name}
        parent = record.parent
        while parent:
            below = self.records.get(parent)
            if below is None:
                return found, parent
            if parent in seen:
                return found, "cycle"
            seen.add(parent)
            found.append(below)
            parent = below.parent
        return found, ""

    def _read(self, tree: HostTree) -> None:
        path = joined(self.path, "metadata.db")
        try:
            with open_database(tree, path) as database:
                self.damage = database.damage
                snapshots = database.bucket(b"v1", b"snapshots")
                for key, bucket in snapshots.buckets() if snapshots is not None else ():
                    record = _record(text_of(key), bucket)
                    self.records[record.name] = record
        except WclayerError as error:
            self.records = {}
            self.problem = error.message


@contextmanager
def open_database(tree: HostTree, path: str) -> Iterator[BoltDatabase]:
    """The bolt database at ``path``. Raises FormatError, NotFoundError, StoreError."""
    with tree.open(path) as stream:
        yield BoltDatabase(stream, stream.seek(0, os.SEEK_END), path)


def _record(name: str, bucket: Bucket) -> SnapshotRecord:
    values = bucket.values()
    kind = values.get(b"kind", b"")
    return SnapshotRecord(
        name,
        unsigned(values.get(b"id")),
        KINDS.get(kind[0] if len(kind) == 1 else 0, "unknown"),
        text_of(values.get(b"parent")),
        time_of(values.get(b"createdat")),
        time_of(values.get(b"updatedat")),
        signed(values.get(b"size")),
        signed(values.get(b"inodes")),
        labels_of(bucket),
    )
