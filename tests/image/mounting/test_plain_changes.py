"""A plain folder beside an image: the layer has what differs, and keeps what a plain folder cannot know."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.image.mounting.conftest import Unpacked
from tests.image.mounting.test_commit import BASE, DESCRIPTOR, committed_items, described
from tests.image.stacks import TIME, data_of, file, folder, folders, junction, symlink
from wclayer.errors import LimitError
from wclayer.image.extract import extract
from wclayer.image.flatten import unpack_merged
from wclayer.image.mounting.committing import commit
from wclayer.image.target import open_view
from wclayer.model import AlternateStream, Entry, HardLink
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build

AT = 1_700_000_000


def plain(image: Path, place: Path) -> Path:
    """Drive C of an image as a plain folder that can be changed."""
    with open_view(str(image)) as view:
        extract(view, ["/"], place)
    return place


def test_the_same_files_make_an_empty_layer(layers: Unpacked, tmp_path: Path) -> None:
    image = layers(BASE)
    place = plain(image, tmp_path / "plain")
    for path in place.rglob("*"):
        os.utime(path, (AT, AT))  # a copy is as new as it is
    assert described(committed_items(place, tmp_path / "layer", image)) == ["+Files", "+Hives"]


def test_an_unpacked_tree_makes_an_empty_layer(sample: str, tmp_path: Path) -> None:
    unpack_merged(sample, tmp_path / "tree")
    done = commit(str(tmp_path / "tree"), str(tmp_path / "layer.tar"), parent=sample)
    assert (done.entries, done.deletions) == (2, 0)


def test_only_what_differs_is_in_the_layer(layers: Unpacked, tmp_path: Path) -> None:
    image = layers(BASE)
    place = plain(image, tmp_path / "plain")
    (place / "d" / "f.txt").write_bytes(b"news")
    os.utime(place / "d" / "f.txt", (AT, AT))
    (place / "d" / "other.txt").unlink()
    (place / "d" / "sub").mkdir()
    (place / "d" / "sub" / "new").write_bytes(b"n")
    os.link(place / "d" / "sub" / "new", place / "d" / "sub" / "same")
    items = committed_items(place, tmp_path / "layer", image)
    assert described(items) == [
        "+Files", "+Hives", "+Files/d", "-Files/d/other.txt", "+Files/d/f.txt", ":Files/d/f.txt", "+Files/d/sub",
        "+Files/d/sub/new", "=Files/d/sub/same",
    ]  # fmt: skip
    entries = {item.path: item for item in items if isinstance(item, Entry)}
    assert entries["Files/d"].metadata.last_write_time == TIME
    changed = entries["Files/d/f.txt"].metadata
    assert (changed.attributes, changed.creation_time, changed.security_descriptor) == (0x22, TIME - 7, DESCRIPTOR)
    assert changed.last_write_time == AT * 10_000_000 + 116_444_736_000_000_000
    inherited = build(from_sddl("O:BAG:SYD:AI(A;ID;FA;;;BA)(A;ID;FA;;;BA)"))
    assert entries["Files/d/sub/new"].metadata.security_descriptor == inherited
    kept = next(item for item in items if isinstance(item, AlternateStream))
    assert kept.data.read(10) == b"stream"
    assert isinstance(items[-1], HardLink)


def test_a_folder_with_files_in_it_is_compared_from_the_top(layers: Unpacked, tmp_path: Path) -> None:
    image = layers([*BASE, file("Hives/System_Delta", b"hive")])
    place = tmp_path / "tree"
    plain(image, place / "Files")
    assert described(committed_items(place, tmp_path / "a", image)) == ["+Files", "+Hives"]
    (place / "Hives").mkdir()
    (place / "Hives" / "SYSTEM_DELTA").write_bytes(b"changed")
    assert described(committed_items(place, tmp_path / "b", image)) == ["+Files", "+Hives", "+Hives/System_Delta"]


def test_links_stay_what_they_are(layers: Unpacked, tmp_path: Path) -> None:
    image = layers(
        [
            *folders("Files", "Hives", "Files/dir"),
            file("Files/dir/f", b"f"),
            symlink("Files/absolute", "C:\\dir\\f"),
            junction("Files/junction", "C:\\dir"),
            symlink("Files/dir/other", "..\\absolute"),
        ]
    )
    place = tmp_path / "plain"
    (place / "dir").mkdir(parents=True)
    (place / "dir" / "f").write_bytes(b"f")
    (place / "absolute").symlink_to("dir/f")
    (place / "junction").mkdir()  # as an unpacked tree has it
    (place / "dir" / "other").symlink_to("f")  # this one leads elsewhere now
    items = committed_items(place, tmp_path / "layer", image)
    assert described(items) == ["+Files", "+Hives", "+Files/dir", "+Files/dir/other"]
    with open_view(str(tmp_path / "layer")) as view:
        assert data_of(view, view.find("Files/dir/other")) == b"f"


def test_names_that_differ_in_case_stay_apart(layers: Unpacked, tmp_path: Path) -> None:
    image = layers([*folders("Files", "Hives"), file("Files/name", b"one")])
    place = tmp_path / "plain"
    place.mkdir()
    (place / "NAME").write_bytes(b"two")
    assert described(committed_items(place, tmp_path / "a", image)) == ["+Files", "+Hives", "+Files/name"]
    (place / "name").write_bytes(b"one")
    assert described(committed_items(place, tmp_path / "b", image)) == ["+Files", "+Hives", "+Files/NAME"]


def test_what_no_layer_can_hold_is_told(layers: Unpacked, tmp_path: Path) -> None:
    place = plain(layers(BASE), tmp_path / "plain")
    os.mkfifo(place / "pipe")
    (place / "a:b").write_bytes(b"")
    done = commit(str(place), str(tmp_path / "layer.tar"), parent=str(tmp_path / "image1"))
    assert done.notices["special-file"] == done.notices["name-refused"] == 1
    assert (done.entries, done.deletions) == (2, 0)


def test_folders_without_end_are_refused(layers: Unpacked, tmp_path: Path) -> None:
    image = layers([folder("Files"), folder("Hives")])
    deep = tmp_path / "plain" / "/".join("d" * 300)
    deep.mkdir(parents=True)
    with pytest.raises(LimitError, match="folders in each other"):
        commit(str(tmp_path / "plain"), str(tmp_path / "layer.tar"), parent=str(image))
    assert not (tmp_path / "layer.tar").exists()
