"""Layered keys: what a program sees that looks at a base hive through the delta hives above it.

A delta hive names the keys that it changes. For one path the hives of a stack give a pile of keys, and the topmost key
that cuts decides where the pile ends: a tombstone hides the key and all below it, "supersede tree" begins anew with
the subtree it stands in. The keys from there up take part in the layered key: values of upper ones replace those of
the same name ("supersede local" those of any name, a tombstone value deletes), subkeys unite, each again by this rule.

:func:`resolve` gives the layered keys one by one and says of each which layers made it what it is; :func:`merge`
makes one flat tree of all of them; :func:`combine` makes one delta of several, to stand in their place.

Sources: the layered key bits in "Windows registry file format specification" by Maxim Suhanov; US patent application
20170279678. Where these are silent: the name is spelt as in the lowest key that takes part, the security descriptor
and flags are those of the uppermost, the time is the latest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from wclayer.errors import UsageError
from wclayer.ntfs.names import fold
from wclayer.regf.reader import Hive, Key
from wclayer.regf.structures import sort_key
from wclayer.regf.tree import (
    LAYER_INHERIT_CLASS,
    LAYER_SUPERSEDE_LOCAL,
    LAYER_SUPERSEDE_TREE,
    LAYER_TOMBSTONE,
    HiveKey,
    HiveValue,
    build_tree,
)

__all__ = ["LayeredKey", "LayeredValue", "combine", "merge", "resolve"]

_SEMANTICS: Final = 3

_Node: TypeAlias = HiveKey | Key
_Pile: TypeAlias = list[tuple[int, _Node]]


@dataclass(frozen=True, slots=True)
class LayeredValue:
    """A value in the merged view.

    ``layer`` is the layer that says what it is, as an index into the stack. ``history`` is what the layers say of it,
    base first, as ``(layer, value)``; the last is the value itself, or a tombstone when the value is deleted.
    """

    value: HiveValue
    layer: int
    history: tuple[tuple[int, HiveValue], ...]


class LayeredKey:
    """A key in the merged view. Reading one of a lazy hive raises what :class:`wclayer.regf.reader.Key` raises.

    It has the attributes of a :class:`~wclayer.regf.tree.HiveKey` and those that say where it comes from.
    """

    __slots__ = ("_pile", "path")

    def __init__(self, pile: _Pile, path: str) -> None:
        self._pile = pile
        #: Where the key is, relative to the root of the hive; "" for the root.
        self.path = path

    @property
    def name(self) -> str:
        """The name as the lowest layer that takes part spells it."""
        return self._pile[0][1].name

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers whose hives take part, as indices into the stack, base first.

        The first is the one that the key comes from. A layer that changes only something below takes part as well.
        """
        return tuple(layer for layer, _ in self._pile)

    @property
    def class_name(self) -> str | None:
        """The class: that of the uppermost key that does not inherit it."""
        return _facts(self._pile)[0]

    @property
    def security(self) -> bytes | None:
        """The self-relative security descriptor: that of the uppermost key that has one."""
        return _facts(self._pile)[1]

    @property
    def timestamp(self) -> int | None:
        """The latest time, in FILETIME ticks; None when no key has one."""
        return _facts(self._pile)[2]

    @property
    def flags(self) -> int:
        """The flags of the uppermost key, see :class:`wclayer.regf.tree.HiveKey`."""
        return self._pile[-1][1].flags

    @property
    def values(self) -> tuple[HiveValue, ...]:
        """The values: those of the base in their order, then those that came with each layer."""
        return _values(self._pile)

    def layered_values(self) -> list[LayeredValue]:
        """The values, each with what the layers say of it."""
        return [value for value in self._histories() if not value.value.tombstone]

    def deleted_values(self) -> list[LayeredValue]:
        """The values that a lower layer has and an upper one deleted; each ``value`` is the tombstone."""
        return [
            value
            for value in self._histories()
            if value.value.tombstone and any(not said.tombstone for _, said in value.history)
        ]

    def value(self, name: str) -> LayeredValue | None:
        """The value of that name ("" for the default value), whatever its case; None when there is none."""
        folded = fold(name)
        return next((value for value in self.layered_values() if fold(value.value.name) == folded), None)

    @property
    def subkeys(self) -> tuple[LayeredKey, ...]:
        """The subkeys in the order of a hive."""
        prefix = f"{self.path}\\" if self.path else ""
        return tuple(LayeredKey(pile, prefix + pile[0][1].name) for pile in _piles(self._pile))

    def deleted_subkeys(self) -> list[tuple[str, int]]:
        """The subkeys that a lower layer has and an upper one deleted, as ``(name, layer that deleted it)``."""
        return [
            (pile[-1][1].name, pile[-1][0])
            for pile in _united(self._pile).values()
            if not _visible(pile) and any(not _is_tombstone(node) for _, node in pile)
        ]

    def subkey(self, name: str) -> LayeredKey | None:
        """The subkey of that name, whatever its case; None when there is none."""
        found = ((layer, node.subkey(name)) for layer, node in self._pile)
        pile = _visible([(layer, node) for layer, node in found if node is not None])
        return LayeredKey(pile, f"{self.path}\\{pile[0][1].name}" if self.path else pile[0][1].name) if pile else None

    def key(self, path: str) -> LayeredKey | None:
        r"""The key at ``path`` below this one (``Microsoft\Windows NT``; "" is this key); None when there is none."""
        found: LayeredKey | None = self
        for name in path.split("\\") if path else ():
            found = found.subkey(name) if found is not None else None
        return found

    def walk(self) -> Iterator[LayeredKey]:
        """This key and all below it, each before its subkeys."""
        waiting = [self]
        while waiting:
            key = waiting.pop()
            yield key
            waiting += reversed(key.subkeys)

    def tree(self) -> HiveKey:
        """The key and everything below it as one flat tree, without layer bytes and tombstones."""
        return build_tree(self._pile, _flattened)

    def _histories(self) -> list[LayeredValue]:
        said: dict[str, list[tuple[int, HiveValue]]] = {}
        for number, (layer, node) in enumerate(self._pile):
            values = {fold(value.name): value for value in node.values}
            if number and node.layer & _SEMANTICS == LAYER_SUPERSEDE_LOCAL:
                for folded, history in said.items():
                    if folded not in values and not history[-1][1].tombstone:
                        history.append((layer, HiveValue.deleted(history[-1][1].name)))
            for folded, value in values.items():
                said.setdefault(folded, []).append((layer, value))
        return [LayeredValue(history[-1][1], history[-1][0], tuple(history)) for history in said.values()]


