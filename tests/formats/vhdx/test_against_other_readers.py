"""Disks of every kind, and what other programs find in them."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.formats.vhdx.model import PIECE, READERS, Model, scatter
from wclayer.formats.vhdx import VhdxDisk, create_vhdx, new_vhdx, resize_vhdx

SIZE = 2 << 30


class Disk(NamedTuple):
    chain: list[Path]
    model: Model


@pytest.fixture(scope="module")
def disks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Disk]:
    """Disks of 2 GiB with random extents, the last one the third of a chain."""
    folder = tmp_path_factory.mktemp("disks")
    chance = random.Random(20)
    base, fixed = Model(SIZE), Model(SIZE)
    with new_vhdx(folder / "dynamic.vhdx", SIZE) as disk:
        scatter(disk, base, chance, 60)
    with new_vhdx(folder / "fixed.vhdx", SIZE, kind="fixed", block_size=32 << 20) as disk:
        scatter(disk, fixed, chance, 60)
    middle = Model(SIZE, base)
    with new_vhdx(folder / "middle.vhdx", parent=folder / "dynamic.vhdx") as disk:
        scatter(disk, middle, chance, 40, 512)
    top = Model(SIZE, middle)
    with new_vhdx(folder / "top.vhdx", parent=folder / "middle.vhdx") as disk:
        scatter(disk, top, chance, 40, 512)
        for model in (base, middle):  # over what the others wrote, in part and whole
            for number in list(model.pieces)[:8]:
                data = chance.randbytes(1536)
                disk.write(number * PIECE + 1024, data)
                top.write(number * PIECE + 1024, data)
    names = {"dynamic": base, "fixed": fixed, "middle": middle, "top": top}
    chains = {
        "dynamic": ["dynamic"],
        "fixed": ["fixed"],
        "middle": ["middle", "dynamic"],
        "top": ["top", "middle", "dynamic"],
    }
    return {name: Disk([folder / f"{one}.vhdx" for one in chains[name]], model) for name, model in names.items()}


@pytest.mark.slow
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("kind", ["dynamic", "fixed", "top"])
def test_every_byte_is_what_was_written(kind: str, reader: str, disks: dict[str, Disk]) -> None:
    disk = disks[kind]
    with READERS[reader](disk.chain) as read:
        disk.model.check(read)


@pytest.mark.parametrize("kind", ["dynamic", "fixed"])
def test_qemu_finds_no_error(kind: str, disks: dict[str, Disk], peer: Callable[[str], str]) -> None:
    path = disks[kind].chain[0]
    done = subprocess.run([peer("qemu-img"), "check", path], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "No errors were found on the image.")


def test_ranges_miss_nothing_that_was_written(disks: dict[str, Disk]) -> None:
    for chain, model in disks.values():
        with VhdxDisk.open(chain[0]) as disk:
            ranges = list(disk.ranges())
        assert ranges == sorted(ranges)
        for number, piece in model.pieces.items():
            at = number * PIECE
            if piece.count(0) != PIECE:
                assert any(start <= at < start + length for start, length in ranges)


@pytest.mark.parametrize("options", ["subformat=dynamic,block_size=1M", "subformat=fixed,block_size=8M"])
def test_what_qemu_makes_is_read(options: str, tmp_path: Path, peer: Callable[[str], str]) -> None:
    chance = random.Random(3)
    raw = tmp_path / "raw"
    with raw.open("wb") as file:
        file.truncate(40 << 20)
        for _ in range(20):
            file.seek(chance.randrange(0, 39 << 20))
            file.write(chance.randbytes(70_000))
    disk = tmp_path / "disk.vhdx"
    command = [peer("qemu-img"), "convert", "-f", "raw", "-O", "vhdx", "-o", options, str(raw), str(disk)]
    subprocess.run(command, check=True, capture_output=True)
    with VhdxDisk.open(disk) as found:
        assert found.size == 40 << 20
        assert found.read(0, found.size) == raw.read_bytes()
    resize_vhdx(disk, 100 << 20)
    with VhdxDisk.open(disk) as found:
        assert found.read(0, found.size) == raw.read_bytes().ljust(100 << 20, b"\0")
    done = subprocess.run([peer("qemu-img"), "check", disk], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, "No errors were found on the image.")


def test_others_find_the_parent_that_a_child_names(tmp_path: Path) -> None:
    for name in ("base", "child"):
        (tmp_path / name).mkdir()
    with new_vhdx(tmp_path / "base/base.vhdx", 8 << 20) as disk:
        disk.write(0, b"below" * 1000)
    create_vhdx(tmp_path / "child/child.vhdx", parent=tmp_path / "base/base.vhdx")
    with READERS["dissect"]([tmp_path / "child/child.vhdx"]) as read:
        assert read(0, 5000) == b"below" * 1000
