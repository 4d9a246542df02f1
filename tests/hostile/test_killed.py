"""kill -9 at any moment: what has its name is whole, everything else is hidden, and the next run puts it right."""

from __future__ import annotations

import collections
import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hostile.command import Command, arguments_of
from tests.hostile.generated import base_layer, generated_image
from tests.hostile.images import packed
from tests.hostile.tars import file
from wclayer.image.processors import WORTH_A_PROCESS

pytestmark = pytest.mark.slow

DOCUMENTS = ["manifest.json", "config.json", "layerchain.json", "image.json"]  # in the order they are written


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The generated image."""
    return generated_image(tmp_path_factory.mktemp("image"))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: processes die here, not the machine, so it is as good as a disk."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    folder = Path(tempfile.mkdtemp(prefix="wclayer-killed-", dir=memory))
    yield folder
    remove(folder)


def moments(duration: float, count: int, seed: int) -> Iterator[float]:
    """``count`` moments, at random but one in each equal part of the time that a run takes."""
    dice = random.Random(seed)
    for number in range(count):
        yield duration * (number + dice.random()) / count


def timed(arguments: list[str]) -> float:
    """How long a run takes that nobody kills."""
    started = time.monotonic()
    subprocess.run(arguments, check=True, capture_output=True)
    return time.monotonic() - started


def killed(arguments: list[str], after: float) -> bool:
    """Start a process and kill it after some seconds; whether it was still running."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.kill()
            return True
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
        return False


def hidden(folder: Path) -> list[Path]:
    """What an unfinished run leaves beside what it makes."""
    return [path for path in folder.iterdir() if path.name.startswith(".")] if folder.exists() else []


def remove(folder: Path) -> None:
    """Remove a folder, read-only as it is."""
    for base, _, _ in os.walk(folder):
        os.chmod(base, 0o755)
    shutil.rmtree(folder, ignore_errors=True)


