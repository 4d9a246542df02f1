"""What was changed in a mount becomes a layer: no more than that, with the metadata that it should have."""

from __future__ import annotations

import json
import os
import struct
import time
from pathlib import Path

import pytest

from tests.image.mounting.conftest import Mount, Unpacked
from tests.image.stacks import TIME, data_of, file, folder, folders, link, paths, stream
from wclayer.errors import StoreError, UsageError
from wclayer.formats.folder import LayerFolder, LayerFolderReader
from wclayer.formats.tar import TarLayerReader
from wclayer.image.mounting.committing import commit
from wclayer.image.mounting.mounts import unmount
from wclayer.image.target import open_view
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Tombstone
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build
from wclayer.oci import open_image

DESCRIPTOR = build(from_sddl("O:SYG:SYD:AI(A;OICIID;FA;;;BA)(A;OICIIOID;GA;;;CO)"))

BASE: list[LayerItem] = [
    folder("Files", security_descriptor=DESCRIPTOR),
    folder("Hives"),
    folder("Files/d", security_descriptor=DESCRIPTOR, creation_time=TIME - 5),
    file("Files/d/f.txt", b"data", security_descriptor=DESCRIPTOR, creation_time=TIME - 7, attributes=0x22),
    stream("Files/d/f.txt", "s", b"stream"),
    file("Files/d/other.txt", b"other"),
    folder("Files/e"),
    file("Files/e/x", b"x"),
]


def described(items: list[LayerItem]) -> list[str]:
    """Items in short: ``+`` entries, ``-`` deletions, ``=`` hard links, ``:`` streams."""
    marks = {Entry: "+", Tombstone: "-", HardLink: "=", AlternateStream: ":"}
    return [f"{marks[type(item)]}{item.path}" for item in items]


def committed(source: Path, place: Path) -> list[LayerItem]:
    """The items of the layer that a mount or an upper folder becomes."""
    return committed_items(source, place, None)


def committed_items(source: Path, place: Path, parent: Path | None) -> list[LayerItem]:
    """The items of the layer that ``source`` becomes."""
    commit(str(source), str(place), parent=None if parent is None else str(parent))
    with LayerFolder(place) as layer:
        items: list[LayerItem] = list(LayerFolderReader(layer))
        for item in items:
            if isinstance(item, Entry | AlternateStream) and item.data is not None:
                item.data = type(item.data).from_bytes(item.data.read(1 << 20))
    return items


def test_an_untouched_mount_makes_an_empty_layer(mounted: Mount, unpacked: Path, tmp_path: Path) -> None:
    mount = mounted(unpacked, upper=tmp_path / "upper")
    for folder_, _, files in os.walk(mount):
        for name in files:
            place = Path(folder_) / name
            if place.is_file():
                place.read_bytes()
    assert described(committed(mount, tmp_path / "layer")) == ["+Files", "+Hives"]
    assert described(committed(mounted(unpacked), tmp_path / "other")) == ["+Files", "+Hives"]


