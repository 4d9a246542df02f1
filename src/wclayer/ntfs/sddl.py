"""SDDL is a security descriptor as one line of text: ``O:BAG:SYD:P(A;;FA;;;SY)(A;OICI;0x1200a9;;;BU)``.

:func:`to_sddl` writes the spelling Windows itself writes, :func:`from_sddl` reads every spelling of MS-DTYP 2.5.1 and
the liberties Windows takes (case, white space, numbers in other bases). The values between them are those of
:mod:`wclayer.ntfs.security`.
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from wclayer.errors import FormatError, UnsupportedError
from wclayer.ntfs import security
from wclayer.ntfs.sddl_conditions import SIGNATURE, condition_from_text, condition_to_text
from wclayer.ntfs.sddl_literals import expect, fail, skip_space
from wclayer.ntfs.sddl_resources import ResourceAttribute, attribute_from_text, attribute_to_text
from wclayer.ntfs.security import CALLBACK_ACE_TYPES, OBJECT_ACE_TYPES, Ace, AceType, Acl, AnyAce, SecurityDescriptor
from wclayer.ntfs.sid import Sid
from wclayer.ntfs.well_known import SidResolver, rights_from_text, rights_to_text, sid_to_text

__all__ = ["from_sddl", "to_sddl"]

_TYPES: Final = {
    "A": AceType.ACCESS_ALLOWED,
    "D": AceType.ACCESS_DENIED,
    "AU": AceType.SYSTEM_AUDIT,
    "AL": AceType.SYSTEM_ALARM,
    "OA": AceType.ACCESS_ALLOWED_OBJECT,
    "OD": AceType.ACCESS_DENIED_OBJECT,
    "OU": AceType.SYSTEM_AUDIT_OBJECT,
    "OL": AceType.SYSTEM_ALARM_OBJECT,
    "XA": AceType.ACCESS_ALLOWED_CALLBACK,
    "XD": AceType.ACCESS_DENIED_CALLBACK,
    "ZA": AceType.ACCESS_ALLOWED_CALLBACK_OBJECT,
    "XU": AceType.SYSTEM_AUDIT_CALLBACK,
    "ML": AceType.SYSTEM_MANDATORY_LABEL,
    "RA": AceType.SYSTEM_RESOURCE_ATTRIBUTE,
    "SP": AceType.SYSTEM_SCOPED_POLICY_ID,
    "TL": AceType.SYSTEM_PROCESS_TRUST_LABEL,
    "FL": AceType.SYSTEM_ACCESS_FILTER,
}
_TYPE_NAMES: Final = {int(kind): name for name, kind in _TYPES.items()}

# In the order Windows writes them. TP is what bit 0x40 means on an access filter.
_FLAGS: Final = {"OI": 0x01, "CI": 0x02, "NP": 0x04, "IO": 0x08, "ID": 0x10, "CR": 0x20, "SA": 0x40, "FA": 0x80}
_FILTER_FLAGS: Final = {**{name: bit for name, bit in _FLAGS.items() if name != "SA"}, "TP": 0x40}
_FLAG_BITS: Final = _FLAGS | _FILTER_FLAGS

_NULL_ACL: Final = "NO_ACCESS_CONTROL"
_DACL_CONTROL: Final = {
    "P": security.DACL_PROTECTED,
    "AR": security.DACL_AUTO_INHERIT_REQUIRED,
    "AI": security.DACL_AUTO_INHERITED,
    _NULL_ACL: security.DACL_PRESENT,
}
_SACL_CONTROL: Final = {
    "P": security.SACL_PROTECTED,
    "AR": security.SACL_AUTO_INHERIT_REQUIRED,
    "AI": security.SACL_AUTO_INHERITED,
    _NULL_ACL: security.SACL_PRESENT,
}

_SECTION: Final = re.compile(r"([OGDS]):[ \t\r\n]*")
# A hexadecimal digit D before a colon is the next section, not a part of the SID.
_SID: Final = re.compile(r"[Ss]-(?:0[xX][0-9a-fA-F]+(?!:)|[0-9-]){1,300}|[A-Za-z]{2}")
_ACL_FLAG: Final = re.compile(r"[ \t\r\n]*(NO_ACCESS_CONTROL|AR|AI|P)")
_ACE: Final = re.compile(r"\(" + ";".join([r"([^;()\"]*)"] * 6) + r"([;)])")
_GUID: Final = re.compile(r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")


def to_sddl(descriptor: SecurityDescriptor | bytes) -> str:
    """Write a descriptor (or its self-relative bytes) as SDDL, owner, group, DACL, SACL.

    SDDL has no words for the defaulted bits, the resource manager's byte, or bytes behind the SID of an entry whose
    kind defines none; they are left out, as Windows leaves them out. An absent list has no section, an empty one an
    empty section, a NULL one ``NO_ACCESS_CONTROL``. Raises FormatError for broken bytes, conditions and attributes,
    UnsupportedError for an entry SDDL cannot express, LimitError for a condition nested too deep.
    """
    if not isinstance(descriptor, SecurityDescriptor):
        descriptor = security.parse(descriptor)
    parts = []
    if descriptor.owner is not None:
        parts.append(f"O:{sid_to_text(descriptor.owner)}")
    if descriptor.group is not None:
        parts.append(f"G:{sid_to_text(descriptor.group)}")
    for letter, present, acl, words in (
        ("D", descriptor.has_dacl, descriptor.dacl, _DACL_CONTROL),
        ("S", descriptor.has_sacl, descriptor.sacl, _SACL_CONTROL),
    ):
        if not present:
            continue
        flags = "".join(word for word in ("P", "AR", "AI") if descriptor.control & words[word])
        aces = _NULL_ACL if acl is None else "".join(map(_ace_to_text, acl.aces))
        parts.append(f"{letter}:{flags}{aces}")
    return "".join(parts)


def from_sddl(
    text: str, *, domain_sid: Sid | str | None = None, machine_sid: Sid | str | None = None
) -> SecurityDescriptor:
    """Read SDDL. Sections may come in any order, each at most once.

    Aliases such as DA or LA stand for accounts of a domain or of one machine: give its SID, or FormatError says that
    they cannot be resolved elsewhere. (EA, SA, RO and EK belong to the root domain; they too take ``domain_sid``.) An
    OA entry with neither GUID becomes A, as on Windows. Raises FormatError with the place, LimitError for a condition
    nested too deep.
    """
    resolve = SidResolver(_sid_argument(domain_sid), _sid_argument(machine_sid))
    sids: dict[str, Sid] = {}
    acls: dict[str, Acl | None] = {}
    control = security.SELF_RELATIVE
    position = skip_space(text, 0)
    while position < len(text):
        section = _SECTION.match(text, position)
        if section is None:
            raise fail(text, position, "O:, G:, D: or S:")
        letter, start = section[1], section.end()
        if letter in sids or letter in acls:
            raise fail(text, position, f"one {letter}: section only")
        if letter in "OG":
            found = _SID.match(text, start)
            if found is None:
                raise fail(text, start, "a SID")
            sids[letter], position = resolve(found[0]), found.end()
        else:
            acls[letter], bits, position = _acl_from_text(text, start, letter, resolve)
            control |= bits
        position = skip_space(text, position)
    return SecurityDescriptor(sids.get("O"), sids.get("G"), acls.get("D"), acls.get("S"), control)


def _sid_argument(sid: Sid | str | None) -> Sid | None:
    return Sid.from_text(sid) if isinstance(sid, str) else sid


def _ace_to_text(ace: AnyAce) -> str:
    name = _TYPE_NAMES.get(ace.type)
    if name is None or not isinstance(ace, Ace):
        raise UnsupportedError(f"SDDL cannot express an access control entry of type {ace.type:#04x}")
    words = _FILTER_FLAGS if ace.type == AceType.SYSTEM_ACCESS_FILTER else _FLAGS
    fields = [
        name,
        "".join(word for word, bit in words.items() if ace.flags & bit),
        rights_to_text(ace.mask, label=ace.type == AceType.SYSTEM_MANDATORY_LABEL),
        str(ace.object_type or ""),
        str(ace.inherited_object_type or ""),
        sid_to_text(ace.sid),
    ]
    if ace.type == AceType.SYSTEM_RESOURCE_ATTRIBUTE:
        fields.append(attribute_to_text(ResourceAttribute.from_bytes(ace.application_data)))
    elif ace.type in CALLBACK_ACE_TYPES or (ace.type == AceType.SYSTEM_ACCESS_FILTER and ace.application_data):
        if not ace.application_data.startswith(SIGNATURE):
            raise UnsupportedError(f"SDDL cannot express a {name} entry without a condition")
        fields.append(condition_to_text(ace.application_data))
    return f"({';'.join(fields)})"


def _acl_from_text(text: str, position: int, letter: str, resolve: SidResolver) -> tuple[Acl | None, int, int]:
    """The list of one section (None for NULL), its control bits, and the position after it."""
    words = _DACL_CONTROL if letter == "D" else _SACL_CONTROL
    bits = 0
    is_null = False
    while (found := _ACL_FLAG.match(text, position)) is not None:
        bits |= words[found[1]]
        is_null = is_null or found[1] == _NULL_ACL
        position = found.end()
    aces: list[Ace] = []
    position = skip_space(text, position)
    while text.startswith("(", position):
        ace, position = _ace_from_text(text, position, resolve)
        aces.append(ace)
        position = skip_space(text, position)
    if is_null and aces:
        raise FormatError(f"SDDL section {letter}: has entries beside {_NULL_ACL}", kind="sddl")
    return (None if is_null else Acl(tuple(aces))), bits, position


def _ace_from_text(text: str, position: int, resolve: SidResolver) -> tuple[Ace, int]:
    found = _ACE.match(text, position)
    if found is None:
        raise fail(text, position, "an entry (type;flags;rights;object;inherited object;sid)")
    fields = [field.strip() for field in found.groups()]
    kind = _TYPES.get(fields[0].upper())
    if kind is None:
        raise fail(text, found.start(1), "an entry type")
    flags = _flags_from_text(text, found.start(2), fields[1])
    mask = rights_from_text(fields[2])
    object_type, inherited = _guid(text, found.start(4), fields[3]), _guid(text, found.start(5), fields[4])
    if kind not in OBJECT_ACE_TYPES and (object_type or inherited):
        raise fail(text, found.start(4), f"no GUID in an entry of type {fields[0]}")
    if kind == AceType.ACCESS_ALLOWED_OBJECT and object_type is None and inherited is None:
        kind = AceType.ACCESS_ALLOWED
    if not fields[5]:
        raise fail(text, found.start(6), "a SID")
    sid = resolve(fields[5])
    data, position = b"", found.end()
    if found[7] == ";":
        data, position = _data_from_text(text, position, kind, resolve)
        position = expect(text, position, ")")
    elif kind in CALLBACK_ACE_TYPES or kind == AceType.SYSTEM_RESOURCE_ATTRIBUTE:
        raise fail(text, position - 1, f"the seventh field of an entry of type {fields[0]}")
    return Ace(int(kind), flags, mask, sid, data, object_type, inherited), position


def _data_from_text(text: str, position: int, kind: int, resolve: SidResolver) -> tuple[bytes, int]:
    if kind == AceType.SYSTEM_RESOURCE_ATTRIBUTE:
        attribute, position = attribute_from_text(text, position, resolve)
        return attribute.to_bytes(), position
    if kind in CALLBACK_ACE_TYPES or kind == AceType.SYSTEM_ACCESS_FILTER:
        return condition_from_text(text, position, resolve)
    raise fail(text, position, "the end of the entry")


def _flags_from_text(text: str, position: int, field: str) -> int:
    flags = 0
    for start in range(0, len(field), 2):
        bit = _FLAG_BITS.get(field[start : start + 2].upper())
        if bit is None:
            raise fail(text, position + start, "an entry flag (OI, CI, NP, IO, ID, CR, SA, FA, TP)")
        flags |= bit
    return flags


def _guid(text: str, position: int, field: str) -> UUID | None:
    if not field:
        return None
    if not _GUID.fullmatch(field):
        raise fail(text, position, "a GUID")
    return UUID(field)
