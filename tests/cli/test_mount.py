"""``mount``, ``umount`` and ``commit`` on the command line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.mounting.fuse import require_fuse
from wclayer.image.mounting import mounts
from wclayer.image.mounting.mounts import mount_information


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Iterator[Path]:
    """Where to mount; nothing is mounted there afterwards."""
    require_fuse()
    place = tmp_path / "mnt"
    yield place
    if mount_information(place) is not None:
        run("umount", place, "--lazy")


def test_an_image_is_mounted_changed_and_committed(run: Run, sample: str, folder: Path, tmp_path: Path) -> None:
    upper, layer = tmp_path / "upper", tmp_path / "layer.tar.gz"
    done = run("mount", sample, folder, "--upper", upper, "--format", "json")
    assert done.code == 0, done.err
    assert done.document["schema"] == "wclayer.mount/1"
    assert (done.document["layers"], done.document["upper"]) == (3, str(upper))
    (folder / "Files" / "new.txt").write_bytes(b"new")
    (folder / "files" / "LICENSE.txt").unlink()
    done = run("commit", folder, "-o", layer, "--format", "json")
    assert done.code == 0, done.err
    assert done.document["schema"] == "wclayer.commit/1"
    assert (done.document["deletions"], done.document["size"]) == (1, 3)
    diff_id = done.document["diff_id"]
    done = run("umount", folder, "--format", "json")
    assert (done.code, done.document["upper"]) == (0, str(upper))
    assert os.listdir(folder) == []
    assert run("commit", upper, "-o", tmp_path / "again.tar", "--format", "json").document["diff_id"] == diff_id
    assert run("commit", upper, "-o", f"oci:{tmp_path}/layout:new").code == 0
    listed = run("ls", f"oci:{tmp_path}/layout:new", "/").out
    assert "new.txt" in listed
    assert "License.txt" not in listed
    assert run("verify", f"oci:{tmp_path}/layout:new").code == 0


def test_what_is_told_to_people(run: Run, sample: str, folder: Path) -> None:
    done = run("mount", sample, folder)
    assert done.out == f"{folder}: 3 layers of {sample}, read-only\n"
    assert run("mount", sample, folder).code == 2
    assert run("umount", folder).out.startswith(f"{folder}: unmounted ")
    assert run("umount", folder).code == 3
    assert run("mount", "oci:nowhere:x", folder).code == 3
    (folder / "something").write_bytes(b"")
    done = run("mount", sample, folder)
    assert (done.code, "is not an empty folder" in done.err) == (8, True)
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".mnt")]


def test_without_fuse_the_tree_is_written_out(
    run: Run, sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "tree"
    done = run("mount", sample, tree, "--no-fuse")
    assert done.code == 0
    assert "not mounted, but written to" in done.err
    assert (tree / "Files" / "License.txt").is_file()
    assert run("umount", tree).code == 3
    done = run("commit", tree, "--parent", sample, "-o", tmp_path / "layer.tar", "--format", "json")
    assert (done.document["entries"], done.document["deletions"]) == (2, 0)
    monkeypatch.setattr(mounts, "fuse_problem", lambda: "there is no FUSE here")
    done = run("mount", sample, tmp_path / "other", "--format", "json")
    assert done.document["written_out"] == "there is no FUSE here"
    done = run("mount", sample, tmp_path / "third", "--upper", tmp_path / "upper")
    assert (done.code, "there is no FUSE here" in done.err) == (7, True)
    assert not (tmp_path / "third").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_in_the_foreground_it_ends_with_a_signal(
    run: Run, unpacked: Path, folder: Path, tmp_path: Path, number: signal.Signals
) -> None:
    command = [
        sys.executable,
        "-m",
        "wclayer",
        "mount",
        str(unpacked),
        str(folder),
        "-f",
        "--upper",
        str(tmp_path / "u"),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not (folder / "Files").is_dir() and time.monotonic() < deadline:
            assert process.poll() is None
            time.sleep(0.02)
        (folder / "Files" / "new").write_bytes(b"new")
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, b"", b"")
    assert not (folder / "Files").exists()
    done = run("commit", tmp_path / "u", "-o", tmp_path / "layer.tar", "--format", "json")
    assert done.document["size"] == 3
