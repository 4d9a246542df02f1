"""Unpacking a Windows image for an engine, and the mistakes that unpackers have made, each done right here.

The numbered tests go through what a widely read unpacker got wrong where hcsshim gets it right.
"""

from __future__ import annotations

import json
import os
import tarfile
from base64 import b64decode
from pathlib import Path

import pytest

from tests.formats.folder.layers import tree
from tests.image.images import WINDOWS, image, pigz
from tests.image.lint.tars import FILE_SD, FOLDER_SD, HIVE, Layer
from wclayer.errors import (
    DigestMismatchError,
    FormatError,
    NotFoundError,
    StoreError,
    UnsafeEntryError,
    UnsupportedError,
    WclayerError,
)
from wclayer.formats.folder import LayerFolder, Node
from wclayer.hcs.identity import name_to_guid
from wclayer.hcs.privileges import IMPORT_PRIVILEGES
from wclayer.image.converting import ConvertOptions, convert
from wclayer.image.describe import describe
from wclayer.image.importing import import_layer
from wclayer.image.listing import read_path
from wclayer.image.target import open_view
from wclayer.image.transport_import import import_layer_from_tar
from wclayer.image.unpack import UnpackOptions
from wclayer.image.windows_image import WindowsImage, locate_uvm_boot_files, unpack_windows_image
from wclayer.ntfs.reparse import link_target
from wclayer.oci import Descriptor, Digest, Platform, parse_platform
from wclayer.oci.mediatypes import OCI_LAYER
from wclayer.oci.selection import Candidate, select


def unpack(tmp_path: Path, *layers: Layer) -> WindowsImage:
    return unpack_windows_image(image(tmp_path / "oci", *(layer.bytes() for layer in layers)), tmp_path / "out")


def node(layer: Path, path: str) -> Node:
    opened = LayerFolder(layer)
    found = opened.lookup(path)
    assert found is not None
    return found


def read(folder: Path, path: str, stream: str | None = None) -> bytes:
    pieces: list[bytes] = []
    with open_view(str(folder)) as view:
        read_path(view, path, lambda piece: pieces.append(bytes(piece)), stream=stream)
    return b"".join(pieces)


def exists(folder: Path, path: str) -> bool:
    with open_view(str(folder)) as view:
        try:
            view.find(path)
        except NotFoundError:
            return False
    return True


def transport(tmp_path: Path, layer: Layer, *parents: Path) -> Path:
    """The layer as a transport folder."""
    (tmp_path / "layer.tar").write_bytes(layer.bytes())
    convert(str(tmp_path / "layer.tar"), f"transport:{tmp_path / 't'}", ConvertOptions(parents=parents))
    return tmp_path / "t"


# ---------------------------------------------------------------------- the whole


def test_the_chain_is_nearest_first_and_every_layer_has_its_guid(tmp_path: Path) -> None:
    found = unpack(tmp_path, Layer().base(), Layer().file("Files/a"), Layer().file("Files/b"))
    assert len(found.chain) == 3
    assert found.parents == tuple(layer.path for layer in found.chain)
    assert json.loads((tmp_path / "out/layerchain.json").read_text()) == [str(path) for path in found.parents]
    for layer in found.chain:
        assert layer.guid == name_to_guid(layer.path.name)
    top, middle, base = found.parents
    assert (top / "Files/b").is_file()
    assert (middle / "Files/a").is_file()
    assert (base / "Files/Windows").is_dir()
    assert json.loads((base / "layerchain.json").read_text()) is None
    assert found.os_version == "10.0.20348.1"


def test_an_image_of_another_system_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    reference = image(tmp_path / "oci", Layer().bytes(), platform=Platform("linux", "amd64"))
    with pytest.raises(UnsupportedError, match="an image for linux, not for windows"):
        unpack_windows_image(reference, tmp_path / "out", UnpackOptions("linux/amd64"))
    assert not (tmp_path / "out").exists()


