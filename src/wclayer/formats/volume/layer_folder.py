"""A layer folder of this package as a volume to read: its ``layer.db`` stands in for a manifest.

So a layer that was unpacked can be the parent of one that is imported. Names that a layer folder stores under another
name, for being too long, are not known under their own here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from wclayer.formats.folder import LayerFolder, Node, StreamNode
from wclayer.formats.volume.items import basic_of
from wclayer.formats.volume.manifest import Manifest, StreamRow
from wclayer.formats.volume.record import Record
from wclayer.model import Metadata
from wclayer.ntfs.ea import encode_eas
from wclayer.ntfs.names import decode_wtf8

__all__ = ["LayerFolderManifest"]


class LayerFolderManifest(Manifest):
    """What ``folder`` knows of its files, read only; closes the folder when it is closed."""

    def __init__(self, folder: LayerFolder) -> None:
        super().__init__(None)
        self.read_only = True
        self._folder = folder
        self._streams: dict[int, StreamNode] = {}

    def get(self, path: bytes) -> Record | None:
        """The record of the file at ``path`` on this machine."""
        node = self._folder.lookup(decode_wtf8(path))
        if node is None or node.is_tombstone:
            return None
        metadata = _metadata_of(node)
        record = Record.new(is_directory=node.is_folder)
        record.set_basic(basic_of(metadata))
        record.security_descriptor = metadata.security_descriptor
        record.reparse = metadata.reparse
        if metadata.extended_attributes:
            record.extended_attributes = encode_eas(metadata.extended_attributes)
        record.ranges = None if node.size is None else node.ranges
        record.streams = bool(self._folder.streams(node))
        record.node = node.id
        return record

    def prepare(self, paths: Sequence[bytes]) -> None:
        """Nothing: the folder knows how to look up."""
        del paths

    def streams_of(self, record: Record) -> list[StreamRow]:
        """The alternate streams of a file."""
        found = self._folder.streams(self._folder.node(record.node)) if record.streams else []
        self._streams = {stream.id: stream for stream in found}
        return [StreamRow(stream.id, stream.name, stream.size, stream.ranges) for stream in found]

    def stream_pieces(self, stream: int) -> Iterator[bytes]:
        """The stored bytes of an alternate stream."""
        for piece in self._folder.open_stream(self._streams[stream]).stored_pieces():
            yield bytes(piece)

    def alias(self, leaf: bytes) -> str | None:
        """None: no name stands for another one here."""
        del leaf
        return None

    def close(self, *, commit: bool = True) -> None:
        """Close the folder."""
        super().close(commit=commit)
        self._folder.close()


def _metadata_of(node: Node) -> Metadata:
    """Of a link, what is known of the file that it names."""
    target = node.target_node() if node.is_link else None
    return (target or node).metadata()
