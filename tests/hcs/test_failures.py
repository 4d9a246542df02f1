"""What a failing call becomes: the code callers look at, and the text they match on."""

from __future__ import annotations

import pytest

from tests.hcs.fake_library import library
from wclayer.errors import UnsupportedError, WclayerError
from wclayer.hcs.failures import HcsError, NotOffWindowsError, win32_code, win32_message


@pytest.mark.parametrize(
    ("hresult", "code"),
    [
        (0x80070005, 5),
        (0x80070003, 3),
        (-2147024891, 5),
        (0x80070476, 0x476),
        (0xC0370106, 0xC0370106),
        (0x80004005, 0x80004005),
        (0xC0070002, 2),
        (0x90070002, 0x90070002),
    ],
)
def test_53_an_hresult_of_win32_gives_its_code_and_any_other_stays(hresult: int, code: int) -> None:
    assert win32_code(hresult) == code


@pytest.mark.parametrize(
    ("result", "code"), [(0, 0), (1, 0), (0x7FFFFFFF, 0), (-2147024891, 5), (0x80070005, 5), (-1070137082, 0xC0370106)]
)
def test_53_success_is_what_is_not_negative(result: int, code: int) -> None:
    assert library(Do=lambda: result).call("Do") == code


def test_a_win32_function_returns_its_code_itself() -> None:
    assert library(Do=lambda: 0x80070005).call_win32("Do") == 0x80070005


def test_53_a_missing_export_says_so() -> None:
    with pytest.raises(UnsupportedError, match=r"fake\.dll of this Windows has no Do"):
        library().call("Do")


def test_53_the_text_is_that_of_hcsshim() -> None:
    error = HcsError("hcsshim::ImportLayer", 3, path="C:\\layers\\4")
    expected = "hcsshim::ImportLayer failed in Win32: The system cannot find the path specified. (0x3)"
    assert error.message == expected
    assert HcsError("hcsshim::X", 3, "(first call)").message.endswith("(0x3) (first call)")
    assert error.exit_code == 8
    assert error.code == 3


def test_a_code_without_a_message_is_shown_as_a_number() -> None:
    assert win32_message(0xC0370106) == "winapi error #3224830214"


def test_the_error_off_windows_names_the_function_and_its_library() -> None:
    error = NotOffWindowsError("activating a layer", "ActivateLayer", "vmcompute.dll")
    assert isinstance(error, WclayerError)
    assert (error.api, error.library, error.exit_code) == ("ActivateLayer", "vmcompute.dll", 7)
    assert "ActivateLayer of vmcompute.dll" in str(error)
