"""The rows of ``layer.db`` on their way into the database: collected, completed late, inserted in batches.

Which rows there are, and what they refer to, is for :mod:`~wclayer.formats.folder.index_builder` to say.
"""

from __future__ import annotations

import sqlite3
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, Final

from wclayer._version import __version__
from wclayer.formats.folder.schema import (
    INDEXES,
    ROW_COLUMNS,
    STREAM_COLUMNS,
    TABLES,
    Row,
    database_error,
    encodable_row,
)
from wclayer.model import Notices

__all__ = ["IndexRows"]

_BATCH_ROWS = 512
_BATCH_BYTES = 4 << 20
_KNOWN_BYTES = 8 << 20


def _insert(table: str, columns: Sequence[str]) -> str:
    """A statement that takes a value for each column."""
    return f"INSERT INTO {table}({', '.join(columns)}) VALUES({', '.join('?' * len(columns))})"


_COLUMNS = ROW_COLUMNS.split(", ")
_SIZE: Final = 12
_CRC32: Final = 13
_EA: Final = 14
_TARGET: Final = 17
_ALL = len(_COLUMNS)

# The module asks each None first whether it would rather be something else, and that takes longer than to put a number
# in its place. So a row ends where nothing follows, and there is a statement for each length that rows of many have: of
# folders, of dense files, of files with extended attributes, of other files, of what has everything.
_INSERT_FIRST = {count: _insert("entry", _COLUMNS[:count]) for count in (_SIZE, _CRC32 + 1, _EA + 1, _TARGET, _ALL)}
_INSERT_LINK = _insert("entry", [*_COLUMNS[:_EA], *_COLUMNS[_TARGET : _TARGET + 2]])
_INSERT_STREAM = _insert("stream", STREAM_COLUMNS.split(", "))
_DELETE_ENTRY = "DELETE FROM entry WHERE id = ?"
_DELETE_STREAM = "DELETE FROM stream WHERE id = ?"
_NONE = [None] * 3
_UNKNOWN: Final = -1
_MOST: Final = (1 << 63) - 1


