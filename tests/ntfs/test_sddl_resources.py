from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ntfs import descriptors
from wclayer.errors import FormatError, UnsupportedError, WclayerError
from wclayer.ntfs.sddl import from_sddl, to_sddl
from wclayer.ntfs.sddl_resources import ResourceAttribute, attribute_from_text, attribute_to_text
from wclayer.ntfs.sid import Sid
from wclayer.ntfs.well_known import SidResolver

EVERYONE, ADMINISTRATORS = Sid(1, (0,)), Sid(5, (32, 544))


def read(text: str) -> ResourceAttribute:
    attribute, end = attribute_from_text(text, 0, SidResolver())
    assert end == len(text)
    return attribute


def test_the_layout_is_the_one_of_windows() -> None:
    data = ResourceAttribute("colour", 3, 0, ("blue", "red")).to_bytes()
    assert data.hex() == (
        "180000000300000000000000"  # name at 24, strings, no flags
        "020000002600000030000000"  # two values, at 38 and 48
        "63006f006c006f007500720000006200"
        "6c007500650000007200650064000000"
    )
    assert ResourceAttribute.from_bytes(data) == ResourceAttribute("colour", 3, 0, ("blue", "red"))


@pytest.mark.parametrize(
    ("text", "attribute", "written"),
    [
        ('("n",TI,0,-8, 9,0x10)', ResourceAttribute("n", 1, 0, (-8, 9, 16)), '("n",TI,0x0,-8,9,16)'),
        ('("n",tu,0xE,18446744073709551615)', ResourceAttribute("n", 2, 14, ((1 << 64) - 1,)), None),
        ('( "Project" , TS , 0x0 , "Windows" , "SQL" )', ResourceAttribute("Project", 3, 0, ("Windows", "SQL")), None),
        ('("n",TD,0x0,BA,SID(WD))', ResourceAttribute("n", 5, 0, (ADMINISTRATORS, EVERYONE)), '("n",TD,0x0,BA,WD)'),
        (
            '("n",TX,0x0,0077,1,#,)',
            ResourceAttribute("n", 16, 0, (b"\0\x77", b"\1", b"\0", b"")),
            '("n",TX,0x0,0077,01,00,)',
        ),
        ('("n",TB,0x0,0,1)', ResourceAttribute("n", 6, 0, (0, 1)), None),
        ('("n",TS,0xffff0001)', ResourceAttribute("n", 3, 0xFFFF0001, ()), None),
        (
            '("a b%0016",TS,0x0,"%0041;)(")',
            ResourceAttribute("a b\x16", 3, 0, ("%0041;)(",)),
            '("a%0020b%0016",TS,0x0,"%0041;)(")',
        ),
    ],
)
def test_text_and_attribute_say_the_same(text: str, attribute: ResourceAttribute, written: str | None) -> None:
    assert read(text) == attribute
    if written is not None:
        assert attribute_to_text(attribute) == written
    assert read(attribute_to_text(attribute)) == attribute
    assert ResourceAttribute.from_bytes(attribute.to_bytes()) == attribute


@pytest.mark.parametrize(
    "text",
    [
        "",
        "()",
        '("",TS,0)',
        '("n")',
        '("n",TS)',
        '("n",TQ,0)',
        '("n",TS,-1)',
        '("n",TS,0x100000000)',
        '("n",TS,0,"a',
        '("n",TS,0,a)',
        '("n",TS,0,"a"',
        '("n",TS,0,"a";)',
        '("n",TI,0,9223372036854775808)',
        '("n",TU,0,-1)',
        '("n",TB,0,2)',
        '("n",TD,0,ZZ)',
        '("n",TD,0,"BA")',
        '("n",TX,0,0g)',
    ],
)
def test_texts_that_are_no_attributes_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        attribute_from_text(text, 0, SidResolver())


