"""A condition is a postfix program on disk and an infix expression in SDDL; each is the other, rearranged.

Callback entries carry the program behind the signature ``artx`` (MS-DTYP 2.4.4.17.4): literals and attributes push,
operators take from the top. :func:`condition_to_text` runs the program over a stack of texts;
:func:`condition_from_text` is a shunting yard. Neither recurses, so depth costs no stack, and depth is limited so that
a hostile program cannot make its text grow with the square of its size.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from wclayer.errors import FormatError, LimitError, UnsupportedError
from wclayer.ntfs.sddl_literals import (
    decode_name,
    encode_name,
    expect,
    fail,
    quote,
    read_integer,
    read_octets,
    read_sid,
    read_string,
    skip_space,
)
from wclayer.ntfs.sid import Sid
from wclayer.ntfs.well_known import sid_to_text

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MAX_DEPTH", "SIGNATURE", "condition_from_text", "condition_to_text"]

SIGNATURE: Final = b"artx"
MAX_DEPTH: Final = 1024
"""How deep !, && and ||, and how deep parentheses, may be nested."""

# Token codes, MS-DTYP 2.4.4.17.5 to 2.4.4.17.8.
_INT8, _INT64 = 0x01, 0x04
_STRING, _OCTETS, _COMPOSITE, _SID = 0x10, 0x18, 0x50, 0x51
_BINARY: Final = {
    0x80: "==", 0x81: "!=", 0x82: "<", 0x83: "<=", 0x84: ">", 0x85: ">=",
    0x86: "Contains", 0x88: "Any_of", 0x8E: "Not_Contains", 0x8F: "Not_Any_of",
}  # fmt: skip
_MEMBERSHIP: Final = {
    0x89: "Member_of", 0x8A: "Device_Member_of", 0x8B: "Member_of_any", 0x8C: "Device_Member_of_any",
    0x90: "Not_Member_of", 0x91: "Not_Device_Member_of", 0x92: "Not_Member_of_any", 0x93: "Not_Device_Member_of_any",
}  # fmt: skip
_EXISTENCE: Final = {0x87: "Exists", 0x8D: "Not_Exists"}
_LOGICAL: Final = {0xA0: "&&", 0xA1: "||"}
_NOT: Final = 0xA2
_LOCAL: Final = 0xF8
_PREFIXES: Final = {0xF9: "@USER.", 0xFA: "@RESOURCE.", 0xFB: "@DEVICE."}
_SIGNS: Final = {"+": 1, "-": 2, "": 3}
_BASES: Final = {8: 1, 10: 2, 16: 3}
_SIGN_TEXTS: Final = {code: sign for sign, code in _SIGNS.items()}
_FORMATS: Final = {1: "0{:o}", 2: "{:d}", 3: "{:#x}"}

_BINARY_CODES: Final = {text.lower(): code for code, text in _BINARY.items()}
_MEMBERSHIP_CODES: Final = {text.lower(): code for code, text in _MEMBERSHIP.items()}
_EXISTENCE_CODES: Final = {text.lower(): code for code, text in _EXISTENCE.items()}
_LOGICAL_CODES: Final = {text: code for code, text in _LOGICAL.items()}
_PREFIX_CODES: Final = {text.lower(): code for code, text in _PREFIXES.items()}
_KEYWORDS: Final = _BINARY_CODES.keys() | _MEMBERSHIP_CODES.keys() | _EXISTENCE_CODES.keys() | {"sid"}

_PREFIX_PATTERN: Final = re.compile(r"@(?:user|resource|device)\.", re.IGNORECASE)
_NAME_PATTERN: Final = re.compile(r'[^\s!&()<>=|",]+')
_LOCAL_NAME_PATTERN: Final = re.compile(r'[^\s!&()<>=|",{};#@][^\s!&()<>=|",{};#]*')
_OPERATOR_PATTERN: Final = re.compile(r"[=!<>]=|<|>|(?:not_)?(?:contains|any_of)(?![A-Za-z0-9:./_%])", re.IGNORECASE)
_LITERAL_PATTERN: Final = re.compile(r'[0-9+"#{-]|sid[ \t]*\(', re.IGNORECASE)

_INTEGER_TOKEN: Final = struct.Struct("<BQBB")
_LENGTH: Final = struct.Struct("<I")


class _Operand(NamedTuple):
    """What lies on the stack of texts: how it reads left and right of an operator, None where it cannot stand."""

    left: str | None
    right: str | None
    is_result: bool
    depth: int


def condition_to_text(data: bytes) -> str:
    """The condition in ``data`` (signature first, zero padding allowed last) as SDDL, in parentheses.

    Raises FormatError for a broken program, UnsupportedError for one SDDL cannot say, LimitError beyond MAX_DEPTH.
    """
    if data[:4] != SIGNATURE:
        raise _bad(f"condition starts with {data[:4].hex()}, not with the signature artx")
    stack: list[_Operand] = []
    position = 4
    while position < len(data):
        code = data[position]
        if code == 0:
            if any(data[position:]):
                raise _bad(f"condition: bytes after the padding at offset {position}")
            break
        if code == _LOCAL or code in _PREFIXES:
            name, position = _read_units(data, position, "attribute name")
            stack.append(_attribute(code, name))
        elif code < 0x80:
            literal, position = _literal_to_text(data, position)
            stack.append(_Operand(None, literal, is_result=False, depth=0))
        else:
            stack.append(_operation(code, stack, position))
            position += 1
    if len(stack) != 1 or stack[0].left is None:
        raise _bad(f"condition leaves {len(stack)} operands instead of one truth value")
    return f"({stack[0].left})"


def condition_from_text(text: str, position: int, resolve: Callable[[str], Sid]) -> tuple[bytes, int]:
    """Read the parenthesised condition at ``position``; return the program, padded to 4 bytes, and the position after.

    ``resolve`` turns the text of a SID into a SID. Raises FormatError, or LimitError beyond MAX_DEPTH.
    """
    out = bytearray(SIGNATURE)
    operators: list[str] = []
    depths: list[int] = []
    position = expect(text, position, "(")
    operators.append("(")
    expect_term = True
    while True:
        position = skip_space(text, position)
        symbol = text[position : position + 2]
        if expect_term and symbol[:1] in ("(", "!"):
            if symbol[0] == "!":
                operators.append("!")
                position = expect(text, position + 1, "(") - 1
            operators.append("(")
            if len(operators) > 2 * MAX_DEPTH + 2:
                raise LimitError(f"SDDL at character {position}: parentheses nested deeper than {MAX_DEPTH}")
            position += 1
        elif expect_term:
            position = _term_from_text(text, position, resolve, out)
            depths.append(0)
            expect_term = False
        elif symbol[:1] == ")":
            while (operator := operators.pop()) != "(":
                _emit(operator, out, depths)
            position += 1
            if not operators:
                return bytes(out) + bytes(-len(out) % 4), position
            if operators[-1] == "!":
                _emit(operators.pop(), out, depths)
        elif symbol in _LOGICAL_CODES:
            while operators[-1] == "&&" or operators[-1] == symbol:
                _emit(operators.pop(), out, depths)
            operators.append(symbol)
            position += 2
            expect_term = True
        else:
            raise fail(text, position, "&&, || or )")


def _bad(message: str) -> FormatError:
    return FormatError(message, kind="security-descriptor")


def _attribute(code: int, name: str) -> _Operand:
    if not name:
        raise _bad("condition: attribute without a name")
    if code != _LOCAL:
        text = _PREFIXES[code] + encode_name(name)
        return _Operand(text, text, is_result=False, depth=0)
    keyword = name.lower() in _KEYWORDS
    left = encode_name(name, local=True, first=keyword)
    # On the right of an operator a digit or a keyword would be taken for a literal.
    return _Operand(left, encode_name(name, local=True, first=keyword or name[0].isdigit()), is_result=False, depth=0)


def _operation(code: int, stack: list[_Operand], position: int) -> _Operand:
    needed = 2 if code in _BINARY or code in _LOGICAL else 1
    if len(stack) < needed:
        raise _bad(f"condition: operator {code:#04x} at offset {position} lacks operands")
    right = stack.pop()
    left = stack.pop() if needed == 2 else right
    depth = max(left.depth, right.depth) + (code == _NOT or code in _LOGICAL)
    if depth > MAX_DEPTH:
        raise LimitError(f"condition: operators nested deeper than {MAX_DEPTH}")
    text: str | None = None
    if code in _BINARY and left.left is not None and right.right is not None and not left.is_result:
        text = f"{left.left} {_BINARY[code]} {right.right}"
    elif code in _MEMBERSHIP and right.left is None:
        text = f"{_MEMBERSHIP[code]} {right.right}"
    elif code in _EXISTENCE and right.left is not None and not right.is_result:
        text = f"{_EXISTENCE[code]} {right.left}"
    elif code == _NOT and right.left is not None:
        text = f"!({right.left})"
    elif code in _LOGICAL and left.left is not None and right.left is not None:
        text = f"({left.left}) {_LOGICAL[code]} ({right.left})"
    elif code not in (_NOT, *_BINARY, *_MEMBERSHIP, *_EXISTENCE, *_LOGICAL):
        raise _bad(f"condition: unknown token {code:#04x} at offset {position}")
    if text is None:
        raise UnsupportedError(f"SDDL cannot write the operands of operator {code:#04x} at offset {position}")
    return _Operand(text, None, is_result=True, depth=depth)


def _read_block(data: bytes, position: int, what: str) -> tuple[bytes, int]:
    """The bytes behind a token code and a 32-bit length, and the position after them."""
    start = position + 5
    if start > len(data):
        raise _bad(f"condition: {what} at offset {position} ends early")
    end = start + int.from_bytes(data[position + 1 : start], "little")
    if end > len(data):
        raise _bad(f"condition: {what} at offset {position} has {end - start} bytes, {len(data) - start} are left")
    return data[start:end], end


def _read_units(data: bytes, position: int, what: str) -> tuple[str, int]:
    block, end = _read_block(data, position, what)
    if len(block) % 2:
        raise _bad(f"condition: {what} at offset {position} has an odd number of bytes")
    return block.decode("utf-16-le", "surrogatepass"), end


def _literal_to_text(data: bytes, position: int, *, nested: bool = False) -> tuple[str, int]:
    code = data[position]
    if _INT8 <= code <= _INT64:
        return _integer_to_text(data, position)
    if code == _STRING:
        string, end = _read_units(data, position, "string")
        return quote(string), end
    if code not in (_OCTETS, _SID, _COMPOSITE) or (nested and code == _COMPOSITE):
        raise _bad(f"condition: token {code:#04x} at offset {position} is no literal that can stand here")
    block, end = _read_block(data, position, f"token {code:#04x}")
    if code == _OCTETS:
        return f"#{block.hex()}", end
    if code == _SID:
        sid = Sid.from_bytes(block, what=f"condition: SID at offset {position}")
        if sid.size != len(block):
            raise _bad(f"condition: SID at offset {position} has {sid.size} of {len(block)} bytes")
        return f"SID({sid_to_text(sid)})", end
    elements: list[str] = []
    inner = 0
    while inner < len(block):
        element, inner = _literal_to_text(block, inner, nested=True)
        elements.append(element)
    return f"{{{', '.join(elements)}}}", end


def _integer_to_text(data: bytes, position: int) -> tuple[str, int]:
    end = position + _INTEGER_TOKEN.size
    if end > len(data):
        raise _bad(f"condition: integer at offset {position} ends early")
    _, value, sign, base = _INTEGER_TOKEN.unpack_from(data, position)
    if sign not in _SIGN_TEXTS or base not in _FORMATS:
        raise _bad(f"condition: integer at offset {position} has sign code {sign} and base code {base}")
    negative = _SIGN_TEXTS[sign] == "-"
    if negative and 0 < value < 1 << 63:
        raise _bad(f"condition: integer at offset {position} has a minus sign but a positive value")
    magnitude = -value % (1 << 64) if negative else value
    return _SIGN_TEXTS[sign] + _FORMATS[base].format(magnitude), end


def _emit(operator: str, out: bytearray, depths: list[int]) -> None:
    if operator == "!":
        out.append(_NOT)
        depths[-1] += 1
    else:
        out.append(_LOGICAL_CODES[operator])
        depths[-2:] = [max(depths[-2:]) + 1]
    if depths[-1] > MAX_DEPTH:
        raise LimitError(f"SDDL condition with operators nested deeper than {MAX_DEPTH}")


def _term_from_text(text: str, position: int, resolve: Callable[[str], Sid], out: bytearray) -> int:
    """Read an attribute, a comparison or a test, append its program to ``out``, return the position after."""
    if text.startswith("@", position):
        name, after = _attribute_from_text(text, position)
    else:
        found = _LOCAL_NAME_PATTERN.match(text, position)
        if found is None:
            raise fail(text, position, "an attribute or a test")
        keyword, after = found[0].lower(), found.end()
        if (code := _MEMBERSHIP_CODES.get(keyword)) is not None:
            value, after = _members_from_text(text, after, resolve)
            out += value
            out.append(code)
            return after
        if (code := _EXISTENCE_CODES.get(keyword)) is not None:
            value, after = _attribute_from_text(text, skip_space(text, after))
            out += value
            out.append(code)
            return after
        name, after = _attribute_from_text(text, position)
    out += name
    found = _OPERATOR_PATTERN.match(text, skip_space(text, after))
    if found is None:
        return after
    start = skip_space(text, found.end())
    if _LITERAL_PATTERN.match(text, start):
        value, after = _value_from_text(text, start, resolve)
    else:
        value, after = _attribute_from_text(text, start)
    out += value
    out.append(_BINARY_CODES[found[0].lower()])
    return after


def _attribute_from_text(text: str, position: int) -> tuple[bytes, int]:
    code = _LOCAL
    if (prefix := _PREFIX_PATTERN.match(text, position)) is not None:
        code, position = _PREFIX_CODES[prefix[0].lower()], prefix.end()
    found = (_LOCAL_NAME_PATTERN if prefix is None else _NAME_PATTERN).match(text, position)
    if found is None:
        raise fail(text, position, "an attribute name")
    return _block(code, decode_name(found[0]).encode("utf-16-le", "surrogatepass")), found.end()


def _members_from_text(text: str, position: int, resolve: Callable[[str], Sid]) -> tuple[bytes, int]:
    """Read the list, or the single literal, of a membership test; parentheses around it are tolerated."""
    opened = 0
    position = skip_space(text, position)
    while text.startswith("(", position):
        opened += 1
        position = skip_space(text, position + 1)
    value, position = _value_from_text(text, position, resolve)
    for _ in range(opened):
        position = expect(text, position, ")")
    return value, position


def _value_from_text(text: str, position: int, resolve: Callable[[str], Sid]) -> tuple[bytes, int]:
    if not text.startswith("{", position):
        return _literal_from_text(text, position, resolve)
    out = bytearray()
    position = skip_space(text, position + 1)
    while not text.startswith("}", position):
        if out:
            position = skip_space(text, expect(text, position, ","))
        value, position = _literal_from_text(text, position, resolve)
        out += value
        position = skip_space(text, position)
    return _block(_COMPOSITE, bytes(out)), position + 1


def _literal_from_text(text: str, position: int, resolve: Callable[[str], Sid]) -> tuple[bytes, int]:
    head = text[position : position + 1]
    if head == '"':
        string, position = read_string(text, position)
        return _block(_STRING, string.encode("utf-16-le", "surrogatepass")), position
    if head == "#":
        octets, position = read_octets(text, position + 1)
        return _block(_OCTETS, octets), position
    if head in ("s", "S"):
        sid, position = read_sid(text, position, resolve)
        return _block(_SID, sid.to_bytes()), position
    sign, magnitude, base, after = read_integer(text, position)
    if magnitude > (1 << 63 if sign == "-" else (1 << 64) - 1):
        raise fail(text, position, "an integer of 64 bits")
    value = -magnitude % (1 << 64) if sign == "-" else magnitude
    return _INTEGER_TOKEN.pack(_INT64, value, _SIGNS[sign], _BASES[base]), after


def _block(code: int, content: bytes) -> bytes:
    return bytes((code,)) + _LENGTH.pack(len(content)) + content
