"""The content of a read-write layer: what was changed, at rest as a layer folder, at work as a tree of plain files.

::

    FOLDER/state.json      which of the following counts
    FOLDER/upper-XXXX/     the changes, an ordinary layer folder
    FOLDER/tree-XXXX/      while somebody works in it: everything, changes included

``state.json`` is replaced by a rename once what it names is complete, so the content is always the old or the new one.
What it does not name was left by a program that died, and goes with the next :meth:`ReadWriteBody.sweep`. While a tree
is attached it is the truth, also after the machine lost its power.

Whoever uses a body holds the lock of its layer: alone to change it, shared to read.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wclayer.errors import FormatError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, LayerFolderWriter, remove_layer_folder, sweep
from wclayer.formats.folder.door import store_error
from wclayer.model import LayerItem, LayerWriter, Notices, copy_layer
from wclayer.store.chain_view import ChainView
from wclayer.store.readwrite.tree import WorkTree

__all__ = ["STATE", "ReadWriteBody", "ReadWriteState", "write_whole"]

STATE = "state.json"
_SCHEMA = "wclayer.readwrite/1"
_LIMIT = 1 << 16
_is_own = re.compile(r"(upper|tree)-[0-9a-f]{16}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class ReadWriteState:
    """What ``state.json`` says: the folders that count, and the size of the disk in bytes (0: the default)."""

    upper: str | None = None
    tree: str | None = None
    size: int = 0


class ReadWriteBody:
    """The read-write content in ``folder``. Raises StoreError, and FormatError for a state that is none."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def is_one(cls, folder: Path) -> bool:
        """Whether there is read-write content in ``folder``."""
        return (folder / STATE).is_file()

    @classmethod
    def make(cls, folder: Path, *, size: int = 0) -> ReadWriteBody:
        """An empty body in ``folder``."""
        body = cls(folder)
        body._save(ReadWriteState(size=size))
        return body

    @property
    def state(self) -> ReadWriteState:
        """What counts now."""
        path = self.folder / STATE
        try:
            with open(path, "rb") as file:
                document: dict[str, Any] = json.loads(file.read(_LIMIT))
            upper, tree, size = document["upper"], document["tree"], document["size"]
        except OSError as error:
            raise store_error(error, "cannot read", os.fsencode(path), "") from error
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FormatError(f"{path} is damaged: {error!r}", kind="read-write-state") from error
        for name in (upper, tree):
            if name is not None and not (isinstance(name, str) and _is_own(name)):
                raise FormatError(f"{path} names a folder elsewhere", kind="read-write-state")
        if type(size) is not int or size < 0:
            raise FormatError(f"{path} has a size that is none", kind="read-write-state")
        return ReadWriteState(upper, tree, size)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever put into it."""
        state = self.state
        return state.upper is None and state.tree is None

    @property
    def tree(self) -> WorkTree | None:
        """The tree somebody works in, None when none is attached."""
        name = self.state.tree
        return None if name is None else WorkTree(self.folder / name)

    def attach(self, parents: Sequence[LayerFolder]) -> WorkTree:
        """The tree to work in: what ``parents`` show, nearest first, with the changes made so far."""
        state = self.state
        if state.tree is not None:
            return WorkTree(self.folder / state.tree)
        self.sweep()
        name = f"tree-{secrets.token_hex(8)}"
        place = self.folder / name
        try:
            place.mkdir()
        except OSError as error:
            raise store_error(error, "cannot make the folder", os.fsencode(place), "") from error
        try:
            with self._layers(state, parents) as layers:
                tree = WorkTree.write(place, ChainView(layers))
            self._save(replace(state, tree=name))
        except BaseException:
            _destroy(place)
            raise
        return tree

    def detach(self, parents: Sequence[LayerFolder]) -> None:
        """Put away the tree, if one is attached; its changes stay."""
        if self.state.tree is not None:
            with self.changes(parents) as items:
                self.replace(items, parents)

    def replace(
        self, items: Iterable[LayerItem], parents: Sequence[LayerFolder], *, notices: Notices | None = None
    ) -> None:
        """Let ``items`` be the changes from now on; a tree that is attached is dropped when they are all there."""
        state = self.state
        name = f"upper-{secrets.token_hex(8)}"
        with LayerFolderWriter(self.folder / name, parents=parents, notices=notices) as writer:
            copy_layer(items, writer)
        self._save(replace(state, upper=name, tree=None))
        self.sweep()

    @contextmanager
    def changes(self, parents: Sequence[LayerFolder]) -> Iterator[Iterable[LayerItem]]:
        """The changes as a layer on ``parents``, to be read while the block runs."""
        state = self.state
        with ExitStack() as held:
            if state.tree is not None:
                # The tree is compared with what it was written from, and earlier changes belong to what changed.
                tree = WorkTree(self.folder / state.tree)
                if state.upper is None:
                    yield tree.differences(ChainView(parents))
                    return
                upper = held.enter_context(LayerFolder(self.folder / state.upper))
                late = tree.differences(ChainView((upper, *parents)))
                yield held.enter_context(self._together(late, upper, parents))
            elif state.upper is not None:
                yield LayerFolderReader(held.enter_context(LayerFolder(self.folder / state.upper)))
            else:
                yield ()

    def pour(self, parents: Sequence[LayerFolder], writer: LayerWriter) -> None:
        """Write the changes as a layer; neither commits nor aborts."""
        with self.changes(parents) as items:
            copy_layer(items, writer)

    def sweep(self) -> None:
        """Remove what does not count any more, or never did."""
        state = self.state
        sweep(self.folder)
        for path in self.folder.iterdir():
            if path.name.startswith(("upper-", "tree-", f"{STATE}.")) and path.name not in (state.upper, state.tree):
                _destroy(path)

    @contextmanager
    def _together(
        self, late: Iterable[LayerItem], upper: LayerFolder, parents: Sequence[LayerFolder]
    ) -> Iterator[Iterable[LayerItem]]:
        """Two layers of changes as one: the later one on the earlier one, compared with the parents."""
        from wclayer.store.comparing import differences, view_candidates

        place = self.folder / f"upper-{secrets.token_hex(8)}"
        try:
            with LayerFolderWriter(place, parents=(upper, *parents)) as writer:
                copy_layer(late, writer)
            with LayerFolder(place) as top:
                old, new = ChainView(parents), ChainView((top, upper, *parents))
                yield differences(old, view_candidates(new, old))
        finally:
            if place.exists():
                _destroy(place)

    @contextmanager
    def _layers(self, state: ReadWriteState, parents: Sequence[LayerFolder]) -> Iterator[tuple[LayerFolder, ...]]:
        if state.upper is None:
            yield tuple(parents)
        else:
            with LayerFolder(self.folder / state.upper) as upper:
                yield (upper, *parents)

    def _save(self, state: ReadWriteState) -> None:
        document = {"schema": _SCHEMA, "upper": state.upper, "tree": state.tree, "size": state.size}
        write_whole(self.folder / STATE, json.dumps(document).encode())


def write_whole(path: Path, content: bytes) -> None:
    """Let the file ``path`` hold ``content``, from one moment to the next, durably. Raises StoreError."""
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        descriptor = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise store_error(error, "cannot write", os.fsencode(path), "") from error
        raise


def _destroy(path: Path) -> None:
    """Remove a folder, read-only as it may be, or a file."""
    if path.is_dir() and not path.is_symlink():
        remove_layer_folder(path)
    else:
        path.unlink(missing_ok=True)
