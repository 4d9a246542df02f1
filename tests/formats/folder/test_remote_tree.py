"""A second process makes the files: the same layer, the same errors, and nothing left whoever dies."""

from __future__ import annotations

import hashlib
import marshal
import os
import resource
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.formats.folder.layers import alternate, file, folder, plain, read, sparse, symlink, tree
from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, verify_folder
from wclayer.formats.folder.door import Door, NameRefusedError
from wclayer.formats.folder.host_times import host_times
from wclayer.formats.folder.remote_tree import RemoteTree
from wclayer.formats.folder.shared_memory import RING
from wclayer.formats.folder.tree_jobs import (
    DATE,
    DIGEST,
    FILE,
    FOLDER,
    HASH,
    LENGTH,
    LINK,
    OPEN,
    PIECE,
    SEAL,
    Answer,
    Job,
    encode,
)
from wclayer.formats.folder.tree_worker import TreeWorker, main
from wclayer.model import Entry, HardLink, LayerItem, Metadata, Stream, Tombstone, copy_layer
from wclayer.processes import can_start_workers

pytestmark = pytest.mark.skipif(not can_start_workers(), reason="a second process is used on Linux only")

PIECES = 600_000  # more than what stands in the ring in one piece


def poured(path: Path, items: list[LayerItem], *, second_process: bool, parents: tuple[Path, ...] = ()) -> str:
    """Write the layer; returns the error, or nothing."""
    try:
        with LayerFolderWriter(path, second_process=second_process, parents=parents) as writer:
            for item in items:
                writer.write(item)
            writer.commit()
    except WclayerError as error:
        return f"{type(error).__name__}: {str(error).replace(str(path), 'HERE')}"
    return ""


def rows(path: Path) -> list[tuple[object, ...]]:
    """Everything the database says."""
    with closing(sqlite3.connect(f"file:{path}/layer.db?immutable=1", uri=True)) as database:
        tables = ("entry", "stream", "security", "notice", "notice_count", "layer")
        return [row for table in tables for row in database.execute(f"SELECT * FROM {table}")]


def state(path: Path) -> dict[str, tuple[object, ...]]:
    """What the file system shows of a tree, times included."""
    found: dict[str, tuple[object, ...]] = {}
    for name in sorted(tree(path)):
        if name not in ("layer.db", "layerchain.json"):
            status = (path / name).lstat()
            content = b"" if os.path.isdir(path / name) else (path / name).read_bytes()
            found[name] = (status.st_mode, status.st_mtime_ns, status.st_nlink if content else 0, content)
    return found


