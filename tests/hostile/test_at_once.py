"""Several processes in one place, and processes that are told to stop."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.hostile.command import STORE, Command, arguments_of
from tests.hostile.generated import base_layer, generated_image, middle_layer
from tests.hostile.images import packed
from tests.hostile.tars import file, layer

INTERRUPTED, TERMINATED = 130, 143


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


def at_once(commands: Sequence[Sequence[str | Path]]) -> list[tuple[int, str]]:
    """All commands at the same time: exit codes, and what they said."""
    running = [
        subprocess.Popen(arguments_of(*command), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for command in commands
    ]
    ended = []
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert "Traceback" not in errors
        ended.append((process.returncode, errors))
    return ended


def visible(folder: Path) -> list[str]:
    """Names in a folder, without the lock."""
    return sorted(path.name for path in folder.iterdir() if path.name != ".wclayer.lock")


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_unpacking_one_image_to_one_place(count: int, image: str, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    assert [code for code, _ in at_once([("unpack", image, out)] * count)] == [0] * count
    assert visible(tmp_path) == ["out"]
    assert visible(out) == ["config.json", "image.json", "layerchain.json", "layers", "manifest.json"]
    assert len(list((out / "layers").iterdir())) == 3
    assert command("verify", out).code == 0


@pytest.mark.slow
def test_unpacking_different_images_to_one_place(image: str, tmp_path: Path, command: Command) -> None:
    assert command("sample", "-o", f"oci:{tmp_path}/sample:demo").code == 0
    out = tmp_path / "work" / "out"
    out.parent.mkdir()
    ended = at_once([("unpack", image, out), ("unpack", f"oci:{tmp_path}/sample:demo", out)])
    assert sorted(code for code, _ in ended) == [0, STORE]
    assert visible(out.parent) == ["out"]
    assert len(list((out / "layers").iterdir())) == 3
    assert command("verify", out).code == 0


def test_unpacking_a_hostile_image_beside_a_good_one(tmp_path: Path, command: Command) -> None:
    """One fails and cleans up while the others wait for the very folder that it removes."""
    from tests.hostile.images import Layout

    bad = Layout([layer(file("../evil"))]).write(tmp_path / "bad")
    good = Layout([layer(file("Files/x"))]).write(tmp_path / "good")
    out = tmp_path / "work" / "out"
    for _ in range(4):
        ended = at_once([("unpack", bad, out), ("unpack", good, out), ("unpack", bad, out), ("unpack", good, out)])
        assert [ended[1][0], ended[3][0]] == [0, 0], ended
        assert {ended[0][0], ended[2][0]} <= {6, STORE}, ended
        assert command("verify", out).code == 0
        assert len(list((out / "layers").iterdir())) == 1
        subprocess.run(["rm", "-rf", out], check=True)


@pytest.mark.slow
def test_importing_different_layers_to_one_place(source: Path, tmp_path: Path, command: Command) -> None:
    other = tmp_path / "other.tar"
    other.write_bytes(base_layer() + bytes(512))
    work = tmp_path / "work"
    work.mkdir()
    for number in range(2):
        out = work / f"out-{number}"
        commands = [("import", source, out), ("import", other, out)]
        ended = at_once(commands if number % 2 else commands[::-1])
        assert sorted(code for code, _ in ended) == [0, STORE], ended
        assert command("verify", out).code == 0
    assert visible(work) == [f"out-{number}" for number in range(2)]


@pytest.mark.slow
def test_importing_side_by_side(source: Path, tmp_path: Path, command: Command) -> None:
    """Each sweeps the folder that the others work in, and none removes what lives."""
    outs = [tmp_path / f"out-{number}" for number in range(4)]
    assert [code for code, _ in at_once([("import", source, out) for out in outs])] == [0] * 4
    assert visible(tmp_path) == [out.name for out in outs]
    for out in outs:
        assert command("verify", out).code == 0


@pytest.mark.slow
def test_merging_to_one_place(image: str, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out"
    ended = at_once([("unpack", "--view", "merged", image, out)] * 2)
    assert sorted(code for code, _ in ended) == [0, STORE], ended
    assert visible(tmp_path) == ["out"]
    assert command("verify", out).code == 0


def test_exporting_to_one_place(tmp_path: Path, command: Command) -> None:
    source, folder, work = tmp_path / "layer.tar", tmp_path / "folder", tmp_path / "work"
    source.write_bytes(middle_layer_without_links())
    assert command("import", source, folder).code == 0
    work.mkdir()
    output = work / "out.tar"
    assert [code for code, _ in at_once([("export", folder, "-o", output)] * 4)] == [0] * 4
    assert output.read_bytes() == source.read_bytes()
    assert visible(work) == ["out.tar"]


def middle_layer_without_links() -> bytes:
    """A layer that needs no parent."""
    assert middle_layer()
    return layer(*(file(f"Files/{number}", bytes(1000)) for number in range(500)))


def test_samples_in_one_layout(tmp_path: Path, command: Command) -> None:
    references = [f"oci:{tmp_path}/images:tag-{number}" for number in range(3)]
    assert [code for code, _ in at_once([("sample", "-o", reference) for reference in references])] == [0] * 3
    for reference in references:
        assert command("verify", reference).code == 0
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["blobs", "index.json", "oci-layout"]


# ------------------------------------------------------------------------------------------------------ being stopped


def stopped(
    arguments: Sequence[str], number: signal.Signals, begun: Callable[[], bool], after: float
) -> tuple[int, str]:
    """Start a process, wait until it works, and send it a signal a little later."""
    with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not begun() and process.poll() is None:
            time.sleep(0.005)
        time.sleep(after)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def hidden(folder: Path) -> list[Path]:
    """What is left of something unfinished."""
    return [path for path in folder.rglob(".*") if path.name != ".wclayer.lock"]


STOPS = [(signal.SIGINT, INTERRUPTED), (signal.SIGTERM, TERMINATED)]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), STOPS, ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("verb", ["import", "unpack", "merged", "export"])
def test_being_told_to_stop(
    verb: str, number: signal.Signals, code: int, image: str, source: Path, tmp_path: Path, command: Command
) -> None:
    work, folder = tmp_path / "work", tmp_path / "folder"
    work.mkdir()
    out = work / "out"
    if verb == "export":
        assert command("import", source, folder).code == 0
    arguments = {
        "import": arguments_of("import", source, out),
        "unpack": arguments_of("unpack", image, out),
        "merged": arguments_of("unpack", "--view", "merged", image, out),
        "export": arguments_of("export", folder, "-o", out),
    }[verb]
    dice = random.Random(verb)
    seen: list[int] = []
    tries = 0
    deadline = time.monotonic() + 60
    while tries < 6 or (code not in seen and time.monotonic() < deadline):
        tries += 1
        ended, errors = stopped(arguments, number, lambda: any(work.iterdir()), dice.random() * 2 / (tries + 6))
        assert hidden(work) == []
        if verb != "unpack" and out.exists():
            # It came when all was done, maybe to an interpreter that is going already; then all is there.
            assert ended in (0, -number, code), errors
            assert "Traceback" not in errors
            if verb == "export":
                assert out.read_bytes() == base_layer()
            else:
                assert command("verify", out).code == 0
            subprocess.run(["rm", "-rf", out], check=True)
            continue
        if ended in (0, -number) and out.exists():
            subprocess.run(["rm", "-rf", out], check=True)
            continue
        seen.append(ended)
        assert ended == code, errors
        assert len(errors.splitlines()) == 1, errors
        if verb != "unpack":
            assert list(work.iterdir()) == []
        elif out.exists():
            for path in (out / "layers").iterdir():
                assert command("verify", path).code == 0
    assert code in seen
    subprocess.run(arguments, check=True, capture_output=True)
    if verb != "export":
        assert command("verify", out).code == 0


@pytest.mark.parametrize(("number", "code"), STOPS, ids=["SIGINT", "SIGTERM"])
def test_being_told_to_stop_while_nothing_comes(number: signal.Signals, code: int, tmp_path: Path) -> None:
    """Standard input that neither goes on nor ends keeps nobody."""
    reading, writing = os.pipe()
    os.write(writing, layer(file("Files/x"))[:1600])
    arguments = arguments_of("import", "-", tmp_path / "out")
    with subprocess.Popen(arguments, stdin=reading, stderr=subprocess.PIPE, text=True) as process:
        while not any(tmp_path.iterdir()) and process.poll() is None:
            time.sleep(0.005)
        time.sleep(0.2)
        process.send_signal(number)
        try:
            _, errors = process.communicate(timeout=20)
        finally:
            os.close(writing)
            os.close(reading)
            process.kill()
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["cat", "ls", "ls-json", "ls-jsonl", "export", "export-gzip", "stat"])
def test_a_reader_that_goes_away_is_no_error(verb: str, tmp_path: Path, command: Command) -> None:
    source, folder = tmp_path / "layer.tar", tmp_path / "folder"
    members = [file(f"Files/{'n' * 100}-{number}", b"") for number in range(3000)]
    source.write_bytes(layer(file("Files/large", os.urandom(1 << 20)), *members))
    assert command("import", source, folder).code == 0
    arguments: dict[str, list[str | Path]] = {
        "cat": ["cat", folder, "/large"],
        "ls": ["ls", "-R", folder],
        "ls-json": ["ls", "-R", folder, "--format", "json"],
        "ls-jsonl": ["ls", "-R", folder, "--format", "jsonl"],
        "export": ["export", folder, "-o", "-"],
        "export-gzip": ["export", folder, "-o", "-", "--compress", "gzip"],
        "stat": ["stat", folder, "/large"],
    }
    with subprocess.Popen(arguments_of(*arguments[verb]), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        errors = process.stderr.read()
    assert errors == b""
    assert process.returncode == 0
