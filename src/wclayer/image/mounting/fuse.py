"""The one place that knows mfusepy: file system requests with types, and what mfusepy leaves out put in.

mfusepy is an optional package that finds libfuse at run time. It drops the flags of a rename, so a rename that must not
replace would; it hands times over with the two special values of ``utimensat`` mixed into the nanoseconds; and it never
fills attributes into a listing. These are done here.
"""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import struct
import sys
import threading
import time
from importlib import import_module
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from wclayer.errors import UnsupportedError

if TYPE_CHECKING:
    from wclayer.image.mounting.filesystem import FileSystem

__all__ = ["RENAME_NOREPLACE", "Stat", "fuse_problem", "serve"]

RENAME_NOREPLACE = 1
_UTIME_NOW, _UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_FILL_PLUS = 2  # FUSE_FILL_DIR_PLUS: the attributes are all there
_READ_PLUS = 1  # FUSE_READDIR_PLUS
_ENDING = (signal.SIGTERM, signal.SIGHUP) if sys.platform != "win32" else ()
_SIGNALLED = "8"  # what fuse_main returns when a signal ended it
_SPLICE_WRITE = 1 << 7  # FUSE_CAP_SPLICE_WRITE
_FROM_FILE = 2 | 4 | 8  # FUSE_BUF_IS_FD, FUSE_BUF_FD_SEEK, FUSE_BUF_FD_RETRY
# struct fuse_bufvec: count, index, offset; then one struct fuse_buf: size, flags, memory, file, position. In later
# versions of libfuse it has more at its end, all zero.
_VECTOR = struct.Struct("@NNNNiPiq")
_SPARE = 64
_DEVICE = Path("/dev/fuse")


class Stat(NamedTuple):
    """What ``stat`` shows; times in ns after 1970, ``size`` in bytes."""

    mode: int
    inode: int
    links: int
    size: int
    accessed: int
    modified: int
    changed: int


def fuse_problem() -> str | None:
    """Why nothing can be mounted here; None when it can."""
    if sys.platform != "linux":
        return "mounting needs Linux"
    if not _DEVICE.exists():
        return f"there is no {_DEVICE} here"
    try:
        mfusepy = _mfusepy()
    except ImportError:
        return "the package mfusepy is not installed: pip install 'wclayer[mount]'"
    except OSError as error:
        return f"libfuse is not installed: {error}"
    if mfusepy.fuse_version_major != 3:
        return f"libfuse {mfusepy.fuse_version_major} is too old; libfuse 3 is needed"
    if not os.access(_DEVICE, os.R_OK | os.W_OK):
        return f"{_DEVICE} may not be used here"
    return None


def serve(system: FileSystem, folder: Path, *, name: str, read_only: bool, allow_other: bool, cached: float) -> None:
    """Mount ``system`` on ``folder`` and answer until it is unmounted, one request after the other.

    ``cached`` is for how many seconds the kernel may remember names and attributes. Raises UnsupportedError when
    libfuse refuses.
    """
    mfusepy = _mfusepy()
    session: Any = mfusepy.FUSE
    numbers = count(1)
    listed: dict[int, list[tuple[str, Stat]]] = {}
    allocate = ctypes.CDLL(None).malloc
    allocate.restype, allocate.argtypes = ctypes.c_void_p, [ctypes.c_size_t]

    class Bridge(session):  # type: ignore[misc]
        def fgetattr(self, path: bytes | None, buffer: Any, info: Any) -> int:
            ctypes.memset(buffer, 0, ctypes.sizeof(mfusepy.c_stat))
            handle = info.contents.fh if info else None
            _fill(buffer.contents, system.stat(None if path is None else _text(path), handle))
            return 0

        def opendir(self, _path: bytes, info: Any) -> int:
            info.contents.fh = next(numbers)
            return 0

        def readdir_fuse_3(
            self, path: bytes | None, buffer: Any, filler: Any, offset: int, info: Any, flags: int
        ) -> int:
            number = info.contents.fh
            if not offset or number not in listed:
                if path is None:
                    raise OSError(errno.ENOENT, "the folder is gone")
                listed[number] = list(system.listing(_text(path)))
            # Attributes are taken only of entries that have an offset.
            plus = _FILL_PLUS if flags & _READ_PLUS else 0
            entries = listed[number]
            for place in range(offset, len(entries) + 2):
                if place < 2:
                    full = filler(buffer, (b".", b"..")[place], None, place + 1, 0)
                else:
                    entry, stat = entries[place - 2]
                    one = mfusepy.c_stat()
                    _fill(one, stat)
                    full = filler(buffer, _bytes(entry), one, place + 1, plus)
                if full:
                    break
            return 0

        def releasedir(self, _path: bytes | None, info: Any) -> int:
            listed.pop(info.contents.fh, None)
            return 0

        def read_buf(self, _path: bytes | None, target: Any, size: int, offset: int, info: Any) -> int:
            # libfuse moves the bytes out of the file itself, and frees what says where they are.
            place = allocate(_VECTOR.size + _SPARE)
            if not place:
                raise OSError(errno.ENOMEM, "no memory")
            vector = _VECTOR.pack(1, 0, 0, size, _FROM_FILE, 0, system.readable(info.contents.fh), offset)
            ctypes.memmove(place, vector + bytes(_SPARE), _VECTOR.size + _SPARE)
            ctypes.cast(target, ctypes.POINTER(ctypes.c_void_p))[0] = place
            return 0

        def rename_fuse_3(self, old: bytes, new: bytes, flags: int) -> int:
            system.rename(_text(old), _text(new), flags)
            return 0

        def truncate_fuse_3(self, path: bytes | None, size: int, info: Any) -> int:
            system.truncate(None if path is None else _text(path), size, info.contents.fh if info else None)
            return 0

        def utimens_fuse_3(self, path: bytes | None, buffer: Any, _info: Any) -> int:
            times = (buffer.contents.actime, buffer.contents.modtime) if buffer else (None, None)
            accessed, modified = (_moment(moment) for moment in times)
            system.utimens(None if path is None else _text(path), accessed, modified)
            return 0

    # libfuse ends cleanly for a signal that nobody else handles.
    handled = {number: signal.getsignal(number) for number in _ENDING} if _in_main_thread() else {}
    for number in handled:
        signal.signal(number, signal.SIG_DFL)
    try:
        Bridge(
            _Operations(system),
            os.fspath(folder),
            encoding="utf-8",
            errors="surrogatepass",
            foreground=True,
            nothreads=True,
            fsname=name.replace(",", " ").replace("\\", "/"),
            subtype="wclayer",
            ro=read_only,
            allow_other=allow_other,
            kernel_cache=read_only,
            entry_timeout=cached,
            attr_timeout=cached,
            negative_timeout=cached,
            use_ino=True,
            readdir_ino=True,
        )
    except RuntimeError as error:
        if str(error) != _SIGNALLED:
            raise UnsupportedError(f"libfuse cannot mount {folder} (it ended with {error})") from None
    finally:
        for number, handler in handled.items():
            signal.signal(number, handler)


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def _mfusepy() -> Any:
    """mfusepy, which has no types. Raises ImportError, or OSError where libfuse is missing."""
    return import_module("mfusepy")


