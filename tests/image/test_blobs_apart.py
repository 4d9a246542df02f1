"""A second process makes the blobs of a transport folder: the same folder, the same errors, and nothing left of it."""

from __future__ import annotations

import gc
import gzip
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.hostile.tars import archive, file, folder, link
from tests.hostile.test_disk_full import names, small_disk
from wclayer.errors import FormatError, NotFoundError, StoreError, UnsafeEntryError, WclayerError
from wclayer.formats.folder.shared_memory import RING, SharedMemory
from wclayer.formats.volume.data_process import DataProcess
from wclayer.image import converting
from wclayer.image.converting import convert
from wclayer.processes import Worker, can_start_workers, start_worker

pytestmark = pytest.mark.skipif(not can_start_workers(), reason="a second process is used on Linux only")

MEBI = 1 << 20
DICE = random.Random(4)
FIRST = file("Files/first", bytes(12 * MEBI))  # what is read before there is a process


def members() -> list[bytes]:
    """Everything that a blob may be made of, and more than fits the slabs at once."""
    return [
        folder("Files"),
        FIRST,
        folder("Files/d"),
        file("Files/d/empty"),
        file("Files/d/small", b"small", MSWINDOWS_fileattr="33"),
        file("Files/d/large", DICE.randbytes(5 * MEBI + 3), mtime="1600000000.5"),
        file("Files/d/large:stream", DICE.randbytes(70_000)),
        *(file(f"Files/d/{number:03}", DICE.randbytes(DICE.randrange(200_000))) for number in range(200)),
        file("Files/d/page", DICE.randbytes(32768)),
        file("Files/d/page:tiny", b"t"),
        link("Files/d/link", "Files/d/page"),
        link("Files/d/LINK2", "files/D/SMALL"),
        link("Files/d/link3", "Files/d/link"),
        file("Files/d/just before", DICE.randbytes(100_000)),
        link("Files/d/link4", "files/d/JUST BEFORE"),
        file("Files/d/Again before", b"small"),
        link("Files/d/link5", "Files/d/Again before"),
        folder("Files/e"),
        file("Files/e/" + "ü" * 200, b"an alias"),
        link("Files/e/to an alias", "Files/e/" + "ü" * 200),
        file("Files/implied/folder/f", b"f"),
        folder("Hives"),
        file("Hives/System_Delta", b"regf" * 50_000),
        file("tombstones.txt", b"of the layer"),
        *(file(f"Files/d/again{number:03}", bytes(number)) for number in range(300)),
    ]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "layer.tar.gz"
    path.write_bytes(gzip.compress(archive(*members()), 1))
    return path


