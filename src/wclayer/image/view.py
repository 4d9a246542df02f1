"""The merged view: what a container sees of a stack of layers.

A folder is the union of the folders of that name in all layers; a file is the nearest one. What a nearer layer deletes,
or puts in the place of a folder, hides what lies below it. Names are compared as Windows compares them, and spelt as
the nearest layer spells them.

Tombstones count below ``Files`` and ``UtilityVM/Files`` only, which is where Windows deletes. A file that a layer both
holds and deletes is deleted, as after an import by hcsshim; a folder keeps what the layer itself puts into it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from wclayer.errors import NotFoundError, UnsafeEntryError, WclayerError
from wclayer.formats.folder import LayerIndex, Node, StreamNode
from wclayer.image.paths import link_destination, windows_path
from wclayer.model import LayerChain, Metadata, Stream
from wclayer.ntfs.names import checked_path, fold
from wclayer.ntfs.reparse import (
    IO_REPARSE_TAG_MOUNT_POINT,
    IO_REPARSE_TAG_SYMLINK,
    link_target,
    tag_name,
    tag_of,
)

__all__ = ["Found", "View", "ViewLayer"]

MAX_HOPS = 63
"""The most links on the way to a file, as on Windows."""

Consume = Callable[[Stream], None]


class ViewLayer(Protocol):
    """A layer under a view: its index, and its data on demand."""

    @property
    def index(self) -> LayerIndex:
        """What is in the layer."""

    @property
    def label(self) -> str:
        """Names the layer to people."""

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """Call each function with the data of its file or stream, in whatever order is cheapest."""

    def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True)
class Found:
    """Something in a view. ``layer`` counts from the nearest, ``node`` is its entry there; ``parts`` are the folders
    that make up a folder, nearest first, each with its layer. The root has no node.
    """

    path: str
    layer: int
    node: Node | None
    parts: tuple[tuple[int, Node | None], ...] = ()

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, and not a link to one."""
        return bool(self.parts)

    @property
    def is_reparse_point(self) -> bool:
        """Whether it carries a reparse buffer."""
        return self.node is not None and self.node.is_reparse_point

    @property
    def name(self) -> str:
        """The last component."""
        return self.path.rpartition("/")[2]


