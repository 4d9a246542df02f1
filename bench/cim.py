"""CIM images: what it takes to write one of many small files, against a layer folder of the same entries.

Both are made from the same uncompressed tar, which both read with the same reader; the rest is the difference. The
image is then walked, verified and dumped, start-up included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Candidate, measure, run_rounds
from bench.peers import wclayer
from bench.results import Result, Target, ratio

if TYPE_CHECKING:
    from bench.suites import Bench

__all__ = ["cim"]

_FILES, _BYTES = 100_000, 600_000_000
_WRITE, _WALK, _VERIFY, _MEMORY = 12.0, 3.0, 5.0, 300


def cim(bench: Bench) -> Result:
    """Write 100,000 small files, into an image and into a layer folder; walk and verify the image."""
    corpus = bench.corpus(_FILES, _BYTES, "none", spread=1.2)
    program, tar = wclayer(), str(corpus.blob())

    def command(name: str, verifies: str, *arguments: str) -> Candidate:
        commands = [*program, *arguments]
        return Candidate(name, verifies, lambda to: [[part.format(to=to) for part in commands]], unpacks=False)

    write = command("wclayer cim create", "all metadata, a sample of data", "cim", "create", "{to}/a.cim", tar)
    forced = ("--check", "none")
    bare = command("wclayer cim create --check none", "", "cim", "create", "{to}/a.cim", tar, *forced)
    layer = command("wclayer import: a layer folder", "tar", "import", tar, "{to}/out")
    run_rounds([layer, write, bare], bench.rounds, bench.ground(corpus, 2))

    with bench.ground(corpus, 2)() as place:
        image = str(place / "a.cim")
        measure([[*program, "cim", "create", image, tar]], place)
        walk = command("wclayer cim ls -R --format jsonl", "", "cim", "ls", "-R", image, "--format", "jsonl")
        verify = command("wclayer cim verify", "all but data", "cim", "verify", image)
        dump = command("wclayer cim dump", "", "cim", "dump", image)

        @contextmanager
        def same() -> Iterator[Path]:
            yield place

        run_rounds([walk, verify, dump], bench.rounds, same)
    candidates = [layer, write, bare, walk, verify, dump]
    peak = max(one.memory for one in candidates[1:]) / (1 << 20)
    targets = [
        Target(f"{write.name}, by {layer.name}", ratio(write, layer), limit=2.0, at_least=False),
        Target(write.name, write.seconds, "s", _WRITE, at_least=False),
        Target(walk.name, walk.seconds, "s", _WALK, at_least=False),
        Target(verify.name, verify.seconds, "s", _VERIFY, at_least=False),
        Target("peak memory with an image", peak, "MiB", _MEMORY, at_least=False),
    ]
    return bench.result("cim", "CIM images of many small files", corpus, candidates, targets)
