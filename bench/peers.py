"""The programs that are measured, ours first; one that is not installed is left out, and the report says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from bench.measure import Candidate, Commands
from bench.tools import build_floor, build_go, build_wclayer

__all__ = ["Corpus", "floor", "interpreted", "ours", "unpackers", "version_of", "wclayer"]

_QUIET_TAR = "--warning=no-unknown-keyword"
"""Else GNU tar writes a line for every record of NTFS metadata that it does not know."""


@dataclass(frozen=True)
class Corpus:
    """A corpus on disk, and what its ``corpus.json`` says."""

    folder: Path
    facts: dict[str, Any]

    @classmethod
    def at(cls, folder: Path) -> Corpus:
        """The corpus in ``folder``."""
        return cls(folder, json.loads((folder / "corpus.json").read_text()))

    def blob(self, layer: int = 0) -> Path:
        """The layer as it was compressed."""
        return self.folder / "blobs" / "sha256" / self._hex(layer, "digest")

    def digests(self, layer: int = 0) -> list[str]:
        """The SHA-256 of the blob and of the tar, in hexadecimal."""
        return [self._hex(layer, "digest"), self._hex(layer, "diff_id")]

    def _hex(self, layer: int, which: str) -> str:
        return str(self.facts["layers"][layer][which]).partition(":")[2]


def wclayer() -> list[str]:
    """How this project is called when it was compiled; where there is no compiler, how it is called anyway."""
    program = build_wclayer()
    return [str(program)] if program is not None else interpreted()


def interpreted() -> list[str]:
    """How this project is called here: its script beside the interpreter, else as a module."""
    script = Path(sys.executable).with_name("wclayer")
    return [str(script)] if script.exists() else [sys.executable, "-m", "wclayer"]


@cache
def version_of(*command: str) -> str:
    """The first line that a program says about its version; empty when there is no such program."""
    if shutil.which(command[0]) is None:
        return ""
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return (answer.stdout or answer.stderr).strip().partition("\n")[0].partition(" - ")[0]


def ours(
    corpus: Corpus, *arguments: str, tag: str = "bench", name: str = "wclayer", compiled: bool = True
) -> Candidate:
    """``wclayer unpack`` of one image of the corpus."""
    image = f"oci:{corpus.folder}:{tag}"
    program = wclayer() if compiled else interpreted()
    return Candidate(
        name,
        "both digests, names",
        lambda to: [[*program, "unpack", image, str(to / "out"), *arguments]],
        version_of(*program, "--version") + (", compiled" if compiled and program != interpreted() else ""),
    )


def floor(corpus: Corpus) -> Candidate | None:
    """Only the writing, in C."""
    program = build_floor()
    if program is None:
        return None
    command = [str(program), str(corpus.folder / "floor.txt")]
    return Candidate("floor: only written, in C", "nothing", lambda to: [[*command, str(to)]])


def unpackers(corpus: Corpus) -> tuple[list[Candidate], list[str]]:
    """Every peer that can unpack the corpus's first layer, and the names of those that are not here."""
    blob, compression = str(corpus.blob()), corpus.facts["compression"]
    found = [
        _tar("GNU tar -xzf", blob, "-z", "gzip"),
        _tar("GNU tar -I igzip", blob, "-Iigzip", "igzip"),
        _program("bsdtar", lambda to: [["bsdtar", "-xf", blob, "-C", str(to)]], "bsdtar", "--version"),
        _umoci(corpus),
        _go(corpus, compression),
    ]
    names = ["GNU tar -xzf", "GNU tar -I igzip", "bsdtar", "umoci", "Go"]
    if compression == "zstd":
        # umoci did not know zstd for long, and the tools of gzip never will.
        found = [_tar("GNU tar -I zstd", blob, "-Izstd", "zstd"), found[2], found[4]]
        names = ["GNU tar -I zstd", "bsdtar", "Go with zstd"]
    missing = [name for name, candidate in zip(names, found, strict=True) if candidate is None]
    return [candidate for candidate in found if candidate is not None], missing


def _tar(name: str, blob: str, how: str, needs: str) -> Candidate | None:
    if not version_of(needs, "--version"):
        return None
    command = ["tar", how, _QUIET_TAR, "-xf", blob, "-C"]
    version = version_of("tar" if needs == "gzip" else needs, "--version").strip("* ")
    return Candidate(name, "nothing", lambda to: [[*command, str(to)]], version)


def _program(name: str, commands: Commands, *version: str) -> Candidate | None:
    found = version_of(*version)
    return Candidate(name, "nothing", commands, found) if found else None


def _umoci(corpus: Corpus) -> Candidate | None:
    command = ["umoci", "raw", "unpack", "--image", f"{corpus.folder}:bench"]
    found = _program("umoci raw unpack", lambda to: [[*command, str(to / "out")]], "umoci", "--version")
    if found is not None:
        found.verifies = "both digests"
    return found


def _go(corpus: Corpus, compression: str) -> Candidate | None:
    peer = build_go()
    if peer is None or (compression == "zstd" and not peer.zstd):
        return None
    version = f"{peer.version}, {peer.zstd}" if compression == "zstd" else f"{peer.version}, compress/gzip"
    command = [str(peer.program), str(corpus.blob())]
    return Candidate("Go archive/tar", "both digests", lambda to: [[*command, str(to), *corpus.digests()]], version)
