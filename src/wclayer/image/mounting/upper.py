"""The upper folder: what a mount changes, on disk, at every moment whole.

::

    UPPER/upper.db      names, metadata, deletions, small streams: SQLite with a write-ahead log
    UPPER/data/NUMBER   the content of a file that was written to, a plain file named by its number
    UPPER/parents/      the image, unpacked, where it was not unpacked before
    UPPER/upper.lock    locked by the process that serves the mount

Every change is one transaction, so a process that is killed leaves what its last complete change made. Content is
written to its file at once; before a file counts as having content of its own that is there completely.

==============  =======================================================================================================
``node``        a file or folder that was changed or made. ``kind`` is 1 for folders, 2 for files. ``lower`` is the
                path in the layers below of what it shows beside its own: of a folder the names, of a file the content
                and the streams; NULL for none. ``data`` tells whether ``data/NUMBER`` is its content. Metadata is as
                in ``layer.db``. Node 1 is the top.
``name``        a name in the folder ``parent``; ``key`` is the folded name. All names below with that key are
                replaced; a row without a node is a deletion.
``stream``      an alternate stream that was set, or removed: ``data`` is NULL then
``upper``       format, and the layers below
==============  =======================================================================================================
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsafeEntryError, UnsupportedError
from wclayer.formats.folder.schema import database_error, decode_name, decode_time, encodable_row, encode_name
from wclayer.model import Metadata
from wclayer.ntfs.ea import decode_eas, encode_eas
from wclayer.ntfs.names import checked_path, fold

if sys.platform != "win32":
    import fcntl

__all__ = ["DATABASE", "PARENTS", "TOP", "Upper", "UpperNode"]

DATABASE, PARENTS = "upper.db", "parents"
TOP = 1
"""The number of the node that is the top of the mount."""

_DATA, _LOCK = "data", "upper.lock"
_FOLDER, _FILE = 1, 2
_APPLICATION, _VERSION = 0x57434C55, 1  # "WCLU"
_MAKE_TOP = "INSERT INTO node(id, kind) VALUES (1, 1)"
_MAKE = f"""
PRAGMA application_id = {_APPLICATION};
PRAGMA user_version = {_VERSION};
CREATE TABLE upper(key PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE node(id INTEGER PRIMARY KEY AUTOINCREMENT, kind, lower, inode, attributes, creation_time, last_access_time,
    last_write_time, change_time, security, ea, reparse, data);
CREATE TABLE name(parent, key, name, node, PRIMARY KEY(parent, key, name)) WITHOUT ROWID;
CREATE TABLE stream(node, name, data, PRIMARY KEY(node, name)) WITHOUT ROWID;
"""


@dataclass(slots=True)
class UpperNode:
    """A file or folder of the upper folder; see the table ``node``. ``dirty`` tells that the database is behind."""

    id: int
    is_folder: bool
    lower: str | None
    inode: int
    metadata: Metadata
    data: bool = False
    links: int = 0
    dirty: bool = False
    names: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of a folder: by folded name, the spellings with their nodes; without any it is a deletion."""
    streams: dict[str, bytes | None] = field(default_factory=dict)


class Upper:
    """The upper folder ``path``, in memory as a whole; what changes is written through. Close it after use.

    With ``writable`` it is locked, and made when it is not there. Raises StoreError when another mount has it,
    NotFoundError when there is none, FormatError when it is damaged.
    """

    def __init__(self, path: Path, *, writable: bool) -> None:
        self.path = path.absolute()
        self._lock = -1
        self._writable = writable
        database = self.path / DATABASE
        if not writable and not database.is_file():
            raise NotFoundError(f"{path} is no upper folder: it has no {DATABASE}")
        try:
            if writable:
                (self.path / _DATA).mkdir(parents=True, exist_ok=True)
                self._take_lock()
            self._database = sqlite3.connect(database, isolation_level=None, check_same_thread=False, timeout=10)
        except OSError as error:
            self.close()
            raise StoreError(f"cannot use the upper folder {path}: {error.strerror}") from error
        except sqlite3.Error as error:
            self.close()
            raise database_error(error, str(database)) from error
        self.nodes: dict[int, UpperNode] = {}
        self._dropped: list[Path] = []
        try:
            self._open()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Write what is still to be written, and let go. Harmless when called twice."""
        database = getattr(self, "_database", None)
        if database is not None:
            database.close()
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    @property
    def facts(self) -> dict[str, Any]:
        """What is recorded of the layers below, by name."""
        return {decode_name(key): json.loads(value) for key, value in self._rows("SELECT key, value FROM upper")}

    def set_facts(self, **facts: object) -> None:
        """Record what lies below."""
        with self.change():
            for key, value in facts.items():
                self._execute("INSERT OR REPLACE INTO upper VALUES (?, ?)", (key, json.dumps(value)))

    # ------------------------------------------------------------------ changes

    @contextmanager
    def change(self) -> Iterator[None]:
        """One change of what is in memory and on disk: all of it, or nothing."""
        self._execute("BEGIN IMMEDIATE")
        try:
            yield
            self._execute("COMMIT")
        except BaseException:
            self._dropped.clear()
            self._database.rollback()
            self._load()
            raise
        while self._dropped:
            self._dropped.pop().unlink(missing_ok=True)

    def add(self, *, is_folder: bool, lower: str | None, inode: int | None, metadata: Metadata) -> UpperNode:
        """A new node, without a name yet."""
        cursor = self._execute("INSERT INTO node(kind) VALUES (?)", (_FOLDER if is_folder else _FILE,))
        number = int(cursor.lastrowid or 0)
        node = UpperNode(number, is_folder, lower, inode or 1 << 62 | number, metadata)
        self.nodes[number] = node
        self.save(node)
        return node

    def save(self, node: UpperNode) -> None:
        """Write everything about ``node`` but its names and streams."""
        metadata = node.metadata
        row = (
            node.lower,
            node.inode,
            metadata.attributes,
            metadata.creation_time,
            metadata.last_access_time,
            metadata.last_write_time,
            metadata.change_time,
            metadata.security_descriptor,
            encode_eas(metadata.extended_attributes) or None,
            metadata.reparse,
            int(node.data),
            node.id,
        )
        self._execute(
            "UPDATE node SET lower = ?, inode = ?, attributes = ?, creation_time = ?, last_access_time = ?,"
            " last_write_time = ?, change_time = ?, security = ?, ea = ?, reparse = ?, data = ? WHERE id = ?",
            encodable_row(row),
        )
        node.dirty = False

    def name(self, folder: UpperNode, name: str, node: UpperNode) -> None:
        """Give ``node`` a name in ``folder``, in place of all names below that are the same to Windows."""
        key = fold(name)
        folder.names.setdefault(key, {})[name] = node.id
        node.links += 1
        self._execute("DELETE FROM name WHERE parent = ? AND key = ? AND node IS NULL", (folder.id, encode_name(key)))
        self._execute("INSERT INTO name VALUES (?, ?, ?, ?)", (folder.id, encode_name(key), encode_name(name), node.id))

    def unname(self, folder: UpperNode, name: str, *, deletion: bool) -> None:
        """Take a name away. With ``deletion`` that is recorded, for something below has it, too."""
        key = fold(name)
        spellings = folder.names.setdefault(key, {})
        number = spellings.pop(name, None)
        values = (folder.id, encode_name(key))
        if number is not None:
            self._execute("DELETE FROM name WHERE parent = ? AND key = ? AND name = ?", (*values, encode_name(name)))
            node = self.nodes[number]
            node.links -= 1
            if not node.links:
                self._drop(node)
        if not spellings:
            if deletion:
                self._execute("INSERT OR REPLACE INTO name VALUES (?, ?, '', NULL)", values)
            else:
                del folder.names[key]

    def set_stream(self, node: UpperNode, name: str, data: bytes | None) -> None:
        """Set an alternate stream, or with None say that it is removed."""
        node.streams[name] = data
        self._execute("INSERT OR REPLACE INTO stream VALUES (?, ?, ?)", (node.id, encode_name(name), data))

    def data_path(self, node: UpperNode) -> Path:
        """The file for the content of ``node``."""
        return self.path / _DATA / str(node.id)

    def open_data(self, node: UpperNode, flags: int) -> int:
        """A descriptor of that file, which must be an ordinary one, and none elsewhere. Raises OSError."""
        descriptor = os.open(self.data_path(node), flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise OSError(errno.EIO, "the content of a file is no file")

    def data_size(self, node: UpperNode) -> int:
        """The size of that file in bytes. Raises OSError."""
        return self.data_path(node).lstat().st_size

    def sync(self) -> None:
        """Make all changes survive a loss of power."""
        self._execute("PRAGMA wal_checkpoint(FULL)")
        folder = os.open(self.path / _DATA, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _drop(self, node: UpperNode) -> None:
        del self.nodes[node.id]
        if node.data:
            self._dropped.append(self.data_path(node))
        self._execute("DELETE FROM name WHERE parent = ?", (node.id,))
        self._execute("DELETE FROM stream WHERE node = ?", (node.id,))
        self._execute("DELETE FROM node WHERE id = ?", (node.id,))

    def remove_unused(self) -> None:
        """Remove the content of files that are no more."""
        for entry in os.scandir(self.path / _DATA):
            node = self.nodes.get(int(entry.name)) if entry.name.isdigit() else None
            if node is None or not node.data:
                Path(entry.path).unlink()

    # ------------------------------------------------------------------ on disk

    def _take_lock(self) -> None:
        self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreError(
                f"the upper folder {self.path} is in use by a mount", hint="unmount that one, or name another folder"
            ) from None

    def _open(self) -> None:
        ((application,),) = self._rows("PRAGMA application_id")
        ((version,),) = self._rows("PRAGMA user_version")
        if self._writable and not application and not list(self._rows("SELECT 1 FROM sqlite_master")):
            self._execute("PRAGMA journal_mode = WAL")
            try:
                self._database.executescript("; ".join(("BEGIN IMMEDIATE", _MAKE, _MAKE_TOP, "COMMIT")))
            except sqlite3.Error as error:
                raise database_error(error, str(self.path)) from error
        elif application != _APPLICATION:
            raise FormatError(f"{self.path / DATABASE} is no database of an upper folder", kind="upper-db")
        elif version != _VERSION:
            raise UnsupportedError(f"the upper folder {self.path} has format version {version}, known is {_VERSION}")
        self._execute("PRAGMA synchronous = NORMAL")
        self._load()
        if self._writable:
            self.remove_unused()

    def _load(self) -> None:
        """Read everything."""
        nodes: dict[int, UpperNode] = {}
        self._execute("BEGIN")
        try:
            for row in self._rows("SELECT * FROM node"):
                number, kind, lower, inode, attributes, made, accessed, written, changed, *rest = row
                security, ea, reparse, data = rest
                if not (
                    isinstance(attributes, int | None)
                    and isinstance(inode, int | None)
                    and all(isinstance(value, bytes | None) for value in (security, ea, reparse))
                ):
                    raise TypeError(f"node {number}")  # noqa: TRY301 - told below
                metadata = Metadata(
                    attributes or 0,
                    decode_time(made),
                    decode_time(accessed),
                    decode_time(written),
                    decode_time(changed),
                    security,
                    decode_eas(ea) if ea else (),
                    reparse,
                )
                # After a change that failed those who hold a node go on with it.
                node = self.nodes.get(number) or UpperNode(number, kind == _FOLDER, None, 0, metadata)
                node.lower = None if lower is None else decode_name(lower)
                node.inode, node.data, node.links = inode or number, bool(data), 0
                node.names, node.streams = {}, {}
                if not node.dirty:
                    node.metadata = metadata
                nodes[number] = node
            nodes[TOP].lower = ""
            for parent, key, name, number in self._rows("SELECT parent, key, name, node FROM name"):
                spellings = nodes[parent].names.setdefault(decode_name(key), {})
                if number is not None:
                    spellings[_checked(decode_name(name))] = number
                    nodes[number].links += 1
            for number, name, content in self._rows("SELECT node, name, data FROM stream"):
                nodes[number].streams[decode_name(name)] = content
        except (KeyError, TypeError, ValueError, UnsafeEntryError) as error:
            raise FormatError(f"{self.path / DATABASE} is damaged: {error!r}", kind="upper-db") from error
        finally:
            self._database.rollback()
        self.nodes = nodes

    def _rows(self, statement: str) -> Iterator[tuple[Any, ...]]:
        return iter(self._execute(statement).fetchall())

    def _execute(self, statement: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            raise database_error(error, str(self.path / DATABASE)) from error


def _checked(name: str) -> str:
    """``name`` if a file can have it: the folder may come from anywhere."""
    if "/" in name or checked_path(name) != name:
        raise ValueError(f"a file called {name!a}")
    return name
