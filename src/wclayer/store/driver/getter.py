"""The files of a layer by the names that its tar gives them, for who keeps the headers and wants the data."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.folder import LayerFolder
from wclayer.model import Stream
from wclayer.ntfs.names import checked_path, fold, split_stream
from wclayer.store.driver.pristine import copy_name

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

__all__ = ["DiffGetter"]


class DiffGetter:
    """Reads files of the layer in ``folder``, which is held until :meth:`close` calls ``done``."""

    def __init__(self, folder: Path, done: Callable[[], None]) -> None:
        self._folder = folder
        self._layer: LayerFolder | None = None
        self._done: Callable[[], None] | None = done

    def get(self, name: str) -> BinaryIO:
        """The data of ``name``: a file, or ``file:stream``. Of a boot configuration it is that which the layer brought.

        Raises NotFoundError, and UnsafeEntryError for a name that leaves the layer.
        """
        pristine = copy_name(name)
        if pristine is not None:
            found = next((path for path in self._folder.iterdir() if path.name.lower() == pristine), None)
            if found is not None:
                try:
                    return found.open("rb")
                except OSError as error:
                    raise StoreError(f"cannot read {found}: {error.strerror}") from error
        owner, stream = split_stream(name)
        layer = self._opened()
        node = layer.lookup(checked_path(owner))
        if node is None:
            raise NotFoundError("there is no such file in the layer", path=name, layer=str(self._folder))
        data: Stream | None = None
        if stream is None:
            data = layer.open_data(node)
        else:
            wanted = (fold(stream), fold(f"{stream}:$DATA"))
            match = next((one for one in layer.streams(node) if fold(one.name) in wanted), None)
            if match is not None:
                data = layer.open_stream(match)
        if data is None:
            raise NotFoundError("it has no such data", path=name, layer=str(self._folder))
        return cast("BinaryIO", io.BufferedReader(_Reader(data)))

    def close(self) -> None:
        """Let go of the layer. Harmless when called twice."""
        if self._layer is not None:
            self._layer.close()
            self._layer = None
        if self._done is not None:
            self._done()
            self._done = None

    def __enter__(self) -> DiffGetter:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _opened(self) -> LayerFolder:
        if self._layer is None:
            self._layer = LayerFolder(self._folder)
        return self._layer


class _Reader(io.RawIOBase):
    def __init__(self, data: Stream) -> None:
        super().__init__()
        self._pieces = data.pieces()
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        view = memoryview(buffer).cast("B")
        if not self._rest:
            self._rest = memoryview(next(self._pieces, b""))
        length = min(len(view), len(self._rest))
        view[:length] = self._rest[:length]
        self._rest = self._rest[length:]
        return length
