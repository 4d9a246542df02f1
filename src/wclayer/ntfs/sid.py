"""A security identifier is an authority and a path below it: ``S-1-5-32-544``.

Text and binary forms: MS-DTYP 2.4.2.1 and 2.4.2.2. Everything little-endian but the authority, which is big-endian.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Final

from wclayer.errors import FormatError

__all__ = ["MAX_SUB_AUTHORITIES", "Sid"]

MAX_SUB_AUTHORITIES: Final = 15

_SID_TEXT: Final = re.compile(
    r"[Ss]-1-(0[xX][0-9a-fA-F]{1,12}|[0-9]{1,15})"
    r"((?:-(?:0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}))*)"
)


@dataclass(frozen=True, slots=True)
class Sid:
    """A security identifier: who. ``authority`` has 48 bits, each of up to 15 ``sub_authorities`` 32."""

    authority: int
    sub_authorities: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.authority < 1 << 48:
            raise _bad(f"SID authority {self.authority} does not fit into 48 bits")
        if len(self.sub_authorities) > MAX_SUB_AUTHORITIES:
            raise _bad(
                f"SID with {len(self.sub_authorities)} sub-authorities, at most {MAX_SUB_AUTHORITIES} are allowed"
            )
        if any(not 0 <= part < 1 << 32 for part in self.sub_authorities):
            raise _bad(f"SID sub-authority out of 32 bits in {self.sub_authorities}")

    @classmethod
    def from_text(cls, text: str) -> Sid:
        """Read ``S-1-5-32-544``; authority and sub-authorities may be hexadecimal (MS-DTYP 2.4.2.1)."""
        found = _SID_TEXT.fullmatch(text)
        if found is None:
            raise _bad(f"{text[:200]!r} is not a SID")
        return cls(_number(found[1]), tuple(_number(part) for part in found[2].split("-")[1:]))

    def __str__(self) -> str:
        """``S-1-…``; an authority of 2**32 or more in hexadecimal, as Windows writes it."""
        authority = str(self.authority) if self.authority < 1 << 32 else f"0x{self.authority:X}"
        return "-".join(("S-1", authority, *map(str, self.sub_authorities)))

    def to_bytes(self) -> bytes:
        """The binary form (MS-DTYP 2.4.2.2)."""
        count = len(self.sub_authorities)
        return struct.pack(f"<BB6s{count}I", 1, count, self.authority.to_bytes(6, "big"), *self.sub_authorities)

    @classmethod
    def from_bytes(cls, data: bytes, offset: int = 0, end: int | None = None, what: str = "SID") -> Sid:
        """Read the SID that starts at ``offset`` and must lie before ``end``; ``what`` names it in errors."""
        end = len(data) if end is None else end
        if offset + 8 > end:
            raise _bad(f"{what} at offset {offset}: {max(end - offset, 0)} bytes left, a SID has at least 8")
        revision, count = data[offset], data[offset + 1]
        if revision != 1:
            raise _bad(f"{what} at offset {offset}: SID revision {revision}, expected 1")
        if count > MAX_SUB_AUTHORITIES:
            raise _bad(f"{what} at offset {offset}: {count} sub-authorities, at most {MAX_SUB_AUTHORITIES} are allowed")
        if offset + 8 + 4 * count > end:
            raise _bad(f"{what} at offset {offset}: {count} sub-authorities do not fit before offset {end}")
        authority = int.from_bytes(data[offset + 2 : offset + 8], "big")
        return cls(authority, struct.unpack_from(f"<{count}I", data, offset + 8))

    @property
    def size(self) -> int:
        """Bytes of the binary form."""
        return 8 + 4 * len(self.sub_authorities)


def _bad(message: str) -> FormatError:
    return FormatError(message, kind="security-descriptor")


def _number(text: str) -> int:
    return int(text, 16) if text[:2] in ("0x", "0X") else int(text)
