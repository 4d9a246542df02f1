"""A tree becomes a hive: every cell is laid once, in the order of the tree, so that the same tree gives the same bytes.

A key node is given its place before its subkeys and is filled in after them, when the places of its lists are known.
Cells go into the open bin one behind the other; what does not fit closes the bin, and its rest is one free cell. A
cell too large for a bin of one page gets a bin of its own of as many pages as it needs. Equal security descriptors
share a cell, which counts the keys that use it.

What Windows requires and readers check: subkeys ordered by their upper-cased names and hashed (``lh``, from version
1.5 on; ``lf`` before), lists of more subkeys than fill a bin cut into leaves below an ``ri``, data of more than 16344
bytes cut into segments (``db``, from version 1.4 on) each of which has a cell of full size, names as Latin-1 where
they are, cells that never cross a bin. Format: see :mod:`wclayer.regf.structures`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Protocol

from wclayer.errors import LimitError, UsageError
from wclayer.ntfs.names import fold, to_utf16le, utf16_length
from wclayer.regf.structures import (
    BASE_BLOCK,
    BASE_LAYERED_KEYS,
    BIG_DATA,
    BIN,
    CHECKSUM_OFFSET,
    INLINE,
    KEY_HIVE_ENTRY,
    KEY_LATIN1_NAME,
    KEY_NO_DELETE,
    LEAF_ELEMENTS,
    LIST,
    NK,
    NK_SIZE,
    NONE,
    PAGE,
    SEGMENT,
    SK,
    VALUE_LATIN1_NAME,
    VALUE_TOMBSTONE,
    VK,
    base_block_checksum,
    name_hash,
    name_hint,
    sort_key,
)
from wclayer.regf.tree import LAYER_SUPERSEDE_TREE, LAYER_TOMBSTONE, MAX_DEPTH, HiveKey, HiveValue

__all__ = ["save_hive", "write_hive"]

_NAME_UNITS: Final = 31
_MAX_KEY_NAME: Final = 255
_MAX_VALUE_NAME: Final = 16383
#: The longest data of one value: 65535 segments, or one cell before version 1.4 ("Registry element size limits").
_MAX_DATA: Final = SEGMENT * 0xFFFF
_MAX_DATA_UNCUT: Final = 1 << 20
_MAX_BINS: Final = 0x7FFFF000
_KEY_SDDL: Final = "O:BAG:SYD:(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CI;KR;;;BU)"


class _Sink(Protocol):
    def write(self, data: memoryview, /) -> object: ...


def write_hive(root: HiveKey, *, name: str, delta: bool = False, timestamp: int = 0, minor: int | None = None) -> bytes:
    """A clean hive that holds the tree ``root``.

    ``name`` is the file name kept in the base block (only its last 31 UTF-16 units are). ``delta`` makes a hive of
    layered keys: version 1.6 with the layered flag, instead of 1.5; ``minor`` asks for another version, 3 to 6.
    ``timestamp`` (FILETIME ticks) is the time of the hive, and of every key that has none. A key without a security
    descriptor has that of the key above; the root's is then the usual one of a machine hive: full access for
    Administrators and SYSTEM, read for Users.

    Raises UsageError for a name, a layer byte, a descriptor or data that no hive may hold (naming the key), LimitError
    for a tree that is more than 512 keys deep or more than 2 GiB.
    """
    return bytes(_laid_out(root, name, delta, timestamp, minor).data)


def save_hive(
    file: _Sink, root: HiveKey, *, name: str, delta: bool = False, timestamp: int = 0, minor: int | None = None
) -> int:
    """Write the hive of :func:`write_hive` to ``file`` in pieces, without a second copy of it; returns its size."""
    data = _laid_out(root, name, delta, timestamp, minor).data
    with memoryview(data) as view:
        for start in range(0, len(view), 1 << 20):
            file.write(view[start : start + (1 << 20)])
    return len(data)


def _laid_out(root: HiveKey, name: str, delta: bool, timestamp: int, minor: int | None) -> _Layout:
    version = (6 if delta else 5) if minor is None else minor
    if version not in range(3, 7) or (delta and version < 6):
        raise UsageError(f"a {'delta ' if delta else ''}hive cannot have the version 1.{version}")
    if not 0 <= timestamp < 1 << 64:
        raise UsageError(f"{timestamp} is no FILETIME")
    layout = _Layout(timestamp, version, delta=delta)
    layout.add_tree(root)
    layout.finish(name)
    return layout


@cache
def _usual_descriptor() -> bytes:
    # Loaded late: only few trees leave the descriptor to the writer.
    from wclayer.ntfs.sddl import from_sddl
    from wclayer.ntfs.security import build

    return build(from_sddl(_KEY_SDDL))


@dataclass(slots=True)
class _Open:
    """A key whose subkeys are being written: what is known of it, and the places of its subkeys so far."""

    key: HiveKey
    path: str
    offset: int
    parent: int
    descriptor: bytes
    class_offset: int
    subkeys: list[HiveKey]
    to_write: Iterator[HiveKey]
    written: list[int]


class _Layout:
    """The hive as it grows: base block and bins. All offsets in here count from the end of the base block."""

    def __init__(self, timestamp: int, minor: int, *, delta: bool) -> None:
        self.timestamp = timestamp
        self.minor = minor
        self.delta = delta
        self.data = bytearray(PAGE)
        self.free = 0
        self.bin_end = 0
        #: By descriptor: the place of its cell, and how many keys use it.
        self.security: dict[bytes, list[int]] = {}

    def add_tree(self, root: HiveKey) -> None:
        descriptor = root.security if root.security is not None else _usual_descriptor()
        waiting = [self.opened(root, "", 0, descriptor)]
        waiting[0].parent = waiting[0].offset
        while waiting:
            top = waiting[-1]
            key = next(top.to_write, None)
            if key is None:
                self.fill(waiting.pop(), is_root=not waiting)
                continue
            path = f"{top.path}\\{key.name}" if top.path else key.name
            if len(waiting) >= MAX_DEPTH:
                raise LimitError(f"the registry keys are more than {MAX_DEPTH} deep", path=path)
            waiting.append(self.opened(key, path, top.offset, top.descriptor))
            top.written.append(waiting[-1].offset)

    def opened(self, key: HiveKey, path: str, parent: int, descriptor: bytes) -> _Open:
        """Check ``key`` and give its node, and what has to stand beside it, a place."""
        _check_key(key, path, delta=self.delta)
        offset = self.place(NK_SIZE + len(_stored_name(key.name)[0]))
        if key.security is not None:
            descriptor = key.security
        users = self.security.get(descriptor)
        if users is None:
            if not 20 <= len(descriptor) <= 0xFFFF:
                raise UsageError(f"a security descriptor of {len(descriptor)} bytes", path=path)
            self.security[descriptor] = [self.place(SK.size + len(descriptor)), 1]
        else:
            users[1] += 1
        class_offset = self.add(to_utf16le(key.class_name)) if key.class_name else NONE
        subkeys = sorted(key.subkeys, key=lambda subkey: sort_key(fold(subkey.name)))
        _refuse_duplicates([subkey.name for subkey in subkeys], path)
        return _Open(key, path, offset, parent, descriptor, class_offset, subkeys, iter(subkeys), [])

    def fill(self, done: _Open, *, is_root: bool) -> None:
        """Write the node of a key whose subkeys are written, and its lists."""
        key = done.key
        subkey_list = self.add_subkeys(done)
        value_list, longest_name, longest_data = self.add_values(key.values, done.path)
        name, latin1 = _stored_name(key.name)
        flags = key.flags & 0xFFFF | (KEY_LATIN1_NAME if latin1 else 0)
        class_length = 2 * utf16_length(key.class_name) if key.class_name else 0
        try:
            head = NK.pack(
                b"nk",
                flags | (KEY_HIVE_ENTRY | KEY_NO_DELETE if is_root else 0),
                self.timestamp if key.timestamp is None else key.timestamp,
                0,
                key.layer,
                0,
                done.parent,
                len(key.subkeys),
                0,
                subkey_list,
                NONE,
                len(key.values),
                value_list,
                self.security[done.descriptor][0],
                done.class_offset,
                2 * max((utf16_length(subkey.name) for subkey in key.subkeys), default=0) | (key.flags >> 16) << 16,
                2 * max((utf16_length(subkey.class_name or "") for subkey in key.subkeys), default=0),
                longest_name,
                longest_data,
                0,
                len(name),
                class_length,
            )
        except struct.error as error:
            message = "the time, the flags, the layer byte or the class of the registry key does not fit its field"
            raise UsageError(message, path=done.path) from error
        self.put(done.offset, head + name)

    def add_subkeys(self, done: _Open) -> int:
        if not done.written:
            return NONE
        if self.minor >= 5:
            kind, marks = b"lh", [name_hash(fold(subkey.name)) for subkey in done.subkeys]
        else:
            kind, marks = b"lf", [name_hint(subkey.name) for subkey in done.subkeys]
        words = [word for pair in zip(done.written, marks, strict=True) for word in pair]
        leaves = [
            self.add(LIST.pack(kind, len(leaf) // 2) + struct.pack(f"<{len(leaf)}I", *leaf))
            for leaf in (words[start : start + 2 * LEAF_ELEMENTS] for start in range(0, len(words), 2 * LEAF_ELEMENTS))
        ]
        if len(leaves) == 1:
            return leaves[0]
        if len(leaves) > 0xFFFF:
            raise LimitError(f"{len(done.written)} subkeys, more than one list can hold", path=done.path)
        return self.add(LIST.pack(b"ri", len(leaves)) + struct.pack(f"<{len(leaves)}I", *leaves))

    def add_values(self, values: tuple[HiveValue, ...], path: str) -> tuple[int, int, int]:
        """The place of the list of ``values``, and the lengths in bytes of the longest name and the longest data."""
        if not values:
            return NONE, 0, 0
        names = [value.name for value in values]
        longest = max(map(utf16_length, names))
        if longest > _MAX_VALUE_NAME:
            raise UsageError(f"the name of a value has {longest} UTF-16 units, more than {_MAX_VALUE_NAME}", path=path)
        if len(values) > 1:
            _refuse_duplicates(names, path)
        offsets = [self.add_value(value, path) for value in values]
        return (
            self.add(struct.pack(f"<{len(offsets)}I", *offsets)),
            2 * longest,
            max(len(value.data) for value in values),
        )

    def add_value(self, value: HiveValue, path: str) -> int:
        name, latin1 = _stored_name(value.name)
        size = len(value.data)
        flags = VALUE_LATIN1_NAME if latin1 else 0
        if value.tombstone:
            if not self.delta or value.data or value.type:
                raise UsageError(f"the value {value.name!r} cannot be a tombstone here", path=path)
            data, flags = NONE, flags | VALUE_TOMBSTONE
        elif size <= 4:
            data = int.from_bytes(value.data, "little")
            size |= INLINE
        else:
            data = self.add_data(value, path)
        try:
            head = VK.pack(b"vk", len(name), size, data, value.type, flags, 0)
        except struct.error as error:
            raise UsageError(f"the value {value.name!r} has the type {value.type}", path=path) from error
        return self.add(head + name)

    def add_data(self, value: HiveValue, path: str) -> int:
        data, size = value.data, len(value.data)
        if size > (_MAX_DATA if self.minor >= 4 else _MAX_DATA_UNCUT):
            raise UsageError(f"the value {value.name!r} has {size} bytes, more than a hive can hold", path=path)
        if size <= SEGMENT or self.minor < 4:
            return self.add(data)
        segments = []
        for start in range(0, size, SEGMENT):
            # Readers size the cell of the last segment like all others.
            segments.append(self.place(SEGMENT))
            self.put(segments[-1], data[start : start + SEGMENT])
        listed = self.add(struct.pack(f"<{len(segments)}I", *segments))
        return self.add(BIG_DATA.pack(b"db", len(segments), listed, 0))

    def add(self, content: bytes) -> int:
        offset = self.place(len(content))
        start = PAGE + offset + 4
        self.data[start : start + len(content)] = content
        return offset

    def put(self, offset: int, content: bytes) -> None:
        start = PAGE + offset + 4
        self.data[start : start + len(content)] = content

    def place(self, size: int) -> int:
        """Reserve a cell for ``size`` bytes of content; returns its offset. Cell sizes are multiples of 8."""
        cell = 4 + size + 7 & ~7
        offset = self.free
        if offset + cell > self.bin_end:
            offset = self.open_bin(cell)
        else:
            self.free = offset + cell
        struct.pack_into("<i", self.data, PAGE + offset, -cell)
        return offset

    def open_bin(self, cell: int) -> int:
        """Add a bin with a cell at its beginning; whichever bin then has more room is the open one."""
        start = len(self.data) - PAGE
        size = BIN.size + cell + PAGE - 1 & -PAGE
        if start + size > _MAX_BINS:
            raise LimitError("the registry keys need more than 2 GiB")
        self.data += bytes(size)
        BIN.pack_into(self.data, PAGE + start, b"hbin", start, size, 0, 0 if start else self.timestamp, 0)
        rest = (start + BIN.size + cell, start + size)
        if rest[1] - rest[0] >= self.bin_end - self.free:
            rest, (self.free, self.bin_end) = (self.free, self.bin_end), rest
        self.leave(*rest)
        return start + BIN.size

    def leave(self, free: int, end: int) -> None:
        """Make the rest of a bin a free cell."""
        if free < end:
            struct.pack_into("<i", self.data, PAGE + free, end - free)

    def finish(self, name: str) -> None:
        """Fill in what is known only now: the list of security cells and the base block."""
        self.leave(self.free, self.bin_end)
        cells = list(self.security.items())
        for number, (descriptor, (offset, users)) in enumerate(cells):
            following, previous = cells[(number + 1) % len(cells)][1][0], cells[number - 1][1][0]
            self.put(offset, SK.pack(b"sk", 0, following, previous, users, len(descriptor)) + descriptor)
        tail = to_utf16le(name)[-2 * _NAME_UNITS :]
        flags, size = BASE_LAYERED_KEYS if self.delta else 0, len(self.data) - PAGE
        head = (b"regf", 1, 1, self.timestamp, 1, self.minor, 0, 1, BIN.size, size, 1, tail, flags)
        BASE_BLOCK.pack_into(self.data, 0, *head)
        struct.pack_into("<I", self.data, CHECKSUM_OFFSET, base_block_checksum(bytes(self.data[:CHECKSUM_OFFSET])))


def _check_key(key: HiveKey, path: str, *, delta: bool) -> None:
    if not key.name or "\\" in key.name or utf16_length(key.name) > _MAX_KEY_NAME:
        raise UsageError(f"{key.name!r} cannot be the name of a registry key", path=path)
    if key.layer:
        if not delta:
            message = f"the registry key {key.name!r} has a layer byte, which only a delta hive may hold"
            raise UsageError(message, path=path)
        if key.layer & LAYER_SUPERSEDE_TREE == LAYER_TOMBSTONE and (key.values or key.subkeys or key.class_name):
            raise UsageError(f"the registry key {key.name!r} is a tombstone and cannot hold anything", path=path)


def _refuse_duplicates(names: Sequence[str], path: str) -> None:
    seen: set[str] = set()
    for name in names:
        folded = fold(name)
        if folded in seen:
            raise UsageError(f"the registry key {path!r} holds {name!r} twice (case does not count)", path=path)
        seen.add(folded)


def _stored_name(name: str) -> tuple[bytes, bool]:
    """The bytes of a key or value name, and whether they are the compressed form, Latin-1."""
    try:
        return name.encode("latin-1"), True
    except UnicodeEncodeError:
        return to_utf16le(name), False
