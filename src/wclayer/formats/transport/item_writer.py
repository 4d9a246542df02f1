"""A transport folder as a layer format: items into it.

The writer makes the folder that ExportLayer would leave: deletions in ``tombstones.txt``, names of one file as names of
one blob. The times that a POSIX file does not have lie in a manifest beside the folder, never in it.
"""

from __future__ import annotations

import os
from pathlib import Path

from wclayer.errors import FormatError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.formats.folder.door import store_error
from wclayer.formats.folder.shared_memory import SharedMemory
from wclayer.formats.transport.names import FILES, HIVES, TOMBSTONES, UTILITY_VM
from wclayer.formats.transport.publish import publish_transport, refuse_foreign_manifest
from wclayer.formats.transport.reader import open_blob
from wclayer.formats.transport.tombstones import tombstone_lines
from wclayer.formats.transport.writer import LegacyLayerWriter, PendingLink
from wclayer.formats.volume import BasicInfo, Manifest, Volume, VolumeError
from wclayer.formats.volume.data_process import DataProcess
from wclayer.formats.volume.item_writer import VolumeItemWriter
from wclayer.formats.volume.items import basic_of, write_streams
from wclayer.formats.volume.paths import is_below, place_in_walk
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_ARCHIVE, FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.names import fold

__all__ = ["TransportFolderWriter"]

_TOGETHER = 32
_NODE, _TIMES = 32, 64  # where in _packed they begin, in bits
_MASK, _HASH = (1 << 32) - 1, (1 << 62) - 1


