"""The index alone: a layer listed without being unpacked."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from wclayer.errors import StoreError, UsageError
from wclayer.formats.folder.checks import attach_streams, check_names
from wclayer.formats.folder.content import crc32
from wclayer.formats.folder.index import LayerIndex
from wclayer.formats.folder.index_builder import IndexBuilder
from wclayer.formats.folder.links import resolve_links
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Notices, Stream, Transaction

__all__ = ["IndexWriter"]


class IndexWriter(Transaction):
    """Writes what ``layer.db`` would hold, and no files; the same rules hold as for a layer folder.

    With ``path`` the index becomes a file there, which must not exist; without, it is private and lies in temporary
    space. Either way :attr:`index` can be asked after :meth:`commit`, until it is closed. ``parents`` None means that
    they are not known: links that lead to them get the notice ``unresolved-link``. With ``checksums`` the data is read
    for its CRC-32; otherwise it is not read at all.
    """

    def __init__(
        self,
        path: Path | str | None = None,
        *,
        parents: Iterable[LayerIndex] | None = None,
        notices: Notices | None = None,
        facts: Mapping[str, str | int | None] | None = None,
        checksums: bool = False,
    ) -> None:
        self.notices = Notices() if notices is None else notices
        self.path = None if path is None else Path(path)
        self._parents = None if parents is None else list(parents)
        self._facts: dict[str, str | int | None] = dict(facts or {})
        self._checksums = checksums
        self._state = "open"
        where = "the layer" if path is None else str(path)
        if self.path is not None:
            try:
                self.path.open("xb").close()
            except OSError as error:
                raise StoreError(f"cannot create {self.path}: {error.strerror}") from error
        try:
            self._builder = IndexBuilder("" if path is None else os.fspath(path), self.notices, where=where)
        except BaseException:
            self._remove()
            raise
        self._index: LayerIndex | None = None

    @property
    def index(self) -> LayerIndex:
        """The index that was written; the caller closes it. Raises UsageError before :meth:`commit`."""
        if self._index is None:
            raise UsageError("the index can be asked when it is committed")
        return self._index

    def set_facts(self, **facts: str | int | None) -> None:
        """Add to what is recorded of the layer as a whole; possible until :meth:`commit`."""
        self._facts.update(facts)

    def write(self, item: LayerItem) -> None:
        """Take one item."""
        self._refuse_unless_open()
        try:
            if isinstance(item, Entry):
                if item.is_directory:
                    self._builder.add_folder(item)
                else:
                    parent, _, name = self._builder.locate(item.path)
                    self._builder.add_file(item, parent, name, self._checksum(item.data))
            elif isinstance(item, AlternateStream):
                self._builder.add_stream(item, self._checksum(item.data))
            elif isinstance(item, HardLink):
                self._builder.add_link(item)
            else:
                self._builder.add_tombstone(item)
        except BaseException:
            self._state = "broken"
            raise

    def commit(self) -> None:
        """Finish the index. Raises UnsafeEntryError for what only the whole layer shows; then nothing is left."""
        try:
            self._refuse_unless_open()
            builder = self._builder
            builder.settle_folders()
            builder.build_indexes()
            index = LayerIndex(builder.database, builder.where)
            check_names(index, self.notices)
            attach_streams(builder, index, self.notices)
            resolve_links(builder, index, self._parents, self.notices)
            builder.record(self._facts)
            builder.execute("COMMIT")
        except BaseException:
            self.abort()
            raise
        self._state = "committed"
        self._index = index

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice."""
        if self._state in ("committed", "aborted"):
            return
        self._state = "aborted"
        self._builder.abandon()
        self._remove()

    def _checksum(self, data: Stream | None) -> int | None:
        if data is None or not self._checksums:
            return None
        checksum = 0
        for piece in data.stored_pieces():
            checksum = crc32(piece, checksum)
        return checksum

    def _remove(self) -> None:
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the index writer is {self._state}")
