"""A registry tree as values: keys that hold values and keys, the way they stand in one hive.

Everything in this room takes or gives these two classes: the reader makes them of bytes, the writer bytes of them, and
merging and comparing is work on trees. Trees share branches (a merged tree is mostly the tree below it), so a key is
never changed once it is part of a tree: :func:`dataclasses.replace` makes the changed copy.

Names are ``str`` and may hold lone surrogates, as UTF-16 may. Two names are the same name when their folds by the
upper-case table of Windows are equal (:func:`wclayer.ntfs.names.fold`); the spelling is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

from wclayer.ntfs.names import fold, to_utf16le

__all__ = [
    "LAYER_INHERIT_CLASS",
    "LAYER_SUPERSEDE_LOCAL",
    "LAYER_SUPERSEDE_TREE",
    "LAYER_TOMBSTONE",
    "MAX_DEPTH",
    "REG_BINARY",
    "REG_DWORD",
    "REG_DWORD_BIG_ENDIAN",
    "REG_EXPAND_SZ",
    "REG_FULL_RESOURCE_DESCRIPTOR",
    "REG_LINK",
    "REG_MULTI_SZ",
    "REG_NONE",
    "REG_QWORD",
    "REG_RESOURCE_LIST",
    "REG_RESOURCE_REQUIREMENTS_LIST",
    "REG_SZ",
    "HiveKey",
    "HiveValue",
    "build_tree",
    "first_difference",
]

# The types of values, winnt.h.
REG_NONE: Final = 0
REG_SZ: Final = 1
REG_EXPAND_SZ: Final = 2
REG_BINARY: Final = 3
REG_DWORD: Final = 4
REG_DWORD_BIG_ENDIAN: Final = 5
REG_LINK: Final = 6
REG_MULTI_SZ: Final = 7
REG_RESOURCE_LIST: Final = 8
REG_FULL_RESOURCE_DESCRIPTOR: Final = 9
REG_RESOURCE_REQUIREMENTS_LIST: Final = 10
REG_QWORD: Final = 11

#: The layer byte of a key in a delta hive: the low two bits say how the key meets the one below, 0 being "merge".
LAYER_TOMBSTONE: Final = 1
LAYER_SUPERSEDE_LOCAL: Final = 2
LAYER_SUPERSEDE_TREE: Final = 3
#: The key keeps the class name it has in the layer below.
LAYER_INHERIT_CLASS: Final = 0x80

#: A registry tree is at most this many keys deep, the root of the hive included ("Registry element size limits").
MAX_DEPTH: Final = 512


_Item = TypeVar("_Item")


@dataclass(slots=True)
class HiveValue:
    """A value of a key: its name ("" is the default value), REG_* type and raw data.

    ``tombstone`` marks a value of a delta hive that deletes the one below; its type is REG_NONE and its data empty.
    """

    name: str
    type: int
    data: bytes
    tombstone: bool = False

    @classmethod
    def sz(cls, name: str, text: str) -> HiveValue:
        """A REG_SZ: UTF-16LE with a terminator."""
        return cls(name, REG_SZ, to_utf16le(f"{text}\0"))

    @classmethod
    def expand_sz(cls, name: str, text: str) -> HiveValue:
        """A REG_EXPAND_SZ: UTF-16LE with a terminator."""
        return cls(name, REG_EXPAND_SZ, to_utf16le(f"{text}\0"))

    @classmethod
    def multi_sz(cls, name: str, *texts: str) -> HiveValue:
        """A REG_MULTI_SZ: every text with its terminator, and one more at the end."""
        return cls(name, REG_MULTI_SZ, to_utf16le("".join(f"{text}\0" for text in texts) + "\0"))

    @classmethod
    def dword(cls, name: str, number: int) -> HiveValue:
        """A REG_DWORD, 0 <= ``number`` < 2^32."""
        return cls(name, REG_DWORD, number.to_bytes(4, "little"))

    @classmethod
    def qword(cls, name: str, number: int) -> HiveValue:
        """A REG_QWORD, 0 <= ``number`` < 2^64."""
        return cls(name, REG_QWORD, number.to_bytes(8, "little"))

    @classmethod
    def deleted(cls, name: str) -> HiveValue:
        """The tombstone of a value."""
        return cls(name, REG_NONE, b"", tombstone=True)

    def text(self) -> str:
        """The data as text up to its first NUL, for REG_SZ, REG_EXPAND_SZ and REG_LINK; an odd last byte is left out.

        Windows does not require the terminator, and what stands behind it is not part of the text.
        """
        return self.data[: len(self.data) & ~1].decode("utf-16-le", "surrogatepass").partition("\0")[0]

    def texts(self) -> list[str]:
        """The data of a REG_MULTI_SZ: all texts up to the empty one that ends them."""
        parts = self.data[: len(self.data) & ~1].decode("utf-16-le", "surrogatepass").split("\0")
        return parts[: parts.index("")] if "" in parts else parts

    def number(self) -> int:
        """The data as an integer, for REG_DWORD, REG_DWORD_BIG_ENDIAN and REG_QWORD, whatever its length is."""
        return int.from_bytes(self.data, "big" if self.type == REG_DWORD_BIG_ENDIAN else "little")

    def decoded(self) -> str | list[str] | int | bytes:
        """The data as what its type says, or the bytes themselves where they are no such thing (a DWORD of 3 bytes)."""
        if self.type in (REG_SZ, REG_EXPAND_SZ, REG_LINK):
            return self.text()
        if self.type == REG_MULTI_SZ:
            return self.texts()
        if len(self.data) == {REG_DWORD: 4, REG_DWORD_BIG_ENDIAN: 4, REG_QWORD: 8}.get(self.type, -1):
            return self.number()
        return self.data


@dataclass(slots=True)
class HiveKey:
    """A key with its values, in their order, and its subkeys, in any order.

    ``layer`` is the layer byte of a delta hive (LAYER_* constants; 0 merges with the key below); it must be 0 in an
    ordinary hive. ``security`` is a self-relative security descriptor (MS-DTYP 2.4.6); None stands for that of the
    nearest key above that has one. ``timestamp`` counts FILETIME ticks; None stands for the time of the hive.
    ``flags`` are the bits of the key node that are more than bookkeeping (0x10: a symbolic link; 0x80, 0x100, 0x200:
    virtualization) and, 16 bits higher, its virtualization, user and debug flags.
    """

    name: str
    values: tuple[HiveValue, ...] = ()
    subkeys: tuple[HiveKey, ...] = ()
    layer: int = 0
    class_name: str | None = None
    security: bytes | None = None
    timestamp: int | None = None
    flags: int = 0

    def subkey(self, name: str) -> HiveKey | None:
        """The subkey of that name, whatever its case; None when there is none. Looks at one name after the other."""
        folded = fold(name)
        return next((key for key in self.subkeys if fold(key.name) == folded), None)

    def value(self, name: str) -> HiveValue | None:
        """The value of that name ("" for the default value), whatever its case; None when there is none."""
        folded = fold(name)
        return next((value for value in self.values if fold(value.name) == folded), None)

    def key(self, path: str) -> HiveKey | None:
        r"""The key at ``path`` below this one (``Microsoft\Windows NT``; "" is this key); None when there is none."""
        found: HiveKey | None = self
        for name in path.split("\\") if path else ():
            found = found.subkey(name) if found is not None else None
        return found


def build_tree(root: _Item, expand: Callable[[_Item], tuple[HiveKey, Iterable[_Item], bool]]) -> HiveKey:
    """A tree of what ``expand`` makes of ``root`` and, from there down, of the items that it says are below.

    ``expand`` returns the key, without the subkeys that are still to come; the items they come from; and whether the
    key is to be there even if none of them is. The tree may be as deep as it likes.
    """
    top, items, _ = expand(root)
    open_keys: list[tuple[HiveKey, Iterator[_Item], list[HiveKey], bool]] = [(top, iter(items), [], True)]
    while open_keys:
        key, waiting, subkeys, keep = open_keys[-1]
        for item in waiting:
            below, items, needed = expand(item)
            open_keys.append((below, iter(items), [], needed))
            break
        else:
            open_keys.pop()
            if subkeys:
                key.subkeys = tuple(subkeys)
            if open_keys and (keep or subkeys):
                open_keys[-1][2].append(key)
    return top


def first_difference(
    one: HiveKey,
    two: HiveKey,
    *,
    timestamps: bool = True,
    order_of_values: bool = False,
    text: Callable[[object], str] = repr,
) -> str | None:
    """What differs first between two trees, in words; None when they are the same tree.

    Spelling counts, the order of subkeys does not, since a hive keeps them sorted; that of values counts with
    ``order_of_values``. Trees may be deeper than ``==`` can compare.
    """
    waiting = [("", one, two)]
    while waiting:
        path, left, right = waiting.pop()
        for what in ("name", "layer", "class_name", "security", "flags", *(("timestamp",) if timestamps else ())):
            if getattr(left, what) != getattr(right, what):
                return f"{what} of {path!r}: {text(getattr(left, what))} and {text(getattr(right, what))}"
        values = [key.values if order_of_values else sorted(key.values, key=_name) for key in (left, right)]
        if list(values[0]) != list(values[1]):
            return f"values of {path!r}: {text(values[0])} and {text(values[1])}"
        subkeys = [{fold(key.name): key for key in side.subkeys} for side in (left, right)]
        if subkeys[0].keys() != subkeys[1].keys() or len(left.subkeys) != len(right.subkeys):
            odd = sorted(subkeys[0].keys() ^ subkeys[1].keys())
            return f"subkeys of {path!r}: {len(left.subkeys)} and {len(right.subkeys)}, only one has {text(odd)}"
        prefix = f"{path}\\" if path else ""
        waiting += [(f"{prefix}{key.name}", key, subkeys[1][folded]) for folded, key in subkeys[0].items()]
    return None


def _name(value: HiveValue) -> str:
    return value.name
