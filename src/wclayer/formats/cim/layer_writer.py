"""``CimLayerWriter``: the items of a layer become an image forked from the parent's, and a folder beside it.

The image is what Windows mounts; the folder holds the hives that the layers above are merged with. Both appear when
everything is there. The image comes first: should the machine stop right between the two, the layer is whole for all
but its folder, and layers above take the hives from the image.

Source: hcsshim ``internal/wclayer/cim`` (``ForkedCimLayerWriter``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from wclayer.errors import StoreError, UsageError
from wclayer.formats.cim.files import destroy_cim
from wclayer.formats.cim.hives import merge_hives
from wclayer.formats.cim.layer_import import LayerImport
from wclayer.formats.cim.layer_names import CimLayer
from wclayer.formats.cim.std_files import StdFiles
from wclayer.formats.cim.writer import CimWriter, CimWritten, ImageSettings
from wclayer.formats.item_writing import ItemTransaction
from wclayer.model import LayerItem, Notices

__all__ = ["CimLayerWriter"]


class CimLayerWriter(ItemTransaction):
    """Writes layer items as ``layer``: an image and a folder, neither of which may exist.

    ``parents`` are nearest first, all with their images in one folder; without any the layer is a base. ``process``
    says whether a base gets its ``Hives`` and an upper layer its whole hives. The other arguments are those of
    :class:`~wclayer.formats.cim.writer.CimWriter`.

    Raises NotFoundError for a base layer without its five hives and for changes of a hive that no layer below has.
    """

    def __init__(
        self,
        layer: CimLayer,
        *,
        parents: Sequence[CimLayer] = (),
        process: bool = True,
        notices: Notices | None = None,
        **settings: Unpack[ImageSettings],
    ) -> None:
        self.layer = layer
        self.path = layer.folder
        self.notices = Notices() if notices is None else notices
        #: What was written, after :meth:`commit`.
        self.written: CimWritten | None = None
        #: Whether the layer is processed; it counts when it is committed.
        self.process = process
        if parents and parents[0].cim.absolute().parent != layer.cim.absolute().parent:
            raise UsageError(f"the image {layer.cim} must be in the folder of its parent {parents[0].cim}")
        try:
            layer.cim.parent.mkdir(parents=True, exist_ok=True)
            layer.folder.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folders of the layer: {error}") from error
        self._files = StdFiles(layer.folder)
        try:
            self._image = CimWriter(
                layer.cim.parent,
                layer.cim.name,
                parent=parents[0].cim.name if parents else None,
                notices=self.notices,
                **settings,
            )
        except BaseException:
            self._files.discard()
            raise
        self._import = LayerImport(self._image, self._files, parents, merge_hives, self.notices)

    @property
    def size(self) -> int:
        """The sum of the sizes of the files so far, in bytes, as hcsshim counts it: without alternate streams."""
        return self._import.pouring.size

    def commit(self) -> None:
        """Process the layer and make its image and its folder exist."""
        super().commit()
        self._files.keep()

    def _take(self, item: LayerItem) -> None:
        self._import.write(item)

    def _finish(self) -> None:
        self._import.finish(process=self.process)
        self.written = self._image.commit()
        try:
            self._files.publish()
        except BaseException:
            destroy_cim(self.layer.cim)
            raise

    def _discard(self) -> None:
        try:
            self._image.abort()
        finally:
            self._files.discard()
