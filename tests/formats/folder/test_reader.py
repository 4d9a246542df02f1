"""Whatever a layer holds comes back in its order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tests.formats.folder.layers import plain, read, write
from wclayer.formats.folder import LayerFolder, LayerFolderReader, verify_folder
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.names import checked_path, fold

LETTER = st.characters(blacklist_characters="/\\:\0.", max_codepoint=0x1FFFF)


def acceptable(name: str) -> bool:
    """Whether ``name`` can be that of an entry."""
    from wclayer.errors import UnsafeEntryError

    try:
        return checked_path(name) == name
    except UnsafeEntryError:
        return False


NAME = st.text(LETTER, min_size=1, max_size=12).filter(acceptable)
TIME = st.none() | st.integers(-(2**66), 2**66) | st.integers(0, 2**64 - 1)
METADATA = st.builds(
    Metadata,
    st.integers(0, 2**32 - 1),
    TIME,
    TIME,
    TIME,
    TIME,
    st.none() | st.binary(max_size=40),
    st.just(()) | st.tuples(st.builds(ExtendedAttribute, st.binary(min_size=1, max_size=9), st.binary(), st.just(0))),
    st.none(),
)


@st.composite
def streams(draw: st.DrawFn) -> Stream:
    """A dense or a sparse stream."""
    data = draw(st.binary(max_size=60))
    if draw(st.booleans()):
        return Stream.from_bytes(data)
    ranges, position = [], 0
    for _ in range(len(data) // 7):
        position += draw(st.integers(0, 9000))
        ranges.append((position, 7))
        position += 7
    stored = data[: 7 * len(ranges)]
    return Stream(position + draw(st.integers(0, 9000)), lambda _n: iter((stored,)), tuple(ranges))


@st.composite
def layers(draw: st.DrawFn) -> list[LayerItem]:
    """Items of a layer in any order, no two of one name."""
    folders = [""] + [f"{name}/" for name in draw(st.lists(NAME, max_size=3, unique_by=fold))]
    paths = draw(
        st.lists(
            st.builds(lambda folder, name: folder + name, st.sampled_from(folders), NAME), max_size=12, unique_by=fold
        )
    )
    taken = {fold(name[:-1]) for name in folders}
    items: list[LayerItem] = []
    files: list[str] = []
    for path in paths:
        kind = draw(st.sampled_from(["file", "folder", "link", "tombstone"]))
        if fold(path) in taken:
            continue
        ordinal = draw(st.integers(-1, 2**62))
        if kind == "file":
            data = draw(st.none() | streams())
            items.append(Entry(path, draw(METADATA), data=data, ordinal=ordinal))
            files.append(path)
        elif kind == "folder":
            items.append(Entry(path, draw(METADATA), is_directory=True, ordinal=ordinal))
        elif kind == "link" and files:
            items.append(HardLink(path, draw(st.sampled_from(files)), draw(METADATA), ordinal))
        else:
            items.append(Tombstone(path, ordinal))
    for name in folders[1:]:
        if draw(st.booleans()):
            place = draw(st.integers(0, len(items)))
            items.insert(place, Entry(name[:-1], draw(METADATA), is_directory=True))
    with_streams: list[LayerItem] = []
    for item in items:
        with_streams.append(item)
        if not isinstance(item, Tombstone):
            names = draw(st.lists(NAME, max_size=2, unique_by=fold))
            with_streams += [AlternateStream(item.path, f":{name}:$DATA", draw(streams()), 7) for name in names]
    return with_streams


@given(layers())
def test_every_layer_comes_back(items: list[LayerItem]) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = write(Path(place) / "layer", *items)
        expected = plain(items)
        assert read(path) == expected
        with LayerFolder(path) as opened:
            assert verify_folder(opened) == []
            reader = LayerFolderReader(opened)
            assert plain(reader) == plain(reader)
            for kind, item_path, *_rest in expected:
                node = opened.lookup(swapped(item_path))
                if kind in ("file", "folder", "link"):
                    assert node is not None
                    assert node.path == item_path
        remove(path)


def swapped(path: str) -> str:
    """``path`` in other letters that Windows takes for the same."""
    return "".join(other if fold(other := letter.swapcase()) == fold(letter) else letter for letter in path)


def remove(path: Path) -> None:
    """Remove a layer that is read-only."""
    from wclayer.formats.folder import remove_layer_folder

    remove_layer_folder(path)


def test_reading_in_parts_gives_the_same(tmp_path: Path) -> None:
    items: list[Any] = [Entry(str(number), Metadata(), data=Stream.from_bytes(bytes([number]))) for number in range(5)]
    path = write(tmp_path / "layer", *items)
    with LayerFolder(path) as opened:
        first = iter(LayerFolderReader(opened))
        second = iter(LayerFolderReader(opened))
        mixed = [next(first), next(second), next(first), next(second)]
        assert [item.path for item in mixed] == ["0", "0", "1", "1"]
