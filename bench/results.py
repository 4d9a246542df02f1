"""What a suite found: rows of measurements, and targets, each with the value that was reached."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.measure import Candidate

__all__ = ["MEMORY_LIMIT", "Result", "Target", "machine", "memory_target", "ratio", "row"]

MEMORY_LIMIT = 120
"""MiB that no run of ours may exceed."""


@dataclass(frozen=True)
class Target:
    """``value`` of ``what``, in ``unit``; ``limit`` is None for a fact that nothing was promised about."""

    what: str
    value: float
    unit: str = "×"
    limit: float | None = None
    at_least: bool = True

    @property
    def reached(self) -> bool | None:
        """Whether the limit is kept; None without one."""
        if self.limit is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass
class Result:
    """One suite's outcome, as it is written to ``bench/out/SUITE.json``."""

    suite: str
    title: str
    rounds: int
    file_system: str
    corpus: dict[str, Any]
    rows: list[dict[str, Any]]
    targets: list[Target] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """The document of this suite."""
        targets = [{**asdict(target), "reached": target.reached} for target in self.targets]
        return {"schema": "wclayer-bench/1", **asdict(self), "targets": targets, "machine": machine()}


def machine() -> dict[str, Any]:
    """What was measured on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.machine()
    return {
        "processor": model,
        "processors": os.cpu_count(),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def row(candidate: Candidate, base: Candidate) -> dict[str, Any]:
    """One candidate's line; ``ratio`` is its median wall time by that of ``base``."""
    return {
        "name": candidate.name,
        "version": candidate.version,
        "verifies": candidate.verifies,
        "seconds": [round(run.seconds, 4) for run in candidate.runs],
        "median": candidate.seconds,
        "cpu": candidate.cpu,
        "memory": candidate.memory,
        "ratio": ratio(candidate, base),
    }


def ratio(candidate: Candidate, base: Candidate) -> float:
    """How many times as long as ``base`` the candidate takes: median by median."""
    return candidate.seconds / base.seconds


def memory_target(candidates: Sequence[Candidate]) -> Target:
    """The peak memory of ours."""
    peak = max(candidate.memory for candidate in candidates) / (1 << 20)
    return Target("peak memory of wclayer", peak, "MiB", MEMORY_LIMIT, at_least=False)
