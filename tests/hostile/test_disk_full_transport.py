"""A disk that is full in the middle of an import as hcsshim does it: the transport folder goes, and all else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.formats.transport.layers import file, folder, tar_of
from tests.hostile.test_disk_full import small_disk, used
from tests.image.transport_layers import BASE, DIFF, UTILITY_VM
from wclayer.errors import StoreError
from wclayer.image.transport_import import import_layer_from_tar

KB = 1 << 10
MANY = [folder("Files/many"), *(file(f"Files/many/{number:03}", bytes(3000)) for number in range(300))]


@pytest.mark.parametrize("size", [256 * KB, 384 * KB, 512 * KB, 768 * KB])
@pytest.mark.parametrize("items", [[file("Files/big", bytes(1 << 20))], MANY], ids=["one file", "many files"])
def test_32_a_full_disk_takes_nothing_of_a_layer(tmp_path: Path, size: int, items: list[object]) -> None:
    tar = tar_of(*DIFF, *UTILITY_VM, *items)  # type: ignore[arg-type]
    base = import_layer_from_tar([tar_of(*BASE)], tmp_path / "base").path
    with small_disk(tmp_path / "disk", size) as disk:
        (disk / "other").write_bytes(b"something else")
        before, opened = used(disk), len(os.listdir("/proc/self/fd"))
        with pytest.raises(StoreError, match="space"):
            import_layer_from_tar([tar], disk / "layer", [base])
        assert os.listdir(disk) == ["other"]
        assert used(disk) == before
        assert len(os.listdir("/proc/self/fd")) == opened


def test_32_a_disk_with_just_enough_room_takes_the_layer(tmp_path: Path) -> None:
    base = import_layer_from_tar([tar_of(*BASE)], tmp_path / "base").path
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        import_layer_from_tar([tar_of(*DIFF, *UTILITY_VM, *MANY)], disk / "layer", [base])
        assert os.listdir(disk) == ["layer"]
