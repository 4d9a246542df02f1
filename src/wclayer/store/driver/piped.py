"""A tar that is read while it is written, by a thread of its own.

Closing it early stops the writer, and closing waits for it: when ``close`` returns, nobody reads the layer any more.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from wclayer.model import Buffer
from wclayer.threads import Helper

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["PipedTar"]


class PipedTar(io.RawIOBase):
    """Reads what ``produce`` writes through the function it is given. ``done`` is called when it has ended.

    An error of ``produce`` is raised by the reading that comes to where it happened.
    """

    def __init__(self, produce: Callable[[Callable[[Buffer], object]], None], done: Callable[[], None]) -> None:
        super().__init__()
        self._read_end, self._write_end = os.pipe()
        self._error: BaseException | None = None
        self._done = done
        self._thread = Helper(partial(self._run, produce), "wclayer-diff")
        self._thread.start()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Read some bytes; 0 at the end."""
        view = memoryview(buffer).cast("B")
        data = os.read(self._read_end, len(view))
        if not data and len(view):
            self._thread.join()
            if self._error is not None:
                raise self._error
        view[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Stop, and wait until nothing is read from the layer any more. Harmless when called twice."""
        if not self.closed:
            os.close(self._read_end)
            self._thread.join()
            super().close()
            self._done()

    def _run(self, produce: Callable[[Callable[[Buffer], object]], None]) -> None:
        try:
            produce(self._write)
        except BrokenPipeError:
            pass  # closed early
        except BaseException as error:
            self._error = error
        finally:
            with suppress(OSError):
                os.close(self._write_end)

    def _write(self, data: Buffer) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._write_end, rest) :]
