"""A mounted layer: one large file read from end to end, and many names looked at for the first time.

The names come folder by folder, as ``find`` takes them, and in random order.

The peer is ntfs-3g, which serves the same files out of an NTFS volume, through FUSE too, and is written in C. Both are
mounted anew for every run, so that nothing is in the kernel's caches; mounting is not measured.
"""

from __future__ import annotations

import io
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bench.ground import can_mount, file_system_name
from bench.measure import Candidate, run_rounds
from bench.peers import version_of, wclayer
from bench.results import Result, Target, ratio, row

if TYPE_CHECKING:
    from bench.suites import Bench

__all__ = ["mount"]

_FILES, _BYTES = 50_000, 1 << 30
_READ, _LOOKS = 400.0, 20_000.0  # MB and names in a second
_LOOK = "import os, sys\nfor name in open(sys.argv[2]): os.lstat(sys.argv[1] + '/' + name[:-1])"


def mount(bench: Bench) -> Result:
    """Read a large file of a mounted layer, and stat many small ones."""
    folder = bench.scratch / "mount"
    folder.mkdir()
    size, names = max(_BYTES // bench.shrink, 1 << 20), max(_FILES // bench.shrink, 100)
    tar = folder / "layer.tar"
    paths = _make(tar, size, names, bench.seed)
    listed = folder / "names.txt"
    listed.write_text("".join(f"{path}\n" for path in random.Random(bench.seed).sample(paths, len(paths))))
    layer = folder / "layer"
    _run(*wclayer(), "import", str(tar), str(layer))
    volume = _volume(folder, tar, size, names) if can_mount() and version_of("ntfs-3g", "--version") else None

    def reading(name: str, where: str, version: str = "") -> Candidate:
        source = f"{{to}}/{where}/Files/large"
        return _candidate(f"{name}: read {size >> 20} MiB", ["dd", f"if={source}", "of=/dev/null", "bs=1M"], version)

    def looking(name: str, where: str, version: str = "") -> Candidate:
        command = [sys.executable, "-c", _LOOK, f"{{to}}/{where}", str(listed)]
        return _candidate(f"{name}: stat {names:,} names in random order", command, version)

    def finding(name: str, where: str, version: str = "") -> Candidate:
        command = ["find", f"{{to}}/{where}/Files", "-type", "f", "-size", "1c"]
        return _candidate(f"{name}: find, which stats {names:,} names", command, version)

    def each(name: str, where: str, version: str = "") -> list[Candidate]:
        return [work(name, where, version) for work in (reading, finding, looking)]

    mine = each("wclayer mount", "ours")
    theirs: list[Candidate] = []
    if volume is not None:
        version = version_of("ntfs-3g", "--version")
        theirs = each("ntfs-3g", "ntfs", version)

    @contextmanager
    def mounted() -> Iterator[Path]:
        place = Path(tempfile.mkdtemp(prefix="mounted-", dir=folder))
        for name in ("ours", "ntfs"):
            (place / name).mkdir()
        _run(*wclayer(), "mount", str(layer), str(place / "ours"))
        try:
            if volume is not None:
                _run("ntfs-3g", "-o", "ro,big_writes", str(volume), str(place / "ntfs"))
            try:
                yield place
            finally:
                if volume is not None:
                    _run("umount", str(place / "ntfs"))
        finally:
            _run(*wclayer(), "umount", str(place / "ours"))
        shutil.rmtree(place)

    candidates = [*mine, *theirs]
    run_rounds(candidates, bench.rounds, mounted)
    targets = [
        Target("reading, megabytes in a second", size / 1e6 / mine[0].seconds, "", _READ),
        Target("names in a second, folder by folder", names / mine[1].seconds, "", _LOOKS),
        Target("names in a second, in random order", names / mine[2].seconds, "", _LOOKS),
        *(Target(peer.name, ratio(peer, ours)) for peer, ours in zip(theirs, mine, strict=False)),
    ]
    described = f"One file of {size / 1e6:,.0f} MB and {names:,} small ones; seed {bench.seed}."
    missing = [] if volume is not None else ["ntfs-3g"]
    rows = [row(candidate, mine[0]) for candidate in candidates]
    title = "A mounted layer"
    return Result("mount", title, bench.rounds, file_system_name(), {"described": described}, rows, targets, missing)


def _run(*command: str) -> None:
    """Run what is not measured; what it says matters only when it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()


def _candidate(name: str, command: list[str], version: str) -> Candidate:
    return Candidate(name, "", lambda to: [[part.format(to=to) for part in command]], version, unpacks=False)


def _make(tar: Path, size: int, names: int, seed: int) -> list[str]:
    """Write the layer; returns the paths of the small files."""
    piece = random.Random(seed).randbytes(1 << 20)
    paths = [f"Files/{number // 100:04d}/small {number:06d}.txt" for number in range(names)]
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:

        def add(path: str, length: int, kind: bytes = tarfile.REGTYPE) -> None:
            info = tarfile.TarInfo(path)
            info.size, info.type, info.mtime = length, kind, 1_600_000_000
            archive.addfile(info, _Repeated(piece, length) if length else None)

        for root in ("Files", "Hives"):
            add(root, 0, tarfile.DIRTYPE)
        add("Files/large", size)
        for path in paths:
            add(path, 100)
    return paths


class _Repeated(io.RawIOBase):
    """The same piece again and again, up to ``length`` bytes."""

    def __init__(self, piece: bytes, length: int) -> None:
        self._piece = piece
        self._left = length

    def read(self, size: int = -1) -> bytes:
        count = min(size if size >= 0 else self._left, self._left, len(self._piece))
        self._left -= count
        return self._piece[:count]


def _volume(folder: Path, tar: Path, size: int, names: int) -> Path:
    """An NTFS volume with the same files."""
    image, place = folder / "volume.img", folder / "volume"
    with image.open("wb") as file:
        file.truncate(2 * size + names * 8192 + (256 << 20))
    _run("mkntfs", "-F", "-Q", "-q", "-s", "512", "-c", "4096", "-p", "2048", str(image))
    place.mkdir()
    _run("ntfs-3g", "-o", "big_writes", str(image), str(place))
    try:
        _run("tar", "-xf", str(tar), "-C", str(place), "--no-same-owner")
    finally:
        _run("umount", str(place))
    return image
