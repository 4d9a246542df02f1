"""The two headers, of which the valid one with the greater number counts, and the identities that they hold.

A change of the file is announced in the header that does not count, which then has the greater number; so there is
always a valid one. ``DataWriteGuid`` names the state of the content: a child disk remembers that of its parent.

Source: MS-VHDX 2.2.2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from uuid import UUID, uuid4

from wclayer.errors import FormatError, UnsupportedError
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.file import DiskFile
from wclayer.formats.vhdx.structures import (
    ALIGNMENT,
    CREATOR,
    CREATOR_SIZE,
    FIRST_HEADER,
    HEADER,
    HEADER_SIZE,
    HEADERS,
    IDENTIFIER,
    NO_GUID,
)

__all__ = ["Header", "checksummed", "read_creator", "read_header", "write_header", "write_identifier"]

_HEAD = b"head"
_CHECKSUM_OFFSET = 4
_OLD_FORMAT = b"conectix"


@dataclass(frozen=True, slots=True)
class Header:
    """A header. ``slot`` says where it lies, 0 or 1; ``log_id`` is zero when there is nothing in the log to apply."""

    sequence: int
    file_write_id: UUID
    data_write_id: UUID
    log_id: UUID
    log_offset: int
    log_length: int
    slot: int

    def next(self, *, data_changes: bool = False, log_id: UUID = NO_GUID) -> Header:
        """The header that follows this one, in the other place."""
        return replace(
            self,
            sequence=self.sequence + 1,
            file_write_id=uuid4(),
            data_write_id=uuid4() if data_changes else self.data_write_id,
            log_id=log_id,
            slot=1 - self.slot,
        )


def read_header(file: DiskFile) -> Header:
    """The header that counts. FormatError for what is no VHDX file, UnsupportedError for another version of it."""
    size = file.size
    if size < len(IDENTIFIER) or (signature := file.read(0, len(IDENTIFIER))) != IDENTIFIER:
        if size >= len(_OLD_FORMAT) and signature == _OLD_FORMAT:
            raise UnsupportedError("this is a disk of the older format VHD, not VHDX", image=file.name)
        raise file.error(f"this is no VHDX file: it does not begin with {IDENTIFIER.decode()}")
    found = [header for slot in (0, 1) if (header := _read(file, slot)) is not None]
    if not found:
        raise file.error("neither header is valid")
    header = max(found, key=lambda one: one.sequence)
    if header.log_offset % ALIGNMENT or header.log_length % ALIGNMENT or (header.log_length and not header.log_offset):
        raise file.error("the log is not at a multiple of 1 MiB")
    if header.log_offset + header.log_length > file.size:
        raise file.error("the log lies behind the end of the file", kind="unexpected-eof")
    return header


def _read(file: DiskFile, slot: int) -> Header | None:
    try:
        block = file.read(HEADERS[slot], HEADER_SIZE)
    except FormatError:
        return None
    fields = HEADER.unpack_from(block)
    signature, checksum, sequence, file_write, data_write, log, log_version, version, log_length, log_offset = fields
    if signature != _HEAD or checksum != crc32c(block[:4] + bytes(4) + block[8:]):
        return None
    if version != 1 or log_version != 0:
        raise UnsupportedError(
            f"this is a VHDX file of version {version} with a log of version {log_version}", image=file.name
        )
    guids = [UUID(bytes_le=value) for value in (file_write, data_write, log)]
    return Header(sequence, guids[0], guids[1], guids[2], log_offset, log_length, slot)


def write_header(file: DiskFile, header: Header, *, wait: bool = True) -> None:
    """Put ``header`` in its place, and wait until it is there."""
    guids = [value.bytes_le for value in (header.file_write_id, header.data_write_id, header.log_id)]
    fields = HEADER.pack(_HEAD, 0, header.sequence, *guids, 0, 1, header.log_length, header.log_offset)
    file.write(HEADERS[header.slot], checksummed(fields.ljust(HEADER_SIZE, b"\0")))
    if wait:
        file.sync()


def checksummed(block: bytes) -> bytes:
    """``block`` with its checksum, whose field, behind the signature, is zero."""
    return block[:_CHECKSUM_OFFSET] + struct.pack("<I", crc32c(block)) + block[_CHECKSUM_OFFSET + 4 :]


def write_identifier(file: DiskFile) -> None:
    """What every VHDX file begins with."""
    file.write(0, IDENTIFIER + CREATOR.encode("utf-16-le"))


def read_creator(file: DiskFile) -> str:
    """What the program that made the file says of itself; for people only."""
    length = min(CREATOR_SIZE, FIRST_HEADER - len(IDENTIFIER))
    return file.read(len(IDENTIFIER), length).decode("utf-16-le", "replace").partition("\0")[0]
