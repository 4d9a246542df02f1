"""Calling Windows libraries, and being importable where there are none.

A library is any object with functions as attributes: a ``ctypes.WinDLL`` on Windows. Arguments are always explicit
ctypes objects, so nothing depends on declared prototypes. A wide string is UTF-16 on every system, which is not what
``ctypes.c_wchar`` is off Windows.
"""

from __future__ import annotations

import ctypes
from typing import Any

from wclayer.errors import UnsupportedError, UsageError
from wclayer.hcs.failures import ErrorForm, HcsError, NotOffWindowsError, win32_code

__all__ = ["Library", "WideString", "co_task_mem_free", "load_library", "wide_at"]

_SEARCH_SYSTEM32 = 0x800
_MAX_TEXT = 1 << 20  # UTF-16 units


class WideString:
    """``text`` as a UTF-16 string with a NUL that lives as long as this object; pass :attr:`pointer`.

    Raises UsageError for text that holds a NUL.
    """

    def __init__(self, text: str) -> None:
        if "\0" in text:
            raise UsageError(f"{text!r} holds a NUL, which no Windows string can")
        data = text.encode("utf-16-le", "surrogatepass") + b"\0\0"
        self.text = text
        self._buffer = (ctypes.c_uint16 * (len(data) // 2)).from_buffer_copy(data)

    @property
    def address(self) -> int:
        """Where it lies."""
        return ctypes.addressof(self._buffer)

    @property
    def pointer(self) -> ctypes.c_void_p:
        """The argument of a call."""
        return ctypes.c_void_p(self.address)


def wide_at(address: int) -> str:
    """The UTF-16 text at ``address``, up to its NUL."""
    units = (ctypes.c_uint16 * _MAX_TEXT).from_address(address)
    found = []
    for unit in units:
        if not unit:
            break
        found.append(unit.to_bytes(2, "little"))
    return b"".join(found).decode("utf-16-le", "surrogatepass")


class Library:
    """A library whose functions return an HRESULT, or with ``returns="win32"`` a Win32 code."""

    def __init__(self, name: str, functions: Any) -> None:
        self.name = name
        self._functions = functions

    def has(self, name: str) -> bool:
        """Whether this Windows has the function."""
        return getattr(self._functions, name, None) is not None

    def function(self, name: str) -> Any:
        """The function; UnsupportedError when this Windows does not have it."""
        function = getattr(self._functions, name, None)
        if function is None:
            raise UnsupportedError(f"{self.name} of this Windows has no {name}", hint="a newer Windows may have it")
        return function

    def call(self, name: str, *arguments: Any) -> int:
        """Call ``name`` and return the code of its failure as hcsshim reports it, 0 for success."""
        result = int(self.function(name)(*arguments)) & 0xFFFFFFFF
        return win32_code(result) if result >= 0x80000000 else 0

    def call_win32(self, name: str, *arguments: Any) -> int:
        """The same for a function that returns a Win32 code."""
        return int(self.function(name)(*arguments)) & 0xFFFFFFFF

    def check(self, title: str, name: str, *arguments: Any, path: str, rest: str = "", form: ErrorForm = "hcs") -> None:
        """Call ``name``; HcsError with ``title`` when it fails."""
        code = self.call(name, *arguments)
        if code:
            raise HcsError(title, code, rest, path=path, form=form)


def load_library(name: str) -> Library:
    """The system library ``name``, from the system folder and nowhere else. NotOffWindowsError off Windows."""
    loader = getattr(ctypes, "WinDLL", None)
    if loader is None:
        raise NotOffWindowsError("this", "any function", name)
    try:
        return Library(name, loader(name, winmode=_SEARCH_SYSTEM32, use_last_error=True))
    except OSError as error:
        raise UnsupportedError(
            f"{name} cannot be loaded: {error}", hint="enable the Containers feature of Windows"
        ) from error


def co_task_mem_free(address: int) -> None:
    """Free what a function of the service returned."""
    load_library("ole32.dll").function("CoTaskMemFree")(ctypes.c_void_p(address))
