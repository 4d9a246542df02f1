"""A layer folder read: the index, and the content of the files beside it."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from wclayer.errors import FormatError, NotFoundError, UnsupportedError
from wclayer.formats.folder.content import (
    HEADER_RECORD,
    INDEX,
    LAYER_CHAIN,
    STREAM_FOLDER,
    file_stream,
    inline_stream,
)
from wclayer.formats.folder.door import DIRECTORY_FLAGS, Door, store_error
from wclayer.formats.folder.index import LayerIndex, connect
from wclayer.formats.folder.node import Node, StreamNode
from wclayer.formats.folder.schema import FILE, LINK
from wclayer.model import Stream

__all__ = ["LayerFolder", "layer_chain_text", "parents_fact", "read_layer_chain"]

_MAX_CHAIN = 1 << 20  # bytes of layerchain.json


class LayerFolder(LayerIndex):
    """The layer folder ``path``, read-only. Close it after use; it holds the database and some folders open.

    Raises NotFoundError when there is no layer, UnsupportedError when it is one of another kind or of a newer version,
    FormatError when its database is damaged, StoreError.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(os.path.abspath(path))
        try:
            root = os.open(self.path, DIRECTORY_FLAGS)
        except FileNotFoundError as error:
            raise NotFoundError(f"there is no layer folder {self.path}") from error
        except OSError as error:
            raise store_error(error, "cannot open the layer folder", os.fsencode(self.path), "") from error
        try:
            self.door = Door(root, where=str(self.path))
            _refuse_others(root, self.path)
            super().__init__(connect(self.path / os.fsdecode(INDEX)), str(self.path))
            try:
                self.check_version()
            except BaseException:
                self.database.close()
                raise
        except BaseException:
            os.close(root)
            raise
        self._root = root

    @classmethod
    def open(cls, path: Path) -> Self:
        """The same as ``LayerFolder(path)``."""
        return cls(path)

    def close(self) -> None:
        """Close everything. Harmless when called twice."""
        super().close()
        self.door.close()
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    @property
    def parent_paths(self) -> tuple[Path, ...]:
        """The parents in ``layerchain.json``, nearest first; none for a base layer."""
        return read_layer_chain(self.path)

    @property
    def header_record(self) -> Path | None:
        """The file that holds the headers of the tar this layer came from, None when it came from elsewhere."""
        path = self.path / os.fsdecode(HEADER_RECORD)
        return path if path.is_file() else None

    def open_data(self, node: Node) -> Stream | None:
        """The main stream of ``node``, None when it has none. For a hard link it is the data of its target.

        Reading it raises IntegrityError when the file is missing, is no ordinary file, or has another size.
        """
        if node.size is None or node.kind not in (FILE, LINK):
            return None
        folder, leaf = self.folder_path(node.parent)[1], node.host_leaf
        return self._file_stream(folder, leaf, node.size, node.ranges)

    def open_stream(self, stream: StreamNode) -> Stream:
        """The data of an alternate stream; raises as :meth:`open_data` does."""
        if stream.content is not None:
            return inline_stream(stream.content, stream.size, stream.ranges)
        if stream.host is None:
            raise FormatError("the data of a stream is nowhere", kind="layer-db", layer=self.where, path=stream.owner)
        return self._file_stream(STREAM_FOLDER, stream.host, stream.size, stream.ranges)

    def host_path(self, node: Node) -> bytes:
        """Where ``node`` lies on this machine, relative to the layer folder."""
        folder = self.folder_path(node.parent)[1]
        return folder + b"/" + node.host_leaf if folder else node.host_leaf

    def _file_stream(self, folder: bytes, leaf: bytes, size: int, ranges: tuple[tuple[int, int], ...] | None) -> Stream:
        path = folder + b"/" + leaf if folder else leaf
        door = self.door
        return file_stream(
            lambda: door.open(folder, leaf), size, ranges, path, os.fsencode(self.path) + b"/" + path, door.where
        )


def read_layer_chain(folder: Path) -> tuple[Path, ...]:
    """The parents that ``layerchain.json`` in ``folder`` names, nearest first; none when there is no such file.

    The form is Docker's: a JSON list of absolute paths, or ``null``. Raises FormatError, StoreError.
    """
    name = os.fsdecode(LAYER_CHAIN)
    try:
        with open(folder / name, "rb") as file:
            text = file.read(_MAX_CHAIN + 1)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise store_error(error, "cannot read the file", LAYER_CHAIN, str(folder)) from error
    try:
        parents = json.loads(text) if len(text) <= _MAX_CHAIN else text
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{name} is no JSON: {error}", kind="layer-chain", layer=str(folder)) from error
    if parents is None:
        return ()
    if not isinstance(parents, list) or not all(isinstance(parent, str) and parent for parent in parents):
        raise FormatError(f"{name} is no list of paths", kind="layer-chain", layer=str(folder))
    return tuple(Path(parent) for parent in parents)


def layer_chain_text(parents: Iterable[Path]) -> bytes:
    """The content of ``layerchain.json``: what Docker writes, ``null`` for a layer without parents."""
    return json.dumps([str(parent) for parent in parents] or None).encode()


def parents_fact(parents: Iterable[LayerFolder]) -> str:
    """What the index records of the parents, as JSON: where each lay, and its identity as far as it was known."""
    described = []
    for parent in parents:
        facts = parent.facts
        described.append({"path": str(parent.path), "id": facts.get("chain_id") or facts.get("diff_id")})
    return json.dumps(described)


def _refuse_others(root: int, path: Path) -> None:
    names = {name.lower() for name in os.listdir(root)}
    if os.fsdecode(INDEX) in names:
        return
    if names & {"files", "utilityvm", "hives", "tombstones.txt", "sandbox.vhdx", "layerchain.json"}:
        raise UnsupportedError(
            f"{path} is a Windows layer, but without layer.db: another program made it",
            hint="read it as a transport folder or import the layer again",
        )
    raise NotFoundError(f"{path} is no layer folder: it holds no layer.db")
