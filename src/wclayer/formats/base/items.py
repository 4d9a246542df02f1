"""The folder of a base layer as a layer format: items out of it, items into it.

The reader knows two policies, as that of a transport folder does: ``reference`` gives what hcsshim exports of a base
layer, ``faithful`` all that is known. What NTFS keeps and POSIX does not is in a manifest in the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import LimitError, UnsafeEntryError, UnsupportedError, UsageError, WclayerError
from wclayer.formats.base.reader import BaseLayerReader
from wclayer.formats.base.writer import BaseLayerWriter
from wclayer.formats.folder.index_builder import MAX_DEPTH
from wclayer.formats.folder.staging import Staging
from wclayer.formats.tar.reader import Policy
from wclayer.formats.transport.portable import process_nothing
from wclayer.formats.transport.pour import current_items
from wclayer.formats.volume import Volume, VolumeError
from wclayer.formats.volume.items import basic_of, volume_items, write_alternate, write_streams
from wclayer.formats.volume.layer import open_layer_volume, synchronise
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices, Transaction
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.names import fold

__all__ = ["BaseFolderReader", "BaseFolderWriter", "refuse_deletions"]


class BaseFolderReader:
    """Reads the base layer in ``folder`` as layer items: ``Files`` and the files of the utility VM."""

    def __init__(self, folder: Path, *, policy: Policy = "faithful", notices: Notices | None = None) -> None:
        self.folder = folder
        self.notices = Notices() if notices is None else notices
        self._faithful = policy == "faithful"

    def __iter__(self) -> Iterator[LayerItem]:
        with (
            open_layer_volume(self.folder, label=str(self.folder), notices=self.notices) as volume,
            BaseLayerReader(volume) as reader,
        ):
            refuse_deletions(volume)
            while (head := reader.next()) is not None:
                path = head.path.replace("\\", "/")
                status, basic = reader.status, head.basic
                if status is None or basic is None:
                    raise UsageError("a base layer has no deletions")
                try:
                    if self._faithful:
                        yield from volume_items(volume, status, path)
                    else:
                        file_id = status.file_id if status.links > 1 else None
                        yield from current_items(reader, head, basic, path, file_id)
                except WclayerError as error:
                    raise error.locate(path=path) from None


def refuse_deletions(volume: Volume) -> None:
    """Raises UnsupportedError when the layer in ``volume`` deletes from its parents, which a base layer does not have.

    A reader of base layers would leave the deletions out.
    """
    if volume.manifest is not None and volume.manifest.tombstones():
        raise UnsupportedError(
            "it is no base layer, for it deletes from its parents",
            layer=volume.label,
            hint=f"export it as what it is: wclayer export layer:{volume.label}",
        )


class BaseFolderWriter(Transaction):
    """Writes layer items as the folder of a base layer, which appears with :meth:`commit`, whole.

    Raises UnsupportedError for deletions, UnsafeEntryError for what NTFS would refuse: a folder that is missing, a name
    that is taken. ``destination`` must not exist, or be empty.
    """

    def __init__(self, destination: Path, *, notices: Notices | None = None) -> None:
        self.notices = Notices() if notices is None else notices
        self.path = destination.absolute()
        self._staging = Staging(self.path)
        self._state = "open"
        try:
            self._volume = open_layer_volume(
                self._staging.path, label=str(self.path), writable=True, notices=self.notices
            )
        except BaseException as error:
            self._staging.discard()
            if isinstance(error, WclayerError):
                error.locate(layer=str(self.path))
            raise
        self._writer = BaseLayerWriter(self._volume, process_nothing, process_nothing)
        self._owner = ""
        self._streams: set[str] = set()

    def write(self, item: LayerItem) -> None:
        """Take one item. After an error only :meth:`abort` is possible."""
        self._refuse_unless_open()
        self._state = "broken"
        try:
            self._write(item)
        except VolumeError as error:
            # The folder is new, so nothing but the layer itself can be in the way.
            raise UnsafeEntryError(error.message, layer=str(self.path), path=item.path) from error
        except WclayerError as error:
            error.path = item.path
            raise error.locate(layer=str(self.path)) from None
        self._state = "open"

    def commit(self) -> None:
        """Make the folder exist."""
        try:
            self._refuse_unless_open()
            self._writer.close()
            self._volume.close()
            synchronise(self._staging.path)
            self._staging.publish()
        except BaseException as error:
            self.abort()
            if isinstance(error, WclayerError):
                error.locate(layer=str(self.path))
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

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer of {self.path} is {self._state}")

    def _write(self, item: LayerItem) -> None:
        if item.path.count("/") >= MAX_DEPTH:
            raise LimitError(f"the path has more than {MAX_DEPTH} components")
        path = item.path.replace("/", "\\")
        if isinstance(item, Entry):
            basic = basic_of(item.metadata)
            if item.is_directory != bool(basic.attributes & FILE_ATTRIBUTE_DIRECTORY):
                self.notices.add("attributes-and-type", item.path, "its attributes now say what its type says")
                basic = basic._replace(attributes=basic.attributes ^ FILE_ATTRIBUTE_DIRECTORY)
            self._writer.add(path, basic)
            write_streams(item, self._writer.write)
            self._owner = item.path
            self._streams = set()
        elif isinstance(item, AlternateStream):
            if item.path != self._owner:
                raise UnsupportedError("a base layer's folder cannot take a stream apart from its file")
            if fold(item.name) in self._streams:
                raise UnsafeEntryError(f"the stream {item.name} comes twice")
            self._streams.add(fold(item.name))
            write_alternate(item, self._writer.write)
        elif isinstance(item, HardLink):
            self._owner = ""
            self._writer.add_link(path, item.target.replace("/", "\\"))
            self._tell_link_losses(item, path)
        else:
            raise UnsupportedError("a base layer cannot have tombstones")

    def _tell_link_losses(self, link: HardLink, path: str) -> None:
        """Tell what the source says of a link and not of its file, which is all that is kept."""
        said, kept = basic_of(link.metadata), self._volume.lstat(path).basic
        if kept[1:] != said[1:]:
            self.notices.add("link-times", link.path, "a link has the times of its file; the source has others")
        if kept.attributes != said.attributes:
            self.notices.add(
                "link-attributes", link.path, "a link has the attributes of its file; the source has others"
            )
