"""The tar a layer came from, written again byte for byte: the recorded headers with the data of the files between."""

from __future__ import annotations

import hashlib
import heapq
import os
from collections.abc import Callable, Iterator
from typing import TypeAlias

from wclayer.errors import DigestMismatchError, FormatError, IntegrityError, NotFoundError
from wclayer.formats.folder.content import STREAM_FOLDER
from wclayer.formats.folder.door import readable, store_error
from wclayer.formats.folder.folder import LayerFolder
from wclayer.formats.folder.headers import HeaderRecordReader
from wclayer.formats.folder.node import Node, StreamNode

__all__ = ["require_original", "write_original"]

_GATHERED = 1 << 18
_Sink: TypeAlias = Callable[[memoryview], object]


def write_original(folder: LayerFolder, write: _Sink, *, check: bool = True) -> None:
    """Hand the bytes of the tar that ``folder`` was imported from to ``write``, in pieces valid during the call.

    With ``check`` their SHA-256 is compared with the recorded ``diff_id``, if there is one; who hashes them anyway says
    what came out to :func:`require_original`. Raises NotFoundError when the layer did not come from a tar,
    IntegrityError naming a file that is missing or has another size, FormatError for a damaged header record, and, when
    all is written, DigestMismatchError.
    """
    record = folder.header_record
    if record is None:
        raise NotFoundError(
            "the layer has no header record: it did not come from a tar",
            layer=folder.where,
            hint="write a new tar of it instead",
        )
    digest = hashlib.sha256() if check else None
    out = _Gathered((write,) if digest is None else (digest.update, write))
    contents = _Contents(folder, out)
    try:
        for part in HeaderRecordReader(record):
            if isinstance(part, bytes):
                out.write(part)
            else:
                contents.copy(*part)
        out.flush()
    finally:
        contents.close()
    if digest is not None:
        require_original(folder, f"sha256:{digest.hexdigest()}")


def require_original(folder: LayerFolder, digest: str) -> None:
    """Raises DigestMismatchError unless ``digest`` is that of the tar ``folder`` came from, as far as it is known."""
    expected = folder.facts.get("diff_id")
    if expected and expected != digest:
        raise DigestMismatchError(
            f"the tar written has the digest {digest} instead of {expected}",
            layer=folder.where,
            hint="verify the layer: a file of it has changed",
        )


class _Gathered:
    """Small pieces and parts of files, one after another in one buffer, and so to the sinks."""

    def __init__(self, sinks: tuple[_Sink, ...]) -> None:
        self._sinks = sinks
        self._buffer = memoryview(bytearray(_GATHERED))
        self._filled = 0

    def write(self, data: bytes) -> None:
        """Take ``data``."""
        while data:
            part = data[: _GATHERED - self._filled]
            self.room(len(part))[:] = part
            self.took(len(part))
            data = data[len(part) :]

    def write_zeros(self, count: int) -> None:
        """Take ``count`` zeros; none when it is negative."""
        while count > 0:
            room = self.room(count)
            room[:] = bytes(len(room))
            self.took(len(room))
            count -= len(room)

    def room(self, length: int) -> memoryview:
        """Where to put the next bytes: at least one, at most ``length``. :meth:`took` says how many came."""
        return self._buffer[self._filled : self._filled + length]

    def took(self, count: int) -> None:
        """``count`` bytes are in the room now."""
        self._filled += count
        if self._filled == _GATHERED:
            self.flush()

    def flush(self) -> None:
        """Hand over what is there."""
        if self._filled:
            for sink in self._sinks:
                sink(self._buffer[: self._filled])
            self._filled = 0


class _Contents:
    """The data of streams by ordinal, asked for in ascending order as a tar holds them; one is open at a time."""

    def __init__(self, folder: LayerFolder, out: _Gathered) -> None:
        self._folder = folder
        self._out = out
        self._owners = _by_ordinal(folder)
        self._ordinal = -1
        self._size = 0
        self._descriptor = -1
        self._inline: tuple[tuple[int, bytes], ...] = ()
        self._path = b""

    def copy(self, ordinal: int, offset: int, length: int) -> None:
        """Write ``length`` bytes from ``offset`` of the logical content of stream ``ordinal``."""
        if ordinal != self._ordinal:
            self._advance(ordinal)
        if offset + length > self._size:
            raise IntegrityError(
                f"the header record asks for {length} bytes at {offset} of {self._size}",
                layer=self._folder.where,
                path=readable(self._path),
            )
        if self._descriptor < 0:
            self._copy_inline(offset, length)
            return
        out = self._out
        while length:
            try:
                count = os.preadv(self._descriptor, [out.room(length)], offset)
            except OSError as error:
                raise store_error(error, "cannot read the file", self._path, self._folder.where) from error
            if not count:
                raise IntegrityError(
                    "the file became shorter meanwhile", layer=self._folder.where, path=readable(self._path)
                )
            out.took(count)
            offset += count
            length -= count

    def close(self) -> None:
        """Close the open file, if any."""
        descriptor, self._descriptor = self._descriptor, -1  # first, for an interruption may come behind the closing
        if descriptor >= 0:
            os.close(descriptor)

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

    def _copy_inline(self, offset: int, length: int) -> None:
        out, end = self._out, offset + length
        for start, piece in self._inline:
            if start >= end:
                break
            if start + len(piece) > offset:
                out.write_zeros(start - offset)
                position = max(offset, start)
                out.write(piece[position - start : end - start])
                offset = min(end, start + len(piece))
        out.write_zeros(end - offset)


def _by_ordinal(folder: LayerFolder) -> Iterator[Node | StreamNode]:
    """The streams with data, in the order of the tar."""
    return heapq.merge(folder.files_by_ordinal(), folder.streams_by_ordinal(), key=lambda owner: owner.ordinal)
