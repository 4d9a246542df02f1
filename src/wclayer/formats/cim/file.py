"""A file or folder of a CIM image: its record is there at once, what the record points to is fetched when asked for.

One record may have several names (hard links), and its attributes are five bits of the record; being a folder and
having reparse data follow from what the record points to. Nothing else of the attribute word exists in an image.

Source: hcsshim ``format.go`` (File).
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from wclayer.errors import WclayerError
from wclayer.formats.cim.profiles import RECORD_TAIL_FROM
from wclayer.formats.cim.streams import CimStream
from wclayer.formats.cim.structures import STREAM_LINK_TABLE, FileRecord
from wclayer.model import Metadata
from wclayer.ntfs.attributes import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_HIDDEN,
    FILE_ATTRIBUTE_READONLY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
    FILE_ATTRIBUTE_SYSTEM,
)
from wclayer.ntfs.ea import ExtendedAttribute, decode_eas

if TYPE_CHECKING:
    from wclayer.formats.cim.reader import CimImage

__all__ = ["FLAG_ATTRIBUTES", "CimFile"]

#: Each known bit of a record's flags and its FILE_ATTRIBUTE_*.
FLAG_ATTRIBUTES: Final = {
    0x01: FILE_ATTRIBUTE_READONLY,
    0x02: FILE_ATTRIBUTE_HIDDEN,
    0x04: FILE_ATTRIBUTE_SYSTEM,
    0x08: FILE_ATTRIBUTE_ARCHIVE,
    0x10: FILE_ATTRIBUTE_SPARSE_FILE,
}


class CimFile:
    """One name of a file or folder of ``image``. What it cannot fetch is a FormatError that names the path."""

    __slots__ = ("_image", "file_id", "is_directory", "path", "record")

    def __init__(self, image: CimImage, path: str, file_id: int, record: FileRecord) -> None:
        self._image = image
        #: Where it is in the image, ``/``-separated, as it is spelt there; ``""`` is the root.
        self.path = path
        self.file_id = file_id
        #: The first 96 bytes of the record.
        self.record = record
        self.is_directory = (record.length_and_kind >> 48 & 0xFF) == STREAM_LINK_TABLE

    def __repr__(self) -> str:
        return f"CimFile({self.path!r}, file_id={self.file_id})"

    @property
    def name(self) -> str:
        """The last component of the path."""
        return self.path.rpartition("/")[2]

    @property
    def parent_id(self) -> int:
        """The file id of a folder that holds the file, as the record says; 0 in images of version 1."""
        return self.record.parent_id

    @property
    def flags(self) -> int:
        """The flags of the record, also those of no known meaning."""
        return self.record.flags

    @property
    def attributes(self) -> int:
        """The FILE_ATTRIBUTE_* word; 0 when nothing applies."""
        flags = self.record.flags
        attributes = FILE_ATTRIBUTE_DIRECTORY if self.is_directory else 0
        if self.record.reparse_offset:
            attributes |= FILE_ATTRIBUTE_REPARSE_POINT
        return attributes | sum(value for flag, value in FLAG_ATTRIBUTES.items() if flags & flag)

    @property
    def creation_time(self) -> int:
        """When it was made, in FILETIME ticks."""
        return self.record.creation_time

    @property
    def last_access_time(self) -> int:
        """When it was last read, in FILETIME ticks."""
        return self.record.last_access_time

    @property
    def last_write_time(self) -> int:
        """When its data last changed, in FILETIME ticks."""
        return self.record.last_write_time

    @property
    def change_time(self) -> int:
        """When anything of it last changed, in FILETIME ticks."""
        return self.record.change_time

    @property
    def size(self) -> int:
        """Bytes of the default stream; 0 for a folder."""
        return 0 if self.is_directory else self.record.stream.length

    @property
    def security_descriptor(self) -> bytes | None:
        """The self-relative security descriptor; None when there is none."""
        offset = self.record.sd_offset
        return self._image.counted_bytes(offset, "security descriptor", self.path) if offset else None

    @property
    def ea_bytes(self) -> bytes:
        """The extended attributes as they lie in the image, a FILE_FULL_EA_INFORMATION list; empty for none."""
        length = self.record.ea_length
        if not length:
            return b""
        return self._image.regions.read(self.record.ea_offset, length, "extended attributes", self.path)

    @property
    def extended_attributes(self) -> tuple[ExtendedAttribute, ...]:
        """The extended attributes."""
        try:
            return decode_eas(self.ea_bytes)
        except WclayerError as error:
            raise error.locate(image=self._image.what, path=self.path) from None

    @property
    def reparse(self) -> bytes | None:
        """The whole REPARSE_DATA_BUFFER; None when there is none."""
        offset = self.record.reparse_offset
        return self._image.counted_bytes(offset, "reparse data", self.path) if offset else None

    @property
    def reparse_tag(self) -> int:
        """The reparse tag in the record; 0 for none."""
        return self.record.reparse_tag

    @property
    def streams(self) -> tuple[CimStream, ...]:
        """The alternate streams in the order of their table."""
        offset = self.record.stream_table_offset
        if not offset:
            return ()
        records, names, _ = self._image.stream_table(offset, self.path)
        return tuple(
            self._image.stream(record, f"{self.path}:{name}", name) for record, name in zip(records, names, strict=True)
        )

    @property
    def default_stream(self) -> CimStream:
        """The default stream. That of a folder cannot be read."""
        return self._image.stream(self.record.stream, self.path)

    @property
    def metadata(self) -> Metadata:
        """All that NTFS keeps about the file besides its data."""
        record = self.record
        return Metadata(
            self.attributes,
            record.creation_time,
            record.last_access_time,
            record.last_write_time,
            record.change_time,
            self.security_descriptor,
            self.extended_attributes,
            self.reparse,
        )

    @property
    def raw_record(self) -> bytes:
        """The record as it lies in the image, as long as its table says."""
        return self._image.raw_record(self.file_id)

    @property
    def tail(self) -> bytes:
        """What the record holds behind the 96 bytes of known meaning."""
        return self.raw_record[RECORD_TAIL_FROM:]

    def children(self) -> Iterator[CimFile]:
        """What lies in the folder, in the order of the image; nothing for a file."""
        image = self._image
        prefix = f"{self.path}/" if self.path else ""
        for file_id, name in zip(*image.links(self.record, self.path), strict=True):
            yield CimFile(image, prefix + name, file_id, image.record(file_id, prefix + name))

    def open(self) -> io.RawIOBase:
        """The data as a seekable file. Raises UnsupportedError for a folder."""
        return self.default_stream.open()

    def pieces(self) -> Iterator[bytes]:
        """The data in pieces of at most 1 MiB. Raises UnsupportedError for a folder."""
        return self.default_stream.pieces()