def killed_when(arguments: list[str], there: Callable[[], bool]) -> bool:
    """Start a process and kill it as soon as something is there; whether it was still running."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            if there():
                process.kill()
                return process.wait() != 0
            time.sleep(0.0002)
        assert process.stderr is not None
        assert process.returncode == 0, process.stderr.read()
        return False


def test_unpack_killed_at_fifty_moments(image: str, place: Path, command: Command) -> None:
    destination = place / "out"
    arguments = arguments_of("unpack", image, destination)
    duration = timed(arguments)
    remove(destination)
    seen = collections.Counter[int]()
    for after in moments(duration, 50, seed=50):
        killed(arguments, after)
        seen[_check_and_finish(image, destination, command)] += 1
    assert seen[0], seen
    assert list(place.iterdir()) == []


def test_unpack_killed_between_two_layers(image: str, place: Path, command: Command) -> None:
    """When the first one just has its name: a moment that chance may miss where much else runs."""
    destination = place / "out"
    arguments = arguments_of("unpack", image, destination)
    seen = collections.Counter[int]()
    deadline = time.monotonic() + 60
    while seen.total() < 10 or (not seen[1] + seen[2] and time.monotonic() < deadline):
        killed_when(arguments, lambda: bool(_complete(destination)))
        seen[_check_and_finish(image, destination, command)] += 1
    assert seen[1] + seen[2], seen
    assert list(place.iterdir()) == []


def _check_and_finish(image: str, destination: Path, command: Command) -> int:
    """How many layers an unfinished run left, each of them whole; the next run takes them and makes the others."""
    complete = _check_unpacked(destination, command)
    finished = command("unpack", image, destination, "--format", "json")
    assert finished.code == 0, finished
    assert [layer["reused"] for layer in json.loads(finished.out)["layers"]].count(True) == complete
    assert hidden(destination / "layers") == []
    assert {path.name for path in destination.iterdir()} == {*DOCUMENTS, "layers", ".wclayer.lock"}
    assert command("verify", destination).code == 0
    remove(destination)
    return complete


def _complete(destination: Path) -> list[Path]:
    """The layers that have their names."""
    layers = destination / "layers"
    return [path for path in layers.iterdir() if not path.name.startswith(".")] if layers.exists() else []


def _check_unpacked(destination: Path, command: Command) -> int:
    """Every layer that has its name is whole; returns how many there are."""
    if not destination.exists():
        return 0
    assert {path.name for path in destination.iterdir() if not path.name.startswith(".")} <= {*DOCUMENTS, "layers"}
    complete = _complete(destination)
    for path in complete:
        verdict = command("verify", path)
        assert verdict.code == 0, verdict
    if (destination / "image.json").exists():
        assert len(complete) == 3
    return len(complete)


def _import_arguments(_image: str, root: Path) -> list[str]:
    source = root / "layer.tar.gz"
    source.write_bytes(packed(base_layer()))
    return arguments_of("import", source, root / "work" / "out")


def _merged_arguments(image: str, root: Path) -> list[str]:
    return arguments_of("unpack", "--view", "merged", image, root / "work" / "out")


def _large_arguments(_image: str, root: Path) -> list[str]:
    """Of a layer so large that a second process makes its files."""
    source = root / "large.tar"
    source.write_bytes(file("large.bin", bytes(WORTH_A_PROCESS)) + base_layer())
    return arguments_of("import", source, root / "work" / "out")


@pytest.mark.parametrize(
    "make", [_import_arguments, _large_arguments, _merged_arguments], ids=["import", "two processes", "merged"]
)
def test_one_folder_is_there_whole_or_not_at_all(
    make: Callable[[str, Path], list[str]], image: str, place: Path, command: Command
) -> None:
    work = place / "work"
    work.mkdir()
    destination = work / "out"
    arguments = make(image, place)
    left = seed = 0
    deadline = time.monotonic() + 60
    while not left and time.monotonic() < deadline:  # the work may take no longer than the start of the interpreter
        duration = timed(arguments)
        remove(destination)
        seed += 15
        for after in moments(duration, 15, seed=seed):
            killed(arguments, after)
            if destination.exists():
                assert command("verify", destination).code == 0
            assert {path.name for path in work.iterdir() if not path.name.startswith(".")} <= {"out"}
            left += bool(hidden(work))
            remove(destination)
    assert left, "no run was killed while it worked"
    subprocess.run(arguments, check=True, capture_output=True)
    assert hidden(work) == []
    assert command("verify", destination).code == 0


@pytest.mark.parametrize("name", ["layer.tar", "layer.tar.gz"])
def test_an_exported_file_is_the_old_or_the_new_one(name: str, place: Path, command: Command) -> None:
    source, folder, work = place / "source.tar", place / "folder", place / "work"
    source.write_bytes(base_layer())
    assert command("import", source, folder).code == 0
    work.mkdir()
    output = work / name
    arguments = arguments_of("export", folder, "-o", output)
    duration = timed(arguments)
    new, old = output.read_bytes(), b"what was there before"
    for after in moments(duration, 15, seed=7):
        output.write_bytes(old)
        killed(arguments, after)
        assert output.read_bytes() in (old, new)
    assert command("export", folder, "-o", output).code == 0
    assert output.read_bytes() == new
    assert list(work.iterdir()) == [output]


def test_what_a_kill_between_documents_leaves_keeps_nobody_away(image: str, place: Path, command: Command) -> None:
    destination = place / "out"
    assert command("unpack", image, destination).code == 0
    for number, name in enumerate(DOCUMENTS):
        for missing in DOCUMENTS[number:]:
            (destination / missing).unlink()
        (destination / f".{name}.0123456789abcdef").write_bytes(b"{")
        assert command("unpack", image, destination).code == 0
        assert command("verify", destination).code == 0
        assert [path.name for path in hidden(destination)] == [".wclayer.lock"]
