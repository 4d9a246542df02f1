"""A security descriptor is four parts behind a 20-byte head: owner, group, DACL, SACL, in any order in memory.

:func:`parse` takes the self-relative bytes apart into values, :func:`build` puts values together again, and a
descriptor laid out the usual way (no gaps) comes back byte for byte when built in the order it had. Two
orders are met in the field: owner first, as NTFS hands descriptors out, and ACLs first, as Windows makes them of SDDL.

Three states of an ACL are kept apart: absent (nothing said), NULL (present bit set, no list: everybody may do
everything) and empty (a list that grants nothing).

Structures: MS-DTYP 2.4.4 (ACE), 2.4.5 (ACL), 2.4.6 (SECURITY_DESCRIPTOR). Little-endian.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Final, Literal, TypeAlias
from uuid import UUID

from wclayer.errors import FormatError
from wclayer.ntfs.sid import Sid

__all__ = [
    "CALLBACK_ACE_TYPES",
    "DACL_AUTO_INHERITED",
    "DACL_AUTO_INHERIT_REQUIRED",
    "DACL_DEFAULTED",
    "DACL_PRESENT",
    "DACL_PROTECTED",
    "GROUP_DEFAULTED",
    "OBJECT_ACE_TYPES",
    "OWNER_DEFAULTED",
    "RM_CONTROL_VALID",
    "SACL_AUTO_INHERITED",
    "SACL_AUTO_INHERIT_REQUIRED",
    "SACL_DEFAULTED",
    "SACL_PRESENT",
    "SACL_PROTECTED",
    "SELF_RELATIVE",
    "Ace",
    "AceType",
    "Acl",
    "AnyAce",
    "Order",
    "RawAce",
    "SecurityDescriptor",
    "Sid",
    "build",
    "order_of",
    "parse",
    "validate",
]

# SECURITY_DESCRIPTOR_CONTROL bits, MS-DTYP 2.4.6.
OWNER_DEFAULTED: Final = 0x0001
GROUP_DEFAULTED: Final = 0x0002
DACL_PRESENT: Final = 0x0004
DACL_DEFAULTED: Final = 0x0008
SACL_PRESENT: Final = 0x0010
SACL_DEFAULTED: Final = 0x0020
DACL_AUTO_INHERIT_REQUIRED: Final = 0x0100
SACL_AUTO_INHERIT_REQUIRED: Final = 0x0200
DACL_AUTO_INHERITED: Final = 0x0400
SACL_AUTO_INHERITED: Final = 0x0800
DACL_PROTECTED: Final = 0x1000
SACL_PROTECTED: Final = 0x2000
RM_CONTROL_VALID: Final = 0x4000
SELF_RELATIVE: Final = 0x8000

Order: TypeAlias = Literal["owner-first", "acl-first"]
"""Where the parts lie: owner, group, DACL, SACL (NTFS), or SACL, DACL, owner, group (made from SDDL)."""


class AceType(IntEnum):
    """The AceType byte (MS-DTYP 2.4.4.1)."""

    ACCESS_ALLOWED = 0x00
    ACCESS_DENIED = 0x01
    SYSTEM_AUDIT = 0x02
    SYSTEM_ALARM = 0x03
    ACCESS_ALLOWED_COMPOUND = 0x04
    ACCESS_ALLOWED_OBJECT = 0x05
    ACCESS_DENIED_OBJECT = 0x06
    SYSTEM_AUDIT_OBJECT = 0x07
    SYSTEM_ALARM_OBJECT = 0x08
    ACCESS_ALLOWED_CALLBACK = 0x09
    ACCESS_DENIED_CALLBACK = 0x0A
    ACCESS_ALLOWED_CALLBACK_OBJECT = 0x0B
    ACCESS_DENIED_CALLBACK_OBJECT = 0x0C
    SYSTEM_AUDIT_CALLBACK = 0x0D
    SYSTEM_ALARM_CALLBACK = 0x0E
    SYSTEM_AUDIT_CALLBACK_OBJECT = 0x0F
    SYSTEM_ALARM_CALLBACK_OBJECT = 0x10
    SYSTEM_MANDATORY_LABEL = 0x11
    SYSTEM_RESOURCE_ATTRIBUTE = 0x12
    SYSTEM_SCOPED_POLICY_ID = 0x13
    SYSTEM_PROCESS_TRUST_LABEL = 0x14
    SYSTEM_ACCESS_FILTER = 0x15


OBJECT_ACE_TYPES: Final = frozenset((0x05, 0x06, 0x07, 0x08, 0x0B, 0x0C, 0x0F, 0x10))
CALLBACK_ACE_TYPES: Final = frozenset(range(0x09, 0x11))

_COMPOUND: Final = int(AceType.ACCESS_ALLOWED_COMPOUND)
_LAST_TYPE: Final = int(AceType.SYSTEM_ACCESS_FILTER)

_HEAD: Final = struct.Struct("<BBHIIII")  # revision, resource manager control, control, owner, group, SACL, DACL
_ACL_HEAD: Final = struct.Struct("<BBHHH")  # revision, 0, size, count, 0
_ACE_HEAD: Final = struct.Struct("<BBH")  # type, flags, size
_DWORD: Final = struct.Struct("<I")
_OBJECT_TYPE_PRESENT: Final = 1
_INHERITED_OBJECT_TYPE_PRESENT: Final = 2


@dataclass(frozen=True, slots=True)
class Ace:
    """One access control entry of a kind that names a SID: all of MS-DTYP 2.4.4 but the compound one.

    ``type`` is an :class:`AceType` value, ``flags`` the AceFlags byte, ``mask`` the 32-bit access mask.
    ``application_data`` is whatever follows the SID: a condition, a resource attribute, or nothing.
    ``object_type`` and ``inherited_object_type`` belong to the kinds in :data:`OBJECT_ACE_TYPES`; None is absent.
    """

    type: int
    flags: int
    mask: int
    sid: Sid
    application_data: bytes = b""
    object_type: UUID | None = None
    inherited_object_type: UUID | None = None


@dataclass(frozen=True, slots=True)
class RawAce:
    """An entry kept as it is: the compound kind, kinds MS-DTYP does not name, object kinds with unknown flags.

    ``body`` is everything after the 4-byte ACE_HEADER.
    """

    type: int
    flags: int
    body: bytes


AnyAce: TypeAlias = Ace | RawAce


@dataclass(frozen=True, slots=True)
class Acl:
    """An access control list.

    ``revision`` is 2, or 4 where object entries occur; None picks the right one. ``slack`` is room behind the last
    entry that the list's size covers; Windows leaves some when it replaces an object entry by a plain one.
    """

    aces: tuple[AnyAce, ...] = ()
    revision: int | None = None
    slack: bytes = b""

    def __post_init__(self) -> None:
        if self.revision is None:
            has_object = any(ace.type in OBJECT_ACE_TYPES for ace in self.aces)
            object.__setattr__(self, "revision", 4 if has_object else 2)


@dataclass(frozen=True, slots=True)
class SecurityDescriptor:
    """Who owns an object and who may do what with it.

    ``dacl`` is None both when absent and when NULL; :attr:`has_dacl` tells them apart (the same holds for ``sacl``).
    ``control`` always has SELF_RELATIVE set, and the present bit of a list that is there. ``rm_control`` is the
    resource manager's byte (Sbz1), nearly always 0.
    """

    owner: Sid | None = None
    group: Sid | None = None
    dacl: Acl | None = None
    sacl: Acl | None = None
    control: int = SELF_RELATIVE
    rm_control: int = 0

    def __post_init__(self) -> None:
        control = self.control | SELF_RELATIVE
        if self.dacl is not None:
            control |= DACL_PRESENT
        if self.sacl is not None:
            control |= SACL_PRESENT
        object.__setattr__(self, "control", control)

    @property
    def has_dacl(self) -> bool:
        """Whether there is a DACL at all; with ``dacl`` None it is the NULL DACL."""
        return bool(self.control & DACL_PRESENT)

    @property
    def has_sacl(self) -> bool:
        """Whether there is a SACL at all; with ``sacl`` None it is the NULL SACL."""
        return bool(self.control & SACL_PRESENT)


def parse(data: bytes) -> SecurityDescriptor:
    """Take a self-relative descriptor apart.

    Tolerated as Windows tolerates them: gaps between the parts, a list whose present bit is clear (ignored).
    Raises FormatError for anything that does not lie inside ``data`` or contradicts itself.
    """
    return _parse(data, strict=False)


def validate(data: bytes) -> None:
    """Raise FormatError, saying what and where, unless ``data`` is a descriptor as careful writers make them.

    Beyond :func:`parse`: parts aligned to 4 bytes and not overlapping, reserved bytes zero, entry sizes multiples of
    4, list revisions that fit the entries, no list behind a clear present bit.
    """
    _parse(data, strict=True)


def order_of(data: bytes) -> Order:
    """Which of the two memory orders ``data`` has; ``owner-first`` if it has neither, or too few parts to tell."""
    _, _, owner, group, sacl, dacl = _head(data)
    owner_first, acl_first = (
        [offset for offset in order if offset] for order in ((owner, group, dacl, sacl), (sacl, dacl, owner, group))
    )
    return "acl-first" if acl_first == sorted(acl_first) and owner_first != sorted(owner_first) else "owner-first"


def build(descriptor: SecurityDescriptor, order: Order = "owner-first") -> bytes:
    """Put a descriptor together in the given memory order, without gaps.

    Raises FormatError when a value does not fit its field (an ACL holds at most 65535 bytes).
    """
    owner = b"" if descriptor.owner is None else descriptor.owner.to_bytes()
    group = b"" if descriptor.group is None else descriptor.group.to_bytes()
    dacl = b"" if descriptor.dacl is None else _build_acl(descriptor.dacl, "DACL")
    sacl = b"" if descriptor.sacl is None else _build_acl(descriptor.sacl, "SACL")
    body = bytearray()

    def place(part: bytes) -> int:
        offset = _HEAD.size + len(body) if part else 0
        body.extend(part)
        return offset

    if order == "owner-first":
        owner_at, group_at, dacl_at, sacl_at = place(owner), place(group), place(dacl), place(sacl)
    else:
        sacl_at, dacl_at, owner_at, group_at = place(sacl), place(dacl), place(owner), place(group)
    try:
        head = _HEAD.pack(1, descriptor.rm_control, descriptor.control, owner_at, group_at, sacl_at, dacl_at)
    except struct.error as error:
        raise _bad(f"control {descriptor.control:#x} or resource manager byte out of range") from error
    return head + bytes(body)


def _bad(message: str) -> FormatError:
    return FormatError(message, kind="security-descriptor")


def _head(data: bytes) -> tuple[int, int, int, int, int, int]:
    if len(data) < _HEAD.size:
        raise _bad(f"security descriptor of {len(data)} bytes, the head alone has {_HEAD.size}")
    revision, rm_control, control, owner, group, sacl, dacl = _HEAD.unpack_from(data)
    if revision != 1:
        raise _bad(f"security descriptor revision {revision}, expected 1")
    if not control & SELF_RELATIVE:
        raise _bad(f"security descriptor is not self-relative (control {control:#06x})")
    return rm_control, control, owner, group, sacl, dacl


def _parse(data: bytes, *, strict: bool) -> SecurityDescriptor:
    data = bytes(data)
    rm_control, control, owner_at, group_at, sacl_at, dacl_at = _head(data)
    parts = (("owner", owner_at), ("group", group_at), ("SACL", sacl_at), ("DACL", dacl_at))
    for what, offset in parts:
        if offset and not _HEAD.size <= offset < len(data):
            raise _bad(f"{what} at offset {offset}, outside {_HEAD.size} to {len(data)}")
        if strict and offset % 4:
            raise _bad(f"{what} at offset {offset}, which is not a multiple of 4")
    if strict:
        _check_head(rm_control, control, sacl_at, dacl_at)
    owner = Sid.from_bytes(data, owner_at, what="owner") if owner_at else None
    group = Sid.from_bytes(data, group_at, what="group") if group_at else None
    dacl = _parse_acl(data, dacl_at, "DACL", strict=strict) if dacl_at and control & DACL_PRESENT else None
    sacl = _parse_acl(data, sacl_at, "SACL", strict=strict) if sacl_at and control & SACL_PRESENT else None
    if strict:
        _check_overlap(data, parts, owner, group)
    return SecurityDescriptor(owner, group, dacl, sacl, control, rm_control)


def _check_head(rm_control: int, control: int, sacl_at: int, dacl_at: int) -> None:
    if rm_control and not control & RM_CONTROL_VALID:
        raise _bad(f"reserved byte at offset 1 is {rm_control:#04x}, expected 0")
    for what, offset, present in (("SACL", sacl_at, SACL_PRESENT), ("DACL", dacl_at, DACL_PRESENT)):
        if offset and not control & present:
            raise _bad(f"{what} at offset {offset}, but its present bit is clear (control {control:#06x})")


def _check_overlap(data: bytes, parts: tuple[tuple[str, int], ...], owner: Sid | None, group: Sid | None) -> None:
    sizes = {"owner": owner.size if owner else 0, "group": group.size if group else 0}
    spans = sorted(
        (offset, offset + (sizes[what] if what in sizes else _ACL_HEAD.unpack_from(data, offset)[2]), what)
        for what, offset in parts
        if offset
    )
    for (_, end, first), (start, _, second) in pairwise(spans):
        if start < end:
            raise _bad(f"{second} at offset {start} lies inside the {first}, which ends at {end}")


def _parse_acl(data: bytes, offset: int, what: str, *, strict: bool) -> Acl:
    if offset + _ACL_HEAD.size > len(data):
        raise _bad(f"{what} at offset {offset}: {len(data) - offset} bytes left, a list has at least {_ACL_HEAD.size}")
    revision, reserved, size, count, reserved2 = _ACL_HEAD.unpack_from(data, offset)
    if revision not in (2, 3, 4):
        raise _bad(f"{what} at offset {offset}: revision {revision}, expected 2 or 4")
    if size < _ACL_HEAD.size or offset + size > len(data):
        raise _bad(f"{what} at offset {offset}: size {size} is not within 8 and {len(data) - offset}")
    if strict and (reserved or reserved2 or size % 4):
        raise _bad(f"{what} at offset {offset}: reserved bytes not zero or size {size} not a multiple of 4")
    position, end = offset + _ACL_HEAD.size, offset + size
    aces: list[AnyAce] = []
    for index in range(count):
        where = f"{what} entry {index} of {count} at offset {position}"
        if position + _ACE_HEAD.size > end:
            raise _bad(f"{where}: {end - position} bytes left, an entry has at least {_ACE_HEAD.size}")
        kind, flags, ace_size = _ACE_HEAD.unpack_from(data, position)
        if ace_size < _ACE_HEAD.size or position + ace_size > end:
            raise _bad(f"{where}: size {ace_size} is not within 4 and {end - position}")
        if strict and ace_size % 4:
            raise _bad(f"{where}: size {ace_size} is not a multiple of 4")
        if strict and kind in OBJECT_ACE_TYPES and revision < 4:
            raise _bad(f"{where}: object entry (type {kind:#04x}) in a list of revision {revision}, needs 4")
        aces.append(_parse_ace(data, position + _ACE_HEAD.size, position + ace_size, kind, flags, where))
        position += ace_size
    return Acl(tuple(aces), revision, data[position:end])


def _parse_ace(data: bytes, start: int, end: int, kind: int, flags: int, where: str) -> AnyAce:
    if kind == _COMPOUND or kind > _LAST_TYPE:
        return RawAce(kind, flags, data[start:end])
    position = start + 4
    if position > end:
        raise _bad(f"{where}: no room for the access mask")
    (mask,) = _DWORD.unpack_from(data, start)
    guids: list[UUID | None] = [None, None]
    if kind in OBJECT_ACE_TYPES:
        if position + 4 > end:
            raise _bad(f"{where}: no room for the object flags")
        (present,) = _DWORD.unpack_from(data, position)
        position += 4
        if present & ~(_OBJECT_TYPE_PRESENT | _INHERITED_OBJECT_TYPE_PRESENT):
            return RawAce(kind, flags, data[start:end])
        for slot, bit in enumerate((_OBJECT_TYPE_PRESENT, _INHERITED_OBJECT_TYPE_PRESENT)):
            if present & bit:
                if position + 16 > end:
                    raise _bad(f"{where}: no room for the object GUID")
                guids[slot] = UUID(bytes_le=data[position : position + 16])
                position += 16
    sid = Sid.from_bytes(data, position, end, f"{where}, SID")
    return Ace(kind, flags, mask, sid, data[position + sid.size : end], guids[0], guids[1])


def _build_acl(acl: Acl, what: str) -> bytes:
    aces = b"".join(_build_ace(ace, f"{what} entry {index}") for index, ace in enumerate(acl.aces))
    aces += acl.slack + bytes(-len(acl.slack) % 4)
    size = _ACL_HEAD.size + len(aces)
    if size > 0xFFFF:
        raise _bad(f"{what} of {size} bytes, its size field holds at most 65535")
    if acl.revision not in (2, 3, 4):
        raise _bad(f"{what}: revision {acl.revision}, expected 2 or 4")
    return _ACL_HEAD.pack(acl.revision, 0, size, len(acl.aces), 0) + aces


def _build_ace(ace: AnyAce, where: str) -> bytes:
    try:
        body = ace.body if isinstance(ace, RawAce) else _ace_body(ace, where)
        body += bytes(-len(body) % 4)
        return _ACE_HEAD.pack(ace.type, ace.flags, _ACE_HEAD.size + len(body)) + body
    except struct.error as error:
        raise _bad(f"{where}: type, flags, mask or size does not fit its field") from error


def _ace_body(ace: Ace, where: str) -> bytes:
    parts = [_DWORD.pack(ace.mask)]
    guids = (ace.object_type, ace.inherited_object_type)
    if ace.type in OBJECT_ACE_TYPES:
        parts.append(_DWORD.pack(sum(1 << slot for slot, guid in enumerate(guids) if guid is not None)))
        parts.extend(guid.bytes_le for guid in guids if guid is not None)
    elif guids != (None, None):
        raise _bad(f"{where}: type {ace.type:#04x} has no object GUIDs")
    return b"".join((*parts, ace.sid.to_bytes(), ace.application_data))
