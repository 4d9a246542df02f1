r"""Paths as the Windows calls want them: absolute, clean, and in the ``\\?\`` form that has no limit of 260 characters.

Pure text, the same on every system, and never meant for a path of this machine. hcsshim (``internal/longpath``) leaves
an absolute path as it is, which turns ``C:/a/../b`` into a name that Windows then refuses; here it is cleaned first.
"""

from __future__ import annotations

import ntpath

from wclayer.errors import UsageError

__all__ = ["long_path"]

_DEVICE_PREFIXES = ("\\\\?\\", "\\\\.\\")
_LONG, _LONG_UNC = "\\\\?\\", "\\\\?\\UNC\\"


def long_path(path: str, *, current_directory: str) -> str:
    r"""The ``\\?\`` form of ``path``, which is a Windows path.

    ``current_directory`` is what a relative path is relative to, itself absolute; of ``\x`` it lends the drive. A path
    that begins with ``\\?\`` or ``\\.\`` is returned as it is. Raises UsageError when ``path`` has a drive but no root
    (``C:x``), which means nothing without the current folder of that drive, when it holds a NUL, and when
    ``current_directory`` is not absolute.
    """
    if "\0" in path:
        raise UsageError(f"the path {path!r} holds a NUL")
    if path.startswith(_DEVICE_PREFIXES):
        return path
    path = path.replace("/", "\\")
    drive, rest = ntpath.splitdrive(path)
    if not drive or not rest.startswith("\\"):
        base = current_directory.replace("/", "\\").removeprefix(_LONG)
        base_drive, base_rest = ntpath.splitdrive(base)
        if not base_drive or not base_rest.startswith("\\"):
            raise UsageError(f"{current_directory!r} is no absolute Windows path")
        if drive and drive.lower() != base_drive.lower():
            raise UsageError(f"the path {path!r} has a drive but no root", hint="write the whole path")
        path = base_drive + rest if rest.startswith("\\") else f"{base_drive}{base_rest}\\{rest}"
    path = ntpath.normpath(path)
    return _LONG_UNC + path[2:] if path.startswith("\\\\") else _LONG + path
