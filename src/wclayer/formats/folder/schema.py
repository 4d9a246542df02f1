"""The form of ``layer.db``: what a POSIX file system cannot hold about a layer, in SQLite.

An entry is one row that names its folder by number, so a path costs nothing however deep it lies; entries and streams
draw their numbers from one counter, so the numbers are the order in which the layer was read. Columns have no declared
type on purpose: SQLite must not convert what is put in.

==================  ===================================================================================================
``name``            as the source spelt it; TEXT, or BLOB (WTF-8) when it holds a lone surrogate, which TEXT cannot
``key``             the name folded by the NTFS upper-case table, in the same two forms
``*_time``          FILETIME; INTEGER where it fits in 64 signed bits (negative: before 1601), else TEXT, decimal;
                    NULL when the source did not say
``ea``              FILE_FULL_EA_INFORMATION list, NULL when there is none
``ranges``          allocated ranges of a sparse stream as pairs of 64-bit little-endian offset and length; NULL: dense
``size``            logical size in bytes, NULL when there is no stream
``crc32``           of the stored bytes, holes left out; NULL when the data was not read
``target``          of a hard link, as given; ``target_entry`` the file in this layer, ``target_layer`` the parent, 0
                    being the nearest; a link whose target is unknown has neither
``host``            the name on this machine when it is not ``name``
==================  ===================================================================================================
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from struct import error as struct_error
from struct import pack, unpack
from typing import Any, TypeAlias

from wclayer.errors import FormatError, StoreError, WclayerError
from wclayer.ntfs.names import decode_wtf8, encode_wtf8

__all__ = [
    "APPLICATION_ID",
    "ENTRY_COLUMNS",
    "FILE",
    "FOLDER",
    "FORMAT_VERSION",
    "INDEXES",
    "LINK",
    "ROW_COLUMNS",
    "STREAM_COLUMNS",
    "SYNTHESISED",
    "TABLES",
    "TOMBSTONE",
    "Row",
    "database_error",
    "decode_name",
    "decode_ranges",
    "decode_time",
    "encodable_row",
    "encode_name",
    "encode_ranges",
]

Row: TypeAlias = tuple[Any, ...]
Ranges: TypeAlias = tuple[tuple[int, int], ...]

FORMAT_VERSION = 1
"""``PRAGMA user_version``: raised whenever an older reader would misread the database."""

APPLICATION_ID = 0x57434C59
"""``PRAGMA application_id``: "WCLY"."""

FOLDER, FILE, LINK, TOMBSTONE, SYNTHESISED = 1, 2, 3, 4, 5
"""The kinds of an entry. A synthesised folder is one that only the paths of other entries mention."""

ENTRY_COLUMNS = (
    "id, ordinal, parent, name, key, kind, attributes, creation_time, last_access_time, last_write_time, change_time,"
    " security, ea, reparse, size, ranges, crc32, target, target_entry, target_layer, host, file_id"
)
ROW_COLUMNS = (
    "id, ordinal, parent, name, key, kind, attributes, creation_time, last_access_time, last_write_time, change_time,"
    " security, size, crc32, ea, reparse, ranges, target, target_entry, target_layer, host, file_id"
)
"""All of them, in the order in which they are written: what most entries do not have comes last."""
STREAM_COLUMNS = "id, ordinal, entry, owner, name, key, size, ranges, crc32, content, host"

TABLES = f"""
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {FORMAT_VERSION};
CREATE TABLE layer(key PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE security(id INTEGER PRIMARY KEY, descriptor UNIQUE);
CREATE TABLE entry({ENTRY_COLUMNS.replace("id", "id INTEGER PRIMARY KEY", 1)});
CREATE TABLE stream({STREAM_COLUMNS.replace("id", "id INTEGER PRIMARY KEY", 1)});
CREATE TABLE notice(id INTEGER PRIMARY KEY, code, path, detail);
CREATE TABLE notice_count(code PRIMARY KEY, count) WITHOUT ROWID;
"""

INDEXES = """
CREATE INDEX entry_by_key ON entry(parent, key);
CREATE INDEX stream_by_entry ON stream(entry, key);
"""
"""Built when all rows are in, which is several times cheaper than keeping them while rows arrive."""

_I64 = range(-(1 << 63), 1 << 63)


def encode_name(text: str) -> str | bytes:
    """``text`` as SQLite can hold it: itself, or WTF-8 when it holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return encode_wtf8(text)
    return text


def decode_name(value: object) -> str:
    """The reverse of :func:`encode_name`. Raises FormatError for a value of another type."""
    if isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return decode_wtf8(value)
    raise FormatError(f"a name of type {type(value).__name__} in the database", kind="layer-db")


def encodable_row(row: Sequence[Any]) -> Row:
    """``row`` with every value that SQLite refuses in the form it accepts."""
    return tuple(_encodable(value) for value in row)


def _encodable(value: object) -> object:
    if isinstance(value, int) and value not in _I64:
        return str(value)
    if isinstance(value, str):
        return encode_name(value)
    return value


def decode_time(value: object) -> int | None:
    """A FILETIME, or None. Raises FormatError for anything that is not one."""
    if value is None or type(value) is int:
        return value
    if isinstance(value, str) and len(value) <= 40:
        try:
            return int(value)
        except ValueError:
            pass
    raise FormatError("a time in the database is not a number", kind="layer-db")


def encode_ranges(ranges: Ranges | None, size: int) -> bytes | None:
    """The column for ``ranges``. Raises FormatError unless they are ordered, disjoint, and within ``size`` bytes."""
    if ranges is None:
        return None
    _check_ranges(ranges, size)
    return pack(f"<{2 * len(ranges)}Q", *(number for pair in ranges for number in pair))


def decode_ranges(value: object, size: int | None) -> Ranges | None:
    """The reverse of :func:`encode_ranges`, with the same checks."""
    if value is None:
        return None
    try:
        numbers = unpack(f"<{len(value) // 8}Q", value)  # type: ignore[arg-type]
    except (TypeError, struct_error):
        numbers = (0,)
    if len(numbers) % 2 or size is None:
        raise FormatError("the ranges of a sparse stream in the database are damaged", kind="layer-db")
    ranges = tuple(zip(numbers[::2], numbers[1::2], strict=True))
    _check_ranges(ranges, size)
    return ranges


def _check_ranges(ranges: Ranges, size: int) -> None:
    position = 0
    for offset, length in ranges:
        if offset < position or length < 0 or offset + length > size:
            raise FormatError(
                f"the range of {length} bytes at {offset} of a sparse stream of {size} bytes overlaps another one"
                " or lies outside",
                kind="sparse-ranges",
            )
        position = offset + length


def database_error(error: sqlite3.Error, where: str) -> WclayerError:
    """``error`` of the database ``where`` as an error of this package: disk full, damaged, or refused."""
    name = getattr(error, "sqlite_errorname", None) or ""
    if name == "SQLITE_FULL":
        return StoreError(
            f"no space left on the device that holds {where}", hint="free some space or use another store"
        )
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_PERM", "SQLITE_READONLY", "SQLITE_BUSY")):
        return StoreError(f"cannot use {where}: {error}")
    return FormatError(f"{where} is damaged: {error}", kind="layer-db")
