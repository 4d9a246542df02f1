"""The disks of read-write layers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.peers import require
from wclayer.errors import UsageError
from wclayer.formats.disk.mkntfs import has_mkntfs
from wclayer.formats.vhdx import VhdxDisk
from wclayer.store.driver import WindowsFilterDriver
from wclayer.store.driver.checking import check_home


def test_a11_a12_a_read_write_layer_gets_a_disk_of_its_size_which_does_not_shrink(tmp_path: Path) -> None:
    if not has_mkntfs():
        require("mkntfs")
    with WindowsFilterDriver(tmp_path / "home", disks=True) as driver:
        for name, option, size in (("a", None, 127), ("b", {"size": "20GB"}, 20), ("c", {"size": "40g"}, 40)):
            driver.create_read_write(name, "", option)
            place = driver.layer_path(name) / "sandbox.vhdx"
            with VhdxDisk.open(place, within=[driver.home.home]) as disk:
                assert (disk.kind, disk.size) == ("differencing", size << 30)
            assert place.stat().st_blocks * 512 < 1 << 30
        with pytest.raises(UsageError, match="only grow"):
            driver.create_read_write("d", "", {"size": "2GB"})
        assert driver.home.names() == ["a", "b", "c"]
        assert list(check_home(driver.home)) == []
