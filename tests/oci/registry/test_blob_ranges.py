"""Ranges as HTTP spells them: read to the letter, and nothing else taken for one."""

from __future__ import annotations

import pytest

from wclayer.errors import NetworkError
from wclayer.oci.registry.ranges import (
    content_range,
    parse_content_range,
    parse_unsatisfied,
    parse_upload_range,
    range_header,
    split,
)


def test_ranges_are_asked_for_with_their_last_byte() -> None:
    assert range_header(0, 1) == "bytes=0-0"
    assert range_header(100, 200) == "bytes=100-199"
    assert range_header(100, None) == "bytes=100-"
    assert content_range(0, 1024) == "0-1023"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-0/1", (0, 1, 1)),
        ("bytes 100-199/4000", (100, 200, 4000)),
        ("bytes 100-199/*", (100, 200, None)),
        (" bytes=100-199/200 ", (100, 200, 200)),
    ],
)
def test_a_content_range_is_read(text: str, expected: tuple[int, int, int | None]) -> None:
    assert parse_content_range(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes 5-4/10",
        "bytes 0-10/10",
        "bytes -5/10",
        "bytes 0-/10",
        "items 0-1/2",
        "bytes 0-1/2, bytes 3-4/5",
        "bytes 0x0-1/2",
        "bytes ٠-٩/١٢",
        "bytes 0-99999999999999999999999/*",
        "bytes */100",
    ],
)
def test_what_is_no_content_range_is_refused(text: str) -> None:
    with pytest.raises(NetworkError, match="Content-Range"):
        parse_content_range(text)


def test_the_size_in_a_refusal_is_read() -> None:
    assert parse_unsatisfied("bytes */1234") == 1234
    assert parse_unsatisfied("bytes 0-1/1234") is None
    assert parse_unsatisfied("") is None


@pytest.mark.parametrize(("text", "expected"), [("", 0), ("0-0", 0), ("0-1", 2), ("0-99", 100), ("bytes=0-99", 100)])
def test_how_far_an_upload_got_is_read(text: str, expected: int) -> None:
    assert parse_upload_range(text, 100) == expected


@pytest.mark.parametrize("text", ["1-99", "0-100", "99", "0--1", "0-1/100", "0-99999999999999999999"])
def test_what_no_upload_can_have_is_refused(text: str) -> None:
    with pytest.raises(NetworkError):
        parse_upload_range(text, 100)


def test_missing_ranges_are_cut_into_pieces_in_order() -> None:
    assert list(split([(0, 5), (10, 25)], 10)) == [(0, 5), (10, 20), (20, 25)]
    assert list(split([], 10)) == []
