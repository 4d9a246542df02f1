r"""A layer read as if ExportLayer had been run, without writing the transport folder that would be read once.

Hives and deletions go through a real transport folder: they are few, and what Windows makes of them is involved. What
lies below ``Files``, nearly everything, would become blobs word for word, so it is read from the layer itself; what the
transport folder would have refused is refused here in the same way.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

from wclayer.errors import FormatError, UsageError
from wclayer.formats.transport.names import ATTRIBUTES_SIZE, FILES, SIDECAR, is_blob, is_sidecar
from wclayer.formats.transport.portable import export_layer
from wclayer.formats.transport.reader import RECYCLE_BIN_FOLD, EntryHead, LegacyLayerReader, LinkInfo
from wclayer.formats.volume import BasicInfo, Status, Volume, VolumeError, backup_pieces, read_function
from wclayer.formats.volume.entries import plain_entry
from wclayer.formats.volume.errors import ERROR_ALREADY_EXISTS
from wclayer.formats.volume.paths import components
from wclayer.formats.volume.record import now
from wclayer.model import Entry
from wclayer.ntfs.names import fold

__all__ = ["ExportedLayerReader", "read_exported"]

_SIDECAR = fold(SIDECAR)


def read_exported(layer: Volume, transport: Volume) -> LegacyLayerReader:
    """A reader of what ExportLayer makes of ``layer``; the empty folder ``transport`` holds what it needs for that."""
    files = layer.lstat(FILES)
    if files.path != FILES or not files.is_directory or files.is_reparse_point:
        export_layer(layer, transport)
        return LegacyLayerReader(transport)
    export_layer(layer, transport, below_files=False)
    return ExportedLayerReader(layer, transport)


class ExportedLayerReader(LegacyLayerReader):
    """Reads ``layer``, of which everything but what lies below ``Files`` was exported into ``transport``."""

    def __init__(self, layer: Volume, transport: Volume) -> None:
        super().__init__(transport)
        self._layer = layer
        self._speaker: Status | None = None
        self._first: dict[bytes, tuple[str, int]] = {}

    # ------------------------------------------------------------------ the current entry

    def link_info(self) -> LinkInfo:
        """The names of the current entry's file. Raises UsageError when there is none."""
        speaker = self._speaker
        if speaker is None:
            return super().link_info()
        return LinkInfo(speaker.links, int.from_bytes(speaker.file_id[:8], "little"), speaker.file_id)

    def blob_status(self) -> Status:
        """The file that describes the current entry. Raises UsageError when there is none."""
        return super().blob_status() if self._speaker is None else self._speaker

    @property
    def is_seekable(self) -> bool:
        """Whether the stream of the current entry can be read twice."""
        return self._speaker is not None or super().is_seekable

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Begin anew with the stream of the current entry; other places of it cannot be reached.

        Raises UsageError: ``no current file``, ``seek not supported on this stream``.
        """
        if self._speaker is None:
            return super().seek(offset, whence)
        if (offset, whence) == (ATTRIBUTES_SIZE, os.SEEK_SET):
            self._begin(self._speaker)
        elif (offset, whence) != (0, os.SEEK_CUR):
            raise UsageError("seek not supported on this stream")
        return ATTRIBUTES_SIZE

    def plain_entry(self, head: EntryHead, path: str, file_id: bytes | None) -> Entry | None:
        """The current entry under the name ``path``, where nothing in it is unusual; None when it must be read."""
        if self._speaker is None or head.basic is None:
            return super().plain_entry(head, path, file_id)
        return plain_entry(self._layer, self._speaker, head.basic, path, file_id, to_the_end=True)

    def _open(self, status: Status) -> EntryHead:
        if not is_blob(status.path):
            return super()._open(status)
        speaker = self._speaker_of(status)
        basic = speaker.basic
        if 0 in basic:
            moment = now()
            basic = BasicInfo(basic.attributes, *(time or moment for time in basic[1:]))
        self.status, self._speaker = status, speaker
        self._begin(speaker)
        return EntryHead(status.path, speaker.size, basic)

    def _begin(self, speaker: Status) -> None:
        self._plain = backup_pieces(self._layer, speaker, security=True)
        self._read = read_function(self._plain)

    def _speaker_of(self, status: Status) -> Status:
        """The first name of the file ``status``, under which it would have become a blob."""
        if status.links == 1:
            return status
        node = status.record.node if status.described else 0
        first, first_node = self._first.setdefault(status.file_id, (status.path, node))
        return status if first == status.path or (node and node == first_node) else self._layer.lstat(first)

    def _end_entry(self) -> None:
        self._speaker = None
        super()._end_entry()

    # ------------------------------------------------------------------ the walk

    def _contents(self, status: Status) -> Generator[Status | str, None, None]:
        if status.path != FILES:
            return
        stack: list[tuple[Iterator[Status], set[str]]] = [(self._layer.tree.entries(self._layer.lstat(FILES)), set())]
        while stack:
            found = next(stack[-1][0], None)
            if found is None:
                stack.pop()
            elif self._is_entry(found, stack[-1][1]):
                yield found
                if found.is_directory:
                    yield from self._tombstones.pop(found.path, ())
                    if not found.is_reparse_point:
                        stack.append((self._layer.tree.entries(found), set()))

    def _is_entry(self, status: Status, taken: set[str]) -> bool:
        """Whether the transport folder would show ``status``; ``taken`` are the names that its folder has there."""
        path = status.path
        op = "mkdir" if status.is_directory else "open"
        name = fold(components(path, op)[-1])
        if name in taken:
            raise VolumeError(op, path, ERROR_ALREADY_EXISTS, where=self._layer.label)
        taken.add(name)
        if status.is_directory:
            components(path + SIDECAR, "open")
            if name + _SIDECAR in taken:
                raise VolumeError("open", path + SIDECAR, ERROR_ALREADY_EXISTS, where=self._layer.label)
            taken.add(name + _SIDECAR)
            if fold(path) == RECYCLE_BIN_FOLD:
                self._tombstones.pop(path, None)
                return False
        if not is_sidecar(path):
            return True
        if status.is_directory:
            raise FormatError(f"a folder whose name ends in {SIDECAR}", kind="sidecar", path=path)
        if not self._layer.exists(path.removesuffix(SIDECAR)):
            self._odd("sidecar-orphan", path, "it describes a folder that is not there")
        return False

    def _spelling(self, parent: str) -> str:
        if parent == FILES:
            return parent
        try:
            return self._layer.lstat(parent).path
        except VolumeError:
            return parent
