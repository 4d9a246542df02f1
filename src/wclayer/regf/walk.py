"""The way through a whole hive: the loop that hundreds of thousands of keys and values pass, and nothing else.

The loop takes key nodes and values apart in place. What does not pass its short checks, and whatever is rare, it gives
to the careful methods of :class:`~wclayer.regf.cells.Cells`, which read it or say what is wrong with it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import lru_cache
from typing import Final

from wclayer.regf.cells import Cells
from wclayer.regf.structures import (
    BASE_BLOCK_SIZE,
    INLINE,
    KEY_LATIN1_NAME,
    KEY_PREDEFINED_HANDLE,
    NK_CELL,
    VALUE_LATIN1_NAME,
    VALUE_TOMBSTONE,
    VK_CELL,
    own_flags,
)
from wclayer.regf.tree import MAX_DEPTH, HiveKey, HiveValue

__all__ = ["Walker"]

_NODE: Final = NK_CELL.unpack_from
_VALUE: Final = VK_CELL.unpack_from
_SIZE: Final = struct.Struct("<i").unpack_from
_NODE_SIZE: Final = NK_CELL.size
_VALUE_SIZE: Final = VK_CELL.size
#: Most names of values are the same few, and finding one again is quicker than decoding it.
_MOST_NAMES: Final = 4096


@lru_cache(256)
def _value_list(count: int) -> struct.Struct:
    return struct.Struct(f"<i{count}I")


class Walker:
    """One walk through ``cells``, which takes no more than there is: cells that are used twice count twice."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._left = cells.end
        self._names: dict[bytes, str] = {}

    def rows(self, root: int) -> Iterator[tuple[str, int, HiveKey]]:
        """The key at ``root`` and all below, each before its subkeys, as ``(path, depth, key without subkeys)``."""
        cells, data, end = self._cells, self._cells.data, self._cells.end
        security_of, values_of, subkeys_of = cells.security, self.values, cells.subkey_offsets
        waiting = [(root, cells.node(root, None, "").parent, "", 1)]
        while waiting:
            offset, parent, path, depth = waiting.pop()
            at = offset + BASE_BLOCK_SIZE
            if offset & 7 or at + _NODE_SIZE > end:
                cells.node(offset, parent, path)
            (
                size,
                signature,
                flags,
                written,
                layer,
                up,
                subkeys,
                subkey_list,
                values,
                value_list,
                security,
                class_offset,
                control,
                name_length,
                class_length,
            ) = _NODE(data, at)
            name_end = at + _NODE_SIZE + name_length
            if signature != b"nk" or up != parent or name_end > at - size or at - size > end:
                cells.node(offset, parent, path)
            raw = data[at + _NODE_SIZE : name_end]
            name = raw.decode("latin-1") if flags & KEY_LATIN1_NAME else cells.node(offset, parent, path).name
            if depth > 1:
                path = f"{path}\\{name}" if depth > 2 else name
            self._left += size
            if self._left < 0:
                cells.exhausted(path)
            yield (
                path,
                depth,
                HiveKey(
                    name,
                    values_of(values, value_list, path) if values and not flags & KEY_PREDEFINED_HANDLE else (),
                    (),
                    layer,
                    self.class_name(class_offset, class_length, path) if class_length else None,
                    security_of(security, path),
                    written,
                    own_flags(flags) | control << 16 if flags != KEY_LATIN1_NAME or control else 0,
                ),
            )
            if subkeys:
                if depth >= MAX_DEPTH:
                    cells.deeper(depth, path)
                offsets = subkeys_of(subkeys, subkey_list, path)
                depth += 1
                waiting += [(below, offset, path, depth) for below in reversed(offsets)]

    def tree(self, root: int) -> HiveKey:
        """The key at ``root`` with all its subkeys."""
        top: list[HiveKey] = []
        open_keys: list[tuple[HiveKey | None, list[HiveKey]]] = [(None, top)]
        for _, depth, key in self.rows(root):
            while len(open_keys) > depth:
                _close(*open_keys.pop())
            open_keys[-1][1].append(key)
            open_keys.append((key, []))
        for parent, subkeys in open_keys:
            _close(parent, subkeys)
        return top[0]

    def class_name(self, offset: int, length: int, path: str) -> str | None:
        """The class at ``offset``, of ``length`` bytes."""
        self._left -= length
        if self._left < 0:
            self._cells.exhausted(path)
        return self._cells.class_name(offset, length, path)

    def values(self, count: int, offset: int, path: str) -> tuple[HiveValue, ...]:
        """The ``count`` values that the list at ``offset`` names."""
        cells, data, end, names = self._cells, self._cells.data, self._cells.end, self._names
        cells.content(offset, 4 * count, "the list of values", path)
        left = self._left - 4 * count
        found: list[HiveValue] = []
        listed = iter(_value_list(count).unpack_from(data, offset + BASE_BLOCK_SIZE))
        next(listed)
        for value in listed:
            at = value + BASE_BLOCK_SIZE
            if value & 7 or at + _VALUE_SIZE > end:
                cells.value(value, path)
            size, signature, name_length, data_size, data_offset, type_, flags = _VALUE(data, at)
            name_end = at + _VALUE_SIZE + name_length
            if signature != b"vk" or name_end > at - size or at - size > end:
                cells.value(value, path)
            raw = data[at + _VALUE_SIZE : name_end]
            if flags & VALUE_LATIN1_NAME:
                name = names.get(raw)
                if name is None:
                    name = raw.decode("latin-1")
                    if len(names) < _MOST_NAMES:
                        names[raw] = name
            else:
                name = cells.value_name(value, path) if raw else ""
            left += size
            if flags & VALUE_TOMBSTONE:
                found.append(HiveValue.deleted(name))
                continue
            if data_size >= INLINE:
                if data_size > INLINE + 4:
                    cells.value_data(at, data_size, data_offset, path)
                content = data[at + 12 : at + 12 + data_size - INLINE]
            elif data_size:
                left -= data_size
                start = data_offset + BASE_BLOCK_SIZE + 4
                if left < 0:
                    cells.exhausted(path)
                if not data_offset & 7 and start + data_size <= end and data_size <= -_SIZE(data, start - 4)[0] - 4:
                    content = data[start : start + data_size]
                else:
                    content = cells.value_data(at, data_size, data_offset, path)
            else:
                content = b""
            found.append(HiveValue(name, type_, content))
        self._left = left
        if left < 0:
            cells.exhausted(path)
        return tuple(found)


def _close(key: HiveKey | None, subkeys: list[HiveKey]) -> None:
    if key is not None and subkeys:
        key.subkeys = tuple(subkeys)
