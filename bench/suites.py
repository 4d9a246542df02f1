"""What is measured, and against which targets: one function for each suite.

A target is the peer's median wall time by ours, from the same run, unless it says otherwise.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.cim import cim
from bench.ground import file_system_name, new_file_system
from bench.hives import hives
from bench.layers import layers
from bench.measure import Candidate, expect, measure, run_rounds
from bench.mount import mount
from bench.peers import Corpus, floor, interpreted, ours, unpackers, version_of, wclayer
from bench.results import Result, Target, memory_target, ratio, row

__all__ = ["DEFAULT", "SUITES", "Bench"]

_UNCOMPILED = "wclayer, not compiled"
_SMALL, _HUGE = (100_000, 600_000_000), (100_000, 5_000_000_000)


@dataclass
class Bench:
    """One run of the harness: ``files`` and ``size`` are those of the large layer; ``shrink`` divides every corpus."""

    scratch: Path
    files: int = 20_000
    size: int = 1_000_000_000
    rounds: int = 5
    shrink: int = 1
    seed: int = 1
    content: str = "wheels"
    _corpora: dict[str, Corpus] = field(default_factory=dict)

    def corpus(self, files: int, size: int, compression: str, *, layers: int = 1, spread: float = 2.0) -> Corpus:
        """Such a corpus, built in a process of its own the first time that somebody asks for it."""
        files, size = max(files // self.shrink, 100), max(size // self.shrink, 1 << 20)
        key = f"{files}-{size}-{compression}-{layers}-{spread}"
        if key not in self._corpora:
            print(f"building a corpus of {files} files and {size} bytes, {compression}", file=sys.stderr)
            folder = self.scratch / key
            options = {"--files": files, "--bytes": size, "--seed": self.seed, "--spread": spread, "--layers": layers}
            words = [word for option in options.items() for word in map(str, option)]
            kinds = ["--compression", compression, "--content", self.content]
            subprocess.run([sys.executable, "-m", "bench.corpus", str(folder), *words, *kinds], check=True)
            self._corpora[key] = Corpus.at(folder)
        return self._corpora[key]

    def large(self, compression: str, *, layers: int = 1) -> Corpus:
        """The large layer."""
        return self.corpus(self.files, self.size, compression, layers=layers)

    def ground(self, corpus: Corpus, copies: int = 1) -> Callable[[], AbstractContextManager[Path]]:
        """A new file system with room for ``copies`` of what is in the corpus."""
        size, names = int(corpus.facts["data"]) * copies, int(corpus.facts["entries"]) * copies
        return lambda: new_file_system(self.scratch, size, names)

    def rounds_of(
        self, candidates: list[Candidate], corpus: Corpus, *, copies: int = 1, rounds: int | None = None
    ) -> None:
        """Run all of them, each into a file system of its own, and check that they did the work."""
        names = corpus.facts["names"]
        check = expect(int(corpus.facts["data"]), int(names["file"]) + int(names["link"]))
        run_rounds(candidates, rounds or self.rounds, self.ground(corpus, copies), check)

    def result(
        self,
        suite: str,
        title: str,
        corpus: Corpus,
        candidates: list[Candidate],
        targets: list[Target],
        **more: list[str],
    ) -> Result:
        """The outcome; the first candidate is what the others are compared with."""
        rows = [row(candidate, candidates[0]) for candidate in candidates]
        return Result(suite, title, len(candidates[0].runs), file_system_name(), corpus.facts, rows, targets, **more)


def _unpack(bench: Bench, suite: str, title: str, corpus: Corpus, limits: dict[str, float]) -> Result:
    mine = ours(corpus)
    peers, missing = unpackers(corpus)
    lowest = floor(corpus)
    plain = [ours(corpus, name=_UNCOMPILED, compiled=False)] if wclayer() != interpreted() else []
    candidates = [mine, *plain, *peers, *([lowest] if lowest else [])]
    bench.rounds_of(candidates, corpus)
    targets = [Target(peer.name, ratio(peer, mine), limit=limits.get(peer.name)) for peer in peers]
    targets.append(memory_target([mine]))
    return bench.result(suite, title, corpus, candidates, targets, missing=missing)


def unpack(bench: Bench) -> Result:
    """A large layer, gzip."""
    limits = {
        "GNU tar -xzf": 2.3,
        "umoci raw unpack": 2.2,
        "Go archive/tar": 2.8,
        "bsdtar": 1.6,
        "GNU tar -I igzip": 1.25,
    }
    return _unpack(bench, "unpack", "Unpacking a large layer, gzip", bench.large("gzip"), limits)


def zstd(bench: Bench) -> Result:
    """The same layer, zstd."""
    limits = {"GNU tar -I zstd": 1.0, "Go archive/tar": 1.8}
    return _unpack(bench, "zstd", "Unpacking a large layer, zstd", bench.large("zstd"), limits)


def small(bench: Bench) -> Result:
    """Many small files, gzip."""
    limits = {"GNU tar -xzf": 1.15, "umoci raw unpack": 1.8, "Go archive/tar": 1.8}
    corpus = bench.corpus(*_SMALL, "gzip", spread=1.2)
    return _unpack(bench, "small", "Unpacking many small files, gzip", corpus, limits)


def huge(bench: Bench) -> Result:
    """A layer as large as Windows Server Core's, gzip."""
    corpus = bench.corpus(*_HUGE, "gzip")
    return _unpack(bench, "huge", "Unpacking a layer of 5 GB, gzip", corpus, {})


