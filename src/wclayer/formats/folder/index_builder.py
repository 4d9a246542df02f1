"""Layer items become rows: the half of every writer that fills ``layer.db``.

An entry may come before its folder: the folder is then synthesised, and its own entry, when it comes, takes the place.
Of folders and files the numbers are known, under the number of their folder and the exact name. So what a path passes
through is checked as it is walked, and a hard link to a file that came before is made at once. What only a look at all
names can show is left to :mod:`~wclayer.formats.folder.checks`, when the rows are in and indexed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from wclayer.errors import LimitError, UnsafeEntryError
from wclayer.formats.folder.door import NameTakenError, joined
from wclayer.formats.folder.index_rows import IndexRows
from wclayer.formats.folder.schema import (
    FILE,
    FOLDER,
    LINK,
    ROW_COLUMNS,
    STREAM_COLUMNS,
    SYNTHESISED,
    TOMBSTONE,
    encode_ranges,
)
from wclayer.model import AlternateStream, Entry, HardLink, Metadata, Notices, Stream, Tombstone
from wclayer.ntfs.ea import encode_eas
from wclayer.ntfs.names import checked_path, checked_stream_name, encode_wtf8, fold, has_passed

__all__ = ["MAX_DEPTH", "FolderMaker", "IndexBuilder"]


class FolderMaker(Protocol):
    """What the builder asks of a :class:`~wclayer.formats.folder.tree.HostTree`."""

    def make_folder(self, parent: bytes, name: str, last_write_time: int | None) -> bytes | None:
        """Make the folder ``name`` in ``parent``; returns its name on this machine when it is another one."""

    def date_folder(self, path: bytes, last_write_time: int | None) -> None:
        """The time of the folder ``path``, if it was not known when it was made."""

    def link_file(self, parent: bytes, name: str, folder: bytes, leaf: bytes, path: str) -> bytes | None:
        """Make ``name`` in ``parent`` another name of the file ``leaf`` in ``folder``; returns as ``make_folder``."""

    def expect(self, row: list[Any], places: tuple[int, int], path: str, taken: str) -> None:
        """Complete the row of what was asked for last."""

    def unsettled(self) -> int | None:
        """The number of the first row that is not complete yet."""


MAX_DEPTH = 1024
"""The most components of a path: deep enough for any system, so shallow that one entry cannot make a disk full."""

_LONG = 16000  # characters
_RECENT = 4096
_RECENT_CHARACTERS = 1 << 20

_ENTRY_PLACES = ROW_COLUMNS.split(", ").index("crc32"), ROW_COLUMNS.split(", ").index("host")
_STREAM_PLACES = STREAM_COLUMNS.split(", ").index("crc32"), STREAM_COLUMNS.split(", ").index("host")


class IndexBuilder(IndexRows):
    """Fills the database at ``path`` (``""``: a private one that vanishes when closed).

    ``tree`` makes folders on this machine; None when only the index is wanted. ``where`` names the layer in
    errors. Every method raises UnsafeEntryError for a path that is not in normal form, that passes through something
    other than a folder, or that is there already, as far as this can be told at once.
    """

    def __init__(self, path: str, notices: Notices, *, where: str, tree: FolderMaker | None = None) -> None:
        super().__init__(path, notices, where=where)
        self._tree = tree
        self._next = 1
        self._folders: dict[tuple[int, str], int] = {}  # the number that a folder had first
        self._synthesised: set[int] = set()
        self._filled: list[tuple[int, int]] = []  # synthesised folders and the entries that took their places
        self._reparse: set[int] = set()
        self._files: dict[int, dict[str, int]] = {}  # by folder: those that a link may lead to at once
        self.awaits_links = False  # links that lead to no file before them, and are not made yet
        self._escaped: dict[int, bytes] = {}
        self._recent: dict[str, tuple[int, bytes]] = {"": (0, b"")}
        self._recent_characters = 0
        self._last_path: str | None = None
        self._last_id = 0

    def locate(self, path: str) -> tuple[int, bytes, str]:
        """The number and the host path of the folder of ``path``, synthesised where need be, and the last name."""
        parent, separator, name = path.rpartition("/")
        folder = self._recent.get(parent)
        if folder is None:
            folder = self._walk(parent, path)
        if has_passed(path):
            return folder[0], folder[1], name
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
        if host is None and entry.metadata.reparse is None and (entry.data is None or entry.data.ranges is None):
            files = self._files.get(parent)
            if files is None:
                self._files[parent] = {name: self._last_id}
            else:
                files[name] = self._last_id
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
            host = self._made(host_path, name, path, _FOLDER_TAKEN, entry.metadata.last_write_time)
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
            if self._tree is not None:
                self._tree.date_folder(joined(host_path, host or encode_wtf8(name)), entry.metadata.last_write_time)
        if is_reparse:
            self._reparse.add(first)
        row = self._add(path, parent, name, FOLDER, entry.ordinal, entry.metadata, host=host, file_id=entry.file_id)
        if made and self._tree is not None:
            self._tree.expect(row, _ENTRY_PLACES, path, _FOLDER_TAKEN)

    def add_link(self, link: HardLink) -> None:
        """A hard link; if it leads to no file that came before, :mod:`~wclayer.formats.folder.links` resolves it."""
        path, tree = link.path, self._tree
        if link.metadata.reparse is not None:
            raise UnsafeEntryError("a hard link with a reparse buffer", path=path)
        parent, host_parent, name = self.locate(path)
        number, folder, leaf = self._file_at(link.target)
        host = None
        if number and tree is not None:
            try:
                host = tree.link_file(host_parent, name, folder, encode_wtf8(leaf), path)
            except NameTakenError as error:
                raise UnsafeEntryError(self.taken(parent, name), path=path) from error
        row = self._add(
            path,
            parent,
            name,
            LINK,
            link.ordinal,
            link.metadata,
            target=link.target,
            target_entry=number or None,
            host=host,
        )
        if number:
            if tree is not None:
                tree.expect(row, _ENTRY_PLACES, path, self.taken(parent, name))
        else:
            self.awaits_links = True

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
        self._collect_stream(row, len(content or b""))
        if host is not None and self._tree is not None:
            self._tree.expect(row, _STREAM_PLACES, stream.path, "")
        self.flush_if_full()

    def first_incomplete(self) -> int | None:
        """The number of the first row of whose file nothing is known yet."""
        return self._tree.unsettled() if self._tree is not None else None

    def settle_folders(self) -> None:
        """No more items come: put all rows into the database, and settle which entry each folder is."""
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

    def record(self, facts: Mapping[str, str | int | None]) -> None:
        """Put down what is known of the layer as a whole, the counts, and the notices since this builder began."""
        self._record(facts, len(self._synthesised))

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
        target_entry: int | None = None,
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
        extended = reparse = ranges = None
        if metadata.extended_attributes or metadata.reparse is not None:
            extended = encode_eas(metadata.extended_attributes) or None
            reparse = metadata.reparse
            self._pending_bytes += len(extended or b"") + len(reparse or b"")
        row: list[Any] = [
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
        ]
        if data is not None:
            row += (data.size, crc)
            if data.ranges is not None:
                ranges = encode_ranges(data.ranges, data.size)
        is_other = target is not None or host is not None or file_id is not None
        is_special = is_other or reparse is not None or ranges is not None
        if is_special or extended is not None:
            if data is None:
                row += (None, None)
            row.append(extended)
        if is_special:
            row += (reparse, ranges)
        if is_other:
            row += (target, target_entry, None, None if host is None else host.decode(), file_id)
        self._collect(row)
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
                host = self._made(host_path, name, path, taken, None)
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
        return self._remembered(parent, number, host_path)

    def _remembered(self, parent: str, number: int, host_path: bytes) -> tuple[int, bytes]:
        self._recent_characters += len(parent)
        if len(self._recent) >= _RECENT or self._recent_characters >= _RECENT_CHARACTERS:
            self._recent = {"": (0, b"")}
            self._recent_characters = len(parent)
        found = self._recent[parent] = (number, host_path)
        return found

    def _file_at(self, path: str) -> tuple[int, bytes, str]:
        """The number of the file ``path`` that came before, 0 if none did; the host path of its folder, and its name.

        Only the exact spelling counts: it is the one that a link means, whatever else there is.
        """
        parent, separator, name = path.rpartition("/")
        if separator and not parent:
            return _NO_FILE
        folder = self._recent.get(parent)
        if folder is None:
            number, host_path = 0, b""
            for step in parent.split("/"):
                number = self._folders.get((number, step), 0)
                if not number or number in self._reparse:
                    return _NO_FILE
                leaf = self._escaped.get(number) or encode_wtf8(step)
                host_path = host_path + b"/" + leaf if host_path else leaf
            folder = self._remembered(parent, number, host_path)
        files = self._files.get(folder[0])
        return _NO_FILE if files is None else (files.get(name, 0), folder[1], name)

    def _made(self, host_path: bytes, name: str, path: str, taken: str, last_write_time: int | None) -> bytes | None:
        """Make a folder on this machine; ``taken`` says what is wrong with the entry ``path`` when it cannot be."""
        if self._tree is None:
            return None
        try:
            return self._tree.make_folder(host_path, name, last_write_time)
        except NameTakenError as error:
            raise UnsafeEntryError(taken, path=path) from error


_NOTHING = Metadata()
_NO_FILE = 0, b"", ""
_FOLDER_TAKEN = "a folder where a file was, or a duplicate entry"


def _not_normal(path: str) -> UnsafeEntryError:
    return UnsafeEntryError("the path is not in normal form", path=path)