def started_by(module: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that ``module`` starts from now on."""
    numbers: list[int] = []

    def counted(which: str, arguments: tuple[int | str, ...], descriptors: list[int]) -> Worker:
        process = start_worker(which, arguments, descriptors)
        numbers.append(process.pid)
        return process

    monkeypatch.setattr(f"{module}.start_worker", counted)
    return numbers


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The processes that were started to make blobs."""
    return started_by("wclayer.formats.volume.data_process", monkeypatch)


@pytest.fixture(params=[False, True], ids=["inflated here", "inflated apart"])
def inflated_apart(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether a third process inflates what is compressed, however little it is."""
    monkeypatch.setattr("wclayer.oci.inflate_process._WORTH_MORE", 0 if request.param else sys.maxsize)
    return bool(request.param)


def descriptors() -> list[str]:
    """What is open."""
    gc.collect()
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # that of the listing
            found.append(os.readlink(f"/proc/self/fd/{number}"))
    return sorted(found)


@pytest.fixture
def nothing_stays_open() -> Iterator[None]:
    before = descriptors()
    yield
    assert descriptors() == before


def is_running(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def without_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converting, "written_apart", lambda: None)


def state(path: Path) -> dict[str, tuple[object, ...]]:
    """What the file system shows, but the times of what no entry describes, which are those of the making."""
    found: dict[str, tuple[object, ...]] = {}
    for name in sorted(names(path)):
        status = (path / name).lstat()
        if (path / name).is_dir():
            found[name] = (status.st_mode,)
        else:
            is_made_up = name == "tombstones.txt" or "implied" in name.removesuffix("/f")
            time_ns = 0 if is_made_up else status.st_mtime_ns
            found[name] = (status.st_mode, time_ns, status.st_nlink, (path / name).read_bytes())
    return found


def described(manifest: Path) -> dict[str, tuple[object, ...]]:
    """What the manifest says of files, and how it counts them."""
    with closing(sqlite3.connect(f"file:{manifest}?mode=ro", uri=True)) as database:
        rows = database.execute("SELECT CAST(path AS TEXT), * FROM names JOIN nodes USING (node)")
        return {path: rest for path, *rest in rows if "tombstones" not in path}


@pytest.mark.usefixtures("nothing_stays_open")
def test_the_folder_is_the_same(
    tmp_path: Path, source: Path, started: list[int], inflated_apart: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    inflating = started_by("wclayer.oci.inflate_process", monkeypatch)
    done = convert(str(source), f"transport:{tmp_path / 'apart'}")
    assert len(inflating) == inflated_apart
    assert not any(map(is_running, inflating))
    assert len(started) == 1
    assert not is_running(started[0])
    without_process(monkeypatch)
    alone = convert(str(source), f"transport:{tmp_path / 'alone'}")
    assert len(started) == 1
    assert done.notices == alone.notices
    assert state(tmp_path / "apart") == state(tmp_path / "alone")
    ours, wanted = described(tmp_path / "apart.ntfs"), described(tmp_path / "alone.ntfs")
    assert ours.keys() == wanted.keys()
    files = {path for path in wanted if (tmp_path / "alone" / path).is_file() and "implied" not in path}
    assert {path: ours[path] for path in files} == {path: wanted[path] for path in files}


def test_an_empty_file_may_be_the_last_thing_there_is(tmp_path: Path) -> None:
    """At the end of a slab, of an archive that does not say where it ends."""
    last = file("Files/last", b"")
    start = b"".join((folder("Files"), FIRST, folder("Files/d"), last))
    filler = file("Files/d/filler", bytes(-len(start) % MEBI - 512))
    tar = tmp_path / "layer.tar"
    tar.write_bytes(start[: -len(last)] + filler + last)
    assert tar.stat().st_size % MEBI == 0
    convert(str(tar), f"transport:{tmp_path / 'out'}")
    assert (tmp_path / "out" / "Files" / "last").stat().st_size > 0


def test_little_is_made_without_a_process(tmp_path: Path, started: list[int]) -> None:
    (tmp_path / "layer.tar").write_bytes(archive(folder("Files"), file("Files/a", bytes(4 * MEBI))))
    convert(str(tmp_path / "layer.tar"), f"transport:{tmp_path / 'out'}")
    assert started == []


@pytest.mark.usefixtures("nothing_stays_open")
def test_where_no_process_can_be_had_the_files_are_made_here(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object) -> Worker:
        raise OSError(11, "no process")

    monkeypatch.setattr("wclayer.formats.volume.data_process.start_worker", refused)
    convert(str(source), f"transport:{tmp_path / 'here'}")
    without_process(monkeypatch)
    convert(str(source), f"transport:{tmp_path / 'alone'}")
    assert state(tmp_path / "here") == state(tmp_path / "alone")


SO_FAR = [folder("Files"), FIRST, *(file(f"Files/{number:03}", bytes(20_000)) for number in range(200))]


@pytest.mark.usefixtures("nothing_stays_open")
@pytest.mark.parametrize(
    ("bad", "kind", "message"),
    [
        (file("Files/007", b"again"), UnsafeEntryError, "is there already"),
        (file("Files/FIRST", b"again"), UnsafeEntryError, "is there already"),
        (link("Files/l", "Files/nowhere"), NotFoundError, "not in this layer"),
        (file("Files/x", b"1") + b"\1" * 600, FormatError, "tar"),
    ],
    ids=["twice", "twice but for case", "link to nothing", "damaged"],
)
def test_errors_are_the_same_and_nothing_is_left(
    bad: bytes,
    kind: type[WclayerError],
    message: str,
    tmp_path: Path,
    started: list[int],
    inflated_apart: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tar = tmp_path / "layer.tar"
    data = archive(*SO_FAR, bad)
    tar.write_bytes(gzip.compress(data, 1) if inflated_apart else data)
    said = []
    for _ in range(2):
        with pytest.raises(kind, match=message) as error:
            convert(str(tar), f"transport:{tmp_path / 'out'}")
        said.append(str(error.value))
        assert names(tmp_path) == {"layer.tar"}
        without_process(monkeypatch)
    assert said[0] == said[1]
    assert len(started) == 1
    assert not is_running(started[0])


@pytest.mark.usefixtures("nothing_stays_open")
@pytest.mark.parametrize("room", [13 * MEBI, 16 * MEBI])
def test_a_full_disk_is_told_with_the_entry_that_did_not_fit(room: int, tmp_path: Path, started: list[int]) -> None:
    tar = tmp_path / "layer.tar"
    tar.write_bytes(archive(folder("Files"), FIRST, *(file(f"Files/{n:03}", bytes(90_000)) for n in range(200))))
    with small_disk(tmp_path / "disk", room) as disk:
        with pytest.raises(StoreError, match="no space left") as error:
            convert(str(tar), f"transport:{disk / 'out'}")
        fitting = (room - 12 * MEBI) // 90_112
        number = int((error.value.path or "").removeprefix("Files/"))
        assert fitting - 20 < number <= fitting
        assert names(disk) == set()
    assert len(started) == 1


@pytest.mark.usefixtures("nothing_stays_open")
def test_a_process_that_dies_is_an_error(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def killed(module: str, arguments: tuple[int | str, ...], descriptors: list[int]) -> Worker:
        process = start_worker(module, arguments, descriptors)
        process.kill(10)
        return process

    monkeypatch.setattr("wclayer.formats.volume.data_process.start_worker", killed)
    with pytest.raises(StoreError, match=r"ended by itself \(SIGKILL\)"):
        convert(str(source), f"transport:{tmp_path / 'out'}")
    assert names(tmp_path) == set()


def test_the_process_ends_with_the_one_that_started_it(tmp_path: Path, source: Path) -> None:
    """kill -9 of the command leaves no process, and the next run removes what there was."""
    from tests.hostile.command import arguments_of

    command = subprocess.Popen(arguments_of("convert", str(source), f"transport:{tmp_path / 'out'}"))
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")
    deadline = time.monotonic() + 30
    workers: list[int] = []
    while not workers and command.poll() is None and time.monotonic() < deadline:
        try:
            workers = [int(child) for child in children.read_text("ascii").split()]
        except OSError:
            break
    command.kill()
    command.wait()
    assert workers, "the command was done before it could be seen to start a process"
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not any(map(is_running, workers))
    convert(str(source), f"transport:{tmp_path / 'again'}")
    assert {path.name for path in tmp_path.iterdir()} - {"out", "out.ntfs"} == {"again", "again.ntfs"}


# ---------------------------------------------------------------------- the process alone


@pytest.fixture
def process(tmp_path: Path) -> Iterator[tuple[DataProcess, SharedMemory]]:
    memory = SharedMemory(16 * MEBI, most_held=4)
    memory.begun = 100
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    process = DataProcess(memory, root, where="the layer")
    try:
        assert process.is_ready()
        yield process, memory
    finally:
        process.close()
        os.close(root)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    files=st.lists(
        st.lists(
            st.one_of(
                st.integers(0, 100_000),
                st.tuples(st.integers(0, 15 * MEBI), st.integers(0, 300_000)),
            ),
            max_size=6,
        ),
        max_size=12,
    )
)
def test_a_file_is_what_was_asked_for(
    files: list[list[int | tuple[int, int]]], process: tuple[DataProcess, SharedMemory], tmp_path: Path
) -> None:
    asked, memory = process
    if memory.slabs[:4] == bytes(4):
        memory.slabs[:] = random.Random(1).randbytes(len(memory.slabs))
    free: list[int] = []
    for number, parts in enumerate(files):
        asked.begin(b"", b"%d" % number, str(number))
        for part in parts:
            if isinstance(part, int):
                asked.append(bytes([number]) * part)
            else:
                asked.append_pieces([(RING + part[0], part[1])])
        asked.end(number * 1000)
        asked.hold(partial(free.append, number))
    asked.settle()
    assert free == list(range(len(files)))
    for number, parts in enumerate(files):
        wanted = b"".join(
            bytes([number]) * part if isinstance(part, int) else bytes(memory.slabs[part[0] : sum(part)])
            for part in parts
        )
        path = tmp_path / str(number)
        assert path.read_bytes() == wanted
        assert path.stat().st_mtime_ns == number * 1000
        path.unlink()


def test_what_is_looked_at_is_there(process: tuple[DataProcess, SharedMemory], tmp_path: Path) -> None:
    asked, _ = process
    (tmp_path / "d").mkdir()
    for number in range(50):
        for parent in (b"", b"d"):
            asked.begin(parent, b"%d" % number, f"{number}")
            asked.append(bytes(number))
            asked.end(0)
    asked.finish_file(b"d/40")
    assert (tmp_path / "d" / "40").stat().st_size == 40
    asked.finish_folder(b"d")
    assert len(list((tmp_path / "d").iterdir())) == 50
    asked.finish_folder(b"elsewhere")
    asked.finish_file(b"elsewhere/x")
    asked.begin(b"d", b"open", "d\\open")
    asked.append(b"so far")
    asked.append_pieces([(RING, 0)])
    asked.finish_file(b"d/open")
    assert (tmp_path / "d" / "open").read_bytes() == b"so far"
    asked.append(b", and more")
    asked.append_pieces([(RING, 0)])
    asked.finish_folder(b"d")
    assert (tmp_path / "d" / "open").read_bytes() == b"so far, and more"


def test_the_first_error_stays_and_names_the_file(process: tuple[DataProcess, SharedMemory], tmp_path: Path) -> None:
    asked, _ = process
    (tmp_path / "taken").write_bytes(b"what was there")
    for name in (b"good", b"taken", b"missing/x"):
        parent, _, leaf = name.rpartition(b"/")
        asked.begin(parent, leaf, name.decode().replace("/", "\\"))
        asked.append(b"data")
        asked.end(0)
    calls: list[Callable[[], object]] = [asked.settle, lambda: asked.finish_file(b"missing/x"), asked.settle]
    for call in calls:
        with pytest.raises(StoreError) as error:
            call()
        assert error.value.path == "taken"
        assert error.value is asked.failure
    assert (tmp_path / "taken").read_bytes() == b"what was there"
    assert (tmp_path / "good").read_bytes() == b"data"
    assert not (tmp_path / "missing").exists()


def test_a_worker_that_gets_nonsense_ends(tmp_path: Path) -> None:
    from wclayer.formats.volume.data_worker import LENGTH, MAX_LIST, DataWorker

    for message in (LENGTH.pack(MAX_LIST + 1), LENGTH.pack(50) + b"x", b"\1"):
        root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
        here, there = socket.socketpair()
        with here, there:
            here.sendall(message)
            here.shutdown(socket.SHUT_WR)
            DataWorker(there, memoryview(b""), root, "the layer").run()
        os.close(root)
    assert names(tmp_path) == set()


# It may come in what others do when cycles are looked for, and stays there, which Python then tells.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("inflated_apart")
def test_an_interruption_leaves_nothing(tmp_path: Path, source: Path, started: list[int]) -> None:
    def interrupt(_signal: int, _frame: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    convert(str(source), f"transport:{tmp_path / 'complete'}")
    complete = state(tmp_path / "complete")
    interrupted = 0
    try:
        for attempt in range(12):
            signal.setitimer(signal.ITIMER_REAL, 0.01 + 0.02 * attempt)
            try:
                convert(str(source), f"transport:{tmp_path / f'out{attempt}'}")
            except KeyboardInterrupt:
                interrupted += 1
                assert not [name for name in names(tmp_path) if name.startswith(".")]
                out = tmp_path / f"out{attempt}"
                assert not out.exists() or state(out) == complete  # it may come when all is done
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert interrupted
    assert not any(map(is_running, started))
