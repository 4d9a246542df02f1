"""The plain folder: the files of a layer as ordinary files, and one text file with everything else, to be edited."""

from wclayer.formats.plain.lines import METADATA, SCHEMA, STREAMS
from wclayer.formats.plain.reader import PlainFolderReader
from wclayer.formats.plain.writer import PlainFolderWriter

__all__ = ["METADATA", "SCHEMA", "STREAMS", "PlainFolderReader", "PlainFolderWriter"]
