"""``layer.db`` read: the entries of a layer, found by path without regard to case, or listed in order.

Two folders may have names that differ only in case; Windows would see one folder. A lookup therefore follows all
spellings, and prefers the exact one.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from wclayer.errors import FormatError, NotFoundError, UnsupportedError
from wclayer.formats.folder.node import Node, StreamNode
from wclayer.formats.folder.schema import (
    APPLICATION_ID,
    ENTRY_COLUMNS,
    FILE,
    FOLDER,
    FORMAT_VERSION,
    LINK,
    STREAM_COLUMNS,
    SYNTHESISED,
    TOMBSTONE,
    Row,
    database_error,
    decode_name,
    encode_name,
)
from wclayer.model import Notice
from wclayer.ntfs.names import encode_wtf8, fold

__all__ = ["LayerIndex"]

_MAX_DEPTH = 1 << 14  # a path of 32767 characters has at most that many names
_CACHED_BYTES = 4 << 20
_CACHED_EACH = 256  # what a path costs in a cache besides its characters

_SELECT = " ".join(("SELECT", ENTRY_COLUMNS, "FROM entry "))
_SELECT_NUMBERED = " ".join((_SELECT, "WHERE id = ?"))
_SELECT_NAMED = " ".join((_SELECT, "WHERE parent = ? AND key = ? ORDER BY id"))
_SELECT_CHILDREN = " ".join((_SELECT, "WHERE parent = ? ORDER BY key, id"))
_SELECT_FOLDERS = "SELECT id, name FROM entry WHERE parent = ? AND key = ? AND kind IN (?, ?) ORDER BY id"
_SELECT_ALIKE = " ".join((_SELECT, "WHERE key = ? AND parent IN (SELECT value FROM json_each(?)) ORDER BY id"))
_MENTIONED = (
    "WITH RECURSIVE mentioned(id, parent) AS (SELECT id, parent FROM entry WHERE kind = ?"
    " AND id IN (SELECT parent FROM entry WHERE kind = ?)"
    " UNION SELECT entry.id, entry.parent FROM entry JOIN mentioned ON entry.id = mentioned.parent"
    " WHERE entry.kind = ?)"
)
_SELECT_MENTIONED = " ".join((_MENTIONED, "SELECT id, parent FROM mentioned"))
_SELECT_HELD = " ".join(
    (
        _MENTIONED,
        "SELECT DISTINCT parent FROM entry WHERE parent IN (SELECT id FROM mentioned)",
        "AND id NOT IN (SELECT id FROM mentioned) AND kind != ?",
    )
)
_SELECT_STREAM = " ".join(("SELECT", STREAM_COLUMNS, "FROM stream "))


class LayerIndex:
    """What ``layer.db`` says of a layer. ``where`` names the layer in errors.

    Every method raises FormatError when the database is damaged. May be used from several threads, one at a time.
    """

    def __init__(self, database: sqlite3.Connection, where: str) -> None:
        self.database = database
        self.where = where
        self._paths: dict[object, tuple[str, bytes]] = {0: ("", b"")}
        self._paths_bytes = 0
        self._walked: dict[str, list[tuple[int, str]]] = {}
        self._walked_bytes = 0
        self._security: dict[object, bytes] = {}
        self._security_bytes = 0

    @classmethod
    def open(cls, path: Path) -> Self:
        """The index in the file ``path``, read-only.

        Raises NotFoundError when there is none, FormatError when it is no such database, UnsupportedError when a newer
        version wrote it.
        """
        index = cls(connect(path), str(path))
        try:
            index.check_version()
        except BaseException:
            index.close()
            raise
        return index

    def close(self) -> None:
        """Close the database. Harmless when called twice."""
        self.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_version(self) -> None:
        """Raises FormatError when this is no layer database, UnsupportedError when it is one of a newer version."""
        ((application,),) = self.fetch("PRAGMA application_id")
        ((version,),) = self.fetch("PRAGMA user_version")
        if application != APPLICATION_ID:
            raise FormatError(f"{self.where} is an SQLite database, but not that of a layer", kind="layer-db")
        if version != FORMAT_VERSION:
            raise UnsupportedError(
                f"{self.where} has format version {version}; this program knows version {FORMAT_VERSION}",
                hint="use a newer wclayer, or import the layer again",
            )

    def fetch(self, statement: str, values: Row = ()) -> list[Row]:
        """All rows of a query, for queries with few: cheaper than :meth:`rows`."""
        try:
            return self.database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise database_error(error, self.where) from error
        except UnicodeDecodeError as error:
            raise FormatError(f"{self.where} is damaged", kind="layer-db") from error

    def rows(self, statement: str, values: Row = ()) -> Iterator[Row]:
        """The rows of a query, as they come."""
        try:
            for row in self.database.execute(statement, values):  # noqa: UP028 - would close the cursor, maybe too late
                yield row
        except sqlite3.Error as error:
            raise database_error(error, self.where) from error
        except UnicodeDecodeError as error:  # a damaged name inside the text of an error of SQLite
            raise FormatError(f"{self.where} is damaged", kind="layer-db") from error

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded of the layer as a whole, by name: ``diff_id``, ``parents`` (from JSON), counts and so on."""
        facts: dict[str, Any] = {}
        for key, value in self.rows("SELECT key, value FROM layer ORDER BY key"):
            facts[decode_name(key)] = decode_name(value) if isinstance(value, bytes) else value
        if "parents" in facts:
            try:
                facts["parents"] = json.loads(facts["parents"])
            except (TypeError, ValueError, RecursionError) as error:
                raise FormatError(
                    "the list of parents in the database is damaged", kind="layer-db", layer=self.where
                ) from error
        return facts

    def lookup(self, path: str) -> Node | None:
        """The entry at ``path``: the exact spelling, else one that Windows takes for the same; None when there is none.

        A tombstone is no entry, see :meth:`is_deleted`; a synthesised folder is one.
        """
        nodes = self.spellings(path)
        return nodes[0] if nodes else None

    def spellings(self, path: str) -> list[Node]:
        """All entries that Windows takes for ``path``, the exact spelling first; normally none or one."""
        return [node for node in self._found(path) if node.kind != TOMBSTONE]

    def is_deleted(self, path: str) -> bool:
        """Whether this layer deletes ``path`` of its parents, by a tombstone for it or for a folder above it."""
        return any(node.kind == TOMBSTONE for part in _prefixes(path) for node in self._found(part))

    def reparse_point_above(self, path: str) -> Node | None:
        """The reparse point of this layer through which ``path`` would pass, if any."""
        if not self.has_reparse_points:
            return None
        for part in _prefixes(path.rpartition("/")[0]):
            for node in self.spellings(part):
                if node.is_reparse_point:
                    return node
        return None

    @cached_property
    def has_reparse_points(self) -> bool:
        """Whether any entry of the layer is a reparse point."""
        return next(self.rows("SELECT 1 FROM entry WHERE reparse IS NOT NULL LIMIT 1"), None) is not None

    def spelt_alike(self, folders: Iterable[int], key: str | bytes) -> list[Node]:
        """The entries, tombstones too, with the folded name ``key`` in any of ``folders``, in the recorded order."""
        rows = self.rows(_SELECT_ALIKE, (key, json.dumps(list(folders))))
        return [Node(self, row, self.folder_path(row[2])[0]) for row in rows]

    def children(self, folder: Node | None = None) -> list[Node]:
        """The entries in ``folder`` (None: the top of the layer), tombstones too, in folded order."""
        number, path = (folder.id, folder.path) if folder else (0, "")
        return [Node(self, row, path) for row in self.fetch(_SELECT_CHILDREN, (number,))]

    @cached_property
    def ghosts(self) -> frozenset[int]:
        """The numbers of the folders that only tombstones mention: no entry lies in them, however deep."""
        kinds = (SYNTHESISED, TOMBSTONE, SYNTHESISED)
        parents: dict[int, object] = dict(self.rows(_SELECT_MENTIONED, kinds))
        held: set[object] = set()
        for (number,) in self.rows(_SELECT_HELD, (*kinds, TOMBSTONE)):
            here: object = number
            while here in parents and here not in held:
                held.add(here)
                here = parents[here]
        return frozenset(parents.keys() - held)

    def nodes(self) -> Iterator[Node]:
        """All entries in the recorded order, synthesised folders and tombstones too."""
        for row in self.rows(_SELECT + "ORDER BY id"):
            yield Node(self, row, self.folder_path(row[2])[0])

    def links(self, *, after: int = 0, limit: int = -1) -> list[Node]:
        """The hard links in the recorded order: at most ``limit`` of those beyond number ``after``."""
        rows = self.fetch(_SELECT + "WHERE kind = ? AND id > ? ORDER BY id LIMIT ?", (LINK, after, limit))
        return [Node(self, row, self.folder_path(row[2])[0]) for row in rows]

    def tombstones(self) -> Iterator[Node]:
        """The tombstones in the recorded order."""
        for row in self.rows(_SELECT + "WHERE kind = ? ORDER BY id", (TOMBSTONE,)):
            yield Node(self, row, self.folder_path(row[2])[0])

    def node(self, number: int) -> Node:
        """The entry of that number. Raises FormatError when there is none."""
        for row in self.fetch(_SELECT_NUMBERED, (number,)):
            return Node(self, row, self.folder_path(row[2])[0])
        raise FormatError(f"there is no entry {number}", kind="layer-db", layer=self.where)

    def streams(self, node: Node) -> list[StreamNode]:
        """The alternate streams of a file or folder in the recorded order; of a link also those of its target."""
        found = self.own_streams(node)
        target = node.target_node() if node.is_link else None
        if target is not None and not target.is_link:
            found += self.streams(target)
        return found

    def own_streams(self, node: Node) -> list[StreamNode]:
        """The alternate streams recorded under this very name of a file."""
        rows = self.rows(_SELECT_STREAM + "WHERE entry = ? ORDER BY id", (node.id,))
        return [StreamNode(row, node.path) for row in rows]

    def all_streams(self) -> Iterator[StreamNode]:
        """All streams, each owned one where its owner stands in the recorded order, orphans at their own places.

        Here ``owner`` is "" for a stream that has an entry: the entry knows its path.
        """
        for row in self.rows(_SELECT_STREAM + "ORDER BY coalesce(entry, id), id"):
            yield StreamNode(row, None if row[2] is None else "")

    def files_by_ordinal(self) -> Iterator[Node]:
        """The files with a main stream that have a number in their source, by that number."""
        for row in self.rows(
            _SELECT + "WHERE kind = ? AND ordinal >= 0 AND size IS NOT NULL ORDER BY ordinal", (FILE,)
        ):
            yield Node(self, row, self.folder_path(row[2])[0])

    def streams_by_ordinal(self) -> Iterator[StreamNode]:
        """The streams that have a number in their source, by that number; ``owner`` as in :meth:`all_streams`."""
        for row in self.rows(_SELECT_STREAM + "WHERE ordinal >= 0 ORDER BY ordinal"):
            yield StreamNode(row, None if row[2] is None else "")

    def notices(self) -> tuple[dict[str, int], list[Notice]]:
        """How many notices of each code the layer raised when it was read, and the first of them."""
        counts = {decode_name(code): int(count) for code, count in self.rows("SELECT code, count FROM notice_count")}
        listed = [
            Notice(decode_name(code), decode_name(path), decode_name(detail))
            for code, path, detail in self.rows("SELECT code, path, detail FROM notice ORDER BY id")
        ]
        return counts, listed

    def security_descriptor(self, number: object) -> bytes:
        """The security descriptor of that number, as the row of an entry has it. Raises FormatError."""
        known = self._security.get(number)
        if known is not None:
            return known
        for (descriptor,) in self.rows("SELECT descriptor FROM security WHERE id = ?", (number,)):
            if isinstance(descriptor, bytes):
                self._security_bytes += len(descriptor)
                if self._security_bytes > _CACHED_BYTES:
                    self._security = {}
                    self._security_bytes = len(descriptor)
                self._security[number] = descriptor
                return descriptor
        raise FormatError(f"there is no security descriptor {number}", kind="layer-db", layer=self.where)

    def folder_path(self, number: object) -> tuple[str, bytes]:
        """The path of the folder of that number, and its path on this machine; number 0 is the top.

        It is what the row of an entry has, so maybe no number at all. Raises FormatError.
        """
        found = self._paths.get(number)
        if found is not None:
            return found
        above: list[tuple[object, str, bytes]] = []
        here = number
        while (known := self._paths.get(here)) is None:
            row = next(iter(self.rows("SELECT parent, name, host FROM entry WHERE id = ?", (here,))), None)
            if row is None or len(above) > _MAX_DEPTH or type(row[0]) is not int:
                raise FormatError(f"folder {number} does not lie in the layer", kind="layer-db", layer=self.where)
            name = decode_name(row[1])
            above.append((here, name, encode_wtf8(name if row[2] is None else decode_name(row[2]))))
            here = row[0]
        path, host = known
        for here, name, leaf in reversed(above):
            path, host = (f"{path}/{name}", host + b"/" + leaf) if path else (name, leaf)
            self._paths_bytes += len(path) + len(host)
            if self._paths_bytes > _CACHED_BYTES:
                self._paths = {0: ("", b"")}
                self._paths_bytes = len(path) + len(host)
            self._paths[here] = (path, host)
        return path, host

    def _found(self, path: str) -> list[Node]:
        """What Windows takes for ``path``, tombstones included, the exact spelling first."""
        parent, _, name = path.rpartition("/")
        key = encode_name(fold(name))
        found = [
            Node(self, row, folder)
            for number, folder in self.folders_at(parent)
            for row in self.fetch(_SELECT_NAMED, (number, key))
        ]
        if len(found) > 1:
            found.sort(key=lambda node: node.path != path)
        return found

    def folders_at(self, path: str) -> list[tuple[int, str]]:
        """The folders that Windows takes for ``path``, as number and spelling: normally none or one."""
        if not path:
            return [(0, "")]
        known = self._walked.get(path)
        if known is None:
            above, _, name = path.rpartition("/")
            folders = self._walked.get(above)
            if folders is None:
                folders = [(0, "")]
                for part in above.split("/") if above else ():
                    folders = self._entered(folders, part)
                self._remember(above, folders)
            known = self._entered(folders, name)
            self._remember(path, known)
        return known

    def _entered(self, folders: list[tuple[int, str]], name: str) -> list[tuple[int, str]]:
        """The folders that Windows takes for ``name`` in any of ``folders``."""
        key = encode_name(fold(name))
        return [
            (row[0], f"{folder}/{decode_name(row[1])}" if folder else decode_name(row[1]))
            for number, folder in folders
            for row in self.fetch(_SELECT_FOLDERS, (number, key, FOLDER, SYNTHESISED))
        ]

    def _remember(self, path: str, folders: list[tuple[int, str]]) -> None:
        size = _CACHED_EACH + 2 * len(path)
        self._walked_bytes += size
        if self._walked_bytes > _CACHED_BYTES:
            self._walked = {}
            self._walked_bytes = size
        self._walked[path] = folders


def connect(path: Path) -> sqlite3.Connection:
    """A read-only connection to the database ``path``, which nothing changes while it is open.

    Raises NotFoundError, StoreError.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no {path}")
    address = f"file:{quote(bytes(path.absolute()))}?mode=ro&immutable=1"
    try:
        return sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise database_error(error, str(path)) from error


def _prefixes(path: str) -> list[str]:
    names = path.split("/") if path else []
    return ["/".join(names[: depth + 1]) for depth in range(len(names))]
