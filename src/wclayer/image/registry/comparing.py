"""What differs between two registry trees, one key, value or property at a time.

Times are not compared, for they say when something was written and not what. A key that only one tree has counts with
all that is in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, NamedTuple, TypeAlias

from wclayer.ntfs.names import fold
from wclayer.regf import HiveKey, HiveValue
from wclayer.regf.structures import sort_key

__all__ = ["Change", "compare"]

_Pair: TypeAlias = tuple[HiveKey | None, HiveKey | None, str]


class Change(NamedTuple):
    """One difference. ``path`` is that of the key, ``name`` that of the value, None where it is about the key itself.

    ``before`` and ``after`` are a value, a class or a descriptor; None where there is none.
    """

    action: Literal["added", "removed", "changed"]
    kind: Literal["key", "value", "class", "security"]
    path: str
    name: str | None = None
    before: HiveValue | str | bytes | None = None
    after: HiveValue | str | bytes | None = None


def compare(
    before: HiveKey | None, after: HiveKey | None, path: str = "", *, security: bool = False, recursive: bool = True
) -> Iterator[Change]:
    """The changes that make ``after`` of ``before``, both called ``path``; None is a key that is not there.

    Keys come in the order of a hive, each before what is in it. With ``security`` descriptors are compared as well.
    Without ``recursive`` only the key itself and its values are, and of its subkeys whether they are there.
    """
    waiting: list[tuple[_Pair, int]] = [((before, after, path), 0)]
    while waiting:
        (old, new, here), depth = waiting.pop()
        if old is new:
            continue
        if old is None:
            yield Change("added", "key", here)
        elif new is None:
            yield Change("removed", "key", here)
        if depth and not recursive:
            continue
        if old is not None and new is not None:
            yield from _properties(old, new, here, security=security)
        yield from _values(old.values if old else (), new.values if new else (), here)
        below = [(pair, depth + 1) for pair in _pairs(old, new, here)]
        if not recursive:
            below = [one for one in below if None in one[0]]
        waiting += reversed(below)


def _properties(old: HiveKey, new: HiveKey, path: str, *, security: bool) -> Iterator[Change]:
    if old.class_name != new.class_name:
        yield Change("changed", "class", path, None, old.class_name, new.class_name)
    if security and old.security != new.security:
        yield Change("changed", "security", path, None, old.security, new.security)


def _values(old: tuple[HiveValue, ...], new: tuple[HiveValue, ...], path: str) -> Iterator[Change]:
    if old == new:
        return
    left = {fold(value.name): value for value in old}
    right = {fold(value.name): value for value in new}
    for folded in sorted(left.keys() | right.keys(), key=sort_key):
        one, two = left.get(folded), right.get(folded)
        if one is None and two is not None:
            yield Change("added", "value", path, two.name, None, two)
        elif two is None and one is not None:
            yield Change("removed", "value", path, one.name, one, None)
        elif one is not None and two is not None and (one.type, one.data) != (two.type, two.data):
            yield Change("changed", "value", path, two.name, one, two)


def _pairs(old: HiveKey | None, new: HiveKey | None, path: str) -> list[_Pair]:
    left = {fold(key.name): key for key in old.subkeys} if old else {}
    right = {fold(key.name): key for key in new.subkeys} if new else {}
    pairs: list[_Pair] = []
    for folded in sorted(left.keys() | right.keys(), key=sort_key):
        one, two = left.get(folded), right.get(folded)
        name = (two or one or HiveKey("")).name
        pairs.append((one, two, f"{path}\\{name}" if path else name))
    return pairs
