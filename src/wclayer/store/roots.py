"""Stores of this machine as a whole: what kind a root is, what is in it, what is wrong with it, what can go.

A root is a layer store (with a layer database over the home of a driver), the bare home of a driver, or snapshots.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from wclayer.errors import NotFoundError, StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, verify_folder
from wclayer.oci.digests import digest_of
from wclayer.store.driver import WindowsFilterDriver
from wclayer.store.driver.checking import HomeFinding, check_home, disk_usage, list_layers
from wclayer.store.driver.home import DriverHome
from wclayer.store.driver.layers import HOME, LayerStore
from wclayer.store.locks import PRIVATE, StoreLocks
from wclayer.store.readwrite.body import ReadWriteBody
from wclayer.store.snapshots.records import DATABASE, Kind, Record, Records
from wclayer.store.snapshots.snapshotter import Snapshotter

__all__ = ["Collection", "RootKind", "RootUsage", "StoreRow", "default_root", "open_root", "root_kind"]

RootKind = Literal["store", "driver", "snapshots"]
_VARIABLE = "WCLAYER_STORE_ROOT"


class StoreRow(NamedTuple):
    """A layer or snapshot: ``kind`` is ``read-only``, ``read-write``, ``empty``, ``committed``, ``active`` or ``view``.

    ``parent`` is the nearest layer below, None for a base; ``size`` the bytes it takes on disk, which others may share;
    ``uses`` how many have it mounted; ``images`` the names of those that have it.
    """

    name: str
    kind: str
    parent: str | None
    depth: int
    diff_id: str | None
    chain_id: str | None
    size: int
    uses: int
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RootUsage:
    """What a root takes on disk, in bytes. ``shared`` is what several layers have in common, counted once in ``size``.

    ``unneeded`` is what :meth:`StoreRoot.collect` would remove.
    """

    layers: int
    size: int
    shared: int
    unneeded: int
    unneeded_size: int


@dataclass(slots=True)
class Collection:
    """What was removed, or would be: layers by name, leftovers by path, bytes."""

    layers: list[str] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    size: int = 0


def default_root() -> Path:
    """Where the store of this user is: ``WCLAYER_STORE_ROOT``, else ``wclayer/store`` in the data folder."""
    named = os.environ.get(_VARIABLE)
    if named:
        return Path(named)
    import platformdirs

    return platformdirs.user_data_path("wclayer", appauthor=False) / "store"


def root_kind(root: Path) -> RootKind | None:
    """What store of this program is at ``root``, None when there is none."""
    if (root / DATABASE).is_file():
        return "snapshots"
    if (root / HOME / PRIVATE / "locks").is_dir():
        return "store"
    return "driver" if (root / PRIVATE / "locks").is_dir() else None


def open_root(root: Path) -> StoreRoot:
    """The store at ``root``. NotFoundError when there is none, StoreError when it is something else."""
    kind = root_kind(root)
    if kind is not None:
        return {"snapshots": SnapshotRoot, "store": LayerRoot, "driver": DriverRoot}[kind](root)
    if not root.is_dir() or not any(root.iterdir()):
        raise NotFoundError(f"there is no store at {root}")
    raise StoreError(f"{root} is no store of layers", hint="name the root of a store with --root")


class StoreRoot:
    """A store of some kind at ``root``."""

    kind: RootKind

    def __init__(self, root: Path) -> None:
        self.root = root

    def rows(self) -> list[StoreRow]:
        """What is in it, by name."""
        raise NotImplementedError

    def check(self, *, contents: bool) -> Iterator[HomeFinding]:
        """What is wrong with it; with ``contents`` every file is read. Nothing is changed."""
        raise NotImplementedError

    def collect(self, *, dry_run: bool) -> Collection:
        """Remove what nobody needs or uses, and what dead programs left; with ``dry_run`` only say what."""
        raise NotImplementedError

    def folders(self) -> dict[str, Path]:
        """The folder of each layer."""
        raise NotImplementedError

    def usage(self) -> RootUsage:
        """What it takes on disk."""
        seen: dict[tuple[int, int], int] = {}
        shared: dict[tuple[int, int], int] = {}
        folders = self.folders()
        for folder in folders.values():
            for file, size in disk_usage(folder).items():
                (shared if file in seen else seen)[file] = size
        unneeded = self.collect(dry_run=True)
        return RootUsage(len(folders), sum(seen.values()), sum(shared.values()), len(unneeded.layers), unneeded.size)


class DriverRoot(StoreRoot):
    """The home of a driver, of which nobody says what is needed."""

    kind: RootKind = "driver"

    def __init__(self, root: Path, home: Path | None = None) -> None:
        super().__init__(root)
        self._home = DriverHome(home or root)

    def rows(self) -> list[StoreRow]:
        """The layers."""
        return [
            StoreRow(
                one.name, one.kind, one.chain[0] if one.chain else None, len(one.chain), one.diff_id, one.chain_id,
                one.size, one.uses,
            )
            for one in list_layers(self._home)
        ]  # fmt: skip

    def check(self, *, contents: bool) -> Iterator[HomeFinding]:
        """The layers, their chains and counts."""
        yield from check_home(self._home, contents=contents)

    def folders(self) -> dict[str, Path]:
        """The folder of each layer."""
        return {name: self._home.path(name) for name in self._home.names()}

    def collect(self, *, dry_run: bool) -> Collection:
        """What dead programs left."""
        done = Collection()
        for finding in check_home(self._home, contents=False):
            if finding.code == "leftover":
                path = self._home.home / finding.layer / finding.path
                done.leftovers.append(str(path))
                done.size += sum(disk_usage(path).values()) if path.is_dir() else 0
        if not dry_run:
            WindowsFilterDriver(self._home.home).close()
        return done


class LayerRoot(DriverRoot):
    """A layer store: images say what is needed."""

    kind: RootKind = "store"

    def __init__(self, root: Path) -> None:
        super().__init__(root, root / HOME)

    def rows(self) -> list[StoreRow]:
        """The layers, with the images that have them."""
        images: dict[str, list[str]] = {}
        with LayerStore(self.root) as store:
            records = {layer.cache_id: layer for layer in store.layers()}
            for image in store.images():
                for chain_id in image.layers:
                    images.setdefault(chain_id, []).append(image.name)
        found = []
        for row in super().rows():
            record = records.get(row.name)
            known = row if record is None else row._replace(diff_id=record.diff_id, chain_id=record.chain_id)
            names = images.get(record.chain_id, []) if record is not None else []
            found.append(known._replace(images=tuple(names)))
        return found

    def check(self, *, contents: bool) -> Iterator[HomeFinding]:
        """The layers, and what the layer database says of them."""
        yield from super().check(contents=contents)
        with LayerStore(self.root, sweep=False) as store:
            try:
                records = {layer.chain_id: layer for layer in store.layers()}
                images = store.images()
            except WclayerError as error:
                yield HomeFinding("", "record", "image", error.message)
                return
            for layer in records.values():
                if not store.driver.exists(layer.cache_id):
                    yield HomeFinding(layer.cache_id, "record", "", f"it is not there, but {layer.chain_id} is it")
                expected = layer.diff_id
                if layer.parent is not None:
                    expected = str(digest_of(f"{layer.parent} {layer.diff_id}".encode()))
                    if layer.parent not in records:
                        yield HomeFinding(layer.cache_id, "record", "", f"its parent {layer.parent} is not recorded")
                if layer.chain_id != expected:
                    yield HomeFinding(layer.cache_id, "chain-id", "", f"{layer.chain_id} instead of {expected}")
            for image in images:
                for chain_id in image.layers:
                    if chain_id not in records:
                        yield HomeFinding("", "image", image.name, f"it has the layer {chain_id}, which is not there")

    def collect(self, *, dry_run: bool) -> Collection:
        """Layers that no image has, and what dead programs left."""
        folders = self.folders()
        done = super().collect(dry_run=dry_run)
        with LayerStore(self.root, sweep=not dry_run) as store:
            for layer in store.collect(dry_run=True):
                place = folders.get(layer.cache_id)
                done.layers.append(layer.cache_id)
                done.size += sum(disk_usage(place).values()) if place is not None else 0
            if not dry_run:
                done.layers = [layer.cache_id for layer in store.collect()]
        return done


class SnapshotRoot(StoreRoot):
    """Snapshots, each of which is needed until it is removed."""

    kind: RootKind = "snapshots"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self._records = Records(root)

    def rows(self) -> list[StoreRow]:
        """The snapshots."""
        found = []
        with self._records.transaction() as database:
            for record in self._records.all(database):
                info = record.info
                depth = len(self._records.chain(database, record))
                size = record.usage.size
                if info.kind is not Kind.COMMITTED:
                    size = sum(disk_usage(self._place(record.folder)).values())
                diff_id = self._diff_id(record.folder)
                found.append(
                    StoreRow(info.name, info.kind.name.lower(), info.parent or None, depth, diff_id, None, size, 0)
                )
        return sorted(found)

    def check(self, *, contents: bool) -> Iterator[HomeFinding]:
        """Whether each has its content, whether that is whole, and whether there is more."""
        locks = StoreLocks(self.root / "snapshots")
        with self._records.transaction() as database:
            records = self._records.all(database)
            present = {path.name for path in (self.root / "snapshots").iterdir() if path.name != PRIVATE}
        for extra in sorted(present - {record.folder for record in records}):
            with locks.layer_if_free(extra.lstrip(".").partition(".")[0]) as free:
                if free:  # or somebody commits it just now
                    yield HomeFinding("", "leftover", f"snapshots/{extra}", "no snapshot needs it")
        for record in records:
            with locks.layer(str(record.number), exclusive=False):
                yield from self._check(record, contents=contents)

    def _check(self, record: Record, *, contents: bool) -> Iterator[HomeFinding]:
        name, place = record.info.name, self._place(record.folder)
        with self._records.transaction() as database:
            if record.number not in {one.number for one in self._records.all(database) if one.folder == record.folder}:
                return  # removed or committed meanwhile
        if not place.is_dir():
            yield HomeFinding(name, "missing", f"snapshots/{record.folder}", "its content is not there")
            return
        try:
            if (place / "layer.db").is_file():
                with LayerFolder(place) as folder:
                    for code, where, detail in verify_folder(folder, contents=contents):
                        yield HomeFinding(name, code, where, detail)
            elif ReadWriteBody.is_one(place):
                body = ReadWriteBody(place)
                if body.tree is None and body.state.upper is not None:
                    with LayerFolder(place / body.state.upper) as folder:
                        for code, where, detail in verify_folder(folder, contents=contents):
                            yield HomeFinding(name, code, f"{body.state.upper}/{where}", detail)
            elif record.info.kind is Kind.COMMITTED:
                yield HomeFinding(name, "missing", f"snapshots/{record.folder}", "it holds no layer")
        except WclayerError as error:
            yield HomeFinding(name, "state", "", error.message)

    def folders(self) -> dict[str, Path]:
        """The folder of each snapshot."""
        with self._records.transaction() as database:
            return {record.info.name: self._place(record.folder) for record in self._records.all(database)}

    def collect(self, *, dry_run: bool) -> Collection:
        """What dead programs left."""
        done = Collection()
        for finding in self.check(contents=False):
            if finding.code == "leftover":
                path = self.root / finding.path
                done.leftovers.append(str(path))
                done.size += sum(disk_usage(path).values())
        if not dry_run:
            Snapshotter(self.root).cleanup()
        return done

    def _place(self, folder: str) -> Path:
        return self.root / "snapshots" / folder

    def _diff_id(self, folder: str) -> str | None:
        place = self._place(folder)
        if not (place / "layer.db").is_file():
            return None
        with LayerFolder(place) as opened:
            found = opened.facts.get("diff_id")
        return found if isinstance(found, str) else None
