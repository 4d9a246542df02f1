"""The second pass of a writer: a tree of nodes becomes file ids, link tables, file tables and the filesystem object.

Ids count through the tree, depth first in the order of names, so they do not depend on the order in which entries came.
A folder's table is written when all below it is, and the objects stand in the metadata region in the order in which
they are made: link tables with their streams' tables, file tables, upper-case table, file table directory, filesystem.

Source: hcsshim ``format.go``; numbering and order are this writer's own.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import accumulate
from typing import Final

from wclayer.errors import LimitError
from wclayer.formats.cim.links import MAX_TABLE
from wclayer.formats.cim.objects import ObjectStore
from wclayer.formats.cim.profiles import FIRST_FILE_ID, ROOT_PARENT_ID, TABLE_RECORDS
from wclayer.formats.cim.structures import (
    LINK_TABLE,
    STREAM,
    STREAM_LINK_TABLE,
    Filesystem,
    FileTable,
    StreamRecord,
)
from wclayer.formats.cim.tree import STREAM_AT, STREAM_TABLE_AT, Node, Tree
from wclayer.ntfs.names import MAX_COMPONENT

__all__ = ["MetadataWriter"]

_ID: Final = struct.Struct("<I")
_COUNTS: Final = tuple(units.to_bytes(2, "little") for units in range(MAX_COMPONENT + 1))
_MAX_ID: Final = 0xFFFFFFFF


class MetadataWriter:
    """Writes the metadata of ``tree`` into ``store``; records have ``entry_size`` bytes.

    ``upcase`` is the region offset of the parent's upper-case table, 0 when there is none and the tree's is written.
    """

    def __init__(self, tree: Tree, store: ObjectStore, *, entry_size: int, upcase: int) -> None:
        self._tree = tree
        self._store = store
        self._entry_size = entry_size
        self._upcase = upcase
        # Of each record three pieces: up to the id of the parent, that id, and what is behind it.
        self._pieces: list[bytes] = []
        #: How many names, folders and alternate streams there are, and how many bytes the files have without those.
        self.names = 0
        self.folders = 0
        self.streams = 0
        self.bytes = 0
        #: How many files and folders are numbered.
        self.records = 0

    def write(self) -> int:
        """Write everything; returns the region offset of the filesystem object.

        Raises LimitError for more than the format can count, OSError.
        """
        store = self._store
        self._number()
        per_table = 3 * TABLE_RECORDS
        tables = []
        for start in range(0, len(self._pieces), per_table):
            pieces = self._pieces[start : start + per_table]
            offset = store.metadata(b"".join(pieces))
            tables.append(FileTable(offset, len(pieces) // 3, self._entry_size).pack())
        self._pieces.clear()
        upcase = self._upcase or store.metadata(self._tree.upcase.data)
        directory = store.metadata(b"".join(tables))
        return store.metadata(Filesystem(upcase, directory, len(tables), FIRST_FILE_ID).pack())

    def _number(self) -> None:
        pieces = self._pieces
        root = self._tree.root
        stack = [self._enter(root, ROOT_PARENT_ID)]
        while stack:
            node, identity, waiting, names, ids = stack[-1]
            parent = _ID.pack(identity)
            for name, child in waiting:
                names.append(name)
                number = child.file_id
                if number:
                    ids.append(number)
                elif child.children is None:
                    number = child.file_id = len(pieces) // 3 + FIRST_FILE_ID
                    ids.append(number)
                    head = child.head
                    if child.streams:
                        head = head[:STREAM_TABLE_AT] + self._stream_table(child)
                    pieces += (head, parent, child.tail)
                    self.bytes += int.from_bytes(head[STREAM_AT + 8 : STREAM_AT + 14], "little")
                else:
                    stack.append(self._enter(child, identity))
                    ids.append(child.file_id)
                    break
            else:
                stack.pop()
                self._leave(node, names, ids)
        self.records = len(pieces) // 3
        if self.records > _MAX_ID:
            raise LimitError(f"{self.records} files and folders, {_MAX_ID} are the most")

    def _enter(self, node: Node, parent: int) -> tuple[Node, int, Iterator[tuple[str, Node]], list[str], list[int]]:
        """Number a folder; what the walk needs of it."""
        identity = node.file_id = len(self._pieces) // 3 + FIRST_FILE_ID
        children = node.children or {}
        self._pieces += (node.head, _ID.pack(parent), node.tail)
        self.folders += 1
        self.names += len(children)
        ordered = ((children[key][0], children[key][1]) for key in sorted(children))
        return node, identity, ordered, [], []

    def _leave(self, node: Node, names: list[str], ids: list[int]) -> None:
        """Write the tables of a folder in which all is numbered, and put them into its record."""
        stream = StreamRecord.of(0, 0, STREAM_LINK_TABLE)
        if names:
            table = link_table(names, struct.pack(f"<{len(ids)}I", *ids))
            stream = StreamRecord.of(self._store.metadata(table), len(table), STREAM_LINK_TABLE)
        streams = self._stream_table(node) if node.streams else bytes(8)
        head = node.head
        head = b"".join((head[:STREAM_AT], stream.pack(), head[STREAM_AT + STREAM.size : STREAM_TABLE_AT], streams))
        self._pieces[3 * (node.file_id - FIRST_FILE_ID)] = head

    def _stream_table(self, node: Node) -> bytes:
        """Write the table of alternate streams; its region offset as it stands in the record."""
        streams = node.streams or {}
        links = [streams[key] for key in sorted(streams)]
        self.streams += len(links)
        values = b"".join(STREAM.pack(offset, length) for _, offset, length, _ in links)
        return self._store.metadata(link_table([link[0] for link in links], values)).to_bytes(8, "little")


def link_table(names: list[str], values: bytes) -> bytes:
    """The table that names ``values``, all of one size; both are in the order of the names' keys.

    Raises LimitError when it is larger than any that is read.
    """
    count = len(names)
    encoded = [name.encode("utf-16-le", "surrogatepass") for name in names]
    first = LINK_TABLE.size + len(values) + 4 * count
    *offsets, total = accumulate((len(name) + 2 for name in encoded), initial=first)
    if total > MAX_TABLE:
        raise LimitError(f"a folder of {count} names needs a table of {total} bytes, {MAX_TABLE} are the most")
    parts = [LINK_TABLE.pack(total, count), values, struct.pack(f"<{count}I", *offsets)]
    for name in encoded:
        parts += (_COUNTS[len(name) >> 1], name)
    return b"".join(parts)
