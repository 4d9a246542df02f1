"""Single cells of a hive, checked: what lies at an offset, or an error that says what is wrong with what lies there."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple, NoReturn

from wclayer.errors import FormatError, LimitError
from wclayer.regf.structures import (
    BASE_BLOCK_SIZE,
    BIG_DATA,
    INLINE,
    KEY_LATIN1_NAME,
    KEY_PREDEFINED_HANDLE,
    LIST,
    LIST_STEP,
    NK_CELL,
    NONE,
    SEGMENT,
    SK_CELL,
    VALUE_LATIN1_NAME,
    VALUE_TOMBSTONE,
    VK_CELL,
    own_flags,
)
from wclayer.regf.tree import MAX_DEPTH, HiveValue

__all__ = ["Cells", "Node"]

_SIZE: Final = struct.Struct("<i")


class Node(NamedTuple):
    """A key node as it lies in its cell: what it holds itself, and where the rest of the key is."""

    name: str
    parent: int
    timestamp: int
    layer: int
    flags: int
    subkeys: int
    subkey_list: int
    values: int
    value_list: int
    security: int
    class_offset: int
    class_length: int


class Cells:
    """The cells of the hive in ``data``, whose bins end at ``end``; ``what`` names the hive in errors.

    Every method raises FormatError, naming the key at ``path``, for a cell that is not what the hive says it is.
    """

    def __init__(self, data: bytes | mmap.mmap, end: int, what: str, minor: int) -> None:
        self.data = data
        self.end = end
        self.what = what
        self.minor = minor
        self._descriptors: dict[int, bytes] = {}
        self._descriptor_bytes = 0

    def bad(self, message: str, path: str) -> NoReturn:
        """Raise the FormatError of this hive."""
        raise FormatError(f"{self.what}: {message}", kind="hive", path=path or "the root key")

    def exhausted(self, path: str) -> NoReturn:
        """Raise the LimitError of a hive whose cells are used more than once."""
        raise LimitError(f"{self.what}: the keys refer to more bytes than the hive has", path=path or "the root key")

    def deeper(self, depth: int, path: str) -> int:
        """The depth of a subkey of a key at ``depth``. Raises LimitError when no registry is as deep."""
        if depth >= MAX_DEPTH:
            raise LimitError(f"{self.what}: keys are more than {MAX_DEPTH} deep", path=path)
        return depth + 1

    def content(self, offset: int, need: int, what: str, path: str) -> int:
        """Where the content of the cell at ``offset`` begins in the data; the cell holds ``need`` bytes."""
        at = offset + BASE_BLOCK_SIZE
        if offset & 7 or at + 8 > self.end:
            self.bad(f"{what} at offset {offset:#x}, where no cell can be", path)
        size = -_SIZE.unpack_from(self.data, at)[0]
        if size < 8 or at + size > self.end:
            self.bad(f"{what} at offset {offset:#x} is no cell in use (size {-size})", path)
        if size - 4 < need:
            self.bad(f"{what} at offset {offset:#x} has {need} bytes, its cell {size - 4}", path)
        return at + 4

    def capacity(self, content: int) -> int:
        """How many bytes the cell has whose content begins at ``content``."""
        return int(-_SIZE.unpack_from(self.data, content - 4)[0] - 4)

    def node(self, offset: int, parent: int | None, path: str) -> Node:
        """The key node at ``offset``, listed by the key node at ``parent`` (None: the root), which is at ``path``."""
        at = self.content(offset, NK_CELL.size - 4, "a key", path) - 4
        found = NK_CELL.unpack_from(self.data, at)
        _, signature, flags, written, layer, up, subkeys, subkey_list, values, value_list, security = found[:11]
        class_offset, control, name_length, class_length = found[11:]
        if signature != b"nk":
            self.bad(f"the key at offset {offset:#x} is marked {signature!r}", path)
        if parent is not None and up != parent:
            self.bad(f"the key at offset {offset:#x} is listed by another key than the one it names", path)
        start = self.content(offset, NK_CELL.size - 4 + name_length, "a key", path) + NK_CELL.size - 4
        name = self._text(start, name_length, path, latin1=flags & KEY_LATIN1_NAME)
        if flags & KEY_PREDEFINED_HANDLE:
            values = 0
        return Node(
            name,
            up,
            written,
            layer,
            own_flags(flags) | control << 16,
            subkeys,
            subkey_list,
            values,
            value_list,
            security,
            class_offset,
            class_length,
        )

    def _text(self, start: int, length: int, path: str, *, latin1: int) -> str:
        raw = self.data[start : start + length]
        if latin1:
            return raw.decode("latin-1")
        if length % 2:
            self.bad(f"a name of {length} bytes, which is no number of UTF-16 units", path)
        return raw.decode("utf-16-le", "surrogatepass")

    def class_name(self, offset: int, length: int, path: str) -> str | None:
        """The class in the cell at ``offset``; None when there is none."""
        if not length or offset == NONE:
            return None
        return self._text(self.content(offset, length, "a class", path), length, path, latin1=0)

    def security(self, offset: int, path: str) -> bytes | None:
        """The descriptor in the cell at ``offset``, the same object each time; None when there is none."""
        known = self._descriptors.get(offset)
        if known is not None or offset == NONE:
            return known
        at = self.content(offset, SK_CELL.size - 4, "a security descriptor", path) - 4
        _, signature, length = SK_CELL.unpack_from(self.data, at)
        if signature != b"sk":
            self.bad(f"the security descriptor at offset {offset:#x} is marked {signature!r}", path)
        start = self.content(offset, SK_CELL.size - 4 + length, "a security descriptor", path) + SK_CELL.size - 4
        self._descriptor_bytes += SK_CELL.size + length
        if self._descriptor_bytes > self.end:
            self.exhausted(path)
        return self._descriptors.setdefault(offset, self.data[start : start + length])

    def value_offsets(self, count: int, offset: int, path: str) -> tuple[int, ...]:
        """Where the ``count`` values are that the list at ``offset`` names."""
        if not count:
            return ()
        at = self.content(offset, 4 * count, "the list of values", path)
        return struct.unpack_from(f"<{count}I", self.data, at)

    def value_name(self, offset: int, path: str) -> str:
        """The name of the value at ``offset``."""
        return self._value_head(offset, path)[0]

    def value(self, offset: int, path: str) -> HiveValue:
        """The value at ``offset``, with its data."""
        name, at, size, data_offset, type_, flags = self._value_head(offset, path)
        if flags & VALUE_TOMBSTONE:
            return HiveValue.deleted(name)
        return HiveValue(name, type_, self.value_data(at, size, data_offset, path))

    def _value_head(self, offset: int, path: str) -> tuple[str, int, int, int, int, int]:
        at = self.content(offset, VK_CELL.size - 4, "a value", path) - 4
        _, signature, length, size, data_offset, type_, flags = VK_CELL.unpack_from(self.data, at)
        if signature != b"vk":
            self.bad(f"the value at offset {offset:#x} is marked {signature!r}", path)
        self.content(offset, VK_CELL.size - 4 + length, "a value", path)
        name = self._text(at + VK_CELL.size, length, path, latin1=flags & VALUE_LATIN1_NAME)
        return name, at, size, data_offset, type_, flags

    def value_data(self, at: int, size: int, offset: int, path: str) -> bytes:
        """The data of the value whose cell is at ``at``, by the size and the offset that it gives."""
        if size & INLINE:
            size &= ~INLINE
            if size > 4:
                self.bad(f"a value keeps {size} bytes in a field of 4", path)
            return self.data[at + 12 : at + 12 + size]
        if not size:
            return b""
        if size > self.end:
            self.bad(f"a value has {size} bytes, more than the hive", path)
        start = self.content(offset, 4, "the data of a value", path)
        if self.capacity(start) >= size:
            return self.data[start : start + size]
        if size <= SEGMENT or self.minor < 4 or self.data[start : start + 2] != b"db":
            self.bad(f"the data of a value at offset {offset:#x} has {size} bytes, its cell fewer", path)
        return self._segments(offset, size, path)

    def _segments(self, offset: int, size: int, path: str) -> bytes:
        start = self.content(offset, BIG_DATA.size - 4, "the segments of a value", path)
        count, segments = struct.unpack_from("<HI", self.data, start + 2)
        if count != -(-size // SEGMENT):
            self.bad(f"a value of {size} bytes in {count} segments", path)
        data = bytearray()
        for segment in self.value_offsets(count, segments, path):
            length = min(SEGMENT, size - len(data))
            at = self.content(segment, length, "a segment of a value", path)
            data += self.data[at : at + length]
        return bytes(data)

    def leaves(self, count: int, offset: int, path: str) -> Iterator[tuple[bytes, tuple[int, ...]]]:
        """The leaves of a list of ``count`` subkeys: the kind of each, and the words that it consists of.

        ``li`` has one word for each subkey, its offset, ``lf`` and ``lh`` two: the offset, and the hint or hash.
        """
        if not count:
            return
        kind, elements = self._list(offset, path)
        found = 0
        for leaf in elements if kind == b"ri" else (offset,):
            kind, elements = self._list(leaf, path)
            if kind == b"ri":
                self.bad("the list of subkeys has more than two levels", path)
            found += 4 * len(elements) // LIST_STEP[kind]
            if found > count:
                break
            yield kind, elements
        if found != count:
            self.bad(f"the list of subkeys has {found} or more elements, the key {count} subkeys", path)

    def _list(self, offset: int, path: str) -> tuple[bytes, tuple[int, ...]]:
        at = self.content(offset, LIST.size, "the list of subkeys", path)
        kind, count = LIST.unpack_from(self.data, at)
        step = 4 if kind == b"ri" else LIST_STEP.get(kind)
        if step is None:
            self.bad(f"the list of subkeys at offset {offset:#x} is marked {kind!r}", path)
        self.content(offset, LIST.size + step * count, "the list of subkeys", path)
        return kind, struct.unpack_from(f"<{count * step // 4}I", self.data, at + LIST.size)

    def subkey_offsets(self, count: int, offset: int, path: str) -> tuple[int, ...]:
        """Where the ``count`` subkeys are, each one once."""
        offsets: list[int] = []
        for kind, elements in self.leaves(count, offset, path):
            offsets.extend(elements if kind == b"li" else elements[::2])
        if len(set(offsets)) != count:
            self.bad("the list of subkeys names a key twice", path)
        return tuple(offsets)
