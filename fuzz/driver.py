"""What the fuzzers of mutated files have in common: counting, limits of memory and time, and keeping what fails.

A failing case is known by the seed and its number, which give it again whatever came before it.
"""

from __future__ import annotations

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from abc import ABC, abstractmethod
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Generic, TypeVar

Case = TypeVar("Case")

SECONDS = 10


class Hang(Exception):
    """A case took too long."""


class Subject(ABC, Generic[Case]):
    """What is mutated and read. ``prepare`` comes before all else, in the memory that the cases have."""

    name: str
    """What one case is called."""
    memory: int
    """Bytes of address space."""
    kept: str
    """What is kept of a case that failed, and can be named to read it again."""

    @abstractmethod
    def prepare(self, scratch: Path) -> None:
        """Make the sound files that the cases come from; ``scratch`` is a folder until the end."""

    @abstractmethod
    def mutated(self, source: random.Random) -> Case:
        """The next case."""

    @abstractmethod
    def outcomes(self, case: Case, source: random.Random) -> Counter[str]:
        """Do all that can be done; returns how often what came of it. Whatever is raised is a failure."""

    @abstractmethod
    def keep(self, case: Case, folder: Path, number: str) -> None:
        """Keep a case that failed in ``folder``, with ``number`` in its name."""

    @abstractmethod
    def again(self, path: Path, source: random.Random) -> Counter[str]:
        """The outcomes of what was kept at ``path``."""


def drive(subject: Subject[Case], description: str | None) -> int:
    """Go through as many cases as the command line says, or read the one that it names; returns the exit code."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("path", nargs="?", type=Path, help=f"read {subject.kept} and show what happens")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, default=Path(), help=f"the folder for {subject.name}s that fail")
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (subject.memory, subject.memory))
    with tempfile.TemporaryDirectory() as scratch:
        subject.prepare(Path(scratch))
        if options.path:
            print(subject.again(options.path, random.Random(options.seed)))
            return 0
        return _through(subject, options)


def _through(subject: Subject[Case], options: argparse.Namespace) -> int:
    def too_long(_signal: int, _frame: FrameType | None) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, too_long)
    outcomes: Counter[str] = Counter()
    failures, slowest, begin = 0, 0.0, time.monotonic()
    for number in range(options.count):
        source = random.Random(f"{options.seed}-{number}")
        case = subject.mutated(source)
        started = time.process_time()
        signal.alarm(SECONDS)
        try:
            outcomes += subject.outcomes(case, source)
        except (Exception, Hang) as error:
            failures += 1
            subject.keep(case, options.keep, f"{options.seed}-{number}")
            print(f"{subject.name} {number}: {error!r}\n{traceback.format_exc()}", file=sys.stderr)
        finally:
            signal.alarm(0)
        slowest = max(slowest, time.process_time() - started)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{options.count} {subject.name}s, seed {options.seed}: {failures} failures; {dict(outcomes.most_common())}")
    print(f"slowest {slowest:.2f} s, peak {peak} MiB, {time.monotonic() - begin:.0f} s in all")
    return 1 if failures else 0
