r"""The ``\\?\`` form of Windows paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import UsageError
from wclayer.hcs.longpath import long_path

HERE = "C:\\work\\now"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("\\\\?\\x", "\\\\?\\x"),
        ("\\\\.\\pipe\\x", "\\\\.\\pipe\\x"),
        ("\\\\srv\\sh\\x", "\\\\?\\UNC\\srv\\sh\\x"),
        ("//srv/sh/x/../y", "\\\\?\\UNC\\srv\\sh\\y"),
        ("C:\\x", "\\\\?\\C:\\x"),
        ("C:/a/../b", "\\\\?\\C:\\b"),
        ("C:\\a\\.\\b\\\\c\\", "\\\\?\\C:\\a\\b\\c"),
        ("x", "\\\\?\\C:\\work\\now\\x"),
        ("..\\x", "\\\\?\\C:\\work\\x"),
        ("\\x", "\\\\?\\C:\\x"),
        ("C:x", "\\\\?\\C:\\work\\now\\x"),
        ("", "\\\\?\\C:\\work\\now"),
        ("\\\\?\\C:\\a\\..\\b", "\\\\?\\C:\\a\\..\\b"),
    ],
)
def test_04_paths_become_long_and_clean(path: str, expected: str) -> None:
    assert long_path(path, current_directory=HERE) == expected


@pytest.mark.parametrize("path", ["D:x", "a\0b"])
def test_04_paths_that_mean_nothing_are_refused(path: str) -> None:
    with pytest.raises(UsageError):
        long_path(path, current_directory=HERE)


def test_a_relative_current_folder_is_refused() -> None:
    with pytest.raises(UsageError, match="no absolute Windows path"):
        long_path("x", current_directory="work")


@given(st.text(alphabet="ab./\\:CD?"))
def test_the_result_is_long_and_stable(path: str) -> None:
    try:
        found = long_path(path, current_directory=HERE)
    except UsageError:
        return
    assert found.startswith(("\\\\?\\", "\\\\.\\"))
    assert long_path(found, current_directory=HERE) == found
