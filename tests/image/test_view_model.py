"""Random stacks of layers against the rules written down a second time, in the plainest way.

The model applies one layer after the other, base first, to a dictionary of folded paths; the view looks from the top.
"""

from __future__ import annotations

import tempfile
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

    def implies(self, folder: Key) -> bool:
        """Whether anything lies below ``folder``."""
        return any(below(path, folder) and path != folder for path in {*self.entries, *self.deleted})


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
    targets = [path for one in lower for _, path, _ in one.entries.values()]
    for count in range(draw(st.integers(0, 8))):
        depth = draw(st.integers(1, 3))
        path = "/".join((draw(st.sampled_from(ROOTS)), *(draw(st.sampled_from(NAMES)) for _ in range(depth))))
        key = key_of(path)
        kind = draw(st.sampled_from(("folder", "file", "file", "link", "gone", "gone")))
        if any(layer.entries.get(key[:length], ("folder",))[0] != "folder" for length in range(1, len(key))):
            continue
        if kind == "gone":
            if key not in layer.deleted:
                layer.deleted.add(key)
                layer.items.append(gone(path))
            continue
        if key in layer.entries or (kind != "folder" and layer.implies(key)):
            continue
        if kind == "folder":
            layer.items.append(folder(path))
        elif kind == "file":
            layer.items.append(file(path, f"{number}.{count}".encode()))
        elif targets:
            target = draw(st.sampled_from(targets))
            layer.items.append(link(path, draw(st.sampled_from((target, target.swapcase())))))
        else:
            continue
        layer.entries[key] = (kind, path, f"{number}.{count}".encode())
        targets.append(path)
    return _with_good_links(layer, lower)


def _with_good_links(layer: Layer, lower: list[Layer]) -> Layer:
    """``layer`` without links that lead to no file; of the others the content is known now."""
    while True:
        found = {
            key_of(item.path): _content([*lower, layer], item) for item in layer.items if isinstance(item, HardLink)
        }
        bad = {key for key, content in found.items() if content is None}
        if not bad:
            break
        layer.items = [item for item in layer.items if not isinstance(item, HardLink) or key_of(item.path) not in bad]
        for key in bad:
            del layer.entries[key]
    for key, content in found.items():
        layer.entries[key] = ("link", layer.entries[key][1], content or b"")
    return layer


def _content(layers: list[Layer], item: HardLink) -> bytes | None:
    """What a link of the last layer leads to: in its own layer, else in the nearest that has the name."""
    layers = list(layers)
    seen = set()
    own, target = key_of(item.path), key_of(item.target)
    while layers:
        layer = layers[-1]
        kind, _, content = layer.entries.get(target, ("", "", b""))
        if layer.implies(target) or kind == "folder" or (len(layers), own) in seen:
            return None
        if kind and target != own:
            if kind == "file":
                return content
            seen.add((len(layers), own))
            following = next(one for one in layer.items if isinstance(one, HardLink) and key_of(one.path) == target)
            own, target = target, key_of(following.target)
            continue
        layers.pop()
        own = ()
    return None


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
            for depth in range(1, len(path)):
                _put_folder(state, path[:depth], names[path[:depth]])
            if kind == "file" and path in layer.deleted and can_delete(path):
                continue
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
    """How a layer spells its folders, and whether an entry says so; if not, what an entry mentions first counts."""
    mentions: dict[str, bool] = {}
    for item in layer.items:
        parts = item.path.split("/")
        for depth in range(1, len(parts)):
            path = "/".join(parts[:depth])
            mentions[path] = mentions.get(path, False) or not isinstance(item, Tombstone)
    names: dict[Key, tuple[str, bool]] = {}
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
@settings(max_examples=60)
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
