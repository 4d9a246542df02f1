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
    """The layer ``blob``, indexed in temporary space when the index is first asked for."""

    def __init__(
        self, blob: LayerBlob, limits: Limits, *, strict: bool = False, progress: Progress = NO_PROGRESS
    ) -> None:
        self.blob = blob
        self.notices = Notices(strict=strict)
        self._limits = limits
        self._progress = progress
        self._index: LayerIndex | None = None
        self._announced = False

    @property
    def index(self) -> LayerIndex:
        """What is in the layer. Raises whatever is wrong with it, or with its digests."""
        return self.scan()

    def announce(self) -> None:
        """Tell the progress that the layer will be read. NotFoundError when it is not here."""
        if not self._announced:
            self._announced = True
            self._progress.expect(1, self.blob.locate().size)

    def scan(self) -> LayerIndex:
        """Make the index, unless it is there."""
        if self._index is not None:
            return self._index
        self.announce()
        progress, label = self._progress, self.label
        progress.begin(label)
        try:
            self._index = self._scan()
        except WclayerError as error:
            raise error.locate(layer=label) from None
        finally:
            progress.end(label)
        return self._index

    def _scan(self) -> LayerIndex:
        """Make the index, while the layer comes where it is not all here yet."""
        arriving = self.blob.locate().arriving
        try:
            return self._make_index(following=arriving is not None)
        except IntegrityError:
            if arriving is None:
                raise
        # What was read was not verified yet. If it came damaged it was fetched once more; if not, the layer is bad.
        arriving.wait()
        self.notices = Notices(strict=self.notices.strict)
        return self._make_index(following=False)

    def _make_index(self, *, following: bool) -> LayerIndex:
        progress, label = self._progress, self.label
        # Links into parents are resolved by the view, which knows them.
        with (
            self.blob.stream(limits=self._limits, following=following) as stream,
            IndexWriter(notices=Notices()) as writer,
        ):
            copy_layer(TarLayerReader(watched(stream, progress, label), notices=self.notices), writer)
            stream.finish()
        return writer.index

    @property
    def label(self) -> str:
        """Its place and digest."""
        return str(self.blob)

    @property
    def identity(self) -> str | None:
        """The DiffID that the configuration lists, which the first pass verified."""
        return str(self.blob.diff_id) if self.blob.diff_id else None

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """One pass over the blob, up to the last of what is wanted; one more for what is wanted twice."""
        pending: dict[int, list[Consume]] = {}
        for node, consume in wanted:
            pending.setdefault(node.ordinal, []).append(consume)
        while pending:
            self._pass({ordinal: consumers.pop() for ordinal, consumers in pending.items()})
            pending = {ordinal: consumers for ordinal, consumers in pending.items() if consumers}

    def close(self) -> None:
        """Let go of the index."""
        if self._index is not None:
            self._index.close()

    def _pass(self, wanted: dict[int, Consume]) -> None:
        progress, label = self._progress, self.label
        progress.expect(1, self.blob.locate().size)
        progress.begin(label)
        try:
            with self.blob.stream(limits=self._limits) as stream:
                for item in TarLayerReader(watched(stream, progress, label), notices=Notices()):
                    if isinstance(item, Entry | AlternateStream) and item.data is not None and item.ordinal in wanted:
                        wanted.pop(item.ordinal)(item.data)
                        if not wanted:
                            return
        finally:
            progress.end(label)
        raise IntegrityError("the layer does not hold what it held a moment ago", layer=label)
