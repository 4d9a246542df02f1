from __future__ import annotations

import base64
import struct
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ntfs import descriptors
from wclayer.errors import FormatError, WclayerError
from wclayer.ntfs import security
from wclayer.ntfs.security import Ace, AceType, Acl, Order, RawAce, SecurityDescriptor, build, order_of, parse, validate
from wclayer.ntfs.sid import Sid

SYSTEM = Sid(5, (18,))
ADMINISTRATORS = Sid(5, (32, 544))

# Descriptors met in layers, as base64 of the self-relative bytes, owner first.
DOCKER_DIRECTORY = (
    "AQAEgBQAAAAkAAAAAAAAADAAAAABAgAAAAAABSAAAAAgAgAAAQEAAAAAAAUSAAAAAgCoAAcAAAAAAxgA/wEfAAECAAAAAAAFIAAAACACAAAAAxQA/wEf"
    "AAEBAAAAAAAFEgAAAAAAGAD/AR8AAQIAAAAAAAUgAAAAIAIAAAALFAAAAAAQAQEAAAAAAAMAAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAAIYAAQA"
    "AAABAgAAAAAABSAAAAAhAgAAAAIYAAIAAAABAgAAAAAABSAAAAAhAgAA"
)
WITH_SACL = (
    "AQAUmBQAAAAgAAAASAAAACwAAAABAQAAAAAABRIAAAABAQAAAAAABRIAAAACABwAAQAAAAAAFAD/AR8AAQEAAAAAAAUSAAAAAgAcAAEAAAACwBQAFgEB"
    "AAEBAAAAAAABAAAAAA=="
)
TRUSTED_INSTALLER = (
    "AQAEhBQAAAA0AAAAAAAAAFQAAAABBgAAAAAABVAAAAC1ifs4GYTCy1xsI21XAHduwAJkhwEGAAAAAAAFUAAAALWJ+zgZhMLLXGwjbVcAd27AAmSHAgCM"
    "AAUAAAAAECgA/wEfAAEGAAAAAAAFUAAAALWJ+zgZhMLLXGwjbVcAd27AAmSHABAYAKkAEgABAgAAAAAABSAAAAAgAgAAABAUAKkAEgABAQAAAAAABRIA"
    "AAAAEBgAqQASAAECAAAAAAAFIAAAACECAAAAEBgAqQASAAECAAAAAAAPAgAAAAEAAAA="
)
USERS_ONLY = "AQAAgBQAAAAkAAAAAAAAAAAAAAABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIQIAAA=="
FROM_SDDL_ON_WINDOWS = (
    "AQAEgEgAAABYAAAAAAAAABQAAAACADQAAgAAAAAAFAD/AR8AAQEAAAAAAAUSAAAAAAMYAKkAEgABAgAAAAAABSAAAAAhAgAAAQIAAAAAAAUgAAAAIAIA"
    "AAEBAAAAAAAFEgAAAA=="
)


@pytest.mark.parametrize(
    ("text", "order", "control", "counts"),
    [
        (DOCKER_DIRECTORY, "owner-first", 0x8004, (7, None)),
        (WITH_SACL, "owner-first", 0x9814, (1, 1)),
        (TRUSTED_INSTALLER, "owner-first", 0x8404, (5, None)),
        (USERS_ONLY, "owner-first", 0x8000, (None, None)),
        (FROM_SDDL_ON_WINDOWS, "acl-first", 0x8004, (2, None)),
    ],
)
def test_descriptors_of_real_layers_parse_and_come_back_byte_for_byte(
    text: str, order: Order, control: int, counts: tuple[int | None, int | None]
) -> None:
    data = base64.b64decode(text)
    descriptor = parse(data)
    validate(data)
    assert descriptor.control == control
    assert counts == tuple(None if acl is None else len(acl.aces) for acl in (descriptor.dacl, descriptor.sacl))
    assert order_of(data) == order
    assert build(descriptor, order) == data