class TransportFolderWriter(VolumeItemWriter):
    """Writes layer items as the transport folder ``destination``, which appears with :meth:`commit`, whole.

    What such a folder cannot hold is refused, or given up with a notice: a utility VM and links to files of a parent
    (UnsupportedError), descriptors and attributes of hives (``hive-security``, ``hive-attributes``). Entries in each
    other's way raise UnsafeEntryError. ``destination`` must not exist, or be empty. With ``memory``, which must be the
    keeper of the slabs that the items come from, another process makes the blobs; errors of that come later.
    """

    kind = "a transport folder"
    _writer: LegacyLayerWriter

    def __init__(
        self, destination: Path, *, notices: Notices | None = None, memory: SharedMemory | None = None
    ) -> None:
        refuse_foreign_manifest(destination.absolute())
        super().__init__(destination, notices)
        folder = self._staging.path / "transport"
        with self._opening():
            folder.mkdir()
            self._manifest = Manifest(self._staging.path / "manifest")
            try:
                self._volume = Volume(folder, self._manifest, label=str(self.path), notices=self.notices)
            except BaseException:
                self._manifest.close(commit=False)
                raise
        self._apart = None
        if memory is not None:
            self._apart = DataProcess(memory, self._volume.tree.door.root, where=str(self.path))
            self._volume.tree.pending = self._apart
        self._writer = LegacyLayerWriter(self._volume, self._volume, (), self._apart)
        self._reparse_points: set[str] = set()
        self._last_parent = ""
        self._last_place: list[bytes] = []
        self._order_lost = False
        self._said: dict[str, BasicInfo] = {}  # of links that are not made yet
        self._ready: list[PendingLink] = []  # links whose files are there
        self._links: dict[str, str] = {}
        self._files: dict[str, int] = {}  # those that a link may lead to at once, see _packed

    def _discard(self) -> None:
        if self._apart is not None:
            self._apart.close()
        super()._discard()

    # ------------------------------------------------------------------ items

    def _late_error(self) -> WclayerError | None:
        return self._apart.failure if self._apart is not None else None

    def _take(self, item: LayerItem) -> None:
        super()._take(item)
        if len(self._ready) >= _TOGETHER:
            self._make_links()

    def _pour(self, item: LayerItem, path: str) -> None:
        if path == UTILITY_VM or is_below(path, UTILITY_VM):
            raise UnsupportedError("a transport folder cannot hold a utility VM", hint="convert to another format")
        if isinstance(item, Entry):
            self._make_folders(path)
            self._look_at_order(path)
            self._entry(item, path)
        elif isinstance(item, AlternateStream):
            self._write_alternate(item)
        elif isinstance(item, HardLink):
            self._owner = ""
            self._make_folders(path)
            self._look_at_order(path)
            self._link(path, item.target.replace("/", "\\"), basic_of(item.metadata))
            self._links.setdefault(fold(path), path)
        else:
            self._owner = ""
            if is_below(path, FILES):
                self._make_folders(path)
                if not self._volume.lstat(path.rpartition("\\")[0]).is_directory:
                    raise UnsafeEntryError("it lies below something other than a folder")
                self._refuse_below_reparse_point(path)
            self._look_at_order(path, is_deletion=True)
            self._writer.remove(path)

    def _make_folders(self, path: str) -> None:
        """Make the folders above ``path`` that the layer does not have; the importer needs them."""
        parent = path.rpartition("\\")[0]
        if not parent or parent == self._last_parent:
            return
        # A folder that is a reparse point is not there until the end.
        is_there = parent in self._writer.added and fold(parent) not in self._reparse_points
        if not is_there and not self._volume.exists(parent):
            parts = parent.split("\\")
            for depth in range(1, len(parts) + 1):
                self._make_folder("\\".join(parts[:depth]))
        self._last_parent = parent

    def _make_folder(self, path: str) -> None:
        if self._volume.exists(path):
            return
        self.notices.add("folder-implied", path, "the layer has no such folder, only something in it; it was made")
        self._writer.add(path, BasicInfo(FILE_ATTRIBUTE_DIRECTORY, 0, 0, 0, 0))
        self._manifest.imply(path)
        self._owner = ""

    def _look_at_order(self, path: str, *, is_deletion: bool = False) -> None:
        place = place_in_walk(path, is_deletion=is_deletion)
        if place < self._last_place and not self._order_lost:
            self._order_lost = True
            self.notices.add("order-lost", path, "a transport folder has its entries in byte order, the source has not")
        self._last_place = place

    def _entry(self, entry: Entry, path: str) -> None:
        metadata, basic = entry.metadata, self._basic_of(entry)
        if is_below(path, HIVES):
            if metadata.security_descriptor is not None:
                self.notices.add("hive-security", entry.path, "a transport folder has no descriptors of hives")
            if not entry.is_directory and basic.attributes != FILE_ATTRIBUTE_ARCHIVE:
                self.notices.add("hive-attributes", entry.path, "a transport folder has no attributes of hives")
        self._writer.add(path, basic)
        write_streams(entry, self._writer.write, self._writer.write_apart)
        self._own(entry)
        if metadata.reparse is not None:
            self._reparse_points.add(fold(path))
        elif not entry.is_directory:
            self._files[path] = _packed(basic, self._writer.last_node)

    def _link(self, path: str, target: str, said: BasicInfo) -> None:
        """Note a link: one to a file that came before, as nearly all are, is made soon, the others at the end."""
        if fold(target) in self._reparse_points:
            raise UnsafeEntryError(f"it is a hard link to {target}, which is a reparse point")
        try:
            self._writer.add_link(path, self._spelt(target))
        except FormatError as error:
            if error.kind != "link-target":
                raise
            raise UnsupportedError(
                f"a transport folder cannot hold a link to {target}, which is in a parent", hint=error.hint
            ) from error
        self._said[self._writer.pending_links[-1].path] = said
        if self._writer.pending_links[-1].target in self._files:
            self._ready.append(self._writer.pending_links.pop())

    def _spelt(self, target: str) -> str:
        """``target`` as the layer spells it: a link may use another case, which the legacy writer does not know."""
        if target in self._writer.added:
            return target
        try:
            return self._links.get(fold(target)) or self._volume.lstat(target).path
        except VolumeError:
            return target

    def _finish(self) -> None:
        writer, volume = self._writer, self._volume
        writer.close()
        if self._apart is not None:
            self._apart.settle()
            self._apart.close()
        self._ready += writer.pending_links
        self._make_links()
        node = volume.create(TOMBSTONES)
        try:
            with open(node.descriptor, "wb", closefd=False) as file:
                file.writelines(tombstone_lines(path.removeprefix(f"{FILES}\\") for path in writer.tombstones))
            node.close()
        except OSError as error:
            raise store_error(error, "cannot write", node.host, volume.label) from error
        finally:
            node.abandon()
        volume.close()
        publish_transport(self._staging.path / "transport", self._staging.path / "manifest", self.path)
        self._staging.discard()

    def _make_links(self) -> None:
        """Make the links that are ready. Only a few together, so that the folders they go to are still at hand."""
        links, self._ready = self._ready, []
        for link in links:
            path = link.path.replace("\\", "/")
            file = -1 if self._volume.tree.has_aliases else self._files.get(link.target, -1)
            blob = None
            try:
                self._refuse_below_reparse_point(link.path)
                if file >= 0:
                    made = self._volume.link_made(link.target, file >> _NODE & _MASK, link.path)
                else:
                    blob = self._volume.link(self._volume, link.target, link.path)
                    made = blob is not None
            except VolumeError as error:
                raise self._refused(error, path) from error
            if not made:
                raise UnsupportedError(
                    "the file system cannot make another name of a blob",
                    path=path,
                    hint="write it to one that has hard links",
                )
            if blob is not None:
                descriptor, attributes = open_blob(self._volume, blob)
                os.close(descriptor)
                file = _packed(blob.basic._replace(attributes=attributes), 0)
            self._tell_link_losses(link, file, self._said.pop(link.path))

    def _refuse_below_reparse_point(self, path: str) -> None:
        """A folder that is a reparse point gets its placeholder back, which nothing may be put into."""
        if not self._reparse_points:
            return
        above = fold(path)
        while above := above.rpartition("\\")[0]:
            if above in self._reparse_points:
                raise UnsafeEntryError(
                    "it lies below a reparse point", layer=str(self.path), path=path.replace("\\", "/")
                )

    def _tell_link_losses(self, link: PendingLink, file: int, said: BasicInfo) -> None:
        """Tell what the source says of a link and not of its file, which is all that is kept."""
        of_link = _packed(said, 0)
        if of_link >> _TIMES != file >> _TIMES:
            self.notices.add("link-times", link.path, "a link has the times of its file; the source has others")
        if of_link & _MASK != file & _MASK:
            self.notices.add(
                "link-attributes", link.path, "a link has the attributes of its file; the source has others"
            )


def _packed(basic: BasicInfo, node: int) -> int:
    """Attributes, the number in the manifest, and a hash of the times: small, for there is one for each file."""
    return (hash(basic[1:]) & _HASH) << _TIMES | node << _NODE | basic.attributes & _MASK
