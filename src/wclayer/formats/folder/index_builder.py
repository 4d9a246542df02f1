"""Layer items become rows: the half of every writer that fills ``layer.db``.

An entry may come before its folder: the folder is then synthesised, and its own entry, when it comes, takes the place.
No set of all paths is kept. Of a folder its number is known, under its own folder's number and its exact name, so what
a path passes through is checked as it is walked. What only a look at all names can show is left to
:mod:`~wclayer.formats.folder.checks`, when the rows are in and indexed.
"""

from __future__ import annotations

import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Protocol

from wclayer._version import __version__
from wclayer.errors import LimitError, UnsafeEntryError
from wclayer.formats.folder.door import NameTakenError
from wclayer.formats.folder.schema import (
    ENTRY_COLUMNS,
    FILE,
    FOLDER,
    INDEXES,
    LINK,
    ORDINARY_COLUMNS,
    STREAM_COLUMNS,
    SYNTHESISED,
    TABLES,
    TOMBSTONE,
    Row,
    database_error,
    encodable_row,
    encode_ranges,
)
from wclayer.model import AlternateStream, Entry, HardLink, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs.ea import encode_eas
from wclayer.ntfs.names import checked_path, checked_stream_name, encode_wtf8, fold

__all__ = ["MAX_DEPTH", "FolderMaker", "IndexBuilder"]


class FolderMaker(Protocol):
    """What the builder asks of a :class:`~wclayer.formats.folder.tree.HostTree`."""

    def make_folder(self, parent: bytes, name: str) -> bytes | None:
        """Make the folder ``name`` in ``parent``; returns its name on this machine when it is another one."""

    def expect(self, row: list[Any], places: tuple[int, int], path: str, taken: str) -> None:
        """Complete the row of what was asked for last."""

    def unsettled(self) -> int | None:
        """The number of the first row that is not complete yet."""


MAX_DEPTH = 1024
"""The most components of a path: deep enough for any system, so shallow that one entry cannot make a disk full."""

_LONG = 16000  # characters
_BATCH_ROWS = 512
_BATCH_BYTES = 4 << 20
_RECENT = 4096
_RECENT_CHARACTERS = 1 << 20
_KNOWN_BYTES = 8 << 20

_ENTRY_PLACES = ENTRY_COLUMNS.split(", ").index("crc32"), ENTRY_COLUMNS.split(", ").index("host")
_STREAM_PLACES = STREAM_COLUMNS.split(", ").index("crc32"), STREAM_COLUMNS.split(", ").index("host")


def _insert(table: str, columns: str) -> str:
    return f"INSERT INTO {table}({columns}) VALUES({', '.join('?' * (columns.count(',') + 1))})"


_INSERT_ENTRY = _insert("entry", ENTRY_COLUMNS)
_INSERT_ORDINARY = _insert("entry", ORDINARY_COLUMNS)
_INSERT_STREAM = _insert("stream", STREAM_COLUMNS)
_DELETE_ENTRY = "DELETE FROM entry WHERE id = ?"
_DELETE_STREAM = "DELETE FROM stream WHERE id = ?"
_ORDINARY = ORDINARY_COLUMNS.count(",") + 1
_ALL = ENTRY_COLUMNS.count(",") + 1