def _claim(kind: int, offsets: tuple[int, ...], tail: bytes, *, name_at: int = 20, count: int | None = None) -> bytes:
    head = struct.pack("<IHHII", name_at, kind, 0, 0, len(offsets) if count is None else count)
    return head + struct.pack(f"<{len(offsets)}I", *offsets) + tail


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (_claim(3, (), b"n\0\0\0", count=1000), "1000 values announced"),
        (_claim(3, (24,), b"n\0\0\0x\0\0\0", name_at=2), "no terminated name at offset 2"),
        (_claim(3, (24,), b"n\0\0\0x\0\0\0", name_at=400), "no terminated name at offset 400"),
        (_claim(3, (24,), b"n\0\0\0x\0y\0"), "no terminated string at offset 24"),
        (_claim(1, (24,), b"n\0\0\0" + bytes(7)), "integer at offset 24"),
        (_claim(6, (24,), b"n\0\0\0\2" + bytes(7)), "boolean at offset 24 is 2"),
        (_claim(16, (24,), b"n\0\0\0\xff\xff\xff\xff"), "4294967295 octets"),
        (_claim(5, (24,), b"n\0\0\0\x10\0\0\0" + EVERYONE.to_bytes() + bytes(4)), "12 of 16 bytes"),
        (_claim(3, (32, 32, 32), b"n\0\0\0" + b"x\0" * 40 + bytes(2), name_at=28), "values overlap"),
    ],
)
def test_broken_attributes_are_refused_with_the_reason(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        ResourceAttribute.from_bytes(data)


def test_a_few_shared_bytes_do_not_become_megabytes() -> None:
    count = 8000
    text = b"x\0" * 16000 + b"\0\0"
    data = _claim(3, (16 + 4 * count,) * count, text, name_at=16 + 4 * count)
    assert len(data) < 65536
    with pytest.raises(FormatError, match="values overlap"):
        ResourceAttribute.from_bytes(data)


def test_types_without_a_form_are_unsupported() -> None:
    with pytest.raises(UnsupportedError):
        ResourceAttribute.from_bytes(_claim(4, (24,), b"n\0\0\0x\0\0\0"))
    with pytest.raises(UnsupportedError):
        attribute_to_text(ResourceAttribute("n", 3, 0, ('"',)))


@pytest.mark.parametrize(
    "attribute",
    [
        ResourceAttribute("n\0", 3, 0, ()),
        ResourceAttribute("n", 3, 0, ("a\0b",)),
        ResourceAttribute("n", 3, 1 << 32, ()),
        ResourceAttribute("n", 1, 0, (1 << 63,)),
        ResourceAttribute("n", 1, 0, ("1",)),
        ResourceAttribute("n", 5, 0, (b"sid",)),
        ResourceAttribute("n", 16, 0, ("text",)),
    ],
)
def test_values_that_do_not_fit_are_refused(attribute: ResourceAttribute) -> None:
    with pytest.raises(FormatError):
        attribute.to_bytes()


def test_attributes_travel_inside_descriptors() -> None:
    text = 'D:S:(RA;CI;;;;WD;("Project",TS,0x0,"Windows","SQL"))(RA;CI;;;;WD;("Secrecy",TU,0x0,3))'
    assert to_sddl(from_sddl(text)) == text


@given(descriptors.resource_attributes())
def test_any_attribute_survives_text_and_bytes(attribute: ResourceAttribute) -> None:
    data = attribute.to_bytes()
    assert ResourceAttribute.from_bytes(data) == attribute
    assert read(attribute_to_text(attribute)) == attribute


@given(st.sampled_from((1, 2, 3, 5, 6, 16)), st.lists(st.integers(0, 90), max_size=4), st.binary(max_size=80))
def test_any_bytes_give_an_attribute_or_an_error_of_ours(kind: int, offsets: list[int], tail: bytes) -> None:
    for data in (tail, _claim(kind, tuple(offsets), tail, name_at=16 + 4 * len(offsets))):
        try:
            attribute = ResourceAttribute.from_bytes(data)
            again = read(attribute_to_text(attribute))
        except WclayerError:
            continue
        assert again == attribute
