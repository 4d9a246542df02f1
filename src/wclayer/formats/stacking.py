"""Which entries of which layers make up a name: the rules by which layers lie on each other.

A folder is the union of the folders of that name in all layers; a file is the nearest one. What a nearer layer deletes,
or puts in the place of a folder, hides what lies below it. Names are compared as Windows compares them, and spelt as
the nearest layer that has an entry for them spells them.

Tombstones count below ``Files`` and ``UtilityVM/Files`` only, which is where Windows deletes. Of what a layer both
holds and deletes, a file is deleted, a hard link stays, and a folder keeps what the layer itself puts into it, as after
an import by hcsshim. A folder that only tombstones mention is none; what they delete is deleted nevertheless.

Files of one layer whose names differ only in case are all shown: a Windows that tells cases apart would have them all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import lt
from typing import NamedTuple, Protocol, TypeAlias, TypeVar

from wclayer.formats.folder import LayerIndex, Node
from wclayer.ntfs.names import fold

__all__ = ["Parts", "Stacked", "Stacking", "walk_down"]

Parts: TypeAlias = tuple[tuple[int, Node | None], ...]
"""The folders that make up a folder, nearest first, each with its layer; None is the top of a layer."""

_Group: TypeAlias = tuple[int, list[Node]]  # a layer, and its entries of one folded name


class _Shown(Protocol):
    @property
    def is_folder(self) -> bool: ...


_S = TypeVar("_S", bound=_Shown)


class Stacked(NamedTuple):
    """Something that a stack shows: its layer, its entry there, and the ``parts`` of a folder."""

    layer: int
    node: Node
    parts: Parts = ()


def _recorded(node: Node) -> int:
    return node.id


class Stacking:
    """A stack of layers, nearest first. ``raw`` shows tombstones instead of applying them."""

    def __init__(self, indexes: Sequence[LayerIndex], *, raw: bool = False) -> None:
        self._indexes = indexes
        self._raw = raw

    def children(self, folder: str, parts: Parts) -> Iterator[Stacked]:
        """What lies in the folder ``folder`` that consists of ``parts``, in the order of folded names."""
        if len(parts) == 1:
            ((layer, node),) = parts
            nodes = self._indexes[layer].children(node)
            keys = [child.key for child in nodes]
            if all(map(lt, keys, keys[1:])):  # the usual folder: of one layer, and each name once
                yield from self._alone(layer, nodes)
                return
        groups: dict[str, list[_Group]] = {}
        for layer, node in parts:
            for child in self._indexes[layer].children(node):
                group = groups.setdefault(child.key, [])
                if group and group[-1][0] == layer:
                    group[-1][1].append(child)
                    group[-1][1].sort(key=_recorded)
                else:
                    group.append((layer, [child]))
        deletable = self._deletable(folder)
        for key in sorted(groups):
            yield from self._settle(groups[key], deletable)

    def named(self, folder: str, parts: Parts, name: str) -> list[Stacked]:
        """What of that is called ``name``, in whatever case."""
        key = fold(name)
        by_layer: dict[int, list[int]] = {}
        for layer, node in parts:
            by_layer.setdefault(layer, []).append(node.id if node else 0)
        groups = [(layer, self._indexes[layer].spelt_alike(folders, key)) for layer, folders in by_layer.items()]
        return self._settle(groups, self._deletable(folder))

    def _deletable(self, folder: str) -> bool:
        above = fold(folder).split("/")
        return not self._raw and (above[0] == "FILES" or above[:2] == ["UTILITYVM", "FILES"])

    def _alone(self, layer: int, nodes: Iterable[Node]) -> Iterator[Stacked]:
        """What :meth:`_settle` makes of names that stand for one entry each."""
        for node in nodes:
            if node.is_folder and not node.is_reparse_point:
                if self._is_real(layer, node):
                    yield Stacked(layer, node, ((layer, node),))
            elif self._raw or not node.is_tombstone:
                yield Stacked(layer, node)

    def _settle(self, groups: Iterable[_Group], deletable: bool) -> list[Stacked]:
        """One name through the layers, nearest first."""
        parts: list[tuple[int, Node]] = []
        shown: list[Stacked] = []
        is_real = False
        for layer, nodes in groups:
            deleted = deletable and any(node.is_tombstone for node in nodes)
            folders = [node for node in nodes if node.is_folder and not node.is_reparse_point]
            hidden_below = is_real
            is_real = is_real or any(self._is_real(layer, node) for node in folders)
            parts += ((layer, node) for node in folders)
            files = [node for node in nodes if not node.is_tombstone and (not node.is_folder or node.is_reparse_point)]
            if not hidden_below:
                shown += (Stacked(layer, node) for node in files if node.is_link or not deleted)
            if self._raw:
                shown += (Stacked(layer, node) for node in nodes if node.is_tombstone)
            if deleted or files:
                break
        if is_real:
            real = [part for part in parts if self._is_real(*part)]
            layer, node = next((part for part in real if not part[1].is_synthesised), real[0])
            shown.insert(0, Stacked(layer, node, tuple(parts)))
        return shown

    def _is_real(self, layer: int, folder: Node) -> bool:
        """Whether there is more to ``folder`` than tombstones in it."""
        return self._raw or not folder.is_synthesised or folder.id not in self._indexes[layer].ghosts


def walk_down(folder: _S, children: Callable[[_S], Iterable[_S]]) -> Iterator[_S]:
    """Everything below ``folder``, each folder before what is in it; ``children`` tells what that is."""
    pending = [iter(children(folder))]
    while pending:
        for child in pending[-1]:
            yield child
            if child.is_folder:
                pending.append(iter(children(child)))
                break
        else:
            pending.pop()
