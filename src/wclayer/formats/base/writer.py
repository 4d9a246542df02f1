r"""``BaseLayerWriter``: the entries of a layer without parents go straight to their final place.

Every entry is created, described and restored in the layer's folder in the order in which it comes. At the end the
times of the folders are set again, children first, and Windows processes what has become a base layer.
"""

from __future__ import annotations

from collections.abc import Callable

from wclayer.errors import FormatError, UsageError, WclayerError
from wclayer.formats.transport.files import EntryFile, RestoredFile
from wclayer.formats.transport.names import FILES, UTILITY_VM, UTILITY_VM_FILES
from wclayer.formats.transport.utility_vm import copy_node
from wclayer.formats.transport.writer import ChangedFolder
from wclayer.formats.volume import BasicInfo, OpenNode, Volume, VolumeError
from wclayer.formats.volume.errors import ERROR_DIRECTORY
from wclayer.formats.volume.paths import clean
from wclayer.model import Buffer
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY

__all__ = ["BaseLayerWriter"]


class BaseLayerWriter:
    """Writes a base layer into the folder ``layer``, which stays the caller's.

    ``process_base_image`` and ``process_utility_image`` are what Windows does to a finished layer; neither is called
    after an error, however small: hcsshim processes a layer after a refused deletion.
    """

    def __init__(
        self,
        layer: Volume,
        process_base_image: Callable[[Volume], None],
        process_utility_image: Callable[[Volume], None],
    ) -> None:
        self.layer = layer
        self.changed_folders: list[ChangedFolder] = []
        self.has_utility_vm = False
        self._process_base_image = process_base_image
        self._process_utility_image = process_utility_image
        self._current: EntryFile | None = None
        self._error: WclayerError | None = None
        self._closed = False

    def add(self, name: str, basic: BasicInfo) -> None:
        """Begin the entry ``name``; its folder must exist, and nothing of its name. Raises VolumeError."""
        self._guard(self._end_entry)
        self._guard(lambda: self._add(name, basic))

    def add_link(self, name: str, target: str) -> None:
        """Make ``name`` another name of ``target``, which must be in this layer already. Raises VolumeError."""
        self._guard(self._end_entry)
        self._guard(lambda: self._add_link(name, target))

    def remove(self, name: str) -> None:
        """Refused: a base layer has nothing below it that it could delete from."""
        error = FormatError("base layer cannot have tombstones", kind="tombstone", path=name)
        self._error = self._error or error
        raise error

    def write(self, data: Buffer) -> None:
        """Write a piece of the backup stream of the entry that was added last. Raises UsageError ``closed``."""
        current = self._current
        if current is None:
            raise UsageError("closed: there is no entry that takes data")
        try:
            current.write(data)
        except WclayerError as error:
            self._error = self._error or error
            raise

    def close(self) -> None:
        """Finish the layer. Raises the first error that there was, and then processes nothing; ever again."""
        if self._closed:
            if self._error is not None:
                raise self._error
            return
        if self._error is None:
            self._guard(self._end_entry)
        self._closed = True
        if self._error is not None:
            self.abandon()
            raise self._error
        try:
            self._finish()
        except WclayerError as error:
            self._error = error
            raise

    def _finish(self) -> None:
        layer = self.layer
        for folder in reversed(self.changed_folders):
            path = clean(folder.path)
            status = layer.lstat(path, "open")
            if not status.is_directory:
                raise VolumeError("open", path, ERROR_DIRECTORY, where=layer.label)
            layer.set_basic(status, folder.basic)
        if layer.exists(FILES):
            layer.ensure_not_reparse_point(FILES)
        self._process_base_image(layer)
        if self.has_utility_vm:
            layer.ensure_not_reparse_point(UTILITY_VM)
            self._process_utility_image(layer)

    def abandon(self) -> None:
        """Close what is open without caring for it; an error is on its way."""
        current, self._current = self._current, None
        self._closed = True
        if current is not None:
            current.abandon()

    def _guard(self, step: Callable[[], None]) -> None:
        if self._closed:
            raise UsageError("closed: the layer writer is done")
        try:
            step()
        except WclayerError as error:
            self._error = self._error or error
            raise

    def _end_entry(self) -> None:
        current, self._current = self._current, None
        if current is not None:
            current.close()

    def _add(self, name: str, basic: BasicInfo) -> None:
        path = clean(name)
        if path == UTILITY_VM_FILES:
            self.has_utility_vm = True
        is_directory = bool(basic.attributes & FILE_ATTRIBUTE_DIRECTORY)
        if is_directory:
            self.changed_folders.append(ChangedFolder(name, basic))
            node = self.layer.make_folder(path)
        else:
            node = self.layer.create(path)
        self._begin(node, basic)

    def _begin(self, node: OpenNode, basic: BasicInfo) -> None:
        try:
            node.set_basic(basic)
            self._current = RestoredFile(node, security=True, buffered=False)
        except BaseException:
            node.abandon()
            raise

    def _add_link(self, name: str, target: str) -> None:
        layer = self.layer
        if not layer.link(layer, target, name):
            layer.notices.add("link-copied", name, f"the file system cannot link it to {target}; it was copied")
            copy_node(layer, layer.lstat(target), layer, name)
