"""Files of a volume, seen through a chain of disks."""

from __future__ import annotations

import io
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.disk.test_scratch import filled, mounted
from tests.peers import missing
from wclayer.errors import FormatError, NotFoundError, UnsupportedError, UsageError, WclayerError
from wclayer.formats.disk.mkntfs import format_ntfs
from wclayer.formats.disk.ntfs import NtfsVolume, open_ntfs
from wclayer.formats.disk.partitions import ntfs_partition
from wclayer.formats.disk.scratch import create_sandbox
from wclayer.formats.disk.window import Window
from wclayer.formats.vhdx import VhdxDisk

BIG = bytes(range(256)) * 2000


@pytest.fixture(scope="module")
def sandbox(base_layer: Path, tmp_path_factory: pytest.TempPathFactory, peer: Callable[[str], str]) -> Path:
    """A differencing disk with two files, on the base."""
    if not _has_library():
        missing("libfsntfs-python")
    folder = tmp_path_factory.mktemp("sandbox")
    create_sandbox(folder / "sandbox.vhdx", base_layer / "blank.vhdx")
    filled(folder / "sandbox.vhdx", folder, base_layer, {"Notes.txt": b"hello\n", "big": BIG}, peer)
    return folder / "sandbox.vhdx"


def _has_library() -> bool:
    try:
        import pyfsntfs  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        return False
    return True


def test_files_of_a_child_are_found_over_its_parent(sandbox: Path, base_layer: Path) -> None:
    with (
        VhdxDisk.open(sandbox, within=[base_layer]) as disk,
        open_ntfs(disk.open_stream(), disk.size) as volume,
    ):
        found = {one.name: one for one in volume.list()}
        assert set(found) == {"Notes.txt", "big"}  # and none of the volume's own files
        assert (found["Notes.txt"].size, found["big"].size) == (6, len(BIG))
        assert not found["big"].is_directory
        assert found["big"].last_write_time > 130_000_000_000_000_000
        assert volume.stat("NOTES.TXT").path == "Notes.txt"
        assert volume.stat("").is_directory
        assert [one.path for one in volume.walk()] == [one.path for one in volume.list()]
        with volume.open("notes.txt") as data:
            assert data.read() == b"hello\n"
        with volume.open("big") as data:
            assert data.readall() == BIG
            assert data.seek(-10, io.SEEK_END) == len(BIG) - 10
            assert data.read(100) == BIG[-10:]
        assert volume.stat("$Secure").streams == ("$SDS",)
        with volume.open("$UpCase", "$info") as data:
            assert data.size == 32
        for wrong, error in (("nothing", NotFoundError), ("big/more", NotFoundError), ("", UsageError)):
            with pytest.raises(error):
                volume.open(wrong)
        with pytest.raises(NotFoundError, match="no stream"):
            volume.open("big", "zone")
        with pytest.raises(UsageError, match="no folder"):
            list(volume.list("big"))


def test_folders_streams_and_reparse_points_are_what_they_are(tmp_path: Path, peer: Callable[[str], str]) -> None:
    if not _has_library():
        missing("libfsntfs-python")
    image = tmp_path / "volume"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    format_ntfs(image, 0, label="scratch")
    junction = "\\??\\C:\\x".encode("utf-16-le")
    names = struct.pack("<HHHH", 0, len(junction), len(junction) + 2, 0) + junction + bytes(4)
    buffer = struct.pack("<IHH", 0xA0000003, len(names), 0) + names
    with mounted(image, tmp_path / "mounted", peer("ntfs-3g"), "streams_interface=windows") as folder:
        (folder / "Windows/System32/deep").mkdir(parents=True)
        (folder / "Windows/a.txt").write_bytes(b"data")
        (folder / "Windows/a.txt:Zone.Identifier").write_bytes(b"zone 3")
        (folder / "Windows/System32/deep/b").write_bytes(b"")
        (folder / "Windows/link").mkdir()
        os.setxattr(folder / "Windows/link", "system.ntfs_reparse_data", buffer)
    with image.open("rb", buffering=0) as raw, NtfsVolume(raw) as volume:
        assert volume.name == "scratch"
        found = {one.path: one for one in volume.walk()}
        assert set(found) == {
            "Windows",
            "Windows/System32",
            "Windows/System32/deep",
            "Windows/System32/deep/b",
            "Windows/a.txt",
            "Windows/link",
        }
        assert {path for path, one in found.items() if one.is_directory} == set(found) - {
            "Windows/System32/deep/b",
            "Windows/a.txt",
        }
        assert [path for path, one in found.items() if one.is_reparse_point] == ["Windows/link"]
        assert found["Windows/link"].attributes & 0x410 == 0x410
        assert found["Windows/a.txt"].streams == ("Zone.Identifier",)
        with volume.open("WINDOWS/A.TXT", "zone.identifier") as data:
            assert data.read() == b"zone 3"
        with volume.open("windows/system32/DEEP/b") as data:
            assert data.read() == b""
        assert [one.name for one in volume.walk("windows/SYSTEM32")] == ["deep", "b"]
        with pytest.raises(UsageError, match="no folder"):
            list(volume.walk("Windows/a.txt"))


def test_the_parent_has_none_of_them(sandbox: Path, base_layer: Path) -> None:
    with (
        VhdxDisk.open(base_layer / "blank-base.vhdx") as disk,
        open_ntfs(disk.open_stream(), disk.size) as volume,
    ):
        assert list(volume.list()) == []


def test_without_the_library_it_is_named(base_layer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfsntfs", None)
    with (
        VhdxDisk.open(base_layer / "blank-base.vhdx") as disk,
        pytest.raises(UnsupportedError, match="libfsntfs") as caught,
    ):
        open_ntfs(disk.open_stream(), disk.size)
    assert caught.value.hint == "pip install 'wclayer[disks]'"


def test_what_is_no_volume_and_damage_are_errors(sandbox: Path, base_layer: Path) -> None:
    with pytest.raises(FormatError):
        NtfsVolume(io.BytesIO(bytes(1 << 16)))
    with VhdxDisk.open(sandbox, within=[base_layer]) as disk:
        place = ntfs_partition(disk.open_stream(), disk.size)
        volume = bytearray(Window(disk.open_stream(), place.offset, 8 << 20).readall())
    failed = 0
    for at in range(0x4000, 0x4000 + 40 * 1024, 512):  # the MFT is at cluster 4
        damaged = bytearray(volume)
        damaged[at : at + 64] = b"\xff" * 64
        try:
            with NtfsVolume(io.BytesIO(damaged)) as found:
                for one in found.list():
                    found.open(one.path).read(1000)
        except WclayerError:
            failed += 1
    assert failed
