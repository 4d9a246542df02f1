"""Layers that go: under another name first, then for good; and what dead programs left of them and of other things."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder import remove_layer_folder, sweep
from wclayer.store.driver.home import REMOVING, REPLACING, DriverHome
from wclayer.store.driver.mounting import Counts, LayerMounts
from wclayer.store.locks import is_alive
from wclayer.store.readwrite.body import ReadWriteBody

__all__ = ["Removed", "destroy", "sweep_home"]


@dataclass(frozen=True, slots=True)
class Removed:
    """What became of a removal: whether the layer was there, and what of it could not be deleted, and why."""

    name: str
    existed: bool
    left_behind: tuple[Path, ...] = ()
    reason: str = ""


def destroy(home: DriverHome, name: str, *, existed: bool) -> Removed:
    """Delete what goes by the name ``name-removing``, read-only as it is; nothing in it is followed."""
    old = home.path(name + REMOVING)
    if not old.is_dir():
        return Removed(name, existed)
    try:
        remove_layer_folder(old)
    except WclayerError as error:
        left = [old, *home.home.glob(f".{name}{REMOVING}.wclayer-*")]
        return Removed(name, existed, tuple(path for path in left if path.exists()), error.message)
    return Removed(name, existed)


def sweep_home(home: DriverHome, mounts: LayerMounts, counts: Counts) -> list[Removed]:
    """Finish and delete what dead programs left, where nobody uses it now; the removals among that."""
    with suppress(StoreError):  # what cannot be deleted now is tried again next time
        sweep(home.home)
    done = []
    for name in _touched(home):
        with home.locks.layer_if_free(name) as free:
            if not free:
                continue
            home.settle(name)
            if home.path(name + REMOVING).is_dir():
                done.append(destroy(home, name, existed=True))
            if not home.exists(name):
                home.locks.forget(name)
    for name in home.names():
        body = ReadWriteBody(home.path(name))
        with home.locks.layer_if_free(name) as free:
            if free and ReadWriteBody.is_one(body.folder):
                body.sweep()
    _sweep_private(home, mounts, counts)
    return done


def _touched(home: DriverHome) -> list[str]:
    """The layers that a program was replacing or removing."""
    found = set()
    for path in home.home.iterdir():
        for ending in (REMOVING, REPLACING):
            if path.name.endswith(ending) and not path.name.startswith("."):
                found.add(path.name.removesuffix(ending))
    return sorted(found)


def _sweep_private(home: DriverHome, mounts: LayerMounts, counts: Counts) -> None:
    """Copies, counts and leases of programs that live no more."""
    for name in sorted({*_names_in(home, "views"), *_names_in(home, "mounts")}):
        with home.locks.layer_if_free(name) as free:
            if free and counts.total(name) == 0:
                mounts.deactivate(home, name)
                counts.sweep(name)
    for folder in ("differences", "views"):
        if (home.locks.folder / folder).is_dir():
            sweep(home.locks.folder / folder)
    for name in sorted(set(_names_in(home, "differences"))):
        with home.locks.layer_if_free(name) as free:
            if free:
                for path in (home.locks.folder / "differences").glob(f"{name}.*"):
                    remove_layer_folder(path)
    with home.locks.names():
        for path in (home.locks.folder / "leases").iterdir():
            is_alive(home.locks, path.name)


def _names_in(home: DriverHome, folder: str) -> Iterator[str]:
    place = home.locks.folder / folder
    if place.is_dir():
        for path in place.iterdir():
            if not path.name.startswith("."):
                yield path.name if folder == "mounts" else path.name.rpartition(".")[0]
