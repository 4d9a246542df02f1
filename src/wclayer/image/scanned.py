"""A layer of an image that was not unpacked, as a layer of a view: one pass makes its index, another gets its data.

The first pass verifies the digests; so what later passes find is what was promised, unless the image changed meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.errors import IntegrityError, WclayerError
from wclayer.formats.folder import IndexWriter, LayerIndex, Node, StreamNode
from wclayer.formats.tar import TarLayerReader
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.view import Consume
from wclayer.model import AlternateStream, Entry, Notices, copy_layer
from wclayer.oci import LayerBlob, Limits

__all__ = ["ScannedLayer"]


class ScannedLayer:
    """The layer ``blob``, indexed in temporary space."""

    def __init__(
        self, blob: LayerBlob, limits: Limits, *, strict: bool = False, progress: Progress = NO_PROGRESS
    ) -> None:
        self.blob = blob
        self._limits = limits
        self.notices = Notices(strict=strict)
        progress.begin(self.label, blob.descriptor.size if blob.descriptor else None)
        try:
            # Links into parents are resolved by the view, which knows them.
            with blob.stream(limits=limits) as stream, IndexWriter(notices=Notices()) as writer:
                copy_layer(TarLayerReader(watched(stream, progress, self.label), notices=self.notices), writer)
                stream.finish()
                self.diff_id = stream.diff_id
        except WclayerError as error:
            raise error.locate(layer=self.label) from None
        finally:
            progress.end(self.label)
        self._index = writer.index

    @property
    def index(self) -> LayerIndex:
        """What is in the layer."""
        return self._index

    @property
    def label(self) -> str:
        """Its place and digest."""
        return str(self.blob)

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """One pass over the blob, up to the last of what is wanted; one more for what is wanted twice."""
        pending: dict[int, list[Consume]] = {}
        for node, consume in wanted:
            pending.setdefault(node.ordinal, []).append(consume)
        while pending:
            self._pass({ordinal: consumers.pop() for ordinal, consumers in pending.items()})
            pending = {ordinal: consumers for ordinal, consumers in pending.items() if consumers}

    def _pass(self, wanted: dict[int, Consume]) -> None:
        with self.blob.stream(limits=self._limits) as stream:
            for item in TarLayerReader(stream, notices=Notices()):
                if isinstance(item, Entry | AlternateStream) and item.data is not None and item.ordinal in wanted:
                    wanted.pop(item.ordinal)(item.data)
                    if not wanted:
                        return
        raise IntegrityError("the layer does not hold what it held a moment ago", layer=self.label)

    def close(self) -> None:
        """Let go of the index."""
        self._index.close()
