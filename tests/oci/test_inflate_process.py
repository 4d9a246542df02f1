"""A blob is inflated by another process: the same bytes, digests and errors, and nothing left of it."""

from __future__ import annotations

import gc
import gzip
import os
import random
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from io import FileIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.children import workers_of
from tests.oci.samples import Source
from tests.open_files import open_files
from wclayer.errors import DigestMismatchError, FormatError, LimitError, StoreError, WclayerError
from wclayer.formats.folder.shared_memory import SharedMemory
from wclayer.oci import Limits, open_layer
from wclayer.oci.digests import digest_of
from wclayer.oci.engines import zstd
from wclayer.oci.sources import SharedFile, open_file
from wclayer.oci.workers import SLAB_SIZE, SLABS
from wclayer.processes import can_start_workers

pytestmark = pytest.mark.skipif(not can_start_workers(), reason="another process is used on Linux only")

CHANCE = random.Random(5)
LARGE = b"".join(CHANCE.randbytes(1000) + bytes(9000) for _ in range(3000))  # 30 MB: more than all slabs hold


def checked(data: bytes) -> bytes:
    return zstd.compress(data, options={zstd.CompressionParameter.checksum_flag: 1})


PACKERS: dict[str, Callable[[bytes], bytes]] = {"gzip": lambda data: gzip.compress(data, 1), "zstd": checked}


def workers() -> list[int]:
    return workers_of("inflate_worker")


def files() -> list[str]:
    """What is open but for the memory of ``keeper``, which pytest has longer than the test."""
    return [file for file in open_files() if "memfd" not in file]


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    threads, before = set(threading.enumerate()), files()
    yield
    assert files() == before
    assert set(threading.enumerate()) <= threads
    assert not workers()


@pytest.fixture(autouse=True)
def anything_is_worth_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.oci.inflate_process._WORTH_MORE", 0)


@pytest.fixture
def keeper() -> Iterator[SharedMemory]:
    memory = SharedMemory(SLABS * SLAB_SIZE, inflated_apart=True)
    yield memory
    memory.close()


@pytest.fixture(params=PACKERS)
def packed(request: pytest.FixtureRequest) -> Callable[[bytes], bytes]:
    return PACKERS[request.param]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def content(stream: Any) -> bytes:
    return b"".join(bytes(slab) for slab in stream)


@pytest.mark.parametrize("data", [b"", b"small layer", bytes(3 * SLAB_SIZE), LARGE], ids=len)
@pytest.mark.parametrize(("blob_algorithm", "diff_algorithm"), [("sha256", "sha512"), ("sha512", "sha256")])
def test_content_digests_and_sizes(
    tmp_path: Path,
    keeper: SharedMemory,
    packed: Callable[[bytes], bytes],
    data: bytes,
    blob_algorithm: str,
    diff_algorithm: str,
) -> None:
    blob = packed(data)
    digest, diff_id = digest_of(blob, blob_algorithm), digest_of(data, diff_algorithm)
    source = open_file(write(tmp_path / "blob", blob))
    with open_layer(
        source, descriptor_digest=digest, descriptor_size=len(blob), diff_id=diff_id, keeper=keeper
    ) as stream:
        assert workers()
        assert content(stream) == data
        stream.finish()
        assert (stream.blob_digest, stream.blob_size) == (digest, len(blob))
        assert (stream.diff_id, stream.uncompressed_size) == (diff_id, len(data))
        assert stream.consumed == len(blob)
    assert source.closed