class View:
    """What is in a stack of layers, nearest first. Close it after use."""

    def __init__(self, layers: LayerChain[ViewLayer], *, notes: Iterable[str] = ()) -> None:
        self.layers = layers.layers
        self.notes = tuple(notes)

    def close(self) -> None:
        """Close all layers."""
        for layer in self.layers:
            layer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def root(self) -> Found:
        """The top of the layers: ``Files``, ``Hives``, ``UtilityVM``."""
        return Found("", 0, None, tuple((layer, None) for layer in range(len(self.layers))))

    # ------------------------------------------------------------------ looking things up

    def find(self, path: str, *, follow: bool = True) -> Found:
        """What is at the layer path ``path``. Links on the way are followed; one at its end only with ``follow``.

        Raises NotFoundError, which says how far the path exists.
        """
        hops = 0
        names = path.split("/") if path else []
        here = self.root
        while names:
            name = names.pop(0)
            if not here.is_folder:
                raise NotFoundError(f"{windows_path(here.path)} is not a folder")
            child = self._child(here, name)
            if child is None:
                missing = f"{here.path}/{name}" if here.path else name
                raise NotFoundError(f"there is no {windows_path(missing)}")
            if not child.is_reparse_point or not (names or follow):
                here = child
                continue
            hops += 1
            if hops > MAX_HOPS:
                raise NotFoundError(f"more than {MAX_HOPS} links on the way to {windows_path(path)}")
            names = self.destination(child).split("/") + names
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
        groups: dict[str, list[tuple[int, list[Node]]]] = {}
        for layer, node in folder.parts:
            here: dict[str, list[Node]] = {}
            for child in self.layers[layer].index.children(node):
                here.setdefault(fold(child.name), []).append(child)
            for key, nodes in here.items():
                groups.setdefault(key, []).append((layer, nodes))
        found = (self._merge(folder.path, groups[key], None) for key in sorted(groups))
        return [child for child in found if child is not None]

    def walk(self, folder: Found) -> Iterator[Found]:
        """Everything below ``folder``, each folder before what is in it."""
        pending = [iter(self.children(folder))]
        while pending:
            for child in pending[-1]:
                yield child
                if child.is_folder:
                    pending.append(iter(self.children(child)))
                    break
            else:
                pending.pop()

    def _child(self, folder: Found, name: str) -> Found | None:
        key = fold(name)
        groups = []
        for layer, node in folder.parts:
            nodes = self.layers[layer].index.spelt_alike([node.id if node else 0], key)
            if nodes:
                groups.append((layer, nodes))
        return self._merge(folder.path, groups, name)

    def _merge(self, folder: str, groups: Iterable[tuple[int, list[Node]]], name: str | None) -> Found | None:
        """One name through the layers: ``groups`` holds the entries of each layer that has any, nearest first."""
        above = fold(folder).split("/")
        deletable = above[0] == "FILES" or above[:2] == ["UTILITYVM", "FILES"]
        parts: list[tuple[int, Node | None]] = []
        first: Node | None = None
        for layer, nodes in groups:
            deleted = deletable and any(node.is_tombstone for node in nodes)
            entries = [node for node in nodes if not node.is_tombstone]
            folders = [node for node in entries if node.is_folder and not node.is_reparse_point]
            files = [node for node in entries if node not in folders]
            if folders and not (files and not parts and _preferred(entries, name) in files):
                parts += ((layer, node) for node in folders)
                if first is None or first.is_synthesised:
                    first = next((node for node in folders if not node.is_synthesised), first or folders[0])
                if files:
                    break
            elif files:
                if parts or deleted:
                    break
                node = _preferred(files, name)
                return Found(_below(folder, node), layer, node)
            if deleted:
                break
        if first is None:
            return None
        layer = next(number for number, node in parts if node is first)
        return Found(_below(folder, parts[0][1] or first), layer, first, tuple(parts))

    # ------------------------------------------------------------------ what there is to know

    def metadata(self, found: Found) -> Metadata:
        """What NTFS keeps about it. A hard link has the descriptor and attributes of its file, under its own times."""
        if found.node is None:
            return Metadata()
        metadata = found.node.metadata()
        if found.node.is_link:
            _, file = self.content(found)
            target = file.metadata()
            metadata.security_descriptor = target.security_descriptor
            metadata.extended_attributes = target.extended_attributes
            metadata.reparse = target.reparse
        return metadata

    def content(self, found: Found) -> tuple[int, Node]:
        """The layer and the entry that hold its data: its own, or those of the file a hard link is a name of.

        Raises UnsafeEntryError for a link without a target.
        """
        if found.node is None:
            raise NotFoundError("the layers themselves have no data")
        layer, node = found.layer, found.node
        seen = set()
        while node.is_link:
            if (layer, node.id) in seen:
                raise UnsafeEntryError("hard links in a circle", path=node.path)
            seen.add((layer, node.id))
            layer, node = self._link_target(layer, node)
        return layer, node

    def _link_target(self, layer: int, link: Node) -> tuple[int, Node]:
        path = checked_path(link.target or "")
        for node in self.layers[layer].index.spellings(path):
            if node.id != link.id:
                return layer, node
        for below in range(layer + 1, len(self.layers)):
            found = self.layers[below].index.lookup(path)
            if found is not None:
                return below, found
        raise UnsafeEntryError(f"the target {path} of the hard link is in no layer", path=link.path)

    def size(self, found: Found) -> int | None:
        """The logical size of its main stream in bytes, None when there is none."""
        if found.is_folder or found.node is None:
            return None
        return self.content(found)[1].size

    def streams(self, found: Found) -> list[tuple[int, StreamNode]]:
        """Its alternate streams, each with the layer that holds it."""
        if found.node is None:
            return []
        layer, node = (found.layer, found.node) if found.is_folder else self.content(found)
        return [(layer, stream) for stream in self.layers[layer].index.streams(node)]

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


def _preferred(nodes: Sequence[Node], name: str | None) -> Node:
    return next((node for node in nodes if node.name == name), nodes[0])


def _below(folder: str, node: Node) -> str:
    return f"{folder}/{node.name}" if folder else node.name
