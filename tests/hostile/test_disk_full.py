"""A full disk, a file that may not grow, a disk that may not be written: a clear error, and everything cleaned up."""

from __future__ import annotations

import os
import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.hostile.command import STORE, Command, Outcome, require_root, run, snapshot
from tests.hostile.generated import base_layer, generated_image
from tests.hostile.images import packed
from tests.hostile.tars import file, layer

MB = 1 << 20


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The generated image."""
    return generated_image(tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer of it."""
    path = tmp_path_factory.mktemp("layer") / "layer.tar.gz"
    path.write_bytes(packed(base_layer()))
    return path


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system of ``size`` bytes."""
    require_root()
    folder.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "none", folder], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def used(folder: Path) -> int:
    """Bytes in use."""
    status = os.statvfs(folder)
    return (status.f_blocks - status.f_bfree) * status.f_frsize


def names(folder: Path) -> set[str]:
    """Everything below a folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def require_full(outcome: Outcome, *mentions: str) -> None:
    """The command said that the disk is full, and where."""
    assert outcome.code == STORE, outcome
    assert len(outcome.err.splitlines()) == 1, outcome
    assert "space" in outcome.err, outcome
    for text in mentions:
        assert text in outcome.err, outcome


SIZES = [16 << 10, 100 << 10, 400 << 10, MB, 2 * MB, 3 * MB, 4 * MB]


@pytest.mark.parametrize("size", SIZES)
def test_import_on_a_full_disk(size: int, source: Path, tmp_path: Path, command: Command) -> None:
    with small_disk(tmp_path / "disk", size) as disk:
        (disk / "other").write_bytes(b"something else")
        before = used(disk)
        require_full(command("import", source, disk / "out"), str(disk / "out"))
        assert names(disk) == {"other"}
        assert used(disk) == before


@pytest.mark.parametrize("size", [*SIZES, 6 * MB])
def test_unpack_on_a_full_disk(size: int, image: str, tmp_path: Path, command: Command) -> None:
    with small_disk(tmp_path / "disk", size) as disk:
        before = used(disk)
        require_full(command("unpack", image, disk / "out"), image)
        if not (disk / "out").exists():
            assert used(disk) == before
            return
        layers = list((disk / "out" / "layers").iterdir())
        assert layers
        for path in layers:
            assert command("verify", path).code == 0
        assert {path.name for path in (disk / "out").iterdir()} == {"layers", ".wclayer.lock"}
        # With more room the next run finishes what this one began.
        subprocess.run(["mount", "-o", f"remount,size={64 * MB}", disk], check=True)
        assert command("unpack", image, disk / "out").code == 0
        assert command("verify", disk / "out").code == 0


@pytest.mark.parametrize("size", [*SIZES, 8 * MB])
def test_unpack_merged_on_a_full_disk(size: int, image: str, tmp_path: Path, command: Command) -> None:
    with small_disk(tmp_path / "disk", size) as disk:
        before = used(disk)
        require_full(command("unpack", "--view", "merged", image, disk / "out"), image)
        assert names(disk) == set()
        assert used(disk) == before


