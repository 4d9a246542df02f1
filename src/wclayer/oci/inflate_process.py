"""A blob that another process inflates, into memory that both see.

A thread would do the same, but it takes the interpreter lock for every piece from whoever parses what was inflated, and
waits for it. A blob in a file is nothing but numbers to pass on: the process opens nothing and looks nothing up.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Generator
from contextlib import suppress
from functools import partial

from wclayer.errors import StoreError, WclayerError
from wclayer.oci.counting import CountingSource
from wclayer.oci.inflate_worker import END, FREE, MESSAGE, MOST, Ending, Task
from wclayer.oci.limits import Limits
from wclayer.oci.mediatypes import Compression
from wclayer.oci.sources import FilePart
from wclayer.oci.workers import SLAB_SIZE, Outcome, SlabKeeper
from wclayer.processes import Worker, can_copy, start_worker

__all__ = ["InflateProcess", "KnownDigest", "is_worth_a_process"]

_WORTH = 16 << 20
"""Bytes of a blob for which a copy of this process is worth its start, ..."""
_WORTH_MORE = 128 << 20
"""... and for which a new interpreter is."""
_PATIENCE = 10.0
"""How many seconds to wait for a process that was killed: it may be in a read that nothing ends."""


def is_worth_a_process(part: FilePart) -> bool:
    """Whether there is enough in a part of a file; raises OSError."""
    size = os.fstat(part.descriptor).st_size - part.offset if part.size is None else part.size
    return size >= (_WORTH if can_copy() else _WORTH_MORE)


class KnownDigest:
    """A digest that another process computed, in lower-case hexadecimal once it is there."""

    def __init__(self) -> None:
        self.hex = ""

    def hexdigest(self) -> str:
        """The digest."""
        return self.hex


class InflateProcess:
    """Fills the slabs of ``keeper`` with what is inflated of ``part``, which ``blob`` reads but for this.

    ``blob_hash`` and ``diff_hash`` are the digests of the algorithms that are given, known at the end of the slabs.
    The constructor raises OSError when there can be no process. Stop it in any case.
    """

    def __init__(
        self,
        blob: CountingSource,
        part: FilePart,
        compression: Compression,
        keeper: SlabKeeper,
        limits: Limits,
        outcome: Outcome,
        *,
        blob_algorithm: str | None,
        diff_algorithm: str | None,
    ) -> None:
        self.blob_hash = None if blob_algorithm is None else KnownDigest()
        self.diff_hash = None if diff_algorithm is None else KnownDigest()
        self._blob = blob
        self._keeper = keeper
        self._outcome = outcome
        task = Task(part.offset, part.size, blob.expected_size, compression, limits, blob_algorithm, diff_algorithm)
        if keeper.region is None:
            raise ValueError("no other process sees the slabs")
        memory, self._start = keeper.region
        self._connection, there = socket.socketpair(type=socket.SOCK_SEQPACKET)
        self._process: Worker | None = None
        with there:
            try:
                file = os.dup(part.descriptor)  # standard input has a number that means something else to the process
                try:
                    descriptors = (there.fileno(), memory, file)
                    self._process = start_worker("wclayer.oci.inflate_worker", descriptors, descriptors)
                finally:
                    os.close(file)
                self._connection.sendall(pickle.dumps(task))
                for offset in range(0, len(keeper.slabs), SLAB_SIZE):
                    self._release(offset)
            except BaseException:
                self.stop()
                raise

    def slabs(self) -> Generator[memoryview]:
        """What the consumer iterates: each slab may be filled anew once the next is asked for. Raises what it had."""
        keeper = self._keeper
        while True:
            message = self._next_message()
            offset, length, self._blob.count = MESSAGE.unpack_from(message)
            if offset == END:
                break
            self._outcome.size += length
            offset -= self._start
            keeper.begin(offset)
            yield keeper.slabs[offset : offset + length].toreadonly()
            keeper.done(partial(self._release, offset))
        ending: Ending = pickle.loads(message[MESSAGE.size :])  # noqa: S301 - from the process that was started here
        if isinstance(ending, WclayerError):
            raise ending
        for known, digest in zip((self.blob_hash, self.diff_hash), ending, strict=True):
            if known is not None:
                known.hex = digest or ""
        self._outcome.complete = True

    def stop(self) -> None:
        """End it; harmless when called twice."""
        self._connection.close()
        process, self._process = self._process, None
        if process is None:
            return
        if self._outcome.complete:
            process.wait()  # it has said all that it had to say
        else:
            process.kill(_PATIENCE)

    def join(self) -> None:
        """Nothing is left to wait for."""

    def _release(self, offset: int) -> None:
        """The slab may be filled anew."""
        if self._process is not None:
            with suppress(ConnectionError):  # it has ended: what it said last, or that it did not, is read next
                self._connection.sendall(FREE.pack(self._start + offset))

    def _next_message(self) -> bytes:
        try:
            message = self._connection.recv(MOST)
        except ConnectionError:
            message = b""
        if message:
            return message
        code = self._process.wait() if self._process is not None else 0
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        raise StoreError(f"the process that inflates the layer ended by itself ({how})")