# ---------------------------------------------------------------------- one mistake after the other


def test_d01_deletions_are_kept_as_deletions_and_written_as_windows_writes_them(tmp_path: Path) -> None:
    base = Layer().base().file("Files/a")
    found = unpack(tmp_path, base, Layer().whiteout("Files/.wh.a"))
    assert not exists(tmp_path / "out", "Files/a")
    assert not (found.parents[0] / "tombstones.txt").exists()
    folder = transport(tmp_path, Layer().whiteout("Files/.wh.a"))
    assert (folder / "tombstones.txt").read_bytes() == b"\xef\xbb\xbfVersion 1.0\n\\a\n"
    for name in ("Hives/.wh.Sam_Delta", ".wh.Files"):
        place = tmp_path / name.replace("/", "-")
        place.mkdir()
        with pytest.raises(FormatError, match="invalid tombstone"):
            transport(place, Layer().whiteout(name))


def test_d02_symbolic_links_and_junctions_become_reparse_points(tmp_path: Path) -> None:
    layer = Layer().symlink("Files/link", "C:\\Windows")
    layer.entry(
        "Files/junction",
        tarfile.SYMTYPE,
        target="C:\\Windows",
        records={"MSWINDOWS.mountpoint": "1", "MSWINDOWS.fileattr": "1040"},
    )
    (top,) = unpack(tmp_path, layer).parents
    for name, tag in (("link", "0c0000a0"), ("junction", "030000a0")):
        reparse = node(top, f"Files/{name}").metadata().reparse
        assert reparse is not None
        assert reparse[:4].hex() == tag
        assert link_target(reparse) == "C:\\Windows"


def test_d03_extended_attributes_and_descriptors_as_text_are_kept(tmp_path: Path) -> None:
    layer = Layer().entry("Files/a", records={"MSWINDOWS.xattr.NAME": "dmFsdWU="})
    layer.entry("Files/b", records={"MSWINDOWS.rawsd": None, "MSWINDOWS.sd": "O:BAG:SYD:(A;;FA;;;BA)"})
    (top,) = unpack(tmp_path, layer).parents
    (attribute,) = node(top, "Files/a").metadata().extended_attributes
    assert (attribute.name, attribute.value) == (b"NAME", b"value")
    with open_view(str(tmp_path / "out")) as view:
        security = describe(view, view.find("Files/b")).security
    assert security is not None
    assert security["sddl"] == "O:BAG:SYD:(A;;FA;;;BA)"


def test_d04_alternate_streams_belong_to_their_file(tmp_path: Path) -> None:
    layer = Layer().file("Files/a", b"data").file("Files/a:Zone.Identifier", b"zone").folder("Files/d")
    layer.file("Files/d:s", b"of a folder")
    (top,) = unpack(tmp_path, layer).parents
    assert read(tmp_path / "out", "Files/a") == b"data"
    assert read(tmp_path / "out", "Files/a", "Zone.Identifier") == b"zone"
    assert not any(":" in name for name in tree(top))
    blob = (transport(tmp_path, layer) / "Files/a").read_bytes()
    assert ":Zone.Identifier:$DATA".encode("utf-16-le") in blob


def test_d05_times_attributes_and_descriptors_are_set_on_files_and_folders(tmp_path: Path) -> None:
    layer = Layer().entry("Files/a", records={"MSWINDOWS.fileattr": "39", "LIBARCHIVE.creationtime": "1500000000.5"})
    layer.entry("Files/b", records={"MSWINDOWS.fileattr": None, "MSWINDOWS.rawsd": None})
    (top,) = unpack(tmp_path, layer).parents
    about = node(top, "Files/a").metadata()
    assert about.attributes == 39
    assert about.creation_time == 131_444_736_005_000_000
    assert about.last_write_time == 132_444_736_000_000_000
    assert node(top, "Files/b").metadata().attributes == 0
    folder = node(top, "Files").metadata()
    assert folder.attributes == 0x10
    assert folder.security_descriptor is not None
    assert folder.last_write_time == 132_444_736_000_000_000
    assert os.stat(top / "Files").st_mtime == 1_600_000_000


