"""What was written goes to the disk while more arrives, so that the last flush has little left to wait for.

The system would keep a gigabyte in memory and write it when the blob has to be durable, with nothing else to do
meanwhile. A thread asks for it every few mebibytes instead; network and disk then work at the same time.
"""

from __future__ import annotations

import os
import threading

from wclayer.oci.sources import store_error
from wclayer.threads import Helper

__all__ = ["Writeback"]

_WORTH_FLUSHING = 32 << 20
_flush = getattr(os, "fdatasync", os.fsync)


class Writeback:
    """Flushes the file ``descriptor`` behind its writers; ``name`` is for messages."""

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        self._changed = threading.Condition()
        self._waiting = 0
        self._stopping = False
        self._error: OSError | None = None
        self._thread: Helper | None = None

    def written(self, count: int) -> None:
        """So many bytes more are in the file."""
        with self._changed:
            self._waiting += count
            if self._waiting < _WORTH_FLUSHING or self._stopping:
                return
            if self._thread is None:
                self._thread = Helper(self._run, "wclayer-writeback")
                self._thread.start()
            self._changed.notify()

    def finish(self) -> None:
        """Everything that was written is durable when this returns; StoreError."""
        self.close()
        try:
            if self._error is not None:  # the system tells it only once
                raise self._error
            os.fsync(self._descriptor)
        except OSError as error:
            raise store_error(error, f"cannot write {self._name}") from error

    def close(self) -> None:
        """Stop flushing, and wait for what is being flushed; harmless when called twice."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                while self._waiting < _WORTH_FLUSHING and not self._stopping:
                    self._changed.wait()
                if self._stopping:
                    return
                self._waiting = 0
            try:
                _flush(self._descriptor)
            except OSError as error:  # raised by finish()
                self._error = error
                return
