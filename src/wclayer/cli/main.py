"""The ``wclayer`` command: one place where errors become exit codes.

``wclayer --version`` loads nothing, ``--help`` nothing but click, and a verb what it needs.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from wclayer._version import __version__
from wclayer.errors import StoreError, WclayerError
from wclayer.processes import allow_copies

if TYPE_CHECKING:
    from types import FrameType

__all__ = ["COMPLETION", "PROGRAM", "VERSION", "main", "program"]

PROGRAM, COMPLETION = "wclayer", "_WCLAYER_COMPLETE"
VERSION = f"{PROGRAM} {__version__}"
INTERRUPTED = 130
TERMINATED = 143


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # Threads that inflate and hash must not wait five milliseconds for the interpreter after each buffer.
    sys.setswitchinterval(0.00005)
    # A hundred thousand entries pass through, and none of them is part of a cycle.
    gc.set_threshold(50_000, 20, 50)
    try:
        with _terminable():
            result = _run(sys.argv[1:] if arguments is None else list(arguments))
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()  # its reader has gone: nothing to say, and nobody to say it to
        return 0
    except _Terminated:
        _tell("terminated")
        return TERMINATED
    except KeyboardInterrupt:
        _tell("interrupted")
        return INTERRUPTED
    except WclayerError as error:
        _tell(str(error))
        return error.exit_code
    except OSError as error:
        failure = StoreError(f"{error.strerror or error}: {os.fsdecode(error.filename or '')}".rstrip(": "))
        _tell(str(failure))
        try:
            sys.stdout.flush()
        except OSError:
            _drop_output()  # or Python would fail with it once more, and with an exit code of its own
        return failure.exit_code
    return result


def program() -> NoReturn:
    """The command as a process of its own: run it, and end."""
    allow_copies()
    code = main()
    gc.freeze()  # all of it goes with the process; to look through it for cycles first would take the longest
    sys.exit(code)


def _drop_output() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


class _Terminated(KeyboardInterrupt):
    """SIGTERM came: an interruption like the other one."""


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


@contextmanager
def _terminable() -> Iterator[None]:
    """Let SIGTERM end the command as SIGINT does, so that it cleans up; only a main thread can have that."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, _terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _run(arguments: list[str]) -> int:
    if arguments == ["--version"]:
        sys.stdout.write(f"{VERSION}\n")
        return 0
    from wclayer.cli.verbs import run

    return run(arguments)


def _tell(text: str) -> None:
    from wclayer.cli.output import tell

    tell(text)