@settings(max_examples=20, deadline=None)
@given(
    parts=st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 4 * SLAB_SIZE // 9)), max_size=8),
    name=st.sampled_from(sorted(PACKERS)),
    before=st.binary(max_size=5),
    digests=st.booleans(),
)
def test_any_members_anywhere_in_a_file(
    tmp_path_factory: Any, parts: list[tuple[bytes, int]], name: str, before: bytes, digests: bool
) -> None:
    members = [part * times for part, times in parts]
    blob = b"".join(map(PACKERS[name], members)) or PACKERS[name](b"")
    path = write(tmp_path_factory.mktemp("any") / "archive", before + blob + b"and what follows it")
    memory, archive = SharedMemory(SLABS * SLAB_SIZE, inflated_apart=True), SharedFile(open_file(path))
    with (
        closing(memory) as keeper,
        closing(archive),
        open_layer(archive.section(len(before), len(blob)), keeper=keeper, digests=digests) as stream,
    ):
        assert workers()
        assert content(stream) == b"".join(members)
        stream.finish()
        if digests:
            assert (stream.blob_digest, stream.diff_id) == (digest_of(blob), digest_of(b"".join(members)))
        else:
            with pytest.raises(ValueError, match="nobody asked"):
                _ = stream.diff_id


def test_a_slab_stays_until_it_is_given_back(tmp_path: Path, keeper: SharedMemory) -> None:
    held: list[Callable[[], None]] = []

    class Borrower:
        def hold(self, release: Callable[[], None], /) -> None:
            held.append(release)
            if len(held) == SLABS - 1:  # the stream may have the last one
                check()
                while held:
                    held.pop()()

    seen: dict[int, bytes] = {}

    def check() -> None:
        for place, data in seen.items():
            assert keeper.all[place : place + len(data)] == data
        seen.clear()

    keeper.lend(Borrower())
    blob = gzip.compress(LARGE, 1)
    with open_layer(open_file(write(tmp_path / "blob", blob)), keeper=keeper) as stream:
        for slab in stream:
            seen[keeper.place()] = bytes(slab)
        stream.finish()
    check()
    while held:
        held.pop()()  # nobody is there to take it
    assert stream.diff_id == digest_of(LARGE)


def test_what_was_read_of_a_file_before_does_not_belong_to_it(tmp_path: Path, keeper: SharedMemory) -> None:
    """As of standard input that somebody began to read."""
    with write(tmp_path / "file", b"head" + gzip.compress(LARGE, 1)).open("rb", buffering=0) as file:
        assert file.read(4) == b"head"
        with open_layer(file, keeper=keeper) as stream:
            assert workers()
            assert content(stream) == LARGE


def damaged(blob: bytes) -> bytes:
    middle = len(blob) // 2
    return blob[:middle] + bytes(1000) + blob[middle + 1000 :]


BAD: dict[str, tuple[type[WclayerError], Callable[[bytes], bytes], dict[str, Any]]] = {
    "another blob": (DigestMismatchError, bytes, {"descriptor_digest": digest_of(b"x")}),
    "another tar": (DigestMismatchError, bytes, {"diff_id": digest_of(b"x")}),
    "longer": (DigestMismatchError, bytes, {"descriptor_size": 1_000_000}),
    "shorter": (DigestMismatchError, bytes, {"descriptor_size": 1 << 40}),
    "cut": (FormatError, lambda blob: blob[:-100], {}),
    "damaged": (FormatError, damaged, {}),
    "rubbish behind it": (FormatError, lambda blob: blob + b"rubbish", {}),
    "too much": (LimitError, bytes, {"limits": Limits(output=9 * SLAB_SIZE)}),
    "a bomb": (LimitError, bytes, {"limits": Limits(ratio=2, ratio_after=SLAB_SIZE)}),
}


@pytest.mark.parametrize("what", BAD)
def test_errors_are_those_of_one_process(
    tmp_path: Path, keeper: SharedMemory, packed: Callable[[bytes], bytes], what: str
) -> None:
    kind, change, promised = BAD[what]
    path = write(tmp_path / "blob", change(packed(LARGE)))
    said = []
    for who in (keeper, None):
        with open_layer(open_file(path), keeper=who, layer="1 of 1", **promised) as stream:
            assert bool(workers()) == (who is not None)
            errors = []
            for _ in range(2):
                with pytest.raises(kind) as error:
                    stream.finish()
                errors.append(error.value)
            assert errors[0] is errors[1]
            assert errors[0].layer == "1 of 1"
        # How much of the blob was read by then depends on who reads it.
        said.append((re.sub(r"bomb: \d+", "", str(errors[0])), getattr(errors[0], "kind", None)))
    assert said[0] == said[1]


