"""The home of a driver: one folder for each layer, and the names they go by while they come and go.

::

    HOME/ID/                 a layer; what HOME/ID/layerchain.json lists lies below it
    HOME/ID-replacing/       a complete layer that is about to take the place of HOME/ID
    HOME/ID-removing/        a layer that is removed, or that was replaced
    HOME/.wclayer/           locks, leases, counts

A rename to ``ID-replacing`` is the moment from which on the new layer counts. Whoever holds the lock of a layer next
finishes what a dead program began (:meth:`DriverHome.settle`), so nobody ever sees half of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, StoreError, UsageError
from wclayer.formats.folder import read_layer_chain, remove_layer_folder
from wclayer.formats.folder.folder import layer_chain_text
from wclayer.store.locks import PATIENCE, StoreLocks
from wclayer.store.readwrite.body import ReadWriteBody, write_whole

__all__ = ["MAX_DEPTH", "REMOVING", "REPLACING", "DriverHome", "is_layer_folder", "last_component"]

REMOVING, REPLACING = "-removing", "-replacing"
MAX_DEPTH = 125
"""The most layers on each other that moby allows."""

CHAIN = "layerchain.json"
_ALIAS = "layerid"
_ALIAS_LIMIT = 4096
_MAX_ID = 200  # bytes, so that the names of what a layer goes through still fit


def is_layer_folder(path: Path) -> bool:
    """Whether ``path`` holds a layer that can be read: one of ours."""
    return (path / "layer.db").is_file()


def last_component(path: str) -> str:
    r"""The last component of a path that may be one of Windows or of POSIX."""
    return re.split(r"[\\/]", path.rstrip("\\/"))[-1]


class DriverHome:
    """The folder ``home``, made when it is missing. Safe for threads and processes. Raises StoreError."""

    def __init__(self, home: Path, *, patience: float = PATIENCE) -> None:
        self.home = Path(os.path.abspath(home))
        try:
            self.home.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"windowsfilter failed to create '{self.home}': {error.strerror}") from error
        self.locks = StoreLocks(self.home, patience=patience)

    # ------------------------------------------------------------------ names

    def checked(self, name: str) -> str:
        """``name`` if a layer can be called so. UsageError for what could mean another place than a layer."""
        if not name or name.startswith(".") or any(c in name for c in "/\\\0:") or len(os.fsencode(name)) > _MAX_ID:
            raise UsageError(f"{name!r} is no name of a layer")
        if name.endswith((REMOVING, REPLACING)):
            raise UsageError(f"{name!r} is no name of a layer: it ends as one that comes or goes")
        return name

    def path(self, name: str) -> Path:
        """The folder of the layer ``name``, whether it is there or not."""
        return self.home / name

    def resolve(self, name: str) -> str:
        """The layer that ``name`` stands for: itself, or what the file ``layerID`` in its folder says.

        Such a file exists in very old stores, as ``layerID`` or ``layerId``.
        """
        folder = self.path(self.checked(name))
        try:
            found = next((entry for entry in os.listdir(folder) if entry.lower() == _ALIAS), None)
            if found is None:
                return name
            with open(folder / found, "rb") as file:
                alias = file.read(_ALIAS_LIMIT).decode()
        except (FileNotFoundError, NotADirectoryError):
            return name
        except OSError as error:
            raise StoreError(f"cannot read the layerID of {name}: {error.strerror}", layer=name) from error
        except UnicodeDecodeError as error:
            raise FormatError("the file layerID is no name", kind="layer-id", layer=name) from error
        return self.checked(alias)

    def names(self) -> list[str]:
        """All layers, sorted; those that are being replaced too, for they are there."""
        found = set()
        try:
            with os.scandir(self.home) as entries:
                for entry in entries:
                    name = entry.name.removesuffix(REPLACING)
                    if not name.startswith(".") and not name.endswith(REMOVING) and entry.is_dir(follow_symlinks=False):
                        found.add(name)
        except OSError as error:
            raise StoreError(f"cannot list {self.home}: {error.strerror}") from error
        return sorted(found)

    def exists(self, name: str) -> bool:
        """Whether the layer is there."""
        path = self.path(name)
        # A layer that is replaced meanwhile has one name or the other at each moment.
        return path.is_dir() or path.with_name(name + REPLACING).is_dir() or path.is_dir()

    # ------------------------------------------------------------------ chains

    def chain(self, name: str) -> tuple[str, ...]:
        """The layers below ``name``, nearest first, by name.

        ``layerchain.json`` holds paths, of which the last component counts, in any case of letters: homes are moved.
        Raises FormatError for a file that is no list, a layer below itself and a chain of more than 125, NotFoundError
        for one that is not there.
        """
        names = [last_component(str(path)) for path in read_layer_chain(self.path(name))]
        if len(names) > MAX_DEPTH:
            raise FormatError(
                f"{len(names)} layers below each other: max depth exceeded", kind="layer-chain", layer=name
            )
        chain: list[str] = []
        folded: dict[str, str] | None = None
        for number, one in enumerate(names):
            here = one
            if not self.exists(one):
                folded = folded if folded is not None else {other.lower(): other for other in self.names()}
                if one.lower() not in folded:
                    raise NotFoundError(
                        f"its parent {one} is not there, which is number {number} of {CHAIN}", layer=name
                    )
                here = folded[one.lower()]
            if here == name or here in chain:
                raise FormatError(f"the layer {here} lies below itself", kind="layer-chain", layer=name)
            chain.append(here)
        return tuple(chain)

    def chain_below(self, parent: str) -> tuple[str, ...]:
        """The chain of a new layer on ``parent``, which is there.

        A parent that holds no layer, such as the one Docker makes for the first files of a container, is left out of
        it. StoreError when that would lose changes.
        """
        below = self.chain(parent)
        path = self.path(parent)
        if is_layer_folder(path) or (path / "Files").is_dir():
            chain = (parent, *below)
        else:
            if ReadWriteBody.is_one(path) and not ReadWriteBody(path).is_empty:
                raise StoreError(
                    f"{parent} is read-write and has changes, so nothing can stand on it",
                    layer=parent,
                    hint="make a layer of its changes first",
                )
            chain = below
        if len(chain) >= MAX_DEPTH:
            raise StoreError(f"max depth exceeded: {len(chain)} layers below each other already", layer=parent)
        return chain

    def chain_text(self, chain: tuple[str, ...]) -> bytes:
        """The content of ``layerchain.json``."""
        return layer_chain_text(self.path(name) for name in chain)

    def set_chain(self, name: str, chain: tuple[str, ...]) -> None:
        """Let the layer ``name`` stand on ``chain``; all of that must be there, which the lock of names keeps true."""
        with self.locks.names():
            self.check_parents(name, chain)
            write_whole(self.path(name) / CHAIN, self.chain_text(chain))

    def check_parents(self, name: str, chain: tuple[str, ...]) -> None:
        """NotFoundError when one of ``chain`` is not there."""
        for parent in chain:
            if not self.exists(parent):
                raise NotFoundError(f"cannot create a layer on {parent}, which is not there", layer=name)

    def children(self, name: str) -> list[str]:
        """The layers that have ``name`` in their chain."""
        found = []
        folded = name.lower()
        for other in self.names():
            place = self.path(other)
            paths = read_layer_chain(place if place.is_dir() else place.with_name(other + REPLACING))
            if other != name and any(last_component(str(path)).lower() == folded for path in paths):
                found.append(other)
        return found

    # ------------------------------------------------------------------ holding layers

    @contextmanager
    def held(self, name: str, *, exclusive: bool) -> Iterator[Path]:
        """Hold the layer ``name``, whole; its folder, which may be missing. StoreError when that takes too long."""
        while True:
            with self.locks.layer(name, exclusive=exclusive):
                if exclusive:
                    self.settle(name)
                if exclusive or not self.is_unsettled(name):
                    yield self.path(name)
                    return
            with self.locks.layer(name, exclusive=True):
                self.settle(name)

    @contextmanager
    def existing(self, name: str, *, exclusive: bool) -> Iterator[Path]:
        """The same for a layer that must be there: NotFoundError when it is not."""
        with self.held(name, exclusive=exclusive) as path:
            if not path.is_dir():
                raise NotFoundError(f"there is no layer {name}", layer=name)
            yield path

    def is_unsettled(self, name: str) -> bool:
        """Whether a program died while it replaced the layer."""
        return self.path(name).with_name(name + REPLACING).is_dir()

    def settle(self, name: str) -> None:
        """Finish the replacement of a layer. The caller holds it alone."""
        path = self.path(name)
        new, old = path.with_name(name + REPLACING), path.with_name(name + REMOVING)
        if not new.is_dir():
            return
        if old.is_dir() and path.is_dir():
            remove_layer_folder(old)
        try:
            with self.locks.names():  # who looks at all layers finds this one
                if path.is_dir():
                    os.rename(path, old)
                os.rename(new, path)
        except OSError as error:
            raise StoreError(f"cannot put the layer {name} in its place: {error.strerror}", layer=name) from error
        if old.is_dir():
            remove_layer_folder(old)