def test_a_large_list_comes_back_byte_for_byte() -> None:
    domain = (21, 77777, 233333, 5993867)
    aces = tuple(Ace(0, n % 4, 0x1200A9 + n % 2, Sid(5, (*domain, 1000 + n))) for n in range(420))
    data = build(SecurityDescriptor(ADMINISTRATORS, ADMINISTRATORS, Acl(aces)))
    assert len(data) == 20 + 16 + 16 + 8 + 420 * 36
    descriptor = parse(data)
    assert descriptor.dacl is not None
    assert descriptor.dacl.aces == aces
    assert build(descriptor) == data


def test_values_are_what_the_bytes_say() -> None:
    descriptor = parse(base64.b64decode(WITH_SACL))
    assert descriptor.owner == descriptor.group == SYSTEM
    assert descriptor.dacl == Acl((Ace(AceType.ACCESS_ALLOWED, 0, 0x1F01FF, SYSTEM),), 2)
    assert descriptor.sacl == Acl((Ace(AceType.SYSTEM_AUDIT, 0xC0, 0x10116, Sid(1, (0,))),), 2)


def test_absent_null_and_empty_lists_are_three_different_things() -> None:
    absent = SecurityDescriptor()
    null = SecurityDescriptor(control=security.DACL_PRESENT)
    empty = SecurityDescriptor(dacl=Acl())
    assert len({build(absent), build(null), build(empty)}) == 3
    assert [parse(build(sd)) for sd in (absent, null, empty)] == [absent, null, empty]
    assert [(sd.has_dacl, sd.dacl) for sd in (absent, null, empty)] == [(False, None), (True, None), (True, Acl())]


def test_parts_may_lie_in_any_order() -> None:
    descriptor = SecurityDescriptor(
        SYSTEM, ADMINISTRATORS, Acl((Ace(0, 0, 1, SYSTEM),)), Acl((Ace(2, 0x40, 1, SYSTEM),))
    )
    owner_first, acl_first = build(descriptor), build(descriptor, "acl-first")
    assert struct.unpack_from("<4I", owner_first, 4) == (20, 32, 76, 48)
    assert struct.unpack_from("<4I", acl_first, 4) == (76, 88, 20, 48)
    assert parse(owner_first) == parse(acl_first) == descriptor


def test_the_order_shows_even_without_owner_and_group() -> None:
    lists = SecurityDescriptor(dacl=Acl(), sacl=Acl((Ace(2, 0, 1, SYSTEM),)))
    assert order_of(build(lists)) == "owner-first"
    assert order_of(build(lists, "acl-first")) == "acl-first"


def test_object_entries_carry_their_guids_and_raise_the_list_revision() -> None:
    guid, inherited = UUID("ab721a53-1e2f-11d0-9819-00aa0040529b"), UUID("bf967aba-0de6-11d0-a285-00aa003049e2")
    aces = tuple(
        Ace(AceType.ACCESS_ALLOWED_OBJECT, 0, 0x100, SYSTEM, b"", first, second)
        for first in (None, guid)
        for second in (None, inherited)
    )
    descriptor = SecurityDescriptor(dacl=Acl(aces))
    data = build(descriptor)
    assert descriptor.dacl is not None
    assert descriptor.dacl.revision == 4
    assert guid.bytes_le in data
    assert parse(data) == descriptor
    validate(data)


def test_unknown_kinds_are_kept_as_they_are() -> None:
    strange = Acl(
        (RawAce(4, 3, b"compound"), RawAce(0x77, 0, b""), RawAce(5, 0, b"\1\0\0\0" + b"\x08\0\0\0" + b"rest"))
    )
    data = build(SecurityDescriptor(dacl=strange))
    assert parse(data).dacl == strange
    assert build(parse(data)) == data


