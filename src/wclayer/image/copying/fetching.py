"""Blobs that come over the network into files: in several parts, and on from where an earlier run stopped."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from wclayer.errors import StoreError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.image import StoredBlob
from wclayer.oci.sources import BinarySource, open_file, store_error

if TYPE_CHECKING:
    from wclayer.oci.content.partial import PartialBlob

__all__ = ["Advance", "Fetch", "fetch_into", "fetched_blob"]

Advance: TypeAlias = Callable[[int], None]
"""Told how many more bytes moved; below 0 when some have to move once more. What it raises stops the work."""

Fetch: TypeAlias = "Callable[[Descriptor, PartialBlob, Advance], None]"
"""Brings a blob into a partial file, as far as it is not there yet, and verifies and finishes that."""

PARTIAL = ".wclayer-partial-"


def fetch_into(folder: Path, descriptor: Descriptor, target: Path, fetch: Fetch, advance: Advance) -> bool:
    """Fetch a blob to ``target`` by way of a partial file in ``folder``, which a killed run leaves to the next.

    Returns False, and does nothing, when another process fetches the same blob into the same folder.
    """
    from wclayer.oci.content.locks import FileLock
    from wclayer.oci.content.partial import PartialBlob

    path = folder / f"{PARTIAL}{descriptor.digest.algorithm}-{descriptor.digest.hex}"
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    if not lock.acquire():
        return False
    try:
        partial = PartialBlob(path, descriptor.digest, descriptor.size)
        try:
            if partial.present:
                advance(partial.present)
            fetch(descriptor, partial, advance)
            partial.finish()
        finally:
            partial.close()
        try:
            target.parent.mkdir(exist_ok=True)
            path.replace(target)
        except OSError as error:
            raise store_error(error, f"cannot write {target}") from error
    finally:
        lock.release(remove=True)
    return True


def fetched_blob(descriptor: Descriptor, fetch: Fetch) -> StoredBlob:
    """A blob that is fetched into a temporary file, verified, when it is opened; the file goes when it is closed."""

    def open_it() -> BinarySource:
        from wclayer.oci.content.partial import PartialBlob

        try:
            handle, name = tempfile.mkstemp(prefix="wclayer-")
            os.close(handle)
        except OSError as error:
            raise StoreError(
                f"cannot write to the temporary folder: {error.strerror or error}",
                hint="point TMPDIR at a place with room",
            ) from error
        path = Path(name)
        try:
            partial = PartialBlob(path, descriptor.digest, descriptor.size)
            try:
                fetch(descriptor, partial, lambda _count: None)
                partial.finish()
            except BaseException:
                partial.discard()
                raise
            partial.close()
            return _Temporary(path, open_file(path))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    return StoredBlob(open_it, descriptor.size)


class _Temporary:
    """A file that goes away when it is closed."""

    def __init__(self, path: Path, file: FileIO) -> None:
        self._path = path
        self._file = file

    def readinto(self, buffer: bytearray | memoryview, /) -> int | None:
        return self._file.readinto(buffer)

    def close(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)
