"""A layer tar into a layer writer, operation by operation as hcsshim's ``ociwclayer`` does it; and the way back.

Four boot files are saved a second time on the way in, beside the layer's folders, since Windows changes them in place.
On the way out files of several names become one entry and hard links to it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Protocol

from wclayer.errors import WclayerError
from wclayer.formats.tar.backuptar import AddOperation, BackupSource, LinkOperation, backup_items, import_operations
from wclayer.formats.tar.members import Members
from wclayer.formats.tar.reader import Policy
from wclayer.formats.tar.writer import TarLayerWriter
from wclayer.formats.transport.files import RestoredFile
from wclayer.formats.transport.reader import EntryHead, LegacyLayerReader, LinkInfo
from wclayer.formats.volume import BasicInfo, Volume, VolumeError
from wclayer.formats.volume.errors import ERROR_ACCESS_DENIED
from wclayer.model import Buffer, Entry, LayerItem, Metadata, Tombstone
from wclayer.ntfs.filetime import ABSENT_IN_REFERENCE
from wclayer.ntfs.names import decode_wtf8

__all__ = ["LayerSource", "LayerTarget", "current_items", "pour_layer", "pour_tar", "source_of"]


class LayerTarget(Protocol):
    """What hcsshim calls a layer writer."""

    @property
    def layer(self) -> Volume:
        """The layer's own folder."""

    def add(self, name: str, basic: BasicInfo) -> None:
        """Begin an entry."""

    def add_link(self, name: str, target: str) -> None:
        """Make a hard link."""

    def remove(self, name: str) -> None:
        """Delete something of the parents."""

    def write(self, data: Buffer) -> None:
        """Write a piece of the current entry's backup stream."""


class LayerSource(Protocol):
    """What hcsshim calls a layer reader."""

    def next(self) -> EntryHead | None:
        """The next entry."""

    def link_info(self) -> LinkInfo:
        """The names of its file."""

    def read(self, count: int) -> bytes:
        """A piece of its backup stream."""

    def plain_entry(self, head: EntryHead, path: str, file_id: bytes | None) -> Entry | None:
        """The whole entry, where nothing of its backup stream has to be read to know it."""


def pour_tar(
    members: Members,
    writer: LayerTarget,
    *,
    policy: Policy = "reference",
    check: Callable[[], object] = lambda: None,
) -> int:
    """Write the layer in ``members``; returns the sum of the sizes of its files, in bytes. Does not close the writer.

    With the policy ``faithful`` an access or change time that the tar does not have is the time of the last write; the
    reference makes a day in 1754 of it. ``check`` is called before each entry and may raise to stop.
    """
    total = 0
    for operation in import_operations(members):
        check()
        name = decode_wtf8(operation.name)
        try:
            if isinstance(operation, AddOperation):
                writer.add(name, _basic(operation, faithful=policy == "faithful"))
                total += operation.size
                if operation.copy_as is None:
                    operation.copy_to(writer.write)
                else:
                    _save(operation, writer)
            elif isinstance(operation, LinkOperation):
                writer.add_link(name, decode_wtf8(operation.target))
            else:
                writer.remove(name)
        except WclayerError as error:
            raise error.locate(path=name) from None
    return total


def _basic(operation: AddOperation, *, faithful: bool) -> BasicInfo:
    times = (operation.last_access_time, operation.last_write_time, operation.change_time)
    if faithful:
        access, write, change = (operation.last_write_time if t == ABSENT_IN_REFERENCE else t for t in times)
        times = (access, write, change)
    return BasicInfo(operation.attributes, operation.creation_time, *times)


def _save(operation: AddOperation, writer: LayerTarget) -> None:
    """Hand the stream to the writer and, without its security, to a new file in the layer's folder."""
    layer, leaf = writer.layer, operation.copy_as or ""
    if layer.exists(leaf):
        if layer.lstat(leaf).is_directory:
            # A folder of that name is the layer's own and stays.
            raise VolumeError("open", leaf, ERROR_ACCESS_DENIED, where=layer.label, reason="it is a folder")
        layer.remove(leaf)
    copy = RestoredFile(layer.create(leaf), security=False, buffered=False)

    def both(data: Buffer) -> None:
        writer.write(data)
        copy.write(data)

    try:
        operation.copy_to(both)
        copy.close()
    except BaseException:
        copy.abandon()
        raise


def pour_layer(reader: LayerSource, tar: TarLayerWriter, *, hard_links: bool = True) -> None:
    """Write what ``reader`` reads as a tar, which is not ended here; with ``hard_links`` files of many names once.

    Raises what the reader and the conversion raise: ``stream-unknown``, ``size-mismatch``, ``reparse-unsupported``.
    """
    while (head := reader.next()) is not None:
        path = head.path.replace("\\", "/")
        if head.basic is None:
            tar.write(Tombstone(path))
            continue
        info = reader.link_info()
        # As in hcsshim the file alone counts, not the volume it lies on.
        file_id = info.file_id if hard_links and info.links > 1 else None
        for item in current_items(reader, head, head.basic, path, file_id):
            tar.write(item)


def current_items(
    reader: LayerSource, head: EntryHead, basic: BasicInfo, path: str, file_id: bytes | None
) -> Iterable[LayerItem]:
    """The current entry of ``reader`` and its streams, each to be read before the next is asked for."""
    entry = reader.plain_entry(head, path, file_id)
    return backup_items(source_of(reader, head, basic, path, file_id)) if entry is None else (entry,)


def source_of(reader: LayerSource, head: EntryHead, basic: BasicInfo, path: str, file_id: bytes | None) -> BackupSource:
    """The current entry of ``reader`` for :func:`backup_items`; a blob can be read twice."""
    metadata = Metadata(
        basic.attributes, basic.creation_time, basic.last_access_time, basic.last_write_time, basic.change_time
    )
    seekable, start = False, 0
    if isinstance(reader, LegacyLayerReader) and reader.is_seekable:
        seekable, start = True, reader.seek(0, os.SEEK_CUR)

    def open_stream() -> Callable[[int], bytes]:
        if isinstance(reader, LegacyLayerReader) and seekable:
            reader.seek(start)
        return reader.read

    return BackupSource(path, metadata, head.size, open_stream, seekable, file_id)
