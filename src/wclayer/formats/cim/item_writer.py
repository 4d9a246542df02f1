"""``CimItemWriter``: layer items become an image, just as they are.

No files are kept beside it and nothing is processed: this makes images of anything, and of several layers one.
"""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.cim.pouring import Pouring
from wclayer.formats.cim.writer import CimWriter, CimWritten, ImageSettings
from wclayer.formats.item_writing import ItemTransaction
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices

__all__ = ["CimItemWriter"]


class CimItemWriter(ItemTransaction):
    """Writes layer items as the image ``cim``; the folder it lies in is made.

    ``parent`` is the name of an image in the same folder to fork. The other arguments are those of
    :class:`~wclayer.formats.cim.writer.CimWriter`.
    """

    def __init__(
        self,
        cim: Path,
        *,
        parent: str | None = None,
        replace: bool = False,
        notices: Notices | None = None,
        **settings: Unpack[ImageSettings],
    ) -> None:
        self.path = cim
        self.notices = Notices() if notices is None else notices
        #: What was written, after :meth:`commit`.
        self.written: CimWritten | None = None
        try:
            cim.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder of the image: {error}") from error
        self._image = CimWriter(cim.parent, cim.name, parent=parent, replace=replace, notices=self.notices, **settings)
        self._pouring = Pouring(self._image, self.notices)

    @property
    def size(self) -> int:
        """The sum of the sizes of the files so far, in bytes, without alternate streams."""
        return self._pouring.size

    def _take(self, item: LayerItem) -> None:
        if isinstance(item, Entry):
            self._pouring.entry(item)
        elif isinstance(item, AlternateStream):
            self._pouring.stream(item)
        elif isinstance(item, HardLink):
            self._pouring.link(item)
        else:
            self._pouring.remove(item.path)

    def _finish(self) -> None:
        self._pouring.finish()
        self.written = self._image.commit()

    def _discard(self) -> None:
        self._image.abort()

    def _locate(self, error: WclayerError, path: str | None = None) -> None:
        error.locate(image=str(self.path), path=path)
