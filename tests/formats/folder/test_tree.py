"""Layers on file systems that hold fewer names than Windows does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.formats.folder.layers import file, folder, plain, read, tree, write
from wclayer.errors import StoreError, UnsafeEntryError
from wclayer.formats.folder import LayerFolder, verify_folder
from wclayer.formats.folder.door import Door, NameRefusedError, NameTakenError
from wclayer.formats.folder.tree import HostTree
from wclayer.model import HardLink, LayerItem

METHODS = {"create": 0, "make_directory": 0, "link": 3}  # and where the folder stands among the arguments


@pytest.fixture
def one_case(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system like those of macOS and Windows, which take names for the same that differ in case."""
    taken: set[tuple[Door, bytes, bytes]] = set()

    def folding(method: str, place: int) -> Any:
        real = getattr(Door, method)

        def guarded(self: Door, *arguments: Any, **options: Any) -> Any:
            parent, leaf = arguments[place : place + 2]
            name = (self, parent.lower(), leaf.lower())
            if name in taken:
                raise NameTakenError("taken")
            taken.add(name)
            return real(self, *arguments, **options)

        return guarded

    for method, place in METHODS.items():
        monkeypatch.setattr(Door, method, folding(method, place))
    monkeypatch.setattr(HostTree, "_probe", lambda _self: True)


@pytest.fixture
def short_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system whose names are shorter than those of others, as encrypted ones have them."""

    def refusing(method: str, place: int) -> Any:
        real = getattr(Door, method)

        def guarded(self: Door, *arguments: Any, **options: Any) -> Any:
            if len(arguments[place + 1]) > 40:
                raise NameRefusedError("too long")
            return real(self, *arguments, **options)

        return guarded

    for method, place in METHODS.items():
        monkeypatch.setattr(Door, method, refusing(method, place))


ITEMS: list[LayerItem] = [
    folder("Files"),
    file("Files/a", b"1"),
    file("Files/A", b"2"),
    folder("files"),
    file("files/a", b"3"),
    HardLink("Files/l", "Files/a"),
    HardLink("Files/L", "Files/A"),
    file("fiLES/sub/x", b"4"),
]


@pytest.mark.replaces_methods
@pytest.mark.usefixtures("one_case")
def test_names_that_differ_in_case_stand_side_by_side_where_the_system_folds_them(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", *ITEMS)
    assert read(path) == plain(ITEMS)
    names = [name.lower() for name in tree(path)]
    assert len(set(names)) == len(names)
    with LayerFolder(path) as opened:
        assert verify_folder(opened) == []


@pytest.mark.usefixtures("one_case")
@pytest.mark.parametrize(
    "items",
    [
        [file("a"), file("a")],
        [file("a"), file("A"), file("A")],
        [folder("a"), file("a")],
        [file("a"), folder("a")],
        [file("a"), file("a/b")],
        [file("x"), HardLink("a", "x"), HardLink("a", "x")],
    ],
)
def test_the_same_name_is_still_refused(tmp_path: Path, items: list[LayerItem]) -> None:
    with pytest.raises(UnsafeEntryError):
        write(tmp_path / "layer", *items)
    assert tree(tmp_path) == set()


@pytest.mark.usefixtures("short_names")
def test_names_that_the_system_finds_too_long_get_others(tmp_path: Path) -> None:
    long = "x" * 60
    items: list[LayerItem] = [folder(long), file(f"{long}/{long}", b"1"), HardLink(f"{long}/l{long}", f"{long}/{long}")]
    path = write(tmp_path / "layer", *items)
    assert read(path) == plain(items)
    with LayerFolder(path) as opened:
        assert verify_folder(opened) == []


@pytest.mark.replaces_methods
@pytest.mark.parametrize("method", METHODS)
def test_a_name_that_cannot_be_made_at_all_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    def refused(_self: Door, *arguments: object, **_options: object) -> None:
        raise NameRefusedError("too long")

    monkeypatch.setattr(HostTree, "_probe", lambda _self: False)
    monkeypatch.setattr(Door, method, refused)
    with pytest.raises(StoreError, match="too long"):
        write(tmp_path / "layer", file("Files/a"), HardLink("Files/l", "Files/a"))
    assert tree(tmp_path) == set()
