"""Whatever goes wrong, there is a whole image or none, and what is left over is gone after the next run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from wclayer.errors import FormatError, NotFoundError, StoreError
from wclayer.formats.cim.files import destroy_cim, leftover_name, sweep_cims
from wclayer.formats.cim.lock import LOCK_NAME, DirectoryLock
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.writer import CimWriter
from wclayer.model import Metadata, Stream

CI = os.environ.get("CI") == "true"
#: Every how-many-th moment a process is killed at; 1 for all of them.
STEP = os.environ.get("WCLAYER_KILL_STEP", "4")
PLAIN = Metadata()
HOLDER = """
import sys, time
from pathlib import Path
from wclayer.formats.cim.lock import DirectoryLock
lock = DirectoryLock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=40", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        if CI:
            pytest.fail("cannot mount a tmpfs: these tests need root")
        pytest.skip("cannot mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize("sizes", [[4 << 20], [1 << 19] * 8, [5000] * 600], ids=["large", "some", "small"])
def test_a_full_disk_is_said_to_be_full_and_nothing_is_left(small_disk: Path, sizes: list[int]) -> None:
    def overfill() -> None:
        with CimWriter(small_disk, "a.cim") as writer:
            for number, size in enumerate(sizes):
                with writer.add_file(str(number), PLAIN, size) as sink:
                    for start in range(0, size, 100_000):
                        sink.write(os.urandom(min(100_000, size - start)))

    with pytest.raises(StoreError, match="no space left") as caught:
        overfill()
    assert caught.value.exit_code == 8
    assert list(small_disk.iterdir()) == []
    with CimWriter(small_disk, "a.cim") as writer:
        writer.add_file("f", PLAIN, 1).write(b"1")
    assert (small_disk / "a.cim").exists()


def test_a_disk_that_is_full_at_the_end_leaves_the_old_image(small_disk: Path) -> None:
    """The data fits, the metadata does not: 1100 descriptors of 1 KiB each, all different."""
    with CimWriter(small_disk, "a.cim") as writer:
        writer.add_file("old", PLAIN, 3).write(b"old")
    before = {path.name: path.read_bytes() for path in small_disk.iterdir()}

    def overfill() -> None:
        with CimWriter(small_disk, "a.cim", replace=True) as writer:
            for number in range(1100):
                writer.add_file(f"{number:01000}"[-200:], Metadata(security_descriptor=os.urandom(1000)), 0)
            writer.add_file("f", PLAIN, 700_000).write(os.urandom(700_000))

    with pytest.raises(StoreError, match="no space left"):
        overfill()
    assert {path.name: path.read_bytes() for path in small_disk.iterdir()} == before


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, FormatError, OSError])
@pytest.mark.parametrize("size", [100, 3 << 20])
def test_an_error_in_a_source_leaves_nothing(tmp_path: Path, size: int, error: type[BaseException]) -> None:
    def source(stored: int) -> Iterator[bytes]:
        yield bytes(stored // 2)
        raise error("in the source")

    def write() -> None:
        with CimWriter(tmp_path, "a.cim") as writer:
            writer.add_file("good", PLAIN, 2 << 20).write(bytes(2 << 20))
            writer.add_file("bad", PLAIN, size).copy(Stream(size, source))

    with pytest.raises(error, match="in the source"):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["new", "replace", "fork", "destroy"])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked to be killed")
def test_a_killed_process_leaves_a_whole_image_or_none(tmp_path: Path, case: str) -> None:
    script = Path(__file__).with_name("killed.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path / "images"), case, STEP], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["wrong"] == []
    assert result["killed"] >= (2 if case == "destroy" else 10)


def test_a_second_writer_is_told_so_at_once(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_file("f", PLAIN, 1).write(b"1")
        for call in (
            lambda: CimWriter(tmp_path, "b.cim"),
            lambda: sweep_cims(tmp_path),
        ):
            with pytest.raises(StoreError, match="another process is writing") as caught:
                call()
            assert caught.value.hint is not None
    with pytest.raises(NotFoundError):
        destroy_cim(tmp_path / "b.cim")
    with CimImage.open(tmp_path / "a.cim") as image:
        assert image.lookup("f") is not None
    assert len(list(tmp_path.iterdir())) == 5


def test_a_writer_may_wait_for_another(tmp_path: Path) -> None:
    lock = DirectoryLock(tmp_path)
    release = threading.Timer(0.3, lock.release)
    release.start()
    started = time.monotonic()
    with CimWriter(tmp_path, "a.cim", wait=60):
        assert time.monotonic() - started > 0.2
    release.join()
    with DirectoryLock(tmp_path), pytest.raises(StoreError):
        DirectoryLock(tmp_path, wait=0.2)
    assert LOCK_NAME not in os.listdir(tmp_path)


def test_the_lock_goes_with_the_process_that_holds_it(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(StoreError, match="another process"):
            CimWriter(tmp_path, "a.cim")
    finally:
        holder.kill()
        holder.communicate()
    assert (tmp_path / LOCK_NAME).exists()
    with CimWriter(tmp_path, "a.cim"):
        pass
    assert not (tmp_path / LOCK_NAME).exists()


def test_writers_that_start_together_take_turns_or_are_refused(tmp_path: Path) -> None:
    outcomes: list[str] = []

    def write(number: int) -> None:
        try:
            with CimWriter(tmp_path, f"{number}.cim", wait=0.02 * number) as writer:
                writer.add_file("f", PLAIN, 6).write(b"%06d" % number)
        except StoreError as error:
            outcomes.append(error.message)
        else:
            outcomes.append("written")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = list(tmp_path.glob("*.cim"))
    assert len(written) == outcomes.count("written") >= 1
    assert {outcome[:26] for outcome in outcomes} <= {"written", "another process is writing"}
    for path in written:
        with CimImage.open(path) as image:
            found = image.lookup("f")
            assert found is not None
            assert b"".join(found.pieces()) == b"%06d" % int(path.stem)
    assert len(list(tmp_path.iterdir())) == 5 * len(written)


def test_a_leftover_that_names_a_living_image_does_it_no_harm(tmp_path: Path) -> None:
    with CimWriter(tmp_path, "a.cim") as writer:
        writer.add_file("f", PLAIN, 1).write(b"1")
    before = sorted(tmp_path.iterdir())
    named, empty = tmp_path / leftover_name(), tmp_path / leftover_name()
    named.write_bytes((tmp_path / "a.cim").read_bytes())
    empty.write_bytes(b"")
    assert sorted(sweep_cims(tmp_path)) == sorted([named, empty])
    assert sorted(tmp_path.iterdir()) == before
    with CimImage.open(tmp_path / "a.cim") as image:
        assert image.lookup("f") is not None


def test_there_must_be_a_directory(tmp_path: Path) -> None:
    for call in (lambda: CimWriter(tmp_path / "no", "a.cim"), lambda: sweep_cims(tmp_path / "no")):
        with pytest.raises(NotFoundError):
            call()
