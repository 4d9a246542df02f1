r"""Windows paths below a root: cleaned as Go cleans them, then held to the rules of hcsshim's ``safefile``.

A layer names its files by paths with backslashes. Before any file is touched such a path is cleaned lexically and must
be relative, without ``:`` and without a way up. Only then is it split into components. The rules and their texts are
those of hcsshim's ``internal/safefile`` and Go's ``path/filepath``; what the NT kernel would refuse is refused here.
"""

from __future__ import annotations

import re

from wclayer.formats.volume.errors import ERROR_FILENAME_EXCED_RANGE, ERROR_INVALID_NAME, UnsafePathError
from wclayer.ntfs.names import MAX_COMPONENT, MAX_PATH, encode_wtf8, utf16_length

__all__ = [
    "base_of",
    "check_length",
    "clean",
    "components",
    "folder_of",
    "is_below",
    "is_common_name",
    "long_absolute",
    "place_in_walk",
]

_DOTS = (".", "..")
_SEPARATOR = re.compile(r"[\\/]")
_REFUSED_BY_NT = re.compile(r"[<>\"|?*\x01-\x1f/]").search
_PLAIN = re.compile(r"[^\\/:.\0][^\\/:\0]*+(?:\\[^\\/:.\0][^\\/:\0]*+)*+").fullmatch
_DEVICES = ("\\\\.", "\\\\?", "\\??")

# Nearly every name: it breaks no rule, whatever its characters take in UTF-16, and cleaning leaves it as it is.
_COMMON = r"""[^\\/:.<>"|?*\0-\x1f][^\\/:<>"|?*\0-\x1f]{0,126}+"""
_IS_COMMON_NAME = re.compile(_COMMON).fullmatch
_IS_COMMON_PATH = re.compile(rf"{_COMMON}(?:\\{_COMMON})*+").fullmatch
_SHORT = MAX_PATH // 2


def clean(path: str) -> str:
    r"""``path`` as Go's ``filepath.Clean`` leaves it on Windows: ``a/../b`` becomes ``b``, nothing becomes ``.``.

    Purely lexical. Volume names (``C:``, ``\\host\share``, ``\\?\x``) stay; a ``..`` that leads out of a relative path
    stays too.
    """
    if _PLAIN(path):
        return path
    length = _volume_length(path.replace("/", "\\"))
    volume, rest = path[:length].replace("/", "\\"), path[length:]
    if not rest:
        return volume if length > 1 and volume.startswith("\\\\") else path + "."
    rooted = rest.startswith(("\\", "/"))
    kept = ""
    # Go writes to a buffer only from where the result is no longer how the path begins, and looks at that buffer, with
    # what was taken back in it, when it makes sure that a relative path stays one.
    buffer: str | None = None

    def put(piece: str) -> None:
        nonlocal kept, buffer
        if buffer is None and not rest.startswith(piece, len(kept)):
            buffer = kept
        if buffer is not None:
            buffer = kept + piece + buffer[len(kept) + len(piece) :]
        kept += piece

    if rooted:
        put("\\")
    fixed = len(kept)
    for component in _SEPARATOR.split(rest):
        if component in ("", "."):
            continue
        if component == ".." and len(kept) > fixed:
            kept = kept[: max(kept.rfind("\\"), fixed)]
        elif component != ".." or not rooted:
            if len(kept) > rooted:
                put("\\")
            put(component)
            if component == "..":
                fixed = len(kept)
    if not kept:
        put(".")
    if not length and buffer is not None:
        if ":" in buffer.partition("\\")[0]:
            return ".\\" + kept
        if buffer.startswith("\\??"):
            return "\\." + kept
    return volume + kept


def components(path: str, op: str) -> tuple[str, ...]:
    """The components of ``path`` once it has passed the rules.

    Raises UnsafePathError with the texts of ``safefile``, for ``.`` too; ``op`` names the operation in it.
    """
    if _IS_COMMON_PATH(path) and len(path) < _SHORT:
        return tuple(path.split("\\"))
    text = clean(path)
    if ":" in text:
        raise UnsafePathError(op, text, "path contains invalid character `:`")
    if text.startswith("\\"):
        raise UnsafePathError(op, text, "expected relative path")
    if "\0" in text:
        raise UnsafePathError(op, text, "invalid argument: the path holds a NUL", ERROR_INVALID_NAME)
    check_length(text, op)
    parts = tuple(text.split("\\"))
    for part in parts:
        if part in _DOTS or _REFUSED_BY_NT(part) or (len(part) > 127 and utf16_length(part) > MAX_COMPONENT):
            raise UnsafePathError(op, text, "the name is invalid", ERROR_INVALID_NAME)
    return parts


def is_common_name(name: str, path: str) -> bool:
    """Whether ``path`` passes the rules if its folder does: its last component ``name`` is one of the usual kind."""
    return len(path) < _SHORT and _IS_COMMON_NAME(name) is not None


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


def place_in_walk(path: str, *, is_deletion: bool = False) -> list[bytes]:
    """What to compare to know whether a folder that is walked yields ``path`` before another path.

    A folder comes before what is in it, names of one folder in byte order; deletions follow their folder at once, in an
    order of their own.
    """
    place = encode_wtf8(path).split(b"\\")
    if is_deletion:
        place[-1] = b""
    return place


def long_absolute(path: str) -> str:
    r"""The NT long form of an absolute Windows path, as hcsshim's ``longpath`` makes it: ``\\?\`` in front of it.

    The path is not cleaned. Raises UnsafePathError for a relative path, since there is no current folder of Windows.
    """
    if path.startswith(("\\\\?\\", "\\\\.\\")):
        return path
    text = path.replace("/", "\\")
    volume_length = _volume_length(text)
    if not volume_length or (not text.startswith("\\\\") and text[volume_length : volume_length + 1] != "\\"):
        raise UnsafePathError("longabs", path, "the path is not absolute")
    if path.startswith("\\\\"):
        return "\\\\?\\UNC\\" + path[2:]
    return "\\\\?\\" + path


def _volume_length(text: str) -> int:
    if text[1:2] == ":" and text[0] < "\x80":
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
