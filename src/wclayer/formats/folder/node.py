"""One row of ``layer.db`` as an object: an entry, or an alternate stream.

What is cheap is decoded at once, because most readers only list; metadata is decoded when asked for. The database may
be damaged, so a value is looked at before it is believed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer.errors import FormatError
from wclayer.formats.folder.schema import (
    FILE,
    FOLDER,
    LINK,
    SYNTHESISED,
    TOMBSTONE,
    Ranges,
    Row,
    decode_name,
    decode_ranges,
    decode_time,
)
from wclayer.model import Metadata
from wclayer.ntfs.ea import decode_eas
from wclayer.ntfs.names import encode_wtf8

if TYPE_CHECKING:
    from wclayer.formats.folder.index import LayerIndex

__all__ = ["Node", "StreamNode"]


class Node:
    """An entry of a layer.

    ``id`` is its number in the order of the layer, ``ordinal`` its number in the source (-1 when the source had none),
    ``path`` and ``name`` are spelt as the source spelt them. ``kind`` is FOLDER, FILE, LINK, TOMBSTONE or SYNTHESISED
    (a folder that has no entry of its own). ``size`` is the logical size of the main stream in bytes, None when there
    is none. Nodes are equal when they are the same entry of the same open index.
    """

    __slots__ = ("_row", "id", "index", "kind", "name", "ordinal", "parent", "path", "size")

    def __init__(self, index: LayerIndex, row: Row, folder: str) -> None:
        number, ordinal, parent, name = row[:4]
        kind, size = row[5], row[14]
        if not (
            type(number) is type(parent) is type(kind) is int
            and (ordinal is None or type(ordinal) is int)
            and (size is None or (type(size) is int and size >= 0))
        ):
            raise FormatError(f"entry {number} in the database is damaged", kind="layer-db", layer=index.where)
        self.index = index
        self._row = row
        self.id: int = number
        self.ordinal: int = -1 if ordinal is None else ordinal
        self.parent: int = parent
        self.name: str = name if type(name) is str else decode_name(name)
        self.path = f"{folder}/{self.name}" if folder else self.name
        self.kind: int = kind
        self.size: int | None = size

    def __repr__(self) -> str:
        return f"Node({self.id}, {self.path!r}, kind={self.kind})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and self.index is other.index and self.id == other.id

    def __hash__(self) -> int:
        return hash((id(self.index), self.id))

    @property
    def key(self) -> str:
        """The folded name, under which the entry is found."""
        value = self._row[4]
        return value if type(value) is str else decode_name(value)

    @property
    def is_folder(self) -> bool:
        """Whether entries can lie in it: a folder, synthesised or not."""
        return self.kind in (FOLDER, SYNTHESISED)

    @property
    def is_synthesised(self) -> bool:
        """Whether only the paths of other entries mention this folder."""
        return self.kind == SYNTHESISED

    @property
    def is_file(self) -> bool:
        """Whether it is a file with an entry of its own."""
        return self.kind == FILE

    @property
    def is_link(self) -> bool:
        """Whether it is a hard link."""
        return self.kind == LINK

    @property
    def is_tombstone(self) -> bool:
        """Whether it deletes an entry of the parents."""
        return self.kind == TOMBSTONE

    @property
    def is_reparse_point(self) -> bool:
        """Whether it carries a reparse buffer: a symbolic link, a junction, or something else of that kind."""
        return self._row[13] is not None

    @property
    def attributes(self) -> int:
        """The FILE_ATTRIBUTE_* word."""
        value = self._row[6]
        if type(value) is not int:
            raise self._damaged("attributes")
        return value

    @property
    def last_write_time(self) -> int | None:
        """When the data was last written, a FILETIME."""
        return decode_time(self._row[9])

    @property
    def reparse(self) -> bytes | None:
        """The whole reparse buffer, None when there is none."""
        value = self._row[13]
        if value is None or isinstance(value, bytes):
            return value
        raise self._damaged("reparse buffer")

    @property
    def ranges(self) -> Ranges | None:
        """The allocated ranges of a sparse main stream, None for a dense one."""
        return decode_ranges(self._row[15], self.size)

    @property
    def crc32(self) -> int | None:
        """The CRC-32 of the stored bytes of the main stream; None when they were not read."""
        value = self._row[16]
        return value if type(value) is int else None

    @property
    def target(self) -> str | None:
        """The target of a hard link, as the source spelt it."""
        return None if self._row[17] is None else decode_name(self._row[17])

    @property
    def target_layer(self) -> int | None:
        """Of a link to a file of a parent: which one, 0 being the nearest."""
        value = self._row[19]
        return value if type(value) is int else None

    @property
    def file_id(self) -> bytes | None:
        """The identity of the file in its source, see :class:`wclayer.model.Entry`."""
        value = self._row[21]
        return value if isinstance(value, bytes) else None

    @property
    def host_leaf(self) -> bytes:
        """The name on this machine."""
        value = self._row[20]
        return encode_wtf8(self.name if value is None else decode_name(value))

    def target_node(self) -> Node | None:
        """The file of this layer that a hard link names; None for anything else."""
        number = self._row[18]
        return self.index.node(number) if type(number) is int and number != self.id else None

    def metadata(self) -> Metadata:
        """What NTFS keeps about it; of a link the times and attributes that the source gave for this name."""
        row = self._row
        extended = row[12]
        if not (extended is None or isinstance(extended, bytes)):
            raise self._damaged("extended attributes")
        return Metadata(
            self.attributes,
            decode_time(row[7]),
            decode_time(row[8]),
            decode_time(row[9]),
            decode_time(row[10]),
            None if row[11] is None else self.index.security_descriptor(row[11]),
            () if extended is None else decode_eas(extended),
            self.reparse,
        )

    def _damaged(self, what: str) -> FormatError:
        return FormatError(
            f"{what} in the database are damaged", kind="layer-db", layer=self.index.where, path=self.path
        )


class StreamNode:
    """An alternate stream of a layer.

    ``entry`` is the number of its file or folder, None for an orphan; ``owner`` the path of that file or folder.
    ``content`` holds the stored bytes of a small stream, ``host`` names the file of a large one; both are None when
    only an index was written.
    """

    __slots__ = ("content", "crc32", "entry", "host", "id", "name", "ordinal", "owner", "ranges", "size")

    def __init__(self, row: Row, owner: str | None) -> None:
        number, ordinal, entry, given_owner, name, _key, size, ranges, crc, content, host = row
        if not (
            type(number) is type(ordinal) is type(size) is int
            and size >= 0
            and (entry is None or type(entry) is int)
            and (content is None or isinstance(content, bytes))
        ):
            raise FormatError(f"stream {number} in the database is damaged", kind="layer-db")
        self.id: int = number
        self.ordinal: int = ordinal
        self.entry: int | None = entry
        self.owner = decode_name(given_owner) if owner is None else owner
        self.name = decode_name(name)
        self.size: int = size
        self.ranges = decode_ranges(ranges, size)
        self.crc32: int | None = crc if type(crc) is int else None
        self.content: bytes | None = content
        self.host: bytes | None = None if host is None else encode_wtf8(decode_name(host))
