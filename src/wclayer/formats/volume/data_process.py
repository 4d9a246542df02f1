"""The files of a volume, made by a second process while this one reads on.

To make a file and to copy its data takes the kernel as long as it takes Python to find out what belongs into it, so
each has a process. Names and folders are looked after here, as ever; a file that was asked for is there later, and an
error of it shows up at a later call, at the latest at :meth:`DataProcess.settle`. The data lies in memory that both see
(:mod:`wclayer.formats.folder.shared_memory`). The other side is :mod:`~wclayer.formats.volume.data_worker`.
"""

from __future__ import annotations

import marshal
import signal
import socket
from collections import deque
from collections.abc import Iterable

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder.door import joined
from wclayer.formats.folder.shared_memory import Release, SharedMemory
from wclayer.formats.volume.data_worker import ANSWER, BYTES, CLOSE, LENGTH, OPEN, ORDER, PIECE, Failure
from wclayer.model import Buffer
from wclayer.processes import Worker, start_worker

__all__ = ["DataProcess"]

_WORTH = 8
"""So many slabs are read before there is a process: in the time of its start their files are made here."""
_FULL = 1 << 13  # bytes of orders that are sent together
_MAX_SENT = 32
_RECEIVE = 1 << 12


class DataProcess:
    """Makes files below the open folder ``root``, of pieces of ``memory``; ``where`` names the layer in errors.

    ``failure`` is the error that it had. It then comes at every call, and names the file that it is about.
    """

    def __init__(self, memory: SharedMemory, root: int, *, where: str) -> None:
        self.failure: WclayerError | None = None
        self._root = root
        self._where = where
        self._memory = memory
        self._connection: socket.socket | None = None
        self._process: Worker | None = None
        self._can_start = True
        self._orders = bytearray(LENGTH.size)
        self._sent = 0  # lists without an answer
        self._begun = self._done = 0  # lists
        self._opened = 0
        self._unfinished: deque[tuple[int, bytes, bytes, str]] = deque()  # files by number, and where they lie
        self._files: set[bytes] = set()
        self._folders: dict[bytes, int] = {}  # how many of them lie in each
        self._held: deque[tuple[int, Release]] = deque()  # slabs, and how many lists must be done before they are free
        self._unread = b""
        memory.lend(self)

    def is_ready(self) -> bool:
        """Whether files can be asked for. The process is started as soon as there is enough for it to do."""
        if self._connection is None and self._can_start and self._memory.begun > _WORTH:
            self._can_start = False
            try:
                self._start()
            except OSError:
                return False  # they are made here as well
        return self._connection is not None

    def begin(self, parent: bytes, leaf: bytes, path: str) -> None:
        """Ask for the new file ``leaf`` in ``parent``, called ``path`` in errors; what follows is about it."""
        self._orders += ORDER.pack(OPEN, len(parent), len(leaf))
        self._orders += parent
        self._orders += leaf
        self._opened += 1
        host = joined(parent, leaf)
        self._unfinished.append((self._opened, parent, host, path))
        self._files.add(host)
        self._folders[parent] = self._folders.get(parent, 0) + 1

    def append(self, data: Buffer) -> None:
        """Append ``data`` to it."""
        self._orders += ORDER.pack(BYTES, len(data), 0)
        self._orders += data
        self._send_if_full()

    def append_pieces(self, places: Iterable[tuple[int, int]]) -> None:
        """Append bytes of the memory to it, by offset and length."""
        for offset, length in places:
            self._orders += ORDER.pack(PIECE, length, offset)

    def end(self, time: int) -> None:
        """Close it, with the ``time``, in ns after 1970."""
        self._orders += ORDER.pack(CLOSE, 0, time)
        self._send_if_full()

    def finish_file(self, host: bytes) -> None:
        """Wait for the file ``host``, if it was asked for; of one that is not ended, for what was."""
        if host in self._files:
            self._send()
            while self._sent and host in self._files:
                self._take_answers(wait=True)

    def finish_folder(self, parent: bytes) -> None:
        """The same for all files in ``parent``."""
        if parent in self._folders:
            self._send()
            while self._sent and parent in self._folders:
                self._take_answers(wait=True)

    def hold(self, release: Release) -> None:
        """Give a slab back when what was asked for so far, which may be about it, is done."""
        self._send()
        if not self._sent:
            release()
            return
        self._held.append((self._begun, release))
        while len(self._held) > self._memory.most_held:
            self._take_answers(wait=True)

    def settle(self) -> None:
        """Wait until everything is done. Raises what went wrong."""
        if self.failure is not None:
            raise self.failure
        self._send()
        while self._sent:
            self._take_answers(wait=True)

    def close(self) -> None:
        """End the process, whatever it is doing, and wait for it. Harmless when called twice."""
        self._memory.forget()
        self._memory.close()
        self._held.clear()
        self._folders.clear()
        self._files.clear()
        self._can_start = False
        self._sent = 0
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        process, self._process = self._process, None
        if process is not None:
            process.wait()

    def _start(self) -> None:
        here, there = socket.socketpair()
        try:
            arguments = (there.fileno(), self._memory.descriptor, self._root, self._where)
            self._process = start_worker("wclayer.formats.volume.data_worker", arguments, arguments[:3])
        except BaseException:
            here.close()
            raise
        finally:
            there.close()
        self._connection = here

    def _send_if_full(self) -> None:
        if len(self._orders) >= _FULL:
            self._send()

    def _send(self) -> None:
        connection, orders = self._connection, self._orders
        if len(orders) == LENGTH.size or connection is None:
            return
        while self._sent >= _MAX_SENT:
            self._take_answers(wait=True)
        LENGTH.pack_into(orders, 0, len(orders) - LENGTH.size)
        self._sent += 1
        self._begun += 1
        try:
            connection.sendall(orders)
        except ConnectionError:
            while True:
                self._take_answers(wait=True)  # it may have said why; at the end this raises
        del orders[LENGTH.size :]
        self._take_answers(wait=False)

    def _take_answers(self, *, wait: bool) -> None:
        """Take the answers that are there; at least one of them if ``wait``."""
        if self.failure is not None:
            raise self.failure
        while self._sent and self._connection is not None:
            try:
                data = self._connection.recv(_RECEIVE, 0 if wait else socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self.failure = self._ended()
                raise self.failure
            data = self._unread + data
            place = 0
            while len(data) - place >= ANSWER.size:
                closed, length = ANSWER.unpack_from(data, place)
                following = place + ANSWER.size + length
                if following > len(data):
                    break
                self._made(closed)
                if length:
                    raise self._failed(marshal.loads(data[place + ANSWER.size : following]))  # noqa: S302 - our process
                self._sent -= 1
                self._done += 1
                while self._held and self._held[0][0] <= self._done:
                    self._held.popleft()[1]()
                wait = False
                place = following
            self._unread = data[place:]

    def _made(self, closed: int) -> None:
        """So many files are made."""
        unfinished, folders = self._unfinished, self._folders
        while unfinished and unfinished[0][0] <= closed:
            _, parent, host, _ = unfinished.popleft()
            self._files.remove(host)
            if folders[parent] == 1:
                del folders[parent]
            else:
                folders[parent] -= 1

    def _failed(self, failure: Failure) -> WclayerError:
        message, layer, path, hint = failure
        if self._unfinished:
            path = self._unfinished[0][3].replace("\\", "/")
        self.failure = StoreError(message, layer=layer, path=path, hint=hint)
        return self.failure

    def _ended(self) -> WclayerError:
        code = self._process.wait() if self._process is not None else 0
        why = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return StoreError(f"the process that makes the files ended by itself ({why})", layer=self._where)
