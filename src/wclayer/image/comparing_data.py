"""The data of files and streams of a view as digests, read in batches: what a comparison of many files has to hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from typing import TypeAlias, TypeVar

from wclayer.formats.folder import StreamNode
from wclayer.image.item_layer import ItemLayer
from wclayer.image.scanned import ScannedLayer
from wclayer.image.view import Consume, Found, View
from wclayer.model import Stream

__all__ = ["DataKey", "Digests"]

DataKey: TypeAlias = tuple[int, int]
"""The layer and the number of an entry or of a stream in it."""

_BATCH, _BATCH_OF_PASS = 1 << 12, 1 << 16  # a layer without random access is gone through once for each batch

T = TypeVar("T")


class Digests:
    """SHA-256 of the data of files and streams of ``view``: first all that are wanted are told, then they are read."""

    def __init__(self, view: View) -> None:
        self.view = view
        #: The digests by key, after :meth:`read`.
        self.files: dict[DataKey, bytes] = {}
        self.streams: dict[DataKey, bytes] = {}
        self._files: dict[DataKey, None] = {}
        self._streams: dict[DataKey, StreamNode] = {}

    def want(self, key: DataKey) -> None:
        """Ask for the main stream of an entry that is a file."""
        self._files[key] = None

    def want_stream(self, layer: int, stream: StreamNode) -> None:
        """Ask for an alternate stream."""
        self._streams.setdefault((layer, stream.id), stream)

    def read(self) -> None:
        """Read everything that is wanted. Raises what reading raises."""
        in_passes = any(isinstance(layer, ScannedLayer | ItemLayer) for layer in self.view.layers)
        size = _BATCH_OF_PASS if in_passes else _BATCH
        for keys in _batches(iter(self._files), size):
            self.view.read((self._found(key), _hashing(self.files, key)) for key in keys)
        for streams in _batches(iter(self._streams.items()), size):
            self.view.read_streams((key[0], stream, _hashing(self.streams, key)) for key, stream in streams)

    def _found(self, key: DataKey) -> Found:
        layer, number = key
        node = self.view.layers[layer].index.node(number)
        return Found(node.path, layer, node)


def _batches(items: Iterator[T], size: int) -> Iterator[list[T]]:
    while batch := list(islice(items, size)):
        yield batch


def _hashing(digests: dict[DataKey, bytes], key: DataKey) -> Consume:
    def consume(data: Stream) -> None:
        state = hashlib.sha256()
        for piece in data.pieces():
            state.update(piece)
        digests[key] = state.digest()

    return consume
