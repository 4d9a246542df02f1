"""A tree of plain files to work in: what layers show, written out, and whatever programs made of it since.

::

    FOLDER/root/       the files
    FOLDER/tree.db     what each was when it was written: number of the file, size, times

A file whose number, size and times of this machine are what they were was not touched: nothing sets its time of change
back, and the clock has moved on since the tree was written. All others are compared byte by byte. A file or folder that
moved is known again by its number and keeps what NTFS knows about it. Reparse points are empty files and folders here.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.folder.content import write_stream
from wclayer.formats.folder.door import DIRECTORY_FLAGS, Door, store_error
from wclayer.formats.folder.host_times import host_times
from wclayer.formats.folder.schema import database_error, decode_name, encodable_row, encode_name
from wclayer.formats.folder.tree import host_name
from wclayer.model import LayerItem, Metadata
from wclayer.ntfs.ea import decode_eas, encode_eas
from wclayer.ntfs.names import encode_wtf8
from wclayer.store.chain_view import ChainView, Seen
from wclayer.store.comparing import differences
from wclayer.store.readwrite.walking import OfTree, Written

__all__ = ["DATABASE", "ROOT", "WorkTree"]

ROOT, DATABASE = "root", "tree.db"

_TABLES = """
CREATE TABLE written(host PRIMARY KEY, path, kind, inode, size, mtime, ctime) WITHOUT ROWID;
CREATE TABLE override(host PRIMARY KEY, attributes, creation, access, write, change, security, ea, reparse)
WITHOUT ROWID;
"""
_LONGEST_TICK = 2.5  # seconds; the coarsest clock of a file system in use has two
_BATCH = 1 << 12


class _Place(NamedTuple):
    parent: bytes
    leaf: bytes

    @property
    def host(self) -> bytes:
        return self.parent + b"/" + self.leaf if self.parent else self.leaf


class WorkTree:
    """The tree in ``folder``, which :meth:`write` made. Raises StoreError, NotFoundError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / ROOT
        if not (folder / DATABASE).is_file():
            raise NotFoundError(f"there is no tree in {folder}")

    @classmethod
    def write(cls, folder: Path, view: ChainView, *, writable: bool = True) -> WorkTree:
        """Write out what ``view`` shows to ``folder``, which must be empty."""
        try:
            (folder / ROOT).mkdir()
            root = os.open(folder / ROOT, DIRECTORY_FLAGS)
        except OSError as error:
            raise store_error(error, "cannot make the tree", os.fsencode(folder), "") from error
        try:
            with closing(_connect(folder / DATABASE)) as database:
                database.executescript(_TABLES)
                latest = _Writing(view, Door(root, where=str(folder)), database, writable=writable).run()
        except OSError as error:
            raise store_error(error, "cannot write the tree", os.fsencode(folder), "") from error
        except sqlite3.Error as error:
            raise database_error(error, str(folder / DATABASE)) from error
        finally:
            os.close(root)
        _wait_for_tick(folder, latest)
        return cls(folder)

    def differences(self, view: ChainView) -> Iterator[LayerItem]:
        """The layer that turns ``view``, which the tree was written from, into what the tree is now.

        Raises UnsafeEntryError for names and kinds of files that Windows does not have.
        """
        try:
            root = os.open(self.root, DIRECTORY_FLAGS)
        except OSError as error:
            raise store_error(error, "cannot open the tree", os.fsencode(self.root), "") from error
        door = Door(root, where=str(self.folder))
        try:
            with closing(_connect(self.folder / DATABASE)) as database:
                written, overrides = _read_written(database), _read_overrides(database)
            top = OfTree.top(door, view, written, overrides)
            yield from differences(view, top.children())
        except sqlite3.Error as error:
            raise database_error(error, str(self.folder / DATABASE)) from error
        finally:
            door.close()
            os.close(root)

    def set_metadata(self, path: bytes, metadata: Metadata) -> None:
        """Say what NTFS shall keep about the file or folder ``path`` of the tree, which is a path on this machine."""
        row = (
            path,
            metadata.attributes,
            metadata.creation_time,
            metadata.last_access_time,
            metadata.last_write_time,
            metadata.change_time,
            metadata.security_descriptor,
            encode_eas(metadata.extended_attributes) if metadata.extended_attributes else None,
            metadata.reparse,
        )
        if not (self.root / os.fsdecode(path)).exists():
            raise NotFoundError(f"there is no {os.fsdecode(path)} in the tree {self.root}")
        try:
            with closing(_connect(self.folder / DATABASE)) as database:
                database.execute("INSERT OR REPLACE INTO override VALUES (?,?,?,?,?,?,?,?,?)", encodable_row(row))
        except sqlite3.Error as error:
            raise database_error(error, str(self.folder / DATABASE)) from error