def everything() -> list[LayerItem]:
    items: list[LayerItem] = [
        folder("Files"),
        file("Files/a.txt", b"hello", last_write_time=132_000_000_000_000_000),
        file("Files/a.txt2", b""),
        file("Files/none", None),
        file("Files/large", os.urandom(PIECES)),
        file("Files/larger than the ring", bytes(range(256)) * ((RING + 5000) // 256)),
        sparse("Files/sparse", 1 << 20, (65536, b"a" * 4096), (1 << 19, b"b" * 10)),
        sparse("Files/all hole", 1 << 20),
        file("Files/synthesised/deeper/b", b"b"),
        folder("Files/synthesised", last_write_time=131_000_000_000_000_000),
        file("Files/" + "ü" * 200, b"long"),
        file("Files/\ud800", b"surrogate"),
        file("layer.db", b"mine"),
        file("Files/huge", b"0" * 70_000),
        alternate("Files/huge", ":stream:$DATA", b"x" * 70_000),
        alternate("Files/huge", ":small:$DATA", b"x"),
        symlink("Files/link"),
        HardLink("Files/second", "Files/a.txt", Metadata(0x20)),
        HardLink("Files/third", "files/SECOND", Metadata(0x20)),
        Tombstone("Files/gone"),
        *(file(f"Files/many/{number}", b"%d" % number) for number in range(1500)),
    ]
    for ordinal, item in enumerate(items):
        item.ordinal = ordinal
    return items


def test_the_layer_is_the_same_to_the_last_bit(tmp_path: Path) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    items = everything()
    assert poured(tmp_path / "1" / "layer", items, second_process=False) == ""
    assert poured(tmp_path / "2" / "layer", items, second_process=True) == ""
    assert state(tmp_path / "1" / "layer") == state(tmp_path / "2" / "layer")
    assert rows(tmp_path / "1" / "layer") == rows(tmp_path / "2" / "layer")
    assert read(tmp_path / "2" / "layer") == plain(items)
    with LayerFolder(tmp_path / "2" / "layer") as opened:
        assert verify_folder(opened) == []


def test_links_into_this_layer_and_into_a_parent_are_links(tmp_path: Path) -> None:
    assert poured(tmp_path / "base", [file("Files/p", b"parent")], second_process=True) == ""
    items: list[LayerItem] = [
        file("Files/a", b"1"),
        HardLink("Files/l1", "Files/a", Metadata()),
        HardLink("Files/p1", "Files/p", Metadata()),
        HardLink("Files/l2", "Files/a", Metadata()),
    ]
    layer = tmp_path / "layer"
    assert poured(layer, items, second_process=True, parents=(tmp_path / "base",)) == ""
    assert (layer / "Files/l1").samefile(layer / "Files/a")
    assert (layer / "Files/l2").samefile(layer / "Files/a")
    assert (layer / "Files/p1").samefile(tmp_path / "base/Files/p")


BAD: dict[str, list[LayerItem]] = {
    "a file twice": [file("a", b"1"), file("a", b"2")],
    "a file in place of a folder": [folder("a"), file("a", b"2")],
    "a folder in place of a file": [file("a", b"1"), folder("a")],
    "a folder twice": [folder("a"), folder("a")],
    "a file in place of a folder, and then the folder": [folder("a"), file("a", None), folder("a")],
    "below a file": [file("a", b"1"), file("a/b", b"2")],
    "below a link": [symlink("a", is_directory=True), file("a/b", b"2")],
    "a file twice, among many": [*(file(f"d/{n}", b"x") for n in range(200)), file("d/7"), file("d/7"), folder("d/8")],
    "a link to nothing": [HardLink("a", "b", Metadata())],
    "a link in a circle": [HardLink("a", "b", Metadata()), HardLink("b", "a", Metadata())],
    "less data than promised": [file("b"), sparse("s", 10, (2, b"abc")), file("b")],
    "ranges that overlap": [
        file("a"),
        Entry("f", Metadata(), data=Stream(10, lambda _stored: iter((b"1234",)), ((0, 2), (1, 2)))),
        file("b"),
    ],
    "too little": [file("a"), Entry("f", Metadata(), data=Stream(5, lambda _stored: iter((b"1234",))))],
    "too much": [file("a"), Entry("f", Metadata(), data=Stream(5, lambda _stored: iter((b"1234", b"56"))))],
    "too little of much": [Entry("f", Metadata(), data=Stream(1 << 20, lambda _stored: iter((b"1234",))))],
    "too much of much": [Entry("f", Metadata(), data=Stream(1 << 19, lambda _stored: iter((bytes(1 << 20),))))],
}


@pytest.mark.parametrize("what", BAD)
def test_errors_are_the_same_and_leave_nothing(tmp_path: Path, what: str) -> None:
    one = poured(tmp_path / "layer", BAD[what], second_process=False)
    two = poured(tmp_path / "layer", BAD[what], second_process=True)
    assert one
    assert one == two
    assert tree(tmp_path) == set()


_NAMES = st.sampled_from(["a", "A", "b", "a/b", "a/B", "a/b/c", "b/c", ".wcl-x", "layer.x"])
_ITEMS = st.one_of(
    st.builds(file, _NAMES, st.sampled_from([None, b"", b"1", bytes(5000)])),
    st.builds(folder, _NAMES),
    st.builds(lambda path, target: HardLink(path, target, Metadata()), _NAMES, _NAMES),
    st.builds(Tombstone, _NAMES),
    st.builds(lambda path: alternate(path, ":s:$DATA", bytes(66_000)), _NAMES),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(_ITEMS, max_size=8))
def test_whatever_the_layer_holds_both_ways_agree(
    tmp_path_factory: pytest.TempPathFactory, items: list[LayerItem]
) -> None:
    top = tmp_path_factory.mktemp("both")
    outcomes = []
    for second_process in (False, True):
        place = top / str(second_process)
        place.mkdir()
        error = poured(place / "layer", items, second_process=second_process)
        outcomes.append((error, None if error else (state(place / "layer"), rows(place / "layer"))))
    assert outcomes[0] == outcomes[1]


def test_an_earlier_error_comes_before_what_the_reader_met_later(tmp_path: Path) -> None:
    writer = LayerFolderWriter(tmp_path / "layer", second_process=True)
    writer.write(file("a", b"1"))
    writer.write(file("a", b"2"))
    for _again in range(2):
        with pytest.raises(WclayerError, match="duplicate entry"):
            writer.settle()
    writer.abort()
    assert tree(tmp_path) == set()


def processes_of(parent: int) -> list[int]:
    """The living children of a process."""
    with open(f"/proc/{parent}/task/{parent}/children", encoding="ascii") as listed:
        return [int(number) for number in listed.read().split()]


def is_alive(process: int) -> bool:
    """Whether it runs; one that ended and that nobody asked about does not."""
    try:
        with open(f"/proc/{process}/stat", encoding="ascii") as status:
            return status.read().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_that_dies_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    before = set(processes_of(os.getpid()))
    writer = LayerFolderWriter(tmp_path / "layer", second_process=True)
    (child,) = set(processes_of(os.getpid())) - before
    writer.write(file("a", b"1"))
    os.kill(child, signal.SIGKILL)
    many = [file(f"b{number}", b"1") for number in range(10_000)]
    with pytest.raises(StoreError, match=r"ended by itself.*SIGKILL"):
        copy_layer(many, writer)
    writer.abort()
    assert tree(tmp_path) == set()
    assert set(processes_of(os.getpid())) == before


def test_no_process_and_no_descriptor_is_left_over(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")), processes_of(os.getpid())
    poured(tmp_path / "layer", everything(), second_process=True)
    poured(tmp_path / "bad", BAD["a file twice"], second_process=True)
    LayerFolderWriter(tmp_path / "aborted", second_process=True).abort()
    assert (len(os.listdir("/proc/self/fd")), processes_of(os.getpid())) == before


def test_when_the_first_process_is_killed_the_second_ends_too(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from wclayer.formats.folder import LayerFolderWriter\n"
        "from tests.formats.folder.layers import file\n"
        "writer = LayerFolderWriter(Path(sys.argv[1]), second_process=True)\n"
        "for number in range(500): writer.write(file(str(number), b'x'))\n"
        "print('there', flush=True); time.sleep(600)"
    )
    here = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here), *sys.path])}
    with subprocess.Popen(
        [sys.executable, "-c", script, tmp_path / "layer"], stdout=subprocess.PIPE, env=environment
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"there\n"
        (second,) = processes_of(first.pid)
        first.kill()
    deadline = time.monotonic() + 60
    while is_alive(second) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_alive(second)
    assert poured(tmp_path / "layer", [file("a")], second_process=False) == ""


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may become larger; a process started meanwhile is bound to this too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [60_000, PIECES])
def test_a_full_disk_names_the_file(tmp_path: Path, size: int) -> None:
    items = [file("Files/small", b"1"), file("Files/large", bytes(size)), file("Files/after", b"1")]
    with largest_file(50_000):
        one = poured(tmp_path / "layer", items, second_process=False)
        two = poured(tmp_path / "layer", items, second_process=True)
    assert "Files/large" in one
    assert one == two
    assert tree(tmp_path) == set()


