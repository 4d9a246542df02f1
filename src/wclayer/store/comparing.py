"""What makes one tree of another: the items of the layer that has to lie on the old one to give the new one.

Folders are compared name by name, so a folder that was removed and made again becomes deletions of what it held: a
layer never both deletes and holds a name. A folder that only lies above a change is an item, too, for importers want
the folders before what is in them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain as joined
from pathlib import Path
from typing import Protocol

from wclayer.errors import UnsupportedError
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Stream, Tombstone
from wclayer.ntfs.names import fold
from wclayer.store.chain_view import ChainView, Seen

__all__ = ["Candidate", "differences", "same_content", "view_candidates"]


class Candidate(Protocol):
    """Something in the new tree."""

    @property
    def path(self) -> str:
        """Where it is, as a layer path."""

    @property
    def name(self) -> str:
        """The last component of the path."""

    @property
    def is_folder(self) -> bool:
        """Whether things lie in it: a folder, and no link to one."""

    @property
    def identity(self) -> Hashable:
        """The same for all names of one file, None where there is but one."""

    def children(self) -> Sequence[Candidate]:
        """What lies in it, in any order."""

    def same_as(self, old: Seen) -> bool:
        """Whether nothing changed since ``old``, which is of the same kind; what lies in a folder does not count."""

    def described(self, old: Seen | None) -> Iterator[LayerItem]:
        """Its entry and its alternate streams; ``old`` is what has its name in the old tree."""


@dataclass(slots=True)
class _Frame:
    pairs: Iterator[tuple[Seen | None, Candidate | None]]
    head: Iterator[LayerItem]


def differences(old: ChainView, top: Sequence[Candidate]) -> Iterator[LayerItem]:
    """The layer that turns ``old`` into the tree whose top holds ``top``; nothing when they are equal.

    Raises UnsupportedError for a deletion where Windows has none: outside of ``Files`` and ``UtilityVM/Files``.
    """
    names: dict[Hashable, str] = {}
    frames = [_Frame(_pairs(old, old.top, top), iter(()))]
    while frames:
        pair = next(frames[-1].pairs, None)
        if pair is None:
            frames.pop()
            continue
        before, after = pair
        if after is None:
            if before is not None:
                yield from joined.from_iterable(frame.head for frame in frames)
                yield Tombstone(_deletable(before.path))
            continue
        both_folders = before is not None and before.is_folder and after.is_folder
        same_kind = before is not None and before.is_folder == after.is_folder
        unchanged = before is not None and same_kind and before.name == after.name and after.same_as(before)
        described = after.described(before if same_kind else None)
        if after.is_folder:
            frames.append(_Frame(_pairs(old, before if both_folders else None, after.children()), described))
            if not unchanged:
                yield from joined.from_iterable(frame.head for frame in frames)
        elif not unchanged:
            yield from joined.from_iterable(frame.head for frame in frames)
            first = after.path if after.identity is None else names.setdefault(after.identity, after.path)
            if first != after.path:
                yield from _as_link(described, first)
            else:
                yield from described


def same_content(one: Stream | None, other: Stream | None) -> bool:
    """Whether two streams hold the same bytes; a missing one is another than an empty one."""
    if one is None or other is None:
        return one is other
    if one.size != other.size:
        return False
    theirs = iter(other.pieces())
    rest = memoryview(b"")
    for piece in one.pieces():
        mine = memoryview(piece)
        while mine:
            if not rest and not (rest := memoryview(next(theirs, b""))):
                return False
            length = min(len(mine), len(rest))
            if mine[:length] != rest[:length]:
                return False
            mine, rest = mine[length:], rest[length:]
    return True


def view_candidates(view: ChainView, old: ChainView, folder: Seen | None = None) -> list[Candidate]:
    """What lies in ``folder`` of ``view`` (None: its top), as part of a new tree that is compared with ``old``."""
    return [_OfView(view, old, seen) for seen in view.children(folder or view.top)]


class _OfView:
    """Something that another stack of layers shows."""

    def __init__(self, view: ChainView, old: ChainView, seen: Seen) -> None:
        self._view = view
        self._old = old
        self._seen = seen
        self.path = seen.path
        self.name = seen.name
        self.is_folder = seen.is_folder

    @property
    def identity(self) -> Hashable:
        layer, node = self._view.file(self._seen)
        return layer, node.id

    def children(self) -> Sequence[Candidate]:
        return view_candidates(self._view, self._old, self._seen)

    def same_as(self, old: Seen) -> bool:
        mine, theirs = (self._view, self._seen), (self._old, old)
        if _place(*mine) == _place(*theirs):
            return True
        if self._view.metadata(self._seen) != self._old.metadata(old) or not _same_streams(mine, theirs):
            return False
        return self.is_folder or same_content(self._view.data(self._seen), self._old.data(old))

    def described(self, old: Seen | None) -> Iterator[LayerItem]:  # noqa: ARG002 - what it is now says all
        yield from self._view.described(self._seen)


def _place(view: ChainView, seen: Seen) -> tuple[Path, int]:
    layer, node = view.file(seen)
    return view.layers[layer].path, node.id


def _same_streams(mine: tuple[ChainView, Seen], theirs: tuple[ChainView, Seen]) -> bool:
    one, other = (
        sorted(((stream.name, layer, stream) for layer, stream in view.streams(seen)), key=lambda found: found[0])
        for view, seen in (mine, theirs)
    )
    return [name for name, _, _ in one] == [name for name, _, _ in other] and all(
        same_content(mine[0].layers[a].open_stream(first), theirs[0].layers[b].open_stream(second))
        for (_, a, first), (_, b, second) in zip(one, other, strict=True)
    )


def _pairs(
    old: ChainView, folder: Seen | None, candidates: Sequence[Candidate]
) -> Iterator[tuple[Seen | None, Candidate | None]]:
    """What has the same name in the old folder and in the new one, in the order of folded names."""
    before = {seen.name: seen for seen in (old.children(folder) if folder is not None else ())}
    found: list[tuple[str, Seen | None, Candidate | None]] = []
    respelt: list[Candidate] = []
    for candidate in candidates:
        seen = before.pop(candidate.name, None)
        if seen is None and before:
            respelt.append(candidate)
        else:
            found.append((fold(candidate.name), seen, candidate))
    folded = {fold(name): name for name in before}
    for other in respelt:
        key = fold(other.name)
        name = folded.pop(key, None)
        found.append((key, None if name is None else before.pop(name), other))
    found += ((fold(name), seen, None) for name, seen in before.items())
    found.sort(key=lambda pair: pair[0])
    for _, seen, after in found:
        yield seen, after


def _as_link(described: Iterator[LayerItem], target: str) -> Iterator[LayerItem]:
    for item in described:
        if isinstance(item, Entry):
            yield HardLink(item.path, target, item.metadata)
        elif not isinstance(item, AlternateStream):
            yield item


def _deletable(path: str) -> str:
    names = fold(path).split("/")
    if (names[0] == "FILES" and len(names) > 1) or (names[:2] == ["UTILITYVM", "FILES"] and len(names) > 2):
        return path
    raise UnsupportedError(
        "a layer deletes below Files and UtilityVM/Files only",
        path=path,
        hint="put it back, or start from another base",
    )
