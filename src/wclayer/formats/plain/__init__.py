"""The plain folder: the files of a layer as ordinary files, and one text file with everything else, to be edited.

The names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer._lazy import lazy_names

if TYPE_CHECKING:
    from wclayer.formats.plain.names import METADATA, SCHEMA, STREAMS
    from wclayer.formats.plain.reader import PlainFolderReader
    from wclayer.formats.plain.writer import PlainFolderWriter

__all__ = ["METADATA", "SCHEMA", "STREAMS", "PlainFolderReader", "PlainFolderWriter"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "wclayer.formats.plain.names": ("METADATA", "SCHEMA", "STREAMS"),
        "wclayer.formats.plain.reader": ("PlainFolderReader",),
        "wclayer.formats.plain.writer": ("PlainFolderWriter",),
    },
)