def test_a_file_that_is_cut_meanwhile_is_an_error(keeper: SharedMemory, tmp_path: Path) -> None:
    with write(tmp_path / "blob", gzip.compress(LARGE, 1)).open("r+b", buffering=0) as file:
        stream = open_layer(file, keeper=keeper)
        (worker,) = workers()
        next(stream)
        os.kill(worker, signal.SIGSTOP)
        os.truncate(file.fileno(), 0)
        os.kill(worker, signal.SIGCONT)
        with stream, pytest.raises(FormatError, match="ends inside its last gzip member"):
            stream.finish()


def test_only_what_is_compressed_in_a_file_and_long_enough(
    tmp_path: Path, keeper: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = gzip.compress(LARGE, 1)
    path = write(tmp_path / "blob", blob)
    other = SharedMemory(SLABS * SLAB_SIZE)
    cases: list[tuple[Any, bytes, dict[str, Any]]] = [
        (open_file(write(tmp_path / "tar", LARGE)), LARGE, {"keeper": keeper}),
        (Source(blob), LARGE, {"keeper": keeper}),
        (open_file(path), LARGE, {"keeper": keeper, "threads": False}),
        (open_file(path), LARGE, {"keeper": other}),
        (open_file(path), LARGE, {}),
    ]
    for source, data, options in cases:
        with open_layer(source, **options) as stream:
            assert not workers()
            assert content(stream) == data
    other.close()
    monkeypatch.setattr("wclayer.oci.inflate_process._WORTH_MORE", len(blob) + 1)
    with open_layer(open_file(path), keeper=keeper) as stream:
        assert not workers()
    monkeypatch.setattr("wclayer.oci.inflate_process._WORTH_MORE", len(blob))
    with open_layer(open_file(path), keeper=keeper) as stream:
        assert workers()


@pytest.mark.parametrize(("module", "name"), [(subprocess, "Popen"), (os, "dup"), (socket, "socketpair")])
def test_where_no_process_can_be_had_threads_do_the_same(
    tmp_path: Path, keeper: SharedMemory, monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise OSError(24, "too many of them")

    path = write(tmp_path / "blob", gzip.compress(LARGE, 1))
    monkeypatch.setattr(module, name, none)
    with open_layer(open_file(path), keeper=keeper) as stream:
        assert not workers()
        assert content(stream) == LARGE
        stream.finish()
    assert stream.diff_id == digest_of(LARGE)


def test_a_process_that_is_killed_is_an_error(tmp_path: Path, keeper: SharedMemory) -> None:
    source = open_file(write(tmp_path / "blob", gzip.compress(LARGE, 1)))
    with open_layer(source, keeper=keeper) as stream:
        next(stream)
        (worker,) = workers()
        os.kill(worker, signal.SIGKILL)
        for _ in range(2):
            with pytest.raises(StoreError, match=r"inflates the layer ended by itself \(SIGKILL\)"):
                stream.finish()


def test_a_stream_may_be_closed_at_any_time(tmp_path: Path, keeper: SharedMemory) -> None:
    path = write(tmp_path / "blob", gzip.compress(LARGE, 1))
    for count in (0, 1, 5, 31):
        stream = open_layer(open_file(path), keeper=keeper)
        for _ in range(count):
            next(stream, None)
        stream.close()
        stream.close()
        assert not workers()
        with pytest.raises(ValueError, match="closed"):
            next(stream)


def test_a_stream_that_nobody_closed_leaves_no_process(tmp_path: Path, keeper: SharedMemory) -> None:
    with FileIO(write(tmp_path / "blob", gzip.compress(LARGE, 1))) as file:
        stream = open_layer(file, keeper=keeper)
        next(stream)
        assert workers()
        del stream
        gc.collect()
        assert not workers()


def test_an_interruption_while_it_starts_leaves_nothing(
    tmp_path: Path, keeper: SharedMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with (
        write(tmp_path / "blob", gzip.compress(LARGE, 1)).open("rb", buffering=0) as file,
        pytest.raises(KeyboardInterrupt),
    ):
        open_layer(file, keeper=keeper)
