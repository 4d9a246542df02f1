"""The store of containerd: its metadata, its snapshotters, its content."""

from wclayer.store.hosts.containerd.store import ContainerdStore

__all__ = ["ContainerdStore"]