def test_d06_sidecars_carry_descriptor_and_extended_attributes(tmp_path: Path) -> None:
    layer = Layer().folder("Files/d", **{"MSWINDOWS.xattr.NAME": "dmFsdWU="})
    sidecar = (transport(tmp_path, layer) / "Files/d.$wcidirs$").read_bytes()
    assert sidecar[:4] == (16).to_bytes(4, "little")
    assert b64decode(FOLDER_SD) in sidecar
    assert b"NAME\0value" in sidecar


def test_d07_an_empty_file_has_its_data_stream(tmp_path: Path) -> None:
    folder = transport(tmp_path, Layer().file("Files/a", b"", sd=None))
    assert (folder / "Files/a").read_bytes().hex() == "20000000" + "01000000" + "00" * 16


def uvm(layer: Layer, **files: bytes) -> Layer:
    path = "UtilityVM"
    layer.folder(path, sd=None)
    for part in ("Files", "EFI", "Microsoft", "Boot"):
        path += f"/{part}"
        layer.folder(path)
    for name, data in files.items():
        layer.file(f"{path}/{name.replace('_', '.')}", data)
    return layer


def test_d08_a_layer_that_changes_the_utility_vm_keeps_the_rest_of_it(tmp_path: Path) -> None:
    base = uvm(Layer().base(), bootmgfw_efi=b"manager", BCD=HIVE)
    top = uvm(Layer(), BCD=b"regf patched")
    unpack(tmp_path, base, top)
    boot = "UtilityVM/Files/EFI/Microsoft/Boot"
    assert read(tmp_path / "out", f"{boot}/bootmgfw.efi") == b"manager"
    assert read(tmp_path / "out", f"{boot}/BCD") == b"regf patched"
    import_layer_from_tar([base.bytes()], tmp_path / "base")
    import_layer_from_tar([top.bytes()], tmp_path / "top", [tmp_path / "base"])
    assert (tmp_path / "top" / boot / "bootmgfw.efi").read_bytes() == b"manager"
    assert (tmp_path / "top" / boot / "BCD").read_bytes() == b"regf patched"
    assert (tmp_path / "base" / boot / "BCD").read_bytes() == HIVE


def test_d09_a_link_leads_to_the_file_where_it_was_found(tmp_path: Path) -> None:
    base = Layer().base().file("Files/target", b"of the base").file("Files/name", b"in the way")
    top = Layer().link("Files/name", "Files/target").link("Files/other", "Files/target")
    found = unpack(tmp_path, base, top)
    assert read(tmp_path / "out", "Files/name") == b"of the base"
    assert (found.parents[0] / "Files/other").read_bytes() == b"of the base"
    base_file = found.parents[1] / "Files/target"
    assert (found.parents[0] / "Files/other").samefile(base_file)


def test_d10_links_are_checked_and_found_without_regard_to_case(tmp_path: Path) -> None:
    base = Layer().base().file("Files/Target", b"x").folder("Files/folder")
    unpack(tmp_path, base, Layer().link("Files/a", "Files/tARGET"))
    assert read(tmp_path / "out", "Files/a") == b"x"
    for number, target in enumerate(("Files/folder", "Files/nowhere", "../x", "/Files/Target", "Files/a")):
        (tmp_path / str(number)).mkdir()
        with pytest.raises(WclayerError):
            unpack(tmp_path / str(number), base, Layer().link("Files/a", target))


