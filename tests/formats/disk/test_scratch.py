"""The disks beside layers: what other programs find on them, and how they grow."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.formats.disk.conftest import SMALL
from tests.peers import missing
from wclayer.errors import FormatError, StoreError, UnsafeEntryError, UnsupportedError, UsageError
from wclayer.formats.disk import mkntfs
from wclayer.formats.disk.gpt import pack_gpt, read_gpt, windows_gpt
from wclayer.formats.disk.partitions import ntfs_partition
from wclayer.formats.disk.scratch import create_blank_base, create_sandbox, expand_sandbox, stored_pieces
from wclayer.formats.vhdx import VhdxDisk, new_vhdx

MIB = 1 << 20


def raw_copy(path: Path, raw: Path, *within: Path) -> Path:
    with VhdxDisk.open(path, within=within) as disk, raw.open("wb") as file:
        file.truncate(disk.size)
        for offset, length in disk.ranges():
            file.seek(offset)
            file.write(disk.read(offset, length))
    return raw


def volume_of(raw: Path) -> Path:
    """The NTFS volume of a raw disk, as a file."""
    with raw.open("rb") as file:
        place = ntfs_partition(file, raw.stat().st_size)
        file.seek(place.offset)
        volume = raw.with_name(raw.name + "-volume")
        volume.write_bytes(file.read(place.length))
    return volume


@contextmanager
def mounted(volume: Path, folder: Path, ntfs_3g: str, options: str = "ro") -> Iterator[Path]:
    if os.geteuid() or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        missing("FUSE, with the rights of root,")
    folder.mkdir()
    done = subprocess.run(
        [ntfs_3g, str(volume), str(folder), "-o", options], check=False, capture_output=True, text=True
    )
    if "fuse: device not found" in done.stderr or "Operation not permitted" in done.stderr:
        missing("FUSE")
    assert done.returncode == 0, done.stderr
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def check(raw: Path, peer: Callable[[str], str]) -> None:
    done = subprocess.run([peer("sgdisk"), "-v", str(raw)], check=True, capture_output=True, text=True)
    assert "No problems found" in done.stdout
    resize = mkntfs.find_program("ntfsresize")
    done = subprocess.run([resize, "--check", str(volume_of(raw))], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_base_is_sound(base_layer: Path, tmp_path: Path, peer: Callable[[str], str]) -> None:
    disk = base_layer / "blank-base.vhdx"
    done = subprocess.run([peer("qemu-img"), "check", str(disk)], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "No errors were found on the image."
    raw = raw_copy(disk, tmp_path / "raw")
    check(raw, peer)
    boot = volume_of(raw).read_bytes()[:512]
    assert boot[11:14] == b"\x00\x02\x08"  # sectors of 512, clusters of 8 of them
    assert int.from_bytes(boot[28:32], "little") == 32768
    with VhdxDisk.open(disk) as found:
        assert (found.kind, found.size, found.geometry.block_size) == ("dynamic", SMALL, MIB)
        assert (found.parameters.logical_sector_size, found.parameters.physical_sector_size) == (512, 4096)


def test_its_volume_mounts(base_layer: Path, tmp_path: Path, peer: Callable[[str], str]) -> None:
    volume = volume_of(raw_copy(base_layer / "blank-base.vhdx", tmp_path / "raw"))
    with mounted(volume, tmp_path / "mounted", peer("ntfs-3g")) as folder:
        assert list(folder.iterdir()) == []
        room = os.statvfs(folder)
        assert SMALL - 20 * MIB < room.f_blocks * room.f_frsize < SMALL - 16 * MIB


def test_the_template_holds_nothing_of_its_own(base_layer: Path) -> None:
    with VhdxDisk.open(base_layer / "blank.vhdx") as disk, VhdxDisk.open(base_layer / "blank-base.vhdx") as base:
        assert (disk.kind, disk.size, disk.own_blocks()) == ("differencing", SMALL, 0)
        assert list(disk.ranges()) == list(base.ranges())
        assert disk.read(0, disk.size) == base.read(0, base.size)
        assert disk.parameters.disk_id == base.parameters.disk_id
    assert (base_layer / "blank.vhdx").stat().st_size == 4 * MIB


def test_a_sandbox_finds_the_base_from_where_it_is(base_layer: Path, tmp_path: Path) -> None:
    assert create_sandbox(tmp_path / "sandbox.vhdx", base_layer / "blank.vhdx")
    with VhdxDisk.open(tmp_path / "sandbox.vhdx", within=[base_layer]) as disk:
        assert disk.parent is not None
        assert disk.parent.path.name == "blank-base.vhdx"
        assert disk.own_blocks() == 0
    with pytest.raises(UnsafeEntryError):
        VhdxDisk.open(tmp_path / "sandbox.vhdx")
    with pytest.raises(StoreError, match="is there already"):
        create_sandbox(tmp_path / "sandbox.vhdx", base_layer / "blank.vhdx")
    assert [path.name for path in tmp_path.iterdir()] == ["sandbox.vhdx"]


def test_a_larger_sandbox_has_a_larger_volume(base_layer: Path, tmp_path: Path, peer: Callable[[str], str]) -> None:
    disk = tmp_path / "sandbox.vhdx"
    before = {path: path.read_bytes() for path in base_layer.iterdir()}
    assert create_sandbox(disk, base_layer / "blank.vhdx", 200 * MIB)
    raw = raw_copy(disk, tmp_path / "raw", base_layer)
    assert raw.stat().st_size == 200 * MIB
    check(raw, peer)
    with mounted(volume_of(raw), tmp_path / "mounted", peer("ntfs-3g")) as folder:
        room = os.statvfs(folder)
        assert 200 * MIB - 20 * MIB < room.f_blocks * room.f_frsize < 200 * MIB - 16 * MIB
    assert {path: path.read_bytes() for path in base_layer.iterdir()} == before


def test_a_disk_with_files_grows_and_keeps_them(base_layer: Path, tmp_path: Path, peer: Callable[[str], str]) -> None:
    disk = tmp_path / "sandbox.vhdx"
    create_sandbox(disk, base_layer / "blank.vhdx")
    filled(disk, tmp_path, base_layer, {"note": b"kept" * 50_000}, peer)
    assert expand_sandbox(disk, 150 * MIB, within=[base_layer])
    raw = raw_copy(disk, tmp_path / "raw", base_layer)
    check(raw, peer)
    with mounted(volume_of(raw), tmp_path / "mounted", peer("ntfs-3g")) as folder:
        assert (folder / "note").read_bytes() == b"kept" * 50_000
    assert expand_sandbox(disk, 150 * MIB, within=[base_layer])
    with pytest.raises(UsageError, match="only grow"):
        expand_sandbox(disk, 100 * MIB, within=[base_layer])


def filled(disk: Path, folder: Path, base_layer: Path, files: dict[str, bytes], peer: Callable[[str], str]) -> None:
    """Put files into the volume of a differencing disk: what ntfscp changes of it becomes the disk's own."""
    raw = raw_copy(disk, folder / "filled", base_layer)
    volume = volume_of(raw)
    for name, data in files.items():
        (folder / "source").write_bytes(data)
        subprocess.run(
            [peer("ntfscp"), "-f", "-q", str(volume), str(folder / "source"), name], check=True, capture_output=True
        )
    with raw.open("rb") as file:
        offset = ntfs_partition(file, raw.stat().st_size).offset
    with VhdxDisk.open(disk, within=[base_layer]) as old, volume.open("rb") as new:
        home = disk.with_name("new.vhdx")
        assert old.parent is not None
        with new_vhdx(home, parent=old.parent.path) as writer:
            while piece := new.read(65536):
                if piece != old.read(offset, len(piece)):
                    writer.write(offset, piece)
                offset += len(piece)
    home.replace(disk)
    raw.unlink()
    volume.unlink()


