"""The folder beside a CIM: the files of a layer that children, and the layer's own processing, need outside the image.

It grows hidden and appears whole, like every folder of a layer. What is put into it is named by the paths of the layer;
a path counts whatever its case, as on Windows, but a file is spelt as it came first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from wclayer.errors import NotFoundError, StoreError, UnsafeEntryError
from wclayer.formats.folder.door import DIRECTORY_FLAGS, Door, NameTakenError, readable, store_error
from wclayer.formats.folder.staging import Staging, remove_layer_folder
from wclayer.model import Buffer
from wclayer.ntfs.names import encode_wtf8, fold
from wclayer.writing import write_whole

__all__ = ["StdFileSink", "StdFiles", "open_std_file"]

_PIECE = 1 << 20


class StdFileSink:
    """A new file of the folder, taking its data."""

    def __init__(self, descriptor: int, path: str, where: str) -> None:
        self._descriptor = descriptor
        self._path = path
        self._where = where

    def write(self, data: Buffer) -> None:
        """Append a piece. Raises StoreError."""
        try:
            write_whole(partial(os.write, self._descriptor), data)
        except OSError as error:
            raise store_error(error, "cannot write", encode_wtf8(self._path), self._where) from error

    def close(self) -> None:
        """Make the data durable. Raises StoreError. Harmless when called twice."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor < 0:
            return
        try:
            os.fsync(descriptor)
        except OSError as error:
            raise store_error(error, "cannot synchronise", encode_wtf8(self._path), self._where) from error
        finally:
            os.close(descriptor)

    def abandon(self) -> None:
        """Close without caring for the data."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class StdFiles:
    """The folder ``destination`` in the making: it must not exist or be empty, its parent must exist."""

    def __init__(self, destination: Path) -> None:
        self.destination = destination.absolute()
        self._staging = Staging(self.destination)
        self._door = Door(self._staging.root, where=str(self.destination))
        self._known: dict[str, str] = {}
        self._published = False

    def add(self, path: str) -> StdFileSink:
        """Make the new file ``path`` and the folders above it. Raises UnsafeEntryError when it is there, StoreError."""
        if self.holds(path):
            raise self._twice(path)
        parent, leaf = self._placed(path)
        try:
            descriptor = self._door.create(parent, leaf)
        except NameTakenError as error:
            raise self._twice(path) from error
        self._known[fold(path)] = _joined(parent, leaf)
        return StdFileSink(descriptor, path, self._door.where)

    def add_folder(self, path: str) -> None:
        """Make the folder ``path``, which may be there already."""
        self._folder(path)

    def add_link(self, path: str, target: str) -> None:
        """Make ``path`` another name of the file ``target`` of this folder; a copy where the file system has no links.

        Raises NotFoundError when there is no such target, UnsafeEntryError when the name is taken.
        """
        known = self._known.get(fold(target))
        if known is None:
            raise NotFoundError(f"there is no {target} in this layer", layer=self._door.where, path=path)
        if self.holds(path):
            raise self._twice(path)
        parent, leaf = self._placed(path)
        old_parent, _, old_leaf = encode_wtf8(known).rpartition(b"/")
        try:
            linked = self._door.link(self._door, old_parent, old_leaf, parent, leaf, size=self.size(target))
        except NameTakenError as error:
            raise self._twice(path) from error
        if linked:
            self._known[fold(path)] = _joined(parent, leaf)
            return
        sink = self.add(path)
        try:
            for piece in self.pieces(target):
                sink.write(piece)
            sink.close()
        finally:
            sink.abandon()

    def holds(self, path: str) -> bool:
        """Whether the file or folder ``path`` was added."""
        return fold(path) in self._known

    def open(self, path: str) -> int:
        """A descriptor that reads the file ``path``, which the caller closes. Raises NotFoundError, StoreError."""
        known = self._known.get(fold(path))
        if known is None:
            raise NotFoundError(f"there is no {path} in this layer", layer=self._door.where)
        parent, _, leaf = encode_wtf8(known).rpartition(b"/")
        return self._door.open(parent, leaf)

    def size(self, path: str) -> int:
        """The present size of the file ``path`` in bytes."""
        descriptor = self.open(path)
        try:
            return os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)

    def pieces(self, path: str) -> Iterator[bytes]:
        """The content of the file ``path``. Raises StoreError."""
        descriptor = self.open(path)
        try:
            while piece := os.read(descriptor, _PIECE):
                yield piece
        except OSError as error:
            raise store_error(error, "cannot read", encode_wtf8(path), self._door.where) from error
        finally:
            os.close(descriptor)

    def publish(self) -> None:
        """Give the folder its name. Raises StoreError."""
        self._synchronise()
        self._door.close()
        self._staging.publish()
        self._published = True

    def discard(self) -> None:
        """Leave nothing; after :meth:`publish` the folder is removed again."""
        if self._published:
            self._published = False
            remove_layer_folder(self.destination)
            return
        self._door.close()
        self._staging.discard()

    def keep(self) -> None:
        """The folder is there to stay: :meth:`discard` does nothing any more."""
        self._published = False

    def _placed(self, path: str) -> tuple[bytes, bytes]:
        folder, _, leaf = path.rpartition("/")
        return encode_wtf8(self._folder(folder)), encode_wtf8(leaf)

    def _folder(self, path: str) -> str:
        """The folder ``path`` as it is spelt here; made if it is not there."""
        if not path:
            return ""
        known = self._known.get(fold(path))
        if known is not None:
            return known
        above, _, leaf = path.rpartition("/")
        parent = self._folder(above)
        try:
            self._door.make_directory(encode_wtf8(parent), encode_wtf8(leaf))
        except NameTakenError as error:
            raise self._twice(path) from error
        spelt = self._known[fold(path)] = f"{parent}/{leaf}" if parent else leaf
        return spelt

    def _synchronise(self) -> None:
        folders = {known.rpartition("/")[0] for known in self._known.values()} | {""}
        for folder in sorted(folders):
            try:
                os.fsync(self._door.directory(encode_wtf8(folder)))
            except OSError as error:
                raise store_error(error, "cannot synchronise", encode_wtf8(folder), self._door.where) from error

    def _twice(self, path: str) -> UnsafeEntryError:
        return UnsafeEntryError("it comes twice in this layer", layer=self._door.where, path=path)


def open_std_file(folder: Path, path: str) -> int | None:
    """A descriptor that reads the file ``path`` of the folder of a finished layer, whatever its case; None without one.

    No link is followed on the way. The caller closes it. Raises StoreError, IntegrityError for what is no file.
    """
    try:
        root = os.open(folder, DIRECTORY_FLAGS)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(error, "cannot open the folder", os.fsencode(folder), "") from error
    door = Door(root, where=str(folder))
    try:
        here = b""
        *folders, leaf = path.split("/")
        for name in folders:
            spelt = _spelt(door, here, name)
            if spelt is None:
                return None
            here = here + b"/" + spelt if here else spelt
        spelt = _spelt(door, here, leaf)
        return None if spelt is None else door.open(here, spelt)
    finally:
        door.close()
        os.close(root)


def _spelt(door: Door, folder: bytes, name: str) -> bytes | None:
    wanted = fold(name)
    try:
        names = os.listdir(door.directory(folder))
    except OSError as error:
        raise StoreError(f"cannot list {readable(folder)}: {error.strerror}", layer=door.where) from error
    found = sorted(spelt for spelt in names if fold(spelt) == wanted)
    return os.fsencode(found[0]) if found else None


def _joined(parent: bytes, leaf: bytes) -> str:
    return os.fsdecode(parent + b"/" + leaf if parent else leaf)
