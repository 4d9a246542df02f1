from __future__ import annotations

import gc
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.children import workers_of
from tests.open_files import open_files
from wclayer.errors import StoreError
from wclayer.oci import CompressedWriter
from wclayer.oci.digests import digest_of
from wclayer.oci.outflow import SLAB_SIZE
from wclayer.processes import can_start_workers

pytestmark = pytest.mark.skipif(not can_start_workers(), reason="another process is used on Linux only")

MUCH = 80 * SLAB_SIZE
"""More than there is memory for: somebody must have taken some of it."""


def workers() -> list[int]:
    return workers_of("outflow_worker")


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    threads, descriptors = set(threading.enumerate()), open_files()
    yield
    assert set(threading.enumerate()) <= threads
    assert not workers()
    assert open_files() == descriptors


def pieces_of(size: int) -> Iterator[bytes]:
    """So many bytes in pieces of many lengths, all of them different."""
    number = 0
    while size:
        piece = hashlib.sha256(str(number).encode()).digest() * (1 + number * 7 % 3000)
        piece = piece[:size]
        yield piece
        size -= len(piece)
        number += 1


@pytest.mark.parametrize(
    ("size", "is_apart"),
    [(0, False), (1, False), (SLAB_SIZE, False), (32 * SLAB_SIZE - 1, False), (32 * SLAB_SIZE, True), (MUCH, True)],
)
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_everything_is_written_and_hashed(tmp_path: Path, size: int, is_apart: bool, algorithm: str) -> None:
    content = b"".join(pieces_of(size))
    with (tmp_path / "tar").open("wb", buffering=0) as file:
        with CompressedWriter(file, "none", algorithm=algorithm, apart=True) as writer:
            for piece in pieces_of(size):
                writer.write(piece)
            assert bool(workers()) == is_apart
        assert file.tell() == size  # who goes on writing goes on behind it
    assert (tmp_path / "tar").read_bytes() == content
    assert writer.diff_id == writer.blob_digest == digest_of(content, algorithm)
    assert writer.uncompressed_size == writer.blob_size == size


@settings(max_examples=15)
@given(st.lists(st.tuples(st.binary(min_size=1, max_size=9), st.integers(0, 8 * SLAB_SIZE // 9)), max_size=30))
def test_any_pieces_come_out_in_order(tmp_path_factory: Any, parts: list[tuple[bytes, int]]) -> None:
    path = tmp_path_factory.mktemp("any") / "tar"
    with path.open("wb", buffering=0) as file, CompressedWriter(file, "none", apart=True) as writer:
        for part, times in parts:
            writer.write(part * times)
    expected = b"".join(part * times for part, times in parts)
    assert path.read_bytes() == expected
    assert writer.diff_id == digest_of(expected)


def test_a_piece_may_change_after_it_was_taken(tmp_path: Path) -> None:
    piece = bytearray(SLAB_SIZE // 2)
    with (tmp_path / "tar").open("wb", buffering=0) as file, CompressedWriter(file, "none", apart=True) as writer:
        for number in range(200):
            piece[:] = bytes([number]) * len(piece)
            writer.write(memoryview(piece))
    expected = b"".join(bytes([number]) * len(piece) for number in range(200))
    assert (tmp_path / "tar").read_bytes() == expected


def test_what_is_compressed_or_no_file_is_left_to_threads(tmp_path: Path) -> None:
    class Sink:
        def write(self, data: bytes | bytearray | memoryview, /) -> int:
            return len(data)

    with (tmp_path / "tar").open("wb", buffering=0) as file:
        for writer in (CompressedWriter(file, "gzip", apart=True), CompressedWriter(Sink(), "none", apart=True)):
            with writer:
                writer.write(bytes(MUCH))
                assert not workers()
            assert writer.diff_id == digest_of(bytes(MUCH))


@pytest.mark.parametrize("size", [100, MUCH])
def test_a_full_disk_is_a_store_error(size: int) -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(StoreError, match="cannot write /dev/full: No space left"),
        CompressedWriter(full, "none", apart=True) as writer,
    ):
        writer.write(bytes(size))


def test_an_error_is_told_before_the_end_and_with_every_further_piece() -> None:
    with Path("/dev/full").open("wb", buffering=0) as full:
        writer = CompressedWriter(full, "none", apart=True)
        for _ in range(2):
            with pytest.raises(StoreError, match="No space left"):
                deque(map(writer.write, [bytes(SLAB_SIZE)] * 1000), 0)
        with pytest.raises(StoreError, match="No space left"):
            writer.finish()
        with pytest.raises(ValueError, match="finish"):
            _ = writer.diff_id


def test_a_reader_that_has_gone_is_a_broken_pipe() -> None:
    read, write = os.pipe()
    os.close(read)
    with FileIO(write, "wb") as file, pytest.raises(BrokenPipeError), CompressedWriter(file, apart=True) as writer:
        writer.write(b"gzip is written here, and says the same")
    read, write = os.pipe()
    os.close(read)
    with (
        FileIO(write, "wb") as file,
        pytest.raises(BrokenPipeError),
        CompressedWriter(file, "none", apart=True) as writer,
    ):
        writer.write(bytes(MUCH))


def test_a_process_that_is_killed_is_an_error(tmp_path: Path) -> None:
    with (tmp_path / "tar").open("wb", buffering=0) as file, CompressedWriter(file, "none", apart=True) as writer:
        writer.write(bytes(MUCH))
        (worker,) = workers()
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(StoreError, match=r"ended by itself \(SIGKILL\)"):
            deque(map(writer.write, [bytes(SLAB_SIZE)] * 1000), 0)
        writer.close()


def test_a_stuck_reader_does_not_keep_who_gives_up() -> None:
    read, write = os.pipe()
    with FileIO(write, "wb") as file:
        writer = CompressedWriter(file, "none", apart=True)
        writer.write(bytes(40 * SLAB_SIZE))  # nobody reads
        assert workers()
        begun = time.monotonic()
        writer.close()
        assert time.monotonic() - begun < 20
    os.close(read)


def test_a_writer_that_nobody_closed_leaves_no_process(tmp_path: Path) -> None:
    with (tmp_path / "tar").open("wb", buffering=0) as file:
        writer = CompressedWriter(file, "none", apart=True)
        writer.write(bytes(MUCH))
        assert workers()
        del writer
        gc.collect()
        assert not workers()


@pytest.mark.parametrize("size", [100, MUCH])
@pytest.mark.parametrize(("module", "name"), [(subprocess, "Popen"), (os, "dup"), (socket, "socketpair")])
def test_where_no_process_can_be_had_threads_do_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, module: ModuleType, name: str
) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise OSError(24, "too many of them")

    monkeypatch.setattr(module, name, none)
    content = b"".join(pieces_of(size))
    with (tmp_path / "tar").open("wb", buffering=0) as file, CompressedWriter(file, "none", apart=True) as writer:
        for piece in pieces_of(size):
            writer.write(piece)
    assert (tmp_path / "tar").read_bytes() == content
    assert writer.diff_id == digest_of(content)


def test_threads_that_took_over_tell_what_went_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "too many processes")

    monkeypatch.setattr(subprocess, "Popen", none)
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(StoreError, match="No space left"),
        CompressedWriter(full, "none", apart=True) as writer,
    ):
        deque(map(writer.write, [bytes(SLAB_SIZE)] * 1000), 0)


def test_an_interruption_while_it_starts_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with (
        (tmp_path / "tar").open("wb", buffering=0) as file,
        pytest.raises(KeyboardInterrupt),
        CompressedWriter(file, "none", apart=True) as writer,
    ):
        writer.write(bytes(MUCH))
