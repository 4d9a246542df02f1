"""Our members beside those of Go's archive/tar, for good archives of many programs and for damaged ones.

``FUZZ_ROUNDS`` in the environment says how many rounds of damaged archives are compared, instead of a few.
"""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tests.conformance.decode import members_of
from tests.formats.tar.archives import BLOCK, by_bsdtar, by_gnu_tar, by_python, mutate
from tests.formats.tar.building import END, extension, member
from tests.peers import require

ROOT = Path(__file__).resolve().parents[3]
ROUNDS = int(os.environ.get("FUZZ_ROUNDS", "4"))
PER_ROUND = 200
LARGE = 200_000

Go: TypeAlias = Callable[[list[bytes]], list[dict[str, Any]]]


@pytest.fixture(scope="session")
def go_lists(gotar: Path) -> Go:
    """What Go finds in each of some archives."""

    def run(archives: list[bytes]) -> list[dict[str, Any]]:
        frames = b"".join(struct.pack(">I", len(archive)) + archive for archive in archives)
        result = subprocess.run([str(gotar), "read"], input=frames, capture_output=True, check=True)
        return [json.loads(line) for line in result.stdout.splitlines()]

    return run


def differences(archive: bytes, listing: dict[str, Any]) -> list[str]:
    """Where our members are not those of ``listing``."""
    ours, error = members_of(archive)
    if error == "LimitError":
        return []  # a sparse map too large for us, which Go takes
    found = []
    theirs = listing["tar"]
    if (error is None) != (listing["tar_error"] is None):
        found.append(f"ours ended with {error}, Go with {listing['tar_error']}")
    if len(ours) != len(theirs):
        found.append(f"{len(ours)} members, Go has {len(theirs)}")
    for index, (mine, other) in enumerate(zip(ours, theirs, strict=False)):
        for key in sorted(set(mine) | set(other)):
            cut_short = key.startswith("data_") and "data_error" in mine and "data_error" in other
            # Go gives up in the middle of a global header that makes no sense, after some record or other.
            by_chance = key == "name" and other["typeflag"] == "g" and not other["pax"]
            if mine.get(key) != other.get(key) and not cut_short and not by_chance:
                found.append(f"member {index}, {key}: {mine.get(key)!r:.100}, Go has {other.get(key)!r:.100}")
    return found


def vectors() -> dict[str, bytes]:
    """The archives of the conformance suites."""
    tars = sorted((ROOT / "tests/data").glob("layertar*/*/layer.tar"))
    return {path.parent.name: path.read_bytes() for path in tars}


def compare(go_lists: Go, archives: dict[str, bytes]) -> None:
    assert archives
    listings = go_lists(list(archives.values()))
    for (name, archive), listing in zip(archives.items(), listings, strict=True):
        assert (name, differences(archive, listing)) == (name, [])


def test_the_archives_of_the_suites(go_lists: Go) -> None:
    compare(go_lists, vectors())


def test_archives_of_gnu_tar(go_lists: Go, tmp_path: Path) -> None:
    compare(go_lists, dict(by_gnu_tar(require("tar"), tmp_path)))


def test_archives_of_bsdtar(go_lists: Go, tmp_path: Path) -> None:
    compare(go_lists, dict(by_bsdtar(require("bsdtar"), tmp_path)))


def test_archives_of_python(go_lists: Go) -> None:
    compare(go_lists, dict(by_python()))


def test_archives_cut_short(go_lists: Go) -> None:
    archive = (
        extension((b"path", b"Files/a"), (b"atime", b"1.5"))
        + member(b"a", b"hello")
        + member(b"././@LongLink", b"Files/b\0", b"L")
        + member(b"b", b"x" * 700)
        + extension((b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.realsize", b"2000"))
        + member(b"s", b"1\n9\n8\n".ljust(BLOCK, b"\0") + b"sparse!!")
        + END
    )
    near = {edge + offset for edge in range(0, len(archive) + 1, BLOCK) for offset in (-200, -1, 0, 1, 5, 200)}
    cuts = {f"cut at {at}": archive[:at] for at in sorted(near) if 0 <= at <= len(archive)}
    compare(go_lists, cuts)


@pytest.mark.parametrize("seed", range(ROUNDS))
def test_damaged_archives(go_lists: Go, tmp_path: Path, seed: int) -> None:
    seeds = {**vectors(), **dict(by_python()), **dict(by_gnu_tar(require("tar"), tmp_path))}
    small = [archive for archive in seeds.values() if len(archive) < LARGE]
    random_ = random.Random(seed)
    damaged = [mutate(random_.choice(small), random_) for _ in range(PER_ROUND)]
    listings = go_lists(damaged)
    assert sum(listing["tar_error"] is not None for listing in listings) > PER_ROUND // 8
    for archive, listing in zip(damaged, listings, strict=True):
        found = differences(archive, listing)
        if found:
            (tmp_path / "damaged.tar").write_bytes(archive)
        assert found == [], f"see {tmp_path / 'damaged.tar'}"
