"""How calls of the Host Compute Service fail: HRESULT to Win32 code, and the errors with the texts callers match on."""

from __future__ import annotations

import sys
from typing import Literal, TypeAlias

from wclayer.errors import StoreError, UnsupportedError

__all__ = ["MESSAGES", "ErrorForm", "HcsError", "NotOffWindowsError", "win32_code", "win32_message"]

ErrorForm: TypeAlias = Literal["hcs", "path", "wrapped"]
"""How hcsshim words an error: as an error of the service, as one of a path, or behind a few words."""

_FACILITY_MASK, _FACILITY_WIN32 = 0x1FFF0000, 0x00070000

#: What FormatMessage says of the codes that layers fail with, for systems that have no FormatMessage.
MESSAGES = {
    0x1: "Incorrect function.",
    0x2: "The system cannot find the file specified.",
    0x3: "The system cannot find the path specified.",
    0x5: "Access is denied.",
    0x13: "The media is write protected.",
    0x15: "The device is not ready.",
    0x1F: "A device attached to the system is not functioning.",
    0x20: "The process cannot access the file because it is being used by another process.",
    0x50: "The file exists.",
    0x57: "The parameter is incorrect.",
    0x70: "There is not enough space on the disk.",
    0x7B: "The filename, directory name, or volume label syntax is incorrect.",
    0x7E: "The specified module could not be found.",
    0x7F: "The specified procedure could not be found.",
    0x91: "The directory is not empty.",
    0xB7: "Cannot create a file when that file already exists.",
    0xCE: "The filename or extension is too long.",
    0x3F1: "The configuration registry database is corrupt.",
    0x3F9: "The system has attempted to load or restore a file into the registry, but the specified file is not in a"
    " registry file format.",
    0x476: "An attempt was made to create more links on a file than the file system supports.",
    0x48F: "The device is not connected.",
    0x522: "A required privilege is not held by the client.",
    0x1126: "The file or directory is not a reparse point.",
    0x112B: "The object manager encountered a reparse point while retrieving an object.",
}


def win32_code(hresult: int) -> int:
    """The code that hcsshim reports for ``hresult`` (signed or unsigned): the Win32 code in it, or all of it."""
    number = hresult & 0xFFFFFFFF
    return number & 0xFFFF if number & _FACILITY_MASK == _FACILITY_WIN32 else number


def win32_message(code: int) -> str:
    """What Windows says of a Win32 code or HRESULT."""
    if sys.platform == "win32":
        import ctypes

        return ctypes.FormatError(code).strip()
    return MESSAGES.get(code, f"winapi error #{code}")


class HcsError(StoreError):
    r"""A function of Windows failed. ``code`` is its Win32 code, or another HRESULT as it is.

    The text is hcsshim's, in the form in which that reports this function: ``hcsshim::ImportLayer failed in Win32: …
    (0x3) rest``, ``hcsshim::ProcessBaseLayer C:\layers\4: …`` (``path``) or ``failed to import layer: …``
    (``wrapped``).
    """

    def __init__(
        self, title: str, code: int, rest: str = "", *, path: str | None = None, form: ErrorForm = "hcs"
    ) -> None:
        message = win32_message(code)
        if form == "path":
            text = f"{title} {path}: {message}"
        elif form == "wrapped":
            text = f"{title}: {message}"
        else:
            text = f"{title} failed in Win32: {message} (0x{code:x})"
        hint = f"see: wclayer explain '{title.rpartition(':')[2]} 0x{code:x}'"
        super().__init__(f"{text} {rest}" if rest else text, layer=path, hint=hint)
        self.title = title
        self.code = code
        self.rest = rest


class NotOffWindowsError(UnsupportedError):
    """Only Windows can do this. ``api`` is the function of Windows that does it there, ``library`` where it is."""

    def __init__(self, what: str, api: str, library: str, *, instead: str = "") -> None:
        super().__init__(
            f"{what} is done by {api} of {library}, which only Windows has", hint=instead or "do this step on Windows"
        )
        self.api = api
        self.library = library
