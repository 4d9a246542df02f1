"""Bolt databases, read only: the file in which containerd keeps its metadata."""

from wclayer.store.hosts.bolt.buckets import BoltDatabase, Bucket

__all__ = ["BoltDatabase", "Bucket"]
