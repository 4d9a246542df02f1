"""The tar a layer came from, written again byte for byte: the recorded headers with the data of the files between."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

from wclayer.errors import DigestMismatchError, FormatError, IntegrityError, NotFoundError
from wclayer.formats.folder.content import PIECE, STREAM_FOLDER
from wclayer.formats.folder.door import readable, store_error
from wclayer.formats.folder.folder import LayerFolder
from wclayer.formats.folder.headers import HeaderRecordReader
from wclayer.formats.folder.node import Node, StreamNode

__all__ = ["write_original"]

_Sink: TypeAlias = Callable[[bytes], object]


def write_original(folder: LayerFolder, write: _Sink, *, check: bool = True) -> None:
    """Hand the bytes of the tar that ``folder`` was imported from to ``write``, in pieces.

    With ``check`` their SHA-256 is compared with the recorded ``diff_id``, if there is one. Raises NotFoundError when
    the layer did not come from a tar, IntegrityError naming a file that is missing or has another size, FormatError for
    a damaged header record, and, when all is written, DigestMismatchError.
    """
    record = folder.header_record
    if record is None:
        raise NotFoundError(
            "the layer has no header record: it did not come from a tar",
            layer=folder.where,
            hint="write a new tar of it instead",
        )
    digest = hashlib.sha256()
    contents = _Contents(folder)
    gathered: list[bytes] = []
    size = 0
    try:
        for part in HeaderRecordReader(record):
            for piece in (part,) if isinstance(part, bytes) else contents.read(*part):
                gathered.append(piece)
                size += len(piece)
                if size >= PIECE:
                    _emit(gathered, write, digest.update)
                    size = 0
        _emit(gathered, write, digest.update)
    finally:
        contents.close()
    expected = folder.facts.get("diff_id")
    if check and expected and expected != f"sha256:{digest.hexdigest()}":
        raise DigestMismatchError(
            f"the tar written has the digest sha256:{digest.hexdigest()} instead of {expected}",
            layer=folder.where,
            hint="verify the layer: a file of it has changed",
        )


def _emit(gathered: list[bytes], *sinks: _Sink) -> None:
    data = gathered[0] if len(gathered) == 1 else b"".join(gathered)
    gathered.clear()
    if data:
        for sink in sinks:
            sink(data)


class _Contents:
    """The data of streams by ordinal, asked for in ascending order as a tar holds them; one is open at a time."""

    def __init__(self, folder: LayerFolder) -> None:
        self._folder = folder
        self._owners = _by_ordinal(folder)
        self._ordinal = -1
        self._size = 0
        self._descriptor = -1
        self._inline: tuple[tuple[int, bytes], ...] = ()
        self._path = b""

    def read(self, ordinal: int, offset: int, length: int) -> Iterator[bytes]:
        """``length`` bytes from ``offset`` of the logical content of stream ``ordinal``."""
        if ordinal != self._ordinal:
            self._advance(ordinal)
        if offset + length > self._size:
            raise IntegrityError(
                f"the header record asks for {length} bytes at {offset} of {self._size}",
                layer=self._folder.where,
                path=readable(self._path),
            )
        if self._descriptor < 0:
            yield from self._read_inline(offset, length)
            return
        while length:
            try:
                piece = os.pread(self._descriptor, min(length, PIECE), offset)
            except OSError as error:
                raise store_error(error, "cannot read the file", self._path, self._folder.where) from error
            if not piece:
                raise IntegrityError(
                    "the file became shorter meanwhile", layer=self._folder.where, path=readable(self._path)
                )
            yield piece
            offset += len(piece)
            length -= len(piece)

    def close(self) -> None:
        """Close the open file, if any."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _advance(self, ordinal: int) -> None:
        """Go on to the stream ``ordinal``."""
        folder = self._folder
        self.close()
        owner = next((owner for owner in self._owners if owner.ordinal >= ordinal), None)
        if owner is None or owner.ordinal != ordinal:
            raise FormatError(
                f"the header record asks for stream {ordinal}, which the layer does not hold at that place",
                kind="header-record",
                layer=folder.where,
            )
        self._ordinal = ordinal
        self._size = owner.size or 0
        self._inline = ()
        if isinstance(owner, StreamNode) and owner.content is not None:
            self._path = os.fsencode(f"{owner.owner}{owner.name}")
            self._inline = tuple((offset, bytes(piece)) for offset, piece in folder.open_stream(owner).extents())
            return
        leaf = owner.host_leaf if isinstance(owner, Node) else owner.host
        parent = folder.folder_path(owner.parent)[1] if isinstance(owner, Node) else STREAM_FOLDER
        if leaf is None:
            raise FormatError(f"the data of stream {ordinal} is nowhere", kind="layer-db", layer=folder.where)
        self._path = parent + b"/" + leaf if parent else leaf
        self._descriptor = folder.door.open(parent, leaf)
        found = os.fstat(self._descriptor).st_size
        if found != self._size:
            raise IntegrityError(
                f"the file has {found} bytes instead of {self._size}", layer=folder.where, path=readable(self._path)
            )

    def _read_inline(self, offset: int, length: int) -> Iterator[bytes]:
        end = offset + length
        for start, piece in self._inline:
            if start >= end:
                break
            if start + len(piece) > offset:
                yield from _zeros(start - offset)
                position = max(offset, start)
                yield piece[position - start : end - start]
                offset = min(end, start + len(piece))
        yield from _zeros(end - offset)


def _by_ordinal(folder: LayerFolder) -> Iterator[Node | StreamNode]:
    """The streams with data, in the order of the tar."""
    return heapq.merge(folder.files_by_ordinal(), folder.streams_by_ordinal(), key=lambda owner: owner.ordinal)


def _zeros(count: int) -> Iterator[bytes]:
    while count > 0:
        yield bytes(min(count, PIECE))
        count -= PIECE
