"""What is known about a partial file after its writer was killed: a list of the ranges that were written before.

A line is added after the bytes it speaks of are in the file, never before, and each line carries a checksum, so that
the last one may be cut off at any byte. Whatever does not read well ends the list. A journal that tells a lie (after a
power failure that took the bytes and left the line) costs a second download, not a wrong blob: the digest decides.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from io import FileIO
from pathlib import Path

from wclayer.oci.content.extents import Extents
from wclayer.oci.digests import Digest
from wclayer.oci.sources import store_error
from wclayer.writing import write_whole

__all__ = ["Journal", "journal_path", "read_journal"]

_HEAD = "wclayer-partial-1"
_LIMIT = 64 << 20
"""A journal that is longer is nonsense: a line stands for a mebibyte."""


def journal_path(path: Path) -> Path:
    """Where the journal of the partial file ``path`` is."""
    return path.with_name(path.name + ".journal")


def read_journal(path: Path, digest: Digest | None = None, size: int | None = None) -> Extents | None:
    """The ranges that the journal of the partial file ``path`` names, none of them beyond the end of the file.

    None when there is no journal, or one of another blob than that of ``digest`` and ``size``. StoreError.
    """
    try:
        with journal_path(path).open("rb") as file:
            lines = file.read(_LIMIT).split(b"\n")
        length = path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise store_error(error, f"cannot read the journal of {path}") from error
    head = lines[0].decode("ascii", "replace").split(" ")
    if len(head) != 3 or head[0] != _HEAD or not head[2].isdecimal():
        return None
    if (digest is not None and head[1] != str(digest)) or (size is not None and head[2] != str(size)):
        return None
    extents = Extents()
    for line in lines[1:-1]:  # what follows the last line feed was cut off
        found = _parse(line, min(length, int(head[2])))
        if found is None:
            break
        extents.add(*found)
    return extents


def _parse(line: bytes, length: int) -> tuple[int, int] | None:
    body, _, checksum = line.rpartition(b" ")
    if b"%08x" % zlib.crc32(body) != checksum:
        return None
    numbers = body.split(b" ")
    if len(numbers) != 2 or not (numbers[0].isdigit() and numbers[1].isdigit()):
        return None
    start, end = int(numbers[0]), int(numbers[1])
    return (start, end) if start < end <= length else None


class Journal:
    """The journal of the partial file ``path``, started anew with ``known``; StoreError."""

    def __init__(self, path: Path, digest: Digest, size: int, known: Iterable[tuple[int, int]] = ()) -> None:
        self.path = journal_path(path)
        self._head = f"{_HEAD} {digest} {size}\n".encode("ascii")
        self._file = self._start(known)

    def add(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Note that the bytes of ``ranges`` are in the file."""
        try:
            write_whole(self._file.write, _lines(ranges))
        except OSError as error:
            raise store_error(error, f"cannot write {self.path}") from error

    def restart(self) -> None:
        """Forget everything."""
        self._file.close()
        self._file = self._start(())

    def close(self) -> None:
        """Close the journal and leave it."""
        self._file.close()

    def remove(self) -> None:
        """Close the journal and remove it."""
        self._file.close()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error(error, f"cannot remove {self.path}") from error

    def _start(self, known: Iterable[tuple[int, int]]) -> FileIO:
        """The journal replaced in one step: a line that was cut off would spoil the next one."""
        new = self.path.with_name(self.path.name + ".new")
        try:
            new.write_bytes(self._head + _lines(known))
            new.replace(self.path)
            return FileIO(os.open(self.path, os.O_WRONLY | os.O_APPEND | getattr(os, "O_BINARY", 0)), "wb")
        except OSError as error:
            raise store_error(error, f"cannot write {self.path}") from error


def _lines(ranges: Iterable[tuple[int, int]]) -> bytes:
    bodies = [b"%d %d" % piece for piece in ranges]
    return b"".join(b"%s %08x\n" % (body, zlib.crc32(body)) for body in bodies)
