"""The store of a Windows host, read without that host: from a copied folder or a disk image, and never written."""

from wclayer.store.hosts.detect import open_host_stores, stores_in
from wclayer.store.hosts.records import Event, Finding, HostImage, HostLayer, HostStore, LayerUsage, Step

__all__ = [
    "Event",
    "Finding",
    "HostImage",
    "HostLayer",
    "HostStore",
    "LayerUsage",
    "Step",
    "open_host_stores",
    "stores_in",
]
