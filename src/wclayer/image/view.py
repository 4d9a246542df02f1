"""The merged view: what a container sees of a stack of layers.

:mod:`wclayer.formats.stacking` says which entries of which layers make up a name; here paths are walked through it,
links are followed, and metadata and data are found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import NamedTuple, Protocol, Self

from wclayer.errors import NotFoundError, UnsafeEntryError, WclayerError
from wclayer.formats.folder import LayerIndex, Node, StreamNode
from wclayer.formats.stacking import Parts, Stacked, Stacking, walk_down
from wclayer.image.paths import link_destination, windows_path
from wclayer.model import LayerChain, Metadata, Stream
from wclayer.ntfs.names import checked_path
from wclayer.ntfs.reparse import (
    IO_REPARSE_TAG_MOUNT_POINT,
    IO_REPARSE_TAG_SYMLINK,
    link_target,
    tag_name,
    tag_of,
)

__all__ = ["MAX_HOPS", "Consume", "Found", "View", "ViewLayer"]

MAX_HOPS = 63
"""The most links on the way to a file, as on Windows."""

Consume = Callable[[Stream], None]
"""Takes the data of a file or stream; it may be read until the function returns."""


class ViewLayer(Protocol):
    """A layer under a view: its index, and its data on demand."""

    @property
    def index(self) -> LayerIndex:
        """What is in the layer."""

    @property
    def label(self) -> str:
        """Names the layer to people."""

    @property
    def identity(self) -> str | None:
        """The same for layers that hold the same, such as the DiffID; None when nothing of that kind is known."""

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """Call each function with the data of its file or stream, in whatever order is cheapest."""

    def close(self) -> None:
        """Let go of everything."""


class Found(NamedTuple):
    """Something in a view.

    ``layer`` counts from the nearest, ``node`` is its entry there; ``parts`` are the folders that make up a folder,
    nearest first, each with its layer. The root has no node.
    """

    path: str
    layer: int
    node: Node | None
    parts: Parts = ()

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, and not a link to one."""
        return bool(self.parts)

    @property
    def is_reparse_point(self) -> bool:
        """Whether it carries a reparse buffer."""
        return self.node is not None and self.node.is_reparse_point

    @property
    def is_tombstone(self) -> bool:
        """Whether it is the deletion of what parents hold; only a view of a single layer shows such."""
        return self.node is not None and self.node.is_tombstone

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rpartition("/")[2]


