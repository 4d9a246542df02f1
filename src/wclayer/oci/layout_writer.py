"""Writing an OCI image layout: blobs appear whole or not at all, and so does every new state of the index.

A blob is written under a temporary name, flushed, and renamed to its digest; ``index.json`` is replaced in one step,
under a lock, so that several processes may add to one layout. The result depends on what was added and in which order,
and on nothing else.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from types import TracebackType
from typing import Self

from wclayer.errors import DigestMismatchError, StoreError
from wclayer.oci.compressed_writer import CompressedWriter
from wclayer.oci.counting import CountingSource
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor, Platform, parse_document
from wclayer.oci.digests import Digest, digest_of, new_hash, require_digest
from wclayer.oci.documents import encode_json
from wclayer.oci.layout import LAYOUT_FILE, LAYOUT_VERSION, REF_NAME, Layout, entry_names
from wclayer.oci.mediatypes import OCI_INDEX, OCI_LAYER, Compression
from wclayer.oci.sources import BinarySource, store_error
from wclayer.oci.strictjson import parse_object
from wclayer.oci.temporary import open_temporary, sweep_temporaries
from wclayer.oci.trees import FolderTree, read_file
from wclayer.writing import write_whole

__all__ = ["LayerSink", "LayoutWriter"]

_LAYER_TYPES = {"none": OCI_LAYER, "gzip": OCI_LAYER + "+gzip", "zstd": OCI_LAYER + "+zstd"}
_PIECE = 1 << 20


class LayoutWriter:
    """Adds to the layout in ``folder``, which is made when there is none.

    Raises StoreError when the file system refuses, and what :class:`wclayer.oci.layout.Layout` raises for a folder that
    holds something else.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        try:
            (self.folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error(error, f"cannot make the folder {self.folder}") from error
        sweep_temporaries(self.folder)
        if not (self.folder / LAYOUT_FILE).exists():
            self._write_file(LAYOUT_FILE, encode_json({"imageLayoutVersion": LAYOUT_VERSION}))
        with self._locked():
            if not (self.folder / "index.json").exists():
                self._write_index({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
        Layout(FolderTree(self.folder))  # refuse one that cannot be read

    def put_blob(
        self,
        source: BinarySource,
        media_type: str,
        *,
        digest: Digest | None = None,
        size: int | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Store everything ``source`` holds, and close it.

        ``digest`` and ``size`` are what was promised; DigestMismatchError, and nothing is stored, when it is not so.
        """
        blob = CountingSource(source, expected_size=size)
        algorithm = digest.algorithm if digest else "sha256"
        state = blob.hash = new_hash(algorithm)
        buffer = memoryview(bytearray(_PIECE))
        try:
            with self._temporary() as (file, keep):
                while count := blob.readinto(buffer):
                    _write_all(file, buffer[:count])
                actual = Digest(algorithm, state.hexdigest())
                if digest is not None and actual != digest:
                    raise DigestMismatchError(f"the blob has the digest {actual} where {digest} was promised")
                keep(actual.blob_path, blob.count)
        finally:
            blob.close()
        return Descriptor(media_type, actual, blob.count, annotations=annotations or {})

    def put_bytes(self, data: bytes, media_type: str, *, digest: Digest | None = None) -> Descriptor:
        """Store a small blob, such as a configuration. DigestMismatchError when it is not what ``digest`` promises."""
        if digest is not None:
            require_digest(digest, data, what="the blob")
        digest = digest or digest_of(data)
        with self._temporary() as (file, keep):
            _write_all(file, memoryview(data))
            keep(digest.blob_path, len(data))
        return Descriptor(media_type, digest, len(data))

    def new_layer(
        self, compression: Compression = "gzip", level: int | None = None, *, media_type: str | None = None
    ) -> LayerSink:
        """A layer to be written: ``with layout.new_layer() as sink: sink.write(…)``, then ``sink.descriptor``."""
        return LayerSink(self, compression, level, media_type or _LAYER_TYPES[compression])

    def put_manifest(
        self,
        raw: bytes,
        *,
        name: str = "",
        media_type: str | None = None,
        platform: Platform | None = None,
        annotations: Mapping[str, str] | None = None,
    ) -> Descriptor:
        """Store a manifest or an index as it is, byte for byte, and list it in ``index.json``.

        With a ``name`` (``org.opencontainers.image.ref.name``) it takes the place of whatever had that name; without
        one, of a nameless entry with the same digest. ``platform`` and ``annotations`` go into the entry. Raises what
        parsing the document raises.
        """
        document = parse_document(raw, media_type)
        notes = {**(annotations or {}), **({REF_NAME: name} if name else {})}
        stored = self.put_bytes(raw, document.media_type)
        entry = Descriptor(stored.media_type, stored.digest, stored.size, annotations=notes, platform=platform)
        self._list(entry, name)
        return entry

    def _list(self, entry: Descriptor, name: str) -> None:
        with self._locked():
            raw = read_file(FolderTree(self.folder), "index.json", MANIFEST_LIMIT, what="index.json")
            node = parse_object(raw, what="index.json", limit=MANIFEST_LIMIT)
            listed = [(child.value, Descriptor.of(child)) for child in node.array("manifests")]
            manifests: list[object] = []
            placed = False
            for value, known in listed:
                names = entry_names(known)
                if name in names if name else not names and known.digest == entry.digest:
                    if not placed:
                        manifests.append(entry.to_json())
                        placed = True
                else:
                    manifests.append(value)
            if not placed:
                manifests.append(entry.to_json())
            self._write_index({**node.as_object(), "manifests": manifests})

    def unlist(self, names: Iterable[str]) -> None:
        """Take the entries of these names out of ``index.json``; the blobs stay."""
        unwanted = set(names)
        with self._locked():
            raw = read_file(FolderTree(self.folder), "index.json", MANIFEST_LIMIT, what="index.json")
            node = parse_object(raw, what="index.json", limit=MANIFEST_LIMIT)
            listed = [(child.value, Descriptor.of(child)) for child in node.array("manifests")]
            kept = [value for value, known in listed if unwanted.isdisjoint(entry_names(known))]
            if len(kept) < len(listed):
                self._write_index({**node.as_object(), "manifests": kept})

    def _write_index(self, document: Mapping[str, object]) -> None:
        self._write_file("index.json", encode_json(document))
        self._sync_folder()

    def _write_file(self, name: str, data: bytes) -> None:
        with self._temporary() as (file, keep):
            _write_all(file, memoryview(data))
            keep(name, None)

    @contextmanager
    def _temporary(self) -> Iterator[tuple[FileIO, _Keep]]:
        """A new file of the layout, and the function that gives it its name; it is gone when that was not called."""
        path, file = open_temporary(self.folder)
        keep = _Keep(self.folder, path, file)
        try:
            yield file, keep
        finally:
            file.close()
            with suppress(FileNotFoundError):
                path.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other writers of this kind away from ``index.json``."""
        try:
            file = (self.folder / LAYOUT_FILE).open("r+b", buffering=0)
        except OSError as error:
            raise store_error(error, f"cannot lock {self.folder}") from error
        with file:
            _lock(file)
            yield

    def _sync_folder(self) -> None:
        if sys.platform == "win32":
            return
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class LayerSink:
    """A layer on its way into a layout. Leaving the ``with`` statement stores it; an error on the way leaves nothing.

    ``descriptor`` and ``diff_id`` are known afterwards.
    """

    descriptor: Descriptor
    diff_id: Digest

    def __init__(self, layout: LayoutWriter, compression: Compression, level: int | None, media_type: str) -> None:
        self._media_type = media_type
        self._temporary = layout._temporary()
        file, self._keep = self._temporary.__enter__()
        self._writer = CompressedWriter(file, compression, level)

    def write(self, data: bytes | bytearray | memoryview, /) -> int:
        """Take a piece of the uncompressed tar; returns its length."""
        return self._writer.write(data)

    def write_all(self, pieces: Iterable[bytes | bytearray | memoryview]) -> None:
        """Take all the pieces."""
        for piece in pieces:
            self._writer.write(piece)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self._writer.finish()
                digest = self._writer.blob_digest
                self._keep(digest.blob_path, self._writer.blob_size)
                self.descriptor = Descriptor(self._media_type, digest, self._writer.blob_size)
                self.diff_id = self._writer.diff_id
        finally:
            self._writer.close()
            self._temporary.__exit__(None, None, None)


class _Keep:
    """Gives a temporary file its place. A blob that is there already, whole, is left as it is."""

    def __init__(self, folder: Path, path: Path, file: FileIO) -> None:
        self._folder = folder
        self._path = path
        self._file = file

    def __call__(self, name: str, blob_size: int | None) -> None:
        target = self._folder / name
        try:
            if blob_size is not None and target.exists() and target.stat().st_size == blob_size:
                return
            os.fsync(self._file.fileno())
            target.parent.mkdir(exist_ok=True)
            if sys.platform == "win32":
                self._file.close()  # which has no locks to lose, and renames nothing that is open
            self._path.replace(target)
            self._file.close()  # not before: a file that nobody locks is swept
        except OSError as error:
            raise store_error(error, f"cannot write {target}") from error


def _write_all(file: FileIO, piece: memoryview) -> None:
    try:
        write_whole(file.write, piece)
    except OSError as error:
        raise store_error(error, f"cannot write {file.name}") from error


def _lock(file: FileIO) -> None:
    """Wait for the lock, which goes when the file is closed."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 30)  # a byte nobody reads, for such a lock also keeps readers away
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX)
    except OSError as error:
        raise StoreError(f"cannot lock {file.name}: {error.strerror or error}") from error
