"""Link tables: the names in a folder, each with a file id, and the names of alternate streams, each with its data.

A table is ``length, count``, then the values, then as many offsets of names, then the names, each behind its number of
UTF-16 units. An honest table has no two offsets to one name, so the names cannot take more bytes than the table has
left for them; a table in which they do is a bomb and is refused, as is one that is larger than any folder.

Source: hcsshim ``format.go`` (LinkTable).
"""

from __future__ import annotations

import re
import struct
from typing import Final

from wclayer.errors import FormatError, LimitError
from wclayer.formats.cim.structures import LINK_TABLE, STREAM, StreamRecord
from wclayer.ntfs.names import MAX_COMPONENT

__all__ = ["MAX_TABLE", "check_names", "file_links", "link_names", "name_defect", "stream_links"]

#: The most bytes of one table, 64 MiB: more than a million names.
MAX_TABLE: Final = 1 << 26

_ID: Final = 4
_NO_NAME: Final = re.compile(r"[/\\:\0]")


def link_names(table: bytes, value_size: int) -> list[str]:
    """The names in ``table``, whose values have ``value_size`` bytes; names that no file can have are let pass.

    Raises FormatError (``cim-link-table``, without a place), LimitError for a bomb.
    """
    available = len(table)
    if available < LINK_TABLE.size:
        raise _bad(f"{available} bytes are too few")
    length, count = LINK_TABLE.unpack_from(table)
    if not LINK_TABLE.size <= length <= available:
        raise _bad(f"it claims {length} bytes where there are {available}")
    room = length - LINK_TABLE.size - count * (value_size + 4)
    if room < 0:
        raise _bad(f"{count} links do not fit into {length} bytes")
    names: list[str] = []
    for offset in struct.unpack_from(f"<{count}I", table, LINK_TABLE.size + count * value_size):
        start = offset + 2
        if start > length:
            raise _bad(f"a name at byte {offset} of {length}")
        units = table[offset] | table[offset + 1] << 8
        end = start + units + units
        if end > length:
            raise _bad(f"a name of {units} units at byte {offset} of {length}")
        if units > MAX_COMPONENT:
            raise _bad(f"a name of {units} units, {MAX_COMPONENT} are the most")
        room -= end - offset
        if room < 0:
            raise LimitError("the names in a link table overlap: they hold more bytes than the table")
        names.append(table[start:end].decode("utf-16-le", "surrogatepass"))
    return names


def file_links(table: bytes) -> tuple[tuple[int, ...], list[str]]:
    """The file ids and the names in the table of a folder, in its order. Raises what :func:`link_names` raises."""
    names = link_names(table, _ID)
    return struct.unpack_from(f"<{len(names)}I", table, LINK_TABLE.size), names


def stream_links(table: bytes) -> tuple[list[StreamRecord], list[str]]:
    """The records and the names in a table of alternate streams. Raises what :func:`link_names` raises."""
    names = link_names(table, STREAM.size)
    values = STREAM.iter_unpack(table[LINK_TABLE.size : LINK_TABLE.size + len(names) * STREAM.size])
    return [StreamRecord._make(value) for value in values], names


def name_defect(name: str) -> str | None:
    """Why no file and no stream can have that name, or None."""
    if name in ("", ".", ".."):
        return f"the name {name!a} names no file"
    if _NO_NAME.search(name):
        return f"the name {name!a} holds a separator, a colon or a NUL"
    return None


def check_names(names: list[str]) -> None:
    """Raise FormatError (``cim-name``, without a place) when one of ``names`` is none that a file can have."""
    if "" in names or "." in names or ".." in names or _NO_NAME.search("*".join(names)):
        reason = next(reason for reason in map(name_defect, names) if reason)
        raise FormatError(reason, kind="cim-name")


def _bad(reason: str) -> FormatError:
    return FormatError(f"no link table: {reason}", kind="cim-link-table")