class _Writing:
    def __init__(self, view: ChainView, door: Door, database: sqlite3.Connection, *, writable: bool) -> None:
        self._view = view
        self._door = door
        self._database = database
        self._modes = (0o644, 0o755) if writable else (0o444, 0o555)
        self._hosts: dict[str, bytes] = {"": b""}
        self._names: dict[tuple[int, int], _Place] = {}

    def run(self) -> int:
        """Write everything; returns the latest time of change, in ns."""
        self._database.execute("BEGIN")
        for seen in self._view.walk():
            above = seen.path.rpartition("/")[0]
            parent = self._hosts[above]
            leaf = host_name(parent, seen.name) or encode_wtf8(seen.name)
            place = _Place(parent, leaf)
            if seen.is_folder:
                self._hosts[seen.path] = place.host
                self._door.make_directory(parent, leaf)
            else:
                self._file(seen, place)
        latest = self._record()
        self._database.execute("COMMIT")
        self._door.close()
        return latest

    def _file(self, seen: Seen, place: _Place) -> None:
        view, door = self._view, self._door
        layer, node = view.file(seen)
        if node.is_folder:
            door.make_directory(*place)
            return
        first = self._names.setdefault((layer, node.id), place)
        if first is not place:
            os.link(
                first.leaf,
                place.leaf,
                src_dir_fd=door.directory(first.parent),
                dst_dir_fd=door.directory(place.parent),
                follow_symlinks=False,
            )
            return
        descriptor = door.create(*place)
        try:
            data = view.layers[layer].open_data(node)
            if data is not None:
                write_stream(descriptor, data, seen.path)
            os.fchmod(descriptor, self._modes[0])
            os.utime(descriptor, ns=host_times(node.last_write_time))
        finally:
            os.close(descriptor)

    def _record(self) -> int:
        """Note what every file is, now that nothing changes any more; folders get their modes, the deepest first."""
        latest = 0
        rows: list[tuple[object, ...]] = []
        for seen in self._view.walk():
            parent = self._hosts[seen.path.rpartition("/")[0]]
            leaf = host_name(parent, seen.name) or encode_wtf8(seen.name)
            status = os.stat(leaf, dir_fd=self._door.directory(parent), follow_symlinks=False)
            kind = "folder" if seen.is_folder else "point" if stat.S_ISDIR(status.st_mode) else "file"
            latest = max(latest, status.st_ctime_ns)
            path = encode_name(seen.path)
            rows.append(
                (
                    _Place(parent, leaf).host,
                    path,
                    kind,
                    status.st_ino,
                    status.st_size,
                    status.st_mtime_ns,
                    status.st_ctime_ns,
                )
            )
            if len(rows) >= _BATCH:
                self._insert(rows)
        self._insert(rows)
        for host in sorted(self._hosts.values(), key=len, reverse=True):
            os.fchmod(self._door.directory(host), self._modes[1])
        return latest

    def _insert(self, rows: list[tuple[object, ...]]) -> None:
        self._database.executemany("INSERT INTO written VALUES (?,?,?,?,?,?,?)", rows)
        rows.clear()


def _read_written(database: sqlite3.Connection) -> dict[bytes, Written]:
    return {
        bytes(host): Written(bytes(host), decode_name(path), kind, inode, size, mtime, ctime)
        for host, path, kind, inode, size, mtime, ctime in database.execute("SELECT * FROM written")
    }


def _read_overrides(database: sqlite3.Connection) -> dict[bytes, Metadata]:
    found = {}
    for host, attributes, *times, security, ea, reparse in database.execute("SELECT * FROM override"):
        creation, access, write, change = (None if one is None else int(one) for one in times)
        eas = () if ea is None else decode_eas(ea)
        found[bytes(host)] = Metadata(int(attributes), creation, access, write, change, security, eas, reparse)
    return found


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(path, isolation_level=None, timeout=60)
    except sqlite3.Error as error:
        raise database_error(error, str(path)) from error


def _wait_for_tick(folder: Path, latest: int) -> None:
    """Wait until a change gets a later time than ``latest``, so that nothing can change and look as it was."""
    probe = folder / ".tick"
    deadline = time.monotonic() + _LONGEST_TICK
    try:
        while True:
            probe.touch()
            reached = probe.stat().st_ctime_ns
            probe.unlink()
            if reached > latest:
                return
            if time.monotonic() > deadline:
                raise StoreError(f"the clock of the file system that holds {folder} stands still")
            time.sleep(0.001)
    except OSError as error:
        raise store_error(error, "cannot write to", os.fsencode(folder), "") from error
