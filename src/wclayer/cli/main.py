"""The ``wclayer`` command: a table of verbs, loaded when they are called, and one place where errors become exit codes.

``wclayer --version`` and ``--help`` load nothing but click.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FrameType
from typing import NoReturn

import click

from wclayer._version import __version__
from wclayer.cli.output import tell
from wclayer.errors import StoreError, WclayerError

__all__ = ["COMPLETION", "PROGRAM", "cli", "main"]

PROGRAM, COMPLETION = "wclayer", "_WCLAYER_COMPLETE"
INTERRUPTED = 130
TERMINATED = 143

_VERBS: dict[str, tuple[str, str]] = {
    "cat": ("wclayer.cli.cat", "Write a file of an image to standard output."),
    "completion": ("wclayer.cli.completion", "Print the completion script of a shell."),
    "convert": ("wclayer.cli.convert", "Pour a layer, or an image, from one form into another."),
    "explain": ("wclayer.cli.explain", "Say what is known about an error of hcsshim or Windows."),
    "export": ("wclayer.cli.export", "Write a layer folder as a layer tar."),
    "extract": ("wclayer.cli.extract", "Copy files out of an image."),
    "import": ("wclayer.cli.importing", "Make a layer folder from a layer tar."),
    "inspect": ("wclayer.cli.inspect", "Say what an image is made of."),
    "layer-id": ("wclayer.cli.layer_id", "Print the GUID that Windows gives a layer."),
    "lint": ("wclayer.cli.lint", "Find what Windows would refuse, or change."),
    "ls": ("wclayer.cli.ls", "List a folder of an image."),
    "sample": ("wclayer.cli.sample", "Make a small Windows image with no Microsoft content."),
    "stat": ("wclayer.cli.stat", "Show everything NTFS knows about a path."),
    "unpack": ("wclayer.cli.unpack", "Unpack an image into layer folders, or into one merged tree."),
    "verify": ("wclayer.cli.verify", "Check digests, and databases against files."),
}


class _Verbs(click.Group):
    """A group whose commands are imported when they are needed."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return sorted(_VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _VERBS:
            return None
        command: click.Command = import_module(_VERBS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_VERBS.items())])


@click.group(
    cls=_Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=(
        "IMAGE is oci:DIR[:TAG], oci-archive:FILE, docker-archive:FILE, dir:DIR, a path to any of these or to a layer"
        " tar, or - for a layer tar on standard input.\n\nExit codes: 0 ok, 1 a difference was found, 2 usage, 3 not"
        " found, 4 authentication, 5 network, 6 integrity, 7 unsupported, 8 store or I/O, 130 interrupted,"
        " 143 terminated."
    ),
)
@click.version_option(__version__, prog_name=PROGRAM, message="%(prog)s %(version)s")
def cli() -> None:
    """Windows container image layers without Windows: every NTFS detail kept, every digest reproducible."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    # Threads that inflate and hash must not wait five milliseconds for the interpreter after each buffer.
    sys.setswitchinterval(0.0005)
    # A hundred thousand entries pass through, and none of them is part of a cycle.
    gc.set_threshold(50_000, 20, 50)
    try:
        with _terminable():
            result = _run(sys.argv[1:] if arguments is None else list(arguments))
            sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone: nothing to say, and nobody to say it to.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        return 0
    except click.exceptions.Exit as done:
        return done.exit_code
    except click.ClickException as error:
        error.show(sys.stderr)
        return error.exit_code
    except _Terminated:
        tell("terminated")
        return TERMINATED
    except (KeyboardInterrupt, click.Abort):
        tell("interrupted")
        return INTERRUPTED
    except WclayerError as error:
        tell(str(error))
        return error.exit_code
    except OSError as error:
        failure = StoreError(f"{error.strerror or error}: {os.fsdecode(error.filename or '')}".rstrip(": "))
        tell(str(failure))
        return failure.exit_code
    return result if isinstance(result, int) else 0


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


def _run(arguments: list[str]) -> object:
    """What the verb returns. Click's own ``main`` would take a closed pipe for a failure, so it is not asked."""
    if COMPLETION in os.environ:
        return cli.main(args=arguments, prog_name=PROGRAM)
    with cli.make_context(PROGRAM, arguments) as context:
        return cli.invoke(context)
