"""A dirty hive is made whole with the log files beside it (``SYSTEM.LOG1``, ``SYSTEM.LOG2``), as Windows does on load.

Since Windows 8.1 a log file is a base block of 512 bytes and entries, each a set of pages to be copied over those of
the hive, with a sequence number and two Marvin32 hashes. The entries are applied in order of their numbers, without a
gap, across both files; the first one that is damaged ends the replay, as the crash ended the writing.

Source: "Windows registry file format specification" by Maxim Suhanov, "Format of transaction log files"; Marvin32 as
in the .NET runtime (MIT).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from wclayer.errors import FormatError, UnsupportedError
from wclayer.regf.structures import (
    BASE_BLOCK,
    BASE_BLOCK_SIZE,
    CHECKSUM_OFFSET,
    FLAGS_OFFSET,
    PAGE,
    base_block_checksum,
)

__all__ = ["marvin32", "replay"]

_SECTOR: Final = 512
_NEW_LOG: Final = 6
_OLD_LOGS: Final = (1, 2)
_SEED: Final = 0x82EF4D887A4E55C5
#: signature, size, flags, sequence number, size of the bins, number of pages, hash of the rest, hash of all before it
_ENTRY: Final = struct.Struct("<4sIIIIIQQ")
_KTM_LOCKED: Final = 1
_WORD: Final = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class _Entry:
    sequence: int
    flags: int
    bins: int
    pages: tuple[tuple[int, int], ...]
    data: memoryview


@dataclass(frozen=True, slots=True)
class _Log:
    base_block: bytes
    sequence: int
    entries: tuple[_Entry, ...]


def replay(hive: bytes, logs: Sequence[bytes], *, warnings: list[str] | None = None) -> bytes:
    """``hive`` with the entries of ``logs`` applied, clean; the very ``hive`` when it was not dirty.

    ``warnings``, if given, collects what was found unusable: a log that is empty, damaged or of the format before
    Windows 8.1, which is left alone. Raises FormatError when ``hive`` is no hive, and UnsupportedError when it is dirty
    and no log has an entry that belongs to it.
    """
    told: list[str] = [] if warnings is None else warnings
    if len(hive) < BASE_BLOCK_SIZE or hive[:4] != b"regf":
        raise FormatError("this is no registry hive: it does not begin with regf", kind="hive")
    _, first, second = BASE_BLOCK.unpack_from(hive)[:3]
    valid = _checksum(hive) == base_block_checksum(hive[:CHECKSUM_OFFSET])
    if valid and first == second:
        return hive
    known = sorted(filter(None, (_log(log, number, told) for number, log in enumerate(logs, 1))), key=_sequence)
    if not valid:
        known = known[-1:]
    whole = bytearray(hive)
    if known and not valid:
        whole[:_SECTOR] = known[0].base_block
        struct.pack_into("<I", whole, 28, 0)
        second = 0
    applied = 0
    for log in known:
        first = log.entries[0].sequence
        if first < second or first != (applied + 1 if applied else log.sequence):
            told.append(f"the log that begins with the entry {first} does not continue what is there")
            continue
        for entry in log.entries:
            # New bins are written whole, so no entry makes a hive longer than what it brings.
            if BASE_BLOCK_SIZE + entry.bins > len(whole) + len(entry.data):
                told.append(f"the log entry {entry.sequence} makes the hive longer than the pages it brings")
                break
            _apply(whole, entry)
            applied = entry.sequence
    if not applied:
        raise UnsupportedError(
            "the hive is dirty, and no log has an entry that belongs to it",
            hint=f"found: {'; '.join(told) or 'no log'}",
        )
    struct.pack_into("<II", whole, 4, applied, applied)
    struct.pack_into("<I", whole, CHECKSUM_OFFSET, base_block_checksum(bytes(whole[:CHECKSUM_OFFSET])))
    return bytes(whole)


def marvin32(data: bytes, seed: int = _SEED) -> int:
    """The 64-bit Marvin32 hash of ``data``, with a seed of 64 bits; the usual one is that of the log entries."""
    low, high = seed & _WORD, seed >> 32
    padded = data + b"\x80" + bytes(3 - len(data) % 4)
    for (word,) in struct.iter_unpack("<I", padded + bytes(4)):
        low = low + word & _WORD
        high ^= low
        low = (low << 20 | low >> 12) + high & _WORD
        high = (high << 9 | high >> 23) & _WORD ^ low
        low = (low << 27 | low >> 5) + high & _WORD
        high = (high << 19 | high >> 13) & _WORD
    return high << 32 | low


def _log(data: bytes, number: int, told: list[str]) -> _Log | None:
    """What log ``number`` says, up to the first entry that is damaged; None when it cannot be used."""
    if not any(data[:_SECTOR]):
        told.append(f"log {number} is empty")
        return None
    if len(data) < _SECTOR or data[:4] != b"regf":
        told.append(f"log {number} is no log of a hive")
        return None
    kind = struct.unpack_from("<I", data, 28)[0]
    if kind != _NEW_LOG:
        form = "of the format before Windows 8.1, which is not replayed" if kind in _OLD_LOGS else f"of type {kind}"
        told.append(f"log {number} is {form}")
        return None
    _, first, second = BASE_BLOCK.unpack_from(data)[:3]
    if first != second or _checksum(data) != base_block_checksum(data[:CHECKSUM_OFFSET]):
        told.append(f"log {number} has a damaged base block")
        return None
    entries = tuple(_entries(memoryview(data), number, told))
    return _Log(data[:_SECTOR], first, entries) if entries else None


def _entries(data: memoryview, number: int, told: list[str]) -> Iterator[_Entry]:
    at, previous = _SECTOR, None
    while at + _ENTRY.size <= len(data) and bytes(data[at : at + 4]) == b"HvLE":
        _, size, flags, sequence, bins, count, _, _ = _ENTRY.unpack_from(data, at)
        if previous is not None and sequence != previous + 1:
            return  # what follows was written earlier, and applied then
        fault = _fault(data[at : at + size], size, bins, count)
        if fault:
            told.append(f"log {number}: the entry {sequence} {fault}")
            return
        pages = tuple(struct.iter_unpack("<II", data[at + _ENTRY.size : at + _ENTRY.size + 8 * count]))
        yield _Entry(sequence, flags, bins, pages, data[at + _ENTRY.size + 8 * count : at + size])
        at, previous = at + size, sequence


def _fault(entry: memoryview, size: int, bins: int, count: int) -> str:
    """What is wrong with an entry; nothing when it may be applied."""
    if size % _SECTOR or size < _SECTOR or len(entry) != size:
        return "is cut off"
    if bins % PAGE or not bins:
        return f"says that the bins have {bins} bytes"
    pages_at = _ENTRY.size + 8 * count
    if pages_at > size:
        return f"lists {count} pages, more than it can hold"
    pages = tuple(struct.iter_unpack("<II", entry[_ENTRY.size : pages_at]))
    if any(offset + length > bins for offset, length in pages) or sum(length for _, length in pages) > size - pages_at:
        return "has a page that lies outside"
    rest, head = struct.unpack_from("<QQ", entry, 24)
    if marvin32(bytes(entry[40:])) != rest or marvin32(bytes(entry[:32])) != head:
        return "is damaged: its hashes are others"
    return ""


def _apply(hive: bytearray, entry: _Entry) -> None:
    end = BASE_BLOCK_SIZE + entry.bins
    if len(hive) < end:
        hive += bytes(end - len(hive))
    at = 0
    for offset, length in entry.pages:
        hive[BASE_BLOCK_SIZE + offset : BASE_BLOCK_SIZE + offset + length] = entry.data[at : at + length]
        at += length
    struct.pack_into("<I", hive, 40, entry.bins)
    flags = struct.unpack_from("<I", hive, FLAGS_OFFSET)[0]
    struct.pack_into("<I", hive, FLAGS_OFFSET, flags & ~_KTM_LOCKED | entry.flags & _KTM_LOCKED)


def _checksum(block: bytes) -> int:
    checksum: int = struct.unpack_from("<I", block, CHECKSUM_OFFSET)[0]
    return checksum


def _sequence(log: _Log) -> int:
    return log.sequence
