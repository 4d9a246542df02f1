"""What layers on each other look like: names merged, deletions applied, hard links followed to their files.

The rules are those of :mod:`wclayer.formats.stacking`. Symbolic links and junctions are things of their own here;
nobody goes through them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from wclayer.errors import FormatError
from wclayer.formats.folder import LayerFolder, Node, StreamNode
from wclayer.formats.stacking import Parts, Stacking, walk_down
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream

__all__ = ["ChainView", "Seen"]


class Seen(NamedTuple):
    """Something in a view: its entry ``node`` in the layer number ``layer``, the nearest being 0.

    ``parts`` are those of a folder. The top has no node.
    """

    path: str
    layer: int
    node: Node | None
    parts: Parts = ()

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, and no link to one."""
        return bool(self.parts)


class ChainView:
    """The view of ``layers``, nearest first, which stay open and belong to the caller."""

    def __init__(self, layers: Sequence[LayerFolder]) -> None:
        self.layers = tuple(layers)
        self._stacking = Stacking(self.layers)

    @property
    def top(self) -> Seen:
        """The folder that holds ``Files``, ``Hives`` and ``UtilityVM``."""
        return Seen("", 0, None, tuple((number, None) for number in range(len(self.layers))))

    def children(self, folder: Seen) -> list[Seen]:
        """What lies in ``folder``, in the order of folded names."""
        path = folder.path
        return [
            Seen(f"{path}/{node.name}" if path else node.name, layer, node, parts)
            for layer, node, parts in self._stacking.children(path, folder.parts)
        ]

    def find(self, path: str) -> Seen | None:
        """What is at ``path``, in any case of letters; None when there is nothing."""
        here = self.top
        for name in path.split("/") if path else ():
            found = self._stacking.named(here.path, here.parts, name) if here.parts else []
            if not found:
                return None
            layer, node, parts = min(found, key=lambda one: (not one.parts, one.node.name != name))
            here = Seen(f"{here.path}/{node.name}" if here.path else node.name, layer, node, parts)
        return here

    def walk(self, folder: Seen | None = None) -> Iterator[Seen]:
        """Everything below ``folder`` (None: the top), each folder before what is in it."""
        return walk_down(folder or self.top, self.children)

    def file(self, seen: Seen) -> tuple[int, Node]:
        """The layer and the entry of the file itself: those of ``seen``, or of what a hard link is a name of.

        Raises FormatError for a hard link that leads nowhere.
        """
        *_, last = self._names_of(seen)
        return last

    def metadata(self, seen: Seen) -> Metadata:
        """What NTFS keeps about it."""
        return Metadata() if seen.node is None else self.file(seen)[1].metadata()

    def data(self, seen: Seen) -> Stream | None:
        """Its main stream, None when it has none."""
        layer, node = self.file(seen)
        return self.layers[layer].open_data(node)

    def streams(self, seen: Seen) -> list[tuple[int, StreamNode]]:
        """Its alternate streams, each with the layer that holds it."""
        if seen.node is None:
            return []
        return [
            (layer, stream) for layer, node in self._names_of(seen) for stream in self.layers[layer].own_streams(node)
        ]

    def described(self, seen: Seen) -> Iterator[LayerItem]:
        """The entry of ``seen``, and its alternate streams."""
        data = None if seen.is_folder else self.data(seen)
        is_directory = seen.is_folder or self.file(seen)[1].is_folder
        yield Entry(seen.path, self.metadata(seen), is_directory=is_directory, data=data)
        yield from self.alternate_streams(seen, seen.path)

    def alternate_streams(self, seen: Seen, path: str) -> Iterator[AlternateStream]:
        """The alternate streams of ``seen`` under the name ``path``."""
        for layer, stream in self.streams(seen):
            yield AlternateStream(path, stream.name, self.layers[layer].open_stream(stream))

    def items(self) -> Iterator[LayerItem]:
        """Everything, as one layer. Of several names of a file the first is the file, the others are links to it."""
        names: dict[tuple[int, int], str] = {}
        for seen in self.walk():
            if not seen.is_folder:
                layer, node = self.file(seen)
                first = names.setdefault((layer, node.id), seen.path)
                if first != seen.path:
                    yield HardLink(seen.path, first, self.metadata(seen))
                    continue
            yield from self.described(seen)

    def _names_of(self, seen: Seen) -> Iterator[tuple[int, Node]]:
        """A file by way of the hard links that lead to it, the file last."""
        layer, node = seen.layer, seen.node
        if node is None:
            raise FormatError("the top of the layers is no file", kind="layer-db")
        passed = set()
        yield layer, node
        while node.is_link:
            if (layer, node.id) in passed:
                raise FormatError("hard links in a circle", kind="hard-link", path=seen.path)
            passed.add((layer, node.id))
            layer, node = self._step(layer, node)
            yield layer, node

    def _step(self, layer: int, link: Node) -> tuple[int, Node]:
        target = link.target_node()
        if target is not None:
            return layer, target
        # The number of the layer is that among the parents the link was made with, which are those of this chain.
        below = layer + 1 + link.target_layer if link.target_layer is not None else len(self.layers)
        for number in (below, *range(layer + 1, len(self.layers))):
            if number < len(self.layers):
                found = self.layers[number].lookup(link.target or "")
                if found is not None:
                    return number, found
        raise FormatError(f"the target {link.target} of a hard link is in no layer", kind="hard-link", path=link.path)
