r"""``tombstones.txt``: what a layer deletes from its parents, as ExportLayer writes it.

A byte order mark and ``Version 1.0``, then one line for each path: a backslash and the path relative to ``Files``.
Lines end with LF, or CRLF. hcsshim drops the first character of every line unseen, cleans the rest, which lets ``..``
climb out of ``Files``, and crashes on an empty line; here such lines are errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from wclayer.errors import FormatError, LimitError
from wclayer.formats.volume.errors import UnsafePathError
from wclayer.formats.volume.paths import components
from wclayer.ntfs.names import encode_wtf8

__all__ = ["HEADER", "parse_tombstones", "tombstone_lines"]

HEADER = b"\xef\xbb\xbfVersion 1.0"

_LONGEST_LINE = 1 << 16  # what the reference's line scanner takes; a Windows path in UTF-8 may be longer, none is
_PIECE = 1 << 16


def parse_tombstones(
    read: Callable[[int], bytes], *, lenient: bool = False, notice: Callable[[str], object] = lambda _line: None
) -> Iterator[str]:
    """The paths below ``Files`` that are deleted, with backslashes, in the order of the file.

    ``read(n)`` gives up to n bytes. With ``lenient`` a line that makes no sense is passed over, and ``notice`` is told
    of it. Raises FormatError of kind ``tombstones``, and LimitError for a line of 64 KiB or more.
    """
    lines = _lines(read)
    if next(lines, None) != HEADER:
        raise FormatError("invalid tombstones file", kind="tombstones", path="tombstones.txt")
    blank = False
    for line in lines:
        if not line:
            blank = True  # harmless at the end of the file only
            continue
        if blank:
            blank = False
            if not lenient:
                _refuse("an empty line")
            notice("an empty line")
        try:
            path = _path(line)
        except FormatError as error:
            if not lenient:
                raise
            notice(error.message)
            continue
        yield path


def tombstone_lines(paths: Iterable[str]) -> Iterator[bytes]:
    """The file for ``paths``, which are relative to ``Files``, line by line."""
    yield HEADER + b"\n"
    for path in paths:
        components(path, "tombstone")
        yield b"\\" + encode_wtf8(path) + b"\n"


def _path(line: bytes) -> str:
    try:
        text = line.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return _refuse("a line that is not UTF-8")
    if not text.startswith("\\"):
        return _refuse(f"{text[:80]!r} without a leading backslash")
    path = text[1:]
    try:
        if "/" not in path and components(path, "tombstone") == tuple(path.split("\\")):
            return path
    except UnsafePathError as error:
        return _refuse(error.message)
    return _refuse(f"{text[:80]!r}, which is no plain path")


def _refuse(what: str) -> str:
    raise FormatError(f"invalid tombstones file: {what}", kind="tombstones", path="tombstones.txt")


def _lines(read: Callable[[int], bytes]) -> Iterator[bytes]:
    rest = b""
    while piece := read(_PIECE):
        *whole, rest = (rest + piece).split(b"\n")
        for line in whole:
            yield _bare(line)
        if len(rest) >= _LONGEST_LINE:
            _bare(rest)
    if rest:
        yield _bare(rest)


def _bare(line: bytes) -> bytes:
    if len(line) >= _LONGEST_LINE:
        raise LimitError("invalid tombstones file: a line of 64 KiB or more", path="tombstones.txt")
    return line.removesuffix(b"\r")
