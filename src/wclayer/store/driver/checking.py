"""Is the home of a driver what it should be? Every chain, every file of every layer, every count."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from wclayer.errors import WclayerError
from wclayer.formats.folder import LayerFolder, verify_folder
from wclayer.oci.digests import digest_of
from wclayer.store.driver.home import CHAIN, REMOVING, REPLACING, DriverHome, is_layer_folder
from wclayer.store.driver.mounting import Counts
from wclayer.store.readwrite.body import ReadWriteBody

__all__ = ["HomeFinding", "LayerState", "check_home", "disk_usage", "list_layers"]


class HomeFinding(NamedTuple):
    """Something wrong with the layer ``layer``, or with the home itself when that is empty.

    ``code`` is ``chain``, ``chain-id``, ``state``, ``leftover``, ``stranger``, ``count``, or one of those of
    :func:`wclayer.formats.folder.verify_folder`; ``path`` lies below the layer.
    """

    layer: str
    code: str
    path: str
    detail: str


class LayerState(NamedTuple):
    """A layer as it is: ``kind`` is ``read-only``, ``read-write`` or ``empty``, which awaits its content.

    ``uses`` is how many have it mounted; ``size`` the bytes it takes on disk, which other layers may share.
    """

    name: str
    kind: str
    chain: tuple[str, ...]
    diff_id: str | None
    chain_id: str | None
    size: int
    uses: int


def list_layers(home: DriverHome) -> list[LayerState]:
    """All layers, sorted by name. Raises what a damaged layer raises."""
    counts = Counts(home)
    found = []
    for name in home.names():
        with home.held(name, exclusive=False) as path:
            if not path.is_dir():
                continue  # removed meanwhile
            facts = {}
            kind = "read-write" if ReadWriteBody.is_one(path) else "empty"
            if is_layer_folder(path):
                kind = "read-only"
                with LayerFolder(path) as folder:
                    facts = folder.facts
            chain = home.chain(name)
            size = sum(disk_usage(path).values())
            diff_id, chain_id = facts.get("diff_id"), facts.get("chain_id")
            found.append(LayerState(name, kind, chain, diff_id, chain_id, size, counts.total(name)))
    return found


def disk_usage(folder: Path) -> dict[tuple[int, int], int]:
    """What each file below ``folder`` takes on disk, in bytes, by device and number; nothing is followed."""
    found: dict[tuple[int, int], int] = {}
    pending = [os.fsencode(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    found[status.st_dev, status.st_ino] = status.st_blocks * 512
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except FileNotFoundError:
            continue  # it goes just now
    return found


def check_home(home: DriverHome, *, contents: bool = True) -> Iterator[HomeFinding]:
    """Everything wrong with ``home``; without ``contents`` files are not read, only looked at."""
    for path in sorted(home.home.iterdir()):
        name = path.name
        if name.startswith("."):
            if ".wclayer-" in name:
                yield HomeFinding("", "leftover", name, "a program died while it made or removed a layer")
        elif name.endswith((REMOVING, REPLACING)):
            yield HomeFinding("", "leftover", name, "a program died while it removed or replaced a layer")
        elif not path.is_dir() or path.is_symlink():
            yield HomeFinding("", "stranger", name, "not a layer")
    for name in home.names():
        with home.held(name, exclusive=False) as path:
            if path.is_dir():
                yield from _check_layer(home, name, path, contents=contents)
    counts = Counts(home)
    for path in sorted((home.locks.folder / "mounts").iterdir()):
        if counts.total(path.name) and not home.exists(path.name):
            yield HomeFinding(path.name, "count", "", "it is mounted, but it is not there")


def _check_layer(home: DriverHome, name: str, path: Path, *, contents: bool) -> Iterator[HomeFinding]:
    chain: tuple[str, ...] = ()
    try:
        chain = home.chain(name)
        for number, parent in enumerate(chain):
            if home.chain(parent) != chain[number + 1 :]:
                yield HomeFinding(name, "chain", CHAIN, f"what it lists below {parent} is not what {parent} stands on")
                break
    except WclayerError as error:
        yield HomeFinding(name, "chain", CHAIN, error.message)
    try:
        if is_layer_folder(path):
            yield from _check_folder(name, path, "", contents=contents)
            yield from _check_chain_id(home, name, path, chain)
        elif ReadWriteBody.is_one(path):
            body = ReadWriteBody(path)
            state = body.state
            known = {"state.json", CHAIN, "sandbox.vhdx", state.upper, state.tree}
            for found in sorted({one.name for one in path.iterdir()} - known):
                yield HomeFinding(name, "leftover", found, "its content does not need it")
            if body.tree is None and state.upper is not None:
                yield from _check_folder(name, path / state.upper, state.upper, contents=contents)
    except WclayerError as error:
        yield HomeFinding(name, "state", "", error.message)


def _check_folder(name: str, path: Path, prefix: str, *, contents: bool) -> Iterator[HomeFinding]:
    with LayerFolder(path) as folder:
        for code, where, detail in verify_folder(folder, contents=contents):
            yield HomeFinding(name, code, f"{prefix}/{where}" if prefix else where, detail)


def _check_chain_id(home: DriverHome, name: str, path: Path, chain: tuple[str, ...]) -> Iterator[HomeFinding]:
    with LayerFolder(path) as folder:
        facts = folder.facts
    diff_id, chain_id = facts.get("diff_id"), facts.get("chain_id")
    if diff_id is None or chain_id is None:
        return
    expected = diff_id
    if chain and is_layer_folder(home.path(chain[0])):
        with LayerFolder(home.path(chain[0])) as parent:
            expected = str(digest_of(f"{parent.facts.get('chain_id')} {diff_id}".encode()))
    if chain_id != expected:
        yield HomeFinding(name, "chain-id", "layer.db", f"it is {chain_id} where its parents make it {expected}")
