"""SDDL names some SIDs and some access masks with two letters; these are the names and what they stand for.

SID aliases: MS-DTYP 2.5.1.1 and sddl.h of the Windows SDK. Aliases that are relative to a domain or to the machine
stand for nothing by themselves: they resolve only when the SID they are relative to is given.

Rights: MS-DTYP 2.5.1.1. A mask is written as one name where a name means exactly this mask, else as the names of its
bits where every bit has one, else in hexadecimal, as Windows does.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from wclayer.errors import FormatError
from wclayer.ntfs.sid import Sid

__all__ = ["SidResolver", "rights_from_text", "rights_to_text", "sid_to_text"]

_BUILTIN_RIDS: Final = {
    "AA": 579, "AO": 548, "BA": 544, "BG": 546, "BO": 551, "BU": 545, "CD": 574, "CY": 569, "ER": 573, "ES": 576,
    "HA": 578, "IS": 568, "LU": 559, "MS": 577, "MU": 558, "NO": 556, "PO": 550, "PU": 547, "RA": 575, "RD": 555,
    "RE": 552, "RM": 580, "RU": 554, "SO": 549,
}  # fmt: skip
_NT_AUTHORITY_RIDS: Final = {
    "AN": 7, "AU": 11, "ED": 9, "IU": 4, "LS": 19, "NS": 20, "NU": 2, "PS": 10, "RC": 12, "SU": 6, "SY": 18, "WR": 33,
}  # fmt: skip
_INTEGRITY_RIDS: Final = {"LW": 4096, "ME": 8192, "MP": 8448, "HI": 12288, "SI": 16384}

_WRITTEN: Final = {
    "WD": Sid(1, (0,)),
    "CO": Sid(3, (0,)),
    "CG": Sid(3, (1,)),
    "OW": Sid(3, (4,)),
    "AC": Sid(15, (2, 1)),
    "AS": Sid(18, (1,)),
    "SS": Sid(18, (2,)),
    "UD": Sid(5, (84, 0, 0, 0, 0, 0)),
    **{name: Sid(5, (32, rid)) for name, rid in _BUILTIN_RIDS.items()},
    **{name: Sid(5, (rid,)) for name, rid in _NT_AUTHORITY_RIDS.items()},
    **{name: Sid(16, (rid,)) for name, rid in _INTEGRITY_RIDS.items()},
}
# Newer than the Windows releases that must read what is written here, so understood but not written.
_READ_ONLY: Final = {"HO": Sid(5, (32, 584)), "SH": Sid(5, (32, 585))}

_ALIASES: Final = _WRITTEN | _READ_ONLY
_NAMES: Final = {sid: name for name, sid in _WRITTEN.items()}

_DOMAIN_RIDS: Final = {
    "AP": 525, "CA": 517, "CN": 522, "DA": 512, "DC": 515, "DD": 516, "DG": 514, "DU": 513, "EA": 519, "EK": 527,
    "KA": 526, "PA": 520, "RO": 498, "RS": 553, "SA": 518,
}  # fmt: skip
_MACHINE_RIDS: Final = {"LA": 500, "LG": 501}

# In the order of the bits, which is the order Windows writes them in.
_BITS: Final = {
    "CC": 0x1, "DC": 0x2, "LC": 0x4, "SW": 0x8, "RP": 0x10, "WP": 0x20, "DT": 0x40, "LO": 0x80, "CR": 0x100,
    "SD": 0x10000, "RC": 0x20000, "WD": 0x40000, "WO": 0x80000,
    "GA": 0x10000000, "GX": 0x20000000, "GW": 0x40000000, "GR": 0x80000000,
}  # fmt: skip
_WHOLE: Final = {
    "FA": 0x1F01FF, "FR": 0x120089, "FW": 0x120116, "FX": 0x1200A0, "KA": 0xF003F, "KR": 0x20019, "KW": 0x20006,
}  # fmt: skip
_LABEL_BITS: Final = {"NW": 1, "NR": 2, "NX": 4}
_RIGHTS: Final = _BITS | _WHOLE | _LABEL_BITS | {"KX": 0x20019}
_WHOLE_NAMES: Final = {mask: name for name, mask in _WHOLE.items()}

_NUMBER: Final = re.compile(r"0[xX][0-9a-fA-F]{1,16}|[0-9]{1,20}")


def sid_to_text(sid: Sid) -> str:
    """The alias of a SID that means the same everywhere, else ``S-1-…``."""
    return _NAMES.get(sid) or str(sid)


@dataclass(frozen=True, slots=True)
class SidResolver:
    """Turns the SID texts of SDDL into SIDs. The two SIDs are what relative aliases are relative to, if known."""

    domain: Sid | None = None
    machine: Sid | None = None

    def __call__(self, text: str) -> Sid:
        """Read an alias or ``S-1-…``, in any case; FormatError if it is neither, or relative to an unknown SID."""
        alias = text.upper()
        if (sid := _ALIASES.get(alias)) is not None:
            return sid
        for rids, base, what in ((_DOMAIN_RIDS, self.domain, "domain"), (_MACHINE_RIDS, self.machine, "machine")):
            if (rid := rids.get(alias)) is None:
                continue
            if base is None:
                raise FormatError(
                    f"SID alias {alias} depends on the {what} and cannot be resolved elsewhere",
                    kind="sddl",
                    hint=f"give the {what} SID or write the SID as S-1-5-21-…-{rid}",
                )
            return Sid(base.authority, (*base.sub_authorities, rid))
        if not alias.startswith("S-"):
            raise FormatError(f"{text[:200]!r} is neither a SID nor a SID alias", kind="sddl")
        return Sid.from_text(text)


def rights_to_text(mask: int, *, label: bool = False) -> str:
    """An access mask as SDDL writes it; ``label`` for the mask of a mandatory label, which has names of its own."""
    if not label and (name := _WHOLE_NAMES.get(mask)) is not None:
        return name
    bits = _LABEL_BITS if label else _BITS
    if mask & ~sum(bits.values()):
        return f"{mask:#x}"
    return "".join(name for name, bit in bits.items() if mask & bit)


def rights_from_text(text: str) -> int:
    """Read names, or a hexadecimal, octal (leading 0) or decimal number; empty is 0. Raises FormatError."""
    if _NUMBER.fullmatch(text):
        digits = text.lower()
        base = 16 if digits.startswith("0x") else 8 if digits.startswith("0") else 10
        try:
            mask = int(digits, base)
        except ValueError as error:
            raise FormatError(f"access mask {text} is not octal", kind="sddl") from error
        if mask >= 1 << 32:
            raise FormatError(f"access mask {text} has more than 32 bits", kind="sddl")
        return mask
    mask = 0
    for chunk in text.upper().split():
        for start in range(0, len(chunk), 2):
            right = _RIGHTS.get(chunk[start : start + 2])
            if right is None:
                raise FormatError(f"{chunk[start : start + 2]!r} is not an access right", kind="sddl")
            mask |= right
    return mask
