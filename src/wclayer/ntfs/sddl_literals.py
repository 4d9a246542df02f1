"""The literals that conditions and resource attributes of SDDL share: numbers, strings, octets, SIDs, names.

Readers take the text and a position and return a value and the position after it. Grammar: MS-DTYP 2.5.1.1. A string
has no escape: it ends at the next quotation mark. An attribute name has one: ``%`` and four hexadecimal digits, a
UTF-16 code unit.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from wclayer.errors import FormatError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from wclayer.ntfs.sid import Sid

__all__ = [
    "decode_name",
    "encode_name",
    "expect",
    "fail",
    "quote",
    "read_integer",
    "read_octets",
    "read_sid",
    "read_string",
    "skip_space",
]

_SPACE: Final = re.compile(r"[ \t\r\n\v\f]*")
_INTEGER: Final = re.compile(r"([+-]?)(0[xX]([0-9a-fA-F]{1,64})|0([0-7]{1,64})|(0|[1-9][0-9]{0,63}))(?![0-9A-Za-z_])")
_SID: Final = re.compile(r"[Ss][Ii][Dd][ \t]*\([ \t]*([A-Za-z0-9-]{1,300})[ \t]*\)")
_OCTETS: Final = re.compile(r"[0-9a-fA-F#]*")
_ESCAPE: Final = re.compile(r"%([0-9a-fA-F]{4})")
_NOT_IN_LOCAL_NAMES: Final = re.compile(r"[^A-Za-z0-9:./_@]|^@")
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9:./_#$'*+;?@\[\\\]^`{}~-]")


def fail(text: str, position: int, expected: str) -> FormatError:
    """The error for a text that has something else at ``position`` than what was ``expected``."""
    found = repr(text[position : position + 20]) if position < len(text) else "the end"
    return FormatError(f"SDDL at character {position}: expected {expected}, found {found}", kind="sddl")


def skip_space(text: str, position: int) -> int:
    """The position after any white space."""
    found = _SPACE.match(text, position)
    return position if found is None else found.end()


def expect(text: str, position: int, symbol: str) -> int:
    """The position after ``symbol``, which may have white space before it."""
    position = skip_space(text, position)
    if not text.startswith(symbol, position):
        raise fail(text, position, repr(symbol))
    return position + len(symbol)


def read_integer(text: str, position: int) -> tuple[str, int, int, int]:
    """Read ``-5``, ``0x1f`` or ``017``: the sign as written (or empty), the magnitude, the base, the position after."""
    found = _INTEGER.match(text, position)
    if found is None:
        raise fail(text, position, "an integer")
    sign, _, hexadecimal, octal, decimal = found.groups()
    if hexadecimal is not None:
        return sign, int(hexadecimal, 16), 16, found.end()
    if octal is not None:
        return sign, int(octal, 8), 8, found.end()
    return sign, int(decimal), 10, found.end()


def read_string(text: str, position: int) -> tuple[str, int]:
    """Read a string in quotation marks."""
    start = expect(text, position, '"')
    end = text.find('"', start)
    if end < 0:
        raise fail(text, len(text), "a quotation mark")
    return text[start:end], end + 1


def quote(value: str) -> str:
    """A string in quotation marks; UnsupportedError if it holds one, for which SDDL has no way."""
    if '"' in value:
        raise UnsupportedError(f"SDDL cannot write the string {value[:100]!r}, which holds a quotation mark")
    return f'"{value}"'


def read_octets(text: str, position: int) -> tuple[bytes, int]:
    """Read hexadecimal digits (without the leading ``#``); ``#`` stands for 0, and a 0 evens out an odd number."""
    found = _OCTETS.match(text, position)
    digits = "" if found is None else found[0].replace("#", "0")
    return bytes.fromhex("0" * (len(digits) % 2) + digits), position + len(digits)


def read_sid(text: str, position: int, resolve: Callable[[str], Sid]) -> tuple[Sid, int]:
    """Read ``SID(BA)`` or ``SID(S-1-…)``."""
    found = _SID.match(text, position)
    if found is None:
        raise fail(text, position, "SID(…)")
    return resolve(found[1]), found.end()


def encode_name(name: str, *, local: bool = False, first: bool = False) -> str:
    """Write an attribute name; ``local`` ones have fewer free characters. ``first`` escapes the first one anyway."""
    pattern = _NOT_IN_LOCAL_NAMES if local else _NOT_IN_NAMES
    text = pattern.sub(lambda found: _escape(found[0]), name[1:] if first else name)
    return _escape(name[:1]) + text if first else text


def decode_name(text: str) -> str:
    """Undo :func:`encode_name`."""
    if "%" not in text:
        return text
    units = _ESCAPE.sub(lambda found: chr(int(found[1], 16)), text)
    # Two escaped surrogates are one character.
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")


def _escape(character: str) -> str:
    units = character.encode("utf-16-le", "surrogatepass")
    return "".join(f"%{int.from_bytes(units[i : i + 2], 'little'):04x}" for i in range(0, len(units), 2))
