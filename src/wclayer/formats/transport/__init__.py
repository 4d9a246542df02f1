"""The transport ("legacy") folder that ImportLayer takes and ExportLayer leaves, under hcsshim's names."""

from wclayer.formats.transport.commit import commit_layer
from wclayer.formats.transport.item_reader import TransportFolderReader
from wclayer.formats.transport.item_writer import TransportFolderWriter
from wclayer.formats.transport.names import MUTATED, SIDECAR, TOMBSTONES
from wclayer.formats.transport.portable import export_layer, import_layer, process_nothing
from wclayer.formats.transport.reader import EntryHead, LegacyLayerReader, LinkInfo
from wclayer.formats.transport.writer import ChangedFolder, LegacyLayerWriter, PendingFolder, PendingLink

__all__ = [
    "MUTATED",
    "SIDECAR",
    "TOMBSTONES",
    "ChangedFolder",
    "EntryHead",
    "LegacyLayerReader",
    "LegacyLayerWriter",
    "LinkInfo",
    "PendingFolder",
    "PendingLink",
    "TransportFolderReader",
    "TransportFolderWriter",
    "commit_layer",
    "export_layer",
    "import_layer",
    "process_nothing",
]
