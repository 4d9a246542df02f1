"""What writers have in common that pour items into a new folder through a volume, as the backup streams of NTFS."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from wclayer.errors import LimitError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.formats.folder.door import store_error
from wclayer.formats.folder.index_builder import MAX_DEPTH
from wclayer.formats.folder.staging import Staging
from wclayer.formats.item_writing import ItemTransaction
from wclayer.formats.volume.errors import VolumeError
from wclayer.formats.volume.items import basic_of, write_alternate
from wclayer.formats.volume.record import BasicInfo
from wclayer.formats.volume.volume import Volume
from wclayer.model import AlternateStream, Buffer, Entry, LayerItem, Notices
from wclayer.ntfs.attributes import FILE_ATTRIBUTE_DIRECTORY
from wclayer.ntfs.names import fold

__all__ = ["BackupWriter", "VolumeItemWriter"]


class BackupWriter(Protocol):
    """A writer of hcsshim's kind."""

    def write(self, data: Buffer) -> object:
        """Take the next piece of the backup stream of the current entry."""

    def abandon(self) -> None:
        """Let go of everything."""


class VolumeItemWriter(ItemTransaction):
    """Writes layer items into the folder ``destination``, which appears with :meth:`commit`, whole.

    ``kind`` is what such a folder is called in errors. Who inherits opens the volume and the writer on it.
    """

    kind: str
    _volume: Volume
    _writer: BackupWriter

    def __init__(self, destination: Path, notices: Notices | None) -> None:
        self.notices = Notices() if notices is None else notices
        self.path = destination.absolute()
        self._staging = Staging(self.path)
        self._owner = ""  # the entry that alternate streams belong to now, and the names of those it has
        self._streams: set[str] = set()

    @contextmanager
    def _opening(self) -> Iterator[None]:
        """Around what opens the volume: when that fails, nothing is left behind."""
        try:
            yield
        except OSError as error:
            self._staging.discard()
            raise store_error(error, "cannot make the folder", os.fsencode(self.path), "") from error
        except BaseException as error:
            self._staging.discard()
            if isinstance(error, WclayerError):
                self._locate(error)
            raise

    def _take(self, item: LayerItem) -> None:
        try:
            if item.path.count("/") >= MAX_DEPTH:
                raise LimitError(f"the path has more than {MAX_DEPTH} components")
            self._pour(item, item.path.replace("/", "\\"))
        except VolumeError as error:
            raise self._refused(error, item.path) from error
        except WclayerError as error:
            if error is not self._late_error():
                error.path = item.path
            raise

    def _late_error(self) -> WclayerError | None:
        """The error that is about an item which was taken before, if there is one."""
        return None

    @abstractmethod
    def _pour(self, item: LayerItem, path: str) -> None:
        """Write one item, whose path is ``path`` on the volume."""

    def _discard(self) -> None:
        self._writer.abandon()
        try:
            self._volume.close(commit=False)
        finally:
            self._staging.discard()

    def _refused(self, error: VolumeError, path: str) -> UnsafeEntryError:
        """The same as an error of the layer: the folder is new, so nothing but the layer itself can be in the way."""
        return UnsafeEntryError(error.message, layer=str(self.path), path=path)

    def _own(self, entry: Entry) -> None:
        """Alternate streams are those of ``entry`` from now on."""
        self._owner = entry.path
        self._streams = set()

    def _write_alternate(self, item: AlternateStream) -> None:
        if item.path != self._owner:
            raise UnsupportedError(f"{self.kind} cannot take a stream apart from its file")
        if fold(item.name) in self._streams:
            raise UnsafeEntryError(f"the stream {item.name} comes twice")
        self._streams.add(fold(item.name))
        write_alternate(item, self._writer.write)

    def _basic_of(self, entry: Entry) -> BasicInfo:
        """The basic information of ``entry``, whose attributes say what its type says."""
        basic = basic_of(entry.metadata)
        if entry.is_directory != bool(basic.attributes & FILE_ATTRIBUTE_DIRECTORY):
            self.notices.add("attributes-and-type", entry.path, "its attributes now say what its type says")
            basic = basic._replace(attributes=basic.attributes ^ FILE_ATTRIBUTE_DIRECTORY)
        return basic
