"""Unpacking one layer, side by side with the programs people use for it.

Every round runs every candidate once, in rotated order, each into a brand-new file system: an ext4 in memory where
this may be mounted (root), else a new folder. Reported are medians, the median of the ratios within a round, and peak
memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from corpus import make_layout

__all__ = ["main"]


@dataclass
class Candidate:
    """A program to measure. ``checks`` says what it verifies while it unpacks."""

    name: str
    checks: str
    command: Callable[[Path], list[str]]
    seconds: list[float] = field(default_factory=list)
    memory: int = 0


def candidates(layout: Path, blob: Path) -> list[Candidate]:
    """Ours first, then every peer that is installed."""
    found = [
        Candidate(
            "wclayer unpack",
            "blob digest, DiffID, names",
            lambda to: [sys.executable, "-m", "wclayer", "unpack", f"oci:{layout}:bench", str(to / "out")],
        )
    ]
    peers = [
        Candidate("GNU tar", "nothing", lambda to: ["tar", "-xzf", str(blob), "-C", str(to)]),
        Candidate("bsdtar", "nothing", lambda to: ["bsdtar", "-xf", str(blob), "-C", str(to)]),
        Candidate(
            "umoci",
            "blob digest, DiffID",
            lambda to: ["umoci", "raw", "unpack", "--image", f"{layout}:bench", str(to / "out")],
        ),
    ]
    programs = {"GNU tar": "tar", "bsdtar": "bsdtar", "umoci": "umoci"}
    return found + [peer for peer in peers if shutil.which(programs[peer.name])]


@contextmanager
def new_file_system(scratch: Path, size: int) -> Iterator[Path]:
    """A folder that nothing was ever deleted from."""
    place = Path(tempfile.mkdtemp(dir=scratch))
    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        yield place
        return
    memory, mounted = place / "memory", place / "ext4"
    memory.mkdir()
    mounted.mkdir()
    image = memory / "image"
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size + (256 << 20)}", "tmpfs", memory], check=True)
    try:
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-O", "^has_journal", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, mounted], check=True)
        try:
            yield mounted
        finally:
            subprocess.run(["umount", mounted], check=True)
    finally:
        subprocess.run(["umount", memory], check=True)


def measure(candidate: Candidate, place: Path) -> tuple[float, int]:
    """Seconds and peak memory (bytes) of one run. Raises CalledProcessError when it fails."""
    # A child's peak counts what its parent held when it was forked, so a small program stands between.
    report = place.parent / "memory.txt"
    command = ["/usr/bin/time", "-f", "%M", "-o", str(report), *candidate.command(place)]
    begin = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return time.perf_counter() - begin, int(report.read_text()) * 1024


def main() -> None:
    """Build the corpus, run the rounds, print the table and write ``bench/out/unpack.json``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--bytes", type=int, default=600_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    out = Path(__file__).parent / "out"
    out.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wclayer-bench-") as scratch:
        layout = Path(scratch) / "layout"
        print(f"building a layer of {options.files} files and {options.bytes} bytes", file=sys.stderr)
        diff_id = make_layout(layout, options.files, options.bytes, "gzip")
        blob = max((layout / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
        size = options.bytes * 2 + options.files * 8192 + (512 << 20)
        running = candidates(layout, blob)
        for round_number in range(options.rounds + 1):
            turn = round_number % len(running)
            for candidate in running[turn:] + running[:turn]:
                with new_file_system(Path(scratch), size) as place:
                    seconds, memory = measure(candidate, place)
                if round_number:  # the first round warms up
                    candidate.seconds.append(seconds)
                    candidate.memory = max(candidate.memory, memory)
                print(f"round {round_number}: {candidate.name} {seconds:.2f} s", file=sys.stderr)
    ours = running[0]
    rows = []
    print(f"{'':16} {'median s':>9} {'times ours':>11} {'peak MiB':>9}  verifies")
    for candidate in running:
        ratio = statistics.median(a / b for a, b in zip(candidate.seconds, ours.seconds, strict=True))
        median = statistics.median(candidate.seconds)
        print(f"{candidate.name:16} {median:9.2f} {ratio:11.2f} {candidate.memory >> 20:9}  {candidate.checks}")
        rows.append({"name": candidate.name, "seconds": candidate.seconds, "ratio": ratio, "memory": candidate.memory})
    document = {"files": options.files, "bytes": options.bytes, "diff_id": str(diff_id), "rows": rows}
    (out / "unpack.json").write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
