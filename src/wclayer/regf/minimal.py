"""The smallest registry hive that every reader accepts: one base block and one bin, 8192 bytes.

A base layer needs five hives in ``Files/Windows/System32/config``, an upper layer may carry delta hives, and all of
them must be real: an empty file in their place makes Windows report a corrupt registry when the next layer is
imported. So this writer lays a small tree out in a single 4096-byte bin, with fixed times, the same bytes always.
A tree that needs a second bin is refused.

The layout is that of the public description of the regf format by Maxim Suhanov (CC BY 4.0), the layered keys that of
US patent application 20170279678. All integers are little-endian; every offset in a hive counts from the end of the
base block, and 0xFFFFFFFF means none.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from wclayer.errors import UnsupportedError, UsageError
from wclayer.ntfs.names import fold, to_utf16le

__all__ = [
    "HIVE_SIZE",
    "LAYER_INHERIT_CLASS",
    "LAYER_SUPERSEDE_LOCAL",
    "LAYER_SUPERSEDE_TREE",
    "LAYER_TOMBSTONE",
    "REG_BINARY",
    "REG_DWORD",
    "REG_EXPAND_SZ",
    "REG_MULTI_SZ",
    "REG_QWORD",
    "REG_SZ",
    "HiveKey",
    "HiveValue",
    "minimal_hive",
]

REG_SZ: Final = 1
REG_EXPAND_SZ: Final = 2
REG_BINARY: Final = 3
REG_DWORD: Final = 4
REG_MULTI_SZ: Final = 7
REG_QWORD: Final = 11

#: The layer byte of a key in a delta hive: the low two bits say how the key meets the one below, 0 being "merge".
LAYER_TOMBSTONE: Final = 1
LAYER_SUPERSEDE_LOCAL: Final = 2
LAYER_SUPERSEDE_TREE: Final = 3
#: The key keeps the class name it has in the layer below.
LAYER_INHERIT_CLASS: Final = 0x80

_PAGE: Final = 4096
#: The size of every hive made here, in bytes.
HIVE_SIZE: Final = 2 * _PAGE

_NONE: Final = 0xFFFFFFFF
_INLINE: Final = 0x80000000
_ROOT_NAME: Final = "ROOT"
_KEY_HIVE_ENTRY: Final = 0x04
_KEY_NO_DELETE: Final = 0x08
_KEY_LATIN1_NAME: Final = 0x20
_VALUE_LATIN1_NAME: Final = 0x01
_BASE_LAYERED_KEYS: Final = 0x02
_CHECKSUM_OFFSET: Final = 508
_NAME_UNITS: Final = 31
_MAX_KEY_NAME: Final = 255

# signature, two sequence numbers, written, major and minor version, type, format, root, size of the bins, clustering,
# file name, two log identifiers, flags
_BASE_BLOCK: Final = struct.Struct("<4sIIQIIIIIII64s32xI")
# signature, offset, size, reserved, written, spare
_BIN: Final = struct.Struct("<4sIIQQI")
# signature, flags, written, access, layer, spare, then fourteen words: parent, subkeys, volatile subkeys, their two
# lists, values, value list, security, class, longest subkey name, subkey class, value name and value data, spare;
# name length, class length
_NK: Final = struct.Struct("<2sHQBBH14IHH")
# signature, name length, data size, data offset, type, flags, spare
_VK: Final = struct.Struct("<2sHIIIHH")
# signature, spare, next, previous, references, descriptor length
_SK: Final = struct.Struct("<2sHIIII")

_KEY_ALL_ACCESS: Final = 0xF003F
_KEY_READ: Final = 0x20019
_CONTAINER_INHERIT: Final = 0x02


@dataclass(frozen=True, slots=True)
class HiveValue:
    """A value of a key: its name ("" is the default value), REG_* type and raw data."""

    name: str
    type: int
    data: bytes

    @classmethod
    def sz(cls, name: str, text: str) -> HiveValue:
        """A REG_SZ: UTF-16LE with a terminator."""
        return cls(name, REG_SZ, to_utf16le(f"{text}\0"))

    @classmethod
    def dword(cls, name: str, number: int) -> HiveValue:
        """A REG_DWORD, 0 <= ``number`` < 2^32."""
        return cls(name, REG_DWORD, number.to_bytes(4, "little"))


@dataclass(frozen=True, slots=True)
class HiveKey:
    """A key with its values, in their order, and its subkeys, in any order.

    ``layer`` is the layer byte of a delta hive (LAYER_* constants; 0 merges with the key below); it must be 0 in an
    ordinary hive.
    """

    name: str
    values: tuple[HiveValue, ...] = ()
    subkeys: tuple[HiveKey, ...] = ()
    layer: int = 0


def minimal_hive(
    name: str,
    *,
    delta: bool = False,
    timestamp: int = 0,
    subkeys: Iterable[HiveKey] = (),
    values: Iterable[HiveValue] = (),
) -> bytes:
    """A clean hive of exactly :data:`HIVE_SIZE` bytes.

    ``name`` is the file name kept in the base block (only its last 31 UTF-16 units are). ``delta`` makes a hive of
    layered keys: version 1.6 with the layered flag, instead of 1.5. ``timestamp`` (FILETIME ticks) is the time of the
    hive and of every key. ``subkeys`` and ``values`` belong to the root key, which is called ``ROOT``. One security
    descriptor serves all keys: full access for Administrators and SYSTEM, read for Users.

    Raises UnsupportedError when the tree does not fit one bin, and UsageError for a name or a layer byte that no hive
    may hold.
    """
    cells = _Bin(timestamp, delta=delta)
    cells.add_root(HiveKey(_ROOT_NAME, tuple(values), tuple(subkeys)))
    return _base_block(name, delta=delta, timestamp=timestamp) + cells.finish()


def _base_block(name: str, *, delta: bool, timestamp: int) -> bytes:
    tail = to_utf16le(name)[-2 * _NAME_UNITS :]
    minor, flags = (6, _BASE_LAYERED_KEYS) if delta else (5, 0)
    block = bytearray(_PAGE)
    _BASE_BLOCK.pack_into(block, 0, b"regf", 1, 1, timestamp, 1, minor, 0, 1, _BIN.size, _PAGE, 1, tail, flags)
    checksum = 0
    for (word,) in struct.iter_unpack("<I", block[:_CHECKSUM_OFFSET]):
        checksum ^= word
    # 0 and -1 are never stored: a reader takes them for "no checksum".
    struct.pack_into("<I", block, _CHECKSUM_OFFSET, {0: 1, _NONE: _NONE - 1}.get(checksum, checksum))
    return bytes(block)


class _Bin:
    """The one bin: cells are laid one behind the other, and what is left becomes one free cell."""

    def __init__(self, timestamp: int, *, delta: bool) -> None:
        self.timestamp = timestamp
        self.delta = delta
        self.data = bytearray(_PAGE)
        self.end = _BIN.size
        self.security = 0
        self.keys = 0

    def add_root(self, root: HiveKey) -> None:
        # The root cell comes first, so its security cell is added once the root has its place.
        offset = self.place(_NK.size + len(root.name))
        descriptor = _key_descriptor()
        self.security = self.place(_SK.size + len(descriptor))
        self.fill_key(offset, root, offset, _KEY_HIVE_ENTRY | _KEY_NO_DELETE)
        head = _SK.pack(b"sk", 0, self.security, self.security, self.keys, len(descriptor))
        self.put(self.security, head + descriptor)

    def add_key(self, key: HiveKey, parent: int) -> int:
        if not key.name or "\\" in key.name or len(to_utf16le(key.name)) > 2 * _MAX_KEY_NAME:
            raise UsageError(f"{key.name!r} cannot be the name of a registry key")
        if key.layer and not self.delta:
            raise UsageError(f"the registry key {key.name!r} has a layer byte, which only a delta hive may hold")
        offset = self.place(_NK.size + len(_stored_name(key.name)[0]))
        self.fill_key(offset, key, parent, 0)
        return offset

    def fill_key(self, offset: int, key: HiveKey, parent: int, flags: int) -> None:
        self.keys += 1
        name, latin1 = _stored_name(key.name)
        subkeys = sorted(key.subkeys, key=lambda subkey: _folded_units(subkey.name))
        _refuse_duplicates(key, (subkey.name for subkey in subkeys))
        _refuse_duplicates(key, (value.name for value in key.values))
        subkey_list = self.add_subkeys(subkeys, offset)
        value_list = self.add_values(key.values)
        head = _NK.pack(
            b"nk",
            flags | (_KEY_LATIN1_NAME if latin1 else 0),
            self.timestamp,
            0,
            key.layer,
            0,
            parent,
            len(subkeys),
            0,
            subkey_list,
            _NONE,
            len(key.values),
            value_list,
            self.security,
            _NONE,
            max((len(to_utf16le(subkey.name)) for subkey in subkeys), default=0),
            0,
            max((len(to_utf16le(value.name)) for value in key.values), default=0),
            max((len(value.data) for value in key.values), default=0),
            0,
            len(name),
            0,
        )
        self.put(offset, head + name)

    def add_subkeys(self, subkeys: list[HiveKey], parent: int) -> int:
        if not subkeys:
            return _NONE
        elements = b"".join(
            struct.pack("<II", self.add_key(subkey, parent), _name_hash(subkey.name)) for subkey in subkeys
        )
        return self.add(struct.pack("<2sH", b"lh", len(subkeys)) + elements)

    def add_values(self, values: tuple[HiveValue, ...]) -> int:
        if not values:
            return _NONE
        return self.add(b"".join(struct.pack("<I", self.add_value(value)) for value in values))

    def add_value(self, value: HiveValue) -> int:
        name, latin1 = _stored_name(value.name)
        size = len(value.data)
        if size <= 4:
            data = int.from_bytes(value.data, "little")
            size |= _INLINE
        else:
            data = self.add(value.data)
        return self.add(
            _VK.pack(b"vk", len(name), size, data, value.type, _VALUE_LATIN1_NAME if latin1 else 0, 0) + name
        )

    def add(self, content: bytes) -> int:
        offset = self.place(len(content))
        self.put(offset, content)
        return offset

    def place(self, size: int) -> int:
        """Reserve a cell for ``size`` bytes of content; returns its offset. Cell sizes are multiples of 8."""
        offset = self.end
        cell = 4 + size + 7 & ~7
        if offset + cell > _PAGE:
            raise UnsupportedError(
                f"the registry keys need more than the {_PAGE - _BIN.size} bytes of the one bin of a minimal hive",
                hint="give it fewer or smaller keys and values",
            )
        struct.pack_into("<i", self.data, offset, -cell)
        self.end = offset + cell
        return offset

    def put(self, offset: int, content: bytes) -> None:
        self.data[offset + 4 : offset + 4 + len(content)] = content

    def finish(self) -> bytes:
        _BIN.pack_into(self.data, 0, b"hbin", 0, _PAGE, 0, self.timestamp, 0)
        if self.end < _PAGE:
            struct.pack_into("<i", self.data, self.end, _PAGE - self.end)
        return bytes(self.data)


def _refuse_duplicates(key: HiveKey, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        folded = fold(name)
        if folded in seen:
            raise UsageError(f"the registry key {key.name!r} holds {name!r} twice (case does not count)")
        seen.add(folded)


def _stored_name(name: str) -> tuple[bytes, bool]:
    """The bytes of a key or value name, and whether they are the compressed form, Latin-1."""
    try:
        return name.encode("latin-1"), True
    except UnicodeEncodeError:
        return to_utf16le(name), False


def _folded_units(name: str) -> tuple[int, ...]:
    """The upper-cased UTF-16 units of a name: what subkeys are ordered by."""
    return tuple(unit for (unit,) in struct.iter_unpack("<H", to_utf16le(fold(name))))


def _name_hash(name: str) -> int:
    """The hash of a subkey name in an ``lh`` list."""
    value = 0
    for unit in _folded_units(name):
        value = value * 37 + unit & 0xFFFFFFFF
    return value


def _key_descriptor() -> bytes:
    """``O:BAG:SYD:(A;CI;KA;;;BA)(A;CI;KA;;;SY)(A;CI;KR;;;BU)``, self-relative (MS-DTYP 2.4.6)."""
    administrators, users = _sid(32, 544), _sid(32, 545)
    system = _sid(18)
    aces = b"".join(
        struct.pack("<BBHI", 0, _CONTAINER_INHERIT, 8 + len(sid), mask) + sid
        for sid, mask in ((administrators, _KEY_ALL_ACCESS), (system, _KEY_ALL_ACCESS), (users, _KEY_READ))
    )
    acl = struct.pack("<BBHHH", 2, 0, 8 + len(aces), 3, 0) + aces
    owner = 20
    group = owner + len(administrators)
    return struct.pack("<BBHIIII", 1, 0, 0x8004, owner, group, 0, group + len(system)) + administrators + system + acl


def _sid(*sub_authorities: int) -> bytes:
    """A SID of the NT authority (MS-DTYP 2.4.2)."""
    count = len(sub_authorities)
    return struct.pack(f"<BB6s{count}I", 1, count, (5).to_bytes(6, "big"), *sub_authorities)
