"""What NTFS keeps about a file becomes a file record, as far as a record can hold it; what it cannot is a notice.

A record has five bits of attributes. Being a folder and having reparse data follow from what the record points to, and
FILE_ATTRIBUTE_NORMAL means that no bit is set; every other attribute is lost, and said to be. A time that the source
does not know is written as 0, a missing descriptor as the one that allows everything, since an image without one is
broken.

Source: hcsshim ``pkg/cimfs`` and ``format.go`` (File).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from wclayer.errors import FormatError, LimitError, WclayerError
from wclayer.formats.cim.file import FLAG_ATTRIBUTES
from wclayer.formats.cim.objects import ObjectStore
from wclayer.formats.cim.profiles import DEFAULT_SECURITY_DESCRIPTOR
from wclayer.formats.cim.structures import FILE_RECORD, STREAM_LINK_TABLE, StreamRecord
from wclayer.formats.cim.tree import PARENT_AT, Node
from wclayer.model import Metadata, Notices
from wclayer.ntfs import attributes as bits
from wclayer.ntfs.ea import encode_eas
from wclayer.ntfs.reparse import parse_reparse, tag_of

__all__ = ["RecordEncoder", "RecordFields"]

_HELD: Final = sum(FLAG_ATTRIBUTES.values()) | bits.FILE_ATTRIBUTE_NORMAL
_MAX_EAS: Final = 0xFFFF
_MAX_EA_NAME: Final = 254
_U64: Final = (1 << 64) - 1
_NO_STREAM: Final = StreamRecord.of(0, 0, STREAM_LINK_TABLE)


class RecordFields(NamedTuple):
    """The fields of a record that are known before the data is: those in front of its stream, and those behind."""

    front: tuple[int, int, int, int, int, int, int]
    behind: tuple[int, int, int]


class RecordEncoder:
    """Makes records of ``entry_size`` bytes whose descriptors, attributes and reparse data lie in ``store``."""

    def __init__(self, store: ObjectStore, notices: Notices, *, entry_size: int) -> None:
        self._store = store
        self._notices = notices
        self._tail = bytes(entry_size - PARENT_AT - 4)
        self._flags: dict[tuple[int, bool], tuple[int, int]] = {}

    def fields(self, metadata: Metadata, path: str, *, is_directory: bool) -> RecordFields:
        """The fields for ``metadata``; its large parts are stored. ``path`` names the file in notices and errors.

        Raises LimitError for parts that are too large, FormatError for ones that are malformed, OSError.
        """
        try:
            return self._fields(metadata, path, is_directory)
        except WclayerError as error:
            raise error.locate(path=path) from None

    def file(self, fields: RecordFields, data_offset: int, length_and_kind: int) -> Node:
        """The node of a file with that data."""
        front, behind = fields
        record = FILE_RECORD.pack(*front, data_offset, length_and_kind, *behind, 0, 0, 0, 0)
        return Node(record[:PARENT_AT], self._tail)

    def folder(self, fields: RecordFields) -> Node:
        """The node of an empty folder."""
        node = self.file(fields, *_NO_STREAM)
        node.children = {}
        return node

    def _fields(self, metadata: Metadata, path: str, is_directory: bool) -> RecordFields:
        store = self._store
        attributes = metadata.attributes
        known = self._flags.get((attributes, is_directory))
        if known is None:
            known = self._flags[attributes, is_directory] = _split(attributes, is_directory=is_directory)
        flags, lost = known
        tag = reparse = 0
        if metadata.reparse:
            parse_reparse(metadata.reparse)  # nobody may meet one that cannot be taken apart
            tag = tag_of(metadata.reparse)
            reparse = store.counted(metadata.reparse, "reparse data")
            lost &= ~bits.FILE_ATTRIBUTE_REPARSE_POINT
        if lost:
            names = ", ".join(bits.names(lost))
            self._notices.add("attributes-lost", path, f"a CIM image cannot hold the attributes {names}")
        eas = b""
        if metadata.extended_attributes:
            eas = encode_eas(metadata.extended_attributes)
            if len(eas) > _MAX_EAS:
                raise LimitError(f"extended attributes of {len(eas)} bytes, {_MAX_EAS} is the most")
            longest = max(len(attribute.name) for attribute in metadata.extended_attributes)
            if longest > _MAX_EA_NAME:
                raise LimitError(f"an extended attribute's name of {longest} bytes, {_MAX_EA_NAME} is the most")
        descriptor = store.counted(metadata.security_descriptor or DEFAULT_SECURITY_DESCRIPTOR, "a security descriptor")
        times = (
            metadata.creation_time or 0,
            metadata.last_write_time or 0,
            metadata.change_time or 0,
            metadata.last_access_time or 0,
        )
        if min(times) < 0 or max(times) > _U64:
            times = _wrapped(times)
        return RecordFields((flags, len(eas), tag, *times), (descriptor, store.blob(eas), reparse))


def _split(attributes: int, *, is_directory: bool) -> tuple[int, int]:
    """The flags of a record for ``attributes``, and the attributes that have none."""
    flags = sum(flag for flag, attribute in FLAG_ATTRIBUTES.items() if attributes & attribute)
    held = _HELD | (bits.FILE_ATTRIBUTE_DIRECTORY if is_directory else 0)
    return flags, attributes & ~held


def _wrapped(times: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Times before 1601 as the unsigned 64 bits that Windows has for them. Raises FormatError for what has none."""
    for time in times:
        if not -(1 << 63) <= time <= _U64:
            raise FormatError(f"the time {time} does not fit into 64 bits", kind="filetime")
    creation, write, change, access = times
    return creation & _U64, write & _U64, change & _U64, access & _U64