def image(bench: Bench) -> Result:
    """Four layers, all processors against one worker."""
    layers = 4
    corpus = bench.large("gzip", layers=layers)
    together = ours(corpus, name="wclayer, the image")
    program = wclayer()

    def each(*prefix: str) -> Callable[[Path], list[list[str]]]:
        return lambda to: [
            [
                *prefix,
                *program,
                "unpack",
                f"oci:{corpus.folder}:layer-{number}",
                str(to / f"out-{number}"),
                "--jobs",
                "1",
            ]
            for number in range(layers)
        ]

    verifies = together.verifies
    alone = Candidate("wclayer, its layers one by one, one processor", verifies, each("taskset", "-c", "0"))
    pipelined = Candidate("wclayer, its layers one by one, all processors", verifies, each())
    candidates = [together, pipelined]
    if version_of("taskset", "--version"):
        candidates.append(alone)
    bench.rounds_of(candidates, corpus)
    targets = [Target(pipelined.name, ratio(pipelined, together))]
    if alone.runs:
        targets.append(Target(alone.name, ratio(alone, together), limit=1.5))
    targets.append(memory_target([together]))
    return bench.result("image", "An image of four layers", corpus, candidates, targets)


def verbs(bench: Bench) -> Result:
    """Looking into a layer folder of 100,000 entries, and starting up."""
    corpus = bench.corpus(85_000, 500_000_000, "gzip")
    program = wclayer()
    with bench.ground(corpus)() as place:
        unpacked = str(place / "out")
        measure([[*program, "unpack", f"oci:{corpus.folder}:bench", unpacked]], place)
        path = next(line.split("\t")[2] for line in _floor_lines(corpus) if "/System32/" in line and line[0] == "f")

        def verb(name: str, *arguments: str) -> Candidate:
            return Candidate(name, "", lambda _to: [[*program, *arguments]], unpacks=False)

        bare = Candidate("python -c pass", "", lambda _to: [[sys.executable, "-c", "pass"]], unpacks=False)
        limits = {
            "wclayer ls -R --format jsonl": 1.5,
            "wclayer stat": 0.25,
            "wclayer cat": 0.25,
            "wclayer --version": 0.12,
        }
        candidates = [
            bare,
            verb("wclayer --version", "--version"),
            verb("wclayer stat", "stat", unpacked, path),
            verb("wclayer cat", "cat", unpacked, path),
            verb("wclayer ls -R --format jsonl", "ls", "-R", unpacked, "--format", "jsonl"),
        ]

        @contextmanager
        def same() -> Iterator[Path]:
            yield place

        run_rounds(candidates, bench.rounds, same)
    targets = [
        Target(candidate.name, candidate.seconds, "s", limits[candidate.name], at_least=False)
        for candidate in candidates[1:]
    ]
    targets.append(Target("wclayer --version by python -c pass", ratio(candidates[1], bare), "×", 5, at_least=False))
    targets.append(memory_target(candidates[1:]))
    return bench.result("verbs", "Looking into a layer of 100,000 entries", corpus, candidates, targets)


def _floor_lines(corpus: Corpus) -> Iterator[str]:
    with (corpus.folder / "floor.txt").open(encoding="utf-8") as lines:
        yield from lines


