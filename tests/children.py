"""The worker processes of this one, for tests that say when there are some."""

from __future__ import annotations

import time
from pathlib import Path


def workers_of(module: str) -> list[int]:
    """The processes that run ``module``, were started by this one and are no zombies."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # a thread that just ended
            continue
        found += [int(child) for child in children if module.encode() in _command(Path("/proc", child))]
    return found


def _command(process: Path) -> bytes:
    """What it runs; nothing if it ended."""
    while True:
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
            command = (process / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return b""
        if command or fields[0] == "Z":
            return command
        time.sleep(0.001)  # one that was started a moment ago has no arguments for another
