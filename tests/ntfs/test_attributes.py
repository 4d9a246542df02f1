"""File attributes: every bit has a name or shows its number, and a listing shows the letters people know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.ntfs import attributes

U32 = st.integers(min_value=0, max_value=2**32 - 1)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("READONLY", 0x1),
        ("HIDDEN", 0x2),
        ("SYSTEM", 0x4),
        ("DIRECTORY", 0x10),
        ("ARCHIVE", 0x20),
        ("NORMAL", 0x80),
        ("TEMPORARY", 0x100),
        ("SPARSE_FILE", 0x200),
        ("REPARSE_POINT", 0x400),
        ("COMPRESSED", 0x800),
        ("OFFLINE", 0x1000),
        ("NOT_CONTENT_INDEXED", 0x2000),
        ("ENCRYPTED", 0x4000),
        ("INTEGRITY_STREAM", 0x8000),
        ("NO_SCRUB_DATA", 0x20000),
        ("RECALL_ON_OPEN", 0x40000),
        ("PINNED", 0x80000),
        ("UNPINNED", 0x100000),
        ("RECALL_ON_DATA_ACCESS", 0x400000),
    ],
)
def test_the_bits_of_ms_fscc(name: str, value: int) -> None:
    assert getattr(attributes, f"FILE_ATTRIBUTE_{name}") == value
    assert attributes.names(value) == [name]


def test_names_come_lowest_bit_first_and_unknown_bits_as_numbers() -> None:
    assert attributes.names(0) == []
    assert attributes.names(0x410) == ["DIRECTORY", "REPARSE_POINT"]
    assert attributes.names(0x80000028) == ["0x00000008", "ARCHIVE", "0x80000000"]


def test_the_bit_of_two_names_is_one_bit() -> None:
    assert attributes.FILE_ATTRIBUTE_EA == attributes.FILE_ATTRIBUTE_RECALL_ON_OPEN


@given(U32)
def test_names_tell_every_bit(word: int) -> None:
    total = 0
    for name in attributes.names(word):
        total += int(name, 16) if name.startswith("0x") else getattr(attributes, f"FILE_ATTRIBUTE_{name}")
    assert total == word


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        (0, "------"),
        (0x10, "D-----"),
        (0x20, "--A---"),
        (0x80, "------"),
        (0x27, "--ASHR"),
        (0x410, "DL----"),
        (0x2230, "D-A---Ip"),
        (0x5820, "--A---OCE"),
        (0x80000, "------P"),
        (0x100000, "------U"),
    ],
)
def test_letters_of_a_listing(word: int, shown: str) -> None:
    assert attributes.letters(word) == shown


@given(U32)
def test_letters_keep_their_columns(word: int) -> None:
    shown = attributes.letters(word)
    assert all(letter in (column, "-") for letter, column in zip(shown, "DLASHR", strict=False))
    assert len(shown) >= 6
    assert "-" not in shown[6:]
