"""Listing folders and reading files of a view."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wclayer.errors import NotFoundError, UsageError
from wclayer.image.describe import Row, list_row
from wclayer.image.globs import find_all, has_magic
from wclayer.image.paths import layer_path, windows_path
from wclayer.image.view import Found, View
from wclayer.model import Buffer, Stream
from wclayer.ntfs.names import fold

__all__ = ["list_path", "read_path"]


def list_path(view: View, path: str, *, recursive: bool = False, itself: bool = False) -> Iterator[Row]:
    """The rows of what is at ``path``: the contents of a folder, or the file itself; of a pattern, all that match it.

    With ``recursive`` also everything below what would be listed; with ``itself`` a folder, and not what is in it.
    Raises NotFoundError.
    """
    for found in _listed(view, path, itself=itself):
        yield list_row(view, found)
        if recursive and found.is_folder and not itself:
            for below in view.walk(found):
                yield list_row(view, below)


def _listed(view: View, path: str, *, itself: bool) -> Iterator[Found]:
    if has_magic(path):
        yield from find_all(view, path)
        return
    found = view.find(layer_path(path), follow=not itself)
    if itself or not found.is_folder:
        yield found
    else:
        yield from view.children(found)


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
    wanted = _bare(stream)
    streams = view.streams(found)
    for layer, candidate in streams:
        if _bare(candidate.name) == wanted:
            view.read_streams([(layer, candidate, consume)])
            return
    there = ", ".join(candidate.name for _, candidate in streams) or "none"
    raise NotFoundError(f"{windows_path(found.path)} has no stream {stream}; it has {there}")


def _bare(name: str) -> str:
    """The name of a stream as it is compared: folded, without the type of ordinary data."""
    return fold(name).removeprefix(":").removesuffix(":$DATA")
