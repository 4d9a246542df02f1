"""The folder of a base layer: written, read, and made of a folder of files."""

from wclayer.formats.base.convert import HIVE_NAMES, convert_to_base_layer
from wclayer.formats.base.items import BaseFolderReader, BaseFolderWriter, refuse_deletions
from wclayer.formats.base.reader import BaseLayerReader
from wclayer.formats.base.writer import BaseLayerWriter

__all__ = [
    "HIVE_NAMES",
    "BaseFolderReader",
    "BaseFolderWriter",
    "BaseLayerReader",
    "BaseLayerWriter",
    "convert_to_base_layer",
    "refuse_deletions",
]
