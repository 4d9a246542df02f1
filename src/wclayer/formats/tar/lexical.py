"""Paths as text: cleaned and joined without looking at any file system, as Go's ``path`` package does it.

The names of extended headers and of whiteouts are made this way, so they have to agree to the byte.
"""

from __future__ import annotations

import posixpath

__all__ = ["clean", "is_clean", "join"]


def clean(path: bytes) -> bytes:
    """``path`` without empty, ``.`` and ``..`` components where that is possible; ``.`` for nothing at all."""
    cleaned = posixpath.normpath(path)
    # POSIX gives two leading slashes a meaning of their own; Go does not.
    return cleaned[1:] if cleaned.startswith(b"//") else cleaned


def is_clean(path: bytes) -> bool:
    """Whether it is seen at once that :func:`clean` leaves ``path`` as it is; nearly all are such."""
    return path.find(b"//") < 0 and path.find(b"/.") < 0 and path[:1] not in (b"", b"/", b".") and path[-1:] != b"/"


def join(*parts: bytes) -> bytes:
    """The parts that are not empty, with a slash between each two, cleaned."""
    return clean(b"/".join(filter(None, parts)))
