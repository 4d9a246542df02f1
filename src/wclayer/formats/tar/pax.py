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

GO_ZERO_TIME = -62135596800 * 1_000_000_000
"""What Go's ``time.Time`` holds when nobody set it: the first instant of the year 1."""

MAX_RECORDS = 1 << 20
"""Most bytes of extended header that are read or written for one entry."""

_INTEGER = re.compile(rb"[+-]?[0-9]+").fullmatch
_MAX_DIGITS = 4000
_SCALES: tuple[int, ...] = tuple(10 ** (9 - places) for places in range(10))
_NO_NUL = (b"path", b"linkpath", b"uname", b"gname")

# ``LEN KEY`` of records met before, with the key and the length of the line: headers repeat a few dozen of them.
_known_prefixes: dict[bytes, tuple[bytes, int]] = {}
_MAX_PREFIXES = 4096
_MAX_PREFIX = 256


def parse_records(data: bytes) -> dict[bytes, bytes]:
    """The records of one extended header, the last one of a key winning. Raises FormatError (``tar-header``)."""
    if not data or data[-1] != 0x0A or 0 in data:
        return dict(record_pairs(data))
    records: dict[bytes, bytes] = {}
    known = _known_prefixes
    for line in data[:-1].split(b"\n"):
        prefix, _, value = line.partition(b"=")
        try:
            key, size = known[prefix]
        except KeyError:
            key, size = _learn(prefix, len(line))
        if size != len(line):
            # The value of some record holds a line end, or something is wrong.
            return dict(record_pairs(data))
        records[key] = value
    return records


def _learn(prefix: bytes, size: int) -> tuple[bytes, int]:
    """Key and line length that ``LEN KEY`` stands for; a length of -1 unless that is a record without its line end."""
    length, _, key = prefix.partition(b" ")
    if not key or len(prefix) > _MAX_PREFIX or not length.isdigit() or int(length) != size + 1 or size <= len(prefix):
        return b"", -1
    if len(_known_prefixes) >= _MAX_PREFIXES:
        _known_prefixes.clear()
    found = _known_prefixes[prefix] = (key, size)
    return found


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
        if not equals or not key:
            raise FormatError("a PAX record has no key", kind="tar-header")
        if 0 in (value if key in _NO_NUL else key):
            raise FormatError(f"the PAX record {key[:40]!r} holds a NUL", kind="tar-header")
        pairs.append((key, value))
        position = end
    return pairs


def format_record(key: bytes, value: bytes) -> bytes:
    """One record. Raises FormatError (``pax-record``) for a key or value that no reader would take."""
    if not key or 0x3D in key or 0 in key or (key in _NO_NUL and 0 in value):
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
    if _INTEGER(text) and len(text) < _MAX_DIGITS:
        value = int(text)
        if -(1 << 63) <= value < 1 << 63:
            return value
    raise FormatError(f"{text[:40]!r} is not a 64-bit number", kind="tar-header")


def parse_time(text: bytes) -> int | None:
    """``sec[.fraction]`` as nanoseconds since 1970; digits after the ninth are cut off. None for Go's zero time.

    Raises FormatError (``tar-header``).
    """
    if len(text) == 18 and text[10] == 0x2E and (digits := text[:10] + text[11:] + b"00").isdigit():
        return int(digits)  # whole ticks of this age, as nearly all are; to multiply them takes longer
    digits = text.replace(b".", b"", 1)
    if digits.isdigit() and len(digits) < 28:
        dot = text.find(b".")
        places = len(digits) - dot if dot >= 0 else 0
        if places <= 9 and dot and len(digits) - places < 19:
            return int(digits) * _SCALES[places]
    seconds, _, fraction = text.partition(b".")
    nanoseconds = parse_integer(seconds) * 1_000_000_000
    if not fraction:
        return nanoseconds if nanoseconds != GO_ZERO_TIME else None
    if not fraction.isdigit():
        raise FormatError(f"{text[:40]!r} is not a time", kind="tar-header")
    part = int(fraction[:9].ljust(9, b"0"))
    nanoseconds = nanoseconds - part if seconds[:1] == b"-" else nanoseconds + part
    return nanoseconds if nanoseconds != GO_ZERO_TIME else None


def format_time(nanoseconds: int) -> bytes:
    """The text of a time: no fraction when it is whole, no trailing zeros otherwise."""
    seconds, fraction = divmod(abs(nanoseconds), 1_000_000_000)
    sign = b"-" if nanoseconds < 0 else b""
    if not fraction:
        return b"%b%d" % (sign, seconds)
    return (b"%b%d.%09d" % (sign, seconds, fraction)).rstrip(b"0")
