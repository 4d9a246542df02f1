"""The layer folder: the form of a layer on this machine.

A tree of plain files that any tool can look at, and beside it ``layer.db``, which holds what plain files cannot.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer._lazy import lazy_names

if TYPE_CHECKING:
    from wclayer.formats.folder.folder import LayerFolder, read_layer_chain
    from wclayer.formats.folder.header_writer import HeaderRecordWriter
    from wclayer.formats.folder.headers import Body, HeaderRecordReader
    from wclayer.formats.folder.index import LayerIndex
    from wclayer.formats.folder.index_writer import IndexWriter
    from wclayer.formats.folder.node import Node, StreamNode
    from wclayer.formats.folder.original import require_original, write_original
    from wclayer.formats.folder.reader import LayerFolderReader
    from wclayer.formats.folder.staging import remove_layer_folder, sweep
    from wclayer.formats.folder.verify import Finding, verify_folder
    from wclayer.formats.folder.writer import LayerFolderWriter

__all__ = [
    "Body",
    "Finding",
    "HeaderRecordReader",
    "HeaderRecordWriter",
    "IndexWriter",
    "LayerFolder",
    "LayerFolderReader",
    "LayerFolderWriter",
    "LayerIndex",
    "Node",
    "StreamNode",
    "read_layer_chain",
    "remove_layer_folder",
    "require_original",
    "sweep",
    "verify_folder",
    "write_original",
]

_HOMES = {
    "wclayer.formats.folder.folder": ("LayerFolder", "read_layer_chain"),
    "wclayer.formats.folder.header_writer": ("HeaderRecordWriter",),
    "wclayer.formats.folder.headers": ("Body", "HeaderRecordReader"),
    "wclayer.formats.folder.index": ("LayerIndex",),
    "wclayer.formats.folder.index_writer": ("IndexWriter",),
    "wclayer.formats.folder.node": ("Node", "StreamNode"),
    "wclayer.formats.folder.original": ("require_original", "write_original"),
    "wclayer.formats.folder.reader": ("LayerFolderReader",),
    "wclayer.formats.folder.staging": ("remove_layer_folder", "sweep"),
    "wclayer.formats.folder.verify": ("Finding", "verify_folder"),
    "wclayer.formats.folder.writer": ("LayerFolderWriter",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
