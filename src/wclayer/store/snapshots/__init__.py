"""Snapshots as containerd means them, over layer folders."""

from wclayer.store.snapshots.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError
from wclayer.store.snapshots.mounts import Mount
from wclayer.store.snapshots.records import Kind, SnapshotInfo, Usage
from wclayer.store.snapshots.snapshotter import Snapshotter

__all__ = [
    "AlreadyExistsError",
    "FailedPreconditionError",
    "InvalidArgumentError",
    "Kind",
    "Mount",
    "SnapshotInfo",
    "Snapshotter",
    "Usage",
]
