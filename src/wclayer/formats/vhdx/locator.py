r"""The parent locator: how a differencing disk says which disk it stands on.

``parent_linkage`` is the ``DataWriteGuid`` that the parent had when the child was made: a parent that was written to
since no longer fits. Where it is stands in up to three forms, in the order in which Windows tries them:
``relative_path`` (from the folder of the child), ``volume_path`` and ``absolute_win32_path``.

Source: MS-VHDX 2.6.2.6.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from wclayer.errors import UnsupportedError
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.structures import LOCATOR_ENTRY, LOCATOR_HEADER, VHDX_LOCATOR

__all__ = ["ABSOLUTE_PATH", "RELATIVE_PATH", "VOLUME_PATH", "ParentLocator", "read_locator"]

RELATIVE_PATH, VOLUME_PATH, ABSOLUTE_PATH = "relative_path", "volume_path", "absolute_win32_path"
_LINKAGE, _SECOND_LINKAGE = "parent_linkage", "parent_linkage2"
_MOST_BYTES = 1 << 20
_MOST_ENTRIES = 64


@dataclass(frozen=True, slots=True)
class ParentLocator:
    """``linkage`` names the state of the parent's content; ``entries`` are all keys and values, as they are stored."""

    linkage: UUID
    entries: dict[str, str]

    @property
    def linkages(self) -> tuple[UUID, ...]:
        """The states that the parent's content may have: more than one only while disks are being merged."""
        try:
            return (self.linkage, UUID(self.entries[_SECOND_LINKAGE]))
        except (KeyError, ValueError):
            return (self.linkage,)

    @property
    def paths(self) -> list[str]:
        """The paths there are, in the order in which they are tried."""
        return [self.entries[key] for key in (RELATIVE_PATH, VOLUME_PATH, ABSOLUTE_PATH) if self.entries.get(key)]

    @classmethod
    def of(cls, linkage: UUID, relative: str, absolute: str) -> ParentLocator:
        """The locator with a relative and an absolute path; readers want the one or the other."""
        return cls(linkage, {_LINKAGE: f"{{{linkage}}}", RELATIVE_PATH: relative, ABSOLUTE_PATH: absolute})

    def pack(self) -> bytes:
        """The metadata item."""
        texts = [(key.encode("utf-16-le"), value.encode("utf-16-le")) for key, value in self.entries.items()]
        offset = LOCATOR_HEADER.size + len(texts) * LOCATOR_ENTRY.size
        table, data = [LOCATOR_HEADER.pack(VHDX_LOCATOR.bytes_le, len(texts))], b""
        for key, value in texts:
            place = offset + len(data)
            table.append(LOCATOR_ENTRY.pack(place, place + len(key), len(key), len(value)))
            data += key + value
        return b"".join(table) + data


def read_locator(file: DiskFile, offset: int, length: int) -> ParentLocator:
    """The locator in the metadata item of that place. FormatError, UnsupportedError for one of another type."""
    if not LOCATOR_HEADER.size <= length <= _MOST_BYTES:
        raise file.error(f"a parent locator of {length} bytes")
    item = file.read(offset, length)
    kind, count = LOCATOR_HEADER.unpack_from(item)
    if UUID(bytes_le=kind) != VHDX_LOCATOR:
        raise UnsupportedError(f"a parent locator of type {UUID(bytes_le=kind)}", image=file.name)
    if count > _MOST_ENTRIES or LOCATOR_HEADER.size + count * LOCATOR_ENTRY.size > length:
        raise file.error(f"a parent locator with {count} entries")
    entries: dict[str, str] = {}
    for index in range(count):
        places = LOCATOR_ENTRY.unpack_from(item, LOCATOR_HEADER.size + index * LOCATOR_ENTRY.size)
        key = _text(file, item, places[0], places[2])
        if key in entries:
            raise file.error(f"the parent locator has {key!r} twice")
        entries[key] = _text(file, item, places[1], places[3])
    try:
        linkage = UUID(entries[_LINKAGE])
    except (KeyError, ValueError):
        raise file.error("the parent locator does not name the state of the parent") from None
    return ParentLocator(linkage, entries)


def _text(file: DiskFile, item: bytes, offset: int, length: int) -> str:
    if offset + length > len(item):
        raise file.error("a text of the parent locator lies outside it")
    try:
        return item[offset : offset + length].decode("utf-16-le")
    except UnicodeDecodeError:
        raise file.error("a text of the parent locator is no UTF-16") from None
