"""The process that makes the files of a layer, and may hash it, while another one reads the layer.

It knows one folder, handed to it open, and does what it is told (:mod:`~wclayer.formats.folder.tree_jobs`) through the
same door as everybody. It ends when the other side goes away, in whatever way, so it never outlives its work.
"""

from __future__ import annotations

import gc
import marshal
import mmap
import os
import socket
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING, BinaryIO

from wclayer.errors import WclayerError
from wclayer.formats.folder.content import copy_beside, crc32, host_leaf, write_stream
from wclayer.formats.folder.door import Door, NameRefusedError, joined, store_error
from wclayer.formats.folder.folder_times import FolderTimes, seal_folders
from wclayer.formats.folder.host_times import host_times
from wclayer.formats.folder.tree_jobs import (
    DATE,
    DIGEST,
    FILE,
    FOLDER,
    HASH,
    LENGTH,
    LINK,
    MAX_MESSAGE,
    OPEN,
    Job,
    Result,
    encode,
)
from wclayer.model import Buffer, Stream
from wclayer.ntfs.names import decode_wtf8
from wclayer.writing import BITE, write_whole

if TYPE_CHECKING:
    import hashlib

__all__ = ["TreeWorker", "main"]


class _GoneError(Exception):
    """The other side went away in the middle of a file."""