def test_where_no_process_can_be_started_this_one_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    before = len(os.listdir("/proc/self/fd"))
    assert poured(tmp_path / "layer", [file("a", b"1")], second_process=True) == ""
    assert (tmp_path / "layer" / "a").read_bytes() == b"1"
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.replaces_methods
def test_where_cases_are_not_told_apart_this_process_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.formats.folder.tree.HostTree._probe", lambda _tree: True)
    writer = LayerFolderWriter(tmp_path / "layer", second_process=True)
    assert not isinstance(writer._tree, RemoteTree)
    writer.abort()


class Worker:
    """The other side, in a thread of this process, where it can be looked at."""

    def __init__(self, root: Path) -> None:
        self.ring = bytearray(RING)
        here, there = socket.socketpair()
        self.root = os.open(root, os.O_RDONLY)
        self.connection = here
        self.worker = TreeWorker(there, memoryview(self.ring), self.root, "the layer")
        self.thread = threading.Thread(target=self._run, args=(there,))
        self.thread.start()

    def _run(self, there: socket.socket) -> None:
        with there:
            self.worker.run()

    def ask(self, *jobs: Job) -> Answer:
        self.connection.sendall(encode(list(jobs)))
        with self.connection.makefile("rb") as answers:
            (length,) = LENGTH.unpack(answers.read(LENGTH.size))
            answer: Answer = marshal.loads(answers.read(length))  # noqa: S302 - ours
            return answer

    def close(self) -> None:
        self.connection.close()
        self.thread.join()
        os.close(self.root)


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Worker]:
    made = Worker(tmp_path)
    yield made
    made.close()


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that takes no name with ``bad`` in it."""
    for name in ("create", "make_directory"):
        real = getattr(Door, name)

        def maybe(door: Door, parent: bytes, leaf: bytes, real: Callable[..., object] = real) -> object:
            if b"bad" in leaf:
                raise NameRefusedError("not in my encoding")
            return real(door, parent, leaf)

        monkeypatch.setattr(Door, name, maybe)


@pytest.mark.replaces_methods
@pytest.mark.usefixtures("refusing")
def test_a_refused_name_gets_another_and_all_below_a_folder_follow(tmp_path: Path, worker: Worker) -> None:
    results, renamed, failure = worker.ask(
        (FOLDER, b"", b"bad", None),
        (FOLDER, b"bad", b"inner", 132_000_000_000_000_000),
        (FILE, b"bad/inner", b"bad file", None, 0, 3),
        (DATE, b"bad", 131_000_000_000_000_000),
        (SEAL, 0o700),
    )
    assert failure is None
    assert results == [None, None, zlib.crc32(bytes(3)), None]
    (first, outer), (third, leaf) = renamed
    assert (first, third) == (0, 2)
    assert (tmp_path / outer.decode() / "inner" / leaf.decode()).read_bytes() == bytes(3)
    for name, filetime in (
        (outer.decode(), 131_000_000_000_000_000),
        (outer.decode() + "/inner", 132_000_000_000_000_000),
    ):
        status = (tmp_path / name).stat()
        assert (stat.S_IMODE(status.st_mode), status.st_mtime_ns) == (0o700, host_times(filetime)[1])


@pytest.mark.replaces_methods
@pytest.mark.usefixtures("refusing")
def test_a_refused_name_is_told_when_its_data_is_there(tmp_path: Path, worker: Worker) -> None:
    worker.ring[:6] = b"abcdef"
    opened = worker.ask((FOLDER, b"", b"d", None), (OPEN, b"", b"bad", None, 6, None, "bad"), (PIECE, 0, 3))
    assert opened == ([None], [], None)
    results, ((place, leaf),), failure = worker.ask((PIECE, 3, 3))
    assert (results, place, failure) == ([zlib.crc32(b"abcdef")], 0, None)
    assert (tmp_path / leaf.decode()).read_bytes() == b"abcdef"


def test_bytes_are_hashed_while_a_file_is_poured_and_digests_are_told_once(tmp_path: Path, worker: Worker) -> None:
    worker.ring[:9] = b"abcdefghi"
    begun = worker.ask(
        (HASH, 1, "sha256", 0, 4), (OPEN, b"", b"f", None, 6, None, "f"), (PIECE, 0, 3), (HASH, 2, "sha512", 6, 3)
    )
    assert begun == ([], [], None)
    results, _, failure = worker.ask((HASH, 1, "sha256", 4, 5), (PIECE, 3, 3), (DIGEST, 1), (DIGEST, 2))
    sums = [hashlib.sha256(b"abcdefghi").hexdigest(), hashlib.sha512(b"ghi").hexdigest()]
    assert (results, failure) == ([zlib.crc32(b"abcdef"), *sums], None)
    assert (tmp_path / "f").read_bytes() == b"abcdef"
    assert worker.ask((HASH, 1, "sha256", 0, 1), (DIGEST, 1)) == ([hashlib.sha256(b"a").hexdigest()], [], None)


@pytest.mark.replaces_methods
@pytest.mark.usefixtures("refusing")
def test_where_the_system_refuses_names_the_index_knows_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(arguments: list[str], *, pass_fds: tuple[int, int, int], **_options: object) -> Thread:
        connection, memory, root = map(os.dup, pass_fds)
        held.callback(os.close, root)
        thread = Thread(target=main, args=(connection, memory, root, "the layer", 0o755))
        thread.start()
        return thread

    class Thread(threading.Thread):
        pid = 0

        def wait(self) -> int:
            self.join()
            return 0

    monkeypatch.setattr(subprocess, "Popen", start)
    items: list[LayerItem] = [
        folder("bad folder"),
        file("bad folder/bad small", b"1"),
        file("bad folder/bad large", bytes(PIECES)),
        file("good", b"2"),
        HardLink("bad folder/bad link", "good"),
        HardLink("link", "bad folder/bad small"),
    ]
    with ExitStack() as held, LayerFolderWriter(tmp_path / "layer", second_process=True) as writer:
        assert isinstance(writer._tree, RemoteTree)
        copy_layer(items, writer)
    assert read(tmp_path / "layer") == plain(items)


@pytest.mark.replaces_methods
def test_where_the_system_cannot_link_the_file_is_copied(
    tmp_path: Path, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Door, "link", lambda *_arguments, **_options: False)
    worker.ring[:3] = b"abc"
    _, _, failure = worker.ask(
        (FILE, b"", b"a", 132_000_000_000_000_000, 0, 3), (LINK, b"", b"l", b"", b"a", 3, None, "l")
    )
    assert failure is None
    assert (tmp_path / "l").read_bytes() == b"abc"
    link, file = (tmp_path / "l").stat(), (tmp_path / "a").stat()
    assert link.st_ino != file.st_ino
    assert link.st_mtime_ns == file.st_mtime_ns == host_times(132_000_000_000_000_000)[1]


@pytest.mark.parametrize("leaf", [b"..", b"a/b", b"", b".", b"a\0"])
def test_nothing_is_made_outside(tmp_path: Path, worker: Worker, leaf: bytes) -> None:
    _, _, failure = worker.ask((FILE, b"", leaf, None, 0, 0))
    assert failure is not None
    assert tree(tmp_path) == set()


def test_a_folder_that_became_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "layer").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "layer" / "d").symlink_to(tmp_path / "outside")
    worker = Worker(tmp_path / "layer")
    _, _, failure = worker.ask((FILE, b"d", b"f", None, 0, 0))
    worker.close()
    assert failure is not None
    assert os.listdir(tmp_path / "outside") == []