def test_slack_inside_a_list_is_kept() -> None:
    data = build(SecurityDescriptor(dacl=Acl((Ace(0, 0, 1, SYSTEM),), slack=b"\0\0\0\0")))
    dacl = parse(data).dacl
    assert dacl is not None
    assert dacl.slack == bytes(4)
    assert build(parse(data)) == data


def _patched(offset: int, content: bytes, text: str = DOCKER_DIRECTORY) -> bytes:
    data = bytearray(base64.b64decode(text))
    data[offset : offset + len(content)] = content
    return bytes(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (_patched(0, b"\2"), "revision 2"),
        (_patched(2, b"\4\0"), "not self-relative"),
        (_patched(4, b"\x13"), "owner at offset 19"),
        (_patched(4, b"\xff\xff\xff\xff"), "owner at offset 4294967295"),
        (_patched(4, b"\xd4"), "4 bytes left"),
        (_patched(20, b"\2"), "SID revision 2"),
        (_patched(21, b"\x10"), "16 sub-authorities"),
        (_patched(0x31 - 1, b"\7"), "DACL at offset 48: revision 7"),
        (_patched(0x32, b"\xff\xff"), "DACL at offset 48: size 65535"),
        (_patched(0x32, b"\7\0"), "DACL at offset 48: size 7"),
        (_patched(0x34, b"\xff\xff"), "DACL entry 7 of 65535 at offset 216"),
        (_patched(0x3A, b"\3\0"), "DACL entry 0 of 7 at offset 56: size 3"),
        (_patched(0x3A, b"\0\4"), "DACL entry 0 of 7 at offset 56: size 1024"),
        (_patched(0x3A, b"\4\0"), "no room for the access mask"),
        (_patched(16, b"\xd4"), "DACL at offset 212: 4 bytes left"),
        (build(SecurityDescriptor(dacl=Acl((RawAce(5, 0, bytes(4)),)))), "no room for the object flags"),
        (build(SecurityDescriptor(dacl=Acl((RawAce(5, 0, bytes(4) + b"\1\0\0\0"),)))), "no room for the object GUID"),
        (_patched(0x40, b"\7"), "DACL entry 0 of 7 at offset 56, SID at offset 64: SID revision 7"),
    ],
)
def test_broken_descriptors_are_refused_with_the_place(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        parse(data)
    assert caught.value.kind == "security-descriptor"
    with pytest.raises(FormatError, match=message):
        validate(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (_patched(1, b"\x55"), "reserved byte at offset 1"),
        (_patched(2, b"\0"), "DACL at offset 48, but its present bit is clear"),
        (_patched(8, b"\x14"), "owner at offset 20 lies inside the group"),
        (_patched(0x31, b"\1"), "DACL at offset 48: reserved bytes"),
        (b"\1\0\4\x80" + bytes(12) + b"\x15\0\0\0\0\2\0\x08\0\0\0\0\0", "DACL at offset 21, which is not a multiple"),
        (
            b"\1\0\4\x80" + bytes(12) + b"\x14\0\0\0" + b"\2\0\x10\0\1\0\0\0" + b"\x99\0\5\0x\0\0\0",
            "DACL entry 0 of 1 at offset 28: size 5 is not a multiple of 4",
        ),
        (
            build(SecurityDescriptor(dacl=Acl((Ace(5, 0, 1, SYSTEM),), revision=2))),
            "object entry .type 0x05. in a list of revision 2",
        ),
    ],
)
def test_validate_refuses_what_parse_tolerates(data: bytes, message: str) -> None:
    parse(data)
    with pytest.raises(FormatError, match=message):
        validate(data)


def test_a_list_behind_a_clear_present_bit_does_not_exist() -> None:
    descriptor = parse(_patched(2, b"\0"))
    assert (descriptor.has_dacl, descriptor.dacl) == (False, None)


