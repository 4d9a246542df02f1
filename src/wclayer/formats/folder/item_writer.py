"""The items of a layer into its folder: data to files, everything else to the index.

This is what every entry passes through, so it is one of the modules that can be compiled; when a layer begins, ends or
fails says :mod:`wclayer.formats.folder.writer`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from wclayer.errors import UnsafeEntryError
from wclayer.formats.folder.content import crc32, stored_bytes
from wclayer.formats.folder.door import NameTakenError
from wclayer.formats.folder.index_builder import IndexBuilder
from wclayer.formats.folder.tree import HostTree
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem

__all__ = ["INLINE_LIMIT", "ItemWriter"]

INLINE_LIMIT: Final = 1 << 16
"""Alternate streams of up to this many stored bytes lie in the database, larger ones in files."""


class ItemWriter:
    """Writes items into the files of ``tree`` and the rows of ``builder``; raises what these raise."""

    def __init__(self, builder: IndexBuilder, tree: HostTree) -> None:
        self._builder = builder
        self._tree = tree

    def write_all(self, items: Iterable[LayerItem]) -> None:
        """Take all of them, one by one."""
        for item in items:
            self.write(item)

    def write(self, item: LayerItem) -> None:
        """Take one item; its stream is read before this returns."""
        if isinstance(item, Entry):
            if item.is_directory:
                self._builder.add_folder(item)
            else:
                self._write_file(item)
        elif isinstance(item, AlternateStream):
            self._write_stream(item)
        elif isinstance(item, HardLink):
            self._builder.add_link(item)
        else:
            self._builder.add_tombstone(item)

    def _write_file(self, entry: Entry) -> None:
        path = entry.path
        parent, host_parent, name = self._builder.locate(path)
        try:
            crc, host = self._tree.add_file(host_parent, name, entry.data, entry.metadata.last_write_time, path)
        except NameTakenError as error:
            raise UnsafeEntryError(self._builder.taken(parent, name), path=path) from error
        self._builder.add_file(entry, parent, name, crc, host=host)

    def _write_stream(self, item: AlternateStream) -> None:
        data = item.data
        if data.stored <= INLINE_LIMIT:
            content = stored_bytes(data, item.path)
            self._builder.add_stream(item, crc32(content), content=content)
        else:
            crc, host = self._tree.add_stream(self._builder.next_number, data, item.path)
            self._builder.add_stream(item, crc, host=host)
