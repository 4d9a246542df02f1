r"""``BaseLayerReader``: the folder of a base layer, read entry by entry, every file through BackupRead.

``Files`` and all below it, without the recycle bin; then, if there is a utility VM with files, ``UtilityVM`` itself,
``UtilityVM\Files`` and all below that. Disks, hives and whatever else Windows made of the layer are no entries.
"""

from __future__ import annotations

from collections.abc import Generator

from wclayer.errors import UsageError, WclayerError
from wclayer.formats.transport.names import FILES, RECYCLE_BIN, UTILITY_VM, UTILITY_VM_FILES
from wclayer.formats.transport.reader import EntryHead, LinkInfo, link_info_of
from wclayer.formats.volume import Status, Volume, backup_pieces, read_function
from wclayer.formats.volume.entries import plain_entry
from wclayer.formats.volume.paths import is_below
from wclayer.model import Entry
from wclayer.ntfs.names import fold

__all__ = ["BaseLayerReader"]

_RECYCLE_BIN = fold(RECYCLE_BIN)


class BaseLayerReader:
    """Reads the base layer in the folder ``layer``, which stays the caller's."""

    def __init__(self, layer: Volume) -> None:
        self.layer = layer
        self.status: Status | None = None
        self._walk = self._entries()
        self._ended: WclayerError | bool = False
        self._closed = False
        self._pieces: Generator[bytes, None, None] | None = None
        self._read = read_function(iter(()))

    def next(self) -> EntryHead | None:
        """The next entry, None after the last one. An error comes again with every further call.

        Raises VolumeError when there is no ``Files``; UsageError ``BaseLayerReader closed``.
        """
        if self._closed:
            raise UsageError("BaseLayerReader closed")
        self._end_entry()
        if isinstance(self._ended, WclayerError):
            raise self._ended
        if self._ended:
            return None
        try:
            status = next(self._walk, None)
        except WclayerError as error:
            self._ended = error
            raise
        if status is None:
            self._ended = True
            return None
        self.status = status
        path = _called(status.path)
        self._pieces = backup_pieces(self.layer, status, security=True)
        self._read = read_function(self._pieces)
        return EntryHead(path, status.size, status.basic)

    def link_info(self) -> LinkInfo:
        """The names of the current entry's file. Raises UsageError when there is none."""
        if self.status is None:
            raise UsageError("no current file")
        return link_info_of(self.status)

    def read(self, count: int) -> bytes:
        """Up to ``count`` bytes of the backup stream of the current entry; ``b""`` at its end and without an entry."""
        return self._read(count)

    def plain_entry(self, head: EntryHead, path: str, file_id: bytes | None) -> Entry | None:
        """The current entry under the name ``path``, where that is all there is to it; None when it must be read."""
        if self.status is None or head.basic is None:
            return None
        return plain_entry(self.layer, self.status, head.basic, path, file_id, to_the_end=False)

    def close(self) -> None:
        """Stop reading. Harmless when called twice."""
        self._closed = True
        self._end_entry()
        self._walk.close()

    def __enter__(self) -> BaseLayerReader:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _entries(self) -> Generator[Status, None, None]:
        yield from self.layer.walk(FILES, lambda status: status.is_directory and fold(status.path) == _RECYCLE_BIN)
        if self.layer.exists(UTILITY_VM_FILES):
            yield from self.layer.walk(UTILITY_VM, _is_beside_files)

    def _end_entry(self) -> None:
        pieces, self._pieces = self._pieces, None
        if pieces is not None:
            pieces.close()
        self._read = read_function(iter(()))
        self.status = None


def _called(path: str) -> str:
    """``path`` with its top folders called what hcsshim calls them, however the layer spells them."""
    if path.startswith((FILES, UTILITY_VM_FILES)):
        return path
    for known in (UTILITY_VM_FILES, UTILITY_VM, FILES):
        if fold(path[: len(known)]) == fold(known) and path[len(known) : len(known) + 1] in ("", "\\"):
            return known + path[len(known) :]
    return path


def _is_beside_files(status: Status) -> bool:
    path = _called(status.path)
    return path not in (UTILITY_VM, UTILITY_VM_FILES) and not is_below(path, UTILITY_VM_FILES)
