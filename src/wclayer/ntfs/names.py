"""Windows names on any system: their bytes, their case, and the gate through which every path passes.

A Windows name is a sequence of UTF-16 units that need not be valid Unicode. As ``str`` an unpaired surrogate stands for
itself; as bytes (tar names, file names of this machine) it is WTF-8, the three bytes it would have in UTF-8. Three
conversions exist and must not be mixed: WTF-8 for names, strict for reparse targets and for what go-winio reads as a
stream name, UTF-16LE for binary structures.

Sources: WTF-8 (simonsapin.github.io/wtf-8), Go's ``syscall`` package for what becomes U+FFFD, the ``$UpCase`` table of
NTFS for case.
"""

from __future__ import annotations

import codecs
import re
from functools import cache
from typing import Final

from wclayer.errors import FormatError, UnsafeEntryError
from wclayer.ntfs.upcase import UPCASE_RUNS

__all__ = [
    "MAX_COMPONENT",
    "MAX_PATH",
    "checked_path",
    "checked_stream_name",
    "cut_at_nul",
    "decode_strict_utf8",
    "decode_wtf8",
    "encode_wtf8",
    "fold",
    "from_utf16le",
    "has_passed",
    "is_plain_path",
    "is_wtf8",
    "name_notice",
    "path_notice",
    "split_stream",
    "strict_text",
    "to_utf16le",
    "utf16_length",
    "vouch",
]

MAX_COMPONENT = 255
"""The longest name of a file or a stream, in UTF-16 units."""

MAX_PATH = 32767
"""The longest path, in UTF-16 units."""

_REPLACEMENT = "\ufffd"
_SPLIT_PAIR = re.compile(f"[{chr(0xD800)}-{chr(0xDBFF)}][{chr(0xDC00)}-{chr(0xDFFF)}]")

# The names that Windows opens as devices in whatever folder they stand. Superscript digits count.
_DEVICE = (
    r"(?:[Cc][Oo][Nn](?:[Ii][Nn]\$|[Oo][Uu][Tt]\$)?|[Pp][Rr][Nn]|[Aa][Uu][Xx]|[Nn][Uu][Ll]"
    r"|(?:[Cc][Oo][Mm]|[Ll][Pp][Tt])[0-9\u00b9\u00b2\u00b3])"
)
_IS_DEVICE = re.compile(_DEVICE).fullmatch
_IS_DEVICE_WITH_EXTENSION = re.compile(_DEVICE + r" *[.:][\s\S]*").fullmatch

# A path that needs no second look: 127 characters are at most 254 UTF-16 units, 16000 at most 32000. Most components
# begin with a letter that no device and no ".." begins with, and need no look ahead. The two alternatives have no first
# letter in common, so that there is only one way to match and nothing to go back to.
_PLAIN = (
    r"(?:[^/\\:\0.AaCcLlNnPp][^/\\:\0]{0,126}+"
    rf"|(?!(?:\.\.?|{_DEVICE})(?:/|\Z))[.AaCcLlNnPp][^/\\:\0]{{0,126}}+)"
)
_IS_PLAIN_PATH = re.compile(rf"{_PLAIN}(?:/{_PLAIN})*").fullmatch
_PLAIN_LENGTH = 16000

# A path of names that Win32 opens under just that name.
_WIN32 = (
    r"""(?:[^/<>"|?*\x00-\x1fAaCcLlNnPp][^/<>"|?*\x00-\x1f]*+"""
    rf"""|(?!{_DEVICE} *(?:[./]|\Z))[AaCcLlNnPp][^/<>"|?*\x00-\x1f]*+)(?<![ .])"""
)
_IS_WIN32_PATH = re.compile(rf"{_WIN32}(?:/{_WIN32})*").fullmatch
_NOT_IN_WIN32 = re.compile(r"[<>\"|?*\x00-\x1f]").search

# The path that passed last, this very object: who gets it next need not look again.
_PASSED: Final[list[str | None]] = [None]

_DRIVE = re.compile(r"(?:\.?[/\\])*[A-Za-z]:").match


def encode_wtf8(text: str) -> bytes:
    """``text`` as WTF-8: UTF-8, with every lone surrogate as three bytes (``ED A0..BF xx``)."""
    return text.encode("utf-8", "surrogatepass")


