"""How containerd writes numbers, times and labels into the values of a bolt database.

Source: Go, ``encoding/binary`` (varints) and ``time`` (``Time.MarshalBinary``); containerd, ``metadata/boltutil`` and
``snapshots/storage/bolt.go``.
"""

from __future__ import annotations

import struct

from wclayer.store.hosts.bolt import Bucket

__all__ = ["labels_of", "signed", "text_of", "time_of", "unsigned"]

_LONGEST = 10  # bytes of a 64-bit number
_TIME = struct.Struct(">qiH")  # seconds since the year 1, nanoseconds, minutes east of Greenwich
_VERSIONS = {1: 15, 2: 16}  # bytes; the second has seconds of an odd time zone
_YEAR_1 = 62135596800  # seconds before 1970


def unsigned(data: bytes | None) -> int | None:
    """The number that ``binary.PutUvarint`` wrote; None for anything else."""
    if not data or len(data) > _LONGEST or data[-1] & 0x80:
        return None
    number = 0
    for position, byte in enumerate(data):
        if position < len(data) - 1 and not byte & 0x80:
            return None
        number |= (byte & 0x7F) << (7 * position)
    return number if number < 1 << 64 else None


def signed(data: bytes | None) -> int | None:
    """The number that ``binary.PutVarint`` wrote; None for anything else."""
    number = unsigned(data)
    return None if number is None else (number >> 1) ^ -(number & 1)


def time_of(data: bytes | None) -> int | None:
    """A time in nanoseconds since 1970; None for anything else, and for Go's zero time."""
    if not data or _VERSIONS.get(data[0]) != len(data):
        return None
    seconds: int
    nanoseconds: int
    seconds, nanoseconds, _ = _TIME.unpack_from(data, 1)
    if seconds == 0 or not 0 <= nanoseconds < 10**9:
        return None
    return (seconds - _YEAR_1) * 10**9 + nanoseconds


def text_of(data: bytes | None) -> str:
    """A name; bytes that are no UTF-8 are kept as lone surrogates."""
    return (data or b"").decode("utf-8", "surrogateescape")


def labels_of(record: Bucket, name: bytes = b"labels") -> dict[str, str]:
    """The labels of a record; empty where it has none. Raises as reading a bucket does."""
    bucket = record.bucket(name)
    return {text_of(key): text_of(value) for key, value in bucket.values().items()} if bucket is not None else {}
