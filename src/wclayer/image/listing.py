"""Listing folders and reading files of a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wclayer.errors import NotFoundError, UsageError
from wclayer.image.describe import Row, list_row
from wclayer.image.globs import find_all, has_magic
from wclayer.image.paths import layer_path, windows_path
from wclayer.image.view import View
from wclayer.model import Buffer, Stream
from wclayer.ntfs.names import fold

__all__ = ["list_path", "read_path"]


def list_path(view: View, path: str, *, recursive: bool = False, itself: bool = False) -> Iterator[Row]:
    """The rows of what is at ``path``: the contents of a folder, or the file itself; of all that match a pattern.

    Raises NotFoundError.
    """
    if has_magic(path):
        for found in find_all(view, path):
            yield list_row(view, found)
        return
    found = view.find(layer_path(path), follow=not itself)
    if itself or not found.is_folder:
        yield list_row(view, found)
    else:
        for child in view.walk(found) if recursive else view.children(found):
            yield list_row(view, child)


def read_path(view: View, path: str, write: Callable[[Buffer], object], *, stream: str | None = None) -> None:
    """Hand the data of the file at ``path`` to ``write``, following links; or that of its alternate stream ``stream``.

    Raises NotFoundError, UsageError for a folder.
    """
    found = view.find(layer_path(path))

    def consume(data: Stream) -> None:
        for piece in data.pieces():
            write(piece)

    if stream is None:
        if found.is_folder:
            raise UsageError(f"{windows_path(found.path)} is a folder", hint="list it: wclayer ls IMAGE PATH")
        view.read([(found, consume)])
        return
    name = fold(stream.removeprefix(":").removesuffix(":$DATA"))
    streams = view.streams(found)
    for layer, candidate in streams:
        if fold(candidate.name.removeprefix(":").removesuffix(":$DATA")) == name:
            view.read_streams([(layer, candidate, consume)])
            return
    there = ", ".join(candidate.name for _, candidate in streams) or "none"
    raise NotFoundError(f"{windows_path(found.path)} has no stream {stream}; it has {there}")
