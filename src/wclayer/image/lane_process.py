"""A lane whose layers another process writes: what an entry costs is Python's work, so threads cannot share it.

The process is a new interpreter that imports what this one would import. It is told everything over a socket; that it
ends with this process, see :mod:`wclayer.image.lane_worker`. It inherits the lock of the image's folder, so nobody
else comes to the folder before it is gone. Signals that end this process are none of its business: it is told.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wclayer._version import __version__
from wclayer.image.importing import ImportedLayer
from wclayer.image.lane import LaneLostError, LaneOptions, LocalLane
from wclayer.image.lane_wire import (
    Advanced,
    CommitRequest,
    Dropped,
    DropRequest,
    Poured,
    PourRequest,
    Ready,
    receive,
    send,
)
from wclayer.image.progress import Progress
from wclayer.oci import Descriptor, Digest, LayerBlob
from wclayer.oci.sources import file_part

__all__ = ["ProcessLane", "can_start_processes"]

_PROGRAM = (
    "import sys; descriptor = int(sys.argv[1]); sys.path[:] = sys.argv[2:];"
    " from wclayer.image.lane_worker import serve; serve(descriptor)"
)
_PATIENCE = 60  # seconds until a process that was started must say something
_PARTING = 10  # seconds until one that was told to end is killed


def can_start_processes() -> bool:
    """Whether there is an interpreter to start: not in a program that was frozen, nor where sockets carry no files."""
    frozen = getattr(sys, "frozen", False)
    return sys.platform != "win32" and hasattr(socket, "send_fds") and bool(sys.executable) and not frozen


class ProcessLane:
    """A lane in a process of its own, which holds ``lock`` as well. Raises OSError when none can be started.

    To be made by a thread that outlives it.
    """

    def __init__(self, options: LaneOptions, lock: int) -> None:
        self.options = options
        self._here = LocalLane(replace(options, helpers=True))  # for layers that only this process can read
        self._held_here: set[int] = set()
        self._connection, there = socket.socketpair()
        try:
            with there:
                self._process = _start(there.fileno(), lock)
        except BaseException:
            self._connection.close()
            raise

    def is_ready(self) -> bool:
        """Wait until the process can work; False when it cannot, or has another version: installed just now."""
        self._connection.settimeout(_PATIENCE)
        try:
            message, _ = receive(self._connection)
            send(self._connection, self.options)
        except (OSError, EOFError):
            return False
        self._connection.settimeout(None)
        return message == Ready(__version__)

    def pour(self, blob: LayerBlob, destination: Path, progress: Progress) -> Digest:
        """Have a layer written and verified, once all of it is here: the process reads files."""
        stored = blob.locate()
        if stored.arriving is not None:
            stored.arriving.wait(lambda: progress.advance(str(blob), 0))
        source = stored.open()
        try:
            part = file_part(source)
            if part is None:
                self._held_here.add(blob.index)
                return self._here.pour(blob, destination, progress)
            named = blob.descriptor
            request = PourRequest(
                blob.index,
                blob.count,
                Descriptor(named.media_type, named.digest, named.size) if named else None,
                blob.diff_id,
                part.offset,
                part.size,
                stored.size,
                stored.original,
                destination,
            )
            self._send(request, part.descriptor)
        finally:
            source.close()
        while isinstance(answer := self._receive(), Advanced):
            try:
                progress.advance(str(blob), answer.count)
            except BaseException:
                self.drop(blob.index)
                raise
        if isinstance(answer, Poured):
            return answer.diff_id
        raise _unexpected(answer)

    def commit(
        self, index: int, parents: Sequence[Path], chain_id: str, facts: Mapping[str, str | None]
    ) -> ImportedLayer:
        """Have a poured layer committed."""
        if index in self._held_here:
            return self._here.commit(index, parents, chain_id, facts)
        self._send(CommitRequest(index, tuple(parents), chain_id, dict(facts)))
        answer = self._receive()
        if isinstance(answer, ImportedLayer):
            return answer
        raise _unexpected(answer)

    def drop(self, index: int) -> None:
        """Have nothing left of a layer that was poured, or is being poured."""
        if index in self._held_here:
            self._here.drop(index)
            return
        try:
            self._send(DropRequest(index))
            while not isinstance(self._receive(raising=False), Dropped):
                pass  # what it had to say before it heard that
        except LaneLostError:
            return  # so it is gone; a sweep removes the rest

    def close(self) -> None:
        """End the process, and wait until it is gone."""
        self._here.close()
        self._connection.close()
        try:
            self._process.wait(_PARTING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _send(self, message: object, descriptor: int | None = None) -> None:
        try:
            send(self._connection, message, descriptor)
        except OSError:
            raise self._lost() from None

    def _receive(self, *, raising: bool = True) -> object:
        try:
            message, _ = receive(self._connection)
        except (OSError, EOFError):
            raise self._lost() from None
        if raising and isinstance(message, BaseException):
            raise message
        return message

    def _lost(self) -> LaneLostError:
        self._connection.close()
        try:
            code = self._process.wait(_PARTING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended by itself, with exit code {code}"
        return LaneLostError(
            f"the process that wrote this layer {how}",
            hint="if memory was short, --jobs 1 takes the least; the next run removes what it left",
        )


def _start(connection: int, lock: int) -> subprocess.Popen[bytes]:
    flags = ["-P"]
    flags += [f"-{flag}" for flag, name in _FLAGS.items() if getattr(sys.flags, name)]
    flags += ["-X", f"utf8={sys.flags.utf8_mode}"]
    # Ctrl-C goes to all processes of a terminal, and a supervisor may tell all to end. The mask is inherited.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        return subprocess.Popen(  # noqa: S603 - this very interpreter
            [sys.executable, *flags, "-c", _PROGRAM, str(connection), *sys.path],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(connection, lock),
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


_FLAGS = {"E": "ignore_environment", "s": "no_user_site", "S": "no_site", "B": "dont_write_bytecode"}
"""What this interpreter was told about where it finds modules, and the next one must be told too."""


def _unexpected(answer: object) -> TypeError:
    return TypeError(f"the process of a lane says {answer!r}")
