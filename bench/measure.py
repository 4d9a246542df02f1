"""Candidates run in turns: every round runs each one once, in rotated order, and the first round only warms up.

Whatever slows the machine down for a while slows all of them down, so what is compared is what one run of the harness
measured, and only as ratios of medians.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Candidate", "Run", "expect", "measure", "run_rounds"]

Commands = Callable[[Path], list[list[str]]]


@dataclass(frozen=True)
class Run:
    """One run: wall and processor seconds, and the peak memory (bytes) of its largest process."""

    seconds: float
    cpu: float
    memory: int


@dataclass
class Candidate:
    """Something to measure. ``commands`` gets an empty folder and returns what to run there, one after another.

    ``verifies`` says what it checks on the way; ``unpacks`` is false for one that leaves no files.
    """

    name: str
    verifies: str
    commands: Commands
    version: str = ""
    unpacks: bool = True
    runs: list[Run] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        """The median of the wall seconds."""
        return statistics.median(run.seconds for run in self.runs)

    @property
    def cpu(self) -> float:
        """The median of the processor seconds."""
        return statistics.median(run.cpu for run in self.runs)

    @property
    def memory(self) -> int:
        """The most memory that any run took, in bytes."""
        return max(run.memory for run in self.runs)


def run_rounds(
    candidates: Sequence[Candidate],
    rounds: int,
    ground: Callable[[], AbstractContextManager[Path]],
    check: Callable[[Path], None] | None = None,
) -> None:
    """Run all ``candidates`` in ``rounds`` rounds after a warm-up, in which ``check`` looks at what they left."""
    for number in range(rounds + 1):
        turn = number % len(candidates)
        for candidate in [*candidates[turn:], *candidates[:turn]]:
            with ground() as place:
                run = measure(candidate.commands(place), place)
                if number:
                    candidate.runs.append(run)
                elif check is not None and candidate.unpacks:
                    check(place)
            what = f"round {number}" if number else "warm-up"
            print(f"  {what}: {candidate.name} {run.seconds:.2f} s", file=sys.stderr)


def measure(commands: list[list[str]], place: Path) -> Run:
    """Run ``commands``; raises CalledProcessError, after showing what was said, when one fails."""
    report, said = place.parent / "time.txt", place.parent / "stderr.txt"
    seconds = cpu = 0.0
    memory = 0
    for command in commands:
        # A child's peak counts what its parent held when it was forked, so a small program stands between.
        between = ["/usr/bin/time", "-q", "-f", "%U %S %M", "-o", str(report)]
        with said.open("wb") as errors:
            begin = time.perf_counter()
            done = subprocess.run([*between, *command], stdout=subprocess.DEVNULL, stderr=errors, check=False)
            seconds += time.perf_counter() - begin
        if done.returncode:
            print(said.read_text(errors="replace")[-2000:], file=sys.stderr)
            done.check_returncode()
        user, system, kilobytes = report.read_text().split()
        cpu += float(user) + float(system)
        memory = max(memory, int(kilobytes) << 10)
    return Run(seconds, cpu, memory)


def expect(size: int, files: int) -> Callable[[Path], None]:
    """A check that a candidate did the work: at least ``files`` names of files, and ``size`` bytes in them."""

    def check(place: Path) -> None:
        seen: dict[int, int] = {}
        names = 0
        for entry in _walk(place):
            status = entry.stat(follow_symlinks=False)
            seen[status.st_ino] = status.st_size
            names += 1
        if names < files or sum(seen.values()) < size:
            raise RuntimeError(f"unpacked were {names} files with {sum(seen.values())} bytes, not {files} with {size}")

    return check


def _walk(folder: Path) -> Iterator[os.DirEntry[str]]:
    folders = [str(folder)]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    yield entry