def resolve(stack: Sequence[HiveKey | Hive | Key | None]) -> LayeredKey:
    """The root of the merged view of ``stack``, base first; None stands for a layer that has no such hive.

    Lazy hives are read as far as the view is looked at. Raises UsageError when no hive is there, or the uppermost says
    that its root is deleted.
    """
    pile: _Pile = [
        (layer, hive.root if isinstance(hive, Hive) else hive) for layer, hive in enumerate(stack) if hive is not None
    ]
    if not pile:
        raise UsageError("there is no hive to merge")
    visible = _visible(pile)
    if not visible:
        raise UsageError(f"the root key of layer {pile[-1][0]} is a tombstone, so nothing is left")
    return LayeredKey(visible, "")


def merge(stack: Sequence[HiveKey | Hive]) -> HiveKey:
    """One flat tree of a base hive and the deltas above it, base first; as many as there are.

    The tree shares what no delta touches with the base. Raises what :func:`resolve` and reading a whole hive raise.
    """
    return resolve([hive.tree() if isinstance(hive, Hive) else hive for hive in stack]).tree()


def combine(deltas: Sequence[HiveKey | Hive]) -> HiveKey:
    """One delta that does what ``deltas``, the lowest first, do together, whatever they are merged onto.

    ``merge([base, combine([one, two])])`` is ``merge([base, one, two])``. Raises UsageError when there is none, and
    what reading a whole hive raises.
    """
    trees = [hive.tree() if isinstance(hive, Hive) else hive for hive in deltas]
    if not trees:
        raise UsageError("there is no delta hive to combine")
    pile: _Pile = list(enumerate(trees))
    return build_tree((pile, False), _combined)


def _visible(pile: _Pile) -> _Pile:
    """The keys of a pile that take part; none when the key is deleted."""
    start = 0
    for number, (_, node) in enumerate(pile):
        semantics = node.layer & _SEMANTICS
        if semantics == LAYER_TOMBSTONE:
            start = number + 1
        elif semantics == LAYER_SUPERSEDE_TREE:
            start = number
    return pile[start:] if start else pile