def test_d11_nothing_is_written_through_a_junction(tmp_path: Path) -> None:
    layer = Layer().entry(
        "Files/j",
        tarfile.SYMTYPE,
        target="C:\\elsewhere",
        records={"MSWINDOWS.mountpoint": "1", "MSWINDOWS.fileattr": "1040"},
    )
    with pytest.raises(UnsafeEntryError):
        unpack(tmp_path, layer.file("Files/j/a"))
    with pytest.raises(WclayerError):
        import_layer_from_tar([layer.bytes()], tmp_path / "base")
    assert tree(tmp_path / "out") == set() if (tmp_path / "out").exists() else True


def test_d12_folders_have_their_own_times_when_all_is_done(tmp_path: Path) -> None:
    layer = Layer(roots=False)
    layer.entry("Files", tarfile.DIRTYPE, mtime=1_000_000_000).entry("Files/d", tarfile.DIRTYPE, mtime=1_100_000_000)
    layer.file("Files/d/a").file("Files/b").link("Files/d/c", "Files/b").folder("Hives")
    (top,) = unpack(tmp_path, layer).parents
    assert os.stat(top / "Files").st_mtime == 1_000_000_000
    assert os.stat(top / "Files/d").st_mtime == 1_100_000_000


def test_d13_boot_files_that_windows_changes_are_kept_as_they_were(tmp_path: Path) -> None:
    import_layer_from_tar([uvm(Layer().base(), BCD=HIVE, BCD_LOG=b"log").bytes()], tmp_path / "base")
    assert (tmp_path / "base/bcd.bak").read_bytes() == HIVE
    assert (tmp_path / "base/bcd.log.bak").read_bytes() == b"log"


@pytest.mark.parametrize(
    "name",
    ["../escape", "/escape", "C:/escape", "Files/../../escape", "Files\\..\\..\\escape", "Files/CON", "\\\\s\\x"],
)
def test_d14_no_name_leads_out_of_the_layer(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnsafeEntryError):
        unpack(tmp_path, Layer().file(name))
    assert "escape" not in "".join(tree(tmp_path))


def test_d15_a_folder_named_as_a_whiteout_is_one(tmp_path: Path) -> None:
    base = Layer().base().folder("Files/x").file("Files/x/a")
    unpack(tmp_path, base, Layer().entry("Files/.wh.x", tarfile.DIRTYPE))
    assert not exists(tmp_path / "out", "Files/x")


def test_d16_any_digest_and_whatever_compression_the_bytes_have(tmp_path: Path) -> None:
    tar = Layer().file("Files/a", b"x" * 5000).bytes()
    docker = "application/vnd.docker.image.rootfs.diff.tar"
    for number, (algorithm, media_type) in enumerate((("sha512", OCI_LAYER), ("sha256", docker))):
        place = tmp_path / str(number)
        reference = image(place / "oci", tar, blobs=[pigz(tar)], algorithm=algorithm, media_type=media_type)
        (layer,) = unpack_windows_image(reference, place / "out").chain
        assert layer.size == len(tar)
        assert (layer.path / "Files/a").read_bytes() == b"x" * 5000


def test_d16_a_diff_id_that_is_not_that_of_the_layer_is_refused(tmp_path: Path) -> None:
    tar = Layer().file("Files/a").bytes()
    reference = image(tmp_path / "oci", tar, diff_ids=[Digest("sha256", "0" * 64)])
    with pytest.raises(DigestMismatchError):
        unpack_windows_image(reference, tmp_path / "out")


def test_d17_a_failure_leaves_nothing_and_another_run_takes_what_is_there(tmp_path: Path) -> None:
    good, bad = Layer().base().bytes(), Layer().file("Files/a", b"x" * 9000).bytes()
    reference = image(tmp_path / "oci", good, bad[:-8000], tag="bad")
    with pytest.raises(FormatError):
        unpack_windows_image(reference, tmp_path / "out", UnpackOptions(jobs=1))
    left = [path.name for path in (tmp_path / "out").rglob("*") if ".wclayer-" in path.name]
    assert left == []
    layers = list((tmp_path / "out/layers").iterdir()) if (tmp_path / "out/layers").exists() else []
    assert len(layers) <= 1
    complete = image(tmp_path / "oci", good, bad, tag="good")
    first = unpack_windows_image(complete, tmp_path / "again")
    inode = os.stat(first.parents[1]).st_ino
    assert os.stat(unpack_windows_image(complete, tmp_path / "again").parents[1]).st_ino == inode


