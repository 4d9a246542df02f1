"""PAX records and the times in them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.tar.archives import records
from wclayer.errors import FormatError, WclayerError
from wclayer.formats.tar.pax import (
    MAX_RECORDS,
    format_record,
    format_time,
    join_records,
    parse_integer,
    parse_records,
    parse_time,
    record_pairs,
)

SECOND = 1_000_000_000
KEYS = st.binary(min_size=1, max_size=40).filter(lambda key: b"=" not in key and b"\0" not in key)
VALUES = st.binary(max_size=60) | st.sampled_from([b"a\nb", b"\n", b"12 x=y\n", b"=", b"v" * 990])


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8))
def test_records_come_back(pairs: list[tuple[bytes, bytes]]) -> None:
    pairs = [(key, value) for key, value in pairs if key not in (b"path", b"linkpath", b"uname", b"gname")]
    data = join_records(pairs)
    assert data == records(*pairs)
    assert record_pairs(data) == pairs
    assert parse_records(data) == dict(pairs)


@pytest.mark.parametrize("size", [9, 10, 11, 98, 99, 100, 101, 999, 1000, 1001, 10_000])
def test_the_length_counts_itself(size: int) -> None:
    for wanted in (size, size + 1):
        record = next(
            (r for n in range(wanted) if len(r := format_record(b"key", b"v" * n)) >= wanted),
            format_record(b"key", b""),
        )
        assert int(record.partition(b" ")[0]) == len(record)
        assert parse_records(record) == {b"key": record[record.index(b"=") + 1 : -1]}


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", {}),
        (b"6 a=b\n", {b"a": b"b"}),
        (b"5 a=\n", {b"a": b""}),
        (b"+6 a=\n", {b"a": b""}),
        (b"007 a=\n", {b"a": b""}),
        (b"6 a=b\n6 a=c\n", {b"a": b"c"}),
        (b"8 a==b=\n", {b"a": b"=b="}),
        (b"9 a=\nb\n\n6 c=d\n", None),
        (b"8 a=\nb\n\n", {b"a": b"\nb\n"}),
        (b"8 a=b\0c\n", {b"a": b"b\0c"}),
        (b"11 path=b\0\n", None),
        (b"11 path=b\0\n9 path=c\n", None),
        (b"8 a\0b=c\n", None),
        (b"6 a=b", None),
        (b"6 a=bc", None),
        (b"7 a=b\n", None),
        (b"5 a=b\n", None),
        (b"4 a=\n", None),
        (b"-6 a=b\n", None),
        (b" 6 a=b\n", None),
        (b"6  a=b\n", None),
        (b"6 =ab\n", None),
        (b"6 abc\n", None),
        (b"0 a=b\n", None),
        (b"99999999999999999999 a=b\n", None),
        (b"6 a=b\n\0\0", None),
        (b"6 a=b\n\n", None),
        (b"x", None),
        (b"1_0 abc=de\n", None),
        (b"\xd9\xa6 a=b\n", None),
    ],
)
def test_spellings_of_records(data: bytes, expected: dict[bytes, bytes] | None) -> None:
    for _ in range(2):  # prefixes are remembered: what was refused once stays refused
        if expected is None:
            with pytest.raises(FormatError) as error:
                parse_records(data)
            assert error.value.kind == "tar-header"
        else:
            assert parse_records(data) == expected


def test_a_prefix_that_is_known_is_still_checked() -> None:
    assert parse_records(b"12 known=ab\n") == {b"known": b"ab"}
    for data in (b"12 known=abc\n", b"12 known=a\n", b"12 known\n", b"12 knownxab\n", b"8 known\n"):
        with pytest.raises(FormatError):
            parse_records(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_records_or_an_error(data: bytes) -> None:
    try:
        pairs = record_pairs(data)
    except WclayerError:
        with pytest.raises(FormatError):
            parse_records(data)
        return
    assert parse_records(data) == dict(pairs)


@pytest.mark.parametrize(
    ("key", "value"), [(b"", b"v"), (b"a=b", b""), (b"a\0", b""), (b"path", b"\0"), (b"linkpath", b"a\0b")]
)
def test_records_that_nobody_could_read_are_not_written(key: bytes, value: bytes) -> None:
    with pytest.raises(FormatError) as error:
        format_record(key, value)
    assert error.value.kind == "pax-record"


def test_a_megabyte_is_the_most() -> None:
    assert len(join_records([(b"k", b"v" * (MAX_RECORDS - 11))])) == MAX_RECORDS
    with pytest.raises(FormatError) as error:
        join_records([(b"k", b"v" * (MAX_RECORDS - 10))])
    assert error.value.kind == "header-too-long"


@pytest.mark.parametrize(
    ("nanoseconds", "text"),
    [
        (0, b"0"),
        (-5 * SECOND, b"-5"),
        (1684318830 * SECOND, b"1684318830"),
        (SECOND // 2, b"0.5"),
        (-SECOND // 2, b"-0.5"),
        (-3 * SECOND // 2, b"-1.5"),
        (1, b"0.000000001"),
        (-1, b"-0.000000001"),
        (10 * SECOND + 100, b"10.0000001"),
        (132223104123456789 * 100 - 116444736 * 10**11, b"1577836812.3456789"),
    ],
)
def test_the_text_of_times(nanoseconds: int, text: bytes) -> None:
    assert format_time(nanoseconds) == text
    assert parse_time(text) == nanoseconds


@given(st.integers(-(2**63) * SECOND, 2**63 * SECOND - 1).filter(lambda n: n != -62135596800 * SECOND))
def test_times_come_back(nanoseconds: int) -> None:
    assert parse_time(format_time(nanoseconds)) == nanoseconds


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        (b"7.", 7 * SECOND),
        (b"+7.5", 15 * SECOND // 2),
        (b"007", 7 * SECOND),
        (b"-0.5", -SECOND // 2),
        (b"-0", 0),
        (b"1.0000000019", SECOND + 1),
        (b"1." + b"9" * 40, SECOND + 999_999_999),
        (b"0" * 30 + b"1.5", 3 * SECOND // 2),
        (b"9223372036854775807", (2**63 - 1) * SECOND),
        (b"-62135596800", None),
        (b"-62135596800.0", None),
    ],
)
def test_odd_spellings_of_times(text: bytes, nanoseconds: int | None) -> None:
    assert parse_time(text) == nanoseconds


@pytest.mark.parametrize(
    "text",
    [
        b"", b".", b".5", b"-.5", b"1.5x", b"1.2.3", b"1e3", b" 1", b"1 ", b"0x1", b"1_0", b"1.+5", b"1.-5", b"--1",
        b"+", b"1,5", b"9223372036854775808", b"-9223372036854775809", b"9" * 5000, "١".encode(), b"1.\xb2",
    ],
)  # fmt: skip
def test_what_is_no_time(text: bytes) -> None:
    with pytest.raises(FormatError) as error:
        parse_time(text)
    assert error.value.kind == "tar-header"


@pytest.mark.parametrize("text", [b"", b"1.0", b"9223372036854775808", b"+-1", b"1\n"])
def test_what_is_no_integer(text: bytes) -> None:
    with pytest.raises(FormatError):
        parse_integer(text)


@pytest.mark.parametrize(
    "body",
    [
        b"5 a=\n" * (MAX_RECORDS // 5),
        b"6 a=b\n" * (MAX_RECORDS // 6 - 1) + b"7 a=b\n",
        b"\n" * MAX_RECORDS,
        b"1" * MAX_RECORDS,
        b"0" * 4000 + b"7 a=b\n" + b" " * (MAX_RECORDS - 5000),
        b"".join(b"14 %07d=\nx\n" % n for n in range(MAX_RECORDS // 12 - 1)),
        b"".join(b"12 %07d=\n" % n for n in range(MAX_RECORDS // 12 - 1)),
        format_record(b"k", b"\n" * (MAX_RECORDS - 11)),
        b"1048576 mtime=" + b"9" * (MAX_RECORDS - 15) + b"\n",
    ],
    ids=["tiny", "tiny-then-wrong", "newlines", "digits", "zeros", "wrong-lengths", "many-keys", "one", "one-time"],
)
def test_a_hostile_megabyte_is_read_in_linear_time(body: bytes) -> None:
    started = time.process_time()
    try:
        found = parse_records(body[:MAX_RECORDS])
        parse_time(found.get(b"mtime", b"0"))
    except FormatError:
        pass
    assert time.process_time() - started < 5
