"""Small pieces become slabs in memory that another process sees, which hashes them and writes them to a file.

Threads would do the same, but each waits for the interpreter lock before every slab and keeps whoever makes the pieces
from it. The process is started when there is enough for it to do; what is less is done here.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
from collections.abc import Callable, Sequence

from wclayer.errors import StoreError
from wclayer.oci.outflow import SLAB_SIZE, Outflow, SlabWriter, Taker
from wclayer.oci.outflow_worker import ANSWER, DIGEST, DONE, ORDER
from wclayer.processes import Worker, start_worker

__all__ = ["OutflowProcess"]

_SLABS = 64
"""Enough that the process may be at its start, or in the odd slow write, while this one goes on."""
_WORTH = 32
"""So many slabs are filled before the process is started: in less than its start all of them are written here."""
_RECEIVE = 1 << 12
_PATIENCE = 10.0
"""How many seconds to wait for a process that was killed: it may be in a call that nothing ends."""


class OutflowProcess(SlabWriter):
    """Takes pieces through :meth:`write`; :meth:`finish` returns when everything was hashed and written.

    The process writes to the file ``descriptor``, which stays the caller's, and computes a digest with ``algorithm``.
    Where nothing is worth a process, or there can be none, each slab goes to the ``takers`` instead, who do the same.
    ``digest`` is what the process computed, in hexadecimal, or None. An error that it had comes as an OSError, through
    ``refused``. The constructor raises OSError where there is no such memory.

    One that is not finished has to be stopped.
    """

    def __init__(
        self, descriptor: int, algorithm: str, takers: Sequence[Taker], refused: Callable[[OSError], Exception]
    ) -> None:
        self.digest: str | None = None
        self._target = descriptor
        self._algorithm = algorithm
        self._takers = takers
        self._refused = refused
        self._memory = os.memfd_create("wclayer-outflow")
        try:
            os.ftruncate(self._memory, _SLABS * SLAB_SIZE)
            self._all = memoryview(mmap.mmap(self._memory, _SLABS * SLAB_SIZE))
        except BaseException:
            os.close(self._memory)
            raise
        self._free = [number * SLAB_SIZE for number in reversed(range(_SLABS))]
        self._waiting: list[tuple[int, int]] = []  # what was filled before there was a process
        self._connection: socket.socket | None = None
        self._process: Worker | None = None
        self._threads: Outflow | None = None
        self._unread = b""
        self._error: Exception | None = None
        self._offset = self._free.pop()
        super().__init__(self._slab_at(self._offset))

    def finish(self) -> None:
        """Hand over the rest, and wait until it is written. Raises what went wrong."""
        if self._filled:
            self._hand_over()
        if self._threads is not None:
            self._threads.finish()
        elif self._connection is None:
            for offset, length in self._waiting:
                for take in self._takers:
                    take(self._all[offset : offset + length])
        else:
            self._order(self._connection, 0, 0)
            while self.digest is None:
                self._take_answers(self._connection)
        self.stop()

    def stop(self) -> None:
        """End what is not finished; harmless when called twice."""
        if self._memory >= 0:
            memory, self._memory = self._memory, -1
            os.close(memory)
        if self._threads is not None:
            self._threads.stop()
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        process, self._process = self._process, None
        if process is not None and self.digest is not None:
            process.wait()  # it has said all that it had to say
        elif process is not None:
            process.kill(_PATIENCE)  # it may be at a pipe from which nobody reads

    def join(self) -> None:
        """Wait until all has ended, but not for what is stuck in a call that blocks."""
        if self._threads is not None:
            self._threads.join()

    def _exchanged(self) -> memoryview:
        self._hand_over()
        while not self._free and self._connection is not None:
            self._take_answers(self._connection)
        self._offset = self._free.pop()
        return self._slab_at(self._offset)

    def _slab_at(self, offset: int) -> memoryview:
        return self._all[offset : offset + SLAB_SIZE]

    def _hand_over(self) -> None:
        """The slab at hand is full, or the last one."""
        if self._connection is not None:
            self._order(self._connection, self._offset, self._filled)
            self._take_answers(self._connection, socket.MSG_DONTWAIT)
        elif self._threads is not None:
            self._threads.write(self._view[: self._filled])
            self._free.append(self._offset)
        else:
            self._waiting.append((self._offset, self._filled))
            if len(self._waiting) == _WORTH:
                self._start()

    def _start(self) -> None:
        """Start the process, or threads where there can be none, and hand over what is waiting."""
        waiting, self._waiting = self._waiting, []
        try:
            connection = self._connection = self._connected()
        except OSError:
            self._threads = Outflow(self._takers)
            for offset, length in waiting:
                self._threads.write(self._all[offset : offset + length])
                self._free.append(offset)
            return
        for offset, length in waiting:
            self._order(connection, offset, length)

    def _connected(self) -> socket.socket:
        """The way to a new process. Raises OSError when there can be none."""
        here, there = socket.socketpair()
        with there:
            try:
                target = os.dup(self._target)  # standard output has a number that means something else to the process
                try:
                    descriptors = there.fileno(), self._memory, target
                    arguments = (*descriptors, self._algorithm)
                    self._process = start_worker("wclayer.oci.outflow_worker", arguments, descriptors)
                finally:
                    os.close(target)
            except BaseException:
                here.close()
                raise
        return here

    def _order(self, connection: socket.socket, offset: int, length: int) -> None:
        try:
            connection.sendall(ORDER.pack(offset, length))
        except ConnectionError:
            while True:
                self._take_answers(connection)  # it may have said why; at the end this raises

    def _take_answers(self, connection: socket.socket, flags: int = 0) -> None:
        """Take the answers that are there; without ``flags`` wait for some. An error comes again every time."""
        if self._error is not None:
            raise self._error
        try:
            data = connection.recv(_RECEIVE, flags)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:
            self._error = self._ended()
            raise self._error
        data = self._unread + data
        place = 0
        while len(data) - place >= ANSWER.size:
            number, kind = ANSWER.unpack_from(data, place)
            end = place + ANSWER.size
            if kind == DONE:
                self._free.append(number)
            elif kind != DIGEST:
                self._error = self._refused(OSError(number, os.strerror(number)))
                raise self._error
            elif len(data) - end < number:
                break
            else:
                self.digest = data[end : end + number].decode()
                end += number
            place = end
        self._unread = data[place:]

    def _ended(self) -> StoreError:
        code = self._process.wait() if self._process is not None else 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return StoreError(f"the process that writes the file ended by itself ({how})")
