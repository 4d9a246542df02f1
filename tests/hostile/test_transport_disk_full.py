"""A full disk, or a file that may not grow, while a layer goes from one form into another: named, and cleaned up."""

from __future__ import annotations

import gc
import os
import subprocess
from pathlib import Path

import pytest

from tests.hostile.command import STORE, Command, arguments_of
from tests.hostile.forms import JOBS, whole
from tests.hostile.tars import archive, file, folder, link, whiteout
from tests.hostile.test_disk_full import limited, names, require_full, small_disk, used
from wclayer.errors import StoreError
from wclayer.image.transport_export import export_layer_to_tar
from wclayer.image.transport_import import import_layer_from_tar

MB = 1 << 20
SIZES = [16 << 10, 64 << 10, 200 << 10]
CONVERSIONS = [name for name in JOBS if not name.startswith("api")]


@pytest.mark.parametrize("name", CONVERSIONS)
def test_convert_on_a_full_disk(name: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "work").mkdir()
    job = JOBS[name](tmp_path)
    verb, source, destination = job.order
    for size in SIZES:
        with small_disk(tmp_path / "work", size) as disk:
            (disk / "other").write_bytes(b"something else")
            kept = {"other"}
            if job.out.suffix == ".tar":
                job.out.write_bytes(b"what was there before")
                kept.add(job.out.name)
            before = used(disk)
            require_full(command(verb, source, destination), job.out.name)
            assert names(disk) == kept
            assert used(disk) == before
            if size == SIZES[-1]:
                # With more room the next run succeeds.
                subprocess.run(["mount", "-o", f"remount,size={32 * MB}", disk], check=True)
                assert command(verb, source, destination).code == 0
                assert whole(job.out)
                assert names(disk) >= {path.name for path in (job.out, *job.companions)}


def descriptors() -> int:
    """How many files are open here."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


DIFF = archive(
    folder("Files"),
    folder("Files/d"),
    *(file(f"Files/d/{number:04}", bytes(number * 20)) for number in range(150)),
    file("Files/d/0149:s", b"alternate"),
    folder("Hives"),
    file("Hives/System_Delta", b"regf" * 100_000),
    link("Files/l", "Files/base.txt"),
    *(whiteout("Files", f"gone-{number}") for number in range(200)),
)
BASE = archive(folder("Files"), file("Files/base.txt", b"base"))


@pytest.mark.parametrize("size", SIZES)
def test_import_layer_from_tar_on_a_full_disk(size: int, tmp_path: Path) -> None:
    base = import_layer_from_tar([BASE], tmp_path / "base").path
    with small_disk(tmp_path / "disk", size) as disk:
        before, held = used(disk), descriptors()
        for parents in ([base], []):
            with pytest.raises(StoreError, match=r"no space|is full") as error:
                import_layer_from_tar([DIFF] if parents else [DIFF[:-1024]], disk / "layer", parents)
            assert str(disk / "layer") in str(error.value)
            assert names(disk) == set()
            assert used(disk) == before
            assert descriptors() == held


@pytest.mark.parametrize("size", SIZES)
def test_export_layer_to_tar_with_a_full_scratch_folder(size: int, tmp_path: Path) -> None:
    base = import_layer_from_tar([BASE], tmp_path / "base").path
    layer = import_layer_from_tar([DIFF], tmp_path / "layer", [base]).path
    before_layer = whole(layer)
    with small_disk(tmp_path / "disk", size) as disk:
        before, held = used(disk), descriptors()
        with pytest.raises(StoreError, match=r"no space|is full"):
            export_layer_to_tar(layer, lambda _data: None, is_base=False, scratch=disk)
        assert names(disk) == set()
        assert used(disk) == before
        assert descriptors() == held
    assert whole(layer) == before_layer


@pytest.mark.parametrize("name", CONVERSIONS)
def test_convert_with_files_that_may_not_grow(name: str, tmp_path: Path) -> None:
    """Sometimes it is the manifest that cannot grow, sometimes a file, sometimes the list of deletions."""
    (tmp_path / "work").mkdir()
    job = JOBS[name](tmp_path)
    for limit in (0, 4096):
        if job.out.suffix == ".tar":
            job.out.write_bytes(b"what was there before")
        done = subprocess.run(
            arguments_of(*job.order), capture_output=True, text=True, check=False, preexec_fn=limited(limit)
        )
        assert done.returncode == STORE, done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert job.out.name in done.stderr
        if job.out.suffix == ".tar":
            assert job.out.read_bytes() == b"what was there before"
            assert names(job.work) == {job.out.name}
        else:
            assert names(job.work) == set()


@pytest.mark.parametrize("form", ["transport", "base", "plain"])
def test_a_file_that_is_too_large_is_named(form: str, tmp_path: Path) -> None:
    source, work = tmp_path / "layer.tar", tmp_path / "work"
    work.mkdir()
    source.write_bytes(archive(folder("Files"), file("Files/large.bin", bytes(MB))))
    arguments = arguments_of("convert", source, f"{form}:{work / 'out'}")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, preexec_fn=limited(MB // 2))
    assert done.returncode == STORE, done.stderr
    assert "Files/large.bin" in done.stderr
    assert "too large" in done.stderr
    assert names(work) == set()


def test_a_list_of_deletions_that_does_not_fit_is_no_shorter_list(tmp_path: Path) -> None:
    """Half of a line would be the deletion of something else."""
    source, work = tmp_path / "layer.tar", tmp_path / "work"
    work.mkdir()
    source.write_bytes(archive(folder("Files"), *(whiteout("Files", f"{'n' * 200}-{number}") for number in range(400))))
    arguments = arguments_of("convert", source, f"transport:{work / 'out'}")
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, preexec_fn=limited(75_000))
    assert done.returncode == STORE, done.stderr
    assert names(work) == set()
    subprocess.run(arguments, check=True, capture_output=True)
    assert (work / "out" / "tombstones.txt").read_bytes().count(b"\n") == 401


@pytest.mark.parametrize("name", ["tar-transport", "tar-base", "tar-plain", "transport-layer", "transport-tar"])
def test_a_disk_that_is_read_only(name: str, tmp_path: Path, command: Command) -> None:
    (tmp_path / "work").mkdir()
    job = JOBS[name](tmp_path)
    with small_disk(tmp_path / "work", MB) as disk:
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        outcome = command(*job.order)
        assert outcome.code == STORE, outcome
        assert len(outcome.err.splitlines()) == 1, outcome
        assert "Read-only" in outcome.err
        assert str(disk) in outcome.err
