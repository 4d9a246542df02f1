"""What writers have in common that take item after item: a state, errors that say where, and an end.

A writer that inherits :class:`ItemTransaction` says what becomes of an item, how it ends, and how it leaves nothing.
"""

from __future__ import annotations

from abc import abstractmethod
from pathlib import Path

from wclayer.errors import UsageError, WclayerError
from wclayer.model import LayerItem, Transaction

__all__ = ["ItemTransaction"]


class ItemTransaction(Transaction):
    """A writer that an error in an item breaks, and whose errors name the layer.

    ``path`` is where the layer will be; whoever inherits sets it.
    """

    path: Path

    def write(self, item: LayerItem) -> None:
        """Take one item. After an error only :meth:`abort` is possible."""
        self._refuse_unless_open()
        self._state = "broken"
        try:
            self._take(item)
        except WclayerError as error:
            self._locate(error, item.path)
            raise
        self._state = "open"

    def commit(self) -> None:
        """Make the layer exist, whole; after an error nothing is left behind."""
        try:
            self._refuse_unless_open()
            self._finish()
        except BaseException as error:
            self.abort()
            if isinstance(error, WclayerError):
                self._locate(error)
            raise
        self._state = "committed"

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice."""
        if self._state in ("committed", "aborted"):
            return
        self._state = "aborted"
        self._discard()

    @abstractmethod
    def _take(self, item: LayerItem) -> None:
        """Write one item."""

    @abstractmethod
    def _finish(self) -> None:
        """Everything was taken: make the layer exist."""

    @abstractmethod
    def _discard(self) -> None:
        """Remove what there is."""

    def _locate(self, error: WclayerError, path: str | None = None) -> None:
        """Say in ``error`` which layer it is about, and which entry."""
        error.locate(layer=str(self.path), path=path)

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer of {self.path} is {self._state}")
