"""PAX records and the times in them: text on the wire, integers in the program.

A record is ``LEN SP KEY = VALUE LF``, LEN counting itself (POSIX.1-2017, pax, "pax Extended Header"). Which spellings
are accepted, and the one that is written, are those of Go's ``archive/tar``, because that wrote and reads every
Windows layer. A time is a count of nanoseconds since 1970, exact whatever its size.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from wclayer.errors import FormatError

__all__ = [
    "GO_ZERO_TIME",
    "MAX_RECORDS",
    "format_record",
    "format_time",
    "join_records",
    "parse_integer",
    "parse_records",
    "parse_time",
    "record_pairs",
]

MAX_RECORDS = 1 << 20
"""Most bytes of extended header that are read or written for one entry."""

GO_ZERO_TIME = -62135596800 * 1_000_000_000
"""What Go's ``time.Time`` holds when nobody set it: the first instant of the year 1."""

_INTEGER = re.compile(rb"[+-]?[0-9]+").fullmatch
_NO_NUL = (b"path", b"linkpath", b"uname", b"gname")


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """The records of one extended header, the last one of a key winning. Raises FormatError (``tar-header``)."""
    records: dict[bytes, bytes] = {}
    if data[-1:] != b"\n" and data:
        return _parse_slowly(data)
    for line in data[:-1].split(b"\n") if data else ():
        length, _, record = line.partition(b" ")
        key, equals, value = record.partition(b"=")
        if not equals or not key or not length.isdigit() or len(length) > 9 or int(length) != len(line) + 1:
            return _parse_slowly(data)
        records[key] = value
    if b"\0" in data:
        return _parse_slowly(data)
    return records


def _parse_slowly(data: bytes) -> dict[bytes, bytes]:
    """Records whose values hold line ends, or that are simply wrong."""
    records = dict(record_pairs(data))
    _check_texts(records)
    return records


def record_pairs(data: bytes) -> list[tuple[bytes, bytes]]:
    """The records in order, repeated keys included. Raises FormatError (``tar-header``)."""
    pairs = []
    position, size = 0, len(data)
    while position < size:
        space = data.find(b" ", position, position + 4096)
        digits = data[position:space] if space >= 0 else b""
        if not _INTEGER(digits) or digits[:1] == b"-":
            raise FormatError("a PAX record does not start with its length", kind="tar-header")
        end = position + int(digits)
        if int(digits) < 5 or end > size or end <= space + 1 or data[end - 1] != 0x0A:
            raise FormatError("the length of a PAX record is wrong", kind="tar-header")
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if not equals or not key or b"\0" in key:
            raise FormatError("a PAX record has no key", kind="tar-header")
        pairs.append((key, value))
        position = end
    return pairs


def _check_texts(records: dict[bytes, bytes]) -> None:
    for key in _NO_NUL:
        if b"\0" in records.get(key, b""):
            raise FormatError(f"the PAX record {key.decode()} holds a NUL", kind="tar-header")


def format_record(key: bytes, value: bytes) -> bytes:
    """One record. Raises FormatError (``pax-record``) for a key or value that no reader would take."""
    if not key or b"=" in key or b"\0" in key or (key in _NO_NUL and b"\0" in value):
        raise FormatError(f"{key!r} cannot be the key of a PAX record", kind="pax-record")
    size = len(key) + len(value) + 3
    length = size + len(str(size))
    if len(str(length)) + size != length:
        length += 1
    return b"%d %b=%b\n" % (length, key, value)


def join_records(records: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The records, which the caller has sorted by key, as one block. Raises FormatError when it is too large."""
    data = b"".join([format_record(key, value) for key, value in records])
    if len(data) > MAX_RECORDS:
        raise FormatError(f"{len(data)} bytes of PAX records, {MAX_RECORDS} at most", kind="header-too-long")
    return data


def parse_integer(text: bytes) -> int:
    """A signed 64-bit decimal as PAX records hold it. Raises FormatError (``tar-header``)."""
    if _INTEGER(text) and len(text) < 4000:
        value = int(text)
        if -(1 << 63) <= value < 1 << 63:
            return value
    raise FormatError(f"{text[:40]!r} is not a 64-bit number", kind="tar-header")


def parse_time(text: bytes) -> int:
    """``sec[.fraction]`` as nanoseconds since 1970; digits after the ninth are cut off."""
    seconds, dot, fraction = text.partition(b".")
    if seconds.isdigit() and len(seconds) < 19:
        nanoseconds = int(seconds) * 1_000_000_000
    else:
        nanoseconds = parse_integer(seconds) * 1_000_000_000
    if not fraction:
        return nanoseconds
    if not fraction.isdigit():
        raise FormatError(f"{text[:40]!r} is not a time", kind="tar-header")
    part = int(fraction[:9].ljust(9, b"0"))
    return nanoseconds - part if seconds[:1] == b"-" else nanoseconds + part


def format_time(nanoseconds: int) -> bytes:
    """The text of a time: no fraction when it is whole, no trailing zeros otherwise."""
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    sign = b"-" if nanoseconds < 0 else b""
    if not fraction:
        return b"%b%d" % (sign, seconds)
    return (b"%b%d.%09d" % (sign, seconds, fraction)).rstrip(b"0")
