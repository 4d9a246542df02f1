"""What changed between two views: what was added, what was deleted, and of what is in both, what differs.

Names are compared as Windows compares them. Metadata comes out of the indexes; the data of two files of one size is
read and hashed, unless both lie in the same layer, or their checksums are known and differ already.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal, NamedTuple

from wclayer.errors import NotFoundError, UnsafeEntryError
from wclayer.formats.folder import Node, StreamNode
from wclayer.image.comparing_data import DataKey, Digests
from wclayer.image.comparing_sides import Side
from wclayer.image.describe import kind_of
from wclayer.image.paths import layer_path, windows_path
from wclayer.image.view import Found, View
from wclayer.model import Metadata
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL, FILE_ATTRIBUTE_REPARSE_POINT
from wclayer.ntfs.names import fold

__all__ = ["ASPECTS", "Change", "State", "compare"]

ASPECTS = ("kind", "name", "data", "attributes", "times", "security", "ea", "reparse", "streams", "links")
"""What may differ of a path that is on both sides.

``kind`` is file against folder and the like, ``name`` the spelling, ``data`` the main stream, ``ea`` the extended
attributes, ``streams`` the alternate streams with their data, ``links`` the set of names that a file has.
"""

_COMPUTED = FILE_ATTRIBUTE_DIRECTORY | FILE_ATTRIBUTE_NORMAL | FILE_ATTRIBUTE_REPARSE_POINT
_TIMES = ("creation_time", "last_access_time", "last_write_time", "change_time")
_PLAIN_ASPECTS = frozenset(("kind", "data"))


class State(NamedTuple):
    """A path on one side: its kind, the size of its main stream in bytes (None without one), its attributes."""

    kind: str
    size: int | None
    attributes: int


_EMPTY = State("", None, 0)


@dataclass(frozen=True, slots=True)
class Change:
    """One path that differs. ``what`` lists :data:`ASPECTS` of a modified one, in that order, else nothing."""

    change: Literal["added", "modified", "deleted"]
    path: str
    what: tuple[str, ...]
    before: State | None
    after: State | None

    @property
    def windows_path(self) -> str:
        """The path as people read it."""
        return windows_path(self.path)

    def as_dict(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return {
            "change": self.change,
            "path": self.path,
            "windows_path": self.windows_path,
            "what": list(self.what),
            "before": None if self.before is None else self.before._asdict(),
            "after": None if self.after is None else self.after._asdict(),
        }


def compare(
    before: Side, after: Side, path: str = "", *, times: bool = False, ignored: Iterable[str] = ()
) -> list[Change]:
    """The changes that make ``after`` of ``before``, below ``path`` or everywhere, in the order of folded paths.

    ``times`` are only compared on demand, where both sides know them; ``ignored`` are aspects to leave out. With a side
    that has no metadata only kinds and data are compared. Raises NotFoundError when neither side has ``path``.
    """
    aspects = set(ASPECTS) - set(ignored)
    if not times:
        aspects.discard("times")
    if not (before.has_metadata and after.has_metadata):
        aspects &= _PLAIN_ASPECTS
    start = layer_path(path) if path else before.scope or after.scope
    return _Comparison(before.view, after.view, frozenset(aspects)).run(start)


@dataclass(slots=True)
class _Pair:
    """A path that is on both sides, and what is known to differ; there may be many, so no entries are held."""

    before: State
    after: State
    what: frozenset[str] = frozenset()
    data: tuple[DataKey, DataKey] | None = None
    streams: tuple[tuple[DataKey, DataKey], ...] = ()


class _Comparison:
    def __init__(self, before: View, after: View, aspects: frozenset[str]) -> None:
        self.views = (before, after)
        self.aspects = aspects
        self.changes: list[Change] = []
        self.pairs: dict[str, _Pair] = {}
        self.digests = (Digests(before), Digests(after))
        self.linked: tuple[dict[DataKey, set[str]], dict[DataKey, set[str]]] = ({}, {})
        self.layers = tuple([layer.identity for layer in view.layers] for view in self.views)

    def run(self, path: str) -> list[Change]:
        a, b = (_find(view, path) for view in self.views)
        if a is None and b is None:
            raise NotFoundError(f"neither side has {windows_path(path)}")
        pending = [(a, b)]
        if path:
            self.one(a, b)
        while pending:
            a, b = pending.pop()
            for below_a, below_b in self.matched(a, b):
                self.one(below_a, below_b)
                if (below_a is not None and below_a.is_folder) or (below_b is not None and below_b.is_folder):
                    pending.append((below_a, below_b))
        if "links" in self.aspects:
            self.compare_links()
        for digests in self.digests:
            digests.read()
        for name, pair in self.pairs.items():
            self.settle(name, pair)
        self.changes.sort(key=lambda change: fold(change.path).split("/"))
        return self.changes

    def matched(self, a: Found | None, b: Found | None) -> list[tuple[Found | None, Found | None]]:
        """What lies in two folders, by folded name; where several names fold alike, the same spellings together."""
        sides: list[dict[str, list[Found]]] = []
        for view, folder in zip(self.views, (a, b), strict=True):
            found: dict[str, list[Found]] = {}
            if folder is not None and folder.is_folder:
                for child in view.children(folder):
                    found.setdefault(fold(child.name), []).append(child)
            sides.append(found)
        matched: list[tuple[Found | None, Found | None]] = []
        for key in sides[0].keys() | sides[1].keys():
            left, right = sides[0].get(key, []), list(sides[1].get(key, []))
            rest = []
            for one in left:
                same = next((other for other in right if other.name == one.name), None)
                if same is None:
                    rest.append(one)
                    continue
                right.remove(same)
                matched.append((one, same))
            matched += zip_longest(rest, right)
        return matched

    # ------------------------------------------------------------------ one path

    def one(self, a: Found | None, b: Found | None) -> None:
        """Take note of a path on one side or on both."""
        for side, found in enumerate((a, b)):
            if found is not None and found.node is not None and found.node.is_link:
                self.note_link(side, found)
        if a is None or b is None:
            self.one_sided(a, b)
            return
        aspects = self.aspects
        kinds = kind_of(self.views[0], a), kind_of(self.views[1], b)
        pair = _Pair(_EMPTY, _EMPTY)
        if _plain_kind(kinds[0]) != _plain_kind(kinds[1]):
            pair.what |= {"kind"}
        elif "data" in aspects and not a.is_folder and kinds[0] != "deleted":
            self.compare_data(a, b, pair)
        if "name" in aspects and a.name != b.name:
            pair.what |= {"name"}
        if aspects - _PLAIN_ASPECTS and "deleted" not in kinds:
            self.compare_metadata(a, b, pair)
        if pair.what or pair.data or pair.streams:
            pair.before, pair.after = self.state(0, a), self.state(1, b)
            self.pairs[b.path] = pair

    def note_link(self, side: int, found: Found) -> None:
        """Take note of a hard link; most files have one name, and are not worth it."""
        key = self.key(side, found) if "links" in self.aspects else None
        if key is not None:
            self.linked[side].setdefault(key, set()).add(fold(found.path))

    def key(self, side: int, found: Found) -> DataKey | None:
        """What identifies its data; None for a hard link that leads nowhere."""
        node = found.node
        if node is not None and not node.is_link:
            return found.layer, node.id
        try:
            layer, node = self.views[side].content(found)
        except UnsafeEntryError:
            return None
        return layer, node.id

    def one_sided(self, a: Found | None, b: Found | None) -> None:
        if b is not None:
            self.changes.append(Change("added", b.path, (), None, self.state(1, b)))
        elif a is not None:
            self.changes.append(Change("deleted", a.path, (), self.state(0, a), None))

    def state(self, side: int, found: Found) -> State:
        view = self.views[side]
        try:
            size, metadata = view.size(found), None if found.is_tombstone else view.metadata(found)
        except UnsafeEntryError:
            size, metadata = None, None
        return State(kind_of(view, found), size, metadata.attributes if metadata else 0)

    # ------------------------------------------------------------------ what differs

    def compare_data(self, a: Found, b: Found, pair: _Pair) -> None:
        try:
            (layer_a, node_a), (layer_b, node_b) = self.views[0].content(a), self.views[1].content(b)
        except UnsafeEntryError:
            if (self.key(0, a) is None) != (self.key(1, b) is None):
                pair.what |= {"data"}
            return
        if node_a.size != node_b.size:
            # A folder of ordinary files cannot tell an empty stream from none.
            if node_a.size or node_b.size or self.aspects != _PLAIN_ASPECTS:
                pair.what |= {"data"}
        elif node_a.size and not self.is_same(layer_a, node_a, layer_b, node_b):
            sums = node_a.crc32, node_b.crc32
            if node_a.ranges == node_b.ranges and None not in sums and sums[0] != sums[1]:
                pair.what |= {"data"}
                return
            pair.data = (layer_a, node_a.id), (layer_b, node_b.id)
            for digests, key in zip(self.digests, pair.data, strict=True):
                digests.want(key)

    def is_same(self, layer_a: int, a: Node | StreamNode, layer_b: int, b: Node | StreamNode) -> bool:
        """Whether they are one thing in one layer."""
        identity = self.layers[0][layer_a]
        if identity is None or identity != self.layers[1][layer_b]:
            return False
        if isinstance(a, Node) and isinstance(b, Node):
            return a.path == b.path
        return isinstance(a, StreamNode) and isinstance(b, StreamNode) and (a.owner, a.name) == (b.owner, b.name)

    def compare_metadata(self, a: Found, b: Found, pair: _Pair) -> None:
        try:
            before, after = self.views[0].metadata(a), self.views[1].metadata(b)
        except UnsafeEntryError:
            return  # a hard link that leads nowhere has been compared as such
        pair.what |= _different(before, after) & self.aspects
        if "streams" in self.aspects:
            self.compare_streams(a, b, pair)

    def compare_streams(self, a: Found, b: Found, pair: _Pair) -> None:
        before = {fold(one[1].name): one for one in self.views[0].streams(a)}
        after = {fold(one[1].name): one for one in self.views[1].streams(b)}
        if before.keys() != after.keys() or any(before[name][1].size != after[name][1].size for name in before):
            pair.what |= {"streams"}
            return
        for name in before:
            (layer_a, one), (layer_b, other) = before[name], after[name]
            if one.size and not self.is_same(layer_a, one, layer_b, other):
                pair.streams += (((layer_a, one.id), (layer_b, other.id)),)
                self.digests[0].want_stream(layer_a, one)
                self.digests[1].want_stream(layer_b, other)

    def compare_links(self) -> None:
        """Files that have other names on one side than on the other; only those that are on both."""
        groups = [self.groups(side) for side in (0, 1)]
        for path in sorted(groups[0].keys() | groups[1].keys()):
            alone = frozenset((path,))
            if groups[0].get(path, alone) == groups[1].get(path, alone):
                continue
            a, b = (_find(view, path, follow=False) for view in self.views)
            if a is not None and b is not None:
                pair = self.pairs.setdefault(b.path, _Pair(self.state(0, a), self.state(1, b)))
                pair.what |= {"links"}

    def groups(self, side: int) -> dict[str, frozenset[str]]:
        """Each folded path of a file with several names, with all of these."""
        view = self.views[side]
        groups: dict[str, frozenset[str]] = {}
        for (layer, number), links in self.linked[side].items():
            file = view.layers[layer].index.node(number)
            first = _find(view, file.path, follow=False)
            # The name of the file itself counts where it is seen; it may be deleted, and its links are not.
            seen = first is not None and first.layer == layer and first.node is not None and first.node.id == number
            names = frozenset({*links, fold(file.path)} if seen else links)
            groups.update(dict.fromkeys(names, names))
        return groups

    def settle(self, path: str, pair: _Pair) -> None:
        """Say what the data tells; a change is one if anything differs."""
        before, after = self.digests
        if pair.data is not None and before.files[pair.data[0]] != after.files[pair.data[1]]:
            pair.what |= {"data"}
        if any(before.streams[one] != after.streams[other] for one, other in pair.streams):
            pair.what |= {"streams"}
        what = tuple(aspect for aspect in ASPECTS if aspect in pair.what and aspect in self.aspects)
        if what:
            self.changes.append(Change("modified", path, what, pair.before, pair.after))


def _find(view: View, path: str, *, follow: bool = True) -> Found | None:
    try:
        return view.find(path, follow=follow)
    except NotFoundError:
        return None


def _plain_kind(kind: str) -> str:
    """A hard link is a file; which of its names is the file, and which are links, no file system tells."""
    return "file" if kind == "hardlink" else kind


def _different(a: Metadata, b: Metadata) -> set[str]:
    what: set[str] = set()
    if (a.attributes ^ b.attributes) & ~_COMPUTED:
        what.add("attributes")
    if any(_differ(getattr(a, name), getattr(b, name)) for name in _TIMES):
        what.add("times")
    if a.security_descriptor != b.security_descriptor:
        what.add("security")
    if _named(a) != _named(b):
        what.add("ea")
    if a.reparse != b.reparse:
        what.add("reparse")
    return what


def _differ(one: int | None, other: int | None) -> bool:
    return one is not None and other is not None and one != other


def _named(metadata: Metadata) -> Sequence[tuple[bytes, int, bytes]]:
    """Extended attributes without their order, which nobody can ask for."""
    return sorted((ea.name.upper(), ea.flags, ea.value) for ea in metadata.extended_attributes)
