"""Names: three conversions that must not be mixed, and folding as NTFS does it."""

from __future__ import annotations

import hashlib
import re
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError
from wclayer.ntfs.names import (
    cut_at_nul,
    decode_strict_utf8,
    decode_wtf8,
    encode_wtf8,
    fold,
    from_utf16le,
    is_wtf8,
    strict_text,
    to_utf16le,
    utf16_length,
)
from wclayer.ntfs.upcase import UPCASE_RUNS

SURROGATES = st.characters(min_codepoint=0xD800, max_codepoint=0xDFFF)
TEXT = st.text(st.one_of(st.characters(codec="utf-8"), SURROGATES))
# Text in which any two lone halves side by side have become the pair that they are in UTF-16.
UNITS = TEXT.map(lambda text: to_utf16le(text).decode("utf-16-le", "surrogatepass"))


# ---------------------------------------------------------------------------------------------------------- conversions


@given(TEXT)
def test_every_text_survives_wtf8(text: str) -> None:
    data = encode_wtf8(text)
    assert is_wtf8(data)
    assert decode_wtf8(data) == text


@given(UNITS)
def test_every_text_survives_utf16(text: str) -> None:
    data = to_utf16le(text)
    assert len(data) == 2 * utf16_length(text)
    assert from_utf16le(data) == text


@given(st.binary(max_size=60).filter(lambda data: len(data) % 2 == 0))
def test_every_row_of_units_survives_text(data: bytes) -> None:
    assert to_utf16le(from_utf16le(data)) == data


@pytest.mark.parametrize(
    ("data", "name", "strict"),
    [
        (b"", "", ""),
        (b"plain", "plain", "plain"),
        ("日本\U0001f600".encode(), "日本\U0001f600", "日本\U0001f600"),
        (b"\xed\xa0\x80", "\ud800", "\ufffd" * 3),
        (b"\xed\xbf\xbf", "\udfff", "\ufffd" * 3),
        (b"a\xed\xa0\xbd\xed\xb8\x80b", "a\ud83d\ude00b", "a" + "\ufffd" * 6 + "b"),
        (b"\xed\x9f\xbf", "\ud7ff", "\ud7ff"),
        (b"\xed\xa0", "\ufffd" * 2, "\ufffd" * 2),
        (b"\xed\xa0a", "\ufffd" * 2 + "a", "\ufffd" * 2 + "a"),
        (b"caf\xe9", "caf\ufffd", "caf\ufffd"),
        (b"\xe2\x82", "\ufffd" * 2, "\ufffd" * 2),
        (b"\xf0\x9f\x98x", "\ufffd" * 3 + "x", "\ufffd" * 3 + "x"),
        (b"\xc0\x80", "\ufffd" * 2, "\ufffd" * 2),
        (b"\xf4\x90\x80\x80", "\ufffd" * 4, "\ufffd" * 4),
        (b"\x80\xff", "\ufffd" * 2, "\ufffd" * 2),
        (b"\xff\xed\xa0\x80\xff", "\ufffd\ud800\ufffd", "\ufffd" * 5),
    ],
)
def test_invalid_bytes_become_one_replacement_each_and_only_names_know_surrogates(
    data: bytes, name: str, strict: str
) -> None:
    assert decode_wtf8(data) == name
    assert decode_strict_utf8(data) == strict
    assert is_wtf8(data) == (encode_wtf8(name) == data)


def _go_runes(data: bytes) -> str:
    """Go's ``[]rune(string)``, from the definition of UTF-8: a byte that begins no valid sequence stands alone."""
    runes, position = [], 0
    while position < len(data):
        for length in (1, 2, 3, 4):
            try:
                runes.append(data[position : position + length].decode())
            except UnicodeDecodeError:
                continue
            position += length
            break
        else:
            runes.append("\ufffd")
            position += 1
    return "".join(runes)


BYTES = st.one_of(
    st.binary(max_size=40),
    st.lists(st.sampled_from([0xED, 0xA0, 0xBF, 0x80, 0xE2, 0xF0, 0x9F, 0xF4, 0xC3, 0x41]), max_size=20).map(bytes),
)


@given(BYTES)
def test_strict_decoding_is_that_of_go(data: bytes) -> None:
    assert decode_strict_utf8(data) == _go_runes(data)


