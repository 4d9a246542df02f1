"""An image comes into being with one rename, and whatever happens before that leaves nothing that lasts.

The header is first written under a leftover's name, and durably, before any region: from then on whoever next writes
in the directory finds by it what a dead process began. The regions have their final names at once, which no image
mentions before the rename. Replacing an image is the same thing twice: a copy of the old header is made a leftover, so
that after the rename, and only then, its regions are those that no image needs.
"""

from __future__ import annotations

import os
import uuid
from io import FileIO
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError
from wclayer.formats.cim.files import (
    forks_of,
    header_of,
    leftover_name,
    referenced_sets,
    region_files,
    remove_regions,
    sweep_locked,
    synchronise_directory,
)
from wclayer.formats.cim.lock import DirectoryLock
from wclayer.formats.cim.structures import FilesystemHeader
from wclayer.formats.folder.door import store_error

__all__ = ["StagedImage"]


class StagedImage:
    """The unpublished image ``path`` with the own region set ``guid``, in a directory that is locked for it.

    ``path`` must not exist, or with ``replace`` be an image that no other one needs. Raises StoreError: when it is
    taken, when another process writes in the directory (waited for ``wait`` seconds), when the GUID is in use there;
    and NotFoundError when there is no such directory.
    """

    def __init__(self, path: Path, guid: uuid.UUID, *, replace: bool, wait: float) -> None:
        self.path = path
        self.guid = guid
        self._live = True
        self._lock = DirectoryLock(path.parent, wait=wait)
        try:
            sweep_locked(path.parent)
            self._replace = replace
            self._refuse_taken()
            self._refuse_foreign_regions()
            #: Where the header lies until then.
            self.hidden = path.with_name(leftover_name())
        except BaseException:
            self._lock.release()
            raise

    def write(self, header: FilesystemHeader) -> None:
        """Write the header, durably; raises StoreError. It takes the place of one that was written before."""
        # Over itself and never cut off: a leftover that does not tell its GUID could not be cleared away.
        self._store(self.hidden, header.pack(), "r+b" if os.path.lexists(self.hidden) else "xb")
        synchronise_directory(self.path.parent)

    def publish(self) -> None:
        """Give the image its name, durably, and the directory back. Raises StoreError.

        All its regions must be durable.
        """
        directory = self.path.parent
        old = self._refuse_taken()
        if old is not None:
            self._store(self.path.with_name(leftover_name()), old, "xb")
        synchronise_directory(directory)
        try:
            os.replace(self.hidden, self.path)
        except OSError as error:
            raise store_error(error, "cannot rename to", os.fsencode(self.path), "") from error
        self._live = False
        try:
            synchronise_directory(directory)
            if old is not None:
                sweep_locked(directory)
        finally:
            self._lock.release()

    def discard(self) -> None:
        """Remove all files of the image, and give the directory back. Harmless when called twice. Raises StoreError."""
        if not self._live:
            return
        self._live = False
        try:
            if os.path.lexists(self.hidden):
                remove_regions(self.path.parent, self.guid)
                sweep_locked(self.path.parent)
        finally:
            self._lock.release()

    def _refuse_taken(self) -> bytes | None:
        """The header that is to be replaced, if there is one. Raises StoreError when nothing may be put there."""
        path = self.path
        if self.guid in referenced_sets(path.parent):
            raise StoreError(
                f"the GUID {self.guid} is that of an image in {path.parent}",
                hint="destroy that image first, or choose another GUID",
            )
        if not os.path.lexists(path):
            return None
        if not self._replace:
            raise StoreError(f"{path} exists", hint="choose another name, or replace it")
        try:
            header = header_of(path)
        except (FormatError, UnsupportedError, NotFoundError) as error:
            raise StoreError(f"{path} exists and is no image", hint="choose another name") from error
        forks = forks_of(path)
        if forks:
            names = ", ".join(fork.name for fork in forks)
            raise StoreError(f"{path} cannot be replaced: {names} would lose their parent", hint="destroy them first")
        return header.pack()

    def _refuse_foreign_regions(self) -> None:
        if region_files(self.path.parent, self.guid):
            raise StoreError(
                f"files of regions {self.guid} are in {self.path.parent} already",
                hint="remove them if no image needs them, or choose another GUID",
            )

    @staticmethod
    def _store(path: Path, data: bytes, mode: str) -> None:
        try:
            with FileIO(path, mode) as file:
                file.write(data)
                os.fsync(file.fileno())
        except OSError as error:
            raise store_error(error, "cannot write", os.fsencode(path), "") from error
