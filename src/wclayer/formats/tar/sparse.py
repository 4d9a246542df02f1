"""Sparse files in tar archives: the maps of GNU tar in their four spellings.

Old GNU headers carry ``(offset, length)`` pairs in binary blocks; PAX 0.0 and 0.1 in records; PAX 1.0 as decimal lines
at the start of the body (GNU tar manual, "Storing Sparse Files"). A map is believed only after :func:`checked`.
"""

from __future__ import annotations

from collections.abc import Callable

from wclayer.errors import FormatError, LimitError
from wclayer.formats.tar.header import BLOCK, parse_number
from wclayer.formats.tar.pax import parse_integer

__all__ = ["REPEATED", "Ranges", "checked", "join_pairs", "old_gnu_map", "pax_map"]

REPEATED = (b"GNU.sparse.offset", b"GNU.sparse.numbytes")

Ranges = tuple[tuple[int, int], ...]

MAX_RANGES = 1 << 16
MAX_MAP = 1 << 20
_SMALL = 1 << 30
_RATIO = 1000


def checked(ranges: Ranges, size: int, stored: int) -> Ranges:
    """The map, once it is known to be ordered, disjoint and inside ``size``. ``stored`` is the size of the body.

    A logical size beyond a gigabyte that is a thousand times what is stored is a bomb, not a file: LimitError.
    """
    end = 0
    if size < 0:
        raise FormatError("the size of a sparse file is negative", kind="tar-header")
    for offset, length in ranges:
        if offset < end or length < 0 or offset + length > size:
            raise FormatError("the map of a sparse file is not ordered or leaves the file", kind="tar-header")
        end = offset + length
    if size > _SMALL and size > _RATIO * stored:
        raise LimitError(f"a sparse file claims {size} bytes and stores {stored}")
    return tuple((offset, length) for offset, length in ranges if length)


def old_gnu_map(block: bytes, take: Callable[[int], bytes]) -> tuple[int, Ranges]:
    """Logical size and map of a type ``S`` header; ``take`` hands out the extension blocks that follow it."""
    size = parse_number(block[483:495])
    ranges: list[tuple[int, int]] = []
    start, pairs, flag = 386, 4, 482
    while True:
        for index in range(pairs):
            at = start + 24 * index
            if not block[at]:
                break
            ranges.append((parse_number(block[at : at + 12]), parse_number(block[at + 12 : at + 24])))
        if not block[flag]:
            return size, tuple(ranges)
        if len(ranges) > MAX_RANGES:
            raise LimitError(f"a sparse file of more than {MAX_RANGES} pieces")
        block = take(BLOCK)
        start, pairs, flag = 0, 21, 504


def pax_map(records: dict[bytes, bytes], take: Callable[[int], bytes]) -> tuple[Ranges, int] | None:
    """The map that ``records`` announce and how many bytes of the body it took; None for an ordinary file."""
    major, minor = records.get(b"GNU.sparse.major"), records.get(b"GNU.sparse.minor")
    if not major and not minor:
        if not records.get(b"GNU.sparse.map"):
            return None
    elif (major, minor) == (b"1", b"0"):
        return _map_in_body(take)
    elif major != b"0" or minor not in (b"0", b"1"):
        return None
    text = records.get(b"GNU.sparse.map")
    numbers = text.split(b",") if text else []
    count = parse_integer(records.get(b"GNU.sparse.numblocks", b""))
    if count > MAX_RANGES:
        raise LimitError(f"a sparse file of {count} pieces, {MAX_RANGES} at most")
    if 2 * count != len(numbers):
        raise FormatError("the map of a sparse file is incomplete", kind="tar-header")
    return _paired([parse_integer(number) for number in numbers]), 0


def _map_in_body(take: Callable[[int], bytes]) -> tuple[Ranges, int]:
    """PAX 1.0: a count, then offset and length of each range, one decimal per line, padded to whole blocks."""
    text = bytearray()
    lines, wanted = 0, 1
    count = -1
    while lines < wanted:
        if len(text) >= MAX_MAP:
            raise LimitError(f"the map of a sparse file takes more than {MAX_MAP} bytes")
        block = take(BLOCK)
        text += block
        lines += block.count(b"\n")
        if count < 0 and lines:
            count = parse_integer(bytes(text[: text.index(b"\n")]))
            if count < 0:
                raise FormatError(f"a sparse file of {count} pieces", kind="tar-header")
            wanted = 1 + 2 * count
    numbers = bytes(text).split(b"\n", wanted)[1:wanted]
    return _paired([parse_integer(number) for number in numbers]), len(text)


def _paired(numbers: list[int]) -> Ranges:
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def join_pairs(records: list[tuple[bytes, bytes]]) -> bytes:
    """The map of PAX 0.0, whose records repeat: ``GNU.sparse.offset`` and ``numbytes`` in turn, as one 0.1 map.

    Raises FormatError (``tar-header``) when they do not come in turn. Whether the last one is complete shows later.
    """
    found: list[bytes] = []
    for key, value in records:
        if key in REPEATED:
            if key != REPEATED[len(found) % 2] or b"," in value:
                raise FormatError("the map of a sparse file is out of order", kind="tar-header")
            found.append(value)
    return b",".join(found)
