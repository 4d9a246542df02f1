"""Running the command, inside this process and outside, and seeing everything it leaves behind."""

from __future__ import annotations

import gc
import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from wclayer.cli.main import main

INTEGRITY, STORE, USAGE = 6, 8, 2
NOBODY = 65534
CI = os.environ.get("CI") == "true"


class Outcome(NamedTuple):
    """How a command ended, and what it said."""

    code: int
    out: str
    err: str


class Trace(NamedTuple):
    """What can be seen of a file or folder."""

    mode: int
    owner: int
    links: int
    modified: int
    content: str


def snapshot(root: Path, *, without: Sequence[Path] = ()) -> dict[str, Trace]:
    """Everything at and below ``root``; of the folders ``without`` it is only said that they are there."""
    found = {}
    for base, _, files in os.walk(root):
        for path in [base, *(os.path.join(base, name) for name in files)]:
            found[path] = _trace(path, timeless=Path(path) in without)
    return found


def _trace(path: str, *, timeless: bool) -> Trace:
    status = os.lstat(path)
    content = ""
    if os.path.islink(path):
        content = os.readlink(path)
    elif os.path.isfile(path):
        with open(path, "rb") as opened:
            content = hashlib.file_digest(opened, "sha256").hexdigest()
    links = 0 if os.path.isdir(path) else status.st_nlink
    return Trace(status.st_mode, status.st_uid, links, 0 if timeless else status.st_mtime_ns, content)


class Command:
    """The command, called in this process; whatever it opened or started must be gone when it returns."""

    def __init__(self, capture: pytest.CaptureFixture[str]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str | Path) -> Outcome:
        self._capture.readouterr()
        gc.collect()  # or what an earlier test left is counted before and not after
        before = _held()
        code = main([str(argument) for argument in arguments])
        gc.collect()
        captured = self._capture.readouterr()
        assert _held() == before, "files or threads were left open"
        assert "Traceback" not in captured.err
        return Outcome(code, captured.out, captured.err)


def _held() -> tuple[int, list[str]]:
    return len(os.listdir("/proc/self/fd")), sorted(
        thread.name for thread in threading.enumerate() if thread.name.startswith(("wclayer", "layer"))
    )


def arguments_of(*arguments: str | Path) -> list[str]:
    """What starts the command as a process of its own."""
    return [sys.executable, "-m", "wclayer", *map(str, arguments)]


def run(*arguments: str | Path, timeout: float = 120, **options: Any) -> Outcome:
    """The command as a process of its own."""
    done = subprocess.run(
        arguments_of(*arguments), capture_output=True, text=True, timeout=timeout, check=False, **options
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


# An interpreter in the home of root cannot be started by anyone else. So it is started by root, imports what it will
# need, and only then becomes somebody else.
AS_SOMEBODY = """
import importlib, os, pkgutil, sys
import wclayer
for found in pkgutil.walk_packages(wclayer.__path__, "wclayer."):
    if not found.name.endswith("__main__"):
        importlib.import_module(found.name)
import codecs, difflib, sqlite3, tarfile, tempfile
for encoding in ("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "unicode_escape"):
    codecs.lookup(encoding)
uid = int(sys.argv[1])
os.setgroups([]); os.setgid(uid); os.setuid(uid)
os.umask(0o022)
from wclayer.cli.main import main
raise SystemExit(main(sys.argv[2:]))
"""


def run_as(uid: int, *arguments: str | Path, timeout: float = 120, **options: Any) -> Outcome:
    """The command as another user; for root only."""
    done = subprocess.run(
        [sys.executable, "-c", AS_SOMEBODY, str(uid), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
        **options,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def require_root() -> None:
    """Skip what only root can try; in CI that is a failure."""
    if os.geteuid() == 0:
        return
    if CI:
        pytest.fail("CI must run as root, for it has to mount file systems and to become other users")
    pytest.skip("only root can mount file systems and become other users")
