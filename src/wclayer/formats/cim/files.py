"""The files that an image consists of: which are its own, how large they are, how all of them go away.

An image is one file with a header; everything else is found through the region sets that the header names, in the same
directory. Whoever removes an image removes the header first, so that no image is ever half there. What was begun and
not finished lies under a name that only :func:`leftover_name` makes: a header whose regions are to go away unless an
image of the directory needs them. That is how both an unfinished image and a replaced one are cleared away, however
often the process dies over it.

Source: hcsshim ``pkg/cimfs`` (``DestroyCim``, ``GetCimUsage``).
"""

from __future__ import annotations

import os
import re
import secrets
import uuid
from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError, WclayerError
from wclayer.formats.cim.lock import LOCK_NAME, DirectoryLock
from wclayer.formats.cim.reader import read_header
from wclayer.formats.cim.structures import FilesystemHeader, RegionSet, object_id_name, region_name
from wclayer.formats.folder.door import store_error

__all__ = [
    "cim_usage",
    "destroy_cim",
    "forks_of",
    "header_of",
    "is_reserved",
    "leftover_name",
    "referenced_sets",
    "region_files",
    "remove_regions",
    "sweep_cims",
    "sweep_locked",
    "synchronise_directory",
]

_IS_LEFTOVER = re.compile(r"\.wclayer-[0-9a-f]{16}\.cim\.part").fullmatch
_GUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_REGION_FILE = re.compile(rf"(?:region|objectid)_({_GUID})_[0-9]+").fullmatch


def leftover_name() -> str:
    """A new name for a header that is no image (any more, or yet)."""
    return f".wclayer-{secrets.token_hex(8)}.cim.part"


def is_reserved(name: str) -> bool:
    """Whether an image cannot have the file name ``name`` because other files of images have such names."""
    return name == LOCK_NAME or bool(_REGION_FILE(name) or _IS_LEFTOVER(name))


def header_of(path: Path) -> FilesystemHeader:
    """The header of the image ``path``, of any known version.

    Raises NotFoundError, StoreError, UnsupportedError, and FormatError when it is no image.
    """
    if not os.path.lexists(path):
        raise NotFoundError(f"there is no image {path}")
    return read_header(path, version_1=True)


def destroy_cim(path: Path | str) -> list[Path]:
    """Remove the image ``path`` with its own regions; returns what was removed, in that order.

    Regions of parents stay, and so do own ones that another image of the directory has as its own, too. Forks of the
    image (:func:`forks_of`) cannot be read any more. From the first moment on the image is gone under its name; what
    cannot be removed then is the first error, raised when all else is gone, and left to :func:`sweep_cims`. Raises
    NotFoundError, FormatError when ``path`` is no image, StoreError, also while another process writes in the
    directory.
    """
    path = Path(os.path.abspath(path))
    header = header_of(path)
    with DirectoryLock(path.parent):
        hidden = path.with_name(leftover_name())
        try:
            os.rename(path, hidden)
        except OSError as error:
            raise store_error(error, "cannot remove", os.fsencode(path), "") from error
        kept = {image.own.guid for _, image in _images(path.parent)}
        removed = [] if header.own.guid in kept else remove_regions(path.parent, header.own.guid)
        _remove(hidden)
        synchronise_directory(path.parent)
    return [*removed, path]


def cim_usage(path: Path | str) -> int:
    """Bytes that the own region and object id files of the image ``path`` have; neither its parents' nor its header.

    Raises NotFoundError, FormatError, StoreError.
    """
    path = Path(path)
    header = header_of(path)
    total = 0
    for number in range(header.own.size):
        for name in (region_name(header.own.guid, number), object_id_name(header.own.guid, number)):
            try:
                total += path.with_name(name).stat().st_size
            except FileNotFoundError:
                continue  # hcsshim counts what is there, too
            except OSError as error:
                raise store_error(error, "cannot look at", os.fsencode(path.with_name(name)), "") from error
    return total


def forks_of(path: Path | str) -> list[Path]:
    """The images in the directory of the image ``path`` that need its regions: forks, and forks of those.

    Raises NotFoundError, FormatError, StoreError.
    """
    path = Path(os.path.abspath(path))
    guid = header_of(path).own.guid
    return sorted(
        found
        for found, header in _images(path.parent)
        if found != path and any(parent.guid == guid for parent in header.parents)
    )


def sweep_cims(directory: Path | str) -> list[Path]:
    """Remove what processes that died left of unfinished and removed images in ``directory``; returns what it was.

    Raises NotFoundError, StoreError, also while another process writes there.
    """
    directory = Path(os.path.abspath(directory))
    with DirectoryLock(directory):
        return sweep_locked(directory)


def sweep_locked(directory: Path) -> list[Path]:
    """The same for whoever holds the lock of ``directory``. Raises StoreError."""
    leftovers = [directory / name for name in sorted(_listed(directory)) if _IS_LEFTOVER(name)]
    if not leftovers:
        return []
    needed = referenced_sets(directory)
    removed: list[Path] = []
    for leftover in leftovers:
        try:
            guid = header_of(leftover).own.guid
        except (FormatError, UnsupportedError):
            guid = None  # its process died before it had written a header, and regions come after that
        if guid is not None and guid not in needed:
            removed += remove_regions(directory, guid)
        _remove(leftover)
        removed.append(leftover)
    return removed


def referenced_sets(directory: Path) -> set[uuid.UUID]:
    """The GUIDs of all region sets that images in ``directory`` name, as their own or as a parent's."""
    found: set[uuid.UUID] = set()
    for _, header in _images(directory):
        sets: tuple[RegionSet, ...] = (header.own, *header.parents)
        found.update(one.guid for one in sets)
    return found


def region_files(directory: Path, guid: uuid.UUID) -> list[Path]:
    """All region and object id files of the set ``guid`` that are in ``directory``, in the order of their removal.

    Raises StoreError.
    """
    wanted = str(guid)
    matches = map(_REGION_FILE, sorted(_listed(directory), reverse=True))  # regions, then object ids
    return [directory / match[0] for match in matches if match is not None and match[1] == wanted]


def remove_regions(directory: Path, guid: uuid.UUID) -> list[Path]:
    """Remove all region and object id files of the set ``guid``; returns them.

    Goes on after an error and raises the first as StoreError.
    """
    removed: list[Path] = []
    first: StoreError | None = None
    for path in region_files(directory, guid):
        try:
            _remove(path)
        except StoreError as error:
            first = first or error
        else:
            removed.append(path)
    if first is not None:
        raise first
    return removed


def synchronise_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable, where a system can do that for directories. Raises StoreError."""
    if os.name == "nt":
        return
    try:
        descriptor = os.open(directory, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise store_error(error, "cannot synchronise", os.fsencode(directory), "") from error


def _images(directory: Path) -> Iterator[tuple[Path, FilesystemHeader]]:
    """All images in ``directory``, whatever their names; what is none, or cannot be read, is passed over."""
    for name in sorted(_listed(directory)):
        if is_reserved(name):
            continue
        path = directory / name
        if path.is_symlink() or not path.is_file():
            continue
        try:
            yield path, header_of(path)
        except WclayerError:
            continue


def _listed(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except OSError as error:
        raise store_error(error, "cannot list", os.fsencode(directory), "") from error


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise store_error(error, "cannot remove", os.fsencode(path), "") from error
