"""The file that the current entry of a layer writer goes to: a blob, as it comes, or a file that is restored.

Pieces are gathered, since a backup stream arrives in many small ones.
"""

from __future__ import annotations

import os
import struct
from functools import partial
from typing import Protocol

from wclayer.formats.folder.door import store_error
from wclayer.formats.volume import BackupRestore, OpenNode
from wclayer.formats.volume.data_process import DataProcess
from wclayer.model import Buffer, SharedSource
from wclayer.writing import BITE, write_whole

__all__ = ["BlobApart", "BlobFile", "EntryFile", "RestoredFile"]

_BUFFER = 1 << 16
"""Bytes that are gathered at most: a whole number of bites, so that what follows begins with one, too."""
_ATTRIBUTES = struct.Struct("<I")


class EntryFile(Protocol):
    """Where the backup stream of an entry goes."""

    def write(self, data: Buffer) -> None:
        """Take a piece."""

    def close(self) -> None:
        """Finish; the file is closed in any case."""

    def abandon(self) -> None:
        """Close without caring for errors."""


class BlobFile:
    """A blob: the attribute word and the backup stream, verbatim.

    ``whole`` is all of a small one once it is closed, None for one of which parts were on the disk before.
    """

    def __init__(self, node: OpenNode, attributes: int) -> None:
        self.whole: bytearray | None = None
        self._is_begun = False
        self._node = node
        self._buffer = bytearray(_ATTRIBUTES.pack(attributes & 0xFFFFFFFF))

    def write(self, data: Buffer) -> None:
        """Take a piece. Raises StoreError."""
        buffer = self._buffer
        if len(buffer) + len(data) < _BUFFER:
            buffer += data
            return
        rest = memoryview(data)
        if buffer:
            missing = -len(buffer) % BITE
            buffer += rest[:missing]
            self._flush()
            rest = rest[missing:]
        whole = len(rest) - len(rest) % BITE
        self._put(rest[:whole])
        self._buffer += rest[whole:]

    def close(self) -> None:
        """Write the rest and close. Raises StoreError."""
        try:
            if not self._is_begun:
                self.whole = self._buffer
            self._flush()
            self._node.close()
        finally:
            self._node.abandon()

    def abandon(self) -> None:
        """Close without caring for errors."""
        self._node.abandon()

    def _flush(self) -> None:
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()
            self._put(memoryview(buffer))

    def _put(self, rest: memoryview) -> None:
        self._is_begun = True
        try:
            write_whole(partial(os.write, self._node.descriptor), rest)
        except OSError as error:
            raise store_error(error, "cannot write", self._node.host, self._node.volume.label) from error


class BlobApart:
    """The same blob, made by another process."""

    def __init__(self, node: OpenNode, attributes: int, apart: DataProcess) -> None:
        self.whole: bytearray | None = None
        self._node = node
        self._apart = apart
        self._is_begun = False
        self._buffer = bytearray(_ATTRIBUTES.pack(attributes & 0xFFFFFFFF))
        parent, _, leaf = node.host.rpartition(b"/")
        apart.begin(parent, leaf, node.path)

    def write(self, data: Buffer) -> None:
        """Take a piece. Raises StoreError, of this file or of an earlier one."""
        buffer = self._buffer
        if len(buffer) + len(data) <= BITE:
            buffer += data
            return
        with memoryview(data) as view:
            for start in range(0, len(view), BITE):
                self._buffer += view[start : start + BITE]
                if len(self._buffer) > BITE:
                    self._flush()

    def write_apart(self, source: SharedSource, size: int) -> None:
        """Take ``size`` bytes from where they lie. Raises StoreError."""
        self._flush()
        offset = source.span(size)
        self._apart.append_pieces(((offset, size),) if offset >= 0 else source.places(size))

    def close(self) -> None:
        """Nothing more comes. Raises StoreError."""
        if not self._is_begun:
            self.whole = self._buffer
        self._flush()
        self._apart.end(self._node.leave())

    def abandon(self) -> None:
        """Nothing needs to be let go of."""

    def _flush(self) -> None:
        if self._buffer:
            self._is_begun = True
            buffer, self._buffer = self._buffer, bytearray()
            self._apart.append(buffer)


class RestoredFile:
    """A file that the backup stream is restored to, as BackupWrite does; ``buffered`` gathers small pieces first.

    ``observed`` is that of :class:`BackupRestore`.
    """

    def __init__(self, node: OpenNode, *, security: bool, buffered: bool = True, observed: bool = True) -> None:
        self._node = node
        self._restore = BackupRestore(node, security=security, observed=observed)
        self._most = _BUFFER if buffered else 0
        self._buffer = bytearray()

    def write(self, data: Buffer) -> None:
        """Take a piece. Raises what :class:`BackupRestore` raises."""
        if self._most:
            if len(self._buffer) + len(data) < self._most:
                self._buffer += data
                return
            self._flush()
        self._restore.write(data)

    def _flush(self) -> None:
        if self._buffer:
            buffer, self._buffer = self._buffer, bytearray()
            self._restore.write(buffer)

    def close(self) -> None:
        """Check that the stream is whole and close."""
        try:
            self._flush()
            self._restore.close()
            self._node.close()
        finally:
            self._node.abandon()

    def abandon(self) -> None:
        """Close without caring for errors."""
        self._node.abandon()