@pytest.mark.parametrize(
    "descriptor",
    [
        SecurityDescriptor(dacl=Acl((Ace(0, 0, 1, SYSTEM, bytes(70000)),))),
        SecurityDescriptor(dacl=Acl((Ace(0, 0, 1, SYSTEM, bytes(40000)),) * 2)),
        SecurityDescriptor(dacl=Acl((Ace(0, 0, 1 << 32, SYSTEM),))),
        SecurityDescriptor(dacl=Acl((Ace(0, 256, 1, SYSTEM),))),
        SecurityDescriptor(dacl=Acl((Ace(0, 0, 1, SYSTEM, b"", UUID(int=1)),))),
        SecurityDescriptor(dacl=Acl((), revision=9)),
        SecurityDescriptor(control=0x10000),
    ],
)
def test_values_that_do_not_fit_are_refused(descriptor: SecurityDescriptor) -> None:
    with pytest.raises(FormatError):
        build(descriptor)


@pytest.mark.parametrize(
    ("text", "sid", "data"),
    [
        ("S-1-5-18", SYSTEM, "010100000000000512000000"),
        ("S-1-5-32-544", ADMINISTRATORS, "01020000000000052000000020020000"),
        ("S-1-0x12A05F200-30", Sid(5_000_000_000, (30,)), "010100012a05f2001e000000"),
        ("S-1-4294967295", Sid(0xFFFFFFFF), "01000000ffffffff"),
    ],
)
def test_sids_have_a_text_and_a_binary_form(text: str, sid: Sid, data: str) -> None:
    assert Sid.from_text(text) == sid == Sid.from_bytes(bytes.fromhex(data))
    assert str(sid) == text
    assert sid.to_bytes().hex() == data
    assert sid.size == len(data) // 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "S",
        "S-1",
        "S-1-",
        "S-2-5",
        "S-1-5-",
        "S-1-5-x",
        "S-1-5-4294967296",
        "S-1-0x1000000000000",
        "S-1-5" + "-1" * 16,
    ],
)
def test_texts_that_are_no_sids_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        Sid.from_text(text)


@pytest.mark.parametrize("parts", [(1 << 48, ()), (-1, ()), (5, (1 << 32,)), (5, (-1,)), (5, (0,) * 16)])
def test_values_that_are_no_sids_are_refused(parts: tuple[int, tuple[int, ...]]) -> None:
    with pytest.raises(FormatError):
        Sid(*parts)


@given(descriptors.sids)
def test_any_sid_survives_both_forms(sid: Sid) -> None:
    assert Sid.from_text(str(sid)) == sid
    assert Sid.from_bytes(sid.to_bytes()) == sid


@given(descriptors.descriptors(descriptors.aces()), st.sampled_from(("owner-first", "acl-first")))
def test_any_descriptor_survives_the_bytes(descriptor: SecurityDescriptor, order: Order) -> None:
    data = build(descriptor, order)
    assert parse(data) == descriptor
    assert build(parse(data), order) == data
    assert build(parse(data), order_of(data)) == data


@given(st.binary(max_size=200))
def test_any_bytes_give_a_descriptor_or_an_error_of_ours(data: bytes) -> None:
    _parse_or_fail(data)
    _parse_or_fail(b"\1\0\x14\x80" + data)


@given(
    st.sampled_from([DOCKER_DIRECTORY, WITH_SACL, TRUSTED_INSTALLER, FROM_SDDL_ON_WINDOWS]),
    st.lists(st.tuples(st.integers(0, 250), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 250),
)
def test_damaged_descriptors_give_a_descriptor_or_an_error_of_ours(
    text: str, damage: list[tuple[int, int]], length: int
) -> None:
    data = bytearray(base64.b64decode(text))
    for offset, value in damage:
        data[offset % len(data)] = value
    _parse_or_fail(bytes(data))
    _parse_or_fail(bytes(data[:length]))


def _parse_or_fail(data: bytes) -> None:
    try:
        descriptor = parse(data)
    except WclayerError:
        with pytest.raises(WclayerError):
            validate(data)
        return
    assert parse(build(descriptor)) is not None
