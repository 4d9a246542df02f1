r"""A hive is read where it lies: nothing is taken apart before somebody asks for it.

:class:`Hive` looks at the base block only; :class:`Key` takes one key node apart, its values and subkeys when they are
asked for. :meth:`Hive.walk` and :meth:`Hive.tree` go through everything, without an object for each thing they pass.
The buffer may be ``bytes`` or an ``mmap``, of which only the pages that are looked at are read::

    with open("SOFTWARE", "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
        hive = Hive(buffer, what="SOFTWARE")
        print(hive.key(r"Microsoft\Windows NT\CurrentVersion").value("UBR").number())

A hive may be hostile. Every offset, size and count is checked before it is used; a key must name the key that lists
it as its parent and may be listed once, so that no walk goes in circles; and a walk takes no more from a hive than
there are bytes in it, so that a value list that a thousand keys share is an error and not a thousand lists.

Format: see :mod:`wclayer.regf.structures`.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final, TypeAlias

from wclayer.errors import FormatError, NotFoundError, UnsupportedError
from wclayer.ntfs.names import fold
from wclayer.regf.cells import Cells, Node
from wclayer.regf.structures import (
    BASE_BLOCK,
    BASE_BLOCK_SIZE,
    BASE_LAYERED_KEYS,
    BIN,
    CHECKSUM_OFFSET,
    base_block_checksum,
    name_hash,
)
from wclayer.regf.tree import HiveKey, HiveValue
from wclayer.regf.walk import Walker

if TYPE_CHECKING:
    Buffer: TypeAlias = bytes | bytearray | memoryview | mmap.mmap

__all__ = ["Hive", "Key"]

_VERSIONS: Final = range(3, 7)


class Hive:
    """A hive in ``buffer``, which must stay as it is while the hive is in use; ``what`` names it in errors.

    A dirty hive (its last write was not completed) is read as it lies, and ``warnings`` says so:
    :func:`wclayer.regf.logs.replay` makes it whole first. Raises FormatError when this is no hive, and
    UnsupportedError for one of Windows NT 3 or of a version that is not known.
    """

    def __init__(self, buffer: Buffer, what: str = "the hive") -> None:
        if len(buffer) < BASE_BLOCK_SIZE + BIN.size:
            raise FormatError(f"{what} has {len(buffer)} bytes, too few for a registry hive", kind="hive")
        head = BASE_BLOCK.unpack_from(buffer)
        signature, first, second, written, major, minor, kind, form, root, size, _, name, flags = head
        if signature != b"regf":
            raise FormatError(f"{what} is no registry hive: it does not begin with regf", kind="hive")
        if major != 1 or minor not in _VERSIONS or kind != 0 or form != 1:
            raise UnsupportedError(
                f"{what} is a registry file of version {major}.{minor}, type {kind}, format {form}; known are the "
                f"versions 1.3 to 1.6 of type 0, format 1"
            )
        self.what = what
        #: Minor version of the format, 3 to 6; the major one is 1.
        self.minor = minor
        #: When the hive was last written, in FILETIME ticks. Windows 8.1 and later leave it alone.
        self.timestamp = written
        #: The end of the path that the hive had when it was written.
        self.name = bytes(name).decode("utf-16-le", "surrogatepass").partition("\0")[0]
        #: Whether the keys may be layered: the hive is a delta, to be merged with others.
        self.is_delta = bool(flags & BASE_LAYERED_KEYS) and minor >= 6
        #: What is odd about this hive and does not keep it from being read.
        self.warnings: list[str] = []
        checksum = struct.unpack_from("<I", buffer, CHECKSUM_OFFSET)[0]
        #: Whether the last write was not completed, so that log files are needed to see it whole.
        self.is_dirty = first != second or checksum != base_block_checksum(bytes(buffer[:CHECKSUM_OFFSET]))
        if self.is_dirty:
            self.warnings.append(f"{what} is dirty: its last write was not completed")
        available = len(buffer) - BASE_BLOCK_SIZE
        if size > available:
            self.warnings.append(f"{what} is cut off: {available} of {size} bytes of its bins are there")
        data = buffer if isinstance(buffer, (bytes, mmap.mmap)) else bytes(buffer)
        self._cells = Cells(data, BASE_BLOCK_SIZE + min(size, available), what, minor)
        self._root = root

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version of the format: (1, 5) for an ordinary hive, (1, 6) for a delta."""
        return 1, self.minor

    @property
    def root(self) -> Key:
        """The root key. Raises FormatError when it cannot be read, as everything below does."""
        return Key(self, self._cells.node(self._root, None, ""), self._root, "", 1)

    def key(self, path: str) -> Key:
        r"""The key at ``path`` (``Microsoft\Windows NT``, relative to the root; "" is the root), whatever its case.

        Raises NotFoundError when there is none.
        """
        found = self.root
        for name in path.split("\\") if path else ():
            below = found.subkey(name)
            if below is None:
                raise NotFoundError(f"{self.what} has no key {name!r} in {found.path or 'its root'!r}", path=path)
            found = below
        return found

    def walk(self) -> Iterator[tuple[str, HiveKey]]:
        r"""All keys with their values, each before its subkeys, as ``(path, key)``; the path of the root is "".

        The keys come without their subkeys, which follow. Raises LimitError when the keys refer to more bytes than the
        hive has, which only a hostile one does.
        """
        return ((path, key) for path, _, key in Walker(self._cells).rows(self._root))

    def tree(self) -> HiveKey:
        """The whole hive as values. Raises what :meth:`walk` raises."""
        return Walker(self._cells).tree(self._root)


