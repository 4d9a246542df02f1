"""Slabs that both processes see: the same layer, the same errors, and no slab is given back while somebody reads it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.open_files import open_files
from wclayer.errors import FormatError, StoreError, UnsafeEntryError, WclayerError
from wclayer.formats.folder import LayerFolder, verify_folder
from wclayer.formats.folder.shared_memory import SharedMemory, SlabHash
from wclayer.formats.tar import TarLayerWriter
from wclayer.image import importing
from wclayer.image.importing import Pour, slab_memory
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream
from wclayer.oci import Digest, open_layer
from wclayer.oci.engines import zstd
from wclayer.oci.workers import SLAB_SIZE
from wclayer.processes import can_start_workers

pytestmark = pytest.mark.skipif(not can_start_workers(), reason="a second process is used on Linux only")


@pytest.fixture(params=[2, 4], ids=["few processors", "many processors"], autouse=True)
def processors(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """With few the second process also hashes; with more, threads of this one do."""
    count: int = request.param
    monkeypatch.setattr(importing, "usable_processors", lambda: count)
    return count


def file(path: str, data: bytes, ranges: tuple[tuple[int, int], ...] | None = None, size: int | None = None) -> Entry:
    stream = Stream(len(data) if size is None else size, lambda _stored: iter((data,) if data else ()), ranges)
    return Entry(path, Metadata(0x20, 1, 2, 3, 4), data=stream)


def blob(items: list[LayerItem]) -> bytes:
    pieces = io.BytesIO()
    tar = TarLayerWriter(pieces.write)
    for item in items:
        tar.write(item)
    tar.commit()
    return gzip.compress(pieces.getvalue(), 1)


def poured(
    place: Path, data: bytes, *, shared: bool, digest: Digest | None = None, diff_id: Digest | None = None
) -> str:
    """Pour the layer into ``place``; returns the error, or nothing."""
    memory = slab_memory(None) if shared else None
    stream = open_layer(io.BytesIO(data), descriptor_digest=digest, diff_id=diff_id, keeper=memory)
    try:
        with Pour(stream, place, memory=memory) as pour:
            pour.run()
            pour.commit((), None, {})
    except WclayerError as error:
        return f"{type(error).__name__}: {str(error).replace(str(place), 'HERE')}"
    return ""


def state(place: Path) -> object:
    with closing(sqlite3.connect(f"file:{place}/layer.db?immutable=1", uri=True)) as database:
        rows = [row for table in ("entry", "stream", "layer") for row in database.execute(f"SELECT * FROM {table}")]
    files = {
        os.path.join(where, name): Path(where, name).read_bytes()
        for where, _, names in os.walk(place / "Files")
        for name in names
    }
    return rows, {name.removeprefix(str(place)): content for name, content in files.items()}


def both(tmp_path: Path, items: list[LayerItem]) -> None:
    data = blob(items)
    assert poured(tmp_path / "one", data, shared=False) == ""
    assert poured(tmp_path / "two", data, shared=True) == ""
    assert state(tmp_path / "one") == state(tmp_path / "two")
    with LayerFolder(tmp_path / "two") as layer:
        assert verify_folder(layer) == []


def test_files_in_one_slab_across_slabs_and_over_many(tmp_path: Path) -> None:
    chance = random.Random(1)
    sizes = [0, 1, 511, 512, SLAB_SIZE - 1536, SLAB_SIZE, SLAB_SIZE + 1, 5 * SLAB_SIZE + 77, 40 * SLAB_SIZE]
    sizes += [chance.randrange(1, 200_000) for _ in range(400)]
    items: list[LayerItem] = [file(f"Files/{n}", chance.randbytes(size)) for n, size in enumerate(sizes)]
    items.append(HardLink("Files/again", "Files/5", Metadata(0x20)))
    both(tmp_path, items)


def test_streams_and_sparse_files(tmp_path: Path) -> None:
    chance = random.Random(2)
    content = chance.randbytes(3 * SLAB_SIZE)
    items: list[LayerItem] = []
    for number in range(6):
        items.append(file(f"Files/{number}", chance.randbytes(300_000)))
        data = chance.randbytes(70_000 + 400_000 * number)
        stream = Stream(len(data), lambda _stored, data=data: iter((data,)))  # type: ignore[misc]
        items.append(AlternateStream(f"Files/{number}", ":more:$DATA", stream))
        ranges = ((4096, 1000), (1 << 20, 2 * SLAB_SIZE - number))
        stored = content[: sum(length for _, length in ranges)]
        items.append(file(f"Files/sparse{number}", stored, ranges, 8 << 20))
    both(tmp_path, items)


@given(sizes=st.lists(st.integers(0, 3 * SLAB_SIZE), max_size=12), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_the_sizes_the_layer_is_the_same(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], seed: int
) -> None:
    chance = random.Random(seed)
    both(tmp_path_factory.mktemp("x"), [file(f"Files/{n}", chance.randbytes(size)) for n, size in enumerate(sizes)])


def twice() -> list[LayerItem]:
    middle: list[LayerItem] = [file(f"Files/{n}", bytes(100_000)) for n in range(300)]
    return [file("Files/a", b"1"), *middle[:150], file("Files/a", b"2"), *middle[150:]]


def cut(data: bytes) -> bytes:
    return gzip.compress(gzip.decompress(data)[: 25 * SLAB_SIZE + 100], 1)


BAD: dict[str, tuple[Callable[[], bytes], type[WclayerError]]] = {
    "a file twice": (lambda: blob(twice()), UnsafeEntryError),
    "cut inside a file": (lambda: cut(blob([file("Files/a", random.Random(3).randbytes(40 << 20))])), FormatError),
    "cut inside gzip": (lambda: blob([file("Files/a", random.Random(4).randbytes(20 << 20))])[:-999_999], FormatError),
}


@pytest.mark.parametrize("what", BAD)
def test_errors_are_the_same_and_leave_nothing(tmp_path: Path, what: str) -> None:
    make, kind = BAD[what]
    data = make()
    one = poured(tmp_path / "layer", data, shared=False)
    assert one.startswith(kind.__name__)
    assert poured(tmp_path / "layer", data, shared=True) == one
    assert os.listdir(tmp_path) == []


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstd.compress(data, 1),
    "none": bytes,
}


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("compression", PACKED)
def test_both_digests_are_verified_whatever_they_are_of(tmp_path: Path, compression: str, algorithm: str) -> None:
    tar = gzip.decompress(blob([file("Files/a", random.Random(5).randbytes(12 * SLAB_SIZE))]))
    data = PACKED[compression](tar)
    promised, diff_id = (Digest(algorithm, hashlib.new(algorithm, content).hexdigest()) for content in (data, tar))
    wrong = Digest(algorithm, hashlib.new(algorithm, b"other").hexdigest())
    assert poured(tmp_path / "layer", data, shared=True, digest=promised, diff_id=diff_id) == ""
    for case in ({"digest": wrong, "diff_id": diff_id}, {"digest": promised, "diff_id": wrong}):
        error = poured(tmp_path / "bad", data, shared=True, **case)
        assert error.startswith("DigestMismatchError")
        assert f"{wrong} was promised" in error
    assert os.listdir(tmp_path) == ["layer"]


@pytest.mark.parametrize(("size", "own"), [(3_000, True), (200_000, False)])
def test_the_blob_is_hashed_by_the_process_that_has_less_to_do(
    tmp_path: Path, size: int, own: bool, processors: int
) -> None:
    """Many small files take the other one longer; what it does not hash itself is still verified."""
    chance = random.Random(6)
    data = blob([file(f"Files/{n}", chance.randbytes(size)) for n in range(20 * SLAB_SIZE // size)])
    promised = Digest("sha256", hashlib.sha256(data).hexdigest())
    wrong = Digest("sha256", hashlib.sha256(b"other").hexdigest())
    memory = slab_memory(None)
    with open_layer(io.BytesIO(data), descriptor_digest=promised, keeper=memory) as stream:
        with Pour(stream, tmp_path / "layer", memory=memory) as pour:
            pour.run()
            assert pour.poured.blob_digest == promised
        if processors == 2:
            known = stream._blob_hash
            assert isinstance(known, SlabHash)
            assert known._is_own == own
    error = poured(tmp_path / "bad", data, shared=True, digest=wrong)
    assert error.startswith("DigestMismatchError")
    assert os.listdir(tmp_path) == []


def test_without_the_other_process_this_one_hashes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> None:
        raise OSError("too many processes")

    data = blob([file(f"Files/{n}", bytes(500_000)) for n in range(50)])
    assert poured(tmp_path / "one", data, shared=True) == ""
    monkeypatch.setattr(subprocess, "Popen", refuse)
    assert poured(tmp_path / "two", data, shared=True) == ""
    assert state(tmp_path / "one") == state(tmp_path / "two")


def test_an_empty_blob_has_the_digest_of_nothing(tmp_path: Path) -> None:
    assert poured(tmp_path / "one", b"", shared=False) == ""
    assert poured(tmp_path / "two", b"", shared=True) == ""
    assert state(tmp_path / "one") == state(tmp_path / "two")


def test_a_digest_is_not_told_when_its_process_is_gone() -> None:
    class Gone:
        jobs = 0

        def hold(self, release: Callable[[], None]) -> None: ...
        def hash(self, number: int, algorithm: str, offset: int, length: int) -> None: ...
        def hash_copy(self, number: int, algorithm: str, data: bytes) -> None: ...
        def digest(self, number: int) -> str: ...  # type: ignore[empty-body]

    memory = SharedMemory(SLAB_SIZE, hashes=True)
    known = memory.new_hash("sha256")
    memory.attach(Gone())
    known.update(0, 100)
    memory.forget()
    with pytest.raises(ValueError, match="gone"):
        known.update(100, 100)
    with pytest.raises(ValueError, match="gone"):
        known.hexdigest()
    memory.close()


def test_a_process_that_dies_ends_the_layer_whatever_slabs_it_had(tmp_path: Path) -> None:
    memory = slab_memory(None)
    items: list[LayerItem] = [file(f"Files/{n}", bytes(500_000)) for n in range(200)]
    stream = open_layer(io.BytesIO(blob(items)), keeper=memory)
    with Pour(stream, tmp_path / "layer", memory=memory) as pour:
        pour.writer._tree._process.kill(10)  # type: ignore[attr-defined]
        with pytest.raises((StoreError, ConnectionError)):
            pour.run()
    assert os.listdir(tmp_path) == []


def test_a_stream_nobody_reads_on_can_be_closed_while_slabs_are_held(tmp_path: Path) -> None:
    memory = slab_memory(None)
    items: list[LayerItem] = [file(f"Files/{n}", bytes(500_000)) for n in range(200)]

    class Enough(Exception):
        pass

    class Impatient:
        total = 0

        def expect(self, parts: int, total: int | None) -> None: ...
        def begin(self, part: str) -> None: ...
        def end(self, part: str) -> None: ...
        def advance(self, part: str, count: int) -> None:  # noqa: ARG002 - the protocol's signature
            self.total += count
            if self.total > 1000:
                raise Enough

    stream = open_layer(io.BytesIO(blob(items)), keeper=memory)
    with pytest.raises(Enough), Pour(stream, tmp_path / "layer", memory=memory) as pour:
        pour.run(Impatient())
    assert os.listdir(tmp_path) == []


@pytest.fixture
def no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_room: int, **_options: object) -> None:
        raise OSError("no such memory")

    monkeypatch.setattr(importing, "SharedMemory", refuse)


def test_where_there_is_no_such_memory_one_process_does_it(no_memory: None) -> None:
    assert slab_memory(None) is None


def test_no_descriptor_is_left_over(tmp_path: Path) -> None:
    poured(tmp_path / "a", blob([file("Files/a", b"x")]), shared=True)
    before = open_files()
    poured(tmp_path / "b", blob([file("Files/a", b"x")]), shared=True)
    assert open_files() == before
    poured(tmp_path / "bad", BAD["a file twice"][0](), shared=True)
    assert open_files() == before
