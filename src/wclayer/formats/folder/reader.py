"""A layer folder as a flow of items, in the order in which they were recorded."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import FormatError
from wclayer.formats.folder.folder import LayerFolder
from wclayer.formats.folder.node import Node, StreamNode
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Tombstone

__all__ = ["LayerFolderReader"]


class LayerFolderReader:
    """Yields the items of ``folder``, which stays open and belongs to the caller.

    A stream follows its owner, also when it stood elsewhere in the source; an orphan stands where it stood. Synthesised
    folders are not items. Data is read from the files of the folder when a stream is asked for it: IntegrityError when
    a file is missing or has another size. Iterating again begins again. Raises FormatError for a damaged database.
    """

    def __init__(self, folder: LayerFolder) -> None:
        self.folder = folder

    def __iter__(self) -> Iterator[LayerItem]:
        streams = self.folder.all_streams()
        stream = next(streams, None)
        for node in self.folder.nodes():
            while stream is not None and (stream.entry or stream.id) < node.id:
                yield self._stream(stream, stream.owner)
                stream = next(streams, None)
            if not node.is_synthesised:
                yield self._item(node)
            while stream is not None and stream.entry == node.id:
                yield self._stream(stream, node.path)
                stream = next(streams, None)
        while stream is not None:
            yield self._stream(stream, stream.owner)
            stream = next(streams, None)

    def _item(self, node: Node) -> LayerItem:
        if node.is_tombstone:
            return Tombstone(node.path, node.ordinal)
        metadata = node.metadata()
        if node.is_link:
            return HardLink(node.path, node.target or "", metadata, node.ordinal)
        return Entry(
            node.path,
            metadata,
            is_directory=node.is_folder,
            data=self.folder.open_data(node),
            file_id=node.file_id,
            ordinal=node.ordinal,
        )

    def _stream(self, stream: StreamNode, owner: str) -> AlternateStream:
        if not owner:
            raise FormatError(f"stream {stream.id} has no owner", kind="layer-db", layer=self.folder.where)
        return AlternateStream(owner, stream.name, self.folder.open_stream(stream), stream.ordinal)
