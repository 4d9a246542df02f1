"""The folder of a base layer as a layer format: items out of it, items into it.

The reader knows two policies, as that of a transport folder does: ``reference`` gives what hcsshim exports of a base
layer, ``faithful`` all that is known. What NTFS keeps and POSIX does not is in a manifest in the folder.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from wclayer.errors import UnsupportedError, UsageError, WclayerError
from wclayer.formats.base.reader import BaseLayerReader
from wclayer.formats.base.writer import BaseLayerWriter
from wclayer.formats.tar.reader import Policy
from wclayer.formats.transport.portable import process_nothing
from wclayer.formats.transport.pour import current_items
from wclayer.formats.volume import Volume
from wclayer.formats.volume.item_writer import VolumeItemWriter
from wclayer.formats.volume.items import basic_of, volume_items, write_streams
from wclayer.formats.volume.layer import open_layer_volume, synchronise
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices

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


class BaseFolderWriter(VolumeItemWriter):
    """Writes layer items as the folder of a base layer, which appears with :meth:`commit`, whole.

    Raises UnsupportedError for deletions, UnsafeEntryError for what NTFS would refuse: a folder that is missing, a name
    that is taken. ``destination`` must not exist, or be empty.
    """

    kind = "a base layer's folder"
    _writer: BaseLayerWriter

    def __init__(self, destination: Path, *, notices: Notices | None = None) -> None:
        super().__init__(destination, notices)
        with self._opening():
            self._volume = open_layer_volume(
                self._staging.path, label=str(self.path), writable=True, notices=self.notices
            )
        self._writer = BaseLayerWriter(self._volume, process_nothing, process_nothing)

    def _finish(self) -> None:
        self._writer.close()
        self._volume.close()
        synchronise(self._staging.path)
        self._staging.publish()

    def _pour(self, item: LayerItem, path: str) -> None:
        if isinstance(item, Entry):
            self._writer.add(path, self._basic_of(item))
            write_streams(item, self._writer.write)
            self._own(item)
        elif isinstance(item, AlternateStream):
            self._write_alternate(item)
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