class Key:
    """One key of a hive. Raises FormatError from wherever it meets something that no hive may hold."""

    __slots__ = ("_depth", "_hive", "_node", "_offset", "path")

    def __init__(self, hive: Hive, node: Node, offset: int, path: str, depth: int) -> None:
        self._hive = hive
        self._node = node
        self._offset = offset
        self._depth = depth
        #: Where the key is, relative to the root of the hive; "" for the root.
        self.path = path

    @property
    def name(self) -> str:
        """The name as it is spelt in the hive."""
        return self._node.name

    @property
    def timestamp(self) -> int:
        """When the key was last written, in FILETIME ticks."""
        return self._node.timestamp

    @property
    def layer(self) -> int:
        """The layer byte, LAYER_* constants; 0 in an ordinary hive."""
        return self._node.layer

    @property
    def flags(self) -> int:
        """See :class:`wclayer.regf.tree.HiveKey`."""
        return self._node.flags

    @property
    def class_name(self) -> str | None:
        """The class, None when the key has none."""
        return self._hive._cells.class_name(self._node.class_offset, self._node.class_length, self.path)

    @property
    def security(self) -> bytes | None:
        """The self-relative security descriptor, None when the key has none, which Windows does not allow."""
        return self._hive._cells.security(self._node.security, self.path)

    @property
    def values(self) -> tuple[HiveValue, ...]:
        """The values in their order. Raises LimitError when they refer to more bytes than the hive has."""
        node = self._node
        return Walker(self._hive._cells).values(node.values, node.value_list, self.path) if node.values else ()

    def value(self, name: str) -> HiveValue | None:
        """The value of that name ("" for the default value), whatever its case; None when there is none."""
        cells, folded = self._hive._cells, fold(name)
        for offset in cells.value_offsets(self._node.values, self._node.value_list, self.path):
            found = cells.value_name(offset, self.path)
            if found == name or fold(found) == folded:
                return cells.value(offset, self.path)
        return None

    @property
    def subkeys(self) -> tuple[Key, ...]:
        """The subkeys in the order of the hive, which is that of their upper-cased names."""
        return tuple(self._below(offset) for offset in self._offsets())

    def subkey(self, name: str) -> Key | None:
        """The subkey of that name, whatever its case; None when there is none. Looks at hashes, not at names."""
        cells, folded = self._hive._cells, fold(name)
        wanted = name_hash(folded)
        for kind, elements in cells.leaves(self._node.subkeys, self._node.subkey_list, self.path):
            offsets = elements if kind == b"li" else elements[::2]
            if kind == b"lh":
                hashes = elements[1::2]
                if wanted not in hashes:
                    continue
                offsets = tuple(offset for offset, found in zip(offsets, hashes, strict=True) if found == wanted)
            for offset in offsets:
                key = self._below(offset)
                if key.name == name or fold(key.name) == folded:
                    return key
        return None

    def tree(self) -> HiveKey:
        """The key and everything below it as values. Raises what :meth:`Hive.walk` raises."""
        return Walker(self._hive._cells).tree(self._offset)

    def _offsets(self) -> tuple[int, ...]:
        return self._hive._cells.subkey_offsets(self._node.subkeys, self._node.subkey_list, self.path)

    def _below(self, offset: int) -> Key:
        depth = self._hive._cells.deeper(self._depth, self.path)
        node = self._hive._cells.node(offset, self._offset, self.path)
        return Key(self._hive, node, offset, f"{self.path}\\{node.name}" if self.path else node.name, depth)