def test_d18_an_import_has_the_privilege_for_audit_lists() -> None:
    assert "SeSecurityPrivilege" in IMPORT_PRIVILEGES


def test_d19_long_and_odd_names_arrive_and_the_first_error_is_told(tmp_path: Path) -> None:
    folder = "Files/" + "/".join(["d" * 100] * 5)
    layer = Layer()
    for depth in range(1, 6):
        layer.folder("Files/" + "/".join(["d" * 100] * depth))
    layer.file(f"{folder}/a", b"deep").file("Files/trailing dot.", b"dot").file("Files/a<b", b"odd")
    unpack(tmp_path, layer)
    assert read(tmp_path / "out", f"{folder}/a") == b"deep"
    assert read(tmp_path / "out", "Files/trailing dot.") == b"dot"
    assert read(tmp_path / "out", "Files/a<b") == b"odd"
    with pytest.raises(UnsafeEntryError, match="255"):
        unpack(tmp_path / "long", Layer().file("Files/" + "x" * 256))


def test_d20_the_uppermost_utility_vm_wins(tmp_path: Path) -> None:
    base = uvm(Layer().base(), bootmgfw_efi=b"old", BCD=HIVE)
    found = unpack(tmp_path, base, uvm(Layer(), bootmgfw_efi=b"new"), Layer().file("Files/x"))
    files = locate_uvm_boot_files(found.parents, need_template=False)
    assert files.layer == found.parents[1]
    assert files.boot_manager.read_bytes() == b"new"
    assert files.boot_configuration.read_bytes() == HIVE
    assert files.template is None


def test_d21_versions_are_numbers_and_nothing_is_taken_for_want_of_better() -> None:
    def candidate(version: str) -> Candidate:
        platform = Platform("windows", "amd64", os_version=version)
        return Candidate(Descriptor("m", Digest("sha256", version.replace(".", "").ljust(64, "0")[:64]), 1), platform)

    listed = [candidate("10.0.2034.8"), candidate("10.0.20348.9"), candidate("10.0.20348.10")]
    chosen = select(listed, parse_platform("windows/amd64:10.0.20348")).chosen
    assert chosen.platform is not None
    assert chosen.platform.os_version == "10.0.20348.10"
    with pytest.raises(NotFoundError):
        select(listed, parse_platform("windows/amd64:10.0.2"))
    with pytest.raises(NotFoundError):
        select(listed, parse_platform("windows/amd64:10.0.17763"))
    assert WINDOWS.architecture == "amd64"
    with pytest.raises(NotFoundError):
        select(listed, parse_platform("windows/x86"))
    assert parse_platform("windows/i386").architecture == "386"


def test_a_lone_layer_tar_will_do(tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(Layer().base().file("Files/a", sd=FILE_SD).bytes())
    assert len(unpack_windows_image(str(tmp_path / "layer.tar"), tmp_path / "out").chain) == 1
    import_layer(str(tmp_path / "layer.tar"), tmp_path / "lone")
    with pytest.raises(StoreError):
        unpack_windows_image(str(tmp_path / "layer.tar"), tmp_path / "lone")


def test_of_layer_folders_without_the_boot_manager_the_layer_is_named(tmp_path: Path) -> None:
    found = unpack(tmp_path, uvm(Layer().base(), BCD=HIVE))
    with pytest.raises(NotFoundError, match=r"but no .*bootmgfw\.efi"):
        locate_uvm_boot_files(found.parents)
