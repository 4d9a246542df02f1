"""Processing a base layer, as far as that can be done without Windows: the hives that child layers stand on.

Windows hard-links the five hives of the configuration folder to ``Hives/*_BASE`` and writes the ``layout`` marker
(hcsshim's ``internal/wclayer/cim`` does the same by itself). It also makes two disks, ``blank-base.vhdx`` and
``blank.vhdx``; those are the subject of :mod:`wclayer.formats.disk.scratch`.
"""

from __future__ import annotations

import os
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, StoreError, UsageError, WclayerError
from wclayer.formats.folder.door import DIRECTORY_FLAGS, NO_FOLLOW, Door, NameTakenError, store_error

__all__ = ["BASE_HIVES", "LAYOUT_MARKER", "process_base_layer"]

#: The hives of ``Files/Windows/System32/config`` and the names of their links in ``Hives``.
BASE_HIVES = {
    "DEFAULT": "DEFAULTUSER_BASE",
    "SAM": "SAM_BASE",
    "SECURITY": "SECURITY_BASE",
    "SOFTWARE": "SOFTWARE_BASE",
    "SYSTEM": "SYSTEM_BASE",
}
LAYOUT_MARKER = b"vhd-with-hives\n"

_CONFIG = b"Files/Windows/System32/config"
_HIVES, _LAYOUT, _INDEX = b"Hives", b"layout", "layer.db"
_SIGNATURE = b"regf"


def process_base_layer(path: Path) -> None:
    """Make the plain base folder ``path`` ready for layers above it. Nothing changes when it is so already.

    Raises NotFoundError when a hive is missing, FormatError when one is no hive (an empty file among them: children of
    such a base fail to import), UsageError for a layer folder with a ``layer.db``, which needs none of this.
    """
    if (path / _INDEX).exists():
        raise UsageError(f"{path} is a layer folder with {_INDEX}, which is ready as it is")
    try:
        root = os.open(path, DIRECTORY_FLAGS)
    except OSError as error:
        raise store_error(error, "cannot open the base layer", os.fsencode(path), "") from error
    door = Door(root, where=str(path))
    try:
        sizes = {name: _hive_size(door, name, path) for name in BASE_HIVES}
        _make_hives_folder(door)
        for name, link in BASE_HIVES.items():
            _link(door, name, link, sizes[name])
        _write_marker(door)
    finally:
        door.close()
        os.close(root)


def _hive_size(door: Door, name: str, path: Path) -> int:
    where = f"{_CONFIG.decode()}/{name}"
    try:
        descriptor = door.open(_CONFIG, name.encode())
    except WclayerError as error:
        raise NotFoundError(
            f"the base layer {path} has no hive {where}: {error.message}",
            hint="convert it to a base layer first, which makes the hives that are missing",
        ) from error
    try:
        if os.read(descriptor, len(_SIGNATURE)) != _SIGNATURE:
            raise FormatError("this is no registry hive", kind="hive", layer=str(path), path=where)
        return os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)


def _make_hives_folder(door: Door) -> None:
    try:
        door.make_directory(b"", _HIVES)
    except NameTakenError:
        os.close(_reopened(door))


def _reopened(door: Door) -> int:
    try:
        return os.open(_HIVES, DIRECTORY_FLAGS | NO_FOLLOW, dir_fd=door.root)
    except OSError as error:
        raise store_error(error, "cannot open the folder", _HIVES, door.where) from error


def _link(door: Door, name: str, link: str, size: int) -> None:
    try:
        linked = door.link(door, _CONFIG, name.encode(), _HIVES, link.encode(), size=size)
    except NameTakenError:
        if _same_file(door, name, link):
            return
        raise
    if not linked:
        raise StoreError(
            "the file system has no hard links, which the hives of a base layer are", layer=door.where, path=link
        )


def _same_file(door: Door, name: str, link: str) -> bool:
    first = os.stat(name, dir_fd=door.directory(_CONFIG), follow_symlinks=False)
    second = os.stat(link, dir_fd=door.directory(_HIVES), follow_symlinks=False)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _write_marker(door: Door) -> None:
    try:
        descriptor = door.create(b"", _LAYOUT)
    except NameTakenError:
        return
    try:
        os.write(descriptor, LAYOUT_MARKER)
    finally:
        os.close(descriptor)
