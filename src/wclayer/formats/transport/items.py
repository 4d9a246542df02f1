r"""A transport folder as a layer format: items out of it, items into it.

The reader knows two policies. ``reference`` gives what hcsshim's exporter would see, ``faithful`` all that the folder
holds: streams of folders, sparse ranges, what the sidecars of ``Files`` and ``Hives`` say. The writer makes the folder
that ExportLayer would leave: deletions in ``tombstones.txt``, names of one file as names of one blob. The times that a
POSIX file does not have lie in a manifest beside the folder, never in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import FormatError, StoreError, UnsupportedError, UsageError, WclayerError
from wclayer.formats.folder.door import store_error
from wclayer.formats.folder.staging import Staging
from wclayer.formats.tar.backuptar import backup_items
from wclayer.formats.tar.reader import Policy
from wclayer.formats.transport.blobs import blob_items
from wclayer.formats.transport.names import FILES, HIVES, SIDECAR, TOMBSTONES, UTILITY_VM
from wclayer.formats.transport.pour import source_of
from wclayer.formats.transport.reader import LegacyLayerReader
from wclayer.formats.transport.tombstones import tombstone_lines
from wclayer.formats.transport.writer import LegacyLayerWriter
from wclayer.formats.volume import BasicInfo, Manifest, Volume
from wclayer.formats.volume.items import basic_of, volume_items, write_alternate, write_streams
from wclayer.formats.volume.paths import is_below
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices, Tombstone, Transaction
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.names import encode_wtf8

__all__ = ["TransportFolderReader", "TransportFolderWriter", "manifest_beside", "open_transport_folder"]


def manifest_beside(folder: Path) -> Path:
    """Where the manifest of a transport folder lies: beside it, under its name and ``.ntfs``."""
    return folder.with_name(f"{folder.name}.ntfs")


def open_transport_folder(folder: Path, notices: Notices | None = None) -> Volume:
    """A transport folder as a volume to read, with its manifest if there is one."""
    folder = folder.absolute()
    place = manifest_beside(folder)
    manifest = Manifest(place, read_only=True) if place.exists() else None
    return Volume(folder, manifest, notices=notices)


class TransportFolderReader:
    """Reads the transport folder ``folder`` as layer items. ``lenient`` is that of :class:`LegacyLayerReader`."""

    def __init__(
        self, folder: Path, *, policy: Policy = "faithful", lenient: bool = False, notices: Notices | None = None
    ) -> None:
        self.folder = folder
        self.notices = Notices() if notices is None else notices
        self._faithful = policy == "faithful"
        self._lenient = lenient

    def __iter__(self) -> Iterator[LayerItem]:
        with open_transport_folder(self.folder, self.notices) as volume, self._reader(volume) as reader:
            implied = volume.manifest.implied() if volume.manifest is not None and self._faithful else frozenset()
            while (head := reader.next()) is not None:
                if head.path in implied and head.basic is not None:
                    continue
                path = head.path.replace("\\", "/")
                if head.basic is None:
                    yield Tombstone(path)
                    continue
                try:
                    if not self._faithful:
                        info = reader.link_info()
                        file_id = info.file_id if info.links > 1 else None
                        yield from backup_items(source_of(reader, head, head.basic, path, file_id))
                    else:
                        yield from self._everything(volume, reader, path)
                except WclayerError as error:
                    raise error.locate(path=path) from None

    def _reader(self, volume: Volume) -> LegacyLayerReader:
        return LegacyLayerReader(volume, lenient=self._lenient, own_times=self._faithful)

    def _everything(self, volume: Volume, reader: LegacyLayerReader, path: str) -> Iterator[Entry | AlternateStream]:
        status = reader.status
        if status is None:
            raise UsageError("no current file")
        if is_below(status.path, FILES):
            yield from blob_items(volume, status, reader.blob_status(), path)
        elif status.path in (FILES, HIVES) and volume.exists(status.path + SIDECAR):
            yield from blob_items(volume, status, volume.lstat(status.path + SIDECAR), path)
        else:
            yield from volume_items(volume, status, path)


class TransportFolderWriter(Transaction):
    """Writes layer items as the transport folder ``destination``, which appears with :meth:`commit`, whole.

    What such a folder cannot hold is refused, or given up with a notice: a utility VM and links to files of a parent
    (UnsupportedError), descriptors and attributes of hives (``hive-security``, ``hive-attributes``). ``destination``
    must not exist, or be empty.
    """

    def __init__(self, destination: Path, *, notices: Notices | None = None) -> None:
        self.notices = Notices() if notices is None else notices
        self.path = destination.absolute()
        self._staging = Staging(self.path)
        self._state = "open"
        folder = self._staging.path / "transport"
        try:
            folder.mkdir()
            self._manifest = Manifest(self._staging.path / "manifest")
            self._volume = Volume(folder, self._manifest, label=str(self.path), notices=self.notices)
        except BaseException:
            self._staging.discard()
            raise
        self._writer = LegacyLayerWriter(self._volume, self._volume, ())
        self._owner = ""
        self._last_parent = ""
        self._last_place: list[bytes] = []
        self._order_lost = False
        self._link_times: dict[str, BasicInfo] = {}

    def write(self, item: LayerItem) -> None:
        """Take one item. After an error only :meth:`abort` is possible."""
        self._refuse_unless_open()
        self._state = "broken"
        try:
            self._write(item)
        except WclayerError as error:
            raise error.locate(layer=str(self.path), path=item.path) from None
        self._state = "open"

    def commit(self) -> None:
        """Make the folder exist: deletions, links, and the rename to its name."""
        try:
            self._refuse_unless_open()
            self._finish()
        except BaseException:
            self.abort()
            raise
        self._state = "committed"

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice."""
        if self._state in ("committed", "aborted"):
            return
        self._state = "aborted"
        self._writer.abandon()
        try:
            self._volume.close(commit=False)
        finally:
            self._staging.discard()

    # ------------------------------------------------------------------ items

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer of {self.path} is {self._state}")

    def _write(self, item: LayerItem) -> None:
        path = item.path.replace("/", "\\")
        if path == UTILITY_VM or is_below(path, UTILITY_VM):
            raise UnsupportedError("a transport folder cannot hold a utility VM", hint="convert to another format")
        if isinstance(item, Entry):
            self._make_folders(path)
            self._look_at_order(path)
            self._entry(item, path)
        elif isinstance(item, AlternateStream):
            if item.path != self._owner:
                raise UnsupportedError("a transport folder cannot take a stream apart from its file")
            write_alternate(item, self._writer.write)
        elif isinstance(item, HardLink):
            self._owner = ""
            self._make_folders(path)
            self._look_at_order(path)
            self._link(path, item.target.replace("/", "\\"))
            self._link_times[path] = basic_of(item.metadata)
        else:
            self._owner = ""
            if is_below(path, FILES):
                self._make_folders(path)
            self._writer.remove(path)

    def _make_folders(self, path: str) -> None:
        """Make the folders above ``path`` that the layer does not have; the importer needs them."""
        parent = path.rpartition("\\")[0]
        if not parent or parent == self._last_parent:
            return
        if not self._volume.exists(parent):
            self._make_folders(parent)
            self.notices.add(
                "folder-implied", parent, "the layer has no such folder, only something in it; it was made"
            )
            self._writer.add(parent, BasicInfo(FILE_ATTRIBUTE_DIRECTORY, 0, 0, 0, 0))
            self._manifest.imply(parent)
            self._owner = ""
        self._last_parent = parent

    def _look_at_order(self, path: str) -> None:
        place = encode_wtf8(path).split(b"\\")
        if place < self._last_place and not self._order_lost:
            self._order_lost = True
            self.notices.add("order-lost", path, "a transport folder has its entries in byte order, the source has not")
        self._last_place = place

    def _entry(self, entry: Entry, path: str) -> None:
        metadata = entry.metadata
        basic = basic_of(metadata)
        if entry.is_directory != bool(basic.attributes & FILE_ATTRIBUTE_DIRECTORY):
            self.notices.add("attributes-and-type", entry.path, "its attributes now say what its type says")
            basic = basic._replace(attributes=basic.attributes ^ FILE_ATTRIBUTE_DIRECTORY)
        if is_below(path, HIVES):
            if metadata.security_descriptor is not None:
                self.notices.add("hive-security", entry.path, "a transport folder has no descriptors of hives")
            if not entry.is_directory and basic.attributes != FILE_ATTRIBUTE_ARCHIVE:
                self.notices.add("hive-attributes", entry.path, "a transport folder has no attributes of hives")
        self._writer.add(path, basic)
        write_streams(entry, self._writer.write)
        self._owner = entry.path

    def _link(self, path: str, target: str) -> None:
        try:
            self._writer.add_link(path, target)
        except FormatError as error:
            if error.kind != "link-target":
                raise
            raise UnsupportedError(
                f"a transport folder cannot hold a link to {target}, which is in a parent", hint=error.hint
            ) from error

    def _finish(self) -> None:
        writer, volume = self._writer, self._volume
        writer.close()
        for link in writer.pending_links:
            if not volume.link(volume, link.target, link.path):
                raise UnsupportedError("the file system cannot make another name of a blob", path=link.path)
            said = self._link_times[link.path]
            if volume.lstat(link.target).basic[1:] != said[1:]:
                self.notices.add("link-times", link.path, "a link has the times of its file; the source has others")
        node = volume.create(TOMBSTONES)
        try:
            for line in tombstone_lines(path.removeprefix(f"{FILES}\\") for path in writer.tombstones):
                os.write(node.descriptor, line)
            node.close()
        except OSError as error:
            raise store_error(error, "cannot write", node.host, volume.label) from error
        finally:
            node.abandon()
        volume.close()
        self._publish()

    def _publish(self) -> None:
        staged = self._staging.path
        try:
            os.replace(staged / "manifest", manifest_beside(self.path))
            os.rename(staged / "transport", self.path)
        except OSError as error:
            raise StoreError(f"cannot rename to {self.path}: {error.strerror}") from error
        self._staging.discard()
