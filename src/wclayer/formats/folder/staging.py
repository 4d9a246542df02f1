"""A folder that comes into being whole, or not at all.

It grows under a hidden name beside its destination and is renamed when it is complete. The builder holds a lock on it
(``flock`` on the folder itself, so no file needs to be removed before the rename): a staging folder without a lock was
left by a process that died, and :func:`sweep` removes it. Removal goes the same way backwards, so a layer is never
half there under its own name.
"""

from __future__ import annotations

import atexit
import errno
import os
import re
import stat
import sys
from itertools import count, islice
from pathlib import Path

from wclayer.errors import NotFoundError, StoreError
from wclayer.formats.folder.door import DIRECTORY_FLAGS, NO_FOLLOW, check_platform, store_error

if sys.platform != "win32":
    import fcntl

__all__ = ["Staging", "remove_layer_folder", "sweep"]

_IS_STAGING = re.compile(r"\..*\.wclayer-[0-9a-f]{16}", re.DOTALL).fullmatch
_BATCH = 4096

# Process and path of what is neither published nor discarded. An interruption may come at any moment, also between the
# making of a folder and the statement that would remove it; what it left is removed when the process ends.
_unfinished: set[tuple[int, bytes]] = set()


@atexit.register
def _remove_unfinished() -> None:
    for process, path in _unfinished:
        if process != os.getpid():
            continue  # it belongs to the process that this one was forked from
        try:
            parent = os.open(os.path.dirname(path), DIRECTORY_FLAGS)
            try:
                _remove(parent, os.path.basename(path))
            finally:
                os.close(parent)
        except OSError:
            continue  # gone already, or a sweep has to try again


class Staging:
    """A new folder beside ``destination``, locked; the parent of ``destination`` must exist.

    ``root`` is its descriptor and ``path`` its present place. ``mask`` holds the permission bits that the umask of this
    process (or a default ACL) lets through. Raises StoreError, at once when ``destination`` is taken.
    """

    def __init__(self, destination: Path) -> None:
        check_platform()
        self.destination = Path(os.path.abspath(destination))
        self._name = os.fsencode(self.destination.name)
        try:
            self._parent = os.open(self.destination.parent, DIRECTORY_FLAGS)
        except OSError as error:
            raise store_error(error, "cannot open the folder", os.fsencode(self.destination.parent), "") from error
        try:
            self._refuse_taken()
            self._staged, self.root = self._make()
        except BaseException:
            os.close(self._parent)
            raise
        self.mask = stat.S_IMODE(os.fstat(self.root).st_mode) | 0o700
        self.path = self.destination.parent / os.fsdecode(self._staged)
        self._live = True

    def publish(self) -> None:
        """Give the folder its own name, durably, and close it; what it holds the caller has synchronised.

        An empty folder of that name is replaced. Anything else stays as it is, and StoreError is raised.
        """
        try:
            # POSIX rename replaces an empty folder and nothing else by a folder, in one step.
            os.rename(self._staged, self._name, src_dir_fd=self._parent, dst_dir_fd=self._parent)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise self._taken() from error
            raise store_error(error, "cannot rename to", os.fsencode(self.destination), "") from error
        self._live = False
        _unfinished.discard((os.getpid(), os.fsencode(self.path)))
        try:
            os.fsync(self._parent)
        except OSError as error:
            raise store_error(error, "cannot synchronise", os.fsencode(self.destination.parent), "") from error
        finally:
            self._close()

    def discard(self) -> None:
        """Remove the folder with all it holds. Harmless when called twice and after :meth:`publish`."""
        if not self._live:
            return
        self._live = False
        try:
            _remove(self._parent, self._staged)
            _unfinished.discard((os.getpid(), os.fsencode(self.path)))
        except FileNotFoundError:
            return  # it was published, and interrupted right then
        except OSError as error:
            raise store_error(error, "cannot remove", os.fsencode(self.path), "") from error
        finally:
            self._close()

    def _close(self) -> None:
        os.close(self.root)
        os.close(self._parent)

    def _refuse_taken(self) -> None:
        try:
            descriptor = os.open(self._name, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=self._parent)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._taken() from error
        try:
            with os.scandir(descriptor) as entries:
                if next(entries, None) is not None:
                    raise self._taken()
        finally:
            os.close(descriptor)

    def _taken(self) -> StoreError:
        return StoreError(f"{self.destination} exists and is not an empty folder", hint="remove it or choose another")

    def _make(self) -> tuple[bytes, int]:
        for _attempt in range(16):
            name = _staging_name(self._name)
            path = os.path.join(os.fsencode(self.destination.parent), name)
            _unfinished.add((os.getpid(), path))
            try:
                os.mkdir(name, 0o777, dir_fd=self._parent)
                descriptor = os.open(name, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=self._parent)
            except OSError as error:
                _unfinished.discard((os.getpid(), path))
                if error.errno in (errno.EEXIST, errno.ENOENT):  # a sweep may remove it before it is locked
                    continue
                raise store_error(error, "cannot make a folder beside", os.fsencode(self.destination), "") from error
            if _lock(descriptor) is not False and os.fstat(descriptor).st_nlink:
                return name, descriptor
            _unfinished.discard((os.getpid(), path))
            os.close(descriptor)
        raise StoreError(f"cannot make a folder beside {self.destination}: something removes it at once")


