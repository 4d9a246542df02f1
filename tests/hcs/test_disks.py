"""The disks that the portable service leaves beside layers, and what it says where it cannot make them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.formats.disk.test_scratch import raw_copy
from tests.hcs.test_portable import base_folder
from tests.peers import require
from wclayer.errors import NotFoundError, StoreError, UsageError
from wclayer.formats.disk import mkntfs
from wclayer.formats.disk.partitions import ntfs_partition
from wclayer.formats.vhdx import VhdxDisk
from wclayer.hcs import PortableService

MIB = 1 << 20
SIZE = 96 * MIB


@pytest.fixture
def service() -> PortableService:
    if not mkntfs.has_mkntfs():
        require("mkntfs")
    return PortableService(scratch_size=SIZE, utility_vm_size=SIZE)


@pytest.fixture
def without_mkntfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.setattr(mkntfs, "_MORE_FOLDERS", ())


def test_a_base_layer_gets_its_disks(tmp_path: Path, service: PortableService) -> None:
    base = base_folder(tmp_path / "base")
    service.process_base_layer(base)
    assert {path.name for path in base.iterdir()} == {
        "Files",
        "Hives",
        "blank-base.vhdx",
        "blank.vhdx",
        "layer.ntfs",
        "layout",
    } | {path.name for path in base.iterdir() if path.name.startswith("layer.")}
    with VhdxDisk.open(base / "blank.vhdx") as disk:
        assert (disk.kind, disk.size, disk.geometry.block_size) == ("differencing", SIZE, MIB)
        assert [one.path.name for one in disk.chain] == ["blank.vhdx", "blank-base.vhdx"]
        stream = disk.open_stream()
        assert ntfs_partition(stream, disk.size).number == 2
    assert service.notices == {}


def test_disks_that_are_there_stay_and_what_is_missing_is_made(tmp_path: Path, service: PortableService) -> None:
    base = base_folder(tmp_path / "base")
    service.process_base_layer(base)
    before = (base / "blank-base.vhdx").read_bytes()
    (base / "blank.vhdx").unlink()
    service.process_base_layer(base)
    assert (base / "blank-base.vhdx").read_bytes() == before
    with VhdxDisk.open(base / "blank.vhdx") as disk:
        assert disk.size == SIZE


def test_a_link_in_the_place_of_a_disk_is_refused(tmp_path: Path, service: PortableService) -> None:
    base = base_folder(tmp_path / "base")
    (base / "blank-base.vhdx").symlink_to(tmp_path / "outside")
    with pytest.raises(StoreError, match="link of this machine"):
        service.process_base_layer(base)
    assert not (tmp_path / "outside").exists()


def test_without_mkntfs_the_layer_is_processed_and_the_lack_is_counted(tmp_path: Path, without_mkntfs: None) -> None:
    base = base_folder(tmp_path / "base")
    service = PortableService()
    service.process_base_layer(base)
    assert (base / "layout").is_file()
    assert not list(base.glob("*.vhdx"))
    assert service.notices == {"disks-not-made": 1}
    (tmp_path / "UtilityVM/Files").mkdir(parents=True)
    service.process_utility_vm_image(tmp_path / "UtilityVM")
    assert service.notices == {"disks-not-made": 2}
    assert [path.name for path in (tmp_path / "UtilityVM").iterdir()] == ["Files"]


def test_who_wants_no_disks_gets_none(tmp_path: Path) -> None:
    base = base_folder(tmp_path / "base")
    service = PortableService(disks=False)
    service.process_base_layer(base)
    assert not list(base.glob("*.vhdx"))
    assert service.notices == {}


def test_a_utility_vm_gets_its_disks_and_what_they_lack_is_counted(tmp_path: Path, service: PortableService) -> None:
    vm = tmp_path / "UtilityVM"
    vm.mkdir()
    with pytest.raises(NotFoundError, match="no utility VM"):
        service.process_utility_vm_image(vm)
    (vm / "Files").mkdir()
    service.process_utility_vm_image(vm)
    with VhdxDisk.open(vm / "SystemTemplate.vhdx") as disk:
        assert [one.path.name for one in disk.chain] == ["SystemTemplate.vhdx", "SystemTemplateBase.vhdx"]
        assert disk.size == SIZE
    assert service.notices == {"boot-volume-empty": 1}


def test_the_sizes_are_those_of_windows_unless_somebody_says_otherwise() -> None:
    service = PortableService()
    assert (service.scratch_size, service.utility_vm_size) == (20 << 30, 10 << 30)


def test_a_writable_layer_stands_on_the_disk_of_the_base_and_grows(tmp_path: Path, service: PortableService) -> None:
    base = base_folder(tmp_path / "base")
    service.process_base_layer(base)
    service.create_scratch_layer(tmp_path / "scratch", [base])
    disk = tmp_path / "scratch/sandbox.vhdx"
    with VhdxDisk.open(disk, within=[tmp_path]) as found:
        assert [one.path.name for one in found.chain] == ["sandbox.vhdx", "blank-base.vhdx"]
        assert found.size == SIZE
    service.expand_scratch_size(tmp_path / "scratch", 150 * MIB)
    raw = raw_copy(disk, tmp_path / "raw", tmp_path)
    with raw.open("rb") as file:
        volume = ntfs_partition(file, 150 * MIB)
        file.seek(volume.offset + 40)
        size = int.from_bytes(file.read(8), "little") * 512  # whole clusters, and a sector for the copy of this one
    assert volume.length - 4096 <= size < volume.length
    with pytest.raises(UsageError, match="only grow"):
        service.expand_scratch_size(tmp_path / "scratch", SIZE)
    assert service.notices == {}
    with pytest.raises(NotFoundError):
        service.expand_scratch_size(base, 150 * MIB)


def test_both_can_be_moved_together(tmp_path: Path, service: PortableService) -> None:
    (tmp_path / "store").mkdir()
    service.process_base_layer(base_folder(tmp_path / "store/base"))
    service.create_scratch_layer(tmp_path / "store/scratch", [tmp_path / "store/base"])
    (tmp_path / "store").rename(tmp_path / "moved")
    with VhdxDisk.open(tmp_path / "moved/scratch/sandbox.vhdx", within=[tmp_path / "moved"]) as found:
        assert found.size == SIZE


def test_a_template_whose_parent_is_gone_is_copied_and_counted(tmp_path: Path, service: PortableService) -> None:
    base = base_folder(tmp_path / "base")
    service.process_base_layer(base)
    (base / "blank-base.vhdx").unlink()
    service.create_scratch_layer(tmp_path / "scratch", [base])
    assert (tmp_path / "scratch/sandbox.vhdx").read_bytes() == (base / "blank.vhdx").read_bytes()
    assert service.notices == {"scratch-parent": 1}


def test_a_volume_that_cannot_grow_is_counted(
    tmp_path: Path, service: PortableService, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = base_folder(tmp_path / "base")
    service.process_base_layer(base)
    service.create_scratch_layer(tmp_path / "scratch", [base])
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mkntfs, "_MORE_FOLDERS", ())
    service.expand_scratch_size(tmp_path / "scratch", 150 * MIB)
    assert service.notices == {"volume-not-grown": 1}
    with VhdxDisk.open(tmp_path / "scratch/sandbox.vhdx", within=[tmp_path]) as found:
        assert found.size == 150 * MIB
