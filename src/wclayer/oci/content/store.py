"""The content store of this machine: what was fetched once is not fetched again.

It is an OCI image layout, so other tools read it as it is (``oci:FOLDER:NAME``); ``index.json`` names images by their
full references. Beside the layout there is what makes it safe for many processes at once::

    FOLDER/oci-layout  index.json  blobs/ALGORITHM/HEX
    FOLDER/wclayer-store.json        says that this is a store, and of which version
    FOLDER/ingest/ALGORITHM-HEX      a blob that is being fetched, or was until its program died
    FOLDER/ingest/ALGORITHM-HEX.lock held by the one program that fetches it
    FOLDER/leases/                   what running programs use
    FOLDER/lock                      shared by who takes something into use, alone for who collects

A blob appears whole, verified and flushed, by a rename. A program that wants what another one is fetching waits; when
that one dies, it goes on from where the dead one stopped.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import StoreError, UnsupportedError
from wclayer.oci.content.leases import Lease
from wclayer.oci.content.locks import FileLock, SharedLock
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest
from wclayer.oci.documents import encode_json
from wclayer.oci.layout import Layout, entry_names
from wclayer.oci.layout_writer import LayoutWriter
from wclayer.oci.sources import open_file, read_all, store_error
from wclayer.oci.strictjson import parse_object
from wclayer.oci.trees import FolderTree

if TYPE_CHECKING:
    from wclayer.oci.content.partial import PartialBlob

__all__ = ["BLOBS", "INGEST", "LEASES", "MARKER", "ContentStore"]

BLOBS, INGEST, LEASES, MARKER = "blobs", "ingest", "leases", "wclayer-store.json"
_SCHEMA = "wclayer.store/1"
_TEMPORARY = ".wclayer-"
_FIRST_WAIT, _LONGEST_WAIT = 0.01, 0.2  # seconds between two looks at a blob that another process fetches


class ContentStore:
    """The store in ``folder``, which is made when something is first put into it.

    Safe for threads and processes. Raises StoreError when the file system refuses and for a folder that holds something
    else, UnsupportedError for a store of a later version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = SharedLock(folder / "lock")
        self._made: LayoutWriter | None = None
        if (folder / MARKER).exists():
            self._check_marker()
        else:
            self._refuse_others()

    # ------------------------------------------------------------------ what is there

    def blob(self, digest: Digest, size: int | None = None) -> Path | None:
        """The file of a blob, None when it is not here, or not of ``size`` bytes."""
        path = self.folder / digest.blob_path
        try:
            status = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise store_error(error, f"cannot look at {path}") from error
        return path if size is None or status.st_size == size else None

    def read(self, digest: Digest, limit: int, *, what: str) -> bytes | None:
        """A small blob, whole, not verified; None when it is not here. Raises LimitError."""
        path = self.blob(digest)
        return read_all(open_file(path), limit, what=what) if path is not None else None

    def names(self) -> dict[str, Descriptor]:
        """What is in the store by name, sorted: full references, each with the manifest or index that it names."""
        if not (self.folder / MARKER).exists() or not (self.folder / "index.json").exists():
            return {}
        listed = Layout(FolderTree(self.folder)).index.manifests
        return dict(sorted((name, entry) for entry in listed for name in entry_names(entry)[:1]))

    # ------------------------------------------------------------------ putting into it

    def put_bytes(self, data: bytes, media_type: str, *, digest: Digest) -> Descriptor:
        """Store a small blob; DigestMismatchError when it is not what ``digest`` promises."""
        return self._writer().put_bytes(data, media_type, digest=digest)

    def tag(self, name: str, raw: bytes, media_type: str | None = None) -> None:
        """Let ``name``, a full reference, name the manifest or index ``raw`` from now on."""
        self._writer().put_manifest(raw, name=name, media_type=media_type)

    def untag(self, names: Iterable[str]) -> None:
        """Forget names."""
        self._writer().unlist(names)

    def touch(self, digest: Digest) -> None:
        """Note that an image was used now, by the time of the file of its manifest, where that may be changed."""
        with suppress(OSError):
            os.utime(self.folder / digest.blob_path)

    def discard(self, digest: Digest) -> None:
        """Remove a blob that is not what its name says."""
        path = self.folder / digest.blob_path
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise store_error(error, f"cannot remove {path}") from error

    def lease(self) -> Lease:
        """A lease on whatever is put into it, to be closed when nothing is used any more."""
        self._writer()
        return Lease(self.folder / LEASES, self._lock)

    def ingest(
        self,
        digest: Digest,
        size: int,
        fetch: Callable[[PartialBlob], None],
        *,
        watch: Callable[[int], None] = lambda _front: None,
    ) -> Path:
        """Have the blob ``digest`` of ``size`` bytes in the store, and return its file.

        When nobody else does so already, ``fetch`` gets what is missing of it, after what a dead program left.
        ``watch`` is told how many bytes from the start on are there, whoever fetches them; it may raise, and then this
        one gives up. Raises what ``fetch`` raises, DigestMismatchError, StoreError.
        """
        from wclayer.oci.content.partial import PartialBlob

        self._writer()
        with _Turn(self, digest, size) as turn:
            while (found := turn.take()) is None:
                watch(turn.others_front())
                turn.wait()
            if not turn.is_mine:
                return found
            partial = PartialBlob(turn.partial, digest, size)
            try:
                partial.on_front = watch
                fetch(partial)
                partial.finish()
            finally:
                partial.close()
            target = self.folder / digest.blob_path
            try:
                target.parent.mkdir(exist_ok=True)
                turn.partial.replace(target)
                _sync_folder(target.parent)
            except OSError as error:
                raise store_error(error, f"cannot write {target}") from error
            return target

    def put_once(self, digest: Digest, media_type: str, make: Callable[[], bytes], *, size: int | None) -> bytes | None:
        """Have the small blob ``digest`` in the store: ``make`` gets it, unless another process did meanwhile.

        Returns what ``make`` returned, None when it was not asked. Raises what ``make`` raises, DigestMismatchError.
        """
        self._writer()
        with _Turn(self, digest, size) as turn:
            while turn.take() is None:
                turn.wait()
            if not turn.is_mine:
                return None
            data = make()
            self.put_bytes(data, media_type, digest=digest)
            return data

    # ------------------------------------------------------------------ the folder itself

    @property
    def lock(self) -> SharedLock:
        """The lock of the store."""
        return self._lock

    def exists(self) -> bool:
        """Whether anything was ever put into it."""
        return (self.folder / MARKER).exists()

    def _writer(self) -> LayoutWriter:
        if self._made is None:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise store_error(error, f"cannot make the content store {self.folder}") from error
            self._refuse_others()
            if not (self.folder / MARKER).exists():
                self._mark()
            self._check_marker()
            try:
                for name in (INGEST, LEASES):
                    (self.folder / name).mkdir(exist_ok=True)
            except OSError as error:
                raise store_error(error, f"cannot make the content store {self.folder}") from error
            self._made = LayoutWriter(self.folder)
        return self._made

    def _mark(self) -> None:
        # Others may do the same at the same time; the content is the same, and a rename replaces it whole.
        temporary = self.folder / f"{_TEMPORARY}{os.getpid()}-{threading.get_ident()}"
        try:
            temporary.write_bytes(encode_json({"schema": _SCHEMA}) + b"\n")
            temporary.replace(self.folder / MARKER)
        except OSError as error:
            raise store_error(error, f"cannot make the content store {self.folder}") from error

    def _check_marker(self) -> None:
        raw = read_all(open_file(self.folder / MARKER), 4096, what=MARKER)
        schema = parse_object(raw, what=str(self.folder / MARKER), limit=4096).text("schema")
        if schema != _SCHEMA:
            raise UnsupportedError(
                f"the content store {self.folder} is of another version: {schema!r}, not {_SCHEMA!r}",
                hint="name another one with --store",
            )

    def _refuse_others(self) -> None:
        try:
            names = sorted(path.name for path in self.folder.iterdir())
        except FileNotFoundError:
            return
        except OSError as error:
            raise store_error(error, f"cannot use the content store {self.folder}") from error
        if MARKER in names or all(name.startswith(_TEMPORARY) for name in names):
            return
        if (self.folder / MARKER).exists():
            return  # made while this one looked
        raise StoreError(
            f"{self.folder} is no content store: it holds {names[0]}", hint="name a new or an empty folder with --store"
        )


