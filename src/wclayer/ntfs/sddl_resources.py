"""A resource attribute is a named, typed list of values that an entry of the SACL pins to an object.

On disk it is a CLAIM_SECURITY_ATTRIBUTE_RELATIVE_V1 (MS-DTYP 2.4.10.1): a head, offsets, and behind them the name and
the values, all relative to its own start. In SDDL it is ``("Project",TS,0x0,"Windows","SQL")`` (MS-DTYP 2.5.1.1).
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from wclayer.errors import FormatError, UnsupportedError
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

__all__ = ["ResourceAttribute", "attribute_from_text", "attribute_to_text"]

Value: TypeAlias = int | str | bytes | Sid

# CLAIM_SECURITY_ATTRIBUTE_TYPE values and their SDDL names.
_INT64, _UINT64, _STRING, _SID, _BOOLEAN, _OCTETS = 1, 2, 3, 5, 6, 16
_TYPE_NAMES: Final = {_INT64: "TI", _UINT64: "TU", _STRING: "TS", _SID: "TD", _BOOLEAN: "TB", _OCTETS: "TX"}
_TYPES: Final = {name: kind for kind, name in _TYPE_NAMES.items()}
_RANGES: Final = {_INT64: (-(1 << 63), 1 << 63), _UINT64: (0, 1 << 64), _BOOLEAN: (0, 2)}

_HEAD: Final = struct.Struct("<IHHII")  # name offset, type, reserved, flags, value count
_BARE_SID: Final = re.compile(r"[A-Za-z0-9-]{1,300}")


@dataclass(frozen=True, slots=True)
class ResourceAttribute:
    """``kind`` is the CLAIM_SECURITY_ATTRIBUTE_TYPE, ``flags`` its FLAGS, ``values`` int, str, bytes or Sid by kind."""

    name: str
    kind: int
    flags: int
    values: tuple[Value, ...]

    @classmethod
    def from_bytes(cls, data: bytes) -> ResourceAttribute:
        """Read the structure; bytes behind the last value are padding. Raises FormatError."""
        if len(data) < _HEAD.size:
            raise _bad(f"{len(data)} bytes, the head alone has {_HEAD.size}")
        name_at, kind, _, flags, count = _HEAD.unpack_from(data)
        if kind not in _TYPE_NAMES:
            raise UnsupportedError(f"resource attribute of type {kind:#06x}, for which there is no form")
        if _HEAD.size + 4 * count > len(data):
            raise _bad(f"{count} values announced in {len(data)} bytes")
        name, used = _read_text(data, name_at, "name")
        values: list[Value] = []
        for offset in struct.unpack_from(f"<{count}I", data, _HEAD.size):
            value, size = _read_value(data, offset, kind)
            values.append(value)
            used += size
            # Honest values do not share bytes; without this a few bytes could stand for megabytes.
            if used > len(data):
                raise _bad("values overlap each other")
        return cls(name, kind, flags, tuple(values))

    def to_bytes(self) -> bytes:
        """The structure as Windows lays it out: name, then values, nothing aligned, padded to 4 bytes at the end."""
        name_at = _HEAD.size + 4 * len(self.values)
        body = bytearray(_terminated(self.name))
        offsets = []
        for value in self.values:
            offsets.append(name_at + len(body))
            body += _value_to_bytes(value, self.kind)
        try:
            head = _HEAD.pack(name_at, self.kind, 0, self.flags, len(offsets))
        except struct.error as error:
            raise _bad("type or flags out of range") from error
        data = head + struct.pack(f"<{len(offsets)}I", *offsets) + bytes(body)
        return data + bytes(-len(data) % 4)


def attribute_to_text(attribute: ResourceAttribute) -> str:
    """``("name",TS,0x0,"value")``; UnsupportedError for a string SDDL cannot write."""
    head = f'"{encode_name(attribute.name)}",{_TYPE_NAMES[attribute.kind]},{attribute.flags:#x}'
    return f"({','.join((head, *map(_value_to_text, attribute.values)))})"


def attribute_from_text(text: str, position: int, resolve: Callable[[str], Sid]) -> tuple[ResourceAttribute, int]:
    """Read ``("name",TS,0x0,"value")`` at ``position``; return it and the position after. Raises FormatError."""
    position = skip_space(text, expect(text, position, "("))
    name, position = read_string(text, position)
    if not name:
        raise fail(text, position, "a name that is not empty")
    position = skip_space(text, expect(text, position, ","))
    kind = _TYPES.get(text[position : position + 2].upper())
    if kind is None:
        raise fail(text, position, "TI, TU, TS, TD, TX or TB")
    position = skip_space(text, expect(text, position + 2, ","))
    sign, flags, _, after = read_integer(text, position)
    if sign or flags >= 1 << 32:
        raise fail(text, position, "flags of 32 bits")
    position = skip_space(text, after)
    values: list[Value] = []
    while text.startswith(",", position):
        value, position = _value_from_text(text, skip_space(text, position + 1), kind, resolve)
        values.append(value)
        position = skip_space(text, position)
    return ResourceAttribute(decode_name(name), kind, flags, tuple(values)), expect(text, position, ")")


def _bad(message: str) -> FormatError:
    return FormatError(f"resource attribute: {message}", kind="security-descriptor")


def _terminated(text: str) -> bytes:
    if "\0" in text:
        raise _bad(f"{text[:100]!r} holds a NUL, which ends a string")
    return (text + "\0").encode("utf-16-le", "surrogatepass")


def _read_text(data: bytes, offset: int, what: str) -> tuple[str, int]:
    """The NUL-terminated UTF-16 text at ``offset`` and its size in bytes, terminator included."""
    end = data.find(b"\0\0", offset)
    while end >= 0 and (end - offset) % 2:
        end = data.find(b"\0\0", end + 1)
    if end < 0 or offset < _HEAD.size:
        raise _bad(f"no terminated {what} at offset {offset}")
    return data[offset:end].decode("utf-16-le", "surrogatepass"), end + 2 - offset


def _read_value(data: bytes, offset: int, kind: int) -> tuple[Value, int]:
    """The value at ``offset`` and its size in bytes."""
    if kind == _STRING:
        return _read_text(data, offset, "string")
    if kind in _RANGES:
        if not _HEAD.size <= offset <= len(data) - 8:
            raise _bad(f"integer at offset {offset}, outside {_HEAD.size} to {len(data)}")
        value = int.from_bytes(data[offset : offset + 8], "little", signed=kind == _INT64)
        if value not in range(*_RANGES[kind]):
            raise _bad(f"boolean at offset {offset} is {value}, neither 0 nor 1")
        return value, 8
    size = int.from_bytes(data[offset : offset + 4], "little")
    end = offset + 4 + size
    if offset < _HEAD.size or end > len(data):
        raise _bad(f"{size} octets at offset {offset}, outside {_HEAD.size} to {len(data)}")
    if kind == _OCTETS:
        return data[offset + 4 : end], 4 + size
    sid = Sid.from_bytes(data, offset + 4, end, "resource attribute: SID")
    if sid.size != size:
        raise _bad(f"SID at offset {offset} has {sid.size} of {size} bytes")
    return sid, 4 + size


def _value_to_bytes(value: Value, kind: int) -> bytes:
    if kind in _RANGES and isinstance(value, int) and value in range(*_RANGES[kind]):
        return value.to_bytes(8, "little", signed=kind == _INT64)
    if kind == _STRING and isinstance(value, str):
        return _terminated(value)
    if kind == _SID and isinstance(value, Sid):
        value = value.to_bytes()
    elif kind != _OCTETS:
        raise _bad(f"{value!r:.100} is no value of type {kind:#06x}")
    if not isinstance(value, bytes):
        raise _bad(f"{value!r:.100} is no value of type {kind:#06x}")
    return len(value).to_bytes(4, "little") + value


def _value_to_text(value: Value) -> str:
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bytes):
        return value.hex()
    return sid_to_text(value) if isinstance(value, Sid) else str(value)


def _value_from_text(text: str, position: int, kind: int, resolve: Callable[[str], Sid]) -> tuple[Value, int]:
    if kind == _STRING:
        return read_string(text, position)
    if kind == _OCTETS:
        return read_octets(text, position)
    if kind == _SID:
        bare = _BARE_SID.match(text, position)
        if bare is None or text.startswith("(", skip_space(text, bare.end())):
            return read_sid(text, position, resolve)
        return resolve(bare[0]), bare.end()
    sign, magnitude, _, after = read_integer(text, position)
    value = -magnitude if sign == "-" else magnitude
    if value not in range(*_RANGES[kind]):
        raise fail(text, position, f"an integer of type {_TYPE_NAMES[kind]}")
    return value, after
