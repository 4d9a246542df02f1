"""Ranges of bytes as HTTP and the distribution specification spell them, and nothing but what they may be.

In the program a range is a start and an end that does not belong to it; on the wire the last byte is named instead
(RFC 9110, section 14). An answer that speaks of other bytes than those asked for is never taken for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from wclayer.errors import NetworkError

__all__ = ["content_range", "parse_content_range", "parse_unsatisfied", "parse_upload_range", "range_header", "split"]

_CONTENT_RANGE = re.compile(r"bytes[ =](\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.ASCII)
_UNSATISFIED = re.compile(r"bytes[ =]\*/(\d{1,18})", re.ASCII)
_UPLOADED = re.compile(r"(?:bytes[ =])?0-(\d{1,18})", re.ASCII)


def range_header(start: int, end: int | None) -> str:
    """The value of ``Range`` for the bytes from ``start`` to ``end``, or to the end of the blob."""
    return f"bytes={start}-" if end is None else f"bytes={start}-{end - 1}"


def content_range(start: int, end: int) -> str:
    """The value of ``Content-Range`` that the distribution specification wants for a chunk of an upload."""
    return f"{start}-{end - 1}"


def parse_content_range(text: str) -> tuple[int, int, int | None]:
    """The start, the end and the whole size (None when it is not said) in a ``Content-Range``; NetworkError."""
    found = _CONTENT_RANGE.fullmatch(text.strip())
    if found is None:
        raise NetworkError(f"the registry answers with an unusable Content-Range: {text[:80]!r}")
    start, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if start > last or (total is not None and last >= total):
        raise NetworkError(f"the registry answers with an impossible Content-Range: {text[:80]!r}")
    return start, last + 1, total


def parse_unsatisfied(text: str) -> int | None:
    """The size of the blob as the ``Content-Range`` of a 416 has it; None when it does not say."""
    found = _UNSATISFIED.fullmatch(text.strip())
    return int(found[1]) if found else None


def parse_upload_range(text: str, size: int) -> int:
    """How many bytes of an upload the registry has, by the ``Range`` of its answer; NetworkError.

    Docker's registry says ``0-0`` both for nothing and for one byte; nothing is what can be gone on from.
    ``size`` is that of the whole blob, which the registry cannot have more of.
    """
    if not text:
        return 0
    found = _UPLOADED.fullmatch(text.strip())
    if found is None:
        raise NetworkError(f"the registry answers with an unusable Range of an upload: {text[:80]!r}")
    have = int(found[1]) + 1
    if have > size:
        raise NetworkError(f"the registry has {have} bytes of an upload of {size}")
    return 0 if have == 1 else have


def split(missing: Iterable[tuple[int, int]], piece: int) -> Iterator[tuple[int, int]]:
    """The ranges ``missing`` in pieces of at most ``piece`` bytes, in order."""
    for start, end in missing:
        for position in range(start, end, piece):
            yield position, min(position + piece, end)
