"""A worker: another process of this interpreter, which never waits for the interpreter lock of this one.

It imports what this process would import, and everything it is told comes through descriptors that it inherits. So it
notices when this process is gone, however that came about, and ends as well.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

__all__ = ["can_start_workers", "start_worker"]

_PROGRAM = (
    "import os, sys; sys.path[:] = {path!r}; from {module} import main; main{arguments!r};"
    " os._exit(0)"  # which is waited for, and has nothing to tidy up
)


def can_start_workers() -> bool:
    """Whether this system and this interpreter have what a worker needs, memory that two processes see included."""
    return sys.platform == "linux" and bool(sys.executable) and not hasattr(sys, "frozen")


def start_worker(module: str, arguments: tuple[int | str, ...], descriptors: Sequence[int]) -> subprocess.Popen[bytes]:
    """Start a process that calls ``main(*arguments)`` of ``module``; it inherits the open ``descriptors``.

    An interruption at the terminal is for this process to handle, and does not reach the worker. Raises OSError when
    there can be no process.
    """
    return subprocess.Popen(  # noqa: S603 - this interpreter
        [sys.executable, "-I", "-S", "-c", _PROGRAM.format(path=sys.path, module=module, arguments=arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=descriptors,
        process_group=0,
    )
