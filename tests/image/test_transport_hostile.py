"""Imports on bad days: full disks, processes that die, and trees that change under them."""

from __future__ import annotations

import errno
import itertools
import os
import resource
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.formats.transport.layers import file, folder, gone, link, tar_of
from tests.image.transport_layers import BASE, BOOT, DIFF, UTILITY_VM, names
from tests.open_files import open_files
from wclayer.errors import StoreError, UnsafeEntryError, WclayerError
from wclayer.formats.folder import sweep
from wclayer.image.transport_import import import_layer_from_tar


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base layer."""
    return import_layer_from_tar([tar_of(*BASE)], tmp_path / "base").path


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, old[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("place", ["Files/big", "Hives/System_Delta", f"{BOOT}/big"])
def test_32_a_full_disk_leaves_nothing_and_nothing_open(tmp_path: Path, base: Path, place: str) -> None:
    tar = tar_of(folder("Files"), folder("Hives"), *UTILITY_VM, file(place, bytes(4_000_000)))
    before = open_files()
    with files_no_larger_than(1_000_000), pytest.raises(StoreError):
        import_layer_from_tar([tar], tmp_path / "layer", [base])
    assert names(tmp_path) == ["base"]
    assert open_files() == before


def test_nothing_stays_open_whatever_happens(tmp_path: Path, base: Path) -> None:
    before = open_files()
    for number, items in enumerate((DIFF, [*DIFF, link("Files/x", "Files/none")], [*DIFF, gone("Files/d")])):
        with suppress(WclayerError):
            import_layer_from_tar([tar_of(*items)], tmp_path / f"l{number}", [base])
    assert open_files() == before
    assert names(tmp_path) == ["base", "l0"]


IMPORT = """
    import sys
    from pathlib import Path
    from wclayer.image.transport_import import import_layer_from_tar

    tar, destination, *parents = map(Path, sys.argv[1:])
    def slabs():
        with tar.open("rb") as file:
            while data := file.read(1 << 16):
                yield data
    print("begun", flush=True)
    import_layer_from_tar(slabs(), destination, parents)
    # Not ru_maxrss, which begins with that of the process that started this one.
    print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1], flush=True)
"""


def in_a_process(*arguments: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(IMPORT), *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_all_or_nothing_and_the_next_import_sweeps(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    base = import_layer_from_tar([tar_of(*BASE)], work / "base").path
    tar = tmp_path / "layer.tar"
    tar.write_bytes(tar_of(*DIFF, *(file(f"Files/d/f{number:05}", b"x" * 500) for number in range(1500))))
    outcomes = set()
    for delay in (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 5.0):
        process = in_a_process(tar, work / "layer", base)
        assert process.stdout is not None
        process.stdout.readline()
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        process.kill()
        process.wait()
        process.stdout.close()
        whole = (work / "layer").exists()
        outcomes.add(whole)
        if whole:
            assert sum(1 for _ in (work / "layer" / "Files" / "d").iterdir()) == 1502
            (work / "layer").rename(tmp_path / f"whole-{delay}")
    sweep(work)
    assert names(work) == ["base"]
    assert outcomes == {True, False}


@pytest.mark.slow
def test_memory_does_not_grow_with_the_layer(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    base = import_layer_from_tar([tar_of(*BASE)], work / "base").path
    peaks = []
    for count, size in ((10, 1000), (6000, 1000), (3, 60_000_000)):
        tar = tmp_path / f"{count}.tar"
        items = (file(f"Files/d/f{number:05}", bytes(size)) for number in range(count))
        tar.write_bytes(tar_of(*DIFF, *items))
        process = in_a_process(tar, work / f"l{count}", base)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0
        peaks.append(int(output.split()[1]))
    assert max(peaks) - peaks[0] < 24_000  # KiB


@pytest.mark.slow
@pytest.mark.parametrize("how", ["openat2", "component by component"])
def test_41_a_destination_and_a_parent_that_change_while_importing_let_nothing_out(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if how != "openat2":

        def missing(*_arguments: object) -> int:
            raise OSError(errno.ENOSYS, "Function not implemented")

        monkeypatch.setattr("wclayer.formats.folder.door.open_folder_beneath", missing)
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    (outside / "secret").write_text("secret")
    base = import_layer_from_tar([tar_of(*BASE)], work / "base").path
    tar = tar_of(*DIFF, *UTILITY_VM, *(file(f"Files/d/f{number:04}", b"x") for number in range(150)))
    stop = threading.Event()

    def meddle() -> None:
        """Put links to the folder outside in the place of folders of whatever is there."""
        while not stop.is_set():
            for pattern in (".*/Files/d", ".*/transport/Files/d", "base/UtilityVM/Files", "base/Files/d"):
                for place in list(work.glob(pattern)):
                    aside = tmp_path / "aside"
                    with suppress(OSError):
                        os.rename(place, aside)
                        os.symlink(outside, place)
                        time.sleep(0.0005)
                    with suppress(OSError):
                        if place.is_symlink():
                            os.unlink(place)
                    with suppress(OSError):
                        os.rename(aside, place)

    meddler = threading.Thread(target=meddle)
    meddler.start()
    refused = 0
    deadline = time.monotonic() + 60
    try:
        for number in itertools.count():
            if (number >= 25 and refused) or time.monotonic() > deadline:
                break
            try:
                import_layer_from_tar([tar], work / f"l{number}", [base])
            except WclayerError:
                refused += 1
    finally:
        stop.set()
        meddler.join()
    assert [(path.name, path.read_text()) for path in outside.iterdir()] == [("secret", "secret")]
    assert os.stat(outside / "secret").st_nlink == 1
    assert refused


def test_41_a_hostile_parent_is_not_followed(tmp_path: Path, base: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("secret")
    (base / "Files" / "out").symlink_to(tmp_path / "outside")
    (base / "Files" / "leaf").symlink_to(tmp_path / "outside" / "secret")
    for target in ("Files/out/secret", "Files/leaf"):
        with pytest.raises(UnsafeEntryError):
            import_layer_from_tar([tar_of(folder("Files"), link("Files/x", target))], tmp_path / "l", [base])
    assert os.stat(tmp_path / "outside" / "secret").st_nlink == 1
