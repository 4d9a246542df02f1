"""What goes between the process that reads a layer and the one that makes its files.

Both see the same memory (:mod:`~wclayer.formats.folder.shared_memory`), in which the data of the files passes, and a
socket, on which everything else does. A message on the socket is a 32-bit length and that many bytes of :mod:`marshal`.
One way it holds a list of jobs:

* ``(FOLDER, parent, leaf, last_write_time)`` makes a folder; names are bytes, as the file system takes them;
* ``(DATE, path, last_write_time)`` says when a folder that was made before was last written;
* ``(FILE, parent, leaf, last_write_time, offset, length)`` makes a file of the bytes in the memory, of none at all when
  ``length`` is negative (a file without a main stream);
* ``(OPEN, parent, leaf, last_write_time, size, ranges, path)`` makes a file whose data follows in pieces, as many as
  the ranges, or the size, say; ``path`` is its name in errors;
* ``(PIECE, offset, length)`` is one of these;
* ``(LINK, parent, leaf, source_parent, source_leaf, size, ranges, path)`` makes another name of a file that is there,
  or a copy where the file system has no such links; unless ``size`` is None the file must have that many bytes;
* ``(SEAL, mode)`` sets times and modes of all folders made, to which nothing will be added; None leaves the modes;
* ``(HASH, number, algorithm, offset, length)`` takes bytes of the memory into the digest ``number``, which begins with
  the first of them; it may stand before a piece;
* ``(DIGEST, number)`` asks for that digest.

The other way it answers each list, in order, once all of it is done: ``(results, renamed, error)``. There is one result
for each job but dates, pieces and hashing: the CRC-32 of the stored bytes where there are any, or the digest in
hexadecimal. ``renamed`` holds the place in results and the other name of what could not have its own. An ``error`` is
the last thing that is said.
"""

from __future__ import annotations

import marshal
from struct import Struct
from typing import Any, TypeAlias

__all__ = [
    "DATE",
    "DIGEST",
    "FILE",
    "FOLDER",
    "HASH",
    "LENGTH",
    "LINK",
    "MAX_MESSAGE",
    "OPEN",
    "PIECE",
    "SEAL",
    "Answer",
    "Failure",
    "Job",
    "Result",
    "encode",
]

FOLDER, DATE, FILE, OPEN, PIECE, LINK, SEAL, HASH, DIGEST = range(9)

LENGTH = Struct("<I")
MAX_MESSAGE = 64 << 20

Job: TypeAlias = tuple[Any, ...]
Failure: TypeAlias = tuple[str, str, str | None, str | None, str | None]
"""The name of an exception class, and its message, layer, path and hint."""
Result: TypeAlias = int | str | None
Answer: TypeAlias = tuple[list[Result], list[tuple[int, bytes]], Failure | None]


def encode(message: list[Job] | Answer) -> bytes:
    """A message with its length before it."""
    data = marshal.dumps(message)
    return LENGTH.pack(len(data)) + data
