"""Paths as people write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import NotFoundError, UsageError
from wclayer.image.paths import layer_path, link_destination, windows_path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("C:\\Windows\\System32", "Files/Windows/System32"),
        ("c:/Windows//System32/", "Files/Windows/System32"),
        ("\\\\?\\C:\\Windows", "Files/Windows"),
        ("\\??\\C:\\Windows", "Files/Windows"),
        ("/Windows", "Files/Windows"),
        ("\\Windows", "Files/Windows"),
        ("Windows", "Files/Windows"),
        ("Windows\\.\\x\\..\\y", "Files/Windows/y"),
        ("Files/Windows", "Files/Windows"),
        ("files\\Windows", "files/Windows"),
        ("C:\\Files", "Files/Files"),
        ("Hives/Software_Base", "Hives/Software_Base"),
        ("UtilityVM", "UtilityVM"),
        ("C:", "Files"),
        ("/", "Files"),
        ("", "Files"),
        (".", ""),
        ("C:\\..\\..\\x", "Files/x"),
        ("..", "Files"),
    ],
)
def test_every_spelling_means_a_path_of_the_layer(text: str, path: str) -> None:
    assert layer_path(text) == path


def test_another_drive_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="only C:"):
        layer_path("D:\\x")


@pytest.mark.parametrize("text", ["x/a:b", "x\0y", "Files/a:stream"])
def test_what_no_file_can_be_called_is_a_mistake(text: str) -> None:
    with pytest.raises(UsageError, match="is not a path"):
        layer_path(text)


@pytest.mark.parametrize(
    ("path", "text"),
    [("Files", "C:\\"), ("files/A/b", "C:\\A\\b"), ("Hives/x", "Hives/x"), ("", "."), ("Filesystem/x", "Filesystem/x")],
)
def test_what_the_container_sees_is_printed_as_windows_prints_it(path: str, text: str) -> None:
    assert windows_path(path) == text


@given(st.text(), st.lists(st.sampled_from(["Files", "UtilityVM", "Hives", "x", "files"]), max_size=4))
def test_a_link_never_leads_above_the_layer(target: str, folder: list[str]) -> None:
    try:
        path = link_destination(target, "/".join(folder))
    except NotFoundError:
        return
    assert not {"", ".", ".."} & set(path.split("/") if path else [])
