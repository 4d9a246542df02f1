"""The log: changes of the file's own structures that a crash may have kept from their places, and how we use it.

A sequence of entries counts whose numbers rise by one from the tail, which the last one names, to that last one; of
several the one with the greatest number. Each entry says which sectors (4 KiB) it replaces, or which range is zeros.

To change several structures at once, an entry with all of them is written first, then the header that names the log,
and only then the structures; so after a crash the file is as it was, or the log makes it as it is to be.

Source: MS-VHDX 2.3.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from uuid import UUID, uuid4

from wclayer.errors import LimitError
from wclayer.formats.vhdx.crc32c import crc32c
from wclayer.formats.vhdx.file import DiskFile, Overlay
from wclayer.formats.vhdx.headers import Header, checksummed, write_header
from wclayer.formats.vhdx.structures import LOG_DATA, LOG_DESCRIPTOR, LOG_ENTRY, LOG_SECTOR, MAXIMAL_SIZE, NO_GUID

__all__ = ["change_at_once", "finish_log", "log_capacity", "read_log"]

#: A log of Windows is 1 MiB. What is larger than this is not read, and no more ranges than that are kept.
_MOST_BYTES = 64 << 20
_MOST_RANGES = 1 << 16
_EFFORT = 4
_ENTRY, _ZEROS, _SECTOR, _DATA = b"loge", b"zero", b"desc", b"data"


@dataclass(frozen=True, slots=True)
class _Entry:
    offset: int
    length: int
    tail: int
    sequence: int
    flushed: int
    last: int
    changes: tuple[tuple[int, int, bytes | None], ...]


def read_log(file: DiskFile, header: Header) -> Overlay:
    """What the log changes; nothing when it is empty.

    Raises FormatError when it is to be applied and no sequence in it is whole, or when the file is shorter than it was
    then; LimitError for a log larger than any honest one.
    """
    overlay = Overlay()
    if header.log_id == NO_GUID:
        return overlay
    if header.log_length > _MOST_BYTES:
        raise LimitError(f"a log of {header.log_length} bytes, at most {_MOST_BYTES} are read", image=file.name)
    log = file.read(header.log_offset, header.log_length)
    entries = _entries(file, log, header.log_id)
    sequence = _active(file, entries, len(log))
    if sequence is None:
        raise file.error("the log was not written back, and no sequence of it is whole", kind="vhdx-log")
    if sequence[-1].flushed > file.size:
        raise file.error(
            f"the file ends at {file.size}, and was at least {sequence[-1].flushed} when its log was written",
            kind="unexpected-eof",
        )
    count = 0
    for entry in sequence:
        count += len(entry.changes)
        if count > _MOST_RANGES:
            raise LimitError(f"a log with more than {_MOST_RANGES} changes", image=file.name)
        for offset, length, data in entry.changes:
            overlay.put(offset, length, data)
    overlay.size = sequence[-1].last
    return overlay


def _entries(file: DiskFile, log: bytes, log_id: UUID) -> dict[int, _Entry]:
    found: dict[int, _Entry] = {}
    budget = _EFFORT * len(log)
    ranges = 0
    for offset in range(0, len(log), LOG_SECTOR):
        if log[offset : offset + 4] != _ENTRY:
            continue
        length = struct.unpack_from("<I", log, offset + 8)[0]
        if length % LOG_SECTOR or not 0 < length <= len(log):
            continue
        budget -= length
        if budget < 0 or ranges > _EFFORT * _MOST_RANGES:
            raise LimitError("the entries of the log overlap over and over", image=file.name)
        end = offset + length
        whole = log[offset:end] if end <= len(log) else log[offset:] + log[: end - len(log)]
        entry = _entry(whole, offset, log_id)
        if entry is not None:
            ranges += len(entry.changes)
            found[offset] = entry
    return found


def _entry(whole: bytes, offset: int, log_id: UUID) -> _Entry | None:
    """The entry ``whole``, None when it is damaged or of another time."""
    _, checksum, length, tail, sequence, count, guid, flushed, last = LOG_ENTRY.unpack_from(whole)
    described = LOG_ENTRY.size + count * LOG_DESCRIPTOR.size
    if guid != log_id.bytes_le or not sequence or described > length or last > 2 * MAXIMAL_SIZE:
        return None
    if checksum != crc32c(whole[:4] + bytes(4) + whole[8:]):
        return None
    changes: list[tuple[int, int, bytes | None]] = []
    data_offset = -(-described // LOG_SECTOR) * LOG_SECTOR
    for index in range(count):
        signature, trailing, leading, place, number = LOG_DESCRIPTOR.unpack_from(
            whole, LOG_ENTRY.size + index * LOG_DESCRIPTOR.size
        )
        if number != sequence or place % LOG_SECTOR or place > MAXIMAL_SIZE:
            return None
        if signature == _ZEROS:
            size = int.from_bytes(leading, "little")
            if size % LOG_SECTOR or not 0 < size <= MAXIMAL_SIZE:
                return None
            changes.append((place, size, None))
            continue
        if signature != _SECTOR or data_offset + LOG_SECTOR > length:
            return None
        mark, high, middle, low = LOG_DATA.unpack_from(whole, data_offset)
        if mark != _DATA or (high << 32 | low) != sequence:
            return None
        changes.append((place, LOG_SECTOR, leading + middle + trailing))
        data_offset += LOG_SECTOR
    return _Entry(offset, length, tail, sequence, flushed, last, tuple(changes))


def _active(file: DiskFile, entries: Mapping[int, _Entry], size: int) -> list[_Entry] | None:
    steps = _EFFORT * len(entries)
    for head in sorted(entries.values(), key=lambda entry: entry.sequence, reverse=True):
        sequence: list[_Entry] = []
        for entry in _walk(entries, head.tail, size):
            steps -= 1
            if steps < 0:
                raise LimitError("the log holds more sequences than can be told apart", image=file.name)
            sequence.append(entry)
            if entry.offset == head.offset:
                return sequence
    return None


def _walk(entries: Mapping[int, _Entry], offset: int, size: int) -> Iterator[_Entry]:
    sequence = None
    while (entry := entries.get(offset)) is not None and sequence in (None, entry.sequence):
        yield entry
        sequence = entry.sequence + 1
        offset = (offset + entry.length) % size


def finish_log(file: DiskFile, header: Header, overlay: Overlay) -> Header:
    """Write to a writable file what its log changes, and empty the log; the header that then counts."""
    if header.log_id == NO_GUID:
        return header
    if overlay.size > file.size:
        file.set_size(overlay.size)
    file.overlay = Overlay()
    limit = file.size
    for start, end, data in overlay.ranges():
        if data is not None:
            file.write(start, data)
            continue
        for position in range(start, min(end, limit), 1 << 20):
            file.write(position, bytes(min(1 << 20, end - position, limit - position)))
    file.sync()
    header = header.next()
    write_header(file, header)
    return header


def log_capacity(header: Header) -> int:
    """How many sectors can be changed at once."""
    return (header.log_length - LOG_SECTOR) // (LOG_SECTOR + LOG_DESCRIPTOR.size) - 1


def change_at_once(
    file: DiskFile, header: Header, sectors: Mapping[int, bytes], *, data_changes: bool = False
) -> Header:
    """Replace ``sectors``, whole ones of 4 KiB by their offset, all or none; the log must be empty.

    There are at most :func:`log_capacity` of them. ``data_changes`` says that what users of the disk see changes, so
    that a child of it no longer fits. Returns the header that counts then. A crash in between leaves a file that is
    as before or, once its log is applied, as afterwards.
    """
    log_id = uuid4()
    file.write(header.log_offset, _packed(sectors, log_id, file.size))
    file.sync()
    announced = header.next(data_changes=data_changes, log_id=log_id)
    write_header(file, announced)
    for offset, data in sectors.items():
        file.write(offset, data)
    file.sync()
    done = announced.next()
    write_header(file, done)
    return done


def _packed(sectors: Mapping[int, bytes], log_id: UUID, size: int) -> bytes:
    descriptors = b"".join(
        LOG_DESCRIPTOR.pack(_SECTOR, data[-4:], data[:8], offset, 1) for offset, data in sectors.items()
    )
    described = -(-(LOG_ENTRY.size + len(descriptors)) // LOG_SECTOR) * LOG_SECTOR
    length = described + len(sectors) * LOG_SECTOR
    head = LOG_ENTRY.pack(_ENTRY, 0, length, 0, 1, len(sectors), log_id.bytes_le, size, size)
    data = b"".join(LOG_DATA.pack(_DATA, 0, sector[8:-4], 1) for sector in sectors.values())
    return checksummed((head + descriptors).ljust(described, b"\0") + data)
