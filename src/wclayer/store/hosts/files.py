"""The files of a host, wherever they are: a folder they were copied to, or the file system of a disk image.

Whoever reads a store asks for two things only: what a folder holds, with what each of it is, and the bytes of a file.
Paths are relative to the root and ``/``-separated. Windows finds a name whatever its letter case, other file systems do
not, and on those a copy may even hold two names that are one to Windows: :class:`HostTree` finds what Windows would.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol

from wclayer.errors import FormatError, LimitError, NotFoundError, StoreError
from wclayer.ntfs.names import fold

__all__ = ["HostEntry", "HostFiles", "HostTree", "joined", "last_component"]

_MAX_LISTED = 1_000_000  # names of one folder

EntryKind = Literal["folder", "file", "link", "other"]


@dataclass(frozen=True, slots=True)
class HostEntry:
    """What is at a path. A symbolic link, a junction or another reparse point is a ``link``, and never followed."""

    name: str
    kind: EntryKind
    size: int
    """Bytes of the main stream of a file; 0 for everything else."""
    modified: int
    """Nanoseconds since 1970-01-01 UTC."""
    allocated: int | None = None
    """Bytes that the file takes on its disk, where the file system tells."""
    identity: tuple[int, int] | None = None
    """The same for all names of one file, where it may have more than one."""


class HostFiles(Protocol):
    """A file system that is read. Names are given as they are stored; nothing is looked up in another letter case."""

    @property
    def name(self) -> str:
        """The folder or image, for people."""

    def entries(self, path: str) -> list[HostEntry]:
        """What the folder at ``path`` holds, in no order; not through links. Raises NotFoundError, StoreError."""

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """The data of the file at ``path``, seekable; ``path:stream`` is an alternate stream, where there are any.

        Raises NotFoundError, StoreError.
        """


class HostTree:
    """The files of a host, found as Windows finds them: without regard to letter case.

    A name as it is asked for goes first; where only others are there, the first of them in the order of their
    characters is taken. Folders are listed once and remembered.
    """

    def __init__(self, files: HostFiles) -> None:
        self.files = files
        self._folders: dict[str, dict[str, list[HostEntry]]] = {}

    @property
    def name(self) -> str:
        """The folder or image, for people."""
        return self.files.name

    def find(self, path: str) -> tuple[str, HostEntry] | None:
        """The path as it is stored, and what is there; None where nothing is. Raises StoreError, LimitError."""
        stored, entry = "", HostEntry("", "folder", 0, 0)
        for component in path.split("/") if path else []:
            if entry.kind != "folder":
                return None
            names = self._named(stored).get(fold(component), [])
            if not names:
                return None
            entry = next((one for one in names if one.name == component), names[0])
            stored = joined(stored, entry.name)
        return stored, entry

    def is_folder(self, path: str) -> bool:
        """Whether ``path`` is a folder. Raises StoreError, LimitError."""
        found = self.find(path)
        return found is not None and found[1].kind == "folder"

    def is_file(self, path: str) -> bool:
        """Whether ``path`` is a file. Raises StoreError, LimitError."""
        found = self.find(path)
        return found is not None and found[1].kind == "file"

    def entries(self, path: str) -> list[HostEntry]:
        """What the folder ``path`` holds, by name; nothing where there is no such folder. Raises StoreError."""
        found = self.find(path)
        if found is None or found[1].kind != "folder":
            return []
        return sorted((one for names in self._named(found[0]).values() for one in names), key=lambda one: one.name)

    def variants(self, path: str) -> list[list[str]]:
        """The names in the folder ``path`` that Windows cannot tell apart, in groups. Raises StoreError."""
        found = self.find(path)
        if found is None or found[1].kind != "folder":
            return []
        return sorted([one.name for one in names] for names in self._named(found[0]).values() if len(names) > 1)

    def read(self, path: str, limit: int) -> bytes | None:
        """The bytes of the file ``path``, at most ``limit``; None where nothing is.

        Raises LimitError for a longer file, FormatError for something that is no file, StoreError.
        """
        found = self.find(path)
        if found is None:
            return None
        stored, entry = found
        if entry.kind != "file":
            raise FormatError(f"{stored}: a file is expected, not a {entry.kind}", kind="store-entry")
        with self.files.open(stored) as stream:
            try:
                data = stream.read(limit + 1)
            except OSError as error:
                raise StoreError(f"{stored}: cannot be read: {error.strerror or error}") from error
        if len(data) > limit:
            raise LimitError(f"{stored}: more than the {limit} bytes allowed")
        return data

    def open(self, path: str) -> AbstractContextManager[BinaryIO]:
        """The file ``path``. Raises NotFoundError, StoreError."""
        found = self.find(path)
        if found is None or found[1].kind != "file":
            raise NotFoundError(f"{path}: there is no such file")
        return self.files.open(found[0])

    def forget(self, path: str) -> None:
        """Remember no longer what the folder ``path`` and those below it hold, after a walk through many."""
        for folder in [one for one in self._folders if one == path or one.startswith(f"{path}/")]:
            del self._folders[folder]

    def _named(self, stored: str) -> dict[str, list[HostEntry]]:
        known = self._folders.get(stored)
        if known is not None:
            return known
        entries = self.files.entries(stored)
        if len(entries) > _MAX_LISTED:
            raise LimitError(f"{stored or self.name}: a folder of more than {_MAX_LISTED} names")
        known = {}
        for entry in sorted(entries, key=lambda one: one.name):
            known.setdefault(fold(entry.name), []).append(entry)
        self._folders[stored] = known
        return known


def joined(folder: str, name: str) -> str:
    """The path of ``name`` in ``folder``."""
    return f"{folder}/{name}" if folder else name


def last_component(path: str) -> str:
    r"""What stands behind the last separator, ``\`` or ``/``, of a Windows path; empty for a root.

    Separators at the end do not count, as in Go's ``filepath.Base``.
    """
    return path.replace("\\", "/").rstrip("/").rpartition("/")[2]