class TreeWorker:
    """Does the jobs that come from ``connection`` in the folder ``root``; ``memory`` has the data."""

    def __init__(
        self, connection: socket.socket, memory: memoryview, root: int, where: str, folder_mode: int = 0o755
    ) -> None:
        self._connection = connection
        self._messages: BinaryIO = connection.makefile("rb")
        self._memory = memory
        self._door = Door(root, where=where)
        self._door.folder_mode = folder_mode
        self._where = where
        self._results: list[Result] = []
        self._hashes: dict[int, hashlib._Hash] = {}
        self._times = FolderTimes()
        self._renamed: list[tuple[int, bytes]] = []
        self._elsewhere: dict[bytes, bytes] = {}  # what has another name than it was given
        self._jobs = self._received()

    def run(self) -> None:
        """Work until the other side closes. An error is reported, and ends the work."""
        try:
            for job in self._jobs:
                self._results.append(self._done(job))
        except WclayerError as error:
            failure = (type(error).__name__, error.message, error.layer, error.path, error.hint)
            self._connection.sendall(encode((self._results, self._renamed, failure)))
        finally:
            self._door.close()
            self._messages.close()

    def _received(self) -> Iterator[Job]:
        """The jobs one by one; each list of them is answered when the job behind its last one is asked for."""
        read = self._messages.read
        while len(head := read(LENGTH.size)) == LENGTH.size:
            (length,) = LENGTH.unpack(head)
            if length > MAX_MESSAGE or len(data := read(length)) != length:
                return
            for job in marshal.loads(data):  # noqa: S302 - from the process that started this one
                if job[0] == HASH:
                    self._hash(job)
                elif job[0] == DATE:
                    self._times.note(self._there(job[1]), job[2])
                else:
                    yield job
            done = len(self._results)
            told = [entry for entry in self._renamed if entry[0] < done]
            self._connection.sendall(encode((self._results, told, None)))
            self._results.clear()
            # A file whose data is still coming will be the first among the next results.
            self._renamed = [(0, other) for place, other in self._renamed if place >= done]

    def _hash(self, job: Job) -> None:
        _, number, algorithm, offset, length = job
        state = self._hashes.get(number)
        if state is None:
            import hashlib  # a tenth of the start of this process, which so begins a little later

            state = self._hashes[number] = hashlib.new(algorithm)
        state.update(self._memory[offset : offset + length])

    def _done(self, job: Job) -> Result:
        kind = job[0]
        if kind in (FILE, OPEN):
            return self._make_file(job)
        if kind == FOLDER:
            self._make_folder(job[1], job[2], job[3])
        elif kind == LINK:
            self._link(job)
        elif kind == DIGEST:
            return self._hashes.pop(job[1]).hexdigest()
        else:
            seal_folders(self._door, self._times, job[1])
        return None

    def _make_file(self, job: Job) -> int | None:
        kind, parent, leaf, last_write_time = job[:4]
        descriptor = self._create(parent, leaf)
        try:
            try:
                checksum = self._filled(descriptor, job) if kind == FILE else self._poured(descriptor, job)
                os.utime(descriptor, ns=host_times(last_write_time))
            finally:
                os.close(descriptor)
        except OSError as error:
            path = job[6].encode("utf-8", "surrogatepass") if kind == OPEN else joined(parent, leaf)
            raise store_error(error, "cannot write the file", path, self._where) from error
        return checksum

    def _create(self, parent: bytes, leaf: bytes) -> int:
        parent = self._there(parent)
        try:
            return self._door.create(parent, leaf)
        except NameRefusedError:
            return self._door.create(parent, self._other_name(parent, leaf))

    def _filled(self, descriptor: int, job: Job) -> int | None:
        _, _, _, _, offset, length = job
        if length <= 0:
            return None if length else 0
        piece = self._memory[offset : offset + length]
        written = os.write(descriptor, piece if length <= BITE else piece[:BITE])
        if written < length:
            write_whole(partial(os.write, descriptor), piece[written:])
        return crc32(piece)

    def _poured(self, descriptor: int, job: Job) -> int:
        _, _, _, _, size, ranges, path = job
        return write_stream(descriptor, Stream(size, self._pieces, ranges), path)

    def _pieces(self, stored: int) -> Iterator[Buffer]:
        while stored > 0:
            job = next(self._jobs, None)
            if job is None:
                raise _GoneError
            _, offset, length = job
            yield self._memory[offset : offset + length]
            stored -= length

    def _make_folder(self, parent: bytes, leaf: bytes, last_write_time: int | None) -> None:
        parent = self._there(parent)
        try:
            self._door.make_directory(parent, leaf)
        except NameRefusedError:
            leaf = self._other_name(parent, leaf)
            self._door.make_directory(parent, leaf)
        self._times.note(joined(parent, leaf), last_write_time)

    def _link(self, job: Job) -> None:
        _, parent, leaf, folder, source, size, ranges, path = job
        door, parent = self._door, self._there(parent)
        folder, _, source = self._there(joined(folder, source)).rpartition(b"/")
        try:
            linked = door.link(door, folder, source, parent, leaf, size=size)
        except NameRefusedError:
            leaf = self._other_name(parent, leaf)
            linked = door.link(door, folder, source, parent, leaf, size=size)
        if not linked:
            copy_beside(door, folder, source, parent, leaf, ranges=ranges, path=path)

    def _other_name(self, parent: bytes, leaf: bytes) -> bytes:
        other = host_leaf(decode_wtf8(leaf), escape=True)
        self._renamed.append((len(self._results), other))
        self._elsewhere[joined(parent, leaf)] = joined(parent, other)
        return other

    def _there(self, path: bytes) -> bytes:
        """``path`` as it is on this machine, where anything on the way may have got another name."""
        if not self._elsewhere:
            return path
        here = b""
        for leaf in path.split(b"/"):
            here = joined(here, leaf)
            here = self._elsewhere.get(here, here)
        return here


def main(connection: int, memory: int, root: int, where: str, folder_mode: int) -> None:
    """The whole life of the process.

    The first numbers are descriptors: of the socket, the memory and the layer's folder. New folders have that mode.
    """
    gc.disable()  # nothing here is part of a cycle, and there is much of it
    data = memoryview(mmap.mmap(memory, 0))
    os.close(memory)
    with socket.socket(fileno=connection) as other:
        try:
            TreeWorker(other, data, root, where, folder_mode).run()
        except (_GoneError, ConnectionError):
            return  # nobody waits for what is not done yet
