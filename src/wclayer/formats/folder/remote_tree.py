"""The files of a layer, made by a second process while this one reads on.

Making a hundred thousand files is the kernel's work, parsing their headers is Python's, and one process can only do one
of them at a time. So files and folders are asked for here and made there (:mod:`~wclayer.formats.folder.tree_worker`).
What comes of it is known later: a row waits for its checksum, and an error shows up at a later call, at the latest at
:meth:`RemoteTree.settle`. Jobs are done in order and the first error ends them, so it is the one that the same layer
meets without a second process.
"""

from __future__ import annotations

import errno
import marshal
import signal
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

from wclayer.errors import FormatError, StoreError, UnsafeEntryError, WclayerError
from wclayer.formats.folder.content import STREAM_FOLDER
from wclayer.formats.folder.door import NameTakenError
from wclayer.formats.folder.links import Target
from wclayer.formats.folder.node import Node
from wclayer.formats.folder.shared_memory import RING, Release, SharedMemory
from wclayer.formats.folder.staging import Staging
from wclayer.formats.folder.tree import HostTree, Places, host_name
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
    Failure,
    Job,
    encode,
)
from wclayer.model import SharedSource, Stream
from wclayer.ntfs.names import encode_wtf8
from wclayer.processes import start_worker

__all__ = ["RemoteTree"]

_WHOLE = 1 << 19
"""Data of up to this many bytes stands in the ring in one piece."""
_BATCH_JOBS = 64
_BATCH_BYTES = 1 << 19
_MAX_SENT = 32
_RECEIVE = 1 << 16
_NO_ROW = [0, None, None]  # of what has none


