"""What a layer changes: as items, as a tar, as a list of changes, as a number of bytes."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from enum import Enum
from typing import NamedTuple

from wclayer.errors import NotFoundError
from wclayer.formats.folder import (
    LayerFolder,
    LayerFolderReader,
    LayerFolderWriter,
    remove_layer_folder,
    write_original,
)
from wclayer.formats.shaping import for_tar
from wclayer.formats.tar import TarLayerWriter
from wclayer.model import Buffer, Entry, HardLink, LayerItem, Notices, Tombstone, copy_layer
from wclayer.store.chain_view import ChainView
from wclayer.store.comparing import differences, view_candidates
from wclayer.store.driver.home import DriverHome, is_layer_folder
from wclayer.store.driver.mounting import open_layers
from wclayer.store.readwrite.body import ReadWriteBody

__all__ = ["Change", "ChangeKind", "LayerDifference", "difference"]


class ChangeKind(Enum):
    """What happened to a path, in the numbers of Docker's archive package."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Change(NamedTuple):
    """A change at a layer path: ``Files/…``, ``Hives/…``, ``UtilityVM/Files/…``."""

    path: str
    kind: ChangeKind


class LayerDifference:
    """A layer against what lies below it; ``original`` is the layer itself when its recorded chain is meant."""

    def __init__(
        self, items: Callable[[], Iterable[LayerItem]], below: Sequence[LayerFolder], original: LayerFolder | None
    ) -> None:
        self._items = items
        self._below = ChainView(below)
        self._original = original

    def items(self) -> Iterable[LayerItem]:
        """The layer that makes the new tree of the old one."""
        return self._items()

    def write_tar(self, write: Callable[[Buffer], object], notices: Notices) -> None:
        """Write it as a layer tar: the one the layer came from, byte for byte, or else one that keeps everything.

        Notices are those of ``wclayer export --as faithful``.
        """
        if self._original is not None and self._original.header_record is not None:
            write_original(self._original, write)
            return
        tar = TarLayerWriter(write, policy="faithful", notices=notices)
        copy_layer(for_tar(self.items(), "faithful", notices), tar)
        tar.commit()

    def changes(self) -> Iterator[Change]:
        """The changes, in the order of the layer."""
        for item in self.items():
            if isinstance(item, Tombstone):
                yield Change(item.path, ChangeKind.DELETED)
            elif isinstance(item, Entry | HardLink):
                was_there = self._below.layers and self._below.find(item.path) is not None
                yield Change(item.path, ChangeKind.MODIFIED if was_there else ChangeKind.ADDED)

    def size(self) -> int:
        """The sum of the sizes of the files in it, in bytes."""
        return sum(item.data.size for item in self.items() if isinstance(item, Entry) and item.data is not None)


@contextmanager
def difference(home: DriverHome, name: str, parent: str | None) -> Iterator[LayerDifference]:
    """The layer ``name``, held by the caller, against ``parent``: None is what it stands on, "" is nothing."""
    chain = home.chain(name)
    path = home.path(name)
    with ExitStack() as held:
        below, _ = held.enter_context(open_layers(home, chain))
        own: tuple[LayerFolder, ...] = ()
        if is_layer_folder(path):
            own = (held.enter_context(LayerFolder(path)),)
        elif ReadWriteBody.is_one(path):
            own = held.enter_context(_changes(home, name, below))
        if parent is None or parent == (chain[0] if chain else ""):
            original = own[0] if own and is_layer_folder(path) else None
            yield LayerDifference(lambda: LayerFolderReader(own[0]) if own else (), below, original)
            return
        older, _ = held.enter_context(open_layers(home, _older(home, name, parent)))
        new, old = ChainView((*own, *below)), ChainView(older)
        yield LayerDifference(lambda: differences(old, view_candidates(new, old)), older, None)


@contextmanager
def _changes(home: DriverHome, name: str, below: Sequence[LayerFolder]) -> Iterator[tuple[LayerFolder, ...]]:
    """The changes of a read-write layer as a layer folder, none when there are none."""
    body = ReadWriteBody(home.path(name))
    state = body.state
    if state.tree is None:
        if state.upper is None:
            yield ()
        else:
            with LayerFolder(body.folder / state.upper) as upper:
                yield (upper,)
        return
    place = home.locks.folder / "differences"
    place.mkdir(exist_ok=True)
    place = place / f"{name}.{secrets.token_hex(8)}"
    try:
        with LayerFolderWriter(place, parents=below) as writer:
            body.pour(below, writer)
        with LayerFolder(place) as folder:
            yield (folder,)
    finally:
        if place.is_dir():
            remove_layer_folder(place)


def _older(home: DriverHome, name: str, parent: str) -> tuple[str, ...]:
    """The chain that begins with ``parent``."""
    if not parent:
        return ()
    if not home.exists(parent):
        raise NotFoundError(f"there is no layer {parent}", layer=name)
    return (parent, *home.chain(parent)) if is_layer_folder(home.path(parent)) else home.chain(parent)