class _Turn:
    """Whose turn it is to fetch a blob."""

    def __init__(self, store: ContentStore, digest: Digest, size: int | None) -> None:
        name = f"{digest.algorithm}-{digest.hex}"
        self.partial = store.folder / INGEST / name
        self.is_mine = False
        self._store = store
        self._digest = digest
        self._size = size
        self._lock = FileLock(store.folder / INGEST / f"{name}.lock")
        self._pause = _FIRST_WAIT

    def take(self) -> Path | None:
        """The blob where it is there, or where it goes when it is this one's turn to fetch it; else None."""
        found = self._store.blob(self._digest, self._size)
        if found is None and self._lock.acquire():
            self.is_mine = True
            found = self._store.blob(self._digest, self._size)  # somebody may have been done just before
            if found is None:
                return self.partial
            self.is_mine = False
        return found

    def others_front(self) -> int:
        """How much there is of it, fetched by somebody else."""
        from wclayer.oci.content.partial import read_front

        return read_front(self.partial)

    def wait(self) -> None:
        """Wait a moment."""
        time.sleep(self._pause)
        self._pause = min(self._pause * 1.5, _LONGEST_WAIT)

    def __enter__(self) -> _Turn:
        return self

    def __exit__(self, *_error: object) -> None:
        self._lock.release(remove=True)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