def _facts(pile: _Pile) -> tuple[str | None, bytes | None, int | None]:
    """Class, descriptor and time of what a pile makes together."""
    _, lowest = pile[0]
    class_name, security, timestamp = lowest.class_name, lowest.security, lowest.timestamp
    for _, node in pile[1:]:
        if not node.layer & LAYER_INHERIT_CLASS:
            class_name = node.class_name
        if node.security is not None:
            security = node.security
        later = node.timestamp
        if timestamp is None or (later is not None and later > timestamp):
            timestamp = later
    return class_name, security, timestamp


def _values(pile: _Pile) -> tuple[HiveValue, ...]:
    found = [(node, values) for _, node in pile if (values := node.values)]
    if not found:
        return ()
    if len(found) == 1 and found[0][0] is pile[-1][1]:
        return tuple([value for value in found[0][1] if not value.tombstone])
    return tuple([value for value in _overlaid(pile).values() if not value.tombstone])


def _united(pile: _Pile) -> dict[str, _Pile]:
    """The piles of all subkeys, by folded name, with what is hidden."""
    united: dict[str, _Pile] = {}
    for layer, node in pile:
        for subkey in node.subkeys:
            united.setdefault(fold(subkey.name), []).append((layer, subkey))
    return united


def _piles(pile: _Pile) -> list[_Pile]:
    """What takes part in each subkey, in the order of a hive."""
    if len(pile) == 1:
        layer, node = pile[0]
        return [[(layer, subkey)] for subkey in node.subkeys if not _is_tombstone(subkey)]
    united = _united(pile)
    if not united:
        return []
    visible = [_visible(united[folded]) for folded in sorted(united, key=sort_key)]
    return [pile for pile in visible if pile]


def _overlaid(pile: _Pile) -> dict[str, HiveValue]:
    """The last word on each value, tombstones too."""
    values: dict[str, HiveValue] = {}
    for _, node in pile:
        if node.layer & _SEMANTICS == LAYER_SUPERSEDE_LOCAL:
            values.clear()
        for value in node.values:
            values[fold(value.name)] = value
    return values


def _flattened(pile: _Pile) -> tuple[HiveKey, Iterable[_Pile], bool]:
    node = pile[0][1]
    if len(pile) == 1:
        node = node if isinstance(node, HiveKey) else node.tree()
        if _is_flat(node):
            return node, (), True
        pile = [(pile[0][0], node)]
    key = HiveKey(node.name, _values(pile), (), 0, *_facts(pile), pile[-1][1].flags)
    return key, _piles(pile), True


def _is_flat(root: HiveKey) -> bool:
    """Whether nothing in a tree is layered, so that it is its own merged view."""
    waiting = [root]
    while waiting:
        key = waiting.pop()
        if key.layer:
            return False
        for value in key.values:
            if value.tombstone:
                return False
        waiting += key.subkeys
    return True


def _combined(item: tuple[_Pile, bool]) -> tuple[HiveKey, Iterable[tuple[_Pile, bool]], bool]:
    """One key of a combined delta; the flag says that it stands in a tree that supersedes what is below."""
    pile, superseding = item
    visible = _visible(pile)
    _, top = pile[-1]
    if not visible:
        return HiveKey(top.name, layer=LAYER_TOMBSTONE, security=top.security, timestamp=top.timestamp), (), True
    superseding = superseding or len(visible) < len(pile) or visible[0][1].layer & _SEMANTICS == LAYER_SUPERSEDE_TREE
    layer, name = LAYER_SUPERSEDE_TREE, visible[0][1].name
    key = HiveKey(name, _values(visible), (), layer, *_facts(visible), visible[-1][1].flags)
    if superseding:
        return key, [(pile, True) for pile in _piles(visible)], True
    key.layer = max((node.layer & LAYER_SUPERSEDE_LOCAL for _, node in pile), default=0)
    if not key.layer:
        key.values = tuple(_overlaid(pile).values())
    if all(node.layer & LAYER_INHERIT_CLASS for _, node in pile):
        key.layer |= LAYER_INHERIT_CLASS
    united = _united(pile)
    return key, [(united[folded], False) for folded in sorted(united, key=sort_key)], True


def _is_tombstone(node: _Node) -> bool:
    return node.layer & _SEMANTICS == LAYER_TOMBSTONE
