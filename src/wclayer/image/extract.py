"""Files out of an image, as plain files: what a pattern names, below one folder, and nothing outside of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from wclayer.errors import NotFoundError, StoreError, UsageError
from wclayer.formats.folder.door import Door, NameTakenError
from wclayer.formats.folder.content import host_times
from wclayer.image.globs import find_all
from wclayer.image.paths import VOLUME, windows_path
from wclayer.image.view import Found, View
from wclayer.model import Stream
from wclayer.ntfs.names import encode_wtf8

__all__ = ["Extracted", "extract"]


@dataclass(slots=True)
class Extracted:
    """What was written: paths relative to the output folder, bytes in all, and what was left out, with the reason."""

    files: list[str] = field(default_factory=list)
    folders: int = 0
    size: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def extract(
    view: View, patterns: Iterable[str], output: Path, *, streams: bool = False, flat: bool = False, force: bool = False
) -> Extracted:
    """Write everything that ``patterns`` name to ``output``, folders with all they hold.

    Paths are kept as in the image, without drive C (``Windows/System32/x.dll``), or dropped with ``flat``. A symbolic
    link is written as the file it leads to; one that leads nowhere, or to a folder, is left out and listed. With
    ``streams`` alternate streams become files named ``FILE:STREAM``. Existing files are an error unless ``force``.
    Raises NotFoundError for a pattern that names nothing.
    """
    chosen: dict[str, Found] = {}
    for pattern in patterns:
        for found in find_all(view, pattern):
            chosen.setdefault(found.path, found)
            if found.is_folder:
                for below in view.walk(found):
                    chosen.setdefault(below.path, below)
    try:
        output.mkdir(parents=True, exist_ok=True)
        root = os.open(output, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    except OSError as error:
        raise StoreError(f"cannot make {output}: {error.strerror}") from error
    door = Door(root, where=str(output))
    try:
        return _Extraction(view, door, streams=streams, flat=flat, force=force).run(chosen)
    finally:
        door.close()
        os.close(root)


class _Extraction:
    def __init__(self, view: View, door: Door, *, streams: bool, flat: bool, force: bool) -> None:
        self.view = view
        self.door = door
        self.streams = streams
        self.flat = flat
        self.force = force
        self.result = Extracted()
        self.made: set[bytes] = {b""}

    def run(self, chosen: dict[str, Found]) -> Extracted:
        files: list[tuple[Found, Callable[[Stream], None]]] = []
        for found in chosen.values():
            place = self.place(found)
            if found.is_folder:
                if not self.flat:
                    self.folder(place)
                    self.result.folders += 1
                continue
            file = self.resolved(found)
            if file is not None:
                files.append((file, self.writer(place, file)))
        self.view.read(files)
        if self.streams:
            self.write_streams(chosen)
        self.result.files.sort()
        return self.result

    def place(self, found: Found) -> bytes:
        """Where it goes, relative to the output."""
        if self.flat:
            return encode_wtf8(found.name)
        root, _, rest = found.path.partition("/")
        return encode_wtf8(rest if root.lower() == VOLUME.lower() else found.path)

    def resolved(self, found: Found) -> Found | None:
        if not found.is_reparse_point:
            return found
        try:
            file = self.view.find(found.path)
        except NotFoundError as error:
            self.result.left_out.append((windows_path(found.path), error.message))
            return None
        if file.is_folder:
            self.result.left_out.append((windows_path(found.path), f"a link to the folder {windows_path(file.path)}"))
            return None
        return file

    def folder(self, path: bytes) -> None:
        """Make ``path`` and what is above it."""
        parts = path.split(b"/") if path else []
        for depth in range(1, len(parts) + 1):
            here = b"/".join(parts[:depth])
            if here in self.made:
                continue
            try:
                self.door.make_directory(b"/".join(parts[: depth - 1]), parts[depth - 1])
            except NameTakenError:
                self.door.directory(here)  # a folder is welcome, anything else is an error
            self.made.add(here)

    def writer(self, place: bytes, file: Found) -> Callable[[Stream], None]:
        ticks = self.view.metadata(file).last_write_time

        def write(data: Stream) -> None:
            self.write(place, data, ticks)

        return write

    def write(self, place: bytes, data: Stream, ticks: int | None) -> None:
        folder, _, leaf = place.rpartition(b"/")
        self.folder(folder)
        descriptor = self.create(folder, leaf)
        shown = place.decode("utf-8", "backslashreplace")
        try:
            with open(descriptor, "wb", buffering=0) as file:
                os.fchmod(descriptor, 0o644)
                for piece in data.pieces():
                    rest = memoryview(piece)
                    while rest:
                        rest = rest[file.write(rest) :]
                if ticks is not None:
                    os.utime(descriptor, ns=host_times(ticks))
        except OSError as error:
            raise StoreError(f"cannot write {shown}: {error.strerror}", path=shown) from error
        self.result.files.append(shown)
        self.result.size += data.size

    def create(self, folder: bytes, leaf: bytes) -> int:
        try:
            return self.door.create(folder, leaf)
        except NameTakenError as error:
            if not self.force:
                raise UsageError(
                    error.message, path=error.path, hint="use --force to replace files, or another folder"
                ) from None
        os.unlink(leaf, dir_fd=self.door.directory(folder))
        return self.door.create(folder, leaf)

    def write_streams(self, chosen: dict[str, Found]) -> None:
        wanted = []
        for found in chosen.values():
            for layer, stream in self.view.streams(found):
                name = encode_wtf8(stream.name.removesuffix(":$DATA"))
                place = self.place(found) + name

                def consume(data: Stream, place: bytes = place) -> None:
                    self.write(place, data, None)

                wanted.append((layer, stream, consume))
        self.view.read_streams(wanted)
