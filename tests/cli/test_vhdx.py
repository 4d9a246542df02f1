"""``wclayer vhdx``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.formats.disk.test_scratch import filled
from tests.peers import missing, require
from wclayer.formats.disk import mkntfs
from wclayer.image.disks import disk_size

MIB = 1 << 20


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20G", 20 << 30),
        ("20GB", 20 << 30),
        ("127gib", 127 << 30),
        ("512M", 512 << 20),
        ("1t", 1 << 40),
        ("64 k", 64 << 10),
        ("4096", 4096),
        ("4096B", 4096),
    ],
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert disk_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "1.5G", "20X", "1e9", "20GG", "0x10", "\u0661G", "9" * 30])
def test_what_is_no_size_is_a_usage_error(text: str, run: Run, tmp_path: Path) -> None:
    ended = run("vhdx", "create", tmp_path / "d.vhdx", f"--size={text}")
    assert ended.code == 2
    assert list(tmp_path.iterdir()) == []


def test_disks_of_all_kinds_are_made_and_told_of(run: Run, tmp_path: Path) -> None:
    base, fixed, child = (tmp_path / f"{name}.vhdx" for name in ("base", "fixed", "child"))
    assert run("vhdx", "create", base, "--size", "20G") == (0, b"", "")
    assert run("vhdx", "create", fixed, "--size", "16M", "--kind", "fixed", "--block-size", "2M").code == 0
    assert run("vhdx", "create", child, "--parent", base).code == 0
    documents = {path: run("vhdx", "info", path, "--format", "json").document for path in (base, fixed, child)}
    assert [found["kind"] for found in documents.values()] == ["dynamic", "fixed", "differencing"]
    assert [found["size"] for found in documents.values()] == [20 << 30, 16 << 20, 20 << 30]
    assert documents[fixed]["stored_blocks"] == 8
    found = documents[child]
    assert found["schema"] == "wclayer.vhdx.info/1"
    assert found["chain"] == [str(child), str(base)]
    assert found["parent"]["data_write_id"] == documents[base]["data_write_id"]
    assert (found["partitions"], found["problems"]) == ([], [])
    text = run("vhdx", "info", child)
    assert text.code == 0
    assert "Kind:         differencing\nSize:         21474836480 (20.0 GiB)\n" in text.out
    assert f"Stands on:    {base}" in text.out


def test_a_parent_that_is_not_there_is_a_finding(run: Run, tmp_path: Path) -> None:
    base, child = tmp_path / "base.vhdx", tmp_path / "c/child.vhdx"
    child.parent.mkdir()
    run("vhdx", "create", base, "--size", "16M")
    run("vhdx", "create", child, "--parent", base)
    ended = run("vhdx", "info", child)
    assert (ended.code, "outside its folder" in ended.err) == (1, True)
    assert "Parent:" in ended.out
    found = run("vhdx", "info", child, "--format", "json")
    assert (found.code, found.document["partitions"], len(found.document["problems"])) == (1, None, 1)
    assert run("vhdx", "info", child, "--parents", tmp_path).code == 0
    moved = base.rename(tmp_path / "c/moved.vhdx")
    assert run("vhdx", "info", child).code == 1
    assert run("vhdx", "rebase", child, "--parent", moved) == (0, b"", "")
    assert run("vhdx", "info", child).code == 0


def test_mistakes_have_their_exit_codes(run: Run, tmp_path: Path) -> None:
    base, other, child = (tmp_path / f"{name}.vhdx" for name in ("base", "other", "child"))
    for path in (base, other):
        run("vhdx", "create", path, "--size", "16M")
    run("vhdx", "create", child, "--parent", base)
    assert run("vhdx", "create", base, "--size", "16M").code == 8
    assert run("vhdx", "create", tmp_path / "x").code == 2
    assert run("vhdx", "create", tmp_path / "x", "--size", "16M", "--kind", "fixed", "--format-ntfs").code == 2
    assert run("vhdx", "create", tmp_path / "x", "--format-ntfs").code == 2
    assert run("vhdx", "info", tmp_path / "nothing").code == 3
    assert run("vhdx", "rebase", child, "--parent", other).code == 6
    assert run("vhdx", "resize", base, "--size", "8M").code == 2
    assert run("vhdx", "ls", base).code == 3
    (tmp_path / "text").write_text("no disk")
    for verb in (["info"], ["ls"], ["resize", "--size", "1G"]):
        ended = run("vhdx", verb[0], tmp_path / "text", *verb[1:])
        assert (ended.code, f"image {tmp_path / 'text'}" in ended.err) == (6, True)


def test_a_disk_grows_in_place(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "d.vhdx"
    run("vhdx", "create", path, "--size", "16M")
    node = path.stat().st_ino
    assert run("vhdx", "resize", path, "--size", "32M", "--disk-only") == (0, b"", "")
    assert path.stat().st_ino == node
    assert run("vhdx", "info", path, "--format", "json").document["size"] == 32 << 20


def test_without_mkntfs_the_package_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(mkntfs, "_MORE_FOLDERS", ())
    ended = run("vhdx", "create", tmp_path / "b.vhdx", "--size", "96M", "--format-ntfs")
    assert ended.code == 7
    assert "ntfs-3g" in ended.err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def layers(run: Run, tmp_path: Path) -> Path:
    """A folder with the disks of a base layer and of a writable layer."""
    if not mkntfs.has_mkntfs():
        require("mkntfs")
    for name in ("base", "scratch"):
        (tmp_path / name).mkdir()
    base = tmp_path / "base/blank-base.vhdx"
    assert run("vhdx", "create", base, "--size", "96M", "--format-ntfs").code == 0
    assert run("vhdx", "create", tmp_path / "scratch/sandbox.vhdx", "--parent", base).code == 0
    return tmp_path


def test_the_disk_of_a_base_layer_has_its_partitions_and_grows_with_them(run: Run, layers: Path) -> None:
    disk = layers / "scratch/sandbox.vhdx"
    assert run("vhdx", "resize", disk, "--size", "150M", "--parents", layers) == (0, b"", "")
    found = run("vhdx", "info", disk, "--parents", layers, "--format", "json").document
    assert [(one["type"], one["offset"], one["ntfs"]) for one in found["partitions"]] == [
        ("Microsoft reserved", 17408, False),
        ("basic data", 16 * MIB, True),
    ]
    assert found["partitions"][1]["size"] == 133 * MIB
    text = run("vhdx", "info", disk, "--parents", layers).out
    assert f"Partition 2:  basic data, 133.0 MiB from {16 * MIB}, NTFS" in text


def test_files_are_listed_and_read(run: Run, layers: Path, peer: Callable[[str], str]) -> None:
    disk = layers / "scratch/sandbox.vhdx"
    try:
        import pyfsntfs  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except ImportError:
        missing("libfsntfs-python")
    filled(disk, layers, layers / "base", {"Notes.txt": b"hello\n", "big": b"x" * 5000}, peer)
    on = ("--parents", layers)
    assert sorted(run("vhdx", "ls", disk, *on).out.split()) == ["Notes.txt", "big"]
    long = run("vhdx", "ls", "-l", disk, "c:\\", *on).out.splitlines()
    assert any("file              5000" in line and line.endswith(" big") for line in long)
    entries = run("vhdx", "ls", "-R", disk, *on, "--format", "json").document
    assert entries["schema"] == "wclayer.vhdx.ls/1"
    assert {one["path"]: one["size"] for one in entries["entries"]} == {"Notes.txt": 6, "big": 5000}
    line = run("vhdx", "ls", disk, "notes.TXT", *on, "--format", "jsonl").out
    assert json.loads(line)["path"] == "Notes.txt"
    assert run("vhdx", "cat", disk, "C:\\notes.txt", *on).data == b"hello\n"
    assert run("vhdx", "cat", disk, "$UpCase", "--stream", "$Info", *on).data[:4] == b"\x20\0\0\0"
    assert run("vhdx", "cat", disk, "nothing", *on).code == 3
    assert run("vhdx", "ls", disk, "--partition", 1, *on).code == 3
    assert run("vhdx", "ls", disk).code == 6
