"""The layer folder: the form of a layer on this machine.

A tree of plain files that any tool can look at, and beside it ``layer.db``, which holds what plain files cannot.
"""

from wclayer.formats.folder.folder import LayerFolder, read_layer_chain
from wclayer.formats.folder.headers import Body, HeaderRecordReader, HeaderRecordWriter
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
