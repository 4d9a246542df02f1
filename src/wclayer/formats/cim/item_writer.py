"""``CimItemWriter``: layer items become an image, just as they are.

No files are kept beside it and nothing is processed: this makes images of anything, and of several layers one.
"""

from __future__ import annotations

import uuid
from pathlib import Path

from wclayer.errors import StoreError, UsageError, WclayerError
from wclayer.formats.cim.pouring import Pouring
from wclayer.formats.cim.profiles import Profile
from wclayer.formats.cim.writer import Check, CimWriter, CimWritten
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices, Transaction

__all__ = ["CimItemWriter"]


class CimItemWriter(Transaction):
    """Writes layer items as the image ``cim``; the folder it lies in is made.

    ``parent`` is the name of an image in the same folder to fork. The other arguments are those of
    :class:`~wclayer.formats.cim.writer.CimWriter`.
    """

    def __init__(
        self,
        cim: Path,
        *,
        parent: str | None = None,
        profile: Profile | None = None,
        guid: uuid.UUID | None = None,
        deduplicate: bool = True,
        small_limit: int | None = None,
        replace: bool = False,
        check: Check = "sample",
        wait: float = 0.0,
        notices: Notices | None = None,
    ) -> None:
        self.path = cim
        self.notices = Notices() if notices is None else notices
        #: What was written, after :meth:`commit`.
        self.written: CimWritten | None = None
        self._state = "open"
        try:
            cim.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"cannot make the folder of the image: {error}") from error
        self._image = CimWriter(
            cim.parent,
            cim.name,
            profile=profile,
            parent=parent,
            guid=guid,
            deduplicate=deduplicate,
            small_limit=small_limit,
            replace=replace,
            check=check,
            wait=wait,
            notices=self.notices,
        )
        self._pouring = Pouring(self._image, self.notices)

    @property
    def size(self) -> int:
        """The sum of the sizes of the files so far, in bytes, without alternate streams."""
        return self._pouring.size

    def write(self, item: LayerItem) -> None:
        """Take one item. After an error only :meth:`abort` is possible."""
        self._refuse_unless_open()
        self._state = "broken"
        try:
            if isinstance(item, Entry):
                self._pouring.entry(item)
            elif isinstance(item, AlternateStream):
                self._pouring.stream(item)
            elif isinstance(item, HardLink):
                self._pouring.link(item)
            else:
                self._pouring.remove(item.path)
        except WclayerError as error:
            raise error.locate(image=str(self.path), path=item.path) from None
        self._state = "open"

    def commit(self) -> None:
        """Make the image exist."""
        try:
            self._refuse_unless_open()
            self._pouring.finish()
            self.written = self._image.commit()
        except BaseException as error:
            self.abort()
            if isinstance(error, WclayerError):
                error.locate(image=str(self.path))
            raise
        self._state = "committed"

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice."""
        if self._state in ("committed", "aborted"):
            return
        self._state = "aborted"
        self._image.abort()

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer of {self.path} is {self._state}")
