"""The 512-byte header block of a tar archive, in every dialect that occurs.

Reading follows Go's ``archive/tar``, the reader behind every Windows layer importer; writing produces the one form it
writes. Layout: POSIX.1-2017 ("ustar Interchange Format"), the GNU tar manual ("Basic Tar Format"), star.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from zlib import adler32

from wclayer.errors import FormatError
from wclayer.formats.tar.pax import GO_ZERO_TIME

__all__ = [
    "BLOCK",
    "GNU",
    "PAX",
    "STAR",
    "V7",
    "ZERO_BLOCK",
    "RawHeader",
    "build_block",
    "extension_size",
    "parse_block",
    "parse_number",
]

BLOCK = 512
ZERO_BLOCK = bytes(BLOCK)

GNU, PAX, STAR, V7 = "gnu", "pax", "star", "v7"

# The block that every common writer makes: octal numbers filling their fields, ended by one NUL. One match checks them
# all; whatever it does not match is read field by field.
_ORDINARY = re.compile(
    rb"(?s:.{100})([0-7]{7})\0[0-7]{7}\0[0-7]{7}\0([0-7]{11})\0([0-7]{11})\0([0-7]{6})\0 ((?s:.))(?s:.{100})"
    rb"ustar\x0000(?s:.{64})(?:[0-7]{7}\0[0-7]{7}\0|\0{16})(?s:.{163})(?!tar\0)(?s:.{4})"
).fullmatch


_OCTAL: Final = b"01234567"

# Of each type of member the ids, all that stands behind the checksum, the mode, and what both ends add to the checksum
# of the rest. In a layer nearly all blocks are alike in them, and then need no match.
_KNOWN: Final[dict[int, tuple[bytes, bytes, int, int]]] = {}

_new = tuple.__new__


class RawHeader(NamedTuple):
    """The fields of one block. Numbers are parsed, texts cut at their first NUL, times are in nanoseconds since 1970.

    ``dialect`` is ``gnu``, ``pax`` (ustar too), ``star`` or ``v7``. ``block`` is the block itself.
    """

    name: bytes
    mode: int
    size: int
    mtime: int | None
    type: int
    linkname: bytes
    dialect: str
    block: bytes
    atime: int | None = None
    ctime: int | None = None


def parse_block(block: bytes) -> RawHeader:
    """Read one block of exactly 512 bytes. Raises FormatError (``tar-header``)."""
    known = _KNOWN.get(block[156])
    if known is not None and (size_there := _size_if_like(block, known)) >= 0:
        end_there = block.find(b"\0")
        name = block[: end_there if end_there < 100 else 100]
        time = int(block[136:147], 8) * 1_000_000_000
        return _new(RawHeader, (name, known[2], size_there, time, block[156], b"", PAX, block, None, None))
    match = _ORDINARY(block)
    if match is None:
        return _parse_fields(block)
    mode, size, mtime, checksum, kind = match.groups()
    if int(checksum, 8) != _checksum(block):
        return _parse_fields(block)
    _remember(block)
    end = block.find(b"\0")
    name = block[: end if end < 100 else 100]
    if block[345]:
        name = _text(block, 345, 155) + b"/" + name
    linkname = _text(block, 157, 100) if block[157] else b""
    time = int(mtime, 8) * 1_000_000_000
    return _new(RawHeader, (name, int(mode, 8), int(size, 8), time, kind[0], linkname, PAX, block, None, None))


def extension_size(block: bytes) -> int:
    """The size of the body behind the block of an extended header, all that matters of it; -1 if it needs a look."""
    known = _KNOWN.get(block[156])
    if known is not None and (size := _size_if_like(block, known)) >= 0:
        return size
    match = _ORDINARY(block)
    if match is None or int(match[4], 8) != _checksum(block):
        return -1
    _remember(block)
    return int(match[2], 8)


def _remember(block: bytes) -> None:
    """Note how an ordinary block without link name and prefix looks, for the next of its type."""
    if not block[157] and not block[345]:
        tail = block[156:]
        rest = (adler32(tail[:256]) & 0xFFFF) + (adler32(tail[256:]) & 0xFFFF) - 3 + 256
        _KNOWN[block[156]] = (block[100:124], tail, int(block[100:107], 8), rest)


def _size_if_like(block: bytes, known: tuple[bytes, bytes, int, int]) -> int:
    """The size in ``block`` if it is ordinary and differs from a known one in name, size and time at most; else -1."""
    if not block.endswith(known[1]) or not block.startswith(known[0], 100):
        return -1
    if block[135] or block[147] or block[154] or block[155] != 0x20:
        return -1
    digits = block[124:135] + block[148:154]  # size and checksum in one go
    if digits.strip(_OCTAL) or block[136:147].strip(_OCTAL):
        return -1
    both = int(digits, 8)
    return both >> 18 if both & 0x3FFFF == (adler32(block[:148]) & 0xFFFF) + known[3] else -1


def _checksum(block: bytes) -> int:
    """The sum of the block's bytes, its checksum field counted as spaces.

    The low half of Adler-32 is one more than the sum modulo 65521. 512 bytes of ASCII stay below that, and so do 256
    bytes of any kind.
    """
    if block.isascii():
        return (adler32(block) & 0xFFFF) - (adler32(block[148:156]) & 0xFFFF) + 256
    low = (adler32(block[:148]) & 0xFFFF) + (adler32(block[156:412]) & 0xFFFF) + (adler32(block[412:]) & 0xFFFF)
    return low - 3 + 256


def _parse_fields(block: bytes) -> RawHeader:
    stored = _parse_octal(block[148:156])
    unsigned = _checksum(block)
    signed = unsigned - 256 * sum(byte >= 0x80 for byte in block[:148] + block[156:])
    if stored not in (unsigned, signed):
        raise FormatError("the checksum of a tar header does not match", kind="tar-header")
    dialect = V7
    if block[257:263] == b"ustar\0":
        dialect = STAR if block[508:512] == b"tar\0" else PAX
    elif block[257:265] == b"ustar  \0":
        dialect = GNU
    for start, length in ((108, 8), (116, 8)) if dialect == V7 else ((108, 8), (116, 8), (329, 8), (337, 8)):
        parse_number(block[start : start + length])
    name = _text(block, 0, 100)
    atime = ctime = None
    if dialect == PAX:
        prefix = _text(block, 345, 155)
    elif dialect == STAR:
        prefix = _text(block, 345, 131)
        atime, ctime = _seconds(block[476:488]), _seconds(block[488:500])
    elif dialect == GNU:
        prefix, atime, ctime = _gnu_times(block)
    else:
        prefix = b""
    if prefix:
        name = prefix + b"/" + name
    return RawHeader(
        name,
        parse_number(block[100:108]),
        parse_number(block[124:136]),
        _seconds(block[136:148]),
        block[156],
        _text(block, 157, 100),
        dialect,
        block,
        atime,
        ctime,
    )


def _gnu_times(block: bytes) -> tuple[bytes, int | None, int | None]:
    """Prefix, access and change time of a GNU header: times, or else the prefix that some writers put there."""
    try:
        return (
            b"",
            _seconds(block[345:357]) if block[345] else None,
            _seconds(block[357:369]) if block[357] else None,
        )
    except FormatError:
        prefix = _text(block, 345, 155)
        return (prefix if prefix.isascii() else b""), None, None


def _text(block: bytes, start: int, length: int) -> bytes:
    return block[start : start + length].partition(b"\0")[0]


def _seconds(field: bytes) -> int | None:
    """A time in nanoseconds; None for the one that Go takes for no time at all."""
    nanoseconds = parse_number(field) * 1_000_000_000
    return None if nanoseconds == GO_ZERO_TIME else nanoseconds


def parse_number(field: bytes) -> int:
    """Octal text or base-256 (two's complement, at most 64 bits). Raises FormatError (``tar-header``)."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if not -(1 << 63) <= value < 1 << 63:
            raise FormatError("a number in a tar header does not fit 64 bits", kind="tar-header")
        return value
    return _parse_octal(field)


def _parse_octal(field: bytes) -> int:
    text = field.strip(b" \0").partition(b"\0")[0]
    if text.strip(b"01234567"):
        raise FormatError(f"{text!r} is not an octal number", kind="tar-header")
    return int(text, 8) if text else 0


def _octal(value: int, length: int) -> bytes:
    """Zero-padded octal and a NUL; zeros when it does not fit (a PAX record then has the value)."""
    if 0 <= value < 8 ** (length - 1):
        return b"%0*o\0" % (length - 1, value)
    return b"0" * (length - 1) + b"\0"


def _field(text: bytes, length: int) -> bytes:
    """Text cut to its field; a cut right behind a slash loses the slash, so that no folder is suggested."""
    if len(text) > length and text[length - 1] == 0x2F:
        head = text[: length - 1].rstrip(b"/")
        return head + b"\0" + text[len(head) + 1 : length]
    return text[:length].ljust(length, b"\0")


_IDS = b"0000000\x000000000\0"
_MAGIC = b"ustar\x0000" + bytes(64)
_DEVICES = b"0000000\x000000000\0"


def build_block(
    name: bytes,
    kind: bytes,
    *,
    mode: int = 0,
    size: int = 0,
    mtime: int = 0,
    linkname: bytes = b"",
    prefix: bytes = b"",
    devices: bool = True,
) -> bytes:
    """One ustar block as Go writes it. ``mtime`` is in whole seconds; without ``devices`` their numbers are NULs."""
    head = b"".join(
        (_field(name, 100), _octal(mode, 8), _IDS, _octal(size, 12), _octal(mtime, 12)),
    )
    tail = b"".join(
        (
            kind,
            _field(linkname, 100) if linkname else bytes(100),
            _MAGIC,
            _DEVICES if devices else bytes(16),
            prefix.ljust(167, b"\0"),
        )
    )
    checksum = (adler32(head) & 0xFFFF) + (adler32(tail[:256]) & 0xFFFF) + (adler32(tail[256:]) & 0xFFFF) + 253
    return b"%b%06o\0 %b" % (head, checksum, tail)
