"""Hard links that lead to no file before them: they are resolved when all entries are known.

Their targets come after them, or lie in a parent, or are links themselves, or spelt in another way.

A target is looked for in this layer and then in the parents, nearest first: in each by its exact spelling, else without
regard to case. What hcsshim asks of a parent is asked here too: whether its folder has the file, not whether a layer
above it deleted the file since. A link is followed through other links to a file; it never leads to a folder or to a
reparse point, nor through one.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from wclayer.errors import UnsafeEntryError
from wclayer.formats.folder.index import LayerIndex
from wclayer.formats.folder.index_builder import IndexBuilder
from wclayer.formats.folder.node import Node
from wclayer.formats.folder.schema import ENTRY_COLUMNS, LINK, encode_name, encode_ranges
from wclayer.model import Notices
from wclayer.ntfs.names import checked_path, fold, is_plain_path

__all__ = ["LinkMaker", "Target", "resolve_links"]

_BATCH = 1024
_RECORDED = 8 * _BATCH  # links after which it is waited for those that another process makes
_PLACES = (4, 5)  # of checksum and name among what is updated
_UPDATE = "UPDATE entry SET target_entry = ?, target_layer = ?, size = ?, ranges = ?, crc32 = ?, host = ? WHERE id = ?"


def _columns(*wanted: str) -> str:
    """All columns of an entry, with NULL for those that are not wanted, which costs nothing."""
    return ", ".join(f"entry.{column}" if column in wanted else "NULL" for column in ENTRY_COLUMNS.split(", "))


_SELECT_LINKS = " ".join(
    (
        "SELECT",
        _columns("id", "parent", "name", "kind", "target"),
        "FROM entry WHERE kind = ? AND target_entry IS NULL AND id > ? ORDER BY id LIMIT ?",
    )
)
_SELECT_WANTED = " ".join(
    (
        "SELECT link,",
        _columns("id", "parent", "name", "kind", "last_write_time", "reparse", "size", "ranges", "crc32", "host"),
        "FROM wanted CROSS JOIN entry ON entry.parent = folder AND entry.key = wanted.key",
    )
)


class Target(NamedTuple):
    """Where a link leads: to the entry ``node`` of this layer (``layer`` None) or of a parent, 0 being the nearest."""

    layer: int | None
    node: Node


class LinkMaker(Protocol):
    """What is asked of a :class:`~wclayer.formats.folder.tree.HostTree`, behind which the parents are known."""

    def make_link(self, link: Node, target: Target, row: list[Any], places: tuple[int, int]) -> bytes | None:
        """Make a link on this machine; returns its name there when it is another one, or completes ``row`` later."""

    def settle(self) -> None:
        """Wait until all is done that was asked for."""


def resolve_links(
    builder: IndexBuilder,
    index: LayerIndex,
    parents: Sequence[LayerIndex] | None,
    notices: Notices,
    maker: LinkMaker | None = None,
) -> None:
    """Find the target of every link that has none yet, and let ``maker`` make the link on this machine if there is one.

    ``parents`` None means that they are not known: then a link whose target is not in this layer gets the notice
    ``unresolved-link``. Otherwise it raises UnsafeEntryError, as do links to folders, to or through reparse points,
    in a circle, and to paths that leave the layer.
    """
    if not builder.awaits_links:
        return
    resolver = _Resolver(index, parents)
    builder.execute("CREATE TEMP TABLE wanted(link INTEGER PRIMARY KEY, folder, key)")
    updates: list[list[Any]] = []
    last = 0
    while rows := index.fetch(_SELECT_LINKS, (LINK, last, _BATCH)):
        links = [Node(index, row, index.folder_path(row[2])[0]) for row in rows]
        plain = _plain_targets(builder, index, links)
        if len(updates) >= _RECORDED:
            _record(builder, updates, maker)
        for link in links:
            target = plain.get(link.id) or resolver.resolve(link)
            if target is None:
                notices.add("unresolved-link", link.path, f"its target {link.target} is not in this layer")
                continue
            node = target.node
            update: list[Any] = [
                node.id if target.layer is None else None,
                target.layer,
                node.size,
                None if node.size is None else encode_ranges(node.ranges, node.size),
                node.crc32,
                None,
                link.id,
            ]
            updates.append(update)
            if maker is not None and (host := maker.make_link(link, target, update, _PLACES)) is not None:
                update[_PLACES[1]] = host.decode()
        last = links[-1].id
    _record(builder, updates, maker)
    builder.execute("DROP TABLE wanted")


def _record(builder: IndexBuilder, updates: list[list[Any]], maker: LinkMaker | None) -> None:
    if maker is not None:
        maker.settle()
    builder.execute_many(_UPDATE, updates)
    updates.clear()


def _plain_targets(builder: IndexBuilder, index: LayerIndex, links: Sequence[Node]) -> dict[int, Target]:
    """The targets, by the number of the link, of those that name one plain file of this layer, as nearly all do.

    One query for all, where :class:`_Resolver`, to which whatever is odd is left, asks several times for each.
    """
    wanted = []
    for link in links:
        path = link.target or ""
        if is_plain_path(path):
            folder, _, name = path.rpartition("/")
            folders = index.folders_at(folder)
            if len(folders) == 1:
                wanted.append((link.id, folders[0][0], encode_name(fold(name))))
    builder.execute_many("INSERT INTO wanted VALUES(?, ?, ?)", wanted)
    found: dict[int, Target] = {}
    odd = set()
    for row in index.rows(_SELECT_WANTED):
        node = Node(index, row[1:], index.folder_path(row[3])[0])
        if row[0] in found or not node.is_file or node.is_reparse_point:
            odd.add(row[0])
        found[row[0]] = Target(None, node)
    builder.execute("DELETE FROM wanted")
    for number in odd:
        del found[number]
    return found


class _Resolver:
    def __init__(self, index: LayerIndex, parents: Sequence[LayerIndex] | None) -> None:
        self._index = index
        self._parents = parents
        self._known: dict[int, tuple[int | None, int] | None] = {}  # of links that others lead through

    def resolve(self, link: Node) -> Target | None:
        """The file behind ``link``; None when it cannot be known."""
        passed = {link.id}
        here = link
        while here.id not in self._known:
            target = self._step(here)
            if target is None or target.layer is not None or not target.node.is_link:
                break
            here = target.node
            if here.id in passed:
                raise UnsafeEntryError(f"hard links in a circle, through {here.path}", path=link.path)
            passed.add(here.id)
        else:
            target = self._recall(self._known[here.id])
        if len(passed) > 1:
            self._known.update(dict.fromkeys(passed, target and (target.layer, target.node.id)))
        return target

    def _recall(self, known: tuple[int | None, int] | None) -> Target | None:
        if known is None:
            return None
        layer, number = known
        index = self._index if layer is None or self._parents is None else self._parents[layer]
        return Target(layer, index.node(number))

    def _step(self, link: Node) -> Target | None:
        """What ``link`` names; in this layer that may be another link."""
        try:
            path = checked_path(link.target or "")
        except UnsafeEntryError as error:
            raise UnsafeEntryError(f"unsafe hard link to {link.target}: {error.message}", path=link.path) from error
        # A link named like its target means the file of that name in a parent.
        for node in self._index.spellings(path):
            if node.id != link.id:
                return Target(None, _checked(link, node))
        _refuse_passage(link, self._index, path)
        if self._parents is None:
            return None
        for layer, parent in enumerate(self._parents):
            found = parent.lookup(path)
            if found is not None:
                return Target(layer, _checked(link, found))
            _refuse_passage(link, parent, path)
        searched = ", ".join(parent.where for parent in self._parents) or "a base layer has none"
        raise UnsafeEntryError(
            f"the target {path} of the hard link is neither in this layer nor in its parents ({searched})",
            path=link.path,
        )


def _checked(link: Node, target: Node) -> Node:
    if target.is_folder:
        raise UnsafeEntryError(f"a hard link to {target.path}, which is a folder", path=link.path)
    if target.is_reparse_point:
        raise UnsafeEntryError(f"a hard link to {target.path}, which is a reparse point", path=link.path)
    return target


def _refuse_passage(link: Node, index: LayerIndex, path: str) -> None:
    passed = index.reparse_point_above(path)
    if passed is not None:
        raise UnsafeEntryError(f"a hard link through {passed.path}, which is a reparse point", path=link.path)
