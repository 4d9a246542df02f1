"""What NTFS keeps about a file and this machine does not, as one record.

The content of the main stream and the tree of names live in the file system of this machine; a :class:`Record` holds
the rest. What NTFS computes on its own is computed here the same way: which attributes can be set and which follow
from the content, and that 0 in a basic information means "leave it" (MS-FSA 2.1.5.15.2, MS-FSCC 2.4.7).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import NamedTuple

from wclayer.ntfs.attributes import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_NO_SCRUB_DATA,
    FILE_ATTRIBUTE_NORMAL,
    FILE_ATTRIBUTE_NOT_CONTENT_INDEXED,
    FILE_ATTRIBUTE_OFFLINE,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_ATTRIBUTE_SYSTEM,
    FILE_ATTRIBUTE_TEMPORARY,
)
from wclayer.ntfs.filetime import UNIX_EPOCH_TICKS

__all__ = ["BasicInfo", "Ranges", "Record", "now"]

Ranges = tuple[tuple[int, int], ...]

_SETTABLE = (
    FILE_ATTRIBUTE_READONLY
    | FILE_ATTRIBUTE_HIDDEN
    | FILE_ATTRIBUTE_SYSTEM
    | FILE_ATTRIBUTE_ARCHIVE
    | FILE_ATTRIBUTE_TEMPORARY
    | FILE_ATTRIBUTE_OFFLINE
    | FILE_ATTRIBUTE_NOT_CONTENT_INDEXED
    | FILE_ATTRIBUTE_NO_SCRUB_DATA
)


class BasicInfo(NamedTuple):
    """FILE_BASIC_INFO: attributes and four FILETIMEs. When it is set, a 0 means "leave unchanged"."""

    attributes: int
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int


@dataclass(slots=True, init=False)
class Record:
    """What is kept of one file or folder.

    ``attributes`` holds only what can be set; :meth:`reported` adds what follows from the rest. ``ranges`` is None for
    a dense main stream. ``streams`` says whether there are alternate streams. ``node`` is the number of the file in
    its manifest, 0 for one that has none yet; names of one file share it.
    """

    attributes: int
    creation_time: int
    last_access_time: int
    last_write_time: int
    change_time: int
    security_descriptor: bytes | None
    extended_attributes: bytes | None
    reparse: bytes | None
    ranges: Ranges | None
    streams: bool
    node: int

    # Written out, or it would be the one part of the class that is not compiled.
    def __init__(
        self,
        attributes: int = 0,
        creation_time: int = 0,
        last_access_time: int = 0,
        last_write_time: int = 0,
        change_time: int = 0,
        security_descriptor: bytes | None = None,
        extended_attributes: bytes | None = None,
        reparse: bytes | None = None,
        ranges: Ranges | None = None,
        streams: bool = False,
        node: int = 0,
    ) -> None:
        self.attributes = attributes
        self.creation_time = creation_time
        self.last_access_time = last_access_time
        self.last_write_time = last_write_time
        self.change_time = change_time
        self.security_descriptor = security_descriptor
        self.extended_attributes = extended_attributes
        self.reparse = reparse
        self.ranges = ranges
        self.streams = streams
        self.node = node

    @classmethod
    def new(cls, *, is_directory: bool) -> Record:
        """The record of a file that was just made."""
        moment = now()
        return cls(0 if is_directory else FILE_ATTRIBUTE_ARCHIVE, moment, moment, moment, moment)

    def reported(self, *, is_directory: bool) -> int:
        """The attribute word that Windows would report."""
        word = self.attributes
        if is_directory:
            word |= FILE_ATTRIBUTE_DIRECTORY
        if self.reparse is not None:
            word |= FILE_ATTRIBUTE_REPARSE_POINT
        if self.ranges is not None:
            word |= FILE_ATTRIBUTE_SPARSE_FILE
        return word or FILE_ATTRIBUTE_NORMAL

    def basic(self, *, is_directory: bool) -> BasicInfo:
        """Attributes and times as they are reported."""
        return BasicInfo(
            self.reported(is_directory=is_directory),
            self.creation_time,
            self.last_access_time,
            self.last_write_time,
            self.change_time,
        )

    def set_basic(self, info: BasicInfo) -> None:
        """Set attributes and times as SetFileInformationByHandle does: what is 0 stays, what cannot be set is left."""
        if info.attributes:
            self.attributes = info.attributes & _SETTABLE
        self.set_times(info)

    def set_times(self, info: BasicInfo) -> None:
        """Set the times alone; what is 0 stays."""
        self.creation_time = info.creation_time or self.creation_time
        self.last_access_time = info.last_access_time or self.last_access_time
        self.last_write_time = info.last_write_time or self.last_write_time
        self.change_time = info.change_time or self.change_time

    def copy(self) -> Record:
        """The same for another file."""
        return replace(self, node=0)


def now() -> int:
    """The present as a FILETIME."""
    return time.time_ns() // 100 + UNIX_EPOCH_TICKS