@pytest.mark.parametrize("size", [4096, 64 << 10, MB])
@pytest.mark.parametrize("form", ["original", "reference", "faithful"])
@pytest.mark.parametrize("name", ["layer.tar", "layer.tar.gz", "layer.tar.zst"])
def test_export_on_a_full_disk(size: int, form: str, name: str, source: Path, tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "folder"
    assert command("import", source, folder).code == 0
    with small_disk(tmp_path / "disk", size) as disk:
        (disk / name).write_bytes(b"what was there before")
        before = used(disk)
        require_full(command("export", folder, "-o", disk / name, "--as", form), name)
        assert names(disk) == {name}
        assert (disk / name).read_bytes() == b"what was there before"
        assert used(disk) == before


@pytest.mark.parametrize("size", [4096, MB])
@pytest.mark.parametrize("name", ["layer.tar", "layer.tar.gz"])
@pytest.mark.parametrize("kind", ["transport", "base"])
def test_convert_on_a_full_disk(kind: str, name: str, size: int, tmp_path: Path, command: Command) -> None:
    """Whoever reads the folder is in the middle of a file when there is no more room, and lets go of it."""
    folder = tmp_path / "folder"
    folder.mkdir()
    content = random.Random(1).randbytes(3 * MB)
    (tmp_path / "layer.tar").write_bytes(layer(file("Files/large.bin", content)))
    assert command("convert", tmp_path / "layer.tar", f"{kind}:{folder}").code == 0
    with small_disk(tmp_path / "disk", size) as disk:
        require_full(command("convert", f"{kind}:{folder}", disk / name), name)
        assert names(disk) == set()


@pytest.mark.parametrize("size", [4096, 16 << 10, 64 << 10])
def test_sample_on_a_full_disk(size: int, tmp_path: Path, command: Command) -> None:
    with small_disk(tmp_path / "disk", size) as disk:
        require_full(command("sample", "-o", f"oci:{disk}/images:demo"), "images")
        assert not [name for name in names(disk) if Path(name).name.startswith(".")]
        subprocess.run(["mount", "-o", f"remount,size={64 * MB}", disk], check=True)
        assert command("sample", "-o", f"oci:{disk}/images:demo").code == 0
        assert command("verify", f"oci:{disk}/images:demo").code == 0


def test_extract_on_a_full_disk(image: str, tmp_path: Path, command: Command) -> None:
    with small_disk(tmp_path / "disk", MB) as disk:
        outcome = command("extract", image, "/a", "-o", disk / "out")
        require_full(outcome)
        assert not [name for name in names(disk) if Path(name).name.startswith(".")]


@pytest.mark.parametrize("verb", ["ls", "verify"])
def test_reading_an_archive_needs_room_in_the_temporary_folder(verb: str, tmp_path: Path, image: str) -> None:
    """A compressed archive of an image is inflated there first."""
    archive = tmp_path / "image.tar.gz"
    subprocess.run(["tar", "-czf", archive, "-C", image.partition(":")[2], "."], check=True)
    with small_disk(tmp_path / "disk", 64 << 10) as disk:
        outcome = run(verb, f"oci-archive:{archive}", env={**os.environ, "TMPDIR": str(disk)})
        require_full(outcome)
        assert names(disk) == set()


# ------------------------------------------------------------------------------------------- files that may not grow


def limited(limit: int) -> Callable[[], None]:
    """Run in a process: no file may be larger than ``limit`` bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


@pytest.mark.parametrize("limit", [0, 4096, 50_000, 200_000])
def test_import_with_files_that_may_not_grow(limit: int, source: Path, tmp_path: Path) -> None:
    """Sometimes it is the database that cannot grow, sometimes a file."""
    work = tmp_path / "work"
    work.mkdir()
    outcome = run("import", source, work / "out", preexec_fn=limited(limit))
    assert outcome.code == STORE, outcome
    assert len(outcome.err.splitlines()) == 1, outcome
    assert "work/out" in outcome.err
    assert list(work.iterdir()) == []


def test_a_file_that_is_too_large_is_named(tmp_path: Path) -> None:
    source = tmp_path / "layer.tar"
    source.write_bytes(layer(file("Files/large.bin", bytes(3 * MB))))
    before = snapshot(tmp_path, without=[tmp_path])
    outcome = run("import", source, tmp_path / "out", preexec_fn=limited(MB))
    assert outcome.code == STORE, outcome
    assert "Files/large.bin" in outcome.err
    assert "too large" in outcome.err
    assert snapshot(tmp_path, without=[tmp_path]) == before


def test_export_with_files_that_may_not_grow(source: Path, tmp_path: Path, command: Command) -> None:
    folder, work = tmp_path / "folder", tmp_path / "work"
    assert command("import", source, folder).code == 0
    work.mkdir()
    for name in ("layer.tar", "layer.tar.gz"):
        (work / name).write_bytes(b"old")
        outcome = run("export", folder, "-o", work / name, preexec_fn=limited(100_000))
        assert outcome.code == STORE, outcome
        assert name in outcome.err
        assert (work / name).read_bytes() == b"old"
    assert len(list(work.iterdir())) == 2


# ----------------------------------------------------------------------------------------- disks that cannot be written


@pytest.mark.parametrize("verb", ["import", "unpack", "merged", "export", "sample"])
def test_a_disk_that_is_read_only(verb: str, source: Path, image: str, tmp_path: Path, command: Command) -> None:
    folder = tmp_path / "folder"
    assert command("import", source, folder).code == 0
    with small_disk(tmp_path / "disk", MB) as disk:
        (disk / "layer.tar").write_bytes(b"old")
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        before = snapshot(disk)
        arguments: dict[str, list[str | Path]] = {
            "import": ["import", source, disk / "out"],
            "unpack": ["unpack", image, disk / "out"],
            "merged": ["unpack", "--view", "merged", image, disk / "out"],
            "export": ["export", folder, "-o", disk / "layer.tar"],
            "sample": ["sample", "-o", f"oci:{disk}/images:demo"],
        }
        outcome = command(*arguments[verb])
        assert outcome.code == STORE, outcome
        assert len(outcome.err.splitlines()) == 1, outcome
        assert "Read-only" in outcome.err
        assert str(disk) in outcome.err
        assert snapshot(disk) == before
