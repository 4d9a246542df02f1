"""FILETIMEs: exact everywhere, and wrapped exactly where go-winio wraps."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wclayer.errors import FormatError
from wclayer.ntfs.filetime import (
    ABSENT_IN_REFERENCE,
    UNIX_EPOCH_TICKS,
    from_text,
    from_unix,
    to_text,
    to_unix,
    wrapped_from_unix,
    wrapped_to_unix,
)

FIRST_UNWRAPPED = 24211015631452242
LAST_UNWRAPPED = 208678456368547758
U64 = st.integers(min_value=0, max_value=2**64 - 1)
ANY = st.integers(min_value=-(2**80), max_value=2**80)


@given(ANY)
def test_exact_conversion_loses_nothing(filetime: int) -> None:
    seconds, nanoseconds = to_unix(filetime)
    assert 0 <= nanoseconds < 10**9
    total = seconds * 10**9 + nanoseconds
    assert total == (filetime - UNIX_EPOCH_TICKS) * 100
    assert from_unix(seconds, nanoseconds) == filetime


@pytest.mark.parametrize(
    ("seconds", "nanoseconds", "filetime"),
    [
        (0, 0, UNIX_EPOCH_TICKS),
        (-1, 999_999_990, UNIX_EPOCH_TICKS),
        (-1, 999_999_810, UNIX_EPOCH_TICKS - 1),
        (0, 199, UNIX_EPOCH_TICKS + 1),
        (1577836812, 345678900, 132223104123456789),
    ],
)
def test_what_is_finer_than_a_tick_is_cut_off_toward_1970(seconds: int, nanoseconds: int, filetime: int) -> None:
    assert from_unix(seconds, nanoseconds) == filetime
    assert wrapped_from_unix(seconds, nanoseconds) == filetime


def test_exact_filetimes_before_1601_are_negative() -> None:
    assert from_unix(-11644473600) == 0
    assert from_unix(-11644473601) == -10_000_000


def test_a_filetime_of_zero_wraps_to_2185_and_comes_back_as_another() -> None:
    assert wrapped_to_unix(0) == (6802270473, 709551616)
    assert wrapped_from_unix(6802270473, 709551616) == 184467440737095516


def test_the_time_that_a_tar_does_not_hold_has_its_well_known_value() -> None:
    assert wrapped_from_unix(-62135596800) == ABSENT_IN_REFERENCE == 48491090211286549
    assert to_text(ABSENT_IN_REFERENCE) == "1754-08-30T22:43:41.1286549Z"


@pytest.mark.parametrize("filetime", [FIRST_UNWRAPPED, LAST_UNWRAPPED])
def test_wrapping_begins_right_outside_its_range(filetime: int) -> None:
    assert wrapped_to_unix(filetime) == to_unix(filetime)
    outside = filetime - 1 if filetime == FIRST_UNWRAPPED else filetime + 1
    assert wrapped_to_unix(outside) != to_unix(outside)


def test_one_tick_beyond_the_last_exact_time_lands_in_1677() -> None:
    assert to_text(from_unix(*wrapped_to_unix(LAST_UNWRAPPED + 1))).startswith("1677-09-21")


@given(st.integers(min_value=FIRST_UNWRAPPED, max_value=LAST_UNWRAPPED))
def test_both_arithmetics_agree_where_nothing_wraps(filetime: int) -> None:
    assert wrapped_to_unix(filetime) == to_unix(filetime)
    assert wrapped_from_unix(*to_unix(filetime)) == filetime


def _go(seconds: int, nanoseconds: int) -> int:
    """The same computation, step by step on two's complement words."""
    total = (seconds * 10**9 + nanoseconds) % 2**64
    signed = total - 2**64 if total >= 2**63 else total
    ticks = abs(signed) // 100 * (1 if signed >= 0 else -1)
    return (ticks + UNIX_EPOCH_TICKS) % 2**64


@given(st.integers(min_value=-(2**70), max_value=2**70), st.integers(min_value=0, max_value=10**9 - 1))
def test_wrapping_is_that_of_signed_64_bit_words(seconds: int, nanoseconds: int) -> None:
    assert wrapped_from_unix(seconds, nanoseconds) == _go(seconds, nanoseconds)


@given(U64)
def test_wrapped_seconds_always_fit_64_bits_of_nanoseconds(filetime: int) -> None:
    seconds, nanoseconds = wrapped_to_unix(filetime)
    assert 0 <= nanoseconds < 10**9
    assert -(2**63) <= seconds * 10**9 + nanoseconds < 2**63


@pytest.mark.parametrize(
    ("filetime", "text"),
    [
        (0, "1601-01-01T00:00:00.0000000Z"),
        (1, "1601-01-01T00:00:00.0000001Z"),
        (-1, "1600-12-31T23:59:59.9999999Z"),
        (UNIX_EPOCH_TICKS, "1970-01-01T00:00:00.0000000Z"),
        (132223104123456789, "2020-01-01T00:00:12.3456789Z"),
        (2**63 - 1, "+30828-09-14T02:48:05.4775807Z"),
        (2**64 - 1, "+60056-05-28T05:36:10.9551615Z"),
        (from_unix(951782400), "2000-02-29T00:00:00.0000000Z"),
        (from_unix(-62167219200), "0000-01-01T00:00:00.0000000Z"),
        (from_unix(-62167219200) - 1, "-0001-12-31T23:59:59.9999999Z"),
        (from_unix(253402300800) - 1, "9999-12-31T23:59:59.9999999Z"),
    ],
)
def test_text_is_exact(filetime: int, text: str) -> None:
    assert to_text(filetime) == text
    assert from_text(text) == filetime


@given(ANY)
@example(2**64 - 1)
def test_every_filetime_survives_its_text(filetime: int) -> None:
    assert from_text(to_text(filetime)) == filetime


@given(st.datetimes())
def test_text_agrees_with_the_calendar_of_the_standard_library(moment: datetime) -> None:
    filetime = (moment - datetime(1601, 1, 1)) // timedelta(microseconds=1) * 10
    assert to_text(filetime) == f"{moment.isoformat(timespec='microseconds')}0Z"


def test_a_fraction_may_be_short_or_absent() -> None:
    assert from_text("1601-01-01T00:00:01Z") == 10_000_000
    assert from_text("1601-01-01T00:00:01.5Z") == 15_000_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2020-01-01",
        "2020-01-01T00:00:00",
        "2020-01-01T00:00:00.Z",
        "2020-01-01T00:00:00.12345678Z",
        "2020-01-01T00:00:00+00:00",
        "2020-00-01T00:00:00Z",
        "2020-13-01T00:00:00Z",
        "2020-01-00T00:00:00Z",
        "2019-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2020-04-31T00:00:00Z",
        "2020-01-01T24:00:00Z",
        "2020-01-01T00:60:00Z",
        "2020-01-01T00:00:60Z",
        "٢٠٢٠-01-01T00:00:00Z",
        " 2020-01-01T00:00:00Z",
        "2020-01-01T00:00:00Z\n",
    ],
)
def test_other_spellings_and_times_that_do_not_exist_are_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        from_text(text)
    assert caught.value.kind == "filetime"


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(FormatError):
        assert from_text(to_text(from_text(text))) == from_text(text)
