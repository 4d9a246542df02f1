"""Random stacks of layers against the rules written down a second time, in the plainest way.

The model applies one layer after the other, base first, to a dictionary of folded paths; the view looks from the top.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.image.stacks import data_of, file, folder, gone, link, make_image
from wclayer.formats.folder import LayerFolder, LayerFolderReader
from wclayer.image.flatten import unpack_merged
from wclayer.image.target import open_view
from wclayer.image.unpack import unpack
from wclayer.image.view import View
from wclayer.model import Entry, HardLink, LayerItem, Tombstone
from wclayer.ntfs.names import fold

NAMES = ("a", "A", "b", "Ä", "ä")
ROOTS = ("Files", "files", "UtilityVM/Files", "Hives")

Key = tuple[str, ...]


@dataclass
class Layer:
    """What one layer says: for each folded path a kind (``folder``, ``file``, ``link``), a spelling, and content."""

    entries: dict[Key, tuple[str, str, bytes]] = field(default_factory=dict)
    deleted: set[Key] = field(default_factory=set)
    items: list[LayerItem] = field(default_factory=list)


@dataclass
class Seen:
    """What the model holds at a path. A name is spelt as its nearest entry spells it, else as it is last mentioned."""

    is_folder: bool
    content: bytes
    spelling: str
    is_entry: bool


def key_of(path: str) -> Key:
    return tuple(fold(name) for name in path.split("/"))


def below(path: Key, folder: Key) -> bool:
    return path[: len(folder)] == folder


def can_delete(path: Key) -> bool:
    return path[:1] == ("FILES",) or path[:2] == ("UTILITYVM", "FILES")


@st.composite
def stacks(draw: st.DrawFn) -> list[Layer]:
    layers: list[Layer] = []
    for _ in range(draw(st.integers(1, 4))):
        layers.append(_layer(draw, layers, len(layers)))
    return layers


def _layer(draw: st.DrawFn, lower: list[Layer], number: int) -> Layer:
    layer = Layer()
    for count in range(draw(st.integers(0, 8))):
        depth = draw(st.integers(1, 3))
        path = "/".join((draw(st.sampled_from(ROOTS)), *(draw(st.sampled_from(NAMES)) for _ in range(depth))))
        key = key_of(path)
        kind = draw(st.sampled_from(("folder", "file", "file", "link", "gone", "gone")))
        above = [key[:length] for length in range(1, len(key))]
        if any(layer.entries.get(one, ("folder",))[0] != "folder" for one in above):
            continue
        if kind == "gone":
            if key not in layer.deleted:
                layer.deleted.add(key)
                layer.items.append(gone(path))
            continue
        taken = key in layer.entries or any(below(other, key) for other in layer.entries | dict.fromkeys(layer.deleted))
        if key in layer.entries or (taken and kind != "folder" and key not in layer.deleted):
            continue
        if kind != "folder" and any(below(other, key) and other != key for other in {*layer.entries, *layer.deleted}):
            continue
        content = f"{number}.{count}".encode()
        if kind == "folder":
            layer.items.append(folder(path))
        elif kind == "file":
            layer.items.append(file(path, content))
        else:
            targets = list(_targets(layer, lower, key))
            if not targets:
                continue
            target, content = draw(st.sampled_from(targets))
            layer.items.append(link(path, target))
        layer.entries[key] = (kind, path, content)
    return layer


def _targets(layer: Layer, lower: list[Layer], key: Key) -> Iterator[tuple[str, bytes]]:
    """What a link may name: files of its own layer, and whatever the nearest layer below has that is no folder."""
    known: dict[Key, tuple[str, str, bytes]] = {}
    folders: set[Key] = set()
    for one in lower:
        known |= one.entries
        for path in {*one.entries, *one.deleted}:
            folders |= {path[:length] for length in range(1, len(path))}
    for path, (kind, spelling, content) in known.items():
        if kind != "folder" and path not in folders and (path == key or path not in layer.entries):
            yield spelling.swapcase() if number_of(content) % 2 else spelling, content
    for path, (kind, spelling, content) in layer.entries.items():
        if kind == "file" and path != key:
            yield spelling, content


def number_of(content: bytes) -> int:
    return content[-1]


def model(layers: list[Layer]) -> dict[Key, Seen]:
    """The view of ``layers``, base first."""
    state: dict[Key, Seen] = {}
    for layer in layers:
        for gone_path in layer.deleted:
            if can_delete(gone_path):
                for path in [path for path in state if below(path, gone_path)]:
                    del state[path]
        names = names_in(layer)
        for path, (kind, spelling, content) in layer.entries.items():
            if kind == "file" and path in layer.deleted and can_delete(path):
                continue
            for depth in range(1, len(path)):
                _put_folder(state, path[:depth], names[path[:depth]])
            if kind == "folder":
                _put_folder(state, path, names[path])
            else:
                for other in [other for other in state if below(other, path)]:
                    del state[other]
                state[path] = Seen(is_folder=False, content=content, spelling=spelling.split("/")[-1], is_entry=True)
    return state


def _put_folder(state: dict[Key, Seen], path: Key, name: tuple[str, bool]) -> None:
    spelling, is_entry = name
    there = state.get(path)
    if there is not None and there.is_folder and there.is_entry and not is_entry:
        return
    state[path] = Seen(is_folder=True, content=b"", spelling=spelling, is_entry=is_entry)


def names_in(layer: Layer) -> dict[Key, tuple[str, bool]]:
    """How a layer spells its folders, and whether an entry says so: otherwise the first mention that is no deletion's."""
    mentions: dict[str, bool] = {}
    for item in layer.items:
        parts = item.path.split("/")
        for depth in range(1, len(parts)):
            path = "/".join(parts[:depth])
            mentions[path] = mentions.get(path, False) or not isinstance(item, Tombstone)
    names = {}
    for path, real in mentions.items():
        if real:
            names.setdefault(key_of(path), (path.split("/")[-1], False))
    for key, (kind, spelling, _) in layer.entries.items():
        if kind == "folder":
            names[key] = (spelling.split("/")[-1], True)
    return names


def shown(view: View) -> dict[Key, tuple[bool, bytes, str]]:
    return {
        key_of(found.path): (found.is_folder, b"" if found.is_folder else data_of(view, found), found.name)
        for found in view.walk(view.root)
    }


def expected(layers: list[Layer]) -> dict[Key, tuple[bool, bytes, str]]:
    return {path: (seen.is_folder, seen.content, seen.spelling) for path, seen in model(layers).items()}


@given(stacks())
@settings(max_examples=300)
def test_a_view_shows_what_applying_the_layers_one_by_one_gives(layers: list[Layer]) -> None:
    with tempfile.TemporaryDirectory() as name:
        temporary = Path(name)
        reference = make_image(temporary / "layout", *(layer.items for layer in layers), compression="none")
        with open_view(reference) as view:
            assert shown(view) == expected(layers)
            for found in view.walk(view.root):
                again = view.find(found.path.swapcase())
                assert (again.path, again.layer, again.parts) == (found.path, found.layer, found.parts)
        unpack(reference, temporary / "out")
        with open_view(str(temporary / "out")) as view:
            assert shown(view) == expected(layers)
        unpack_merged(str(temporary / "out"), temporary / "merged")
        with LayerFolder(temporary / "merged") as merged:
            items = list(LayerFolderReader(merged))
        assert all(isinstance(item, Entry | HardLink) for item in items)
        with open_view(str(temporary / "merged")) as view:
            assert shown(view) == expected(layers)
