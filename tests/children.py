"""The worker processes of this one, for tests that say when there are some."""

from __future__ import annotations

from pathlib import Path


def workers_of(module: str) -> list[int]:
    """The processes that run ``module``, were started by this one and are no zombies."""
    found = []
    for task in Path("/proc/self/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # a thread that just ended
            continue
        for child in children:
            try:
                fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
                command = Path(f"/proc/{child}/cmdline").read_bytes()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if fields[0] != "Z" and module.encode() in command:
                found.append(int(child))
    return found
