"""Layers that other processes write: the same result, the same errors, and nobody is left behind."""

from __future__ import annotations

import fcntl
import hashlib
import io
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.cases import NAME_CASES, Case
from tests.hostile.format_cases import FORMAT_CASES
from tests.hostile.link_cases import LINK_CASES, ORDER_CASES
from tests.image.stacks import data_of, file, folder, gone, link, make_image, stream
from tests.open_files import open_files
from wclayer.errors import DigestMismatchError, FormatError, StoreError, WclayerError
from wclayer.image import lane_process, lane_wire
from wclayer.image import unpack as unpack_module
from wclayer.image.lane import LaneLostError, LaneOptions, LocalLane
from wclayer.image.lane_process import ProcessLane, can_start_processes
from wclayer.image.progress import Progress
from wclayer.image.target import open_view
from wclayer.image.unpack import UnpackOptions, UnpackResult, unpack
from wclayer.model import LayerItem
from wclayer.oci import Digest, LayerBlob, Limits

pytestmark = pytest.mark.skipif(not can_start_processes(), reason="sockets carry no files here")

MOMENT = 60.0  # seconds until something that takes none must have happened
CASES = [case for cases in (NAME_CASES, LINK_CASES, ORDER_CASES, FORMAT_CASES) for case in cases[3::17]]


def noise(name: str, count: int, size: int = 2000) -> list[LayerItem]:
    """Files that compress to nothing smaller."""
    return [file(f"Files/{name}/{number}", os.urandom(size)) for number in range(count)]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Layers with links into all of those below, deletions, streams and oddities; the middle one is the largest."""
    return make_image(
        tmp_path_factory.mktemp("image") / "layout",
        [folder("Files"), file("Files/a", b"base"), *noise("base", 40)],
        [link("Files/b", "Files/a"), file("Files/c", b"c"), *noise("middle", 400), gone("Files/base/3")],
        [link("Files/d", "Files/b"), link("Files/e", "Files/c"), link("Files/A", "Files/a"), gone("Hives/x")],
        [
            link("Files/f", "Files/middle/7"),
            stream("Files/f", "s", b"S"),
            file("Files/g"),
            file("Files/G"),
            *noise("top", 90),
        ],
    )


def seen(root: Path) -> dict[str, tuple[int, int, str]]:
    """Everything at and below ``root`` but the times of what is made anew: modes, names in the file system, content."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        inner = "Files" in path.parts and path.is_file()
        found[str(path.relative_to(root))] = (status.st_mode, status.st_mtime_ns if inner else 0, content)
        if inner:
            found[f"{path.relative_to(root)} links"] = (status.st_nlink, 0, "")
    return found


def remove(root: Path) -> None:
    """Remove a tree, read-only as it is."""
    for base, _, _ in os.walk(root):
        os.chmod(base, 0o755)
    shutil.rmtree(root)


def told(result: UnpackResult) -> tuple[Any, ...]:
    return (
        result.notices,
        [(layer.path, layer.diff_id, layer.chain_id, layer.size, layer.file_bytes) for layer in result.layers],
        [(layer.blob_digest, layer.blob_size, layer.compression, layer.notices) for layer in result.layers],
        [layer.listed for layer in result.layers],
    )


@pytest.fixture
def only_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The lane in this process writes nothing, so every layer is written by another."""
    monkeypatch.setattr(LocalLane, "is_ready", lambda _lane: False)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that lanes start."""
    processes: list[subprocess.Popen[bytes]] = []
    original = lane_process._start

    def start(connection: int, lock: int) -> subprocess.Popen[bytes]:
        processes.append(original(connection, lock))
        return processes[-1]

    monkeypatch.setattr(lane_process, "_start", start)
    return processes


def held() -> tuple[list[str], int, list[int]]:
    """Open files, threads, and processes that were started and not waited for, as far as the system tells."""
    return open_files(), threading.active_count(), sorted(children(os.getpid()))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    before = held()
    yield
    assert held() == before


# ------------------------------------------------------------------------------------------------------ the same result


