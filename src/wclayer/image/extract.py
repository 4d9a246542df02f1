"""Files out of an image, as plain files: what a pattern names, below one folder, and nothing outside of it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from wclayer.errors import NotFoundError, StoreError, UsageError
from wclayer.formats.folder import StreamNode
from wclayer.formats.folder.content import PIECE
from wclayer.formats.folder.door import (
    DIRECTORY_FLAGS,
    Door,
    NameRefusedError,
    NameTakenError,
    readable,
    store_error,
)
from wclayer.formats.folder.host_times import host_times
from wclayer.image.globs import find_all
from wclayer.image.paths import VOLUME, windows_path
from wclayer.image.view import Consume, Found, View
from wclayer.model import Buffer, Stream
from wclayer.ntfs.names import encode_wtf8, fold
from wclayer.writing import write_whole

__all__ = ["Extracted", "extract", "extract_found"]


@dataclass(slots=True)
class Extracted:
    """What was written: paths relative to the output folder, bytes in all, and what was left out, with the reason.

    ``linked`` is how many of the files are further names of others, as hard links.
    """

    files: list[str] = field(default_factory=list)
    folders: int = 0
    size: int = 0
    linked: int = 0
    left_out: list[tuple[str, str]] = field(default_factory=list)


def extract(
    view: View, patterns: Iterable[str], output: Path, *, streams: bool = False, flat: bool = False, force: bool = False
) -> Extracted:
    """Write everything that ``patterns`` name to ``output``, folders with all they hold.

    Paths are kept as in the image, without drive C (``Windows/System32/x.dll``), or dropped with ``flat``. A symbolic
    link is written as the file it leads to; one that leads nowhere, or to a folder, is left out and listed, as is a
    file whose name this machine cannot hold. Names of one file are names of one file here, too. With ``streams``
    alternate streams become files named ``FILE:STREAM``. Existing files are an error unless ``force``, which replaces
    them; never followed are links in ``output``.

    Raises NotFoundError for a pattern that names nothing, UsageError when two files would get the same name.
    """
    found = (one for pattern in patterns for one in find_all(view, pattern))
    return extract_found(view, found, output, streams=streams, flat=flat, force=force)


def extract_found(
    view: View,
    roots: Iterable[Found],
    output: Path,
    *,
    streams: bool = False,
    flat: bool = False,
    force: bool = False,
    layer_paths: bool = False,
) -> Extracted:
    """The same for what has been found in the view; with ``layer_paths`` drive C is the folder that the layer has."""
    chosen: dict[str, Found] = {}
    for found in roots:
        chosen.setdefault(found.path, found)
        if found.is_folder:
            for below in view.walk(found):
                chosen.setdefault(below.path, below)
    try:
        output.mkdir(parents=True, exist_ok=True)
        root = os.open(output, DIRECTORY_FLAGS)
    except OSError as error:
        raise StoreError(f"cannot make {output}: {error.strerror}") from error
    door = Door(root, where=str(output))
    try:
        job = _Extraction(view, door, streams=streams, flat=flat, force=force, layer_paths=layer_paths)
        return job.run(chosen.values())
    finally:
        door.close()
        os.close(root)


_Key: TypeAlias = tuple[int, int, bool]
"""What identifies data: the layer, the number of the entry or stream in it, and whether it is a stream."""


class _Job:
    """Data that is wanted, and the places that it goes to."""

    def __init__(self, source: Found | tuple[int, StreamNode], ticks: int | None) -> None:
        self.source = source
        self.ticks = ticks
        self.places: list[bytes] = []


class _Extraction:
    def __init__(self, view: View, door: Door, *, streams: bool, flat: bool, force: bool, layer_paths: bool) -> None:
        self.view = view
        self.door = door
        self.streams = streams
        self.flat = flat
        self.force = force
        self.layer_paths = layer_paths
        self.result = Extracted()
        self.made: set[bytes] = {b""}
        self.jobs: dict[_Key, _Job] = {}
        self.claims: dict[bytes, tuple[_Key, str]] = {}

    def run(self, chosen: Iterable[Found]) -> Extracted:
        folders = list(self.plan(chosen))
        for place in folders:
            if self.make_folder(place):
                self.result.folders += 1
        files: list[tuple[Found, Consume]] = []
        streams: list[tuple[int, StreamNode, Consume]] = []
        for job in self.jobs.values():
            if isinstance(job.source, Found):
                files.append((job.source, self.consumer(job)))
            else:
                streams.append((*job.source, self.consumer(job)))
        self.view.read(files)
        self.view.read_streams(streams)
        self.result.files.sort()
        return self.result

    # ------------------------------------------------------------------ what goes where

    def plan(self, chosen: Iterable[Found]) -> Iterator[bytes]:
        """Find out what has to be written, before anything is; yields the folders to make."""
        for found in chosen:
            place = self.place(found)
            if found.is_folder:
                if not self.flat:
                    yield place
                self.plan_streams(found, found, place)
                continue
            file = self.resolved(found)
            if file is not None:
                layer, node = self.view.content(file)
                key = (layer, node.id, False)
                job = self.jobs.setdefault(key, _Job(file, node.last_write_time))
                self.claim(job, key, place, found)
                self.plan_streams(found, file, place)

    def plan_streams(self, found: Found, file: Found, place: bytes) -> None:
        if self.streams:
            for layer, stream in self.view.streams(file):
                key = (layer, stream.id, True)
                job = self.jobs.setdefault(key, _Job((layer, stream), None))
                self.claim(job, key, place + encode_wtf8(stream.name.removesuffix(":$DATA")), found)

    def claim(self, job: _Job, key: _Key, place: bytes, found: Found) -> None:
        other, path = self.claims.setdefault(place, (key, found.path))
        if path == found.path and place not in job.places:
            job.places.append(place)
        elif other != key:
            raise UsageError(
                f"{windows_path(path)} and {windows_path(found.path)} would both become {readable(place)}",
                hint="extract them one by one, or keep their folders",
            )

    def place(self, found: Found) -> bytes:
        """Where it goes, relative to the output."""
        if self.flat:
            return encode_wtf8(found.name)
        if self.layer_paths:
            return encode_wtf8(found.path)
        root, _, rest = found.path.partition("/")
        return encode_wtf8(rest if fold(root) == fold(VOLUME) else found.path)

    def resolved(self, found: Found) -> Found | None:
        """The file behind a link; None for what cannot be written, which is listed."""
        if found.is_tombstone:
            self.result.left_out.append((windows_path(found.path), "this layer deletes it"))
            return None
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

    # ------------------------------------------------------------------ writing

    def make_folder(self, path: bytes) -> bool:
        """Make ``path`` and what is above it; False, and listed, when this machine cannot hold the name."""
        try:
            self.folder(path)
        except NameRefusedError as error:
            self.result.left_out.append((readable(path), error.message))
            return False
        return True

    def folder(self, path: bytes) -> None:
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

    def consumer(self, job: _Job) -> Consume:
        def consume(data: Stream) -> None:
            first: bytes | None = None
            for place in job.places:
                try:
                    if first is None:
                        self.write(place, data.pieces(), job.ticks)
                        self.result.size += data.size
                        first = place
                    else:
                        self.link(first, place, data.size, job.ticks)
                except NameRefusedError as error:
                    self.result.left_out.append((readable(place), error.message))
                else:
                    self.result.files.append(readable(place))

        return consume

    def write(self, place: bytes, pieces: Iterable[Buffer], ticks: int | None) -> None:
        folder, _, leaf = place.rpartition(b"/")
        self.folder(folder)
        self.make_room(folder, leaf)
        descriptor = self.door.create(folder, leaf)
        try:
            with os.fdopen(descriptor, "wb", buffering=0) as file:
                os.fchmod(descriptor, 0o644)
                for piece in pieces:
                    write_whole(file.write, piece)
                if ticks is not None:
                    os.utime(descriptor, ns=host_times(ticks))
        except BaseException as error:
            os.unlink(leaf, dir_fd=self.door.directory(folder))
            if isinstance(error, OSError):
                raise StoreError(f"cannot write the file: {error.strerror}", path=readable(place)) from error
            raise

    def link(self, first: bytes, place: bytes, size: int, ticks: int | None) -> None:
        """Another name for what was written; a copy where the file system has no hard links."""
        folder, _, leaf = place.rpartition(b"/")
        old_folder, _, old_leaf = first.rpartition(b"/")
        self.folder(folder)
        self.make_room(folder, leaf)
        if self.door.link(self.door, old_folder, old_leaf, folder, leaf, size=size):
            self.result.linked += 1
            return
        with os.fdopen(self.door.open(old_folder, old_leaf), "rb", buffering=0) as file:
            self.write(place, iter(lambda: file.read(PIECE), b""), ticks)
        self.result.size += size

    def make_room(self, folder: bytes, leaf: bytes) -> None:
        """With ``force`` remove a file that is there; otherwise its presence is an error."""
        path = folder + b"/" + leaf if folder else leaf
        here = self.door.directory(folder)
        try:
            os.stat(leaf, dir_fd=here, follow_symlinks=False)
            if self.force:
                os.unlink(leaf, dir_fd=here)
        except FileNotFoundError:
            return
        except OSError as error:
            raise store_error(error, "cannot write the file", path, self.door.where) from error
        if not self.force:
            hint = "use --force to replace files, or name another folder"
            raise UsageError(f"{self.door.where} has that file already", path=readable(path), hint=hint)
