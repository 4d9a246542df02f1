"""The layer folder written: one pass over the items, and a commit that makes the layer exist.

Data goes to files as it comes, everything else to the index. What needs the whole layer waits for the commit: hard
links, names that Windows takes for one, late streams, times and modes of folders. Afterwards everything is read-only.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

from wclayer.errors import UsageError, WclayerError
from wclayer.formats.folder.checks import attach_streams, check_names
from wclayer.formats.folder.content import HEADER_RECORD, INDEX, LAYER_CHAIN, PRISTINE
from wclayer.formats.folder.door import READ_FLAGS, store_error
from wclayer.formats.folder.folder import LayerFolder, layer_chain_text, parents_fact
from wclayer.formats.folder.header_writer import HeaderRecordWriter
from wclayer.formats.folder.index import LayerIndex
from wclayer.formats.folder.index_builder import IndexBuilder
from wclayer.formats.folder.item_writer import ItemWriter
from wclayer.formats.folder.links import resolve_links
from wclayer.formats.folder.remote_tree import RemoteTree
from wclayer.formats.folder.shared_memory import SharedMemory
from wclayer.formats.folder.staging import Staging
from wclayer.formats.folder.tree import HostTree
from wclayer.model import LayerItem, Notices, Transaction
from wclayer.processes import can_start_workers

__all__ = ["Fact", "LayerFolderWriter"]

Fact: TypeAlias = str | int | None


class LayerFolderWriter(Transaction):
    """Writes the layer folder ``destination``, which appears with :meth:`commit`, whole.

    ``parents`` are the layers below, nearest first: open :class:`LayerFolder` objects, or paths, which are opened and
    closed here. ``facts`` is what is known of the layer as a whole, see :meth:`set_facts`. With ``sync`` the data too
    survives a loss of power once :meth:`commit` returns. With ``link_host_files`` a stream that lies in a file of the
    same file system is linked, not copied; that file must then never change. With ``second_process`` another process
    makes the files while this one reads, where the system allows: worth its start for some thousand files. ``memory``
    is where the slabs lie from which the items come, so that it can take their data from there.

    :meth:`write` raises UnsafeEntryError for an entry that would leave the layer, pass through something other than a
    folder, or overwrite what is there; FormatError for a stream that is not as long as it says; StoreError when the
    file system refuses. After an error only :meth:`abort` is possible. The constructor raises StoreError when
    ``destination`` is taken, and UnsupportedError on a system without file operations relative to an open folder.
    """

    def __init__(
        self,
        destination: Path | str,
        *,
        parents: Iterable[LayerFolder | Path | str] = (),
        notices: Notices | None = None,
        facts: Mapping[str, Fact] | None = None,
        sync: bool = False,
        link_host_files: bool = False,
        second_process: bool = False,
        memory: SharedMemory | None = None,
    ) -> None:
        self.notices = Notices() if notices is None else notices
        self._facts: dict[str, Fact] = dict(facts or {})
        self._sync = sync
        self._state = "open"
        self._header_record: HeaderRecordWriter | None = None
        self._held = ExitStack()
        self._staging = Staging(Path(destination))
        self.path = self._staging.destination
        where = str(self.path)
        try:
            self._parents = [self._opened(parent) for parent in parents]
            apart = second_process and not link_host_files
            self._tree = _open_tree(
                self._staging, where, link_host_files=link_host_files, second_process=apart, memory=memory
            )
            self._held.callback(self._tree.close)
            database = os.fspath(self._staging.path / os.fsdecode(INDEX))
            self._builder = IndexBuilder(database, self.notices, where=where, tree=self._tree)
            self._held.callback(self._builder.abandon)
            self._items = ItemWriter(self._builder, self._tree)
        except BaseException:
            self.abort()
            raise

    def set_parents(self, parents: Iterable[LayerFolder | Path | str]) -> None:
        """Say what the layer stands on, nearest first, in place of what the constructor was told; until :meth:`commit`.

        So a layer can be written while its parents are still being written.
        """
        self._refuse_unless_open()
        self._parents = [self._opened(parent) for parent in parents]

    def set_facts(self, **facts: Fact) -> None:
        """Add to what is recorded of the layer as a whole; possible until :meth:`commit`.

        Names in use: ``diff_id``, ``chain_id``, ``blob_digest``, ``media_type``, ``tar_size``, ``policy``, ``tool``.
        The writer adds ``parents``, ``entries``, ``streams`` and ``header_record``.
        """
        self._refuse_unless_open()
        self._facts.update(facts)

    def header_record(self) -> HeaderRecordWriter:
        """The record of the tar's headers, for whoever reads the tar; closed by :meth:`commit`."""
        self._refuse_unless_open()
        if self._header_record is None:
            path = self._staging.path / os.fsdecode(HEADER_RECORD)
            self._header_record = HeaderRecordWriter(path, opener=self._tree.open_new)
            self._held.callback(self._header_record.abandon)
        return self._header_record

    def write(self, item: LayerItem) -> None:
        """Take one item; its stream is read before this returns."""
        if self._state != "open":
            self._refuse_unless_open()
        try:
            self._items.write(item)
        except BaseException as error:
            self._break(error)
            raise

    def write_all(self, items: Iterable[LayerItem]) -> None:
        """Take all ``items``. What goes wrong with reading them is an error of this layer, too."""
        self._refuse_unless_open()
        try:
            self._items.write_all(items)
        except BaseException as error:
            self._break(error)
            raise

    def put_pristine(self, name: str, content: bytes) -> None:
        """Keep a copy of a boot configuration beside the layer, under one of the names that Docker gives such copies.

        Raises UsageError for another name, NameTakenError when the layer itself has something of that name.
        """
        self._refuse_unless_open()
        if name.encode() not in PRISTINE:
            raise UsageError(f"{name!r} is no name for a copy of a boot configuration")
        self._tree.put(name.encode(), content)

    def settle(self) -> None:
        """Wait until what was written so far is done. Raises what went wrong with it, which may be known only now."""
        try:
            self._tree.settle()
        except BaseException:
            self._state = "broken"
            raise

    def commit(self) -> None:
        """Make the layer exist: links, checks, times, modes, index, and the rename to its name.

        Raises UnsafeEntryError for what only the whole layer shows, and StoreError; then nothing is left behind.
        """
        try:
            self._refuse_unless_open()
            self._finish()
            self._held.close()
            self._staging.publish()
        except BaseException:
            self.abort()
            raise
        self._state = "committed"

    def abort(self) -> None:
        """Leave nothing behind. Harmless after :meth:`commit` and when called twice."""
        if self._state in ("committed", "aborted"):
            return
        self._state = "aborted"
        try:
            self._held.close()
        finally:
            self._staging.discard()

    def _break(self, error: BaseException) -> None:
        """Only :meth:`abort` is possible after ``error``; raises what went wrong before it, which comes first."""
        self._state = "broken"
        if isinstance(error, WclayerError):
            self._tree.settle()

    def _opened(self, parent: LayerFolder | Path | str) -> LayerFolder:
        if isinstance(parent, LayerFolder):
            return parent
        folder = LayerFolder(parent)
        self._held.callback(folder.close)
        return folder

    def _refuse_unless_open(self) -> None:
        if self._state != "open":
            raise UsageError(f"the writer of the layer {self.path} is {self._state}")

    def _finish(self) -> None:
        builder, tree, notices = self._builder, self._tree, self.notices
        tree.settle()
        if self._header_record is not None:
            self._header_record.close()
        builder.settle_folders()
        index = LayerIndex(builder.database, builder.where)
        awaits_links = builder.awaits_links
        if not awaits_links:
            tree.seal()  # what another process does while the indexes are built
        builder.build_indexes()
        check_names(index, notices)
        attach_streams(builder, index, notices)
        tree.parents = self._parents
        resolve_links(builder, index, self._parents, notices, tree)
        if awaits_links:
            tree.seal()
        tree.settle()
        tree.put(LAYER_CHAIN, layer_chain_text(parent.path for parent in self._parents))
        recorded = int(self._header_record is not None)
        builder.record({**self._facts, "parents": parents_fact(self._parents), "header_record": recorded})
        builder.close()
        self._synchronise()
        tree.seal_top()

    def _synchronise(self) -> None:
        root = self._staging.root
        try:
            for leaf in (INDEX, HEADER_RECORD, LAYER_CHAIN):
                if leaf != HEADER_RECORD or self._header_record is not None:
                    descriptor = os.open(leaf, READ_FLAGS, dir_fd=root)
                    try:
                        os.fchmod(descriptor, 0o444 & self._staging.mask)
                        os.fsync(descriptor)
                    finally:
                        os.close(descriptor)
            if self._sync:
                _sync_file_system(root)
            os.fsync(root)
        except OSError as error:
            raise store_error(error, "cannot synchronise the layer", b".", str(self.path)) from error


def _open_tree(
    staging: Staging, where: str, *, link_host_files: bool, second_process: bool, memory: SharedMemory | None
) -> HostTree:
    if second_process and can_start_workers():
        try:
            return RemoteTree(staging, where=where, memory=memory)
        except OSError:
            pass  # too many processes, or none allowed: this one can do it too
    return HostTree(staging, where=where, link_host_files=link_host_files)


def _sync_file_system(descriptor: int) -> None:
    """Write out the file system on which ``descriptor`` lies, or all of them where one cannot be named."""
    if sys.platform != "linux":
        os.sync()
    elif ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
