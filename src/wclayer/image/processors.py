"""How many processors this process may use, which in a container is fewer than the machine has; and what for.

Counted are those it is bound to (``sched_setaffinity``), and the time that its control groups grant (``cpu.max``, Linux
kernel documentation, cgroup-v2).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["WORTH_A_PROCESS", "prefer_throughput", "usable_processors", "worth_a_process"]

WORTH_A_PROCESS = 16 << 20
"""Bytes of a blob for which another process is worth its start: less is written before it has imported everything."""

_MEMBERSHIP = Path("/proc/self/cgroup")
_GROUPS = Path("/sys/fs/cgroup")


def usable_processors(membership: Path = _MEMBERSHIP, groups: Path = _GROUPS) -> int:
    """How many there are, 1 at least; a share of one counts as a whole."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([count, *_granted(membership, groups)]))


def worth_a_process(size: int | None) -> bool:
    """Whether a blob of ``size`` bytes, None if that is not known, is worth a process of its own."""
    return size is None or size >= WORTH_A_PROCESS


@contextmanager
def prefer_throughput() -> Iterator[None]:
    """Tell the scheduler that this thread, with all threads and processes it starts meanwhile, needs no haste.

    Otherwise each buffer that is passed on wakes a thread that interrupts another, which often holds the interpreter
    lock, for which all the others then wait. Does nothing where there is no such class (SCHED_BATCH, sched(7)), or
    where another one was chosen.
    """
    if sys.platform != "linux" or os.sched_getscheduler(0) != os.SCHED_OTHER:
        yield
        return
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _granted(membership: Path, groups: Path) -> list[int]:
    """What the group of this process and those above it grant, where they grant less than everything."""
    granted = []
    for group in _own_groups(membership, groups):
        try:
            quota, _, period = (group / "cpu.max").read_text("ascii").partition(" ")
            if quota != "max":
                granted.append(-(-int(quota) // int(period)))
        except (OSError, ValueError, ZeroDivisionError):
            continue  # no such limit here, or not in a form that is known
    return granted


def _own_groups(membership: Path, groups: Path) -> list[Path]:
    """The folders of the group of this process and of those above it; none where there are no such groups."""
    try:
        lines = membership.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    for line in lines:
        if line.startswith("0::/"):
            path = line.removeprefix("0::/")
            names = [] if ".." in path.split("/") else path.split("/")
            return [groups.joinpath(*names[:depth]) for depth in range(len(names) + 1)]
    return []
