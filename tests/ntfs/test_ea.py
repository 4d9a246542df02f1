"""Extended attributes: exact bytes, what a reader must tolerate, and what it must refuse."""

from __future__ import annotations

from contextlib import suppress
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.ntfs.ea import FILE_NEED_EA, ExtendedAttribute, decode_eas, encode_eas

attributes = st.builds(
    ExtendedAttribute, st.binary(max_size=255), st.binary(max_size=300), st.integers(min_value=0, max_value=255)
)


def entry(following: int, name: bytes, value: bytes, flags: int = 0) -> bytes:
    return pack("<IBBH", following, flags, len(name), len(value)) + name + b"\0" + value


def test_the_worked_example_of_two_attributes() -> None:
    encoded = encode_eas([ExtendedAttribute(b"A", b""), ExtendedAttribute(b"B", b"\0")])
    assert encoded == bytes.fromhex("0C000000 00 01 0000 41 00 0000 00000000 00 01 0100 42 00 00 00".replace(" ", ""))
    assert decode_eas(encoded) == ((b"A", b"", 0), (b"B", b"\0", 0))


def test_no_attributes_are_no_bytes_and_the_other_way_round() -> None:
    assert encode_eas([]) == b""
    assert decode_eas(b"") == ()


@given(st.lists(attributes, max_size=8))
def test_what_is_encoded_decodes_to_itself(given_attributes: list[ExtendedAttribute]) -> None:
    encoded = encode_eas(given_attributes)
    assert len(encoded) % 4 == 0
    assert decode_eas(encoded) == tuple(given_attributes)


def test_flags_are_kept_unless_the_caller_wants_the_bytes_of_a_tar_import() -> None:
    attribute = ExtendedAttribute(b"N", b"v", FILE_NEED_EA)
    assert decode_eas(encode_eas([attribute])) == (attribute,)
    assert decode_eas(encode_eas([attribute], keep_flags=False)) == ((b"N", b"v", 0),)


def test_the_longest_name_and_value_fit() -> None:
    longest = ExtendedAttribute(b"n" * 255, b"v" * 65535)
    assert decode_eas(encode_eas([longest, longest])) == (longest, longest)


@pytest.mark.parametrize(
    ("attribute", "kind"),
    [
        (ExtendedAttribute(b"n" * 256, b""), "ea-name-too-large"),
        (ExtendedAttribute(b"n", b"v" * 65536), "ea-value-too-large"),
    ],
)
def test_what_does_not_fit_is_refused(attribute: ExtendedAttribute, kind: str) -> None:
    with pytest.raises(FormatError) as caught:
        encode_eas([ExtendedAttribute(b"ok", b""), attribute])
    assert caught.value.kind == kind


def test_padding_after_the_last_entry_is_optional() -> None:
    assert decode_eas(entry(0, b"ab", b"cd")) == ((b"ab", b"cd", 0),)


def test_nothing_after_the_last_entry_is_looked_at() -> None:
    assert decode_eas(entry(0, b"a", b"") + b"\xff" * 50) == ((b"a", b"", 0),)


def test_the_list_may_end_with_an_offset_to_the_end_of_the_buffer() -> None:
    assert decode_eas(entry(10, b"a", b"")) == ((b"a", b"", 0),)


def test_entries_need_not_be_aligned_and_may_leave_a_gap() -> None:
    first = entry(17, b"a", b"1")
    assert decode_eas(first + b"\xee" * (17 - len(first)) + entry(0, b"b", b"2")) == ((b"a", b"1", 0), (b"b", b"2", 0))


def test_the_terminator_of_a_name_is_not_checked() -> None:
    assert decode_eas(pack("<IBBH", 0, 0, 1, 1) + b"a\xffv") == ((b"a", b"v", 0),)


def test_an_offset_into_its_own_entry_is_followed() -> None:
    overlapping = pack("<IBBH", 1, 0, 0, 0) + bytes(9)
    assert decode_eas(overlapping)[0] == (b"", b"", 0)


@pytest.mark.parametrize(
    "buffer",
    [
        b"\0" * 7,
        pack("<IBBH", 0, 0, 0, 0),
        pack("<IBBH", 0, 0, 1, 0) + b"a",
        pack("<IBBH", 0, 0, 1, 2) + b"a\0v",
        entry(11, b"a", b""),
        entry(0xFFFFFFFF, b"a", b""),
        entry(12, b"a", b"") + b"\0\0" + b"\0" * 5,
    ],
)
def test_an_entry_or_offset_beyond_the_buffer_is_refused(buffer: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        decode_eas(buffer)
    assert caught.value.kind == "ea-buffer"


def test_entries_that_overlap_endlessly_do_not_fill_the_memory() -> None:
    # Each of 32768 entries claims the 65535 bytes behind it as its value.
    with pytest.raises(LimitError):
        decode_eas(pack("<IBBH", 8, 0, 0, 0xFFFF) * (1 << 15))


@given(st.binary(max_size=400))
def test_garbage_is_refused_or_read_but_nothing_else(data: bytes) -> None:
    try:
        decoded = decode_eas(data)
    except WclayerError:
        return
    assert all(len(one.name) <= 255 and len(one.value) <= 65535 for one in decoded)


@given(st.lists(attributes, min_size=1, max_size=4), st.data())
def test_a_damaged_list_is_refused_or_read_but_nothing_else(
    given_attributes: list[ExtendedAttribute], data: st.DataObject
) -> None:
    buffer = bytearray(encode_eas(given_attributes))
    buffer[data.draw(st.integers(0, len(buffer) - 1))] = data.draw(st.integers(0, 255))
    with suppress(WclayerError):
        decode_eas(bytes(buffer[: data.draw(st.integers(0, len(buffer)))]))
