"""The one door to the files of a layer: nothing opened, made or linked through it lies outside the layer's folder.

Every operation names a folder by its path below the root and a file by a single name in it. A folder is reached from
the held descriptor of the root without following any link: in one ``openat2`` call where the kernel has it, else
component by component with ``O_NOFOLLOW``. What happens then happens relative to the folder's descriptor, so there is
no moment between a check and its use.

All names are bytes. Not for use by several threads at once.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections import OrderedDict

from wclayer.errors import IntegrityError, StoreError, UnsupportedError
from wclayer.formats.folder.openat2 import DIRECTORY_FLAGS, open_folder_beneath

if sys.platform != "win32":
    import fcntl

__all__ = [
    "CREATE_FLAGS",
    "DIRECTORY_FLAGS",
    "NO_FOLLOW",
    "READ_FLAGS",
    "Door",
    "NameRefusedError",
    "NameTakenError",
    "check_platform",
    "joined",
    "readable",
    "seal_folder",
    "store_error",
]

NO_FOLLOW = getattr(os, "O_NOFOLLOW", 0)
CREATE_FLAGS = os.O_CREAT | os.O_EXCL | os.O_WRONLY | NO_FOLLOW | getattr(os, "O_CLOEXEC", 0)
READ_FLAGS = os.O_RDONLY | NO_FOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)

_FICLONE = 0x40049409  # linux/fs.h
_NO_NAMES = frozenset((b"", b".", b".."))
_LONGEST_PATH = 4000  # a single call takes less than PATH_MAX, 4096 bytes


class NameTakenError(StoreError):
    """Something of that name is there already."""


class NameRefusedError(StoreError):
    """The file system cannot hold such a name: too long, or not in its encoding."""


class Door:
    """Access to the tree below the open folder ``root``, which the caller keeps open and closes.

    ``where`` is the name of the layer in errors. At most ``capacity`` folders are held open: a descriptor that
    :meth:`directory` returned stays open at least until ``capacity`` other folders were asked for. New folders get the
    mode ``folder_mode``, as far as the umask lets it through.
    """

    def __init__(self, root: int, *, where: str, capacity: int = 96) -> None:
        check_platform()
        self.root = root
        self.where = where
        self.capacity = max(capacity, 4)
        self.folder_mode = 0o755
        self._open: OrderedDict[bytes, int] = OrderedDict()
        self._has_openat2 = sys.platform == "linux"
        self._can_clone = sys.platform == "linux"

    def close(self) -> None:
        """Close all folders but the root."""
        while self._open:
            os.close(self._open.popitem()[1])

    def directory(self, path: bytes) -> int:
        """The descriptor of the folder ``path``, ``b""`` being the root; the door keeps and closes it."""
        if not path:
            return self.root
        known = self._open
        descriptor = known.get(path)
        if descriptor is not None:
            known.move_to_end(path)
            return descriptor
        try:
            descriptor = self._reach(path)
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE) or not known:
                raise store_error(error, "cannot open the folder", path, self.where) from error
            self._shrink(len(known) // 2)
            return self.directory(path)
        self._shrink(self.capacity - 1)
        known[path] = descriptor
        return descriptor

    def forget(self, path: bytes) -> None:
        """Close what is held of the folder ``path`` and of those below it, since it is about to be removed."""
        inside = path + b"/"
        for known in [known for known in self._open if known == path or known.startswith(inside)]:
            os.close(self._open.pop(known))

    def make_directory(self, parent: bytes, leaf: bytes) -> None:
        """Make the folder ``leaf`` in ``parent``. Raises NameTakenError, NameRefusedError, StoreError."""
        try:
            os.mkdir(_checked(leaf), self.folder_mode, dir_fd=self.directory(parent))
        except OSError as error:
            raise store_error(error, "cannot make the folder", joined(parent, leaf), self.where) from error

    def create(self, parent: bytes, leaf: bytes) -> int:
        """A descriptor that writes the new, read-only file ``leaf`` in ``parent``; the caller closes it.

        Raises NameTakenError, NameRefusedError, StoreError.
        """
        try:
            return os.open(_checked(leaf), CREATE_FLAGS, 0o444, dir_fd=self.directory(parent))
        except OSError as error:
            raise store_error(error, "cannot create the file", joined(parent, leaf), self.where) from error

    def open(self, parent: bytes, leaf: bytes) -> int:
        """A descriptor that reads the ordinary file ``leaf`` in ``parent``; the caller closes it.

        Raises IntegrityError when it is missing or is no ordinary file.
        """
        return self._opened(parent, leaf)[0]

    def open_sized(self, parent: bytes, leaf: bytes) -> tuple[int, int]:
        """The same, and the size of the file in bytes."""
        descriptor, status = self._opened(parent, leaf)
        return descriptor, status.st_size

    def link(
        self, source: Door, source_parent: bytes, source_leaf: bytes, parent: bytes, leaf: bytes, *, size: int | None
    ) -> bool:
        """Make ``leaf`` in ``parent`` another name of the ordinary file ``source_leaf`` behind ``source``.

        The source must have ``size`` bytes; None for what was made through this door a moment ago, which needs no look.
        False when the file system cannot: another device, too many links, not permitted. Raises NameTakenError,
        NameRefusedError, StoreError, and IntegrityError when the source is not the file it should be.
        """
        here, new = self.directory(parent), joined(parent, leaf)
        try:
            os.link(
                source_leaf,
                _checked(leaf),
                src_dir_fd=source.directory(source_parent),
                dst_dir_fd=here,
                follow_symlinks=False,
            )
            if size is not None:
                # Looked at now and not before: what bears the new name cannot be exchanged any more.
                made = os.stat(leaf, dir_fd=here, follow_symlinks=False)
                if not stat.S_ISREG(made.st_mode) or made.st_size != size:
                    os.unlink(leaf, dir_fd=here)
                    raise source._not_the_file(source_parent, source_leaf, made, size)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.EXDEV, errno.EMLINK, errno.EPERM, errno.EACCES, errno.ENOTSUP):
                old, status = source._opened(source_parent, source_leaf)
                os.close(old)
                if size is not None and status.st_size != size:
                    raise source._not_the_file(source_parent, source_leaf, status, size) from error
                if error.errno != errno.ENOENT:
                    return False
            raise store_error(error, "cannot link the file", new, self.where) from error
        return True

    def clone(self, source: bytes, size: int, descriptor: int) -> bool:
        """Let the new file ``descriptor`` share the blocks of ``source``, an ordinary file of ``size`` bytes anywhere.

        False when the file system cannot (XFS and Btrfs can).
        """
        if not self._can_clone:
            return False
        try:
            old = os.open(source, READ_FLAGS)
        except OSError:
            return False
        try:
            status = os.fstat(old)
            if not stat.S_ISREG(status.st_mode) or status.st_size != size:
                return False
            fcntl.ioctl(descriptor, _FICLONE, old)
        except OSError as error:
            self._can_clone = error.errno == errno.EXDEV
            return False
        finally:
            os.close(old)
        return True

    def adopt(self, source: bytes, size: int, parent: bytes, leaf: bytes) -> bool:
        """Make ``leaf`` in ``parent`` another name of ``source``, an ordinary file of ``size`` bytes anywhere.

        False when it is no such file or the file system cannot link it. Raises NameTakenError, NameRefusedError.
        """
        here = self.directory(parent)
        try:
            os.link(source, _checked(leaf), dst_dir_fd=here, follow_symlinks=False)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENAMETOOLONG, errno.EILSEQ):
                raise store_error(error, "cannot link the file", joined(parent, leaf), self.where) from error
            return False
        status = os.stat(leaf, dir_fd=here, follow_symlinks=False)
        if stat.S_ISREG(status.st_mode) and status.st_size == size:
            return True
        os.unlink(leaf, dir_fd=here)
        return False

    def _opened(self, parent: bytes, leaf: bytes) -> tuple[int, os.stat_result]:
        path = joined(parent, leaf)
        try:
            descriptor = os.open(_checked(leaf), READ_FLAGS, dir_fd=self.directory(parent))
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):
                why = "is missing" if error.errno == errno.ENOENT else "is no ordinary file"
                raise IntegrityError(f"the file {why}", layer=self.where, path=readable(path)) from error
            raise store_error(error, "cannot open the file", path, self.where) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise IntegrityError("the file is no ordinary file", layer=self.where, path=readable(path))
        return descriptor, status

    def _not_the_file(self, parent: bytes, leaf: bytes, status: os.stat_result, size: int | None) -> IntegrityError:
        regular = stat.S_ISREG(status.st_mode)
        why = f"has {status.st_size} bytes instead of {size}" if regular else "is no ordinary file"
        return IntegrityError(f"the file {why}", layer=self.where, path=readable(joined(parent, leaf)))

    def _shrink(self, count: int) -> None:
        while len(self._open) > count:
            os.close(self._open.popitem(last=False)[1])

    def _reach(self, path: bytes) -> int:
        """Open ``path`` without following anything; raises OSError."""
        if any(component in (b"", b".", b"..") for component in path.split(b"/")):
            raise OSError(errno.EINVAL, "not a plain relative path")
        above, _, leaf = path.rpartition(b"/")
        parent = self._open.get(above) if above else self.root
        if parent is not None:
            return os.open(leaf, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=parent)  # one step needs no walk
        here, rest, owned = self.root, path, False
        try:
            while rest:
                head, rest = _cut(rest, _LONGEST_PATH)
                following = self._reach_at(here, head)
                if owned:
                    os.close(here)
                here, owned = following, True
        except OSError:
            if owned:
                os.close(here)
            raise
        return here

    def _reach_at(self, here: int, path: bytes) -> int:
        if self._has_openat2:
            try:
                return open_folder_beneath(here, path)
            except OSError as error:
                # No such call, or one that a sandbox forbids; a folder that may not be entered says EACCES.
                if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EAGAIN):
                    raise
                self._has_openat2 = error.errno == errno.EAGAIN
        step, owned = here, False
        try:
            for component in path.split(b"/"):
                following = os.open(component, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=step)
                if owned:
                    os.close(step)
                step, owned = following, True
        except OSError:
            if owned:
                os.close(step)
            raise
        return step


def check_platform() -> None:
    """Raises UnsupportedError where files cannot be named relative to an open folder, as on Windows."""
    if os.open not in os.supports_dir_fd or not NO_FOLLOW:
        raise UnsupportedError(
            "this system cannot open files relative to an open folder, without which a layer folder is not safe",
            hint="use Linux or macOS for layer folders",
        )


def seal_folder(door: Door, path: bytes, times: tuple[int, int], mode: int | None) -> None:
    """Set access and modification time (ns after 1970) of the folder ``path``, and its mode unless it is None.

    Raises StoreError.
    """
    try:
        if mode is None:
            parent, _, leaf = path.rpartition(b"/")
            os.utime(_checked(leaf), ns=times, dir_fd=door.directory(parent), follow_symlinks=False)
            return
        descriptor = door.directory(path)
        os.utime(descriptor, ns=times)
        os.fchmod(descriptor, mode)
    except OSError as error:
        raise store_error(error, "cannot seal the folder", path, door.where) from error


def store_error(error: OSError, action: str, path: bytes, where: str) -> StoreError:
    """``error`` as a StoreError that names ``path``, and the reason in the words of the system."""
    name = readable(path)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        reason = "no space left" if error.errno == errno.ENOSPC else "no space left in the quota"
        return StoreError(
            f"{action}: {reason} on the device", layer=where, path=name, hint="free some space or use another store"
        )
    kind = StoreError
    if error.errno == errno.EEXIST:
        kind = NameTakenError
    elif error.errno in (errno.ENAMETOOLONG, errno.EILSEQ):
        kind = NameRefusedError
    return kind(f"{action}: {error.strerror or error}", layer=where, path=name)


def readable(path: bytes) -> str:
    """``path`` for people, in an error."""
    return path.decode("utf-8", "backslashreplace")


def _checked(leaf: bytes) -> bytes:
    if leaf in _NO_NAMES or 0x2F in leaf or 0 in leaf:
        raise OSError(errno.EINVAL, "not a plain file name")
    return leaf


def joined(parent: bytes, leaf: bytes) -> bytes:
    """The path of ``leaf`` in the folder ``parent``, ``b""`` being the root."""
    return parent + b"/" + leaf if parent else leaf


def _cut(path: bytes, limit: int) -> tuple[bytes, bytes]:
    if len(path) <= limit:
        return path, b""
    cut = path.rfind(b"/", 0, limit)
    if cut <= 0:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return path[:cut], path[cut + 1 :]
