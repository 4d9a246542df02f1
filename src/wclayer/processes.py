"""A worker: another process of this interpreter, which never waits for the interpreter lock of this one.

Everything it is told comes through descriptors that it inherits. So it notices when this process is gone, however that
came about, and ends as well. It is a new interpreter, or in a program that allows it a copy of this one, which is there
at once: to start an interpreter and to import what it needs takes 30 ms.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn, Protocol

__all__ = ["Worker", "allow_copies", "can_copy", "can_start_workers", "start_worker"]

_PROGRAM = (
    "import os, sys; sys.path[:] = {path!r}; from {module} import main; main{arguments!r};"
    " os._exit(0)"  # which is waited for, and has nothing to tidy up
)
_STEP = 0.001  # seconds between two looks at a process that was killed

_copies_allowed = [False]


class Worker(Protocol):
    """A process that was started; ``pid`` is its number."""

    pid: int

    def wait(self) -> int:
        """Wait for its end; returns its exit code, or the negative number of the signal that ended it."""

    def kill(self, patience: float) -> None:
        """End it whatever it is doing, and wait for that at most so many seconds: it may be in a call that blocks."""


def allow_copies() -> None:
    """Let workers be copies of this process, as long as it has one thread.

    For a program that is nothing but this package: in any other a copy may hold what it should not, a lock or half of
    a transaction.
    """
    _copies_allowed[0] = True


def can_start_workers() -> bool:
    """Whether this system and this interpreter have what a worker needs, memory that two processes see included."""
    return sys.platform == "linux" and bool(sys.executable) and not hasattr(sys, "frozen")


def can_copy() -> bool:
    """Whether a worker would be a copy of this process, as of now."""
    return _copies_allowed[0] and len(_numbers_in("/proc/self/task")) == 1


def start_worker(module: str, arguments: tuple[int | str, ...], descriptors: Sequence[int]) -> Worker:
    """Start a process that calls ``main(*arguments)`` of ``module``; it inherits the open ``descriptors``.

    An interruption at the terminal is for this process to handle, and does not reach the worker. Raises OSError when
    there can be no process.
    """
    if can_copy():
        return _Copy(import_module(module).main, arguments, descriptors)
    return _Interpreter(_PROGRAM.format(path=sys.path, module=module, arguments=arguments), descriptors)


class _Interpreter:
    """A new interpreter that runs ``program``."""

    def __init__(self, program: str, descriptors: Sequence[int]) -> None:
        import subprocess  # takes as long as a copy

        self._expired = subprocess.TimeoutExpired
        self._process = subprocess.Popen(  # noqa: S603 - this interpreter
            [sys.executable, "-I", "-S", "-c", program],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=descriptors,
            process_group=0,
        )
        self.pid = self._process.pid

    def wait(self) -> int:
        return self._process.wait()

    def kill(self, patience: float) -> None:
        self._process.kill()
        with suppress(self._expired):
            self._process.wait(patience)


class _Copy:
    """A copy of this process that calls ``main``, and has no other open files than ``descriptors``."""

    def __init__(self, main: Callable[..., None], arguments: tuple[int | str, ...], descriptors: Sequence[int]) -> None:
        self._code: int | None = None
        gc.freeze()  # or looking for cycles would make each of the two copy the memory that they share
        # Until the copy has handlers of its own no signal may reach it: it would tidy up what is not its own.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # one that just came is raised here
            self.pid = os.fork()
            if not self.pid:
                _work(main, arguments, {2, *descriptors})
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._code

    def kill(self, patience: float) -> None:
        if self._code is not None:
            return
        os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + patience
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > deadline:
                return
            time.sleep(_STEP)
        self._code = os.waitstatus_to_exitcode(ended[1])


def _work(main: Callable[..., None], arguments: tuple[int | str, ...], descriptors: set[int]) -> NoReturn:
    """The life of a copy, of which nothing may come back to where it was made."""
    code = 1
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
        os.setpgid(0, 0)
        for descriptor in _numbers_in("/proc/self/fd"):
            if descriptor not in descriptors:
                with suppress(OSError):  # the list was one of them
                    os.close(descriptor)
        for standard in (0, 1):
            os.dup2(os.open(os.devnull, os.O_RDWR), standard)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        main(*arguments)
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


def _numbers_in(folder: str) -> list[int]:
    with os.scandir(folder) as entries:
        return [int(entry.name) for entry in entries]
