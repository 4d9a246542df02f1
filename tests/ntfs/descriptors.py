"""Strategies that make security descriptors, conditions and resource attributes."""

from __future__ import annotations

import struct
from uuid import UUID

from hypothesis import strategies as st

from wclayer.ntfs import security
from wclayer.ntfs.sddl_resources import ResourceAttribute
from wclayer.ntfs.security import Ace, Acl, AnyAce, RawAce, SecurityDescriptor
from wclayer.ntfs.sid import Sid

_u8 = st.integers(0, 0xFF)
_u32 = st.integers(0, 0xFFFFFFFF)
_u64 = st.integers(0, (1 << 64) - 1)
_units = st.lists(st.integers(0, 0xFFFF), max_size=6).map(lambda units: struct.pack(f"<{len(units)}H", *units))

well_known = st.sampled_from([Sid(1, (0,)), Sid(5, (18,)), Sid(5, (32, 544)), Sid(15, (2, 1)), Sid(16, (8192,))])
sids = well_known | st.builds(Sid, st.integers(0, (1 << 48) - 1), st.lists(_u32, max_size=15).map(tuple))


def _block(code: int, content: bytes) -> bytes:
    return bytes((code,)) + struct.pack("<I", len(content)) + content


@st.composite
def _integers(draw: st.DrawFn) -> bytes:
    sign = draw(st.sampled_from((1, 2, 3)))
    value = draw(st.integers(1 << 63, (1 << 64) - 1) | st.just(0)) if sign == 2 else draw(_u64)
    return struct.pack("<BQBB", 4, value, sign, draw(st.sampled_from((1, 2, 3))))


_strings = _units.filter(lambda units: '"' not in units.decode("utf-16-le", "surrogatepass")).map(
    lambda units: _block(0x10, units)
)
_scalars = (
    _integers()
    | _strings
    | st.binary(max_size=5).map(lambda octets: _block(0x18, octets))
    | sids.map(lambda sid: _block(0x51, sid.to_bytes()))
)
_literals = _scalars | st.lists(_scalars, max_size=3).map(lambda scalars: _block(0x50, b"".join(scalars)))
_keywords = st.sampled_from(["Member_of", "exists", "SID", "7", "@x", "Contains", "a b", "x%0041", "ünï", "-1"])
_names = _units.filter(bool) | _keywords.map(lambda name: name.encode("utf-16-le"))
_attributes = st.tuples(st.sampled_from((0xF8, 0xF9, 0xFA, 0xFB)), _names).map(lambda pair: _block(*pair))
_tests = (
    st.tuples(_attributes, _attributes | _literals, st.sampled_from([*range(0x80, 0x87), 0x88, 0x8E, 0x8F])).map(
        lambda parts: parts[0] + parts[1] + bytes((parts[2],))
    )
    | st.tuples(_literals, st.sampled_from([*range(0x89, 0x8D), *range(0x90, 0x94)])).map(
        lambda parts: parts[0] + bytes((parts[1],))
    )
    | st.tuples(_attributes, st.sampled_from((0x87, 0x8D))).map(lambda parts: parts[0] + bytes((parts[1],)))
    | _attributes
)
_programs = st.recursive(
    _tests,
    lambda inner: (
        inner.map(lambda program: program + b"\xa2")
        | st.tuples(inner, inner, st.sampled_from((b"\xa0", b"\xa1"))).map(b"".join)
    ),
    max_leaves=6,
)
conditions = _programs.map(lambda program: b"artx" + program + bytes(-len(program) % 4))
"""Programs SDDL can write, as Windows would store them: 64-bit integers only, padded."""

_texts = st.text(st.characters(exclude_characters="\0", exclude_categories=()), max_size=8)
_values: dict[int, st.SearchStrategy[int | str | bytes | Sid]] = {
    1: st.integers(-(1 << 63), (1 << 63) - 1),
    2: _u64,
    3: _texts.filter(lambda text: '"' not in text),
    5: sids,
    6: st.integers(0, 1),
    16: st.binary(max_size=9),
}


@st.composite
def resource_attributes(draw: st.DrawFn) -> ResourceAttribute:
    kind = draw(st.sampled_from(sorted(_values)))
    values = draw(st.lists(_values[kind], max_size=4))
    return ResourceAttribute(draw(_texts.filter(bool)), kind, draw(_u32), tuple(values))


@st.composite
def sddl_aces(draw: st.DrawFn) -> Ace:
    """Entries SDDL can write without loss."""
    kind = draw(st.sampled_from([*range(4), *range(5, 12), 0x0D, *range(0x11, 0x16)]))
    data = b""
    guids: tuple[UUID | None, UUID | None] = (None, None)
    if kind in security.CALLBACK_ACE_TYPES or (kind == 0x15 and draw(st.booleans())):
        data = draw(conditions)
    elif kind == 0x12:
        data = draw(resource_attributes()).to_bytes()
    if kind in security.OBJECT_ACE_TYPES:
        guids = draw(st.tuples(st.none() | st.uuids(), st.none() | st.uuids()))
        if kind == 5 and guids == (None, None):
            kind = 0
    return Ace(kind, draw(_u8), draw(_u32), draw(sids), data, *guids)


@st.composite
def aces(draw: st.DrawFn) -> AnyAce:
    """Entries of every kind, whatever they carry."""
    kind = draw(_u8)
    blob = draw(st.binary(max_size=16))
    blob += bytes(-len(blob) % 4)
    if kind == 4 or kind > 0x15:
        return RawAce(kind, draw(_u8), blob)
    guids = st.none() | st.uuids() if kind in security.OBJECT_ACE_TYPES else st.none()
    return Ace(kind, draw(_u8), draw(_u32), draw(sids), blob, draw(guids), draw(guids))


def descriptors(entries: st.SearchStrategy[AnyAce], control: int = 0xFFFF) -> st.SearchStrategy[SecurityDescriptor]:
    """Descriptors with the control bits of ``control`` at will; without a list, only its present bit is at will."""

    @st.composite
    def make(draw: st.DrawFn) -> SecurityDescriptor:
        dacl, sacl = (
            draw(st.none() | st.lists(entries, max_size=4).map(lambda list_: Acl(tuple(list_)))) for _ in "ds"
        )
        bits = draw(st.integers(0, 0xFFFF)) & control
        if not (dacl or bits & security.DACL_PRESENT):
            bits &= ~0x1500
        if not (sacl or bits & security.SACL_PRESENT):
            bits &= ~0x2A00
        return SecurityDescriptor(draw(st.none() | sids), draw(st.none() | sids), dacl, sacl, bits)

    return make()
