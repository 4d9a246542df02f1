"""The folder of a base layer: written, read, and made of a folder of files.

The names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer._lazy import lazy_names

if TYPE_CHECKING:
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

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "wclayer.formats.base.convert": ("HIVE_NAMES", "convert_to_base_layer"),
        "wclayer.formats.base.items": ("BaseFolderReader", "BaseFolderWriter", "refuse_deletions"),
        "wclayer.formats.base.reader": ("BaseLayerReader",),
        "wclayer.formats.base.writer": ("BaseLayerWriter",),
    },
)
