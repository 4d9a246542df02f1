"""The manifest of a volume: a SQLite file with what the files of this machine cannot hold.

Names lead to nodes, as in NTFS, so that two names of one file share what is kept of it. Distinct security descriptors
are stored once. Alternate streams lie in pieces, so that none is ever held whole. Writes are gathered and reach the
file in batches; :meth:`Manifest.close` makes them one transaction.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from wclayer.errors import FormatError, IntegrityError, NotFoundError, StoreError
from wclayer.formats.volume.record import Ranges, Record

__all__ = ["Manifest", "StreamRow"]

_APPLICATION_ID = 0x77634E54  # "wcNT"
_BATCH = 2048
_PIECE = 1 << 20
_TIME_LIMIT = 1 << 63
_FAILURES = (sqlite3.Error, UnicodeDecodeError)  # the latter for text that is none, in rows and in errors about them
_SCHEMA = (
    "CREATE TABLE names (path BLOB PRIMARY KEY, node INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE nodes (node INTEGER PRIMARY KEY, attributes INTEGER NOT NULL, creation INTEGER NOT NULL,"
    " access INTEGER NOT NULL, write INTEGER NOT NULL, change INTEGER NOT NULL, descriptor INTEGER,"
    " attribute_list BLOB, reparse BLOB, ranges BLOB, streams INTEGER NOT NULL)",
    "CREATE TABLE descriptors (descriptor INTEGER PRIMARY KEY, content BLOB NOT NULL UNIQUE)",
    "CREATE TABLE streams (stream INTEGER PRIMARY KEY, node INTEGER NOT NULL, name TEXT NOT NULL,"
    " size INTEGER NOT NULL, ranges BLOB)",
    "CREATE INDEX streams_of ON streams (node)",
    "CREATE TABLE pieces (stream INTEGER, place INTEGER, content BLOB NOT NULL, PRIMARY KEY (stream, place))"
    " WITHOUT ROWID",
    "CREATE TABLE aliases (leaf BLOB PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE implied (path TEXT PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE tombstones (place INTEGER PRIMARY KEY, path TEXT NOT NULL)",
)
_COLUMNS = "attributes, creation, access, write, change, content, attribute_list, reparse, ranges, streams"
_LOOKUP = (
    f"SELECT path, node, {_COLUMNS} FROM names LEFT JOIN nodes USING (node)"  # noqa: S608 - our names
    " LEFT JOIN descriptors USING (descriptor)"
)
# The sqlite3 module asks each None and all bytes, but no bytearray, first whether they would rather be something else,
# which takes longer than to put a number in its place. So what most rows do not have is left out of theirs.
_INSERT = {
    8: "INSERT OR REPLACE INTO nodes(node, attributes, creation, access, write, change, descriptor, streams)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
    11: "INSERT OR REPLACE INTO nodes(node, attributes, creation, access, write, change, descriptor, streams,"
    " attribute_list, reparse, ranges) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
}
_FEW, _SOME = 8, 32  # a place that is not filled costs time, a statement of its own for each number even more
_FIND = {most: f"{_LOOKUP} WHERE path IN ({', '.join('?' * most)})" for most in (_FEW, _SOME)}
_FIND_ONE = f"{_LOOKUP} WHERE path = ?"


class StreamRow(NamedTuple):
    """An alternate stream: its number, its full name (``:name:$DATA``), its size in bytes, its ranges if sparse."""

    stream: int
    name: str
    size: int
    ranges: Ranges | None


class Manifest:
    """The manifest in the file ``path``; None keeps it in memory.

    With ``read_only`` the file must exist (NotFoundError) and is not changed. Raises IntegrityError for a file that is
    no manifest, and StoreError when the disk refuses. Paths are those of the files of this machine, as bytes.
    """

    def __init__(self, path: Path | None, *, read_only: bool = False) -> None:
        self.path = path
        self.read_only = read_only
        existed = path is not None and path.exists()
        if read_only and not existed:
            raise NotFoundError(f"there is no manifest {path}")
        try:
            if path is None:
                self._database = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
            else:
                place = f"{path.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}"
                self._database = sqlite3.connect(place, uri=True, isolation_level=None, check_same_thread=False)
            self._prepare(existed=existed)
        except _FAILURES as error:
            raise self._failed(error) from error
        self._names: dict[bytes, int | None] = {}
        self._nodes: dict[int, Record] = {}
        self._dirty: set[int] = set()
        self._descriptors: dict[bytes, int] = {}

    def _prepare(self, *, existed: bool) -> None:
        database = self._database
        database.execute("PRAGMA trusted_schema = OFF")
        database.execute("PRAGMA cell_size_check = ON")
        database.text_factory = lambda data: data.decode("utf-8", "surrogatepass")
        if existed:
            found = {row[0] for row in database.execute("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL")}
            if (
                database.execute("PRAGMA application_id").fetchone() != (_APPLICATION_ID,)
                or len(found) != len(_SCHEMA)
                or found != set(_SCHEMA)
            ):
                database.close()
                raise IntegrityError(f"{self.path} is no manifest of a volume")
        else:
            # A manifest that was not finished is worth nothing, so its making needs no journal.
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
        # Whoever reads sees one state of it, and locks the file once, not anew for each row.
        database.execute("BEGIN" if self.read_only else "BEGIN IMMEDIATE")
        if not self.read_only and not existed:
            for statement in _SCHEMA:
                database.execute(statement)
        self._next_node = self._largest("node", "nodes") + 1
        self._next_descriptor = self._largest("descriptor", "descriptors") + 1
        self._next_stream = self._largest("stream", "streams") + 1

    def _largest(self, column: str, table: str) -> int:
        number = self._database.execute(f"SELECT max({column}) FROM {table}").fetchone()[0]  # noqa: S608 - our names
        return number if isinstance(number, int) else 0

    # ------------------------------------------------------------------ records

    def get(self, path: bytes) -> Record | None:
        """The record of the name ``path``. Change it in place only together with :meth:`changed`."""
        try:
            node = self._names[path]
        except KeyError:
            if len(self._names) >= _BATCH:
                self.flush()
            node = self._names[path] = None
            for row in self._all(_FIND_ONE, path):
                node = self._found(row)
        if node is None:
            return None
        record = self._nodes.get(node)
        if record is None:
            record = self._nodes[node] = self._load(node)
        return record

    def prepare(self, paths: Sequence[bytes]) -> None:
        """Look up many names at once, which are about to be asked for one by one."""
        if len(self._names) + len(paths) >= _BATCH:
            self.flush()
        names = self._names
        unknown = [path for path in paths[: _BATCH - 1] if path not in names]
        for start in range(0, len(unknown), _SOME):
            some = unknown[start : start + _SOME]
            names.update(dict.fromkeys(some))
            most = _FEW if len(some) <= _FEW else _SOME
            for row in self._all(_FIND[most], *map(bytearray, some), *[0] * (most - len(some))):
                self._found(row)

    def put(self, path: bytes, record: Record) -> Record:
        """Give the name ``path`` to a new file with this record, which gets its node number."""
        if len(self._names) >= _BATCH:
            self.flush()
        record.node = self._next_node
        self._next_node += 1
        self._names[path] = record.node
        self._nodes[record.node] = record
        self._dirty.add(record.node)
        return record

    def changed(self, record: Record) -> None:
        """Note that ``record``, which :meth:`get` or :meth:`put` returned, was changed in place."""
        self._nodes[record.node] = record
        self._dirty.add(record.node)

    def link(self, path: bytes, node: int) -> None:
        """Make ``path`` another name of the file ``node`` of this manifest."""
        if len(self._names) >= _BATCH:
            self.flush()
        self._names[path] = node

    def remove(self, path: bytes) -> None:
        """Forget the name ``path`` and, when it was the last one, the file."""
        record = self.get(path)
        if record is None:
            return
        self.flush()
        self._run("DELETE FROM names WHERE path = ?", path)
        self._names.clear()
        if self._one("SELECT 1 FROM names WHERE node = ? LIMIT 1", record.node) is None:
            self._run("DELETE FROM pieces WHERE stream IN (SELECT stream FROM streams WHERE node = ?)", record.node)
            self._run("DELETE FROM streams WHERE node = ?", record.node)
            self._run("DELETE FROM nodes WHERE node = ?", record.node)
            self._nodes.pop(record.node, None)

    def names_of(self, record: Record) -> int:
        """How many names the file has in this volume."""
        self.flush()
        row = self._one("SELECT count(*) FROM names WHERE node = ?", record.node)
        return int(row[0]) if row else 0

    def _found(self, row: tuple[Any, ...]) -> Any:
        """Remember the name and the file of a row; the number of the file."""
        path, node, *columns = row
        if node not in self._nodes and columns[0] is not None:
            self._nodes[node] = self._record(node, columns)
        self._names[path] = node
        return node

    def _load(self, node: int) -> Record:
        row = self._one(
            f"SELECT {_COLUMNS} FROM nodes LEFT JOIN descriptors USING (descriptor) WHERE node = ?",  # noqa: S608
            node,
        )
        if row is None:
            raise IntegrityError(f"{self.path} names a file {node} that it does not have")
        return self._record(node, row)

    def _record(self, node: int, columns: Sequence[Any]) -> Record:
        word, creation, access, write, change, descriptor, attributes, reparse, ranges, streams = columns
        if not all(isinstance(number, int) for number in (word, creation, access, write, change, streams)) or not all(
            isinstance(blob, bytes | None) for blob in (descriptor, attributes, reparse, ranges)
        ):
            raise IntegrityError(f"{self.path} holds something else than it should for file {node}")
        found = self._unpacked(ranges)
        return Record(
            word, creation, access, write, change, descriptor, attributes, reparse, found, bool(streams), node
        )

    # ------------------------------------------------------------------ alternate streams

    def streams_of(self, record: Record) -> list[StreamRow]:
        """The alternate streams of a file, in the order in which they came."""
        if not record.streams:
            return []
        rows = self._all("SELECT stream, name, size, ranges FROM streams WHERE node = ? ORDER BY stream", record.node)
        return [StreamRow(stream, str(name), int(size), self._unpacked(ranges)) for stream, name, size, ranges in rows]

    def stream_pieces(self, stream: int) -> Iterator[bytes]:
        """The stored bytes of an alternate stream."""
        place = 0
        while row := self._one("SELECT content FROM pieces WHERE stream = ? AND place = ?", stream, place):
            yield bytes(row[0])
            place += 1

    def open_stream(self, record: Record, name: str) -> int:
        """The number of a new alternate stream of ``record``; one of that name is replaced."""
        for row in self.streams_of(record):
            if row.name == name:
                self._run("DELETE FROM pieces WHERE stream = ?", row.stream)
                self._run("DELETE FROM streams WHERE stream = ?", row.stream)
        record.streams = True
        self.changed(record)
        number = self._next_stream
        self._next_stream += 1
        self._run("INSERT INTO streams VALUES (?, ?, ?, 0, NULL)", number, record.node, name)
        return number

    def add_piece(self, stream: int, place: int, content: bytes) -> None:
        """Add the piece number ``place`` of an alternate stream."""
        self._run("INSERT INTO pieces VALUES (?, ?, ?)", stream, place, content)

    def close_stream(self, stream: int, size: int, ranges: Ranges | None) -> None:
        """Say how large an alternate stream became."""
        self._run("UPDATE streams SET size = ?, ranges = ? WHERE stream = ?", size, _packed(ranges), stream)

    def copy_streams(self, source: Manifest, old: Record, new: Record) -> None:
        """Give ``new`` the alternate streams that ``old`` has in ``source``."""
        for row in source.streams_of(old):
            number = self.open_stream(new, row.name)
            for place, piece in enumerate(source.stream_pieces(row.stream)):
                self.add_piece(number, place, piece)
            self.close_stream(number, row.size, row.ranges)

    # ------------------------------------------------------------------ names and deletions

    def set_alias(self, leaf: bytes, name: str) -> None:
        """Note that files of this machine called ``leaf`` stand for files called ``name``."""
        self._run("INSERT OR REPLACE INTO aliases VALUES (?, ?)", leaf, name.encode("utf-8", "surrogatepass"))

    def alias(self, leaf: bytes) -> str | None:
        """The name for which ``leaf`` stands, None when it stands for itself."""
        row = self._one("SELECT CAST(name AS BLOB) FROM aliases WHERE leaf = ?", leaf)
        return bytes(row[0]).decode("utf-8", "surrogatepass") if row and isinstance(row[0], bytes) else None

    def imply(self, path: str) -> None:
        """Note that the folder ``path`` was made because something in it needs it, and is no entry of the layer."""
        self._run("INSERT OR IGNORE INTO implied VALUES (CAST(? AS TEXT))", path.encode("utf-8", "surrogatepass"))

    def implied(self) -> frozenset[str]:
        """The folders that are no entries of the layer."""
        rows = self._all("SELECT CAST(path AS BLOB) FROM implied")
        return frozenset(bytes(row[0]).decode("utf-8", "surrogatepass") for row in rows)

    def set_tombstones(self, paths: Iterable[str]) -> None:
        """Keep what the layer deletes from its parents, with backslashes, in order."""
        self._run("DELETE FROM tombstones")
        for place, path in enumerate(paths):
            text = path.encode("utf-8", "surrogatepass")
            self._run("INSERT INTO tombstones VALUES (?, CAST(? AS TEXT))", place, text)

    def tombstones(self) -> list[str]:
        """What the layer deletes from its parents."""
        rows = self._all("SELECT CAST(path AS BLOB) FROM tombstones ORDER BY place")
        return [bytes(row[0]).decode("utf-8", "surrogatepass") for row in rows]

    # ------------------------------------------------------------------ the file

    def flush(self) -> None:
        """Write what is gathered into the database."""
        dirty, self._dirty = self._dirty, set()
        nodes, self._nodes = self._nodes, {}
        names, self._names = self._names, {}
        if self.read_only:
            return
        rows = [self._row(nodes[node]) for node in sorted(dirty)]
        try:
            for count, statement in _INSERT.items():
                self._database.executemany(statement, [row for row in rows if len(row) == count])
            self._database.executemany(
                "INSERT OR REPLACE INTO names VALUES (?, ?)",
                [(bytearray(path), node) for path, node in names.items() if node is not None],
            )
        except _FAILURES as error:
            raise self._failed(error) from error
        except OverflowError as error:
            raise FormatError("a time that no FILETIME can hold") from error

    def close(self, *, commit: bool = True) -> None:
        """Make everything durable, or drop it. Harmless when called twice."""
        try:
            if not self.read_only and self._database.in_transaction:
                if commit:
                    self.flush()
                    self._database.execute("COMMIT")
                else:
                    self._database.execute("ROLLBACK")
        except sqlite3.ProgrammingError:
            return  # closed already
        except _FAILURES as error:
            raise self._failed(error) from error
        finally:
            with suppress(sqlite3.Error):
                self._database.close()

    def _row(self, record: Record) -> tuple[object, ...]:
        descriptor: int | None = None
        content = record.security_descriptor
        if content is not None:
            descriptor = self._descriptors.get(content)
            if descriptor is None:
                descriptor = self._descriptor(content)
        row = (
            record.node,
            record.attributes,
            record.creation_time,
            record.last_access_time,
            record.last_write_time,
            record.change_time,
            descriptor,
            int(record.streams),
        )
        extended, reparse, ranges = record.extended_attributes, record.reparse, record.ranges
        if extended is None and reparse is None and ranges is None:
            return row
        return (*row, extended, reparse, _packed(ranges))

    def _descriptor(self, content: bytes) -> int:
        row = self._one("SELECT descriptor FROM descriptors WHERE content = ?", content)
        if row is None:
            number = self._next_descriptor
            self._next_descriptor += 1
            self._run("INSERT INTO descriptors VALUES (?, ?)", number, content)
        else:
            number = int(row[0])
        if len(self._descriptors) < _BATCH:
            self._descriptors[content] = number
        return number

    def _one(self, statement: str, *values: object) -> tuple[Any, ...] | None:
        try:
            row: tuple[Any, ...] | None = self._database.execute(statement, values).fetchone()
        except _FAILURES as error:
            raise self._failed(error) from error
        return row

    def _all(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except _FAILURES as error:
            raise self._failed(error) from error

    def _run(self, statement: str, *values: object) -> None:
        if not self.read_only:
            self._one(statement, *values)

    def _unpacked(self, packed: object) -> Ranges | None:
        if packed is None:
            return None
        if not isinstance(packed, bytes) or len(packed) % 16:
            raise IntegrityError(f"{self.path} holds a map of ranges that is none")
        return tuple(struct.iter_unpack("<qq", packed))

    def _failed(self, error: Exception) -> StoreError | IntegrityError:
        if isinstance(error, sqlite3.OperationalError):
            return StoreError(f"the manifest {self.path or 'in memory'} cannot be used: {error}")
        return IntegrityError(f"the manifest {self.path or 'in memory'} is damaged: {error}")


def _packed(ranges: Ranges | None) -> bytes | None:
    return None if ranges is None else b"".join(struct.pack("<qq", *pair) for pair in ranges)