def test_where_the_volume_cannot_grow_the_disk_does_and_says_so(
    base_layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "sandbox.vhdx"
    find = mkntfs.find_program

    def without_resize(name: str) -> str:
        if name == "ntfsresize":
            raise UnsupportedError("not here")
        return find(name)

    monkeypatch.setattr("wclayer.formats.disk.scratch.find_program", without_resize)
    assert not create_sandbox(disk, base_layer / "blank.vhdx", 150 * MIB)
    raw = raw_copy(disk, tmp_path / "raw", base_layer)
    with raw.open("rb") as file:
        place = ntfs_partition(file, 150 * MIB)
        assert place.length > 130 * MIB
        file.seek(place.offset + 40)
        assert int.from_bytes(file.read(8), "little") * 512 < SMALL


def test_a_volume_that_ntfsresize_refuses_stays_as_it_is(
    base_layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refusing = tmp_path / "ntfsresize"
    refusing.write_text("#!/bin/sh\necho ERROR: scheduled for check\nexit 1\n")
    refusing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not create_sandbox(tmp_path / "sandbox.vhdx", base_layer / "blank.vhdx", 150 * MIB)
    with VhdxDisk.open(tmp_path / "sandbox.vhdx", within=[base_layer]) as disk:
        assert disk.size == 150 * MIB


def test_a_failed_growth_leaves_the_disk_as_it_was(
    base_layer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "sandbox.vhdx"
    create_sandbox(disk, base_layer / "blank.vhdx")
    before = disk.read_bytes()

    def fail(*_arguments: object) -> None:
        raise FormatError("half way")

    monkeypatch.setattr("wclayer.formats.disk.scratch._write_changes", fail)
    with pytest.raises(FormatError, match="half way"):
        expand_sandbox(disk, 150 * MIB, within=[base_layer])
    assert disk.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["sandbox.vhdx"]


def test_a_disk_without_partitions_grows(tmp_path: Path) -> None:
    with new_vhdx(tmp_path / "d.vhdx", MIB) as writer:
        writer.write(100, b"data")
    assert expand_sandbox(tmp_path / "d.vhdx", 4 * MIB)
    with VhdxDisk.open(tmp_path / "d.vhdx") as disk:
        assert disk.read(0, 4 * MIB) == (bytes(100) + b"data").ljust(4 * MIB, b"\0")


def test_other_partitions_stay_and_a_volume_that_is_not_ntfs_is_told(tmp_path: Path) -> None:
    path, old, new = tmp_path / "d.vhdx", 64 * MIB, 80 * MIB
    gpt = windows_gpt(old)
    first, last = gpt.partitions
    gpt = replace(gpt, partitions=(replace(last, number=3), replace(first, number=7, name="\udcff")))
    front, back = pack_gpt(gpt)
    with new_vhdx(path, old) as writer:
        writer.write(0, b"boot code" + front[9:])
        writer.write(old - len(back), back)
    assert not expand_sandbox(path, new)
    with VhdxDisk.open(path) as disk:
        assert disk.read(0, 9) == b"boot code"
        assert disk.read(old - len(back), len(back)) == back  # nobody reads it any more
        found = read_gpt(disk.open_stream(), new)
    assert found is not None
    assert [(one.number, one.id, one.first) for one in found.partitions] == [
        (3, last.id, last.first),
        (7, first.id, first.first),
    ]
    assert found.partitions[0].last > last.last
    assert found.partitions[1].last == first.last


def test_a_volume_without_partitions_does_not_grow(tmp_path: Path) -> None:
    with new_vhdx(tmp_path / "d.vhdx", MIB) as writer:
        writer.write(0, b"\xebR\x90NTFS    ")
    assert not expand_sandbox(tmp_path / "d.vhdx", 2 * MIB)


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EOPNOTSUPP])
def test_where_holes_are_not_told_all_is_copied(error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "file").open("w+b") as file:
        file.write(b"start")
        file.seek(3 * MIB)
        file.write(b"end")
        file.flush()
        sparse = dict(stored_pieces(file.fileno()))

        def refuse(*_arguments: int) -> int:
            raise OSError(error, os.strerror(error))

        monkeypatch.setattr(os, "lseek", refuse)
        whole = b"".join(piece for _, piece in stored_pieces(file.fileno()))
        monkeypatch.undo()
    assert whole == (tmp_path / "file").read_bytes()
    for offset, piece in sparse.items():
        assert whole[offset : offset + len(piece)] == piece
    assert sparse[0].startswith(b"start")
    assert any(piece.endswith(b"end") for piece in sparse.values())


def test_without_mkntfs_the_package_is_named_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mkntfs, "_MORE_FOLDERS", ())
    assert not mkntfs.has_mkntfs()
    with pytest.raises(UnsupportedError, match="mkntfs is not installed") as caught:
        create_blank_base(tmp_path / "b.vhdx", SMALL)
    assert "ntfs-3g" in (caught.value.hint or "")
    assert list(tmp_path.iterdir()) == []


def test_what_a_failing_mkntfs_says_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = tmp_path / "mkntfs"
    failing.write_text("#!/bin/sh\necho first\necho no room\nexit 1\n")
    failing.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(StoreError, match="mkntfs says: no room"):
        create_blank_base(tmp_path / "b.vhdx", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mkntfs"]
    with pytest.raises(UsageError, match="no room for the partitions"):
        create_blank_base(tmp_path / "b.vhdx", 10 * MIB)
