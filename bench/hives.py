"""Registry hives: what every reader takes to see all keys and values of a large one, and what ours takes to merge two.

``python -m bench.hives make FOLDER KEYS SEED`` makes the hives, ``python -m bench.hives NAME FOLDER`` goes through one;
the suite runs these as programs, start-up and imports included. Each reader gives the name and time of every key and
the name, type and data of every value, and fails unless it finds as many as were made.

No value is so short that it stands in the cell of its name: regipy 6.5 reads the hive to its end for each of those,
which takes it minutes and would say little about the rest.
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import importlib.util
import json
import mmap
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.ground import file_system_name
from bench.measure import Candidate, run_rounds
from bench.results import Result, Target, memory_target, ratio, row
from wclayer.regf import LAYER_INHERIT_CLASS, Hive, HiveKey, HiveValue, merge, save_hive, write_hive

if TYPE_CHECKING:
    from bench.suites import Bench

__all__ = ["hives", "main"]

_KEYS = 100_000
_NOW = 132_223_104_123_456_789
_PEERS = {
    "dissect.regf": "dissect.regf",
    "regipy": "regipy",
    "python-registry": "Registry",
    "libregf-python": "pyregf",
}
_TITLES = {"libregf-python": "libregf (C)"}


def make(folder: Path, keys: int, seed: int) -> None:
    """Write a base hive of ``keys`` keys with two values each, and a delta that changes a value of every one."""
    source = random.Random(seed)

    def values(number: int) -> tuple[HiveValue, ...]:
        text = HiveValue.sz("DisplayName", f"Component {number} of {source.getrandbits(20)}")
        return text, HiveValue("Data", 3, source.randbytes(source.randrange(5, 90)))

    def leaf(number: int) -> HiveKey:
        guid = f"{{{source.getrandbits(32):08x}-{source.getrandbits(16):04x}-4a2b-9c01-{number:012x}}}"
        return HiveKey(guid, values(number), timestamp=_NOW + number)

    groups = [
        HiveKey(f"Group {first}", values(first), tuple(leaf(number) for number in range(first + 1, first + 100)))
        for first in range(0, keys - 100, 100)
    ]
    rest = [leaf(number) for number in range(len(groups) * 100, keys - 1)]
    base = HiveKey("ROOT", values(0), (*groups, *rest))
    with (folder / "base").open("wb") as file:
        size = save_hive(file, base, name="SOFTWARE", timestamp=_NOW)
    (folder / "delta").write_bytes(write_hive(_changed(base), name="Software_Delta", delta=True, timestamp=_NOW))
    facts = {"keys": keys, "values": 2 * keys, "bytes": size, "seed": seed}
    (folder / "facts.json").write_text(json.dumps(facts))


def _changed(key: HiveKey) -> HiveKey:
    below = tuple(map(_changed, key.subkeys))
    return HiveKey(key.name, (HiveValue.qword("Data", len(key.name)),), below, LAYER_INHERIT_CLASS, timestamp=_NOW + 9)


def _ours(path: Path) -> Iterator[int]:
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        for _, key in Hive(buffer).walk():
            _ = (key.name, key.timestamp)
            for value in key.values:
                _ = (value.name, value.type, value.data)
            yield len(key.values)


def _dissect(path: Path) -> Iterator[int]:
    with path.open("rb") as file:
        for key in _down(importlib.import_module("dissect.regf").RegistryHive(file).root(), lambda key: key.subkeys()):
            _ = (key.name, key.timestamp)
            values = list(key.values())
            for value in values:
                _ = (value.name, value.type, value.data)
            yield len(values)


def _regipy(path: Path) -> Iterator[int]:
    root = importlib.import_module("regipy.registry").RegistryHive(str(path)).root
    for key in _down(root, lambda key: key.iter_subkeys()):
        _ = (key.name, key.header.last_modified)
        values = key.get_values(trim_values=False)
        for value in values:
            _ = (value.name, value.value_type, value.value)
        yield len(values)


def _python_registry(path: Path) -> Iterator[int]:
    registry = importlib.import_module("Registry.Registry").Registry(str(path))
    for key in _down(registry.root(), lambda key: key.subkeys()):
        _ = (key.name(), key.timestamp())
        values = key.values()
        for value in values:
            _ = (value.name(), value.value_type(), value.raw_data())
        yield len(values)


def _libregf(path: Path) -> Iterator[int]:
    hive = importlib.import_module("pyregf").file()
    hive.open(str(path))
    for key in _down(hive.get_root_key(), lambda key: key.sub_keys):
        _ = (key.name, key.get_last_written_time_as_integer())
        values = key.values
        for value in values:
            _ = (value.name, value.type, value.data)
        yield len(values)


def _down(root: Any, below: Callable[[Any], Any]) -> Iterator[Any]:
    waiting = [root]
    while waiting:
        key = waiting.pop()
        yield key
        waiting.extend(below(key))


def _merged(path: Path) -> Iterator[int]:
    gc.set_threshold(50_000, 20, 50)  # as the command does
    tree = merge([Hive(path.with_name(name).read_bytes()) for name in ("base", "delta")])
    for key in _down(tree, lambda key: key.subkeys):
        yield len(key.values)


def _written(path: Path) -> Iterator[int]:
    gc.set_threshold(50_000, 20, 50)
    tree = Hive(path.read_bytes()).tree()
    data = write_hive(tree, name="SOFTWARE", timestamp=_NOW)
    if data != path.read_bytes():
        raise RuntimeError("the hive that was written again is another one")
    for key in _down(tree, lambda key: key.subkeys):
        yield len(key.values)


_WORK: dict[str, Callable[[Path], Iterator[int]]] = {
    "wclayer": _ours,
    "dissect.regf": _dissect,
    "regipy": _regipy,
    "python-registry": _python_registry,
    "libregf-python": _libregf,
    "merge": _merged,
    "write": _written,
}


def main() -> None:
    """Make the hives, or do one piece of work with them."""
    name, folder, *numbers = sys.argv[1:]
    if name == "make":
        make(Path(folder), *map(int, numbers))
        return
    facts = json.loads((Path(folder) / "facts.json").read_text())
    keys = values = 0
    for count in _WORK[name](Path(folder) / "base"):
        keys += 1
        values += count
    if (keys, values) != (facts["keys"], facts["values"]):
        raise RuntimeError(f"{name} found {keys} keys and {values} values")


def hives(bench: Bench) -> Result:
    """All keys and values of a large hive, and the merge of two."""
    folder = bench.scratch / "hives"
    folder.mkdir()
    keys = max(_KEYS // bench.shrink, 1000)
    this = [sys.executable, "-m", "bench.hives"]
    subprocess.run([*this, "make", str(folder), str(keys), str(bench.seed)], check=True)
    facts = json.loads((folder / "facts.json").read_text())

    def candidate(name: str, title: str, verifies: str = "", version: str = "") -> Candidate:
        return Candidate(title, verifies, lambda _to: [[*this, name, str(folder)]], version, unpacks=False)

    mine = candidate("wclayer", "wclayer", "cells, parents, sizes")
    peers, missing = {}, []
    for name, module in _PEERS.items():
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            missing.append(name)
        else:
            version = f"{name} {importlib.metadata.version(name)}"
            peers[name] = candidate(name, _TITLES.get(name, name), version=version)
    merged = candidate("merge", "wclayer: merged with a delta as large", "cells, parents, sizes")
    written = candidate("write", "wclayer: read whole and written again", "the same bytes")
    candidates = [mine, *peers.values(), merged, written]

    @contextmanager
    def same() -> Iterator[Path]:
        yield folder

    run_rounds(candidates, bench.rounds, same)
    targets = [
        Target(peer.name, ratio(peer, mine), limit=0.33 if name == "libregf-python" else 2.0)
        for name, peer in peers.items()
    ]
    targets.append(Target(f"{merged.name}, processor time", merged.cpu, "s", 5.0, at_least=False))
    targets.append(memory_target([mine]))
    corpus = {
        "described": f"One hive of {facts['keys']:,} keys and {facts['values']:,} values, "
        f"{facts['bytes'] / 1e6:.1f} MB; seed {facts['seed']}. The programs' start-up is part of their time."
    }
    rows = [row(each, mine) for each in candidates]
    name = "Reading registry hives"
    return Result("hives", name, bench.rounds, file_system_name(), corpus, rows, targets, missing)


if __name__ == "__main__":
    main()
