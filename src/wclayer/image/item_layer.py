"""Any layer that can be read as a flow of items, as a layer of a view: one pass makes its index, another gets its data.

For what has neither ``layer.db`` nor a digest: transport folders, folders of base layers, plain folders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from wclayer.errors import IntegrityError
from wclayer.formats.folder import IndexWriter, LayerIndex, Node, StreamNode
from wclayer.image.view import Consume
from wclayer.model import AlternateStream, Entry, LayerItem, Notices, Stream

__all__ = ["ItemLayer"]


class ItemLayer:
    """The layer whose items ``read`` gives, each time it is called; ``label`` names it to people.

    ``notices`` takes what is odd about it. ``close`` is called when the layer is closed.
    """

    def __init__(
        self,
        label: str,
        read: Callable[[], Iterable[LayerItem]],
        *,
        notices: Notices | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.label = label
        self.identity: str | None = None
        self.notices = Notices() if notices is None else notices
        self._read = read
        self._close = close
        self._index: LayerIndex | None = None

    @property
    def index(self) -> LayerIndex:
        """What is in the layer, in temporary space, made when it is first asked for."""
        if self._index is None:
            with IndexWriter(notices=self.notices) as writer:
                for item in self._numbered():
                    writer.write(item)
            self._index = writer.index
        return self._index

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """One pass over the layer, up to the last of what is wanted."""
        pending: dict[int, list[Consume]] = {}
        sizes: dict[int, int] = {}
        for node, consume in wanted:
            pending.setdefault(node.ordinal, []).append(consume)
            sizes[node.ordinal] = node.size or 0
        if not pending:
            return
        for item in self._numbered():
            consumers = pending.pop(item.ordinal, None)
            if consumers is None:
                continue
            data = item.data if isinstance(item, Entry | AlternateStream) else None
            if (data.size if data else 0) != sizes[item.ordinal]:
                break
            for consume in consumers:
                consume(Stream.from_bytes(b"") if data is None else data)
            if not pending:
                return
        raise IntegrityError("the layer does not hold what it held a moment ago", layer=self.label)

    def close(self) -> None:
        """Let go of the index. Harmless when called twice."""
        if self._index is not None:
            self._index.close()
        self._close()

    def _numbered(self) -> Iterator[LayerItem]:
        """The items, each with its number in this very order."""
        for number, item in enumerate(self._read()):
            item.ordinal = number
            yield item
