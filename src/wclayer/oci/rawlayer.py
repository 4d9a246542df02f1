"""A bare layer tar, compressed or not, as an image of one layer without manifest and configuration."""

from __future__ import annotations

import sys
from io import BufferedReader
from pathlib import Path
from typing import BinaryIO

from wclayer.errors import StoreError, UsageError
from wclayer.oci.image import Image, LayerBlob, StoredBlob
from wclayer.oci.sources import BinarySource, open_file, store_error

__all__ = ["file_image", "open_stdin", "stdin_image"]


def file_image(path: Path, *, notes: tuple[str, ...] = ()) -> Image:
    """The layer in the file ``path``; NotFoundError, StoreError."""
    with open_file(path) as file:
        try:
            size = file.seek(0, 2)
        except OSError as error:
            raise store_error(error, f"cannot read {path}") from error
    stored = StoredBlob(lambda: open_file(path), size)
    return Image(str(path), None, None, [LayerBlob(0, 1, None, None, lambda: stored)], notes=notes)


def stdin_image() -> Image:
    """The layer on standard input, which can be opened once."""
    opened = False

    def open_once() -> BinarySource:
        nonlocal opened
        if opened:
            raise StoreError("standard input can be read only once", hint="save it to a file, and name that")
        opened = True
        return open_stdin()

    stored = StoredBlob(open_once, None)
    return Image("-", None, None, [LayerBlob(0, 1, None, None, lambda: stored)])


def open_stdin() -> BinarySource:
    """Standard input as a source; UsageError when it is a terminal."""
    stream = sys.stdin.buffer
    if stream.isatty():
        raise UsageError("standard input is a terminal", hint="pipe a layer tar into it, or name a file")
    return _Stdin(stream)


class _Stdin:
    """Closing it leaves standard input open, for it belongs to the process."""

    def __init__(self, stream: BinaryIO) -> None:
        self._read = stream.readinto1 if isinstance(stream, BufferedReader) else stream.readinto  # type: ignore[attr-defined]

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        count: int = self._read(buffer)
        return count

    def close(self) -> None:
        return