@given(BYTES)
def test_any_bytes_are_a_name_and_nothing_but_surrogates_differs_from_strict(data: bytes) -> None:
    name = decode_wtf8(data)
    assert is_wtf8(data) == (encode_wtf8(name) == data)
    assert re.sub("[\ud800-\udfff]", "\ufffd\ufffd\ufffd", name) == decode_strict_utf8(data)


@pytest.mark.parametrize("handler", ["wclayer.wtf8", "wclayer.strict"])
def test_the_decoding_rules_do_not_hide_what_cannot_be_encoded(handler: str) -> None:
    with pytest.raises(UnicodeEncodeError):
        "\ud800".encode("utf-8", handler)


def test_utf16_of_an_odd_number_of_bytes_is_refused() -> None:
    with pytest.raises(FormatError):
        from_utf16le(b"a\0b")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain é \U0001f600", "plain é \U0001f600"),
        ("a\ud800b", "a\ufffdb"),
        ("a\udc00", "a\ufffd"),
        ("\ud800\ud800\udc00", "\ufffd\U00010000"),
        ("\udc00\ud800", "\ufffd\ufffd"),
        ("\ud83d\ude00", "\U0001f600"),
    ],
)
def test_strict_text_replaces_what_utf16_cannot_pair(text: str, expected: str) -> None:
    assert strict_text(text) == expected


@pytest.mark.parametrize(("text", "units"), [("", 0), ("abc", 3), ("é日", 2), ("\U0001f600", 2), ("\ud800", 1)])
def test_length_counts_units(text: str, units: int) -> None:
    assert utf16_length(text) == units


def test_a_stream_name_ends_at_its_first_nul_for_the_reference() -> None:
    assert cut_at_nul(":a\0b:$DATA") == ":a"
    assert cut_at_nul(":a:$DATA") == ":a:$DATA"


# -------------------------------------------------------------------------------------------------------------- folding


def _upcase_table() -> array[int]:
    table = array("H", range(1 << 16))
    for first, last, step, delta in UPCASE_RUNS:
        for unit in range(first, last + 1, step):
            table[unit] = unit + delta & 0xFFFF
    return table


def test_the_runs_expand_to_the_table_that_windows_writes() -> None:
    table = _upcase_table()
    data = b"".join(unit.to_bytes(2, "little") for unit in table)
    assert len(UPCASE_RUNS) == 134
    assert len(data) == 131072
    assert sum(unit != place for place, unit in enumerate(table)) == 973
    assert hashlib.sha256(data).hexdigest() == "41c26bc7a12bdaeb26025c93118697c7e3ef81ee048b00fe5cce2a472e0e0742"


def test_every_unit_folds_as_the_table_says_and_only_once() -> None:
    table = _upcase_table()
    for unit in range(1 << 16):
        assert ord(fold(chr(unit))) == table[unit]
        assert table[table[unit]] == table[unit]


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("", ""),
        ("Files/Windows/System32", "FILES/WINDOWS/SYSTEM32"),
        ("ä/ÿ", "Ä/Ÿ"),
        ("straße", "STRASSE".replace("SS", "ß")),
        ("ſ", "ſ"),
        ("ı", "ı"),
        ("μ", "Μ"),
        ("µ", "µ"),
        ("ǆ", "Ǆ"),
        ("ǅ", "ǅ"),
        ("ｚ", "Ｚ"),
        ("\U00010428", "\U00010428"),
        ("a\ud800b", "A\ud800B"),
        ("ა", "ა"),
    ],
)
def test_folding_is_that_of_ntfs_not_of_python(text: str, folded: str) -> None:
    assert fold(text) == folded


def test_a_pair_folds_the_same_however_it_is_spelt() -> None:
    assert fold("a\ud83d\ude00") == fold("A\U0001f600")


@given(TEXT)
def test_folding_is_stable_and_keeps_the_number_of_units(text: str) -> None:
    folded = fold(text)
    assert fold(folded) == folded
    assert utf16_length(folded) == utf16_length(text)


@given(TEXT)
def test_folds_are_equal_exactly_when_every_unit_maps_to_the_same(text: str) -> None:
    table = _upcase_table()
    units = array("H", to_utf16le(text))
    assert array("H", to_utf16le(fold(text))) == array("H", (table[unit] for unit in units))
