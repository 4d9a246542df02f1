"""FILETIME: 100 ns ticks since 1601-01-01 00:00 UTC, kept as an integer from one end to the other.

Two arithmetics exist side by side. The exact one holds for every integer. The wrapped one is that of go-winio, which
counts nanoseconds in signed 64 bits and silently wraps outside 1677-09-21 to 2262-04-11; it is needed to write the same
bytes. Format: MS-DTYP 2.3.3; calendar: proleptic Gregorian, no leap seconds.
"""

from __future__ import annotations

import re
from functools import lru_cache

from wclayer.errors import FormatError

__all__ = [
    "ABSENT_IN_REFERENCE",
    "TICKS_PER_SECOND",
    "UNIX_EPOCH_TICKS",
    "from_text",
    "from_unix",
    "to_text",
    "to_unix",
    "wrapped_from_unix",
    "wrapped_to_unix",
]

TICKS_PER_SECOND = 10_000_000

UNIX_EPOCH_TICKS = 116_444_736_000_000_000
"""1970-01-01 as a FILETIME."""

ABSENT_IN_REFERENCE = 48_491_090_211_286_549
"""What go-winio makes of a time that a tar does not hold: Go's zero time, wrapped to 1754-08-30."""

_TICKS_PER_DAY = 86_400 * TICKS_PER_SECOND
_NANOSECONDS = 1_000_000_000
_SIGN = 1 << 63
_U64 = (1 << 64) - 1

_EPOCH_DAY = 584_694  # days from 0000-03-01 to 1601-01-01
_DAYS_PER_ERA = 146_097  # 400 years

_TEXT = re.compile(
    r"([+-]?[0-9]{4,20})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,7}))?Z"
).fullmatch
_DAYS = (0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def from_unix(seconds: int, nanoseconds: int = 0) -> int:
    """The FILETIME of ``seconds`` and ``nanoseconds`` after 1970, exact for any integers.

    What is finer than 100 ns is cut off toward 1970 (not toward the past), as go-winio does. Before 1601 the result is
    negative; it is not reduced to 64 bits.
    """
    total = seconds * _NANOSECONDS + nanoseconds
    return (total // 100 if total >= 0 else -(-total // 100)) + UNIX_EPOCH_TICKS


def to_unix(filetime: int) -> tuple[int, int]:
    """``filetime`` as ``(seconds, nanoseconds)`` after 1970, exact; 0 <= nanoseconds < 10**9."""
    seconds, ticks = divmod(filetime - UNIX_EPOCH_TICKS, TICKS_PER_SECOND)
    return seconds, ticks * 100


def wrapped_from_unix(seconds: int, nanoseconds: int = 0) -> int:
    """The FILETIME, 0 to 2**64-1, that go-winio computes when it reads a tar: :func:`from_unix` in 64 bits."""
    total = ((seconds * _NANOSECONDS + nanoseconds + _SIGN) & _U64) - _SIGN
    ticks = total // 100 if total >= 0 else -(-total // 100)
    return (ticks + UNIX_EPOCH_TICKS) & _U64


def wrapped_to_unix(filetime: int) -> tuple[int, int]:
    """The ``(seconds, nanoseconds)`` that go-winio computes when it writes a tar: :func:`to_unix` in 64 bits."""
    total = (((filetime - UNIX_EPOCH_TICKS) * 100 + _SIGN) & _U64) - _SIGN
    return divmod(total, _NANOSECONDS)


def to_text(filetime: int) -> str:
    """``filetime`` in ISO 8601, UTC, always with seven digits of fraction: ``2019-12-31T23:59:59.1234567Z``.

    Exact for every integer. Years before 0 and after 9999 carry a sign, as ISO 8601 has it; year 0 is 1 BC.
    """
    days, ticks = divmod(filetime, _TICKS_PER_DAY)
    seconds, ticks = divmod(ticks, TICKS_PER_SECOND)
    minutes, seconds = divmod(seconds, 60)
    return f"{_day_text(days)}{minutes // 60:02d}:{minutes % 60:02d}:{seconds:02d}.{ticks:07d}Z"


@lru_cache(maxsize=4096)  # the files of a layer were written on few days
def _day_text(days: int) -> str:
    """The text of the day that begins ``days`` after 1601, up to its hours."""
    era, day = divmod(days + _EPOCH_DAY, _DAYS_PER_ERA)
    year = (day - day // 1_460 + day // 36_524 - day // 146_096) // 365
    day -= 365 * year + year // 4 - year // 100
    month = (5 * day + 2) // 153  # 0 is March
    day -= (153 * month + 2) // 5 - 1
    year += 400 * era + (month > 9)
    month = month + 3 if month < 10 else month - 9
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{year:+05d}"
    return f"{shown}-{month:02d}-{day:02d}T"


def from_text(text: str) -> int:
    """The FILETIME that ``text`` spells: the form of :func:`to_text`, with 0 to 7 digits of fraction.

    Raises FormatError of kind ``filetime`` for anything else, and for dates that do not exist.
    """
    match = _TEXT(text)
    if match is None:
        raise FormatError(f"not a UTC time like 2019-12-31T23:59:59.1234567Z: {text[:64]!a}", kind="filetime")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not (
        1 <= month <= 12
        and 1 <= day <= _DAYS[month] + (leap and month == 2)
        and hour < 24
        and minute < 60
        and second < 60
    ):
        raise FormatError(f"no such time: {text!a}", kind="filetime")
    if month < 3:
        year, month = year - 1, month + 12
    days = 365 * year + year // 4 - year // 100 + year // 400 + (153 * (month - 3) + 2) // 5 + day - 1 - _EPOCH_DAY
    seconds = ((days * 24 + hour) * 60 + minute) * 60 + second
    return seconds * TICKS_PER_SECOND + int((match[7] or "").ljust(7, "0"))
