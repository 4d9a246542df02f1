"""A mounted image is what a container sees: files, names in any case, links, and metadata as attributes."""

from __future__ import annotations

import base64
import errno
import os
import struct
import subprocess
from pathlib import Path

import pytest

from tests.image.mounting.conftest import Mount, Unpacked
from tests.image.stacks import TIME, file, folder, folders, gone, junction, link, stream, symlink
from wclayer.image.describe import describe
from wclayer.image.flatten import unpack_merged
from wclayer.image.mounting.mounts import mount_information
from wclayer.image.target import open_view
from wclayer.model import LayerItem
from wclayer.ntfs.ea import ExtendedAttribute, decode_eas
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS

OWN = ("layer.db", "layerchain.json", "layer.headers", "layer.streams")


def xattr(place: Path, name: str) -> bytes | None:
    """An extended attribute, None where there is none."""
    try:
        return os.getxattr(place, name, follow_symlinks=False)
    except OSError as error:
        if error.errno == errno.ENODATA:
            return None
        raise


def test_the_mount_and_the_unpacked_tree_are_the_same(mounted: Mount, sample: str, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    unpack_merged(sample, tree)
    mount = mounted(sample)
    with open_view(sample) as view:
        links = [found.path for found in view.walk(view.root) if found.is_reparse_point]
    assert links
    excluded = [f"--exclude={name}" for name in (*OWN, *(path.rpartition("/")[2] for path in links))]
    done = subprocess.run(["diff", "-r", *excluded, str(mount), str(tree)], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    for path in links:  # in the tree an empty file or folder stands for each
        assert (mount / path).is_symlink() or not (mount / path).stat().st_size


def test_the_attributes_are_what_stat_tells(mounted: Mount, unpacked: Path) -> None:
    mount = mounted(unpacked)
    checked = 0
    with open_view(str(unpacked)) as view:
        for found in view.walk(view.root):
            about, place = describe(view, found), mount / found.path
            attributes = xattr(place, "system.ntfs_attrib")
            assert attributes is not None
            assert struct.unpack("=I", attributes) == (about.attributes,)
            assert xattr(place, "system.ntfs_attrib_be") == struct.pack(">I", about.attributes)
            times = [
                known["filetime"] if known else 0
                for known in (
                    about.times[name]
                    for name in ("creation_time", "last_write_time", "last_access_time", "change_time")
                )
            ]
            assert xattr(place, "system.ntfs_times") == struct.pack("=4Q", *times)
            assert xattr(place, "system.ntfs_times_be") == struct.pack(">4Q", *times)
            descriptor = xattr(place, "system.ntfs_acl")
            assert descriptor == (base64.b64decode(about.security["raw"]) if about.security else None)
            buffer = xattr(place, "system.ntfs_reparse_data")
            assert buffer == (base64.b64decode(about.reparse["raw"]) if about.reparse else None)
            eas = decode_eas(xattr(place, "system.ntfs_ea") or b"")
            assert [
                (ea.name.decode("utf-8", "backslashreplace"), base64.b64encode(ea.value).decode()) for ea in eas
            ] == [(one["name"], one["value"]) for one in about.extended_attributes]
            names = {f"user.{one['name'][1:].removesuffix(':$DATA')}": one["size"] for one in about.streams}
            listed = os.listxattr(place, follow_symlinks=False)
            assert sorted(listed) == sorted(names)
            for name in listed:
                if names[name] <= 1 << 16:
                    assert len(xattr(place, name) or b"") == names[name]
            checked += 1
            if found.is_reparse_point:
                continue
            status = place.stat()
            assert status.st_size == (about.size or 0)
            if times[1] >= UNIX_EPOCH_TICKS:
                assert status.st_mtime_ns == (times[1] - UNIX_EPOCH_TICKS) * 100
    assert checked > 100


def test_names_are_found_in_any_case_and_listed_as_they_are_spelt(mounted: Mount, layers: Unpacked) -> None:
    base: list[LayerItem] = [*folders("Files", "Hives", "Files/Windows"), file("Files/Windows/Größe.TXT", b"data")]
    top: list[LayerItem] = [*folders("Files", "Hives", "Files/WINDOWS"), file("Files/WINDOWS/new.txt", b"new")]
    mount = mounted(layers(base, top))
    assert os.listdir(mount / "Files") == ["WINDOWS"]
    assert sorted(os.listdir(mount / "files" / "windows")) == ["Größe.TXT", "new.txt"]
    assert (mount / "FILES" / "wIndows" / "gRÖßE.txt").read_bytes() == b"data"
    assert not (mount / "Files" / "Windows" / "Grösse.txt").exists()


def test_of_names_that_differ_in_case_the_exact_one_is_meant(mounted: Mount, layers: Unpacked) -> None:
    mount = mounted(layers([*folders("Files", "Hives"), file("Files/Name", b"one"), file("Files/name", b"two")]))
    assert sorted(os.listdir(mount / "Files")) == ["Name", "name"]
    assert (mount / "Files" / "Name").read_bytes() == b"one"
    assert (mount / "Files" / "name").read_bytes() == b"two"


def test_what_a_layer_deletes_is_gone(mounted: Mount, layers: Unpacked) -> None:
    base: list[LayerItem] = [*folders("Files", "Hives", "Files/a", "Files/b"), file("Files/a/x"), file("Files/b/y")]
    mount = mounted(layers(base, [*folders("Files", "Hives"), gone("Files/A"), gone("Files/b/Y")]))
    assert os.listdir(mount / "Files") == ["b"]
    assert os.listdir(mount / "Files" / "b") == []
    assert not (mount / "Files" / "a" / "x").exists()


def test_hard_links_are_one_file(mounted: Mount, layers: Unpacked) -> None:
    base: list[LayerItem] = [*folders("Files", "Hives"), file("Files/one", b"data"), link("Files/two", "Files/one")]
    top: list[LayerItem] = [*folders("Files", "Hives"), link("Files/three", "Files/one"), gone("Files/two")]
    mount = mounted(layers(base, top))
    one, three = ((mount / "Files" / name).stat() for name in ("one", "three"))
    assert (one.st_ino, one.st_nlink) == (three.st_ino, 2)
    assert (mount / "Files" / "three").read_bytes() == b"data"


def test_links_lead_to_places_in_the_mount(mounted: Mount, layers: Unpacked) -> None:
    mount = mounted(
        layers(
            [
                *folders("Files", "Hives", "Files/Dir", "Files/Dir/Sub"),
                file("Files/Dir/target.txt", b"found"),
                symlink("Files/Dir/Sub/relative", "..\\TARGET.txt"),
                symlink("Files/Dir/Sub/absolute", "C:\\dir\\target.txt"),
                symlink("Files/rooted", "\\Dir\\target.txt"),
                junction("Files/junction", "C:\\Dir"),
                symlink("Files/outside", "D:\\x"),
                symlink("Files/share", "\\\\server\\x"),
            ]
        )
    )
    assert os.readlink(mount / "Files" / "Dir" / "Sub" / "absolute") == "../../dir/target.txt"
    for path in ("Dir/Sub/relative", "Dir/Sub/absolute", "rooted", "junction/target.txt", "junction/sub/Absolute"):
        assert (mount / "Files" / path).read_bytes() == b"found", path
    for path in ("outside", "share"):
        assert (mount / "Files" / path).is_symlink()
        assert not (mount / "Files" / path).exists()


def test_streams_and_extended_attributes_are_attributes(mounted: Mount, layers: Unpacked) -> None:
    eas = (ExtendedAttribute(b"ONE", b"1"), ExtendedAttribute(b"TWO", b"22", 0x80))
    mount = mounted(
        layers(
            [
                *folders("Files", "Hives"),
                file("Files/f", b"x", extended_attributes=eas),
                stream("Files/f", "Zone.Identifier", b"zone"),
                stream("Files/f", "large", bytes(70_000)),
                folder("Files/d"),
                stream("Files/d", "of a folder", b"dir"),
            ]
        )
    )
    place = mount / "Files" / "f"
    assert sorted(os.listxattr(place)) == ["user.Zone.Identifier", "user.large"]
    assert xattr(place, "user.zone.identifier") == b"zone"
    assert xattr(mount / "Files" / "d", "user.of a folder") == b"dir"
    with pytest.raises(OSError, match="too long") as refused:
        os.getxattr(place, "user.large")
    assert refused.value.errno == errno.E2BIG
    stored = xattr(place, "system.ntfs_ea")
    assert stored is not None
    assert decode_eas(stored) == eas
    last = struct.unpack_from("<I", stored)[0]
    assert struct.unpack_from("<I", stored, last)[0] == len(stored) - last  # as on disk, where it is no 0


def test_a_sparse_file_and_one_without_data_read_as_windows_reads_them(mounted: Mount, unpacked: Path) -> None:
    data = mounted(unpacked) / "Files" / "Sample" / "Data"
    with open_view(str(unpacked)) as view:
        sparse = view.size(view.find("Files/Sample/Data/sparse.bin"))
    assert len((data / "sparse.bin").read_bytes()) == sparse
    assert (data / "no stream.txt").read_bytes() == b""


def test_nothing_can_be_changed_without_an_upper_folder(mounted: Mount, unpacked: Path) -> None:
    mount = mounted(unpacked)
    for change in (
        lambda: (mount / "Files" / "new").write_bytes(b""),
        lambda: (mount / "Files" / "License.txt").unlink(),
        lambda: os.setxattr(mount / "Files" / "License.txt", "user.x", b""),
        lambda: (mount / "Files" / "x").mkdir(),
    ):
        with pytest.raises(OSError, match="Read-only") as refused:
            change()
        assert refused.value.errno == errno.EROFS


def test_a_mount_says_what_it_is(mounted: Mount, unpacked: Path) -> None:
    mount = mounted(unpacked)
    about = mount_information(mount)
    assert about is not None
    assert about.reference == str(unpacked)
    assert [layer.parent for layer in about.layers] == [unpacked / "layers"] * 3
    assert mount_information(unpacked) is None


def test_a_large_folder_is_listed_whole(mounted: Mount, layers: Unpacked) -> None:
    names = [f"file {number:05} with a name of some length.txt" for number in range(3000)]
    mount = mounted(layers([*folders("Files", "Hives"), *(file(f"Files/{name}", b"", at=TIME) for name in names)]))
    assert sorted(os.listdir(mount / "Files")) == names
    assert len([entry for entry in os.scandir(mount / "Files") if entry.stat().st_size == 0]) == 3000
