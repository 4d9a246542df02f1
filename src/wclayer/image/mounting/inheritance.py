"""What a new file gets from the security descriptor of its folder.

The rules are those of MS-DTYP 2.5.3.4: an entry with OI goes to files, one with CI to folders and on from there unless
NP stops it, one with IO does not count for the folder that has it. CREATOR OWNER and CREATOR GROUP become the owner and
the group of the new object, and generic rights those of files; what a folder has to pass on as it was is kept beside
that, for inheriting only.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from wclayer.errors import FormatError
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import (
    DACL_AUTO_INHERITED,
    OBJECT_ACE_TYPES,
    SACL_AUTO_INHERITED,
    Ace,
    Acl,
    AnyAce,
    SecurityDescriptor,
    Sid,
    build,
    parse,
)

__all__ = ["inherited_descriptor"]

_OI, _CI, _NP, _IO, _INHERITED = 0x01, 0x02, 0x04, 0x08, 0x10
_INHERITANCE = _OI | _CI | _NP | _IO
_CREATOR_OWNER, _CREATOR_GROUP = Sid(3, (0,)), Sid(3, (1,))
_GENERIC = {0x10000000: 0x1F01FF, 0x20000000: 0x1200A0, 0x40000000: 0x120116, 0x80000000: 0x120089}

_OWNER, _GROUP = Sid(5, (32, 544)), Sid(5, (18,))
# What Docker's builders give where there is nothing to inherit from at all.
_FOLDER = (
    "O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;;FA;;;BA)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)"
    "(A;CI;DC;;;BU)"
)
_FILE = "O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)"
# What the token of an administrator gives where a folder has nothing that goes to its children.
_DEFAULT = "O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)"


@lru_cache(maxsize=256)  # folders share their descriptors, and so do the files in them
def inherited_descriptor(folder: bytes | None, *, is_folder: bool) -> bytes:
    """The descriptor of a new file, or folder, in a folder with the descriptor ``folder``.

    Owner and group are Administrators and SYSTEM, as in the layers that Docker builds. Without a descriptor to inherit
    from, or with a damaged one, it is that of Docker's builders; where nothing in it is for children, that of an
    administrator.
    """
    try:
        above = None if folder is None else parse(folder)
    except FormatError:
        above = None
    if above is None:
        return build(from_sddl(_FOLDER if is_folder else _FILE))
    dacl, sacl = (_passed_on(acl, is_folder=is_folder) for acl in (above.dacl, above.sacl))
    control = 0
    if dacl is None:
        dacl = from_sddl(_DEFAULT).dacl
    else:
        control |= DACL_AUTO_INHERITED
    if sacl is not None:
        control |= SACL_AUTO_INHERITED
    return build(SecurityDescriptor(_OWNER, _GROUP, dacl, sacl, control))


def _passed_on(acl: Acl | None, *, is_folder: bool) -> Acl | None:
    """The entries that a child inherits, None where there are none."""
    passed = [one for ace in (acl.aces if acl is not None else ()) for one in _inherited(ace, is_folder=is_folder)]
    return Acl(tuple(passed)) if passed else None


def _inherited(ace: AnyAce, *, is_folder: bool) -> list[AnyAce]:
    """What becomes of one entry in a child: nothing, itself, or what counts for it and what it passes on."""
    flags = ace.flags
    rest = flags & ~_INHERITANCE | _INHERITED
    if isinstance(ace, Ace) and ace.type in OBJECT_ACE_TYPES and ace.inherited_object_type is not None:
        return []  # for objects of one kind, of which no file is
    if not is_folder:
        return [_effective(ace, rest)] if flags & _OI else []
    if flags & _CI:
        if flags & _NP:
            return [_effective(ace, rest)]
        here = _effective(ace, rest)
        onward = rest | flags & (_OI | _CI)
        if isinstance(ace, Ace) and replace(ace, flags=rest) != here:
            return [here, replace(ace, flags=onward | _IO)]
        return [replace(ace, flags=onward)]
    if flags & _OI and not flags & _NP:
        return [replace(ace, flags=rest | _OI | _IO)]
    return []


def _effective(ace: AnyAce, flags: int) -> AnyAce:
    """The entry as it counts for the child itself."""
    if not isinstance(ace, Ace):
        return replace(ace, flags=flags)
    mask = ace.mask
    for generic, rights in _GENERIC.items():
        if mask & generic:
            mask = mask & ~generic | rights
    owners = {_CREATOR_OWNER: _OWNER, _CREATOR_GROUP: _GROUP}
    return replace(ace, flags=flags, mask=mask, sid=owners.get(ace.sid, ace.sid))
