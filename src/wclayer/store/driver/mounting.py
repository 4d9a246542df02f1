"""What Get and Put do: mounts, and how many use them.

A mount is made by the first who wants it and undone by the last, under the lock of the layer, so everybody gets the
same path. Counts are kept for each program beside the layers, under the name of its lease, so those of a dead program
are not counted.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Protocol

from wclayer.errors import StoreError
from wclayer.formats.folder import LayerFolder, remove_layer_folder
from wclayer.store.chain_view import ChainView
from wclayer.store.driver.home import DriverHome, is_layer_folder
from wclayer.store.locks import PRIVATE, Lease, is_alive
from wclayer.store.readwrite.body import ReadWriteBody
from wclayer.store.readwrite.tree import ROOT, WorkTree

__all__ = ["Counts", "FolderMounts", "LayerMounts", "MergedMounts", "open_layers"]


class LayerMounts(Protocol):
    """How a layer is mounted: the steps of hcsshim. Each may raise StoreError. The layer is held alone meanwhile."""

    kind: str
    """Names the way, so that two programs do not mount one layer in two ways at once."""

    def activate(self, home: DriverHome, name: str) -> None:
        """Make the layer ready to be mounted."""

    def deactivate(self, home: DriverHome, name: str) -> None:
        """Undo it."""

    def prepare(self, home: DriverHome, name: str, chain: Sequence[str]) -> None:
        """Mount the layer on its chain, nearest first."""

    def unprepare(self, home: DriverHome, name: str) -> None:
        """Unmount it."""

    def mount_path(self, home: DriverHome, name: str) -> str:
        """Where it is mounted; empty when that is the folder of the layer itself."""


class FolderMounts:
    """The mount path of a layer is its folder."""

    kind = "folder"

    def activate(self, home: DriverHome, name: str) -> None:
        """Nothing to do."""

    def deactivate(self, home: DriverHome, name: str) -> None:
        """Nothing to do."""

    def prepare(self, home: DriverHome, name: str, chain: Sequence[str]) -> None:
        """Nothing to do."""

    def unprepare(self, home: DriverHome, name: str) -> None:
        """Nothing to do."""

    def mount_path(self, home: DriverHome, name: str) -> str:  # noqa: ARG002 - that of the layer
        """That of the layer."""
        return ""


class MergedMounts:
    """A layer is mounted by writing out what it shows with all it stands on, as plain files.

    In that of a read-write layer programs may work; what they did becomes the content of the layer with the last Put.
    That of any other layer is a copy, which goes with the last Put, whatever was done to it.
    """

    kind = "merged"

    def activate(self, home: DriverHome, name: str) -> None:
        """Remove what a program that died left of a copy."""
        self.deactivate(home, name)

    def deactivate(self, home: DriverHome, name: str) -> None:
        """Remove the copy."""
        for path in self._copies(home, name):
            remove_layer_folder(path)

    def prepare(self, home: DriverHome, name: str, chain: Sequence[str]) -> None:
        """Write out the files."""
        path = home.path(name)
        with open_layers(home, chain) as (layers, held):
            if ReadWriteBody.is_one(path):
                ReadWriteBody(path).attach(layers)
                return
            if is_layer_folder(path):
                layers = (held.enter_context(LayerFolder(path)), *layers)
            place = _views(home) / f"{name}.{secrets.token_hex(8)}"
            try:
                place.mkdir(parents=True)
                WorkTree.write(place, ChainView(layers), writable=False)
            except OSError as error:
                raise StoreError(f"cannot write to {place}: {error.strerror}", layer=name) from error

    def unprepare(self, home: DriverHome, name: str) -> None:
        """Keep what was changed in a read-write layer."""
        path = home.path(name)
        if ReadWriteBody.is_one(path):
            with open_layers(home, home.chain(name)) as (layers, _):
                ReadWriteBody(path).detach(layers)

    def mount_path(self, home: DriverHome, name: str) -> str:
        """The root of the files."""
        path = home.path(name)
        if ReadWriteBody.is_one(path):
            tree = ReadWriteBody(path).tree
            return "" if tree is None else str(tree.root)
        return next((str(copy / ROOT) for copy in self._copies(home, name)), "")

    def _copies(self, home: DriverHome, name: str) -> list[Path]:
        try:
            return sorted(
                path for path in _views(home).iterdir() if path.name.rpartition(".")[0] == name and path.is_dir()
            )
        except FileNotFoundError:
            return []


def _views(home: DriverHome) -> Path:
    return home.home / PRIVATE / "views"


class _Opened:
    """Layer folders, open while the block runs."""

    def __init__(self, home: DriverHome, chain: Sequence[str]) -> None:
        self._paths = [home.path(name) for name in chain]
        self._held = ExitStack()

    def __enter__(self) -> tuple[tuple[LayerFolder, ...], ExitStack]:
        try:
            return tuple(self._held.enter_context(LayerFolder(path)) for path in self._paths), self._held
        except BaseException:
            self._held.close()
            raise

    def __exit__(self, *_error: object) -> None:
        self._held.close()


def open_layers(home: DriverHome, chain: Sequence[str]) -> _Opened:
    """The layers of ``chain`` open, as a context: the folders, nearest first, and what holds them open."""
    return _Opened(home, chain)


class Counts:
    """How many use each layer, in this program and in others. To be called by who holds the layer."""

    def __init__(self, home: DriverHome) -> None:
        self._home = home
        self._lease: Lease | None = None

    def close(self) -> None:
        """Stop counting: what this program counted does not count any more."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def total(self, name: str) -> int:
        """How many use the layer ``name``; counts of dead programs are removed."""
        return sum(self._read(name).values())

    def mine(self, name: str) -> int:
        """How many of them do so in this program, through this driver."""
        return 0 if self._lease is None else self._read(name).get(self._lease.name, 0)

    def add(self, name: str, change: int, *, kind: str) -> None:
        """Count ``change`` more of this program, which mount in the way ``kind``."""
        if self._lease is None:
            self._lease = Lease(self._home.locks)
        folder = self._folder(name)
        count = self._read(name).get(self._lease.name, 0) + change
        place = folder / f"{self._lease.name}.{kind}"
        try:
            if count <= 0:
                place.unlink(missing_ok=True)
                with suppress(OSError):
                    folder.rmdir()  # when it is empty
                return
            folder.mkdir(exist_ok=True)
            temporary = folder / f".{self._lease.name}"
            temporary.write_text(str(count), "ascii")
            os.replace(temporary, place)
        except OSError as error:
            raise StoreError(f"cannot count in {folder}: {error.strerror}", layer=name) from error

    def sweep(self, name: str) -> None:
        """Remove what programs left that died while they counted."""
        folder = self._folder(name)
        if not self._read(name) and folder.is_dir():
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            folder.rmdir()

    def kinds(self, name: str) -> set[str]:
        """In which ways the layer is mounted."""
        self._read(name)
        return {path.name.rpartition(".")[2] for path in self._files(name)}

    def _folder(self, name: str) -> Path:
        return self._home.home / PRIVATE / "mounts" / name

    def _files(self, name: str) -> list[Path]:
        try:
            return [path for path in self._folder(name).iterdir() if not path.name.startswith(".")]
        except FileNotFoundError:
            return []

    def _read(self, name: str) -> dict[str, int]:
        counts: dict[str, int] = {}
        for path in self._files(name):
            lease = path.name.rpartition(".")[0]
            mine = self._lease is not None and lease == self._lease.name
            if not mine and not is_alive(self._home.locks, lease):
                path.unlink(missing_ok=True)
                continue
            try:
                counts[lease] = int(path.read_text("ascii"))
            except FileNotFoundError:
                continue
            except (OSError, ValueError) as error:
                raise StoreError(f"cannot read the count {path}: {error}", layer=name) from error
        return counts
