"""The content of read-write layers: changes at rest, and a tree of plain files to work in."""

from wclayer.store.readwrite.body import ReadWriteBody, ReadWriteState
from wclayer.store.readwrite.tree import WorkTree

__all__ = ["ReadWriteBody", "ReadWriteState", "WorkTree"]