def test_the_result_is_the_same_to_the_byte(image: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    expected = told(unpack(image, out, UnpackOptions(jobs=1))), seen(out)
    assert expected[0][0]
    for jobs in (2, 4):
        remove(out)
        assert (told(unpack(image, out, UnpackOptions(jobs=jobs))), seen(out)) == expected


def test_links_lead_from_process_to_process(
    image: str, tmp_path: Path, only_processes: None, started: list[subprocess.Popen[bytes]]
) -> None:
    out = tmp_path / "out"
    unpack(image, out, UnpackOptions(jobs=4))
    assert len(started) == 3
    with open_view(str(out)) as view:
        assert [data_of(view, f"Files/{name}") for name in "bdeA"] == [b"base", b"base", b"c", b"base"]
        assert data_of(view, "Files/f") == data_of(view, "Files/middle/7")


class Watcher:
    """Progress that calls ``act`` with the part, and how much of it is done by then."""

    def __init__(self, act: Callable[[str, int], None] = lambda _part, _done: None) -> None:
        self.act = act
        self.lock = threading.Lock()
        self.done: dict[str, int] = {}
        self.begun: list[str] = []
        self.ended: list[str] = []

    def expect(self, parts: int, total: int | None) -> None:  # noqa: ARG002 - the protocol's signature
        return

    def begin(self, part: str) -> None:
        self.begun.append(part)

    def advance(self, part: str, count: int) -> None:
        with self.lock:
            self.done[part] = self.done.get(part, 0) + count
        self.act(part, self.done[part])

    def end(self, part: str) -> None:
        self.ended.append(part)


@pytest.mark.parametrize("jobs", [1, 3])
def test_progress_is_that_of_all_lanes(jobs: int, image: str, tmp_path: Path) -> None:
    watcher = Watcher()
    checked: Progress = watcher
    result = unpack(image, tmp_path / "out", UnpackOptions(jobs=jobs), checked)
    assert sorted(watcher.done.values()) == sorted(layer.blob_size for layer in result.layers)
    assert sorted(watcher.begun) == sorted(watcher.ended) == sorted(watcher.done)


def test_a_link_into_a_layer_that_is_still_being_written(tmp_path: Path) -> None:
    """The base does not go on before the layer on it, which links into it, is on disk."""
    base = [folder("Files"), file("Files/a", b"base"), *noise("base", 1500)]
    reference = make_image(tmp_path / "layout", base, [link("Files/b", "Files/a")])
    top_is_done = threading.Event()

    def wait(part: str, _done: int) -> None:
        if part.startswith("2 of 2"):
            top_is_done.set()
        else:
            assert top_is_done.wait(MOMENT)

    watcher = Watcher(wait)
    unpack(reference, tmp_path / "out", UnpackOptions(jobs=2), watcher)
    assert [part[:6] for part in watcher.ended] == ["1 of 2", "2 of 2"]
    with open_view(str(tmp_path / "out")) as view:
        assert data_of(view, "Files/b") == b"base"


def test_many_layers_wait_for_a_large_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than a lane may hold."""
    monkeypatch.setattr(unpack_module, "_HELD_APART", 2)
    small = [[link(f"Files/link{number}", "Files/a"), *noise(str(number), 2)] for number in range(9)]
    reference = make_image(
        tmp_path / "layout", [folder("Files"), file("Files/a", b"base"), *noise("base", 900)], *small
    )
    result = unpack(reference, tmp_path / "out", UnpackOptions(jobs=3))
    assert len(result.layers) == 10
    with open_view(str(tmp_path / "out")) as view:
        assert data_of(view, "Files/link8") == b"base"


def test_another_run_takes_what_is_there_and_writes_the_rest(image: str, tmp_path: Path, only_processes: None) -> None:
    out = tmp_path / "out"
    whole = unpack(image, out, UnpackOptions(jobs=3))
    for layer in whole.layers[1::2]:
        remove(layer.path)
    (out / "image.json").unlink()
    again = unpack(image, out, UnpackOptions(jobs=2))
    assert [layer.reused for layer in again.layers] == [True, False, True, False]
    assert (again.notices, [layer.listed for layer in again.layers]) == (
        whole.notices,
        [x.listed for x in whole.layers],
    )


@pytest.mark.parametrize("name", ["image.tar", "image.tar.gz"])
@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_layers_inside_an_archive(
    transport: str, name: str, image: str, tmp_path: Path, only_processes: None, started: list[subprocess.Popen[bytes]]
) -> None:
    layout, archive = Path(image.split(":")[1]), tmp_path / name
    with tarfile.open(archive, "w:gz" if name.endswith("gz") else "w") as tar:
        for path in sorted(layout.rglob("*")):
            tar.add(path, path.relative_to(layout), recursive=False)
        if transport == "docker-archive":
            add_docker_manifest(tar, layout)
    reference = f"{transport}:{archive}" + (":test" if transport == "oci-archive" else "")
    result = unpack(reference, tmp_path / "out", UnpackOptions(jobs=4))
    assert len(started) == 3
    assert [layer.diff_id for layer in result.layers] == [
        layer.diff_id for layer in unpack(image, tmp_path / "other", UnpackOptions(jobs=2)).layers
    ]


def add_docker_manifest(tar: tarfile.TarFile, layout: Path) -> None:
    """What ``docker save`` adds to a layout."""
    import json

    def read(digest: str) -> Any:
        return json.loads((layout / "blobs/sha256" / digest.partition(":")[2]).read_bytes())

    manifest = read(json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"])
    places = ["blobs/sha256/" + blob["digest"].partition(":")[2] for blob in [manifest["config"], *manifest["layers"]]]
    data = json.dumps([{"Config": places[0], "RepoTags": ["a:b"], "Layers": places[1:]}]).encode()
    member = tarfile.TarInfo("manifest.json")
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def test_layers_that_only_this_process_can_read(
    image: str, tmp_path: Path, only_processes: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_process, "file_part", lambda _source: None)
    assert len(unpack(image, tmp_path / "out", UnpackOptions(jobs=3)).layers) == 4
    with pytest.raises(FormatError, match="--strict"):
        unpack(image, tmp_path / "strict", UnpackOptions(jobs=3, strict=True))
    assert not (tmp_path / "strict").exists() or hidden(tmp_path / "strict") == []


# ------------------------------------------------------------------------------------------------------- how many lanes


@pytest.mark.parametrize(
    ("sizes", "jobs", "processors", "expected"),
    [
        ([100, 100, 100], None, 8, 1),  # too small for it to pay
        ([1 << 30, 100], None, 8, 1),
        ([1 << 30, 20 << 20], None, 8, 2),
        ([1 << 30] * 4, None, 2, 2),
        ([1 << 30] * 4, None, 1, 1),
        ([1 << 30] * 40, None, 64, 8),
        ([1 << 30] * 40, 64, 2, 40),
        ([100, 100, 100], 2, 1, 2),
        ([100, 0, 0], 3, 8, 1),  # two are there already
        ([0, 0], 2, 8, 1),
        ([100, 100, 100], 1, 8, 1),
    ],
)
def test_how_many_lanes_there_are(
    sizes: list[int], jobs: int | None, processors: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack_module, "usable_processors", lambda: processors)
    assert UnpackOptions(jobs=jobs).lanes(sizes) == expected


@pytest.mark.parametrize("gone_wrong", ["frozen", "executable"])
def test_without_an_interpreter_there_is_one_lane(gone_wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if gone_wrong == "frozen":
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", "")
    assert UnpackOptions(jobs=4).lanes([100, 100]) == 1


@pytest.mark.parametrize("program", ["/nonexistent/python", shutil.which("false"), shutil.which("true")])
def test_where_no_process_starts_this_one_writes_all(
    program: str, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", program)
    assert len(unpack(image, tmp_path / "out", UnpackOptions(jobs=3)).layers) == 4


def test_a_process_of_another_version_writes_nothing(
    image: str, tmp_path: Path, started: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane_process, "__version__", "0.0")
    checked: list[Digest] = []
    original = LocalLane.pour

    def pour(lane: LocalLane, blob: LayerBlob, destination: Path, progress: Progress) -> Digest:
        checked.append(original(lane, blob, destination, progress))
        return checked[-1]

    monkeypatch.setattr(LocalLane, "pour", pour)
    result = unpack(image, tmp_path / "out", UnpackOptions(jobs=2))
    assert len(started) == 1
    assert sorted(checked) == sorted(layer.diff_id for layer in result.layers)


def test_one_job_starts_no_process(image: str, tmp_path: Path, started: list[subprocess.Popen[bytes]]) -> None:
    unpack(image, tmp_path / "one", UnpackOptions(jobs=1))
    unpack(image, tmp_path / "small", UnpackOptions())
    assert started == []


# --------------------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_process_refuses_what_this_one_refuses(case: Case, tmp_path: Path, only_processes: None) -> None:
    good: list[LayerItem] = [folder("Files"), file("Files/good", b"x")]
    layers: list[bytes | list[LayerItem]] = (
        [good, case.make(), good] if not case.with_parent else [good, good, case.make()]
    )
    reference = make_image(tmp_path / "layout", *layers)
    errors = []
    for jobs in (1, 3):
        with pytest.MonkeyPatch.context() as patch:
            if jobs == 1:
                patch.setattr(LocalLane, "is_ready", lambda _lane: True)
            with pytest.raises(WclayerError) as caught:
                unpack(reference, tmp_path / "out", UnpackOptions(jobs=jobs))
        error = caught.value
        errors.append((type(error), str(error), error.exit_code, error.image, error.layer, error.path, error.hint))
        below = len(layers) - 1 if case.with_parent else 1
        assert len(list((tmp_path / "out/layers").iterdir())) == below
        remove(tmp_path / "out")
    assert errors[0] == errors[1]


def test_strict_refuses_in_a_process_too(image: str, tmp_path: Path, only_processes: None) -> None:
    with pytest.raises(FormatError, match="--strict") as caught:
        unpack(image, tmp_path / "out", UnpackOptions(jobs=4, strict=True))
    assert (caught.value.kind, caught.value.layer and caught.value.layer[:6]) == ("tombstone-outside", "3 of 4")


def test_limits_hold_in_a_process_too(tmp_path: Path, only_processes: None) -> None:
    zeros = [folder("Files"), file("Files/zeros", bytes(1 << 20))]
    reference = make_image(tmp_path / "layout", [folder("Files")], zeros)
    options = UnpackOptions(jobs=3, limits=Limits(ratio=20, ratio_after=1000))
    with pytest.raises(WclayerError, match="decompression bomb") as caught:
        unpack(reference, tmp_path / "out", options)
    assert caught.value.layer is not None
    assert caught.value.layer.startswith("2 of 2")


def test_a_wrong_digest_is_found_in_a_process_too(tmp_path: Path, only_processes: None) -> None:
    layout = tmp_path / "layout"
    reference = make_image(layout, [folder("Files"), file("Files/a", b"base" * 9)], noise("n", 20), compression="none")
    (blob,) = [path for path in (layout / "blobs/sha256").iterdir() if b"basebase" in path.read_bytes()]
    blob.write_bytes(blob.read_bytes().replace(b"base", b"BASE"))
    with pytest.raises(DigestMismatchError, match="was promised") as caught:
        unpack(reference, tmp_path / "out", UnpackOptions(jobs=3))
    assert caught.value.layer is not None
    assert caught.value.layer.startswith("1 of 2")


class OddError(Exception):
    """Cannot be copied: its class wants more than its message."""

    def __init__(self, first: str, second: str) -> None:
        super().__init__(first)
        self.second = second


def test_errors_travel() -> None:
    error = FormatError("what", kind="k", layer="l", path="p", hint="h")
    copy = lane_wire.portable_error(error)
    assert isinstance(copy, FormatError)
    assert (str(copy), copy.kind) == (str(error), "k")
    unexpected = lane_wire.portable_error(KeyError("x"))
    assert isinstance(unexpected, KeyError)
    assert "KeyError" in unexpected.__notes__[0]
    odd = lane_wire.portable_error(OddError("first", "second"))
    assert isinstance(odd, StoreError)
    assert str(odd) == "OddError: first"


def test_a_process_that_is_asked_for_nonsense_says_so(
    image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A defect of this package does not look like a defect of an image."""
    monkeypatch.setattr(LocalLane, "is_ready", lambda _lane: False)
    monkeypatch.setattr(lane_process, "CommitRequest", lambda *_arguments: "nonsense")
    with pytest.raises(TypeError, match="'nonsense'"):
        unpack(image, tmp_path / "out", UnpackOptions(jobs=2))


# -------------------------------------------------------------------------------------------------------- being stopped


def hidden(folder: Path) -> list[Path]:
    """What is left of something unfinished."""
    return [path for path in folder.rglob(".*") if path.name != ".wclayer.lock"]


def test_an_interruption_ends_the_processes(
    image: str, tmp_path: Path, only_processes: None, started: list[subprocess.Popen[bytes]]
) -> None:
    def interrupt(_part: str, _done: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(image, tmp_path / "out", UnpackOptions(jobs=3), Watcher(interrupt))
    assert [process.returncode is not None for process in started] == [True, True]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("layer", ["1 of 4", "2 of 4"])
def test_a_process_that_is_killed_is_an_error_that_names_the_layer(
    layer: str, image: str, tmp_path: Path, only_processes: None, started: list[subprocess.Popen[bytes]]
) -> None:
    def kill(part: str, _done: int) -> None:
        if part.startswith(layer):
            started[0].kill()
            started[0].wait(MOMENT)

    out = tmp_path / "out"
    with pytest.raises(LaneLostError, match="killed by signal 9") as caught:
        unpack(image, out, UnpackOptions(jobs=2), Watcher(kill))
    assert caught.value.exit_code == 8
    assert caught.value.image == image
    assert caught.value.layer is not None
    # With it went what it held: the largest layer, the second, is poured first.
    assert caught.value.layer.startswith(layer)
    again = unpack(image, out, UnpackOptions(jobs=2))
    assert hidden(out) == []
    assert len(again.layers) == 4


def test_signals_that_end_this_process_are_none_of_the_others_business(
    image: str, tmp_path: Path, only_processes: None, started: list[subprocess.Popen[bytes]]
) -> None:
    def signals(_part: str, _done: int) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            started[0].send_signal(number)

    unpack(image, tmp_path / "out", UnpackOptions(jobs=2), Watcher(signals))
    assert started[0].returncode is not None


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image that takes a moment."""
    layers = [[*noise(str(number), 3000, 300)] for number in range(4)]
    return make_image(tmp_path_factory.mktemp("large") / "layout", *layers)


def command(image: str, out: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "wclayer", "unpack", image, str(out), "--jobs", "2", *options]


def children(process: int) -> list[int]:
    """The processes that ``process`` started; none once it is gone."""
    found = []
    for path in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            found += [int(word) for word in path.read_text().split()]
        except OSError:
            continue
    return found


def is_running(process: int) -> bool:
    """Whether it is there and no zombie that nobody waits for."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def when_both_write(running: subprocess.Popen[bytes], layers: Path) -> list[int]:
    """Wait until two layers are being written at once; the other processes, none when it was over too soon."""
    while running.poll() is None:
        if layers.is_dir() and len(hidden_at_top(layers)) == 2 and (found := children(running.pid)):
            return found
        time.sleep(0.002)
    return []


def hidden_at_top(folder: Path) -> list[str]:
    return [name for name in os.listdir(folder) if name.startswith(".")]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nobody_goes_on_when_the_process_that_was_started_is_stopped(
    number: signal.Signals, large: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    deadline = time.monotonic() + 5 * MOMENT
    while time.monotonic() < deadline:
        # All of its group gets the signal, as from a terminal; but when it is killed, it is alone.
        arguments = command(large, out)
        with subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, process_group=0) as running:
            others = when_both_write(running, out / "layers")
            if others and number == signal.SIGKILL:
                running.kill()
            elif others:
                os.killpg(running.pid, number)
            errors = running.communicate(timeout=MOMENT)[1]
        if running.returncode != 0:
            break
        remove(out)
    assert running.returncode == {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[number]
    assert others
    assert b"Traceback" not in errors
    if out.exists():
        with open(out / ".wclayer.lock", "rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the others hold it as long as they live
    while any(is_running(other) for other in others):
        assert time.monotonic() < deadline
        time.sleep(0.002)
    if number != signal.SIGKILL:
        assert not out.exists() or hidden(out) == []
    subprocess.run(command(large, out), check=True, capture_output=True, timeout=2 * MOMENT)
    assert hidden(out) == []
    assert len(list((out / "layers").iterdir())) == 4


@pytest.mark.slow
def test_two_at_once_with_processes_take_turns(large: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    running = [subprocess.Popen(command(large, out, "-q"), stderr=subprocess.PIPE) for _ in range(2)]
    for process in running:
        errors = process.communicate(timeout=4 * MOMENT)[1]
        assert (process.returncode, errors) == (0, b"")
    assert hidden(out) == []
    assert len(list((out / "layers").iterdir())) == 4


def test_requests_and_answers_survive_the_way() -> None:
    """What travels is made of values only, whatever the version of Python."""
    for name in lane_wire.__all__:
        if name[0].isupper():
            fields = getattr(lane_wire, name).__dataclass_fields__
            message = getattr(lane_wire, name)(*range(len(fields)))
            assert pickle.loads(pickle.dumps(message)) == message  # noqa: S301


@pytest.mark.parametrize("ready", [False, True])
def test_a_process_ends_by_itself_when_nobody_talks_to_it_any_more(
    ready: bool, tmp_path: Path, started: list[subprocess.Popen[bytes]]
) -> None:
    options = LaneOptions(strict=False, sync=False, limits=Limits(), helpers=False, capacity=1)
    with open(tmp_path / "lock", "wb") as lock:
        lane = ProcessLane(options, lock.fileno())
        assert not ready or lane.is_ready()
        lane.close()
    assert started[0].returncode == 1  # and was not killed


def test_a_process_holds_the_lock_as_long_as_it_lives(tmp_path: Path) -> None:
    options = LaneOptions(strict=False, sync=False, limits=Limits(), helpers=False, capacity=1)
    with open(tmp_path / "lock", "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lane = ProcessLane(options, lock.fileno())
    with open(tmp_path / "lock", "wb") as lock:
        with pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        lane.close()
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
