"""Privileges of Windows, held by the present thread for as long as a call needs them.

Importing opens files past their access lists (SeBackup, SeRestore) and writes audit lists, which on a mounted disk
needs SeSecurity, too. The thread gets a token of its own, so that two imports in one process do not take the privileges
away from each other.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from wclayer.hcs.failures import HcsError
from wclayer.hcs.native import Library, WideString, load_library

__all__ = ["EXPORT_PRIVILEGES", "IMPORT_PRIVILEGES", "VOLUME_PRIVILEGES", "TokenCalls", "privileges"]

EXPORT_PRIVILEGES = ("SeBackupPrivilege",)
IMPORT_PRIVILEGES = ("SeBackupPrivilege", "SeRestorePrivilege", "SeSecurityPrivilege")
VOLUME_PRIVILEGES = ("SeManageVolumePrivilege",)

_SECURITY_IMPERSONATION = 2
_TOKEN_ADJUST_AND_QUERY = 0x28
_ENABLED = 2
_NOT_ALL_ASSIGNED = 1300
_TITLE = "AdjustTokenPrivileges"


class _LuidAndAttributes(ctypes.Structure):
    _fields_ = (("low", ctypes.c_uint32), ("high", ctypes.c_int32), ("attributes", ctypes.c_uint32))


@dataclass(frozen=True, slots=True)
class TokenCalls:
    """The libraries that are called, and how the code of the last failure is found."""

    advapi32: Library
    kernel32: Library
    last_error: Callable[[], int]

    @classmethod
    def of_windows(cls) -> TokenCalls:
        """Those of this Windows; NotOffWindowsError elsewhere."""
        kernel32 = load_library("kernel32.dll")
        kernel32.function("GetCurrentThread").restype = ctypes.c_void_p
        get_last_error: Callable[[], int] = getattr(ctypes, "get_last_error")  # noqa: B009 - only there on Windows
        return cls(load_library("advapi32.dll"), kernel32, get_last_error)


@contextmanager
def privileges(names: Sequence[str], calls: TokenCalls) -> Iterator[None]:
    """Hold the privileges ``names`` in this thread until the block ends. HcsError when the process has not got them."""
    _require(calls, calls.advapi32.call_win32("ImpersonateSelf", ctypes.c_uint32(_SECURITY_IMPERSONATION)))
    try:
        token = ctypes.c_void_p(None)
        thread = ctypes.c_void_p(calls.kernel32.function("GetCurrentThread")())
        opened = calls.advapi32.call_win32(
            "OpenThreadToken", thread, ctypes.c_uint32(_TOKEN_ADJUST_AND_QUERY), ctypes.c_uint32(0), ctypes.byref(token)
        )
        _require(calls, opened)
        try:
            _enable(names, token, calls)
        finally:
            calls.kernel32.function("CloseHandle")(token)
        yield
    finally:
        calls.advapi32.function("RevertToSelf")()


def _enable(names: Sequence[str], token: ctypes.c_void_p, calls: TokenCalls) -> None:
    entries = (_LuidAndAttributes * len(names))()
    for entry, name in zip(entries, names, strict=True):
        text = WideString(name)
        found = calls.advapi32.call_win32(
            "LookupPrivilegeValueW", ctypes.c_void_p(None), text.pointer, ctypes.byref(entry)
        )
        _require(calls, found)
        entry.attributes = _ENABLED
    state = ctypes.create_string_buffer(len(names).to_bytes(4, "little") + bytes(entries))
    adjusted = calls.advapi32.call_win32(
        "AdjustTokenPrivileges",
        token,
        ctypes.c_uint32(0),
        ctypes.byref(state),
        ctypes.c_uint32(0),
        ctypes.c_void_p(None),
        ctypes.c_void_p(None),
    )
    _require(calls, adjusted)
    if calls.last_error() == _NOT_ALL_ASSIGNED:
        raise HcsError(_TITLE, 0x522, f"({', '.join(names)})")


def _require(calls: TokenCalls, done: int) -> None:
    if not done:
        raise HcsError(_TITLE, calls.last_error())
