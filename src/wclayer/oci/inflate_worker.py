"""The process that inflates a blob into memory that another one sees, which parses what lies there.

Through a socket that keeps messages apart first comes a pickle of what there is to do, a :class:`Task`, then, again and
again, the offset of a slab that is free. An answer is an offset, a length and how many bytes of the blob were read so
far: a slab that was filled, or in the end :data:`END` for an offset, and behind it a pickle: an :data:`Ending`.
"""

from __future__ import annotations

import gc
import mmap
import os
import pickle
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from queue import SimpleQueue
from struct import Struct
from typing import TypeAlias

from wclayer.errors import WclayerError
from wclayer.oci.compression import open_decoder
from wclayer.oci.counting import CountingSource
from wclayer.oci.digests import Hash, new_hash
from wclayer.oci.limits import Limits
from wclayer.oci.mediatypes import Compression
from wclayer.oci.sources import FilePart, PartSource
from wclayer.oci.workers import SLAB_SIZE, fill
from wclayer.threads import Helper

__all__ = ["END", "FREE", "MESSAGE", "MOST", "Ending", "Task", "main"]

FREE = Struct("<I")
MESSAGE = Struct("<IIQ")
END = 0xFFFF_FFFF
MOST = 1 << 16
"""Bytes of the longest message."""

Ending: TypeAlias = tuple[str | None, str | None] | WclayerError
"""The digests of the blob and of what it became, as far as they were asked for; or what went wrong."""

_AHEAD = 1 << 22
"""How much of the blob the system reads ahead, since nobody here reads while something else is done."""


@dataclass(frozen=True, slots=True)
class Task:
    """A blob: ``size`` bytes from ``offset`` of a file (None: up to its end), of which ``expected`` were promised.

    ``blob_algorithm`` and ``diff_algorithm`` are those of the digests that are wanted, of the blob and of the tar.
    """

    offset: int
    size: int | None
    expected: int | None
    compression: Compression
    limits: Limits
    blob_algorithm: str | None
    diff_algorithm: str | None


def main(connection: int, memory: int, file: int) -> None:
    """The whole life of the process. The numbers are descriptors: of the socket, the memory and the blob's file."""
    gc.disable()  # nothing here is part of a cycle
    data = memoryview(mmap.mmap(memory, 0))
    os.close(memory)
    with socket.socket(fileno=connection) as other:
        try:
            _serve(other, data, file)
        except ConnectionError:
            return  # nobody wants the rest


def _serve(other: socket.socket, data: memoryview, file: int) -> None:
    task: Task = pickle.loads(other.recv(MOST))  # noqa: S301 - from the process that started this one
    blob = CountingSource(PartSource(FilePart(file, task.offset, task.size)), expected_size=task.expected)
    if task.blob_algorithm is not None:
        blob.hash = new_hash(task.blob_algorithm)
    hasher = None if task.diff_algorithm is None else _Hasher(new_hash(task.diff_algorithm))
    ending: Ending
    try:
        for offset, count in _filled(task, blob, hasher, data, _free_slabs(other)):
            other.sendall(MESSAGE.pack(offset, count, blob.count))
        ending = (None if blob.hash is None else blob.hash.hexdigest(), None if hasher is None else hasher.hexdigest())
    except WclayerError as error:
        ending = error
    other.sendall(MESSAGE.pack(END, 0, blob.count) + pickle.dumps(ending))
    while other.recv(FREE.size):
        continue  # closing before all was taken would be an error to the other side, in place of what was just said


def _free_slabs(other: socket.socket) -> Iterator[int]:
    """Their offsets, as they come. Raises ConnectionError when there will be no more."""
    while message := other.recv(FREE.size):
        yield FREE.unpack(message)[0]
    raise ConnectionResetError


def _filled(
    task: Task, blob: CountingSource, hasher: _Hasher | None, data: memoryview, free: Iterator[int]
) -> Iterator[tuple[int, int]]:
    """The slabs that were filled, by offset and length."""
    blob.read_ahead(_AHEAD)
    decoder = open_decoder(task.compression, blob, is_alone=True)
    size = 0
    for offset in free:
        slab = data[offset : offset + SLAB_SIZE]
        if hasher is not None:
            hasher.wait(offset)
        length = fill(decoder, slab)
        if not length:
            return
        size += length
        task.limits.check(blob.count, size)
        if hasher is not None:
            hasher.update(offset, slab[:length])
        yield offset, length


class _Hasher:
    """A thread that hashes slabs while more are filled: neither keeps the interpreter lock for long."""

    def __init__(self, diff_hash: Hash) -> None:
        self._hash = diff_hash
        self._given: SimpleQueue[tuple[int, memoryview] | None] = SimpleQueue()
        self._done: SimpleQueue[int] = SimpleQueue()
        self._pending: set[int] = set()
        self._thread = Helper(self._run, "wclayer-hash")
        self._thread.start()

    def update(self, offset: int, slab: memoryview) -> None:
        """Take a slab, known by its offset, which stays as it is until it is waited for."""
        self._pending.add(offset)
        self._given.put((offset, slab))

    def wait(self, offset: int) -> None:
        """Wait until the slab that lies there is hashed, if one was given."""
        while offset in self._pending:
            self._pending.remove(self._done.get())

    def hexdigest(self) -> str:
        """The digest of all slabs, after which there are no more."""
        self._given.put(None)
        self._thread.join()
        return self._hash.hexdigest()

    def _run(self) -> None:
        while (given := self._given.get()) is not None:
            offset, slab = given
            self._hash.update(slab)
            self._done.put(offset)
