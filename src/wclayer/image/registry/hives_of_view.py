"""The hives of an image, an unpacked image or a layer folder, found and read by way of its view.

A hive that lies on disk is mapped, so that of a large one only the pages are read that are looked at. One in the blob
of a layer is unpacked to a temporary file first, with one pass for all hives of a layer that are asked for together.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from wclayer.errors import IntegrityError, StoreError
from wclayer.formats.folder import Node
from wclayer.image.registry.hive_files import HiveFile, hive_paths, require_size
from wclayer.image.target import FolderLayer
from wclayer.image.view import Consume, Found, View
from wclayer.model import Buffer as Piece
from wclayer.model import Stream

if TYPE_CHECKING:
    from wclayer.regf.reader import Buffer

__all__ = ["ViewHives", "map_file"]


def map_file(descriptor: int, held: ExitStack) -> Buffer:
    """The open file ``descriptor`` mapped into memory, until ``held`` ends; the descriptor can be closed at once."""
    if os.fstat(descriptor).st_size == 0:
        return b""
    return held.enter_context(mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))


class ViewHives:
    """The hives in ``view``, which is closed with this."""

    alone: str | None = None

    def __init__(self, view: View) -> None:
        self.view = view
        self.reference = view.reference or ""
        self.notes = view.notes
        self._shown = len(view.root.parts)
        self._held = ExitStack()
        nearest_first = view.layers[: self._shown]
        self.labels = tuple(layer.label for layer in reversed(nearest_first))

    def candidates(self, hive: str) -> Sequence[HiveFile]:
        """All files that are called like a part of ``hive``, layers base first."""
        found = []
        for layer in reversed(range(self._shown)):
            for path, role in hive_paths(hive):
                node = self.view.layers[layer].index.lookup(path)
                if node is not None and not node.is_folder and not node.is_reparse_point:
                    number = self.view.number(layer)
                    found.append(HiveFile(hive, role, number, self.view.layers[layer].label, node.path))
        return found

    def load(self, files: Sequence[HiveFile]) -> Sequence[Buffer]:
        """What is in these files, in their order."""
        buffers: list[Buffer | None] = [None] * len(files)
        waiting: list[tuple[Found, int]] = []
        for place, file in enumerate(files):
            found = self._found(file.layer, file.path)
            if found is None:
                raise IntegrityError(f"{file.what} is not there any more", path=file.path)
            layer, node = self.view.content(found)
            require_size(node.size or 0, file)
            mapped = self._mapped(layer, node)
            if mapped is None:
                waiting.append((found, place))
            else:
                buffers[place] = mapped
        self._unpack(waiting, buffers)
        return [buffer if buffer is not None else b"" for buffer in buffers]

    def logs(self, file: HiveFile) -> Sequence[bytes]:
        """The transaction logs that lie beside a hive."""
        nodes = (self._found(file.layer, f"{file.path}.{name}") for name in ("LOG1", "LOG2"))
        found = [node for node in nodes if node is not None]
        buffers: list[Buffer | None] = [None] * len(found)
        self._unpack([(node, place) for place, node in enumerate(found)], buffers)
        return [bytes(buffer) for buffer in buffers if buffer is not None]

    def close(self) -> None:
        """Close the view."""
        try:
            self._held.close()
        finally:
            self.view.close()

    def _found(self, number: int, path: str) -> Found | None:
        layer = len(self.view.layers) - 1 - number
        node = self.view.layers[layer].index.lookup(path)
        if node is None or node.is_folder:
            return None
        return Found(node.path, layer, node)

    def _mapped(self, layer: int, node: Node) -> Buffer | None:
        """A file on disk as memory; None when it has to be unpacked."""
        one = self.view.layers[layer]
        if not isinstance(one, FolderLayer) or node.ranges is not None or node.size is None:
            return None
        descriptor = one.folder.door.open(one.folder.folder_path(node.parent)[1], node.host_leaf)
        try:
            size = os.fstat(descriptor).st_size
            if size != node.size:
                raise IntegrityError(
                    f"the file has {size} bytes where {node.size} are recorded", layer=one.label, path=node.path
                )
            return map_file(descriptor, self._held)
        finally:
            os.close(descriptor)

    def _unpack(self, wanted: Sequence[tuple[Found, int]], buffers: list[Buffer | None]) -> None:
        if not wanted:
            return
        try:
            with ExitStack() as files:
                temporary = [files.enter_context(tempfile.TemporaryFile()) for _ in wanted]

                self.view.read((found, _writer(file.write)) for file, (found, _) in zip(temporary, wanted, strict=True))
                for file, (_, place) in zip(temporary, wanted, strict=True):
                    file.flush()
                    buffers[place] = map_file(file.fileno(), self._held)
        except OSError as error:
            raise StoreError(f"cannot keep a registry hive in the temporary folder: {error.strerror}") from error


def _writer(write: Callable[[Piece], object]) -> Consume:
    def consume(data: Stream) -> None:
        for piece in data.pieces():
            write(piece)

    return consume
