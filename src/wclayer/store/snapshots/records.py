"""What is known of snapshots, in SQLite: names, parents, kinds, labels, times, what they take.

A transaction is the moment at which something becomes so, for all programs; what lies in folders follows it. Numbers
count up and are never used twice.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from wclayer.errors import FormatError, NotFoundError, UnsupportedError
from wclayer.formats.folder.schema import database_error
from wclayer.store.snapshots.errors import AlreadyExistsError, FailedPreconditionError, InvalidArgumentError

__all__ = ["DATABASE", "Kind", "Record", "Records", "SnapshotInfo", "Usage"]

DATABASE = "snapshots.db"
_APPLICATION, _VERSION = 0x57434C53, 1
_PATIENCE = 60.0
_TABLES = """
CREATE TABLE IF NOT EXISTS snapshot(
    number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, parent INTEGER REFERENCES snapshot(number),
    kind INTEGER NOT NULL, folder TEXT NOT NULL, labels TEXT NOT NULL, created INTEGER NOT NULL,
    updated INTEGER NOT NULL, size INTEGER NOT NULL DEFAULT 0, inodes INTEGER NOT NULL DEFAULT 0,
    extract INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS snapshot_by_parent ON snapshot(parent);
"""


class Kind(IntEnum):
    """What a snapshot is, in containerd's numbers."""

    VIEW = 1
    ACTIVE = 2
    COMMITTED = 3


@dataclass(frozen=True, slots=True)
class SnapshotInfo:
    """What Stat says. ``parent`` is empty when there is none; times are nanoseconds after 1970."""

    name: str
    parent: str = ""
    kind: Kind = Kind.ACTIVE
    labels: Mapping[str, str] = field(default_factory=dict)
    created: int = 0
    updated: int = 0


@dataclass(frozen=True, slots=True)
class Usage:
    """What a snapshot takes: bytes on disk, and files and folders."""

    size: int
    inodes: int


@dataclass(frozen=True, slots=True)
class Record:
    """A snapshot as it is recorded. ``folder`` is the name of its folder, ``extract`` says that it awaits a layer."""

    number: int
    info: SnapshotInfo
    parent: int | None
    folder: str
    extract: bool
    usage: Usage


class Records:
    """The database in ``folder``, made when it is missing. Every call is a transaction of its own. StoreError."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / DATABASE
        with self.transaction() as database:
            ((application,),) = database.execute("PRAGMA application_id")
            ((version,),) = database.execute("PRAGMA user_version")
            if application == 0 and version == 0:
                for statement in filter(str.strip, _TABLES.split(";")):
                    database.execute(statement)
                database.execute(f"PRAGMA application_id = {_APPLICATION}")
                database.execute(f"PRAGMA user_version = {_VERSION}")
            elif application != _APPLICATION:
                raise FormatError(f"{self.path} is not the database of snapshots", kind="snapshots-db")
            elif version != _VERSION:
                raise UnsupportedError(f"{self.path} has version {version}; this program knows version {_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of what is done in the block, or nothing; nobody else writes meanwhile."""
        try:
            with closing(sqlite3.connect(self.path, isolation_level=None, timeout=_PATIENCE)) as database:
                database.execute("BEGIN IMMEDIATE")
                try:
                    yield database
                except BaseException:
                    database.execute("ROLLBACK")
                    raise
                database.execute("COMMIT")
        except sqlite3.Error as error:
            raise database_error(error, str(self.path)) from error

    # ------------------------------------------------------------------ inside of a transaction

    @staticmethod
    def find(database: sqlite3.Connection, name: str) -> Record:
        """The snapshot ``name``; NotFoundError."""
        for row in database.execute(f"{_SELECT} WHERE snapshot.name = ?", (name,)):
            return _record(row)
        raise NotFoundError(f"there is no snapshot {name}")

    @staticmethod
    def chain(database: sqlite3.Connection, record: Record) -> list[Record]:
        """The parents, nearest first."""
        found = []
        parent = record.parent
        while parent is not None:
            (row,) = database.execute(f"{_SELECT} WHERE snapshot.number = ?", (parent,))
            found.append(_record(row))
            parent = found[-1].parent
        return found

    @staticmethod
    def all(database: sqlite3.Connection) -> list[Record]:
        """All snapshots, in the order in which they were made."""
        return [_record(row) for row in database.execute(f"{_SELECT} ORDER BY snapshot.number")]

    def insert(
        self,
        database: sqlite3.Connection,
        name: str,
        parent: str,
        kind: Kind,
        labels: Mapping[str, str],
        *,
        extract: bool,
    ) -> Record:
        """A new snapshot: AlreadyExistsError, NotFoundError and InvalidArgumentError for the parent."""
        if not name:
            raise InvalidArgumentError("a snapshot has a name")
        number: int | None = None
        if parent:
            below = self.find(database, parent)
            if below.info.kind is not Kind.COMMITTED:
                raise InvalidArgumentError(f"the parent {parent} is not committed")
            number = below.number
        self.refuse_taken(database, name)
        now = time.time_ns()
        cursor = database.execute(
            "INSERT INTO snapshot(name, parent, kind, folder, labels, created, updated, extract)"
            " VALUES (?, ?, ?, '', ?, ?, ?, ?)",
            (name, number, kind, _labels_text(labels), now, now, extract),
        )
        database.execute("UPDATE snapshot SET folder = ? WHERE number = ?", (str(cursor.lastrowid), cursor.lastrowid))
        return self.find(database, name)

    @staticmethod
    def refuse_taken(database: sqlite3.Connection, name: str) -> None:
        """AlreadyExistsError when there is a snapshot ``name``."""
        if database.execute("SELECT 1 FROM snapshot WHERE name = ?", (name,)).fetchone():
            raise AlreadyExistsError(f"there is a snapshot {name} already")

    def commitable(
        self, database: sqlite3.Connection, name: str, key: str, parent: str | None
    ) -> tuple[Record, Record | None]:
        """The active snapshot ``key`` that may become the committed one ``name``, and its parent."""
        record = self.find(database, key)
        if record.info.kind is not Kind.ACTIVE:
            raise FailedPreconditionError(f"the snapshot {key} is not active")
        self.refuse_taken(database, name)
        if parent is not None and parent != record.info.parent:
            if record.parent is not None:
                raise InvalidArgumentError("cannot change parent of active snapshot")
            below = self.find(database, parent)
            if below.info.kind is not Kind.COMMITTED:
                raise FailedPreconditionError(f"the parent {parent} is not committed")
            return record, below
        return record, self.find(database, record.info.parent) if record.parent is not None else None

    @staticmethod
    def commit(
        database: sqlite3.Connection,
        record: Record,
        name: str,
        folder: str,
        parent: int | None,
        labels: Mapping[str, str],
        usage: Usage,
    ) -> None:
        """Let the active snapshot be committed under the name ``name``."""
        database.execute(
            "UPDATE snapshot SET name = ?, kind = ?, folder = ?, parent = ?, labels = ?, updated = ?, size = ?,"
            " inodes = ?, extract = 0 WHERE number = ?",
            (
                name,
                Kind.COMMITTED,
                folder,
                parent,
                _labels_text(labels),
                time.time_ns(),
                usage.size,
                usage.inodes,
                record.number,
            ),
        )

    @staticmethod
    def set_folder(database: sqlite3.Connection, record: Record, folder: str) -> None:
        """Let the content of a snapshot be in another folder from now on."""
        database.execute("UPDATE snapshot SET folder = ? WHERE number = ?", (folder, record.number))

    @staticmethod
    def set_labels(database: sqlite3.Connection, record: Record, labels: Mapping[str, str]) -> None:
        """Other labels; the time of the last update moves on."""
        updated = max(time.time_ns(), record.info.updated + 1)
        database.execute(
            "UPDATE snapshot SET labels = ?, updated = ? WHERE number = ?",
            (_labels_text(labels), updated, record.number),
        )

    @staticmethod
    def delete(database: sqlite3.Connection, record: Record) -> None:
        """Forget a snapshot; FailedPreconditionError when others stand on it."""
        child = database.execute("SELECT name FROM snapshot WHERE parent = ?", (record.number,)).fetchone()
        if child is not None:
            raise FailedPreconditionError(
                f"cannot remove the snapshot {record.info.name}: the snapshot {child[0]} stands on it"
            )
        database.execute("DELETE FROM snapshot WHERE number = ?", (record.number,))


_SELECT = (
    "SELECT snapshot.number, snapshot.name, below.name, snapshot.kind, snapshot.labels, snapshot.created,"
    " snapshot.updated, snapshot.parent, snapshot.folder, snapshot.extract, snapshot.size, snapshot.inodes"
    " FROM snapshot LEFT JOIN snapshot AS below ON below.number = snapshot.parent"
)


def _record(row: tuple[Any, ...]) -> Record:
    number, name, below, kind, labels, created, updated, parent, folder, extract, size, inodes = row
    try:
        info = SnapshotInfo(name, below or "", Kind(kind), json.loads(labels), created, updated)
    except (ValueError, TypeError) as error:
        raise FormatError(f"the record of snapshot {number} is damaged: {error}", kind="snapshots-db") from error
    return Record(number, info, parent, folder, bool(extract), Usage(size, inodes))


def _labels_text(labels: Mapping[str, str]) -> str:
    if "" in labels:
        raise InvalidArgumentError("a label has a name")
    return json.dumps(dict(sorted(labels.items())))
