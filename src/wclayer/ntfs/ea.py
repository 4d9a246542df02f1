"""Extended attributes: a list of (name, value, flags) and its one binary form, FILE_FULL_EA_INFORMATION.

The list is chained by offsets, so a hostile one may overlap itself; every offset is checked, and what comes out is
bounded by what went in. Format: MS-FSCC 2.4.16; what is accepted and written is what go-winio's ``ea`` package does.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import NamedTuple

from wclayer.errors import FormatError, LimitError

__all__ = ["FILE_NEED_EA", "ExtendedAttribute", "decode_eas", "encode_eas"]

FILE_NEED_EA = 0x80
"""Flag: a program that does not understand the attributes of this file must not open it."""

_HEAD = Struct("<IBBH")  # next entry offset, flags, name length, value length
_MAX_NAME = 0xFF
_MAX_VALUE = 0xFFFF
_MAX_DECODED = 1 << 24


class ExtendedAttribute(NamedTuple):
    """One extended attribute.

    ``name`` is 0 to 255 bytes in no particular encoding, ``value`` 0 to 65535 bytes, ``flags`` one byte of which only
    FILE_NEED_EA has a meaning.
    """

    name: bytes
    value: bytes
    flags: int = 0


def encode_eas(attributes: Iterable[ExtendedAttribute], *, keep_flags: bool = True) -> bytes:
    """The FILE_FULL_EA_INFORMATION list of ``attributes``, in the order given; ``b""`` for none.

    Every entry, the last included, is padded with zeros to a multiple of 4 bytes. With ``keep_flags`` false the flags
    are written as 0, as go-winio does when it imports a tar. Raises FormatError of kind ``ea-name-too-large`` or
    ``ea-value-too-large``.
    """
    parts: list[bytes] = []
    last = b""
    for name, value, flags in attributes:
        if len(name) > _MAX_NAME:
            raise FormatError(
                f"the name of an extended attribute is {len(name)} bytes long, {_MAX_NAME} is the most",
                kind="ea-name-too-large",
            )
        if len(value) > _MAX_VALUE:
            raise FormatError(
                f"the value of the extended attribute {_shown(name)} is {len(value)} bytes long, {_MAX_VALUE} "
                "is the most",
                kind="ea-value-too-large",
            )
        if last:
            parts.append(len(last).to_bytes(4, "little") + last[4:])
        last = b"%b%b\0%b" % (_HEAD.pack(0, flags if keep_flags else 0, len(name), len(value)), name, value)
        last += bytes(-len(last) % 4)
    parts.append(last)
    return b"".join(parts)


def decode_eas(buffer: bytes) -> tuple[ExtendedAttribute, ...]:
    """The attributes in the FILE_FULL_EA_INFORMATION list ``buffer``.

    Padding after the last entry is optional, entries need not be aligned, the terminator of a name is not looked at,
    and nothing after the last entry is read. An offset that points into its own entry is followed, as go-winio does.
    Raises FormatError of kind ``ea-buffer`` when an entry or an offset reaches beyond the buffer, and LimitError when
    entries overlap so often that far more would come out than went in.
    """
    attributes: list[ExtendedAttribute] = []
    position = 0
    end = len(buffer)
    limit = max(end, _MAX_DECODED)
    decoded = 0
    while position < end:
        left = end - position
        if left < _HEAD.size:
            raise _broken(position, f"its head is cut off after {left} bytes")
        following, flags, name_length, value_length = _HEAD.unpack_from(buffer, position)
        size = 9 + name_length + value_length
        if size > left:
            raise _broken(position, f"it claims {size} bytes where {left} are left")
        if following > left:
            raise _broken(position, f"the next one is claimed at {following} where {left} bytes are left")
        decoded += size
        if decoded > limit:
            raise LimitError(f"overlapping extended attributes hold more than {limit} bytes")
        start = position + 8
        value = position + 9 + name_length
        attributes.append(
            ExtendedAttribute(
                bytes(buffer[start : start + name_length]), bytes(buffer[value : value + value_length]), flags
            )
        )
        if not following:
            break
        position += following
    return tuple(attributes)


def _broken(position: int, reason: str) -> FormatError:
    return FormatError(f"invalid extended attribute buffer: the entry at byte {position}: {reason}", kind="ea-buffer")


def _shown(name: bytes) -> str:
    return repr(name)[1:]
