r"""Importing a layer into an image: hcsshim's layer writer, step by step, for any kind of image.

Entries go straight into the image, in the order in which they come, but for the few files that are kept beside it: for
those an operation is noted that puts them there in the end, and so it is for links to them. When everything has come
the layer is processed. A base layer gets ``Hives`` with a link to each of its hives, and the file ``layout``; an upper
one the whole hives that its changes make with those below. Then what was noted is done, in order.

Where hcsshim commits the image even after an error, nothing is left here. Where it gives ``Hives`` of a base layer
times of 0 whatever the layer says, what the layer says is kept.

Source: hcsshim ``internal/wclayer/cim/common.go``, ``process.go``, ``forked_cim_writer.go``, ``block_cim_writer.go``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from wclayer.errors import FormatError, NotFoundError
from wclayer.formats.cim.hives import HiveFile, HiveMerge, parent_hive
from wclayer.formats.cim.layer_names import (
    HIVES,
    HIVES_FOLDER,
    LAYOUT,
    LAYOUT_MARKER,
    UTILITY_VM,
    CimLayer,
    is_std_file,
    windows_path,
)
from wclayer.formats.cim.pending import PendingAdd, PendingLink, PendingOperation
from wclayer.formats.cim.pouring import ImageTarget, Pouring
from wclayer.formats.cim.std_files import StdFiles
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Notices, Tombstone
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY, FILE_ATTRIBUTE_NORMAL
from wclayer.ntfs.names import fold

__all__ = ["LayerImport"]

_SPELT_BY_IMPORT = frozenset((LAYOUT, *(hive.base_path for hive in HIVES)))
_MADE_BY_IMPORT = frozenset(fold(path) for path in _SPELT_BY_IMPORT)


class LayerImport:
    """Writes the items of one layer to ``image`` and ``files``; neither is committed here.

    ``parents`` are nearest first; without any it is a base layer.
    """

    #: Whether the hives of the layers below may be taken from their images.
    _images_hold_hives = True

    def __init__(
        self, image: ImageTarget, files: StdFiles, parents: Sequence[CimLayer], merge: HiveMerge, notices: Notices
    ) -> None:
        self.image = image
        self.files = files
        self.parents = tuple(parents)
        self.notices = notices
        self.pending: list[PendingOperation] = []
        self.has_utility_vm = False
        self.pouring = Pouring(image, notices)
        self._merge = merge
        self._said_hives = False
        self._said_otherwise: list[str] = []

    def write(self, item: LayerItem) -> None:
        """Take one item. Raises what the image raises, and FormatError of kind ``std-file``."""
        if isinstance(item, Entry):
            self.entry(item)
        elif isinstance(item, AlternateStream):
            if is_std_file(item.path):
                raise FormatError(
                    f"unexpected alternate stream {windows_path(item.path)}{item.name} in layer",
                    kind="std-file",
                    path=item.path,
                )
            self.pouring.stream(item)
        elif isinstance(item, HardLink):
            self.link(item)
        else:
            self.remove(item)

    def entry(self, entry: Entry) -> None:
        """Write a file or folder, or keep it for the end."""
        if entry.path == UTILITY_VM:
            self.has_utility_vm = True
        elif entry.path == HIVES_FOLDER and entry.is_directory:
            self._said_hives = True
        elif entry.path.count("/") < 2 and fold(entry.path) in _MADE_BY_IMPORT:
            self._said_otherwise.append(entry.path)
        if not is_std_file(entry.path):
            self.pouring.entry(entry)
            return
        if entry.is_directory:
            raise FormatError(
                f"unexpected folder {windows_path(entry.path)} in layer", kind="std-file", path=entry.path
            )
        metadata = self.pouring.metadata(entry)
        self.pending.append(PendingAdd(entry.path, entry.path, metadata))
        sink = self.files.add(entry.path)
        try:
            if entry.data is not None:
                self.pouring.size += entry.data.size
                if entry.data.ranges is not None:
                    self.notices.add("holes-written", entry.path, "a CIM holds the holes of a sparse file as zeros")
                for piece in entry.data.pieces():
                    sink.write(piece)
            sink.close()
        finally:
            sink.abandon()

    def link(self, link: HardLink) -> None:
        """Make a link, or keep it for the end if its target is kept."""
        if is_std_file(link.target):
            self.pending.append(PendingLink(link.path, link.target))
            self.pouring.tell_link_losses(link)
        elif is_std_file(link.path):
            raise FormatError(f"unexpected link {windows_path(link.path)} in layer", kind="std-file", path=link.path)
        else:
            self.pouring.link(link)

    def remove(self, tombstone: Tombstone) -> None:
        """Delete something of the layers below."""
        self.pouring.remove(tombstone.path)

    def finish(self, *, process: bool) -> None:
        """Process the layer and do what was kept for the end. Raises NotFoundError for a hive that is missing."""
        if process and not self.parents:
            self._process_base()
        elif process:
            self._process_upper()
        for operation in self.pending:
            self.pouring.make_parents(operation.path)
            operation.apply(self.image, self.files)
        self.pouring.finish()

    def _process_base(self) -> None:
        for path in self._said_otherwise:
            self.notices.add("processed-over", path, "the processing of a base layer replaces what the layer has here")
            if path not in _SPELT_BY_IMPORT:
                self.image.remove(path)
        for hive in HIVES:
            if not self.files.holds(hive.config_path):
                raise NotFoundError(
                    f"the base layer has no hive {hive.config_path}",
                    hint="a layer without hives is no base layer for Windows; import it without processing",
                )
        self.files.add_folder(HIVES_FOLDER)
        if not self._said_hives:
            self.pending.append(PendingAdd(HIVES_FOLDER, HIVES_FOLDER, _generated(FILE_ATTRIBUTE_DIRECTORY)))
        for hive in HIVES:
            self.files.add_link(hive.base_path, hive.config_path)
            self.pending.append(PendingLink(hive.base_path, hive.config_path))
        sink = self.files.add(LAYOUT)
        try:
            sink.write(LAYOUT_MARKER)
            sink.close()
        finally:
            sink.abandon()
        self.pending.append(PendingAdd(LAYOUT, LAYOUT, _generated(FILE_ATTRIBUTE_NORMAL)))

    def _process_upper(self) -> None:
        for hive in HIVES:
            if not self.files.holds(hive.delta_path):
                continue
            below = parent_hive(self.parents, hive, images=self._images_hold_hives)
            delta = HiveFile(f"{self.files.destination}/{hive.delta_path}", self._opening(hive.delta_path))
            sink = self.files.add(hive.base_path)
            try:
                self._merge(hive, below, delta, sink, self.notices)
                sink.close()
            finally:
                sink.abandon()
            self.pending.append(PendingAdd(hive.base_path, hive.base_path, _generated(FILE_ATTRIBUTE_NORMAL)))

    def _opening(self, path: str) -> Callable[[], int]:
        return lambda: self.files.open(path)


def _generated(attributes: int) -> Metadata:
    """Files that the import makes have no times, so that an image of the same layer is always the same."""
    return Metadata(attributes, 0, 0, 0, 0)