class View:
    """What is in a stack of layers, nearest first. Close it after use.

    With ``single`` only the nearest layer is shown, deletions included; those below are only asked for the files that
    its hard links name. ``reference`` names the image in errors; ``close`` is called when the view is closed.
    """

    def __init__(
        self,
        layers: LayerChain[ViewLayer],
        *,
        single: bool = False,
        notes: Iterable[str] = (),
        reference: str | None = None,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.layers = layers.layers
        self.notes = tuple(notes)
        self.reference = reference
        self._close = close
        self._shown = 1 if single else len(self.layers)
        self._stacking = Stacking([layer.index for layer in self.layers[: self._shown]], raw=single)

    def close(self) -> None:
        """Close all layers. Harmless when called twice."""
        for layer in self.layers:
            layer.close()
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, WclayerError):
            error.locate(image=self.reference)
        self.close()

    @property
    def root(self) -> Found:
        """The top of the layers: ``Files``, ``Hives``, ``UtilityVM``."""
        return Found("", 0, None, tuple((layer, None) for layer in range(self._shown)))

    def number(self, layer: int) -> int:
        """The number of a layer as manifests count, from 0, the base."""
        return len(self.layers) - 1 - layer

    # ------------------------------------------------------------------ looking things up

    def find(self, path: str, *, follow: bool = True) -> Found:
        """What is at the layer path ``path``. Links on the way are followed; one at its end only with ``follow``.

        Raises NotFoundError, which says how far the path exists.
        """
        hops = 0
        names = _names(path)
        here = self.root
        while names:
            name = names.pop(0)
            if not here.is_folder:
                raise NotFoundError(f"{windows_path(here.path)} is not a folder")
            child = self._child(here, name, descend=bool(names))
            if child is None:
                missing = f"{here.path}/{name}" if here.path else name
                raise NotFoundError(f"there is no {windows_path(missing)}")
            if not child.is_reparse_point or not (names or follow):
                here = child
                continue
            hops += 1
            if hops > MAX_HOPS:
                raise NotFoundError(f"more than {MAX_HOPS} links on the way to {windows_path(path)}")
            names = _names(self.destination(child)) + names
            here = self.root
        return here

    def destination(self, link: Found) -> str:
        """The layer path that a symbolic link or junction leads to. NotFoundError when it leads nowhere."""
        buffer = self.metadata(link).reparse or b""
        tag = tag_of(buffer)
        if tag not in (IO_REPARSE_TAG_SYMLINK, IO_REPARSE_TAG_MOUNT_POINT):
            raise NotFoundError(f"{windows_path(link.path)} is a reparse point of another kind ({tag_name(tag)})")
        return link_destination(link_target(buffer), link.path.rpartition("/")[0])

    def children(self, folder: Found) -> list[Found]:
        """What lies in ``folder``, in the order of folded names."""
        path = folder.path
        return [
            Found(_below(path, node), layer, node, parts)
            for layer, node, parts in self._stacking.children(path, folder.parts)
        ]

    def walk(self, folder: Found) -> Iterator[Found]:
        """Everything below ``folder``, each folder before what is in it."""
        return walk_down(folder, self.children)

    def _child(self, folder: Found, name: str, *, descend: bool) -> Found | None:
        """What ``name`` means in ``folder``: the exact spelling first; to ``descend``, what a path can go through."""
        alike = self._stacking.named(folder.path, folder.parts, name)
        if not alike:
            return None

        def unlikely(stacked: Stacked) -> tuple[bool, bool, bool]:
            node = stacked.node
            blocked = descend and not stacked.parts and not node.is_reparse_point
            return node.is_tombstone, blocked, node.name != name

        layer, node, parts = min(alike, key=unlikely)
        return Found(_below(folder.path, node), layer, node, parts)

    # ------------------------------------------------------------------ what there is to know

    def metadata(self, found: Found) -> Metadata:
        """What NTFS keeps about it. A hard link is another name of its file, so it is what the file has.

        Raises UnsafeEntryError as :meth:`content` does.
        """
        node = found.node
        if node is None:
            return Metadata()
        if node.is_link:
            _, node = self.content(found)
        return node.metadata()

    def content(self, found: Found) -> tuple[int, Node]:
        """The layer and the entry that hold its data: its own, or those of the file a hard link is a name of.

        Raises UnsafeEntryError for a hard link to what is no file, NotFoundError for a tombstone.
        """
        if found.node is None:
            raise NotFoundError("the layers themselves have no data")
        if found.is_tombstone:
            raise NotFoundError(f"this layer deletes {windows_path(found.path)}, and holds nothing of it")
        if not found.node.is_link:
            return found.layer, found.node
        target = found.node.target_node()  # what the layer knows needs no search
        if target is not None and target.is_file:
            return found.layer, _linkable(found.node, target)
        *_, last = self._names_of(found.layer, found.node)
        return last

    def _names_of(self, layer: int, node: Node) -> Iterator[tuple[int, Node]]:
        """A file by way of the hard links that lead to it, the file last."""
        seen = set()
        yield layer, node
        while node.is_link:
            if (layer, node.id) in seen:
                raise UnsafeEntryError("hard links in a circle", path=node.path)
            seen.add((layer, node.id))
            layer, node = self._link_target(layer, node)
            yield layer, node

    def _link_target(self, layer: int, link: Node) -> tuple[int, Node]:
        try:
            path = checked_path(link.target or "")
        except UnsafeEntryError as error:
            raise UnsafeEntryError(f"unsafe hard link to {link.target}: {error.message}", path=link.path) from None
        for node in self.layers[layer].index.spellings(path):
            if node.id != link.id:
                return layer, _linkable(link, node)
        for below in range(layer + 1, len(self.layers)):
            found = self.layers[below].index.lookup(path)
            if found is not None:
                return below, _linkable(link, found)
        raise UnsafeEntryError(
            f"the target {path} of the hard link is in no layer",
            path=link.path,
            hint="name the image, or the layer folder with its parents",
        )

    def size(self, found: Found) -> int | None:
        """The logical size of its main stream in bytes, None when there is none."""
        if found.is_folder or found.is_tombstone or found.node is None:
            return None
        return self.content(found)[1].size

    def streams(self, found: Found) -> list[tuple[int, StreamNode]]:
        """Its alternate streams, each with the layer that holds it."""
        if found.node is None or found.is_tombstone:
            return []
        # A stream belongs to the file, under whatever name of it the layer has it.
        return [
            (layer, stream)
            for layer, node in self._names_of(found.layer, found.node)
            for stream in self.layers[layer].index.own_streams(node)
        ]

    def read(self, wanted: Iterable[tuple[Found, Consume]]) -> None:
        """Call each function with the main stream of its file (an empty one when it has none), one layer at a time."""
        by_layer: dict[int, list[tuple[Node | StreamNode, Consume]]] = {}
        for found, consume in wanted:
            layer, node = self.content(found)
            if node.size is None:
                consume(Stream.from_bytes(b""))
            else:
                by_layer.setdefault(layer, []).append((node, consume))
        self._read(by_layer)

    def read_streams(self, wanted: Iterable[tuple[int, StreamNode, Consume]]) -> None:
        """The same for alternate streams, as :meth:`streams` gives them."""
        by_layer: dict[int, list[tuple[Node | StreamNode, Consume]]] = {}
        for layer, stream, consume in wanted:
            by_layer.setdefault(layer, []).append((stream, consume))
        self._read(by_layer)

    def _read(self, by_layer: dict[int, list[tuple[Node | StreamNode, Consume]]]) -> None:
        for layer, wanted in by_layer.items():
            try:
                self.layers[layer].read(wanted)
            except WclayerError as error:
                raise error.locate(layer=self.layers[layer].label) from None


def _linkable(link: Node, target: Node) -> Node:
    if target.is_folder or target.is_reparse_point:
        what = "a reparse point" if target.is_reparse_point else "a folder"
        raise UnsafeEntryError(f"a hard link to {target.path}, which is {what}", path=link.path)
    return target


def _names(path: str) -> list[str]:
    return [name for name in path.split("/") if name]


def _below(folder: str, node: Node) -> str:
    return f"{folder}/{node.name}" if folder else node.name
