"""The other ways of a layer: into a transport folder, out of one, and out of a layer folder, beside unpacking it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.measure import Candidate
from bench.peers import ours, wclayer
from bench.results import Result, Target, memory_target

if TYPE_CHECKING:
    from bench.suites import Bench

__all__ = ["layers"]


def layers(bench: Bench) -> Result:
    """The large layer: what reads a folder finds it made; what writes a tar writes it uncompressed."""
    corpus = bench.large("gzip")
    blob, program = str(corpus.blob()), wclayer()
    with bench.ground(corpus, 2)() as place:
        layer, transport = place / "layer", place / "transport"
        for command in (["import", blob, str(layer)], ["convert", blob, f"transport:{transport}"]):
            subprocess.run([*program, *command, "-q"], check=True, capture_output=True)

        def candidate(name: str, verifies: str, *words: str) -> Candidate:
            return Candidate(name, verifies, _commands([*program, *words, "-q"]), unpacks=False)

        unpacked = ours(corpus, name="wclayer unpack")
        others = [
            candidate("convert: tar to transport folder", "tar", "convert", blob, "transport:{}/out"),
            candidate("convert: transport folder to tar", "folder", "convert", f"transport:{transport}", "{}/out.tar"),
            candidate("export: layer folder to hcsshim's tar", "files", *_export(layer, "reference")),
            candidate("export: layer folder to the same tar", "files", *_export(layer, "original")),
        ]
        bench.rounds_of([unpacked, *others], corpus, copies=2)
    targets = [
        Target(f"{one.name}, by unpack", one.seconds / unpacked.seconds, "×", 1.0, at_least=False) for one in others
    ]
    targets.append(memory_target([unpacked, *others]))
    return bench.result("layers", "Other ways of a layer", corpus, [unpacked, *others], targets)


def _export(layer: Path, which: str) -> list[str]:
    return ["export", str(layer), "-o", "{}/out.tar", "--as", which]


def _commands(command: list[str]) -> Callable[[Path], list[list[str]]]:
    return lambda to: [[word.format(to) if "{}" in word else word for word in command]]
