"""A bare layer tar, compressed or not, as an image of one layer without manifest and configuration."""

from __future__ import annotations

import select
import sys
from collections.abc import Callable
from io import BufferedReader, FileIO
from pathlib import Path
from typing import BinaryIO

from wclayer.errors import StoreError, UsageError
from wclayer.oci.image import Image, LayerBlob, StoredBlob
from wclayer.oci.sources import BinarySource, open_file, store_error

__all__ = ["file_image", "open_stdin", "stdin_image"]

_PATIENCE = 0.1  # seconds


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
    """Closing it leaves standard input open, for it belongs to the process. A read that waits ends when told to."""

    def __init__(self, stream: BinaryIO) -> None:
        raw = stream.raw if isinstance(stream, BufferedReader) else stream
        self._read: Callable[[bytearray | memoryview], int | None] = raw.readinto  # type: ignore[union-attr]
        self._pollable = raw if isinstance(raw, FileIO) and sys.platform != "win32" else None
        self._interrupted = False

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        while self._pollable is not None and not select.select([self._pollable], [], [], _PATIENCE)[0]:
            if self._interrupted:
                return 0
        return self._read(buffer) or 0

    def interrupt(self) -> None:
        self._interrupted = True

    def close(self) -> None:
        return
