"""The delta hive between two trees: what the upper of two layers has to say, and nothing else.

The inverse of merging: ``merge([base, diff(base, new)])`` is ``new``. Windows marks keys in the same way: a key that is
gone becomes a tombstone, a new one supersedes the tree, one that only leads to a change merges and inherits its class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeAlias

from wclayer.errors import UsageError
from wclayer.ntfs.names import fold
from wclayer.regf.reader import Hive
from wclayer.regf.tree import (
    LAYER_INHERIT_CLASS,
    LAYER_SUPERSEDE_TREE,
    LAYER_TOMBSTONE,
    HiveKey,
    HiveValue,
    build_tree,
)

__all__ = ["diff"]

# A key below, if there is one, and the key that is to be; or a tombstone.
_Item: TypeAlias = tuple[HiveKey | None, HiveKey] | HiveKey


def diff(base: HiveKey | Hive, new: HiveKey | Hive) -> HiveKey:
    """The smallest delta that makes ``new`` of ``base`` when it is merged onto it; without a subkey if they are equal.

    Every key in it carries the security descriptor that it has in ``new``. Four things no delta can say: another name
    of the root, another order of values, a time that is earlier than the one in ``base``, and that a key has no
    descriptor of its own; merging keeps what ``base`` has. Raises UsageError when either tree is itself a delta.
    """
    old, target = (hive.tree() if isinstance(hive, Hive) else hive for hive in (base, new))
    item: _Item = (old, target)
    root = build_tree(item, _compared)
    # The root is in every delta, so it states its class.
    root.layer, root.class_name = 0, target.class_name
    return root


def _compared(item: _Item) -> tuple[HiveKey, Iterable[_Item], bool]:
    if isinstance(item, HiveKey):
        return item, (), True
    old, new = item
    for key in item:
        if key is not None and (key.layer or any(value.tombstone for value in key.values)):
            raise UsageError("one of the registry trees to compare is a delta", path=key.name)
    if old is None:
        return replace(new, subkeys=(), layer=LAYER_SUPERSEDE_TREE), [(None, key) for key in new.subkeys], True
    values = _changed_values(old.values, new.values)
    same_class = old.class_name == new.class_name
    later = new.timestamp is not None and old.timestamp is not None and new.timestamp > old.timestamp
    changed = values or not same_class or later or (old.security, old.flags) != (new.security, new.flags)
    key = replace(
        new,
        values=values,
        subkeys=(),
        layer=LAYER_INHERIT_CLASS if same_class else 0,
        class_name=None if same_class else new.class_name,
    )
    return key, _items(old.subkeys, new.subkeys), bool(changed)


def _items(old: tuple[HiveKey, ...], new: tuple[HiveKey, ...]) -> list[_Item]:
    below = {fold(key.name): key for key in old}
    items: list[_Item] = []
    for key in new:
        found = below.pop(fold(key.name), None)
        if found is not key:
            # Merging keeps the spelling that is below, unless the key begins anew.
            items.append((found if found is not None and found.name == key.name else None, key))
    items += [HiveKey(key.name, layer=LAYER_TOMBSTONE, security=key.security) for key in below.values()]
    return items


def _changed_values(old: tuple[HiveValue, ...], new: tuple[HiveValue, ...]) -> tuple[HiveValue, ...]:
    if old == new:
        return ()
    below = {fold(value.name): value for value in old}
    changed = [value for value in new if below.pop(fold(value.name), None) != value]
    return (*changed, *(HiveValue.deleted(value.name) for value in below.values()))