def decode_wtf8(data: bytes) -> str:
    """The name that ``data`` spells, as when Go passes it to Windows.

    The three bytes of a surrogate become that surrogate, and every other invalid byte becomes one U+FFFD. Two surrogate
    halves written as six bytes stay two characters, so that :func:`encode_wtf8` restores the bytes.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "wclayer.wtf8")


def decode_strict_utf8(data: bytes) -> str:
    """``data`` as UTF-8, with every invalid byte as one U+FFFD: how Go turns bytes into runes.

    A surrogate in WTF-8 gives three. (Python's own ``replace`` gives one for a whole truncated sequence.)
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("utf-8", "wclayer.strict")


def is_wtf8(data: bytes) -> bool:
    """Whether :func:`decode_wtf8` loses nothing, so that :func:`encode_wtf8` restores exactly these bytes."""
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def utf16_length(text: str) -> int:
    """The length of ``text`` in UTF-16 units, which is what Windows counts."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def from_utf16le(data: bytes) -> str:
    """The text of UTF-16LE ``data``; an unpaired surrogate stands for itself.

    Raises FormatError when the number of bytes is odd.
    """
    if len(data) % 2:
        raise FormatError(f"UTF-16 text of {len(data)} bytes, an odd number")
    return data.decode("utf-16-le", "surrogatepass")


def to_utf16le(text: str) -> bytes:
    """``text`` as UTF-16LE without terminator. Two adjacent lone halves become what Windows sees in them: a pair."""
    return text.encode("utf-16-le", "surrogatepass")


def strict_text(text: str) -> str:
    """``text`` with every unpaired surrogate as U+FFFD, as Go decodes UTF-16. Adjacent halves are a pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def cut_at_nul(text: str) -> str:
    """``text`` up to its first NUL: how go-winio reads the name of an alternate stream from a backup stream."""
    return text.partition("\0")[0]


def fold(text: str) -> str:
    """``text`` as NTFS compares it: two names are the same to Windows exactly when their folds are equal.

    Each UTF-16 unit goes through the upper-case table of NTFS; characters beyond U+FFFF map to themselves. The result
    is as long as ``text``, counted in UTF-16 units.
    """
    if text.isascii():
        return text.upper()
    if _SPLIT_PAIR.search(text):
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
    return text.translate(_upcase())


def checked_path(text: str) -> str:
    r"""The normal form of the path ``text`` of a layer entry: the gate through which every path passes.

    The normal form is relative and ``/``-separated, without empty and ``.`` components and without a trailing
    separator; ``""`` is the root of the layer. ``\`` separates as ``/`` does. Raises UnsafeEntryError for whatever
    could leave the layer or mean something other than a file in it: an empty text, an absolute path, a drive, a UNC or
    device path, a ``..`` component, a NUL, a colon, a component that is the name of a device, and for a component of
    more than 255 or a path of more than 32767 UTF-16 units.

    Names that are legal in NTFS but that Win32 programs cannot open pass; see :func:`path_notice`.
    """
    if len(text) <= _PLAIN_LENGTH and _IS_PLAIN_PATH(text):
        return text
    if not text:
        raise UnsafeEntryError("the path is empty")
    if "\0" in text:
        raise _unsafe(text, "holds a NUL")
    path = text.replace("\\", "/")
    if path.startswith("//"):
        raise _unsafe(text, "is a UNC or device path")
    if path.startswith("/"):
        raise _unsafe(text, "is absolute")
    if _DRIVE(path):
        raise _unsafe(text, "names a drive")
    if ":" in path:
        raise _unsafe(text, "holds a colon, which in Windows separates a file from its streams")
    components = [component for component in path.split("/") if component not in ("", ".")]
    for component in components:
        if component == "..":
            raise _unsafe(text, "holds a '..' component")
        if _IS_DEVICE(component):
            raise _unsafe(text, f"holds {component}, the name of a device")
        if utf16_length(component) > MAX_COMPONENT:
            raise _unsafe(text, f"holds a component of more than {MAX_COMPONENT} UTF-16 units")
    path = "/".join(components)
    if utf16_length(path) > MAX_PATH:
        raise _unsafe(text, f"is longer than {MAX_PATH} UTF-16 units")
    return path


def vouch(path: str) -> None:
    """Say that ``path`` is what :func:`checked_path` gives for it; see :func:`has_passed`."""
    _PASSED[0] = path


def has_passed(path: str) -> bool:
    """Whether ``path`` is the very object that :func:`vouch` was called with last: then it needs no second look."""
    return path is _PASSED[0]


def is_plain_path(text: str) -> bool:
    """Whether ``text`` is for certain in normal form: :func:`checked_path` would give it back, whatever else it may."""
    return len(text) <= _PLAIN_LENGTH and _IS_PLAIN_PATH(text) is not None


def split_stream(text: str) -> tuple[str, str | None]:
    """``text``, a path in a tar, as owner and alternate stream: ``Files/a:s`` is ``("Files/a", ":s")``.

    The cut is at the first colon of the last component; without one the second is None. The owner is as spelt and has
    still to pass :func:`checked_path`. Raises UnsafeEntryError when the colon belongs to a drive or to an earlier
    component, when the owner's name is empty, and for what :func:`checked_stream_name` refuses.
    """
    colon = text.find(":")
    if colon < 0:
        return text, None
    if _DRIVE(text):
        raise _unsafe(text, "names a drive")
    if "/" in text[colon:] or "\\" in text[colon:]:
        raise _unsafe(text, "holds a colon before its last component")
    owner = text[:colon]
    if not owner or owner[-1] in "/\\":
        raise _unsafe(text, "names a stream of no file")
    return owner, checked_stream_name(text[colon:], path=text)


def checked_stream_name(name: str, *, path: str | None = None) -> str:
    """``name``, the name of an alternate stream (``:name`` or ``:name:$TYPE``), if it can be one.

    Raises UnsafeEntryError naming ``path`` when it does not begin with a colon, has more than two, holds a separator or
    a NUL, is empty between the colons (that is the file's own data), or a part exceeds 255 UTF-16 units.
    """
    lead, *parts = name.split(":")
    if lead or not parts:
        reason = "does not begin with a colon"
    elif len(parts) > 2:
        reason = "has more than two colons"
    elif not parts[0]:
        reason = "is empty, which means the main data of the file"
    elif "/" in name or "\\" in name or "\0" in name:
        reason = "holds a separator or a NUL"
    elif any(utf16_length(part) > MAX_COMPONENT for part in parts):
        reason = f"is longer than {MAX_COMPONENT} UTF-16 units"
    else:
        return name
    raise UnsafeEntryError(f"the stream name {_quoted(name)} {reason}", path=path)


def path_notice(path: str) -> str | None:
    """Why Win32 programs could not open the normal path ``path`` under this name, or None if they could.

    Such names are legal in NTFS, and Windows layers hold them; they deserve a notice.
    """
    if _IS_WIN32_PATH(path):
        return None
    for component in path.split("/"):
        reason = name_notice(component)
        if reason:
            return reason
    return None


def name_notice(component: str) -> str | None:
    """Why Win32 programs could not open a file called ``component``, or None if they could."""
    if not component:
        return None
    if _NOT_IN_WIN32(component):
        return f"the name {_quoted(component)} holds a character that Win32 does not allow"
    if component[-1] in " .":
        return f"the name {_quoted(component)} ends in a dot or a space, which Win32 removes"
    if _IS_DEVICE(component) or _IS_DEVICE_WITH_EXTENSION(component):
        return f"the name {_quoted(component)} is that of a device to Win32, whatever its extension"
    return None


@cache
def _upcase() -> dict[int, int]:
    return {
        unit: unit + delta & 0xFFFF for first, last, step, delta in UPCASE_RUNS for unit in range(first, last + 1, step)
    }


def _unsafe(text: str, reason: str) -> UnsafeEntryError:
    return UnsafeEntryError(f"the path {reason}", path=text)


def _quoted(text: str) -> str:
    return ascii(text if len(text) <= 64 else f"{text[:64]}...")


def _replace_byte(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _REPLACEMENT, error.start + 1


def _replace_byte_but_surrogates(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    start = error.start
    sequence = error.object[start : start + 3]
    if len(sequence) == 3 and sequence[0] == 0xED and 0xA0 <= sequence[1] <= 0xBF and 0x80 <= sequence[2] <= 0xBF:
        return chr(0xD000 | (sequence[1] & 0x3F) << 6 | sequence[2] & 0x3F), start + 3
    return _REPLACEMENT, start + 1


codecs.register_error("wclayer.strict", _replace_byte)
codecs.register_error("wclayer.wtf8", _replace_byte_but_surrogates)
