"""One merged folder: what a container sees, as a layer folder without parents."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.stacks import data_of, file, folder, folders, gone, junction, link, make_image, paths, stream
from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, verify_folder
from wclayer.image.flatten import unpack_merged
from wclayer.image.target import open_view
from wclayer.image.unpack import UnpackOptions, unpack
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem

BASE: list[LayerItem] = [
    *folders("Files", "Files/Windows", "Files/d"),
    file("Files/Windows/a", b"a"),
    stream("Files/Windows/a", "s", b"stream"),
    file("Files/d/gone"),
    junction("Files/j", "C:\\Windows"),
    folder("Hives"),
]
TOP: list[LayerItem] = [
    folder("Files"),
    folder("Files/windows"),
    file("Files/windows/b", b"b"),
    gone("Files/d"),
    link("Files/l1", "Files/Windows/a"),
    link("Files/l2", "Files/d/gone"),
    link("Files/l3", "Files/l2"),
]


def items(path: Path) -> list[LayerItem]:
    with LayerFolder(path) as opened:
        assert verify_folder(opened) == []
        assert opened.parent_paths == ()
        return list(LayerFolderReader(opened))


@pytest.fixture
def image(tmp_path: Path) -> str:
    return make_image(tmp_path / "layout", BASE, TOP)


def test_the_merged_folder_is_the_view(image: str, tmp_path: Path) -> None:
    result = unpack_merged(image, tmp_path / "merged")
    found = items(tmp_path / "merged")
    assert [item.path for item in found if not isinstance(item, AlternateStream)] == [
        "Files",
        "Files/j",
        "Files/l1",
        "Files/l2",
        "Files/l3",
        "Files/windows",
        "Files/windows/a",
        "Files/windows/b",
        "Hives",
    ]
    assert (result.entries, result.layers, result.size) == (10, 2, 2)
    with open_view(image) as image_view, open_view(str(tmp_path / "merged")) as merged_view:
        assert paths(image_view) == paths(merged_view)
        for found_there in image_view.walk(image_view.root):
            here = merged_view.find(found_there.path, follow=False)
            assert merged_view.metadata(here) == image_view.metadata(found_there)
            if not here.is_folder:
                assert data_of(merged_view, here) == data_of(image_view, found_there)


def test_links_whose_file_is_gone_are_files_and_links_among_themselves(image: str, tmp_path: Path) -> None:
    unpack_merged(image, tmp_path / "merged")
    found = {item.path: item for item in items(tmp_path / "merged") if not isinstance(item, AlternateStream)}
    assert isinstance(found["Files/l2"], Entry)
    third = found["Files/l3"]
    assert isinstance(third, HardLink)
    assert third.target == "Files/l2"
    assert (tmp_path / "merged/Files/l2").stat().st_ino == (tmp_path / "merged/Files/l3").stat().st_ino


@pytest.mark.parametrize("subtree", ["C:\\windows", "/WINDOWS", "Files/Windows", "j"])
def test_a_subtree_comes_with_the_folders_above_it(subtree: str, image: str, tmp_path: Path) -> None:
    result = unpack_merged(image, tmp_path / "merged", subtree=subtree)
    names = [item.path for item in items(tmp_path / "merged")]
    if subtree == "j":
        assert names == ["Files", "Files/j"]
    else:
        assert names == ["Files", "Files/windows", "Files/windows/a", "Files/windows/a", "Files/windows/b"]
    assert result.entries == len(names)


def test_out_of_an_unpacked_image_or_a_layer_folder_it_is_the_same(image: str, tmp_path: Path) -> None:
    unpacked = unpack(image, tmp_path / "out")
    unpack_merged(image, tmp_path / "from image")
    unpack_merged(str(tmp_path / "out"), tmp_path / "from folder")
    unpack_merged(str(unpacked.chain[0]), tmp_path / "from layer")
    expected = [(type(item), item.path) for item in items(tmp_path / "from image")]
    for name in ("from folder", "from layer"):
        assert [(type(item), item.path) for item in items(tmp_path / name)] == expected


def test_nothing_is_left_of_the_layers_on_the_way(image: str, tmp_path: Path) -> None:
    unpack_merged(image, tmp_path / "m" / "merged")
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["merged"]
    with pytest.raises(NotFoundError):
        unpack_merged(image, tmp_path / "n" / "merged", subtree="nowhere")
    assert not (tmp_path / "n").exists() or list((tmp_path / "n").iterdir()) == []


def test_a_folder_that_is_taken_is_refused_before_the_work(image: str, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "x").write_bytes(b"")
    with pytest.raises(StoreError, match="not an empty folder"):
        unpack_merged(image, tmp_path / "there")
    (tmp_path / "empty").mkdir()
    unpack_merged(image, tmp_path / "empty")


def test_what_was_odd_in_the_layers_is_told(tmp_path: Path) -> None:
    reference = make_image(tmp_path / "layout", [file("Files/a"), file("Files/A")])
    result = unpack_merged(reference, tmp_path / "merged", UnpackOptions())
    assert result.notices == {"case-collision": 2}  # in the layer, and in the merged folder
    assert {notice.path for notice in result.listed} == {"Files/a", "Files/A"} or len(result.listed) == 2
