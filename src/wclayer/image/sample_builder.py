"""A layer written down by hand: each call adds one item, and the items come out in the order of an export.

The order is that of hcsshim's export walk: a folder before what is in it, then its tombstones, then its children by
the bytes of their names. Times are derived from the path, so that all four of every item differ, have 100 ns digits
and never depend on the clock or on what else the layer holds.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final
from zlib import crc32

from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.attributes import (
    FILE_ATTRIBUTE_ARCHIVE,
    FILE_ATTRIBUTE_DIRECTORY,
    FILE_ATTRIBUTE_REPARSE_POINT,
    FILE_ATTRIBUTE_SPARSE_FILE,
)
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.names import encode_wtf8
from wclayer.ntfs.reparse import build_link
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build

__all__ = ["FILE_SDDL", "FOLDER_SDDL", "LayerBuilder"]

#: What a file gets: full access for Administrators and SYSTEM, read and execute for Users.
FILE_SDDL: Final = "O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x1200a9;;;BU)"
#: What a folder gets: the same, inherited by what is made in it; whoever makes something there owns it.
FOLDER_SDDL: Final = (
    "O:BAG:SYD:(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)(A;OICIIO;GA;;;CO)(A;OICI;0x1200a9;;;BU)(A;CI;LC;;;BU)(A;CI;DC;;;BU)"
)


class LayerBuilder:
    """Collects the items of one layer. ``epoch`` (FILETIME ticks) is the time that nothing in it is older than."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._items: list[LayerItem] = []

    def times(self, path: str) -> tuple[int, int, int, int]:
        """Creation, last access, last write and change time of ``path``: within 50 days of the epoch, all different."""
        start = self.epoch + crc32(encode_wtf8(path)) * 10_007
        return start, start + 86_421_234_567, start + 2_345_671, start + 3_456_789

    def metadata(
        self,
        path: str,
        attributes: int,
        *,
        sddl: str | None = None,
        security_descriptor: bytes | None = None,
        extended_attributes: tuple[ExtendedAttribute, ...] = (),
        reparse: bytes | None = None,
        times: tuple[int, int, int, int] | None = None,
    ) -> Metadata:
        """Metadata of ``path`` with its derived times; ``sddl``, the raw ``security_descriptor``, or neither."""
        return Metadata(
            attributes,
            *(times or self.times(path)),
            build(from_sddl(sddl)) if sddl is not None else security_descriptor,
            extended_attributes,
            reparse,
        )

    def folder(
        self,
        path: str,
        *,
        attributes: int = 0,
        sddl: str | None = FOLDER_SDDL,
        extended_attributes: tuple[ExtendedAttribute, ...] = (),
    ) -> None:
        """A folder; ``attributes`` are those besides DIRECTORY."""
        metadata = self.metadata(
            path, attributes | FILE_ATTRIBUTE_DIRECTORY, sddl=sddl, extended_attributes=extended_attributes
        )
        self._items.append(Entry(path, metadata, is_directory=True))

    def folders(self, *paths: str) -> None:
        """Several plain folders."""
        for path in paths:
            self.folder(path)

    def file(
        self,
        path: str,
        content: bytes | str | Stream | None,
        *,
        attributes: int = FILE_ATTRIBUTE_ARCHIVE,
        sddl: str | None = FILE_SDDL,
        security_descriptor: bytes | None = None,
        extended_attributes: tuple[ExtendedAttribute, ...] = (),
        times: tuple[int, int, int, int] | None = None,
        streams: Iterable[tuple[str, bytes | str]] = (),
    ) -> None:
        """A file. ``content`` None means no data stream at all; ``streams`` are ``(name, data)``, names without colons.

        ``security_descriptor`` counts only where ``sddl`` is None.
        """
        metadata = self.metadata(
            path,
            attributes,
            sddl=sddl,
            security_descriptor=security_descriptor,
            extended_attributes=extended_attributes,
            times=times,
        )
        self._items.append(Entry(path, metadata, data=_stream(content)))
        for name, data in streams:
            self._items.append(AlternateStream(path, f":{name}:$DATA", Stream.from_bytes(_bytes(data))))

    def sparse_file(self, path: str, size: int, pieces: tuple[tuple[int, bytes], ...]) -> None:
        """A file of ``size`` bytes of which only ``pieces``, ordered ``(offset, data)``, are allocated."""
        stored = b"".join(data for _, data in pieces)
        ranges = tuple((offset, len(data)) for offset, data in pieces)
        self.file(
            path,
            Stream(size, lambda _stored: iter((stored,)), ranges),
            attributes=FILE_ATTRIBUTE_ARCHIVE | FILE_ATTRIBUTE_SPARSE_FILE,
        )

    def symlink(self, path: str, target: str, *, directory: bool = False) -> None:
        """A symbolic link to a file, or to a folder, which Windows tells apart."""
        self._link(path, target, FILE_ATTRIBUTE_DIRECTORY if directory else FILE_ATTRIBUTE_ARCHIVE, mount_point=False)

    def junction(self, path: str, target: str, *, attributes: int = 0) -> None:
        """A mount point to a folder given by its absolute path."""
        self._link(path, target, attributes | FILE_ATTRIBUTE_DIRECTORY, mount_point=True)

    def _link(self, path: str, target: str, attributes: int, *, mount_point: bool) -> None:
        directory = bool(attributes & FILE_ATTRIBUTE_DIRECTORY)
        metadata = self.metadata(
            path,
            attributes | FILE_ATTRIBUTE_REPARSE_POINT,
            sddl=FOLDER_SDDL if directory else FILE_SDDL,
            reparse=build_link(target, mount_point=mount_point),
        )
        self._items.append(Entry(path, metadata, is_directory=directory))

    def hard_link(self, path: str, target: str) -> None:
        """Another name of ``target``, a file of this layer or of one below."""
        self._items.append(HardLink(path, target, self.metadata(path, FILE_ATTRIBUTE_ARCHIVE)))

    def tombstone(self, path: str) -> None:
        """The deletion of a file or folder of a layer below."""
        self._items.append(Tombstone(path))

    def items(self) -> list[LayerItem]:
        """Everything added so far, in the order of an export; streams right after their file."""
        return sorted(self._items, key=_walk_order)


def _walk_order(item: LayerItem) -> tuple[bytes, ...]:
    components = tuple(encode_wtf8(component) for component in item.path.split("/"))
    # The empty name puts the tombstones of a folder behind the folder and before its children.
    return (*components[:-1], b"") if isinstance(item, Tombstone) else components


def _bytes(content: bytes | str) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _stream(content: bytes | str | Stream | None) -> Stream | None:
    return content if content is None or isinstance(content, Stream) else Stream.from_bytes(_bytes(content))
