"""Writing skopeo's plain folder: blobs under their digits, and ``manifest.json``, which makes it an image, at the end.

A folder that holds an image keeps it until the new ``manifest.json`` takes the place of the old one in one step; then
what only the old one had is removed. What an interrupted run left is used by the next one.
Format: containers/image, directory transport.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from wclayer.errors import StoreError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.dir_transport import MANIFEST_FILE, VERSION_FILE
from wclayer.oci.sources import BinarySource, store_error
from wclayer.oci.temporary import open_temporary, sweep_temporaries
from wclayer.oci.verified import copy_verified
from wclayer.writing import write_whole

if sys.platform != "win32":
    import fcntl

__all__ = ["DirWriter"]

_VERSION = b"Directory Transport Version: 1.1\n"
_CONTENT = re.compile(r"(?:[0-9a-f]{64}|[0-9a-f]{128})(?:\.manifest\.json)?|signature-[0-9]+", re.ASCII)
_HIDDEN = ".wclayer-"


class DirWriter:
    """Makes ``folder`` the image it is given. StoreError when the folder holds anything that is no such image."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock: int | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            raise store_error(error, f"cannot make the folder {folder}") from error
        known = (VERSION_FILE, MANIFEST_FILE)
        strangers = [name for name in names if name not in known and not _is_own(name)]
        if strangers:
            raise StoreError(
                f"{folder} is not empty and is no image folder: it holds {strangers[0]}",
                hint="name a new or an empty folder",
            )
        self._lock = _locked(folder)
        sweep_temporaries(folder)

    def has_blob(self, descriptor: Descriptor) -> bool:
        """Whether a blob is here, by name and size."""
        path = self.folder / descriptor.digest.hex
        try:
            return path.is_file() and path.stat().st_size == descriptor.size
        except OSError as error:
            raise store_error(error, f"cannot look at {path}") from error

    def put_blob(self, source: BinarySource, descriptor: Descriptor, advance: Callable[[int], None]) -> None:
        """Store a blob, and close ``source``; DigestMismatchError when it is not what ``descriptor`` says."""
        try:
            with self._new(descriptor.digest.hex) as file:
                copy_verified(source, descriptor, file, advance)
        finally:
            source.close()

    def close(self) -> None:
        """Let others write to the folder; harmless when called twice."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def put_manifest(self, raw: bytes, descriptor: Descriptor) -> None:
        """Store a manifest of an index."""
        self._put(f"{descriptor.digest.hex}.manifest.json", raw)

    def finish(self, raw: bytes, kept: Collection[Descriptor]) -> None:
        """Make the manifest or index ``raw`` the image of the folder; ``kept`` is all that belongs to it."""
        self._put(VERSION_FILE, _VERSION)
        self._put(MANIFEST_FILE, raw)
        if self._lock is not None:
            os.fsync(self._lock)
        names = {VERSION_FILE, MANIFEST_FILE}
        for one in kept:
            names |= {one.digest.hex, f"{one.digest.hex}.manifest.json"}
        for path in self.folder.iterdir():
            if path.name not in names and _is_own(path.name):
                path.unlink(missing_ok=True)

    def _put(self, name: str, data: bytes) -> None:
        with self._new(name) as file:
            write_whole(file.write, data)

    @contextmanager
    def _new(self, name: str) -> Iterator[FileIO]:
        temporary, new = open_temporary(self.folder)
        try:
            try:
                with new as file:
                    yield file
                    os.fsync(file.fileno())
                temporary.replace(self.folder / name)
            finally:
                with suppress(FileNotFoundError):
                    temporary.unlink()
        except OSError as error:
            raise store_error(error, f"cannot write {self.folder / name}") from error


def _locked(folder: Path) -> int | None:
    """A descriptor that keeps other writers away until it is closed; None where there is no such lock."""
    if sys.platform == "win32":
        return None
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise StoreError(f"another process is writing to {folder}") from None
    return descriptor


def _is_own(name: str) -> bool:
    return bool(_CONTENT.fullmatch(name)) or name.startswith(_HIDDEN)