class RemoteTree(HostTree):
    """A :class:`HostTree` whose files and folders are made by a second process until :meth:`settle`.

    It raises what :class:`HostTree` raises, only later; the constructor raises OSError when there can be no process.
    ``memory`` is where the data may lie already, with the slabs of the stream that is being read.
    """

    def __init__(self, staging: Staging, *, where: str, memory: SharedMemory | None = None) -> None:
        super().__init__(staging, where=where)
        if self._folds_case:
            # A name that is taken may then need another one, and what that is has to be known at once.
            raise OSError(errno.ENOTSUP, "the file system does not tell cases apart")
        self._jobs: list[Job] = []
        self._sent: deque[int] = deque()  # where the ring stood when each list of jobs was sent
        self._expected: deque[tuple[list[Any], Places, str, str]] = deque()
        self._head = self._added = self._tail = self._batch_start = 0  # bytes that went through the ring
        self._unread = b""
        self._failure: WclayerError | None = None
        self._done = self._begun = 0  # lists of jobs
        self._told = 0
        self._held: deque[tuple[int, Release]] = deque()  # slabs, and how many lists must be done before they are free
        memory = memory or SharedMemory()
        self._shared: SharedMemory | None = memory
        self._memory = memory.all
        self._most_held = memory.most_held
        here, there = socket.socketpair()
        try:
            arguments = (there.fileno(), memory.descriptor, staging.root, where, self.door.folder_mode)
            self._process = start_worker("wclayer.formats.folder.tree_worker", arguments, arguments[:3])
        except BaseException:
            here.close()
            raise
        finally:
            there.close()
            memory.close()
        self._connection = here
        memory.attach(self)

    def make_folder(self, parent: bytes, name: str, last_write_time: int | None) -> bytes | None:
        """Ask for the folder; returns the name that it gets."""
        host = host_name(parent, name)
        self._add((FOLDER, parent, host or name.encode("utf-8", "surrogatepass"), last_write_time))
        return host

    def date_folder(self, path: bytes, last_write_time: int | None) -> None:
        """Tell the time of a folder that was asked for before."""
        self._add((DATE, path, last_write_time))

    def add_file(
        self, parent: bytes, name: str, data: Stream | None, last_write_time: int | None, path: str
    ) -> tuple[int | None, bytes | None]:
        """Ask for the file; the checksum comes later."""
        host = host_name(parent, name)
        leaf = host or name.encode("utf-8", "surrogatepass")
        if data is None:
            self._add((FILE, parent, leaf, last_write_time, 0, -1))
        elif data.shared is not None:
            self._use_shared(parent, leaf, last_write_time, data, data.shared, path)
        elif data.ranges is None and (size := data.size) <= _WHOLE:
            offset = self._room(size)
            self._fill_ring(offset, size, data, path)
            self._add((FILE, parent, leaf, last_write_time, offset, size))
        else:
            self._pour(parent, leaf, last_write_time, data, path)
        return None, host

    def add_stream(self, number: int, data: Stream, path: str) -> tuple[int | None, str]:
        """Ask for the file of an alternate stream."""
        if not self._has_stream_folder:
            self._add((FOLDER, b"", STREAM_FOLDER, None))
            self.expect(_NO_ROW, (1, 2), path, "")
            self._has_stream_folder = True
        leaf = f"{number:08x}"
        if data.shared is not None:
            self._use_shared(STREAM_FOLDER, leaf.encode(), None, data, data.shared, path)
        else:
            self._pour(STREAM_FOLDER, leaf.encode(), None, data, path)
        return None, leaf

    def make_link(self, link: Node, target: Target, row: list[Any], places: Places) -> bytes | None:
        """Ask for the link, if its target lies in this layer; to a parent it is made here."""
        if target.layer is not None:
            self.settle()
            return super().make_link(link, target, row, places)
        node, index = target.node, link.index
        parent = index.folder_path(link.parent)[1]
        folder = index.folder_path(node.parent)[1]
        host = host_name(parent, link.name)
        leaf = host or encode_wtf8(link.name)
        self._add((LINK, parent, leaf, folder, node.host_leaf, node.size or 0, node.ranges, link.path))
        self.expect(row, places, link.path, "")
        return host

    def link_file(self, parent: bytes, name: str, folder: bytes, leaf: bytes, path: str) -> bytes | None:
        """Ask for the link to a file that was asked for before."""
        host = host_name(parent, name)
        self._add((LINK, parent, host or encode_wtf8(name), folder, leaf, None, None, path))
        return host

    def expect(self, row: list[Any], places: Places, path: str, taken: str) -> None:
        """Complete ``row`` when the answer comes."""
        self._expected.append((row, places, path, taken))

    def unsettled(self) -> int | None:
        """The number of the first row whose answer did not come yet."""
        return self._expected[0][0][0] if self._expected else None

    def settle(self) -> None:
        """Wait for all answers."""
        if self._failure is not None:
            raise self._failure
        self._send()
        while self._sent:
            self._take_answers(wait=True)

    def seal(self) -> None:
        """Ask for it."""
        self._add((SEAL, self._last_mode()))
        self.expect(_NO_ROW, (1, 2), "", "")
        self._send()

    def close(self) -> None:
        """End the process, whatever it is doing, and wait for it."""
        self._connection.close()
        self._process.wait()
        self._held.clear()  # what is read no further needs no slabs
        if self._shared is not None:
            self._shared.forget()
        self._shared = None
        self._memory = memoryview(b"")
        super().close()

    def hash(self, number: int, algorithm: str, offset: int, length: int) -> None:
        """Ask for bytes of the memory to be hashed."""
        self._add((HASH, number, algorithm, offset, length))

    def hash_copy(self, number: int, algorithm: str, data: bytes) -> None:
        """Ask for bytes to be hashed that lie elsewhere."""
        with memoryview(data) as view:
            for place in self._copied(view):
                self._add((HASH, number, algorithm, *place))

    def digest(self, number: int) -> str:
        """The hash, once everything that was asked for is done."""
        row: list[Any] = [0, None, None]
        self._add((DIGEST, number))
        self.expect(row, (1, 2), "", "")
        self.settle()
        known: str = row[1]
        return known

    @property
    def jobs(self) -> int:
        """How many jobs there were so far."""
        return self._told + len(self._jobs)

    def hold(self, release: Release) -> None:
        """Give a slab back when the jobs so far, which may be about it, are done."""
        self._send()
        if not self._sent:
            release()
            return
        self._held.append((self._begun, release))
        while len(self._held) > self._most_held:
            self._take_answers(wait=True)

    def _use_shared(
        self, parent: bytes, leaf: bytes, last_write_time: int | None, data: Stream, shared: SharedSource, path: str
    ) -> None:
        """Ask for a file whose data lies in the memory already."""
        size = data.stored
        if not size:
            offset = 0
        elif (offset := shared.span(size)) < 0 or data.ranges is not None:
            self._add((OPEN, parent, leaf, last_write_time, data.size, data.ranges, path))
            for place in ((offset, size),) if offset >= 0 else shared.places(size):
                self._add((PIECE, *place))
            return
        self._add((FILE, parent, leaf, last_write_time, offset, size))

    def _pour(self, parent: bytes, leaf: bytes, last_write_time: int | None, data: Stream, path: str) -> None:
        self._add((OPEN, parent, leaf, last_write_time, data.size, data.ranges, path))
        stored, written = data.stored, 0
        for piece in data.source(stored):
            written += len(piece)
            if written > stored:
                break
            with memoryview(piece) as view:
                for place in self._copied(view):
                    self._add((PIECE, *place))
        if written != stored:
            raise _wrong_size(written, stored, path)

    def _fill_ring(self, offset: int, size: int, data: Stream, path: str) -> None:
        end = offset + size
        position = offset
        for piece in data.source(size):
            following = position + len(piece)
            if following > end:
                raise _wrong_size(following - offset, size, path)
            self._memory[position:following] = piece
            position = following
        if position != end:
            raise _wrong_size(position - offset, size, path)

    def _copied(self, data: memoryview) -> Iterator[tuple[int, int]]:
        """Put ``data`` into the ring, a piece at a time; where each lies must be told before the next is asked for."""
        for start in range(0, len(data), _WHOLE):
            part = data[start : start + _WHOLE]
            offset = self._room(len(part))
            self._memory[offset : offset + len(part)] = part
            yield offset, len(part)

    def _room(self, size: int) -> int:
        """A place in the ring for ``size`` bytes."""
        head = self._head
        offset = head % RING
        if offset + size > RING:
            head += RING - offset
            offset = 0
        head += size
        if head - self._tail > RING:
            self._send()
            while head - self._tail > RING:
                self._take_answers(wait=True)
        self._head = head
        return offset

    def _add(self, job: Job) -> None:
        # What is asked for is sent before the next is added: so its result cannot come before it is expected.
        if len(self._jobs) >= _BATCH_JOBS or self._added - self._batch_start >= _BATCH_BYTES:
            self._send()
        self._jobs.append(job)
        self._added = self._head

    def _send(self) -> None:
        if not self._jobs:
            return
        while len(self._sent) >= _MAX_SENT:
            self._take_answers(wait=True)
        message = encode(self._jobs)
        self._told += len(self._jobs)
        self._jobs.clear()
        self._sent.append(self._added)
        self._begun += 1
        self._batch_start = self._added
        try:
            self._connection.sendall(message)
        except ConnectionError:
            while self._sent:
                self._take_answers(wait=True)  # it may have said why
            raise
        self._take_answers(wait=False)

    def _take_answers(self, *, wait: bool) -> None:
        """Take the answers that are there; at least one of them if ``wait``."""
        while self._sent:
            try:
                data = self._connection.recv(_RECEIVE, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                raise self._ended()
            data = self._unread + data
            position = 0
            while len(data) - position >= LENGTH.size:
                (length,) = LENGTH.unpack_from(data, position)
                end = position + LENGTH.size + length
                if end > len(data):
                    break
                answer = marshal.loads(data[position + LENGTH.size : end])  # noqa: S302 - from our own process
                self._settle(answer)
                position = end
                wait = False
            self._unread = data[position:]

    def _settle(self, answer: Answer) -> None:
        results, renamed, failure = answer
        expected = self._expected
        # Fewer are expected where an entry was found bad after its file was asked for; the layer has failed then.
        count = len(expected)
        for place, other in renamed:
            if place >= count:
                continue
            row, (_, host_at), _, _ = expected[place]
            row += [None] * (host_at + 1 - len(row))
            row[host_at] = other.decode()
        for result in results[:count]:
            row, (checksum_at, _), _, _ = expected.popleft()
            if result is not None:
                row[checksum_at] = result
        if failure is not None:
            self._failure = self._failed(failure)
            raise self._failure
        self._tail = self._sent.popleft()
        self._done += 1
        while self._held and self._held[0][0] <= self._done:
            self._held.popleft()[1]()

    def _failed(self, failure: Failure) -> WclayerError:
        kind, message, layer, path, hint = failure
        if kind == NameTakenError.__name__ and self._expected:
            _, _, entry, taken = self._expected[0]
            if taken:
                return UnsafeEntryError(taken, path=entry)
        return StoreError(message, layer=layer, path=path, hint=hint)

    def _ended(self) -> WclayerError:
        code = self._process.wait()
        why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        self._failure = StoreError(f"the process that makes the files ended by itself ({why})", layer=self._where)
        return self._failure


def _wrong_size(written: int, promised: int, path: str) -> FormatError:
    return FormatError(f"the data has {written} bytes where {promised} were promised", kind="data-size", path=path)
