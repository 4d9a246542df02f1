"""The times that folders get when nothing will be added to them any more, as adding to a folder changes its own."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct

from wclayer.formats.folder.door import Door, seal_folder
from wclayer.formats.folder.host_times import host_times

__all__ = ["FolderTimes", "seal_folders"]

_HEAD = Struct("<qI")
_UNKNOWN = -1
_MOST = (1 << 63) - 1


class FolderTimes:
    """The folders made so far and their times, in the order in which they were told; 12 bytes and its path for each."""

    def __init__(self) -> None:
        self._log = bytearray()

    def note(self, path: bytes, last_write_time: int | None) -> None:
        """The folder ``path`` was last written at ``last_write_time``, in FILETIME ticks; None: nobody knows.

        What is said last of a folder counts.
        """
        ticks = _UNKNOWN if last_write_time is None else min(max(last_write_time, 0), _MOST)
        self._log += _HEAD.pack(ticks, len(path))
        self._log += path

    def __iter__(self) -> Iterator[tuple[bytes, int | None]]:
        """Each path and time, in the order of the notes."""
        log, at = self._log, 0
        while at < len(log):
            ticks, length = _HEAD.unpack_from(log, at)
            at += _HEAD.size
            yield bytes(log[at : at + length]), None if ticks == _UNKNOWN else ticks
            at += length


def seal_folders(door: Door, times: FolderTimes, mode: int | None) -> None:
    """Give the folders of ``door`` their ``times``, and ``mode`` unless it is None. Raises StoreError."""
    for path, last_write_time in times:
        seal_folder(door, path, host_times(last_write_time), mode)
