r"""Windows paths below a root: cleaned as Go cleans them, then held to the rules of hcsshim's ``safefile``.

A layer names its files by paths with backslashes. Before any file is touched such a path is cleaned lexically and must
be relative, without ``:`` and without a way up. Only then is it split into components. The rules and their texts are
those of hcsshim's ``internal/safefile`` and Go's ``path/filepath``; what the NT kernel would refuse is refused here.
"""

from __future__ import annotations

import re

from wclayer.formats.volume.errors import ERROR_FILENAME_EXCED_RANGE, ERROR_INVALID_NAME, UnsafePathError
from wclayer.ntfs.names import MAX_COMPONENT, MAX_PATH, utf16_length

__all__ = ["base_of", "check_length", "clean", "components", "folder_of", "is_below", "long_absolute"]

_DOTS = (".", "..")
_REFUSED_BY_NT = re.compile(r"[<>\"|?*\x01-\x1f/]").search
_PLAIN = re.compile(r"[^\\/:.\0][^\\/:\0]*+(?:\\[^\\/:.\0][^\\/:\0]*+)*+").fullmatch
_DEVICES = ("\\\\.", "\\\\?", "\\??")


def clean(path: str) -> str:
    r"""``path`` as Go's ``filepath.Clean`` leaves it on Windows: ``a/../b`` becomes ``b``, nothing becomes ``.``.

    Purely lexical. Volume names (``C:``, ``\\host\share``, ``\\?\x``) stay; a ``..`` that leads out of a relative path
    stays too.
    """
    if _PLAIN(path):
        return path
    text = path.replace("/", "\\")
    volume_length = _volume_length(text)
    volume, rest = text[:volume_length], text[volume_length:]
    if not rest:
        return text if volume_length > 1 and text.startswith("\\\\") else text + "."
    rooted = rest.startswith("\\")
    kept: list[str] = []
    for component in rest.split("\\"):
        if component in ("", "."):
            continue
        if component != "..":
            kept.append(component)
        elif kept and kept[-1] != "..":
            kept.pop()
        elif not rooted:
            kept.append(component)
    cleaned = ("\\" if rooted else "") + "\\".join(kept) or "."
    if not volume and cleaned != text:
        # Cleaning must not make an absolute path of a relative one.
        if ":" in cleaned.partition("\\")[0]:
            cleaned = ".\\" + cleaned
        elif cleaned.startswith("\\??"):
            cleaned = "\\." + cleaned
    return volume + cleaned


def components(path: str, op: str) -> tuple[str, ...]:
    """The components of ``path`` once it has passed the rules.

    Raises UnsafePathError with the texts of ``safefile``, for ``.`` too; ``op`` names the operation in it.
    """
    text = clean(path)
    if ":" in text:
        raise UnsafePathError(op, text, "path contains invalid character `:`")
    if text.startswith("\\"):
        raise UnsafePathError(op, text, "expected relative path")
    if "\0" in text:
        raise UnsafePathError(op, text, "invalid argument: the path holds a NUL")
    check_length(text, op)
    parts = tuple(text.split("\\"))
    for part in parts:
        if part in _DOTS or _REFUSED_BY_NT(part) or (len(part) > 127 and utf16_length(part) > MAX_COMPONENT):
            raise UnsafePathError(op, text, "the name is invalid", ERROR_INVALID_NAME)
    return parts


def check_length(text: str, op: str) -> None:
    """Raises UnsafePathError for a path that Windows takes for too long."""
    if len(text) * 2 > MAX_PATH and utf16_length(text) >= MAX_PATH:
        raise UnsafePathError(op, text[:200] + "...", "file name too long", ERROR_FILENAME_EXCED_RANGE)


def is_below(path: str, prefix: str) -> bool:
    """Whether ``path`` lies strictly below ``prefix``; letters count as they are written, as in hcsshim."""
    return path.startswith(prefix) and path[len(prefix) : len(prefix) + 1] == "\\"


def folder_of(path: str) -> str:
    """The folder part of a cleaned relative path, ``.`` where it has none."""
    return path.rpartition("\\")[0] or "."


def base_of(path: str) -> str:
    """The last component of a cleaned relative path."""
    return path.rpartition("\\")[2]


def long_absolute(path: str) -> str:
    r"""The NT long form of an absolute Windows path, as hcsshim's ``longpath`` makes it: ``\\?\`` in front of it.

    The path is not cleaned. Raises UnsafePathError for a relative path, since there is no current folder of Windows.
    """
    if path.startswith(("\\\\?\\", "\\\\.\\")):
        return path
    text = path.replace("/", "\\")
    volume_length = _volume_length(text)
    if not volume_length or (volume_length == 2 and text[2:3] != "\\"):
        raise UnsafePathError("longabs", path, "the path is not absolute")
    if path.startswith("\\\\"):
        return "\\\\?\\UNC\\" + path[2:]
    return "\\\\?\\" + path


def _volume_length(text: str) -> int:
    if text[1:2] == ":":
        return 2
    if not text.startswith("\\"):
        return 0
    if text[:7].upper() == "\\\\.\\UNC" and text[7:8] in ("", "\\"):
        return _unc_length(text, 8)
    if text[:3] in _DEVICES and text[3:4] in ("", "\\"):
        end = text.find("\\", 4)
        return len(text) if end < 0 else end
    return _unc_length(text, 2) if text.startswith("\\\\") else 0


def _unc_length(text: str, start: int) -> int:
    host = text.find("\\", start)
    share = text.find("\\", host + 1) if host >= 0 else -1
    return len(text) if share < 0 else share
