"""Names sort by UTF-16 units through the upper-case table, in every script."""

from __future__ import annotations

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.cim.images import name_key, upcase_table
from wclayer.errors import FormatError
from wclayer.formats.cim.profiles import STANDARD_UPCASE_SHA256
from wclayer.formats.cim.upcase import UpcaseTable, standard_upcase
from wclayer.ntfs.names import fold

SCRIPTS = st.text(
    st.one_of(
        st.characters(max_codepoint=0x7F, exclude_characters="\0/\\:"),
        st.characters(min_codepoint=0xA0, max_codepoint=0x24F),
        st.characters(min_codepoint=0x370, max_codepoint=0x52F),
        st.characters(min_codepoint=0x10A0, max_codepoint=0x10FF),
        st.characters(min_codepoint=0x1E00, max_codepoint=0x1FFF),
        st.characters(min_codepoint=0xE000, max_codepoint=0xFFFF),
        st.characters(min_codepoint=0x10000),
        st.characters(categories=["Cs"]),
    ),
    min_size=1,
    max_size=8,
)


def test_the_table_is_the_one_of_ntfs() -> None:
    table = standard_upcase()
    assert len(table.data) == 131072
    assert hashlib.sha256(table.data).hexdigest() == table.sha256() == STANDARD_UPCASE_SHA256
    assert STANDARD_UPCASE_SHA256 == "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742"
    assert (table.changed(), table.unstable()) == (973, 0)


def test_the_table_follows_from_the_unicode_data_without_what_is_newer() -> None:
    assert standard_upcase().data == upcase_table()


def test_upper_case_decides_the_order() -> None:
    assert sorted(["_x", "Z", "a", "[q"], key=standard_upcase().key) == ["a", "Z", "[q", "_x"]


def test_a_prefix_sorts_first() -> None:
    assert sorted(["ab", "A", "abc", "B"], key=standard_upcase().key) == ["A", "ab", "abc", "B"]


def test_units_and_code_points_order_differently_beyond_the_basic_plane() -> None:
    table = standard_upcase()
    names = ["\uff21", "\U0001f600"]
    assert sorted(names, key=table.key) == ["\U0001f600", "\uff21"]
    assert sorted(names, key=table.code_point_key) == names


@pytest.mark.parametrize(
    ("one", "other"),
    [("README.md", "readme.MD"), ("é", "É"), ("ω", "Ω"), ("Ж", "ж"), ("ÿ", "Ÿ"), ("ǆ", "Ǆ"), ("ﬀ", "ﬀ"), ("ⓐ", "Ⓐ")],
)
def test_names_that_differ_in_case_have_one_key(one: str, other: str) -> None:
    assert standard_upcase().key(one) == standard_upcase().key(other)


@pytest.mark.parametrize(
    ("one", "other"), [("ი", "Ი"), ("\U00010428", "\U00010400"), ("ß", "ẞ"), ("ı", "I"), ("ſ", "S"), ("µ", "Μ")]
)
def test_what_the_table_leaves_apart_stays_apart(one: str, other: str) -> None:
    assert standard_upcase().key(one) != standard_upcase().key(other)


@given(SCRIPTS)
def test_a_key_is_the_units_of_the_name_in_upper_case(name: str) -> None:
    key = standard_upcase().key(name)
    assert tuple(unit for (unit,) in struct.iter_unpack(">H", key)) == name_key(name)
    assert key == standard_upcase().units_key(name.encode("utf-16-le", "surrogatepass"))
    assert key == fold(name).encode("utf-16-be", "surrogatepass")


@given(st.lists(SCRIPTS, max_size=20))
def test_keys_order_as_lists_of_units_do(names: list[str]) -> None:
    assert sorted(names, key=standard_upcase().key) == sorted(names, key=name_key)


@given(st.lists(SCRIPTS, max_size=20))
def test_without_the_upper_planes_both_orders_are_one(names: list[str]) -> None:
    table = standard_upcase()
    plain = [name for name in names if max(name) < "\ud800"]
    assert sorted(plain, key=table.key) == sorted(plain, key=table.code_point_key)


def test_an_image_may_have_a_table_of_its_own() -> None:
    swapped = list(range(65536))
    swapped[ord("a")] = ord("b")
    table = UpcaseTable(struct.pack("<65536H", *swapped))
    assert table.key("a") == table.key("b") == b"\0b"
    assert table.key("A") == b"\0A"
    assert (table.changed(), table.unstable()) == (1, 0)
    swapped[ord("b")] = ord("c")
    assert UpcaseTable(struct.pack("<65536H", *swapped)).unstable() == 1


def test_a_table_of_another_size_is_refused() -> None:
    with pytest.raises(FormatError, match="131070 bytes"):
        UpcaseTable(bytes(131070))
