"""What the portable service does to layers on this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.formats.folder.layers import file, folder, plain, tree, write
from wclayer.errors import FormatError, NotFoundError, StoreError, UsageError, WclayerError
from wclayer.formats.base import BaseFolderWriter
from wclayer.formats.folder import LayerFolder, LayerFolderReader, read_layer_chain
from wclayer.formats.volume import Volume
from wclayer.formats.volume.layer import open_layer_volume
from wclayer.hcs import PortableService
from wclayer.hcs.base_layer import BASE_HIVES, LAYOUT_MARKER
from wclayer.hcs.layer_files import (
    find_children,
    is_leftover,
    locate_uvm_folder,
    read_uvm_build,
    write_uvm_build,
)
from wclayer.image.sample_content import base_items, middle_items
from wclayer.model import HardLink, Tombstone, copy_layer
from wclayer.regf import minimal_hive

CONFIG = "Files/Windows/System32/config"


def test_a_layer_goes_to_a_transport_folder_and_back(tmp_path: Path) -> None:
    base = write(tmp_path / "base", *base_items())
    middle = write(tmp_path / "middle", *middle_items(), parents=[base])
    service = PortableService()
    service.export_layer(middle, tmp_path / "t", [base])
    service.import_layer(tmp_path / "again", tmp_path / "t", [base])
    with LayerFolder(middle) as before, LayerFolder(tmp_path / "again") as after:
        expected = {(item[0], item[1]): item for item in plain(LayerFolderReader(before))}
        found = {(item[0], item[1]): item for item in plain(LayerFolderReader(after))}
        assert after.parent_paths == (base,)
    told = {"Files/Sample/Links/of the base.txt"}  # its file was copied out of the base
    assert {path for _, path in expected} == {path for _, path in found}
    for key, item in expected.items():
        if key[1] not in told and item[0] == "file":
            assert found[key][:4] == item[:4]
    assert service.notices["link-copied"] == 1


def test_deletions_arrive(tmp_path: Path) -> None:
    base = write(tmp_path / "base", folder("Files"), file("Files/a", b""), folder("Hives"))
    top = write(tmp_path / "top", folder("Files"), folder("Hives"), Tombstone("Files/a"), parents=[base])
    service = PortableService()
    service.export_layer(top, tmp_path / "t", [base])
    assert (tmp_path / "t/tombstones.txt").read_bytes() == b"\xef\xbb\xbfVersion 1.0\n\\a\n"
    service.import_layer(tmp_path / "again", tmp_path / "t", [base])
    with LayerFolder(tmp_path / "again") as layer:
        assert [node.path for node in layer.tombstones()] == ["Files/a"]


def test_a_transport_folder_that_is_none_makes_no_layer(tmp_path: Path) -> None:
    (tmp_path / "t/Files").mkdir(parents=True)
    (tmp_path / "t/tombstones.txt").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="invalid tombstones file"):
        PortableService().import_layer(tmp_path / "layer", tmp_path / "t", [])
    assert not (tmp_path / "layer").exists()
    with pytest.raises(NotFoundError):
        PortableService().import_layer(tmp_path / "layer", tmp_path / "nowhere", [])


def test_an_export_of_nothing_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        PortableService().export_layer(tmp_path / "nowhere", tmp_path / "t", [])
    layer = write(tmp_path / "l", folder("Files"), file("Files/a", b""), HardLink("Files/b", "Files/a"))
    (layer / "Files/a").chmod(0o644)
    (layer / "Files/a").write_bytes(b"changed")
    with pytest.raises(WclayerError):
        PortableService().export_layer(layer, tmp_path / "t", [])
    assert not (tmp_path / "t").exists()


def test_layers_as_hcsshim_leaves_them_go_there_and_back(tmp_path: Path) -> None:
    base_folder(tmp_path / "base")
    write(tmp_path / "seen", folder("Files"), file("Files/a", b"1"), folder("Hives"))
    service = PortableService()
    service.export_layer(tmp_path / "seen", tmp_path / "t1", [])
    (tmp_path / "t1/tombstones.txt").write_bytes(b"\xef\xbb\xbfVersion 1.0\n\\gone.txt\n")
    service.import_layer(tmp_path / "top", tmp_path / "t1", [tmp_path / "base"])
    assert (tmp_path / "top/layer.ntfs").is_file()
    assert (tmp_path / "top/Files/a").read_bytes() == b"1"
    service.export_layer(tmp_path / "top", tmp_path / "t2", [tmp_path / "base"])
    assert (tmp_path / "t2/tombstones.txt").read_bytes() == b"\xef\xbb\xbfVersion 1.0\n\\gone.txt\n"
    assert (tmp_path / "t2/Files/a").read_bytes() == (tmp_path / "t1/Files/a").read_bytes()


def test_where_the_system_cannot_link_blobs_no_name_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "seen", folder("Files"), file("Files/a", b"1"), HardLink("Files/b", "Files/a"), folder("Hives"))
    service = PortableService("volume")
    service.export_layer(tmp_path / "seen", tmp_path / "t1", [])
    service.import_layer(tmp_path / "layer", tmp_path / "t1", [])
    (tmp_path / "layer/Files/b").unlink(missing_ok=True)
    with_link = open_layer_volume(tmp_path / "layer", writable=True)
    assert with_link.link(with_link, "Files\\a", "Files\\b")
    with_link.close()
    monkeypatch.setattr(Volume, "link", lambda *_arguments: False)
    service.export_layer(tmp_path / "layer", tmp_path / "t2", [])
    assert (tmp_path / "t2/Files/b").read_bytes() == (tmp_path / "t2/Files/a").read_bytes()
    assert service.notices["link-copied"] == 1


def test_a_form_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "seen", folder("Files"), folder("Hives"))
    PortableService().export_layer(tmp_path / "seen", tmp_path / "t", [])
    PortableService("volume").import_layer(tmp_path / "one", tmp_path / "t", [])
    PortableService().import_layer(tmp_path / "two", tmp_path / "t", [])
    assert (tmp_path / "one/layer.ntfs").is_file()
    assert (tmp_path / "two/layer.db").is_file()
    (tmp_path / "t/tombstones.txt").write_bytes(b"nonsense")
    with pytest.raises(FormatError, match="invalid tombstones file"):
        PortableService("volume").import_layer(tmp_path / "three", tmp_path / "t", [])
    with pytest.raises(NotFoundError):
        PortableService("volume").import_layer(tmp_path / "three", tmp_path / "nowhere", [])
    assert not (tmp_path / "three").exists()


# ---------------------------------------------------------------------- base layers


def base_folder(path: Path, *, without: str = "", empty: str = "") -> Path:
    items = [folder("Files"), folder("Files/Windows"), folder("Files/Windows/System32"), folder(CONFIG)]
    items += [
        file(f"{CONFIG}/{name}", b"" if name == empty else minimal_hive(name)) for name in BASE_HIVES if name != without
    ]
    with BaseFolderWriter(path) as writer:
        copy_layer(items, writer)
    return path


def test_a_base_layer_gets_its_hives_and_its_marker(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    service = PortableService()
    service.process_base_layer(base)
    assert {path.name for path in (base / "Hives").iterdir()} == {
        "DEFAULTUSER_BASE",
        "SAM_BASE",
        "SECURITY_BASE",
        "SOFTWARE_BASE",
        "SYSTEM_BASE",
    }
    assert (base / "Hives/DEFAULTUSER_BASE").samefile(base / CONFIG / "DEFAULT")
    assert (base / "layout").read_bytes() == LAYOUT_MARKER
    before = tree(base)
    service.process_base_layer(base)
    assert tree(base) == before


def test_a_missing_or_empty_hive_is_told_and_nothing_is_made(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "one", without="SAM")
    with pytest.raises(NotFoundError, match="config/SAM"):
        PortableService().process_base_layer(base)
    assert not (base / "Hives").exists()
    with pytest.raises(FormatError, match="no registry hive"):
        PortableService().process_base_layer(base_folder(tmp_path / "two", empty="SYSTEM"))


def test_a_hive_through_a_link_of_this_machine_is_refused(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    (base / "Hives").symlink_to(tmp_path)
    with pytest.raises(StoreError):
        PortableService().process_base_layer(base)
    assert not (tmp_path / "SAM_BASE").exists()


def test_another_file_in_the_place_of_a_hive_is_an_error(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    (base / "Hives").mkdir()
    (base / "Hives/SAM_BASE").write_bytes(b"other")
    with pytest.raises(StoreError):
        PortableService().process_base_layer(base)


def test_a_layer_folder_needs_no_processing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"layer\.db"):
        PortableService().process_base_layer(write(tmp_path / "l", folder("Files")))


# ---------------------------------------------------------------------- making, removing


def test_a_layer_is_made_found_and_destroyed(tmp_path: Path) -> None:
    service = PortableService()
    assert not service.layer_exists(tmp_path / "x")
    service.create_layer(tmp_path / "x")
    assert service.layer_exists(tmp_path / "x")
    with pytest.raises(StoreError):
        service.create_layer(tmp_path / "x")
    service.destroy_layer(tmp_path / "x")
    assert not service.layer_exists(tmp_path / "x")
    with pytest.raises(NotFoundError):
        service.destroy_layer(tmp_path / "x")


def test_a_parent_is_not_destroyed_under_its_children(tmp_path: Path) -> None:
    base = write(tmp_path / "base", folder("Files"))
    top = write(tmp_path / "top", folder("Files"), parents=[base])
    service = PortableService()
    with pytest.raises(StoreError, match="is a parent of"):
        service.destroy_layer(base)
    service.destroy_layer(top)
    service.destroy_layer(base)
    assert list(tmp_path.iterdir()) == []


def test_a_destroyed_layer_that_cannot_be_removed_is_gone_under_its_name(tmp_path: Path) -> None:
    layer = write(tmp_path / "l", folder("Files"), file("Files/a", b"x"))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/keep").touch()
    layer.chmod(0o755)
    (layer / "link").symlink_to(tmp_path / "outside")
    PortableService().destroy_layer(layer)
    assert tree(tmp_path) == {"outside", "outside/keep"}


def test_a_writable_layer_has_a_copy_of_the_disk_of_the_base(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "top").mkdir()
    with pytest.raises(NotFoundError, match=r"blank\.vhdx"):
        PortableService().create_scratch_layer(tmp_path / "s", [tmp_path / "top", tmp_path / "base"])
    (tmp_path / "base/blank.vhdx").write_bytes(b"vhdxfile")
    PortableService().create_scratch_layer(tmp_path / "s", [tmp_path / "top", tmp_path / "base"])
    assert (tmp_path / "s/sandbox.vhdx").read_bytes() == b"vhdxfile"


# ---------------------------------------------------------------------- small files


@pytest.mark.parametrize("text", [b"17763\n", b"65536", b"-1", b"", b" 1", b"1_0", b"0x1", b"9" * 400])
def test_05_a_build_is_a_16_bit_decimal_and_nothing_else(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "uvmbuildversion").write_bytes(text)
    with pytest.raises(FormatError):
        read_uvm_build(tmp_path)


@pytest.mark.parametrize(("text", "build"), [(b"17763", 17763), (b"0", 0), (b"65535", 65535), (b"0017763", 17763)])
def test_05_a_build_is_read(tmp_path: Path, text: bytes, build: int) -> None:
    (tmp_path / "uvmbuildversion").write_bytes(text)
    assert read_uvm_build(tmp_path) == build


def test_05_a_build_is_written_without_a_line_end(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        read_uvm_build(tmp_path)
    write_uvm_build(tmp_path, 17763)
    assert (tmp_path / "uvmbuildversion").read_bytes() == b"17763"
    assert read_uvm_build(tmp_path) == 17763
    with pytest.raises(FormatError):
        write_uvm_build(tmp_path, 1 << 16)


def test_06_the_first_layer_with_a_utility_vm_is_found(tmp_path: Path) -> None:
    layers = [tmp_path / name for name in ("top", "middle", "base")]
    for layer in layers:
        layer.mkdir()
    with pytest.raises(NotFoundError, match="utility VM folder could not be found in layers"):
        locate_uvm_folder(layers)
    (tmp_path / "base/UtilityVM").mkdir()
    (tmp_path / "middle/UtilityVM").touch()
    assert locate_uvm_folder(layers) == tmp_path / "middle"


def test_06_a_layer_that_cannot_be_looked_at_ends_the_search(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "base/UtilityVM").mkdir(parents=True)
    with pytest.raises(StoreError):
        locate_uvm_folder([tmp_path / "file", tmp_path / "base"])


@pytest.mark.parametrize(
    ("text", "parents"),
    [
        (None, ()),
        (b"null", ()),
        (rb'["C:\\layers\\2", "C:\\layers\\1"]', (Path("C:\\layers\\2"), Path("C:\\layers\\1"))),
        (b'["/layers/2"', None),
        (b'"/layers/2"', None),
        (b"[1]", None),
    ],
)
def test_07_a_chain_of_docker_is_read(tmp_path: Path, text: bytes | None, parents: tuple[Path, ...] | None) -> None:
    if text is not None:
        (tmp_path / "layerchain.json").write_bytes(text)
        (tmp_path / "layerchain.json").chmod(0o600)
    if parents is None:
        with pytest.raises(FormatError) as error:
            read_layer_chain(tmp_path)
        assert error.value.kind == "layer-chain"
        return
    assert read_layer_chain(tmp_path) == parents


def test_07_a_chain_is_written_nearest_first_and_nobody_else_may_change_it(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        base = write(tmp_path / "base", folder("Files"))
        middle = write(tmp_path / "middle", folder("Files"), parents=[base])
        top = write(tmp_path / "top", folder("Files"), parents=[middle, base])
    finally:
        os.umask(old)
    chain = top / "layerchain.json"
    assert json.loads(chain.read_bytes()) == [str(middle), str(base)]
    assert (base / "layerchain.json").read_bytes() == b"null"
    assert chain.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize("name", ["abc-removing", "rm-abc", ".abc.wclayer-0123456789abcdef"])
def test_what_is_being_removed_is_no_layer(tmp_path: Path, name: str) -> None:
    assert is_leftover(name)
    (tmp_path / "base").mkdir()
    (tmp_path / name).mkdir()
    (tmp_path / name / "layerchain.json").write_text(json.dumps([str(tmp_path / "base")]))
    assert find_children(tmp_path / "base") == []


def test_a_chain_that_cannot_be_read_names_nobody(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/layerchain.json").write_text("nonsense")
    assert find_children(tmp_path / "base") == []
    assert not is_leftover("rm")
    assert not is_leftover("0a1b")