class IndexBuilder:
    """Fills the database at ``path`` (``""``: a private one that vanishes when closed).

    ``tree`` makes folders on this machine; None when only the index is wanted. ``where`` names the layer in
    errors. Every method raises UnsafeEntryError for a path that is not in normal form, that passes through something
    other than a folder, or that is there already, as far as this can be told at once.
    """

    def __init__(self, path: str, notices: Notices, *, where: str, tree: FolderMaker | None = None) -> None:
        self.where = where
        self._notices = notices
        self._tree = tree
        self._next = 1
        self._folders: dict[tuple[int, str], int] = {}  # the number that a folder had first
        self._synthesised: set[int] = set()
        self._filled: list[tuple[int, int]] = []  # synthesised folders and the entries that took their places
        self._reparse: set[int] = set()
        self._escaped: dict[int, bytes] = {}
        self._recent: dict[str, tuple[int, bytes]] = {"": (0, b"")}
        self._recent_characters = 0
        self._security: dict[bytes, int] = {}
        self._security_bytes = 0
        self._rows: list[list[Any]] = []
        self._stream_rows: list[list[Any]] = []
        self._full = _BATCH_ROWS
        self._pending_bytes = 0
        self._last_path: str | None = None
        self._last_id = 0
        self._counted = dict(notices.counts)
        self._listed = len(notices.listed)
        try:
            self.database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        except sqlite3.Error as error:
            raise database_error(error, where) from error
        self.execute("PRAGMA journal_mode = OFF")  # the whole layer is one transaction, and it is a rename
        self.execute("PRAGMA synchronous = OFF")
        self.execute("PRAGMA locking_mode = EXCLUSIVE")
        for statement in TABLES.split(";"):
            self.execute(statement)
        self.execute("BEGIN")

    def execute(self, statement: str, values: Row = ()) -> list[Row]:
        """All rows of one statement."""
        try:
            return self.database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise database_error(error, self.where) from error

    def execute_many(self, statement: str, rows: Iterable[Sequence[Any]]) -> None:
        """One statement for many rows."""
        try:
            self.database.executemany(statement, rows)
        except sqlite3.Error as error:
            raise database_error(error, self.where) from error

    def locate(self, path: str) -> tuple[int, bytes, str]:
        """The number and the host path of the folder of ``path``, synthesised where need be, and the last name."""
        parent, separator, name = path.rpartition("/")
        folder = self._recent.get(parent)
        if folder is None:
            folder = self._walk(parent, path)
        # Of a known parent only the name is new; a path that could be too long is looked at as a whole.
        try:
            normal = checked_path(path if len(path) > _LONG else name)
        except UnsafeEntryError as error:
            raise UnsafeEntryError(error.message, path=path) from error
        if normal not in (name, path) or (separator and not parent):
            raise _not_normal(path)
        return folder[0], folder[1], name

    def add_file(self, entry: Entry, parent: int, name: str, crc: int | None, *, host: bytes | None = None) -> None:
        """The file ``name`` in folder ``parent``, called ``host`` on this machine; ``crc`` is of its stored bytes."""
        row = self._add(
            entry.path,
            parent,
            name,
            FILE,
            entry.ordinal,
            entry.metadata,
            data=entry.data,
            crc=crc,
            host=host,
            file_id=entry.file_id,
        )
        if self._tree is not None:
            self._tree.expect(row, _ENTRY_PLACES, entry.path, self.taken(parent, name))

    def taken(self, parent: int, name: str) -> str:
        """What is wrong when the name of a file is taken on this machine."""
        if (parent, name) in self._folders:
            return "a file where a folder was"
        return "duplicate entry: the path is there already"

    def add_folder(self, entry: Entry) -> None:
        """A folder; made on this machine unless it was synthesised before."""
        path, is_reparse = entry.path, entry.metadata.reparse is not None
        if entry.data is not None and entry.data.size:
            raise UnsafeEntryError("a folder with a main stream", path=path)
        parent, host_path, name = self.locate(path)
        key = (parent, name)
        first = self._folders.get(key)
        made = first is None
        if first is None:
            host = self._made(host_path, name, path, _FOLDER_TAKEN)
            first = self._folders[key] = self._next
            if host is not None:
                self._escaped[first] = host
        elif first not in self._synthesised:
            raise UnsafeEntryError("duplicate entry: the folder is there already", path=path)
        elif is_reparse:
            raise UnsafeEntryError("a reparse point where other entries need a folder", path=path)
        else:
            self._synthesised.remove(first)
            self._filled.append((first, self._next))
            host = self._escaped.get(first)
        if is_reparse:
            self._reparse.add(first)
        row = self._add(path, parent, name, FOLDER, entry.ordinal, entry.metadata, host=host, file_id=entry.file_id)
        if made and self._tree is not None:
            self._tree.expect(row, _ENTRY_PLACES, path, _FOLDER_TAKEN)

    def add_link(self, link: HardLink) -> None:
        """A hard link, resolved later by :mod:`~wclayer.formats.folder.links`."""
        if link.metadata.reparse is not None:
            raise UnsafeEntryError("a hard link with a reparse buffer", path=link.path)
        parent, _, name = self.locate(link.path)
        self._add(link.path, parent, name, LINK, link.ordinal, link.metadata, target=link.target)

    def add_tombstone(self, tombstone: Tombstone) -> None:
        """A deletion."""
        parent, _, name = self.locate(tombstone.path)
        self._add(None, parent, name, TOMBSTONE, tombstone.ordinal, _NOTHING)

    @property
    def next_number(self) -> int:
        """The number that the next entry or stream gets."""
        return self._next

    def add_stream(
        self, stream: AlternateStream, crc: int | None, *, content: bytes | None = None, host: str | None = None
    ) -> None:
        """An alternate stream, whose owner is looked for later unless it is the last entry."""
        checked_stream_name(stream.name, path=stream.path)
        owner = self._last_id if stream.path == self._last_path else None
        if owner is None and checked_path(stream.path) != stream.path:
            raise _not_normal(stream.path)
        number, data = self._next, stream.data
        self._next += 1
        row = [
            number,
            stream.ordinal,
            owner,
            None if owner else stream.path,
            stream.name,
            fold(stream.name),
            data.size,
            encode_ranges(data.ranges, data.size),
            crc,
            content,
            host,
        ]
        self._stream_rows.append(row)
        if host is not None and self._tree is not None:
            self._tree.expect(row, _STREAM_PLACES, stream.path, "")
        self._pending_bytes += len(content or b"") + 256
        if self._pending_bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put the rows collected so far into the database, up to the first that is not complete."""
        first = self._tree.unsettled() if self._tree is not None else None
        rows = _complete(self._rows, first)
        ordinary = [row for row in rows if len(row) == _ORDINARY]
        self._insert(ordinary, _INSERT_ORDINARY, _DELETE_ENTRY)
        if len(ordinary) < len(rows):
            others = [row + [None] * (_ALL - len(row)) for row in rows if len(row) != _ORDINARY]
            self._insert(others, _INSERT_ENTRY, _DELETE_ENTRY)
        self._insert(_complete(self._stream_rows, first), _INSERT_STREAM, _DELETE_STREAM)
        self._full = len(self._rows) + _BATCH_ROWS
        self._pending_bytes = 0

    def _insert(self, rows: list[list[Any]], statement: str, delete: str) -> None:
        if not rows:
            return
        try:
            self.execute_many(statement, rows)
        except (OverflowError, UnicodeEncodeError):
            # A time beyond 63 bits or a lone surrogate: so rare that looking for one in each row would cost more.
            self.execute_many(delete, [(row[0],) for row in rows])
            self.execute_many(statement, [encodable_row(row) for row in rows])

    def finish(self) -> None:
        """No more items come: settle which entry each folder is, and build the indexes."""
        self.flush()
        if self._filled:
            self.execute("CREATE TEMP TABLE filled(old INTEGER PRIMARY KEY, new)")
            self.execute_many("INSERT INTO filled VALUES(?, ?)", self._filled)
            self.execute(
                "UPDATE entry SET parent = (SELECT new FROM filled WHERE old = entry.parent)"
                " WHERE parent IN (SELECT old FROM filled)"
            )
            self.execute("DELETE FROM entry WHERE id IN (SELECT old FROM filled)")
            self.execute("DROP TABLE filled")
        for statement in INDEXES.split(";"):
            self.execute(statement)

    def record(self, facts: Mapping[str, str | int | None]) -> None:
        """Put down what is known of the layer as a whole, the counts, and the notices since this builder began."""
        ((entries,),) = self.execute("SELECT count(*) FROM entry WHERE kind != ?", (SYNTHESISED,))
        ((streams,),) = self.execute("SELECT count(*) FROM stream")
        facts = {"tool": f"wclayer {__version__}", **facts, "entries": entries, "streams": streams}
        self.execute_many("INSERT OR REPLACE INTO layer VALUES(?, ?)", [encodable_row(fact) for fact in facts.items()])
        counts = ((code, count - self._counted.get(code, 0)) for code, count in self._notices.counts.items())
        self.execute_many("INSERT INTO notice_count VALUES(?, ?)", [count for count in counts if count[1]])
        self.execute_many(
            "INSERT INTO notice(code, path, detail) VALUES(?, ?, ?)",
            [
                encodable_row((notice.code, notice.path, notice.detail))
                for notice in self._notices.listed[self._listed :]
            ],
        )

    def close(self) -> None:
        """Commit and close."""
        self.execute("COMMIT")
        self.database.close()

    def abandon(self) -> None:
        """Close without a thought for what was written."""
        self._rows.clear()
        self._stream_rows.clear()
        self.database.close()

    def _add(
        self,
        path: str | None,
        parent: int,
        name: str,
        kind: int,
        ordinal: int | None,
        metadata: Metadata,
        *,
        data: Stream | None = None,
        crc: int | None = None,
        target: str | None = None,
        host: bytes | None = None,
        file_id: bytes | None = None,
    ) -> list[Any]:
        number = self._next
        self._next = number + 1
        self._last_path = path
        self._last_id = number
        security: int | None = None
        descriptor = metadata.security_descriptor
        if descriptor is not None:
            security = self._security.get(descriptor) or self._interned(descriptor)
        extended = reparse = None
        if metadata.extended_attributes or metadata.reparse is not None:
            extended = encode_eas(metadata.extended_attributes) or None
            reparse = metadata.reparse
            self._pending_bytes += len(extended or b"") + len(reparse or b"")
        row = [
            number,
            ordinal,
            parent,
            name,
            fold(name),
            kind,
            metadata.attributes,
            metadata.creation_time,
            metadata.last_access_time,
            metadata.last_write_time,
            metadata.change_time,
            security,
            extended,
            reparse,
            None if data is None else data.size,
            None if data is None or data.ranges is None else encode_ranges(data.ranges, data.size),
            crc,
        ]
        if target is not None or host is not None or file_id is not None:
            row += (target, None, None, None if host is None else host.decode(), file_id)
        # Before this row is added: what became of it is not asked for yet.
        if len(self._rows) >= self._full or self._pending_bytes >= _BATCH_BYTES:
            self.flush()
        self._rows.append(row)
        return row

    def _walk(self, parent: str, path: str) -> tuple[int, bytes]:
        """The folder ``parent`` of the entry ``path``, which is not among the recent ones."""
        if checked_path(path) != path:
            raise _not_normal(path)
        names = parent.split("/")
        if len(names) >= MAX_DEPTH:
            raise LimitError(f"the path has more than {MAX_DEPTH} components", path=path)
        number, host_path = 0, b""
        for depth, name in enumerate(names, 1):
            key = (number, name)
            found = self._folders.get(key)
            if found is None:
                taken = f"it lies below {'/'.join(names[:depth])}, which is not a folder"
                host = self._made(host_path, name, path, taken)
                found = self._folders[key] = self._next
                if host is not None:
                    self._escaped[found] = host
                self._synthesised.add(found)
                row = self._add(None, number, name, SYNTHESISED, None, _NOTHING, host=host)
                if self._tree is not None:
                    self._tree.expect(row, _ENTRY_PLACES, path, taken)
            elif found in self._reparse:
                here = "/".join(names[:depth])
                raise UnsafeEntryError(f"it lies below {here}, which is a reparse point", path=path)
            number = found
            leaf = self._escaped.get(number) or encode_wtf8(name)
            host_path = host_path + b"/" + leaf if host_path else leaf
        self._recent_characters += len(parent)
        if len(self._recent) >= _RECENT or self._recent_characters >= _RECENT_CHARACTERS:
            self._recent = {"": (0, b"")}
            self._recent_characters = len(parent)
        self._recent[parent] = (number, host_path)
        return number, host_path

    def _made(self, host_path: bytes, name: str, path: str, taken: str) -> bytes | None:
        """Make a folder on this machine; ``taken`` says what is wrong with the entry ``path`` when it cannot be."""
        if self._tree is None:
            return None
        try:
            return self._tree.make_folder(host_path, name)
        except NameTakenError as error:
            raise UnsafeEntryError(taken, path=path) from error

    def _interned(self, descriptor: bytes) -> int:
        """The number of a security descriptor that is not among the known ones."""
        rows = self.execute("SELECT id FROM security WHERE descriptor = ?", (descriptor,))
        if not rows:
            self.execute("INSERT INTO security(descriptor) VALUES(?)", (descriptor,))
            rows = self.execute("SELECT last_insert_rowid()")
        self._security_bytes += len(descriptor) + 256
        if self._security_bytes >= _KNOWN_BYTES:
            self._security.clear()
            self._security_bytes = len(descriptor)
        number: int = rows[0][0]
        self._security[descriptor] = number
        return number


_NOTHING = Metadata()
_FOLDER_TAKEN = "a folder where a file was, or a duplicate entry"
_number = itemgetter(0)


def _complete(collected: list[list[Any]], first: int | None) -> list[list[Any]]:
    """The rows before number ``first``, taken out of the list."""
    end = len(collected) if first is None else bisect_left(collected, first, key=_number)
    rows = collected[:end]
    del collected[:end]
    return rows


def _not_normal(path: str) -> UnsafeEntryError:
    return UnsafeEntryError("the path is not in normal form", path=path)