def floor_suite(bench: Bench) -> Result:
    """Where the time goes: each part of the work by itself."""
    corpus = bench.large("gzip")
    plain = bench.large("none")
    blob, tar = str(corpus.blob()), str(plain.blob())
    mine = ours(corpus)
    candidates = [mine, ours(plain, name="wclayer, of an uncompressed layer")]
    verify = [*wclayer(), "verify", f"oci:{corpus.folder}:bench"]
    candidates.append(Candidate("wclayer verify: nothing written", "both digests", lambda _to: [verify], unpacks=False))
    if version_of("igzip", "--version"):
        inflate = ["sh", "-c", 'igzip -dc "$0" > /dev/null', blob]
        candidates.append(
            Candidate("igzip: only inflated", "nothing", lambda _to: [inflate], version_of("igzip", "--version"), False)
        )
    script = "import hashlib, sys; [hashlib.file_digest(open(path, 'rb'), 'sha256') for path in sys.argv[1:]]"
    hashing = [sys.executable, "-c", script, blob, tar]
    candidates.append(Candidate("hashlib: only the two digests", "nothing", lambda _to: [hashing], unpacks=False))
    extract = ["tar", "--warning=no-unknown-keyword", "-xf", tar, "-C"]
    candidates.append(Candidate("GNU tar -xf of an uncompressed layer", "nothing", lambda to: [[*extract, str(to)]]))
    lowest = floor(corpus)
    candidates += [lowest] if lowest else []
    bench.rounds_of(candidates, corpus)
    return bench.result("floor", "Where the time goes", corpus, candidates, [])


def scale(bench: Bench) -> Result:
    """Time and memory as the number of entries grows to a million."""
    steps = (10_000, 100_000, 1_000_000)
    candidates: list[Candidate] = []
    entries: list[int] = []
    for step in steps:
        corpus = bench.corpus(step * 100 // 119, step * 50, "gzip", spread=0.5)
        entries.append(int(corpus.facts["entries"]))
        candidate = ours(corpus, name=f"{entries[-1]:,} entries")
        bench.rounds_of([candidate], corpus, rounds=min(bench.rounds, 3))  # a million entries take a while
        candidates.append(candidate)
    per_entry = [candidate.seconds / count for candidate, count in zip(candidates, entries, strict=True)]
    growth = (candidates[-1].memory - candidates[0].memory) / (entries[-1] - entries[0])
    targets = [
        Target("time per entry of the largest by that of the middle one", per_entry[2] / per_entry[1]),
        Target("time per entry of the largest", per_entry[2] * 1e6, "µs"),
        Target("memory per entry", growth, "bytes"),
    ]
    return bench.result("scale", "As the number of entries grows", corpus, candidates, targets)


def copy(bench: Bench) -> Result:
    """What a pull does with a layer once it has the bytes."""
    corpus = bench.large("gzip")
    mine = ours(corpus, name="wclayer unpack, straight from the source")
    candidates = [mine]
    if version_of("skopeo", "--version"):
        source = f"oci:{corpus.folder}:bench"
        skopeo = ["skopeo", "--override-os", "windows", "copy", "-q", source]
        version = version_of("skopeo", "--version")
        candidates.append(
            Candidate(
                "skopeo copy to dir:", "blob digest", lambda to: [[*skopeo, f"dir:{to}/copy"]], version, unpacks=False
            )
        )
        if version_of("umoci", "--version"):
            candidates.append(
                Candidate(
                    "skopeo copy to oci:, umoci raw unpack",
                    "both digests",
                    lambda to: [
                        [*skopeo, f"oci:{to}/copy:bench"],
                        ["umoci", "raw", "unpack", "--image", f"{to}/copy:bench", str(to / "out")],
                    ],
                    f"{version}, {version_of('umoci', '--version')}",
                )
            )
    missing = [name for name in ("skopeo", "umoci") if not version_of(name, "--version")]
    bench.rounds_of(candidates, corpus, copies=2)
    targets = [Target(peer.name, ratio(peer, mine)) for peer in candidates[1:]]
    return bench.result("copy", "Work like that of a pull", corpus, candidates, targets, missing=missing)


SUITES: dict[str, Callable[[Bench], Result]] = {
    "unpack": unpack,
    "zstd": zstd,
    "small": small,
    "image": image,
    "layers": layers,
    "verbs": verbs,
    "floor": floor_suite,
    "copy": copy,
    "scale": scale,
    "hives": hives,
    "cim": cim,
    "mount": mount,
    "huge": huge,
}
DEFAULT = tuple(name for name in SUITES if name != "huge")
