"""Stores in disk images: a volume, a disk with partitions, a VHDX, and over its parent."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.peers import missing, require
from tests.store.hosts.docker_host import DockerHost
from wclayer.errors import FormatError, UnsupportedError
from wclayer.formats.vhdx import create_vhdx
from wclayer.store.hosts import open_host_stores

FILES = {"Windows/System32/ntdll.dll": b"MZ" * 600, "naïve Ω.txt": b"hello"}
SIZE = 32 << 20
START = 1 << 20


@contextmanager
def mounted(volume: Path, folder: Path) -> Iterator[Path]:
    """The volume in a file, mounted with ntfs-3g."""
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        missing("FUSE for root")
    folder.mkdir()
    subprocess.run([require("ntfs-3g"), "-o", "streams_interface=windows", volume, folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file with an NTFS volume: a drive with Docker's data root on it."""
    folder = tmp_path_factory.mktemp("volume")
    file = folder / "volume.img"
    with file.open("wb") as out:
        out.truncate(SIZE)
    subprocess.run(
        [require("mkntfs"), "-F", "-Q", "-q", "-p", str(START // 512), file], check=True, capture_output=True
    )
    with mounted(file, folder / "mounted") as drive:
        host = DockerHost(drive / "ProgramData" / "docker")
        base = host.layer("base", FILES)
        top = host.layer("top", {"top.txt": b"top"}, base)
        host.make_image(top, "registry.test/app:1")
        host.container("web", top)
        os.link(host.path(base) / "Files" / "naïve Ω.txt", host.path(top) / "Files" / "linked.txt")
        (host.home / ("9" * 64 + "-removing")).mkdir()
    return file


def in_disk(volume: Path, disk: Path) -> Path:
    """A disk with an MBR and the volume as its second partition."""
    entry = bytes(16) + bytes([0, 0, 0, 0, 7, 0, 0, 0]) + (START // 512).to_bytes(4, "little")
    entry += (SIZE // 512).to_bytes(4, "little")
    with disk.open("wb") as out:
        out.write((bytes(446) + entry).ljust(510, b"\0") + b"\x55\xaa")
        out.seek(START)
        out.write(volume.read_bytes())
    return disk


def look(image: Path) -> tuple[list[str], list[str], list[str]]:
    """The kinds of layers, the names of images, and what is wrong with the data too."""
    with open_host_stores(image) as stores:
        (store,) = stores
        assert store.place == f"{image}/ProgramData/docker"
        kinds = sorted(layer.kind for layer in store.layers())
        names = [name for one in store.images() for name in one.names]
        used = {one.layer.kind: one for one in store.usage()}
        assert used["scratch"].size > 0
        total = sum(one.size for one in store.usage() if one.layer.kind == "layer")
        assert 1208 < total < 1208 + 300, "the file with two names counts once"
        assert any(event.what == "layer-made" for event in store.events())
        return kinds, names, [finding.code for finding in store.findings(content=True)]


EXPECTED = (["init", "layer", "layer", "removing", "scratch"], ["registry.test/app:1"], ["half-removed"])


def test_a_volume_is_read(volume: Path) -> None:
    assert look(volume) == EXPECTED


def test_a_disk_with_partitions_is_read(volume: Path, tmp_path: Path) -> None:
    assert look(in_disk(volume, tmp_path / "disk.img")) == EXPECTED


def test_a_vhdx_is_read_and_so_is_one_over_its_parent(volume: Path, tmp_path: Path) -> None:
    disk = in_disk(volume, tmp_path / "disk.img")
    qemu = require("qemu-img")
    parent = tmp_path / "parent.vhdx"
    subprocess.run([qemu, "convert", "-O", "vhdx", disk, parent], check=True)
    assert look(parent) == EXPECTED
    child = tmp_path / "child.vhdx"
    create_vhdx(child, parent=parent)
    assert look(child) == EXPECTED


def test_a_file_that_changed_in_an_image_is_found(volume: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copy(volume, tmp_path / "copy.img"))
    raw = copy.read_bytes()
    at = raw.index(b"MZ" * 600)
    with copy.open("r+b") as out:
        out.seek(at)
        out.write(b"XX")
    assert look(copy)[2] == ["half-removed", "layer-data-wrong"]


def test_an_image_that_was_cut_short_is_an_error(volume: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.img"
    cut.write_bytes(volume.read_bytes()[: 3 << 20])
    with pytest.raises(FormatError), open_host_stores(cut) as (store,):
        store.findings(content=True)


def test_without_the_library_its_name_is_told(volume: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyfsntfs", None)
    with pytest.raises(UnsupportedError, match=r"libfsntfs") as caught, open_host_stores(volume):
        pass
    assert "wclayer[disks]" in (caught.value.hint or "")