def test_a_touched_file_is_one_entry_with_its_metadata(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    os.utime(mount / "Files" / "D" / "F.txt", ns=(10**18, 10**18))
    items = committed(mount, tmp_path / "layer")
    assert described(items) == ["+Files", "+Hives", "+Files/d", "+Files/d/f.txt", ":Files/d/f.txt"]
    *_, above, entry, alternate = items
    assert isinstance(above, Entry)
    assert above.metadata.creation_time == TIME - 5
    assert above.metadata.last_write_time == TIME
    assert isinstance(entry, Entry)
    assert entry.data is not None
    assert entry.data.read(100) == b"data"
    about = entry.metadata
    assert (about.attributes, about.creation_time, about.security_descriptor) == (0x22, TIME - 7, DESCRIPTOR)
    assert about.last_write_time == 10**16 + 116_444_736_000_000_000
    assert isinstance(alternate, AlternateStream)
    assert alternate.data.read(100) == b"stream"


def test_a_file_that_was_written_to_keeps_its_metadata(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    before = time.time_ns() // 100 + 116_444_736_000_000_000
    (mount / "Files" / "d" / "f.txt").write_bytes(b"new")
    (*_, entry, alternate) = committed(mount, tmp_path / "layer")
    assert isinstance(entry, Entry)
    assert entry.data is not None
    assert entry.data.read(100) == b"new"
    assert (entry.metadata.attributes, entry.metadata.creation_time) == (0x22, TIME - 7)
    assert entry.metadata.security_descriptor == DESCRIPTOR
    assert (entry.metadata.last_write_time or 0) >= before
    assert alternate.path == "Files/d/f.txt"


def test_new_files_inherit_from_their_folder(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    (mount / "Files" / "d" / "sub").mkdir()
    (mount / "Files" / "d" / "sub" / "new.txt").write_bytes(b"new")
    entries = {item.path: item for item in committed(mount, tmp_path / "layer") if isinstance(item, Entry)}
    sub, new = (entries[path].metadata for path in ("Files/d/sub", "Files/d/sub/new.txt"))
    assert (sub.attributes, new.attributes) == (0x10, 0x20)
    assert sub.security_descriptor == build(
        from_sddl("O:BAG:SYD:AI(A;OICIID;FA;;;BA)(A;ID;FA;;;BA)(A;OICIIOID;GA;;;CO)")
    )
    assert new.security_descriptor == build(from_sddl("O:BAG:SYD:AI(A;ID;FA;;;BA)(A;ID;FA;;;BA)"))


def test_deletions_and_replaced_folders(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    files = mount / "Files"
    (files / "d" / "other.txt").unlink()
    (files / "e" / "x").unlink()
    (files / "e").rmdir()
    (files / "E").mkdir()
    (files / "E" / "y").write_bytes(b"y")
    found = described(committed(mount, tmp_path / "layer"))
    # Never a deletion of what the layer brings itself: of the old folder what was in it is deleted.
    assert found == [
        "+Files", "+Hives", "+Files/d", "-Files/d/other.txt", "+Files/E", "-Files/E/x", "+Files/E/y",
    ]  # fmt: skip


@pytest.mark.parametrize("way", ["file to folder", "folder to file"])
def test_a_folder_in_the_place_of_a_file(mounted: Mount, layers: Unpacked, tmp_path: Path, way: str) -> None:
    image = layers(BASE)
    mount = mounted(image, upper=tmp_path / "upper")
    files = mount / "Files"
    if way == "file to folder":
        (files / "e" / "x").unlink()
        (files / "e" / "x").mkdir()
        (files / "e" / "x" / "inside").write_bytes(b"i")
    else:
        (files / "e" / "x").unlink()
        (files / "e").rmdir()
        (files / "e").write_bytes(b"file")
    items = committed(mount, tmp_path / "layer")
    assert not [item for item in items if isinstance(item, Tombstone)]
    with open_view(str(tmp_path / "layer")) as view:
        if way == "file to folder":
            assert paths(view, "Files/e") == ["Files/e/x", "Files/e/x/inside"]
        else:
            assert data_of(view, "Files/e") == b"file"


def test_a_renamed_folder_is_there_whole(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    (mount / "Files" / "d").rename(mount / "Files" / "moved")
    items = committed(mount, tmp_path / "layer")
    assert described(items) == [
        "+Files", "+Hives", "-Files/d", "+Files/moved", "+Files/moved/f.txt", ":Files/moved/f.txt",
        "+Files/moved/other.txt",
    ]  # fmt: skip
    with open_view(str(tmp_path / "layer")) as view:
        assert data_of(view, "Files/moved/f.txt") == b"data"
        assert view.metadata(view.find("Files/moved/f.txt")).security_descriptor == DESCRIPTOR


def test_a_further_name_is_a_link_to_the_file_below(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    os.link(mount / "Files" / "d" / "other.txt", mount / "Files" / "e" / "again.txt")
    items = committed(mount, tmp_path / "layer")
    assert described(items) == ["+Files", "+Hives", "+Files/e", "=Files/e/again.txt"]
    assert isinstance(items[-1], HardLink)
    assert items[-1].target == "Files/d/other.txt"
    with open_view(str(tmp_path / "layer")) as view:
        assert data_of(view, "Files/e/again.txt") == b"other"


def test_all_names_of_a_changed_file_are_in_the_layer(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    base: list[LayerItem] = [*folders("Files", "Hives"), file("Files/one", b"1"), link("Files/two", "Files/one")]
    mount = mounted(layers(base), upper=tmp_path / "upper")
    reader = (mount / "Files" / "one").open("rb")
    (mount / "Files" / "two").write_bytes(b"changed")
    assert (mount / "Files" / "one").read_bytes() == b"changed"
    with reader:
        assert reader.read() == b"changed"  # whoever had it open sees it, too
    assert described(committed(mount, tmp_path / "layer")) == ["+Files", "+Hives", "+Files/one", "=Files/two"]


def test_metadata_is_set_through_the_same_attributes(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    place = mount / "Files" / "d" / "f.txt"
    descriptor = build(from_sddl("O:BAG:BAD:(A;;FR;;;WD)"))
    os.setxattr(place, "system.ntfs_acl", descriptor)
    os.setxattr(place, "system.ntfs_attrib_be", struct.pack(">I", 0x2007))
    os.setxattr(place, "user.s", b"other")
    os.setxattr(place, "user.t", b"")
    os.setxattr(place, "system.ntfs_times", struct.pack("=4Q", 1, 2, 3, 4))
    with pytest.raises(OSError, match="Invalid argument"):
        os.setxattr(place, "system.ntfs_acl", b"nonsense")
    entry, *streams = committed(mount, tmp_path / "layer")[3:]
    assert isinstance(entry, Entry)
    about = entry.metadata
    assert (about.attributes, about.security_descriptor) == (0x2007, descriptor)
    assert (about.creation_time, about.last_write_time, about.last_access_time, about.change_time) == (1, 2, 3, 4)
    assert [(one.name, one.data.read(9)) for one in streams if isinstance(one, AlternateStream)] == [
        (":s:$DATA", b"other"),
        (":t:$DATA", b""),
    ]


def test_an_image_gets_the_layer_on_top(mounted: Mount, sample: str, tmp_path: Path) -> None:
    mount = mounted(sample, upper=tmp_path / "upper")
    (mount / "Files" / "added.txt").write_bytes(b"added")
    unmount(mount)
    layout = sample.split(":")[1]
    done = commit(str(tmp_path / "upper"), f"oci:{layout}:changed", created_by="the test")
    with open_image(sample) as before, open_image(f"oci:{layout}:changed") as after:
        assert before.config is not None
        assert after.config is not None
        assert after.config.diff_ids == (*before.config.diff_ids, done.diff_id)
        assert [layer.descriptor for layer in after.layers[:-1]] == [layer.descriptor for layer in before.layers]
        assert json.loads(after.config.raw)["history"][-1]["created_by"] == "the test"
    with open_view(f"oci:{layout}:changed") as view:
        assert data_of(view, "Files/added.txt") == b"added"


def test_the_same_changes_give_the_same_diff_id(
    mounted: Mount, layers: Unpacked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1600000000")
    image = layers(BASE)
    found = set()
    for number, names in enumerate((("a", "b", "C"), ("C", "b", "a"))):
        mount = mounted(image, upper=tmp_path / f"upper{number}")
        for name in names:
            (mount / "Files" / "e" / name).write_bytes(name.encode())
        (mount / "Files" / "d" / "other.txt").unlink()
        tar = tmp_path / f"{number}.tar"
        found.add(commit(str(mount), str(tar)).diff_id)
        items = list(TarLayerReader(iter((tar.read_bytes(),))))
        latest = max(item.metadata.last_write_time or 0 for item in items if isinstance(item, Entry))
        assert latest == 1_600_000_000 * 10_000_000 + 116_444_736_000_000_000
    assert len(found) == 1


@pytest.mark.parametrize("form", ["layer.tar", "layer.tar.zst", "transport:folder", "plain:folder", "layer:folder"])
def test_every_form_holds_the_change(
    mounted: Mount, layers: Unpacked, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    mount = mounted(layers(BASE), upper=tmp_path / "upper")
    (mount / "Files" / "e" / "new").write_bytes(b"new")
    (mount / "Files" / "e" / "x").unlink()
    done = commit(str(mount), form)
    assert (done.deletions, done.size) == (1, 3)
    place = form if form.startswith("layer.tar") else "folder"
    assert Path(place).exists()
    if form.startswith(("layer.", "layer:")):
        with open_view(place, layer=-1) as view:
            assert data_of(view, "Files/e/new") == b"new"
            assert view.find("Files/e/x").is_tombstone


def test_hives_can_be_replaced_and_not_deleted(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    base: list[LayerItem] = [*folders("Files", "Hives"), file("Hives/System_Delta", b"hive")]
    mount = mounted(layers(base), upper=tmp_path / "upper")
    hives = mount / "Hives"
    with pytest.raises(PermissionError):
        (hives / "System_Delta").unlink()
    (hives / "new").write_bytes(b"changed")
    (hives / "new").rename(hives / "System_Delta")
    with pytest.raises(PermissionError):
        (mount / "Other").mkdir()
    with pytest.raises(OSError, match="Invalid argument"):
        (mount / "Files" / "con").write_bytes(b"")
    assert described(committed(mount, tmp_path / "layer")) == ["+Files", "+Hives", "+Hives/System_Delta"]


def test_what_makes_no_sense_is_refused(mounted: Mount, layers: Unpacked, tmp_path: Path) -> None:
    one, two = layers(BASE), layers([*BASE, file("Files/more", b"")])
    mount = mounted(one, upper=tmp_path / "upper")
    with pytest.raises(UsageError, match="leave --parent out"):
        commit(str(mount), str(tmp_path / "x.tar"), parent=str(one))
    with pytest.raises(StoreError, match="in use by a mount"):
        mounted(one, upper=tmp_path / "upper")
    unmount(mount)
    with pytest.raises(StoreError, match="changes of another image"):
        mounted(two, upper=tmp_path / "upper")
    with pytest.raises(StoreError, match="changes of another image"):
        commit(str(tmp_path / "upper"), str(tmp_path / "x.tar"), parent=str(two))
    with pytest.raises(UsageError, match="neither a mount nor an upper folder"):
        commit(str(tmp_path), str(tmp_path / "x.tar"))
    with pytest.raises(UsageError, match="a layer, and no image"):
        commit(str(tmp_path / "upper"), f"oci:{tmp_path}/o:x", parent=str(next((one / "layers").iterdir())))
    assert not (tmp_path / "x.tar").exists()
