"""A transport folder and the manifest beside it, given their names: two renames that have to look like one.

The manifest comes first, so a folder that has its name has its manifest too; one without a folder says nothing and is
replaced by the next. A lock on the folder around both keeps two writers of one name apart, so that nobody's folder gets
the manifest of somebody else's.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder.door import DIRECTORY_FLAGS, store_error
from wclayer.formats.volume import Manifest

if sys.platform != "win32":
    import fcntl

__all__ = ["manifest_beside", "publish_transport", "refuse_foreign_manifest"]


def manifest_beside(folder: Path) -> Path:
    """Where the manifest of a transport folder lies: beside it, under its name and ``.ntfs``."""
    return folder.with_name(f"{folder.name}.ntfs")


def refuse_foreign_manifest(folder: Path) -> None:
    """Raises StoreError when the place of the manifest of ``folder`` is taken by anything but a manifest."""
    place = manifest_beside(folder)
    if not os.path.lexists(place):
        return
    try:
        if place.is_file() and not place.is_symlink():
            Manifest(place, read_only=True).close()
            return
    except WclayerError as error:
        raise _taken(place) from error
    raise _taken(place)


def publish_transport(staged: Path, manifest: Path, folder: Path) -> None:
    """Rename ``staged`` to ``folder`` and the closed ``manifest`` to its place beside it, durably, both or neither.

    ``folder`` must not exist, or be empty. Raises StoreError.
    """
    place = manifest_beside(folder)
    try:
        with _locked(folder.parent) as parent:
            if folder.is_dir() and any(folder.iterdir()):
                raise StoreError(f"{folder} exists and is not an empty folder", hint="remove it or choose another")
            refuse_foreign_manifest(folder)
            _synchronise(manifest)
            try:
                os.replace(manifest, place)
                os.rename(staged, folder)
            except BaseException:
                if staged.exists():  # an interruption may come when all is done
                    with suppress(FileNotFoundError):
                        place.unlink()
                raise
            os.fsync(parent)
    except OSError as error:
        raise store_error(error, "cannot rename to", os.fsencode(folder), "") from error


@contextmanager
def _locked(folder: Path) -> Iterator[int]:
    """The folder, open and, where it can be, locked."""
    descriptor = os.open(folder, DIRECTORY_FLAGS)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _synchronise(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _taken(place: Path) -> StoreError:
    return StoreError(f"{place} exists and is no manifest of a transport folder", hint="choose another name")
