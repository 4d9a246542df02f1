"""What only a look at all names of a layer can show; done in SQL, when the rows are in and indexed.

Names that differ only in case are one name to Windows. Both are kept and reported, unless that would make an entry pass
through something other than a folder: Windows would follow a link there that this machine does not follow.
"""

from __future__ import annotations

import json
from typing import TypeAlias

from wclayer.errors import UnsafeEntryError
from wclayer.formats.folder.index import LayerIndex
from wclayer.formats.folder.index_builder import IndexBuilder
from wclayer.formats.folder.node import Node
from wclayer.formats.folder.schema import decode_name
from wclayer.model import Notices

__all__ = ["attach_streams", "check_names"]

_Group: TypeAlias = tuple[tuple[int, ...], str | bytes]  # the folders that Windows takes for one, and a folded name


def check_names(index: LayerIndex, notices: Notices) -> None:
    """Look at all names that Windows takes for the same.

    Raises UnsafeEntryError for entries in each other's way. Adds notices for those that stand side by side:
    ``case-collision``, ``tombstone-of-own-entry``, ``duplicate-tombstone``.
    """
    groups: list[_Group] = [
        ((parent,), key)
        for parent, key in index.rows("SELECT parent, key FROM entry GROUP BY parent, key HAVING count(*) > 1")
    ]
    groups.reverse()
    while groups:
        parents, key = groups.pop()
        nodes = index.spelt_alike(parents, key)
        _check_tombstones(nodes, notices)
        entries = [node for node in nodes if not node.is_tombstone]
        if len(entries) > 1:
            _check_entries(index, entries, notices)
        folders = tuple(node.id for node in entries if node.is_folder)
        if len(folders) > 1:
            groups += ((folders, shared) for shared in _shared_names(index, folders))


def attach_streams(builder: IndexBuilder, index: LayerIndex, notices: Notices) -> None:
    """Find the owners of the streams that did not follow them, and look for streams that come twice.

    Raises UnsafeEntryError for the latter. Notices: ``orphan-stream`` for a stream whose file this layer does not hold,
    ``case-collision``. That a stream stood elsewhere is for the reader of the source to notice.
    """
    found: list[tuple[int, int]] = []
    for number, owner, name in list(index.rows("SELECT id, owner, name FROM stream WHERE entry IS NULL ORDER BY id")):
        path, shown = decode_name(owner), decode_name(name)
        node = next((node for node in index.spellings(path) if not node.is_synthesised), None)
        if node is None:
            notices.add("orphan-stream", path, f"the stream {shown} belongs to a file that this layer does not hold")
        else:
            found.append((node.id, number))
    builder.execute_many("UPDATE stream SET entry = ?, owner = NULL WHERE id = ?", found)
    for entry, owner, names in index.rows(
        "SELECT entry, owner, count(DISTINCT name) FROM stream GROUP BY entry, owner, key HAVING count(*) > 1"
    ):
        path = decode_name(owner) if entry is None else index.node(entry).path
        if names == 1:
            raise UnsafeEntryError("duplicate entry: the file has two streams of one name", path=path)
        notices.add("case-collision", path, "two streams of the file have names that differ only in case")


def _check_tombstones(nodes: list[Node], notices: Notices) -> None:
    tombstones = [node for node in nodes if node.is_tombstone]
    for node in tombstones[1:]:
        notices.add("duplicate-tombstone", node.path, f"{tombstones[0].path} is deleted twice")
    own = next((node for node in nodes if not node.is_tombstone), None)
    if tombstones and own:
        notices.add(
            "tombstone-of-own-entry", tombstones[0].path, f"the layer deletes what it also holds, as {own.path}"
        )


def _check_entries(index: LayerIndex, entries: list[Node], notices: Notices) -> None:
    spellings: dict[str, Node] = {}
    for node in entries:
        other = spellings.setdefault(node.path, node)
        if other is not node:
            raise _duplicate(index, other, node)
    barrier = next((node for node in entries if not node.is_folder or node.is_reparse_point), None)
    for node in entries:
        if barrier and node is not barrier and node.is_folder and _has_children(index, node):
            what = "a reparse point" if barrier.is_reparse_point else "not a folder"
            raise UnsafeEntryError(f"entries lie below {barrier.path}, which is {what}", path=node.path)
    for node in entries[1:]:
        notices.add("case-collision", node.path, f"Windows takes this name for that of {entries[0].path}")


def _duplicate(index: LayerIndex, first: Node, second: Node) -> UnsafeEntryError:
    for folder, other in ((first, second), (second, first)):
        if folder.is_folder:
            if folder.is_synthesised or _has_children(index, folder):
                return UnsafeEntryError(f"entries lie below {other.path}, which is not a folder", path=folder.path)
            was = "a folder where a file was" if folder is second else "a file where a folder was"
            return UnsafeEntryError(was, path=folder.path)
    return UnsafeEntryError("duplicate entry: the path is there already", path=second.path)


def _has_children(index: LayerIndex, folder: Node) -> bool:
    return next(index.rows("SELECT 1 FROM entry WHERE parent = ? LIMIT 1", (folder.id,)), None) is not None


def _shared_names(index: LayerIndex, folders: tuple[int, ...]) -> list[str | bytes]:
    """The folded names that occur in more than one of ``folders``."""
    return [
        key
        for (key,) in index.rows(
            "SELECT key FROM entry WHERE parent IN (SELECT value FROM json_each(?))"
            " GROUP BY key HAVING count(DISTINCT parent) > 1",
            (json.dumps(folders),),
        )
    ]