def sweep(parent: Path) -> list[Path]:
    """Remove the staging folders in ``parent`` that no living process holds; returns their paths.

    Where folders cannot be locked (some network file systems) nothing is removed. Raises StoreError.
    """
    check_platform()
    try:
        descriptor = os.open(parent, DIRECTORY_FLAGS)
    except OSError as error:
        raise store_error(error, "cannot open the folder", os.fsencode(parent), "") from error
    try:
        leftovers = sorted(filter(_IS_STAGING, os.listdir(descriptor)))
        return [parent / name for name in leftovers if _sweep_one(descriptor, os.fsencode(name))]
    except OSError as error:
        raise store_error(error, "cannot remove a leftover in", os.fsencode(parent), "") from error
    finally:
        os.close(descriptor)


def remove_layer_folder(path: Path) -> None:
    """Remove the folder ``path``, read-only as it is; from the first moment on it is gone under its name.

    Raises NotFoundError, StoreError.
    """
    check_platform()
    path = Path(os.path.abspath(path))
    name = os.fsencode(path.name)
    hidden = _staging_name(name)
    try:
        parent = os.open(path.parent, DIRECTORY_FLAGS)
        try:
            folder = os.open(name, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=parent)
            try:
                _lock(folder)  # so that no sweep removes it at the same time
                os.rename(name, hidden, src_dir_fd=parent, dst_dir_fd=parent)
                _remove(parent, hidden)
            finally:
                os.close(folder)
        finally:
            os.close(parent)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no {path}") from error
    except OSError as error:
        raise store_error(error, "cannot remove", os.fsencode(path), "") from error


def _staging_name(name: bytes) -> bytes:
    shown = name[:128].decode("utf-8", "ignore").encode()
    return b".%b.wclayer-%b" % (shown, os.urandom(8).hex().encode())


def _lock(descriptor: int) -> bool | None:
    """Lock a folder: True when this worked, False when another process holds it, None when it cannot be known."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in (errno.EWOULDBLOCK, errno.EAGAIN) else None
    return True


def _sweep_one(parent: int, name: bytes) -> bool:
    try:
        descriptor = os.open(name, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=parent)
    except OSError:
        return False  # gone meanwhile, or no folder and therefore none of ours
    try:
        if _lock(descriptor) is not True:
            return False
        here = os.stat(name, dir_fd=parent, follow_symlinks=False)
        if here.st_ino != os.fstat(descriptor).st_ino:
            return False
        _remove(parent, name)
    except FileNotFoundError:
        return False  # published or removed between listing and locking
    finally:
        os.close(descriptor)
    return True


def _remove(parent: int, name: bytes) -> None:
    """Remove the folder ``name`` with all below it, however deep, following no link; raises OSError.

    Folders in folders are first moved up to the top, so one level is all that is ever walked.
    """
    root = os.open(name, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=parent)
    try:
        os.fchmod(root, 0o700)
        numbers = count()
        prefix = os.urandom(8).hex()
        while batch := _listed(root):
            for leaf, is_directory in batch:
                if is_directory:
                    _empty(leaf, root, prefix, numbers)
                    os.rmdir(leaf, dir_fd=root)
                else:
                    os.unlink(leaf, dir_fd=root)
    finally:
        os.close(root)
    os.rmdir(name, dir_fd=parent)


def _empty(leaf: str, root: int, prefix: str, numbers: count[int]) -> None:
    here = os.open(leaf, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=root)
    try:
        os.fchmod(here, 0o700)
        while batch := _listed(here):
            for child, is_directory in batch:
                if not is_directory:
                    os.unlink(child, dir_fd=here)
                elif not _remove_empty(child, here):
                    _make_writable(child, here)
                    os.rename(child, f"{prefix}-{next(numbers)}", src_dir_fd=here, dst_dir_fd=root)
    finally:
        os.close(here)


def _remove_empty(leaf: str, parent: int) -> bool:
    try:
        os.rmdir(leaf, dir_fd=parent)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            return False
        raise
    return True


def _make_writable(leaf: str, parent: int) -> None:
    """A folder that may not be written cannot be moved to another one either: its ``..`` would change."""
    descriptor = os.open(leaf, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=parent)
    try:
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def _listed(directory: int) -> list[tuple[str, bool]]:
    with os.scandir(directory) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in islice(entries, _BATCH)]
