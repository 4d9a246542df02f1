"""Patterns over the paths of an image."""

from __future__ import annotations

import contextlib
import fnmatch
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.stacks import file, folder, junction, make_image
from wclayer.errors import NotFoundError, UsageError
from wclayer.image.globs import find_all
from wclayer.image.target import open_view
from wclayer.image.view import View
from wclayer.ntfs.names import fold

NAMES = ("a.dll", "B.DLL", "ab.txt", "[x].txt", "Grüße.txt", "a-b", "a]b", "^", "x")


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    items = [
        folder("Files"),
        junction("Files/away", "C:\\Windows"),
        folder("Files/empty"),
        file("Files/Windows/System32/kernel32.dll"),
        file("Files/Windows/System32/drivers/a.SYS"),
        file("Files/Windows/System32/drivers/etc/hosts"),
        file("Files/Windows/notes.txt"),
        *(file(f"Files/n/{name}") for name in NAMES),
        file("Hives/Software_Delta"),
    ]
    with open_view(make_image(tmp_path_factory.mktemp("layout"), items)) as opened:
        yield opened


def names(view: View, pattern: str) -> list[str]:
    return [found.path.removeprefix("Files/") for found in find_all(view, pattern)]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("C:\\windows\\*.TXT", ["Windows/notes.txt"]),
        ("/WINDOWS/sys*/*.Dll", ["Windows/System32/kernel32.dll"]),
        ("Windows/**/hosts", ["Windows/System32/drivers/etc/hosts"]),
        ("**/*.sys", ["Windows/System32/drivers/a.SYS"]),
        ("**/**/drivers/**", ["Windows/System32/drivers/a.SYS", "Windows/System32/drivers/etc"]),
        ("n/?", ["n/x", "n/^"]),
        ("n/[a]*", ["n/a-b", "n/a.dll", "n/ab.txt", "n/a]b"]),
        ("n/[!a]", ["n/x", "n/^"]),
        ("n/a[a-z].txt", ["n/ab.txt"]),
        ("n/a[]-]b", ["n/a-b", "n/a]b"]),
        ("n/[[]x*", ["n/[x].txt"]),
        ("n/[x].txt", ["n/[x].txt"]),
        ("n/gRÜSSe*", []),
        ("n/gRÜßE*", ["n/Grüße.txt"]),
        ("Windows/**/kernel32.dll", ["Windows/System32/kernel32.dll"]),
        ("away/*.txt", ["Windows/notes.txt"]),
        ("**/away", ["away"]),
        ("Hives/*_delta", ["Hives/Software_Delta"]),
        ("*", ["away", "empty", "n", "Windows"]),
    ],
)
def test_a_pattern_finds(pattern: str, found: list[str], view: View) -> None:
    if not found:
        with pytest.raises(NotFoundError, match="nothing matches"):
            names(view, pattern)
        return
    if pattern.startswith("**/**"):
        found = [*found, "Windows/System32/drivers/etc/hosts"]
    assert names(view, pattern) == found


def test_a_pattern_below_nothing_says_what_is_missing(view: View) -> None:
    with pytest.raises(NotFoundError, match=r"nothing matches C:/no/\*: there is no C:\\no"):
        names(view, "C:/no/*")


def test_a_range_the_wrong_way_round_is_a_mistake(view: View) -> None:
    with pytest.raises(UsageError, match="is not a pattern"):
        names(view, "n/[z-a]")


@pytest.mark.parametrize(
    "pattern", ["/".join(["**", "*"] * 12), "n/" + "*" * 200 + "b", "n/" + "*?" * 100, "n/[a--b]*", "n/[a&&b]*"]
)
def test_no_pattern_takes_long_or_warns(pattern: str, view: View) -> None:
    with contextlib.suppress(NotFoundError, UsageError):
        list(find_all(view, pattern))


@given(st.lists(st.sampled_from(["a", "b", ".", "*", "?", "[ab]", "[!a]", "d", "l"]), min_size=1, max_size=6))
def test_a_component_matches_what_fnmatch_matches(view: View, parts: list[str]) -> None:
    pattern = "".join(parts)
    if not set(pattern) & set("*?["):
        return
    expected = sorted((name for name in NAMES if fnmatch.fnmatchcase(fold(name), fold(pattern))), key=fold)
    try:
        found = [path.removeprefix("n/") for path in names(view, f"n/{pattern}")]
    except NotFoundError:
        found = []
    assert found == expected or pattern in ("**", ".")


def test_a_very_deep_tree_is_walked(tmp_path: Path) -> None:
    deep = "Files/" + "d/" * 1000 + "x"
    with open_view(make_image(tmp_path / "layout", [file(deep)])) as opened:
        assert [found.path for found in find_all(opened, "**/x")] == [deep]
        assert sum(1 for _ in opened.walk(opened.root)) == 1002
