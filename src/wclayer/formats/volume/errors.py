"""What a volume says no with: the operation, the path, and the number that Windows has for the reason.

Callers of hcsshim match on Win32 codes, so every refusal carries the one that NTFS would have answered with.
"""

from __future__ import annotations

from wclayer.errors import StoreError, UnsafeEntryError

__all__ = [
    "ERROR_ACCESS_DENIED",
    "ERROR_ALREADY_EXISTS",
    "ERROR_DIRECTORY",
    "ERROR_DIR_NOT_EMPTY",
    "ERROR_FILENAME_EXCED_RANGE",
    "ERROR_FILE_NOT_FOUND",
    "ERROR_INVALID_NAME",
    "ERROR_INVALID_PARAMETER",
    "ERROR_PATH_NOT_FOUND",
    "ERROR_REPARSE_POINT_ENCOUNTERED",
    "UnsafePathError",
    "VolumeError",
]

ERROR_FILE_NOT_FOUND = 2
ERROR_PATH_NOT_FOUND = 3
ERROR_ACCESS_DENIED = 5
ERROR_INVALID_PARAMETER = 87
ERROR_INVALID_NAME = 123
ERROR_DIR_NOT_EMPTY = 145
ERROR_ALREADY_EXISTS = 183
ERROR_FILENAME_EXCED_RANGE = 206
ERROR_DIRECTORY = 267
ERROR_REPARSE_POINT_ENCOUNTERED = 4395

_REASONS = {
    ERROR_FILE_NOT_FOUND: "there is no such file",
    ERROR_PATH_NOT_FOUND: "the folder it should be in does not exist",
    ERROR_ACCESS_DENIED: "access is denied",
    ERROR_INVALID_PARAMETER: "the parameter is incorrect",
    ERROR_DIR_NOT_EMPTY: "the folder is not empty",
    ERROR_ALREADY_EXISTS: "something of that name is there already",
    ERROR_DIRECTORY: "it is no folder",
}


class VolumeError(StoreError):
    """An operation that cannot be done. ``winerror`` is the Win32 code that Windows would give."""

    def __init__(self, op: str, path: str, winerror: int, *, where: str = "", reason: str = "") -> None:
        text = reason or _REASONS.get(winerror, f"Windows error {winerror}")
        super().__init__(f"{op} {path}: {text}", layer=where or None)
        self.op = op
        self.winerror = winerror

    @property
    def is_missing(self) -> bool:
        """Whether it says that the file, or the folder it should be in, does not exist."""
        return self.winerror in (ERROR_FILE_NOT_FOUND, ERROR_PATH_NOT_FOUND)


class UnsafePathError(UnsafeEntryError):
    """A path that breaks the rules of ``safefile``, or one that would pass through a reparse point.

    ``winerror`` is the Win32 code of the refusal, None where the reference refuses before it asks Windows.
    """

    def __init__(self, op: str, path: str, reason: str, winerror: int | None = None, *, where: str = "") -> None:
        super().__init__(f"{op} {path}: {reason}", layer=where or None)
        self.op = op
        self.winerror = winerror