class IndexRows:
    """The new database at ``path`` (``""``: a private one that vanishes when closed); ``where`` names it in errors.

    What ``notices`` are added from now on are recorded with it.
    """

    def __init__(self, path: str, notices: Notices, *, where: str) -> None:
        self.where = where
        self._notices = notices
        self._counted = dict(notices.counts)
        self._listed = len(notices.listed)
        self._rows: list[list[Any]] = []
        self._stream_rows: list[list[Any]] = []
        self._full = _BATCH_ROWS
        self._pending_bytes = 0
        # By number, 16 bytes for each: the database would have to be searched, and read again, for every link.
        self._sizes = array("q")
        self._checksums = array("q")
        self._odd_sizes: dict[int, int] = {}
        self._security: dict[bytes, int] = {}
        self._security_bytes = 0
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

    def first_incomplete(self) -> int | None:
        """The number of the first row that waits for something; it and those after it stay here."""
        return None

    def _collect(self, row: list[Any]) -> None:
        """Take the row of an entry, which may be completed until it is flushed."""
        # Before this row is added: what became of it is not asked for yet.
        if len(self._rows) >= self._full or self._pending_bytes >= _BATCH_BYTES:
            self.flush()
        self._rows.append(row)

    def _collect_stream(self, row: list[Any], size: int) -> None:
        """Take the row of an alternate stream, in which ``size`` bytes of its content are."""
        self._stream_rows.append(row)
        self._pending_bytes += size + 256

    def flush_if_full(self) -> None:
        """Keep no more in memory than what a batch may take."""
        if self._pending_bytes >= _BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Put the rows collected so far into the database, up to the first that is not complete."""
        first = self.first_incomplete()
        rows = _complete(self._rows, first)
        self._note_streams(rows)
        by_length: dict[int, list[list[Any]]] = {count: [] for count in _INSERT_FIRST}
        links: list[list[Any]] = []
        for row in rows:
            count = len(row)
            if count > _TARGET:
                if (number := row[_TARGET + 1]) is not None:
                    row[_SIZE], row[_CRC32] = self._stream_of(number)
                    if row[_EA:_TARGET] == _NONE and row[_TARGET + 2 :] == _NONE:
                        links.append([*row[:_EA], *row[_TARGET : _TARGET + 2]])
                        continue
                row += [None] * (_ALL - count)
            by_length[len(row)].append(row)
        for count, several in by_length.items():
            self._insert(several, _INSERT_FIRST[count], _DELETE_ENTRY)
        self._insert(links, _INSERT_LINK, _DELETE_ENTRY)
        self._insert(_complete(self._stream_rows, first), _INSERT_STREAM, _DELETE_STREAM)
        self._full = len(self._rows) + _BATCH_ROWS
        self._pending_bytes = 0

    def _note_streams(self, rows: list[list[Any]]) -> None:
        """Note size and checksum of the main streams, which links will ask for."""
        if not rows:
            return
        begin: int = rows[0][0]
        self._skip_to(begin)
        end: int = rows[-1][0] + 1
        if end - begin != len(rows):
            for row in rows:
                self._note_streams([row])
            return
        sizes = [row[_SIZE] if len(row) > _CRC32 and row[_SIZE] is not None else _UNKNOWN for row in rows]
        try:
            self._sizes.fromlist(sizes)
        except OverflowError:
            # Beyond 63 bits: only a source that lies has such a thing.
            odd = [abs(size) > _MOST for size in sizes]
            self._odd_sizes.update({row[0]: row[_SIZE] for row, is_odd in zip(rows, odd, strict=True) if is_odd})
            self._sizes.fromlist([_UNKNOWN if abs(size) > _MOST else size for size in sizes])
        self._checksums.fromlist(
            [row[_CRC32] if len(row) > _CRC32 and row[_CRC32] is not None else _UNKNOWN for row in rows]
        )

    def _skip_to(self, number: int) -> None:
        """What comes before the entry ``number`` are streams, which draw numbers, too."""
        nothing = [_UNKNOWN] * (number - len(self._sizes))
        self._sizes.fromlist(nothing)
        self._checksums.fromlist(nothing)

    def _stream_of(self, number: int) -> tuple[int | None, int | None]:
        """Size and checksum of the main stream of an entry that was flushed."""
        size, checksum = self._sizes[number], self._checksums[number]
        return self._odd_sizes.get(number) if size == _UNKNOWN else size, None if checksum == _UNKNOWN else checksum

    def _insert(self, rows: list[list[Any]], statement: str, delete: str) -> None:
        if not rows:
            return
        try:
            self.execute_many(statement, rows)
        except (OverflowError, UnicodeEncodeError):
            # A time beyond 63 bits or a lone surrogate: so rare that looking for one in each row would cost more.
            self.execute_many(delete, [(row[0],) for row in rows])
            self.execute_many(statement, [encodable_row(row) for row in rows])

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

    def build_indexes(self) -> None:
        """Build what rows are found by."""
        for statement in INDEXES.split(";"):
            self.execute(statement)

    def _record(self, facts: Mapping[str, str | int | None], synthesised: int) -> None:
        """Put down the facts, the counts, and the notices since this builder began."""
        ((entries,),) = self.execute("SELECT count(*) FROM entry")  # of the index: quick
        ((streams,),) = self.execute("SELECT count(*) FROM stream")
        facts = {"tool": f"wclayer {__version__}", **facts, "entries": entries - synthesised, "streams": streams}
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


_number = itemgetter(0)


def _complete(collected: list[list[Any]], first: int | None) -> list[list[Any]]:
    """The rows before number ``first``, taken out of the list."""
    end = len(collected) if first is None else bisect_left(collected, first, key=_number)
    rows = collected[:end]
    del collected[:end]
    return rows
