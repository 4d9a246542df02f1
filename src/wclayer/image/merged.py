"""A view as a flow of items: a stack of layers flattened into one.

Folders come before what is in them, names in folded order. Of a file with several names the first one met is the file
and the others are hard links to it; a hard link whose file is not in the flow (deleted under that name, or outside of
the subtree) is therefore a file of its own.
"""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import FormatError
from wclayer.formats.folder import Node, StreamNode
from wclayer.image.target import FolderLayer
from wclayer.image.view import Found, View
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Stream

__all__ = ["MergedReader"]


class MergedReader:
    """Reads a view whose layers are layer folders. ``subtree`` is a layer path; its own folders come along.

    Raises NotFoundError for a subtree that is not there.
    """

    def __init__(self, view: View, subtree: str = "") -> None:
        self.view = view
        self.subtree = subtree
        self._names: dict[tuple[int, int], str] = {}

    def __iter__(self) -> Iterator[LayerItem]:
        view = self.view
        self._names.clear()
        top = view.find(self.subtree, follow=False)
        names = top.path.split("/") if top.path else []
        for depth in range(1, len(names)):
            yield from self._items(view.find("/".join(names[:depth]), follow=False))
        if names:
            yield from self._items(top)
        if top.is_folder:
            for found in view.walk(top):
                yield from self._items(found)

    def _items(self, found: Found) -> Iterator[LayerItem]:
        view = self.view
        metadata = view.metadata(found)
        if found.is_folder:
            yield Entry(found.path, metadata, is_directory=True)
        else:
            layer, node = view.content(found)
            first = self._names.setdefault((layer, node.id), found.path)
            if first != found.path:
                yield HardLink(found.path, first, metadata)
                return
            yield Entry(found.path, metadata, is_directory=node.is_folder, data=self._data(layer, node))
        for layer, stream in view.streams(found):
            yield AlternateStream(found.path, stream.name, self._stream(layer, stream))

    def _data(self, layer: int, node: Node) -> Stream | None:
        return self._folder(layer).folder.open_data(node)

    def _stream(self, layer: int, stream: StreamNode) -> Stream:
        return self._folder(layer).folder.open_stream(stream)

    def _folder(self, layer: int) -> FolderLayer:
        one = self.view.layers[layer]
        if not isinstance(one, FolderLayer):
            raise FormatError("only layers on disk can be merged", layer=one.label)
        return one
