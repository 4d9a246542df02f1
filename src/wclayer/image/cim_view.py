"""CIM images as layers of a view: a fork holds all that its parents hold, so the top one alone is the merged view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wclayer.errors import IntegrityError
from wclayer.formats.cim.layer_reader import CimLayerReader
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.folder import IndexWriter, LayerIndex, Node, StreamNode
from wclayer.image.view import Consume
from wclayer.model import Notices, Stream, copy_layer
from wclayer.ntfs.names import fold

__all__ = ["CimViewLayer"]


class CimViewLayer:
    """The image ``cim`` as a layer of a view: all of it, or with ``parent`` what it changes of that image.

    Without ``processed`` what the import of a layer has added is not shown.
    """

    def __init__(self, cim: Path, *, parent: Path | None = None, processed: bool = True) -> None:
        self.cim = cim
        self._parent = parent
        self._processed = processed
        self._image = CimImage.open(cim)
        self._index: LayerIndex | None = None

    @property
    def index(self) -> LayerIndex:
        """What is in it, in temporary space, made when it is first asked for."""
        if self._index is None:
            is_whole, processed = self._parent is None, self._processed
            reader = CimLayerReader(self.cim, parent=self._parent, whole=is_whole, processed=processed)
            with IndexWriter(notices=Notices()) as writer:
                copy_layer(reader, writer)
            self._index = writer.index
        return self._index

    @property
    def label(self) -> str:
        """The name of its file."""
        return self.cim.name

    @property
    def identity(self) -> str | None:
        """Its GUID and where it lies: one that was written over has another."""
        return f"{self._image.guid} {self.cim.resolve()}"

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """Each from the image, where it lies."""
        for node, consume in wanted:
            consume(self._stream(node.owner, node.name) if isinstance(node, StreamNode) else self._data(node))

    def close(self) -> None:
        """Close the image. Harmless when called twice."""
        if self._index is not None:
            self._index.close()
        self._image.close()

    def _data(self, node: Node) -> Stream:
        file = self._image.lookup(node.path)
        if file is None or file.is_directory:
            raise IntegrityError("the image does not hold what it held a moment ago", path=node.path)
        return Stream(file.size, lambda _stored: file.pieces())

    def _stream(self, owner: str, name: str) -> Stream:
        file = self._image.lookup(owner)
        bare = fold(name.removeprefix(":").removesuffix(":$DATA"))
        for stream in file.streams if file is not None else ():
            if fold(stream.name) == bare:
                return Stream(stream.size, lambda _stored: stream.pieces())  # noqa: B023 - returned at once
        raise IntegrityError(f"the image has no stream {name} any more", path=owner)
