"""``openat2``: a folder is opened by a path that can neither leave where it begins nor pass through a link.

The C library has no function for this system call of Linux 5.6, so it is called by its number (``linux/openat2.h``).
"""

from __future__ import annotations

import ctypes
import errno
import os
from functools import cache

__all__ = ["DIRECTORY_FLAGS", "open_folder_beneath"]

DIRECTORY_FLAGS = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)

_SYS_OPENAT2 = 437  # the same number on every architecture
_RESOLVE = 0x08 | 0x04 | 0x02  # BENEATH, NO_SYMLINKS, NO_MAGICLINKS
_ATTEMPTS = 16  # EAGAIN: something was renamed while the kernel walked


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


def open_folder_beneath(here: int, path: bytes) -> int:
    """A descriptor of the folder ``path`` below the open folder ``here``.

    Raises OSError: ENOSYS where the kernel has no such call, EPERM where a sandbox forbids it.
    """
    how = _OpenHow(DIRECTORY_FLAGS, 0, _RESOLVE)
    number = errno.EAGAIN
    for _attempt in range(_ATTEMPTS):
        descriptor: int = _libc().syscall(_SYS_OPENAT2, here, path, ctypes.byref(how), ctypes.sizeof(how))
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EINTR):
            break
    raise OSError(number, os.strerror(number))


@cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