class _Operations:
    """A file system in the form mfusepy asks for."""

    use_ns = True

    def __init__(self, system: FileSystem) -> None:
        self.listxattr = lambda path: system.listxattr(path)
        self.getxattr = lambda path, name: system.getxattr(path, name)
        self.removexattr = lambda path, name: system.removexattr(path, name)
        self.setxattr = lambda path, name, value, flags: system.setxattr(path, name, value, flags)
        self.readlink = lambda path: system.readlink(path)
        self.open = lambda path, flags: system.open(path, flags)
        self.write = lambda _path, data, offset, handle: system.write(handle, data, offset)
        self.flush = lambda _path, handle: system.flush(handle)
        self.fsync = lambda _path, _data_only, handle: system.fsync(handle)
        self.release = lambda _path, handle: system.release(handle)
        self.fsyncdir = lambda _path, _data_only, _handle: system.sync_folder()
        self.mkdir = lambda path, _mode: system.mkdir(path)
        self.unlink = lambda path: system.unlink(path)
        self.rmdir = lambda path: system.rmdir(path)
        self.symlink = lambda path, target: system.symlink(path, target)
        self.link = lambda path, existing: system.link(path, existing)
        self.chmod = lambda path, mode: system.chmod(path, mode)
        self.destroy = lambda _path: system.ended()
        # What is replaced above only has to be there.
        self.getattr = self.readdir = self.rename = self.truncate = self.utimens = self.readlink
        self.opendir = self.releasedir = self.read_buf = self.readlink
        self._system = system

    def init_with_config(self, connection: Any, _config: Any) -> None:
        if connection is not None:
            connection.want |= connection.capable & _SPLICE_WRITE
        self._system.started()

    def create(self, path: str, mode: int) -> int:
        return self._system.create(path, mode)

    def mknod(self, path: str, mode: int, _device: int) -> int:
        if mode & 0o170000 not in (0, 0o100000):
            raise OSError(errno.EPERM, "a layer has no devices, pipes or sockets")
        self._system.release(self._system.create(path, mode))
        return 0

    def chown(self, _path: str | None, _user: int, _group: int) -> int:
        return 0  # owners are in security descriptors here; tools that copy as root must not fail for that

    def statfs(self, _path: str) -> dict[str, int]:
        space = self._system.space()
        names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree", "f_favail")
        return {"f_namemax": 255, **{name: getattr(space, name) for name in names}}


def _text(path: bytes) -> str:
    try:
        return path.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        raise OSError(errno.EILSEQ, "a name that is no UTF-8") from None


def _bytes(name: str) -> bytes:
    return name.encode("utf-8", "surrogatepass")


def _fill(target: Any, stat: Stat) -> None:
    target.st_mode, target.st_ino, target.st_nlink, target.st_size = stat.mode, stat.inode, stat.links, stat.size
    target.st_uid, target.st_gid = _OWNER
    target.st_blksize = 1 << 17
    target.st_blocks = (stat.size + 511) >> 9
    for moment, ns in (
        (target.st_atimespec, stat.accessed),
        (target.st_mtimespec, stat.modified),
        (target.st_ctimespec, stat.changed),
    ):
        moment.tv_sec, moment.tv_nsec = divmod(ns, 1_000_000_000)


def _moment(given: Any) -> int | None:
    if given is None or given.tv_nsec == _UTIME_NOW:
        return time.time_ns()
    return None if given.tv_nsec == _UTIME_OMIT else given.tv_sec * 1_000_000_000 + given.tv_nsec


_OWNER = (os.getuid(), os.getgid()) if sys.platform != "win32" else (0, 0)
