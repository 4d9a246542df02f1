"""What each layer did to one key or one value: the answer to "since when, and by whom", deletions included.

A merged view says who had the last word. This looks at the view after each layer in turn and tells where it changed,
so that it also knows what was deleted and came again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from wclayer.ntfs.names import fold
from wclayer.regf.layered import LayeredKey, resolve
from wclayer.regf.reader import Hive, Key
from wclayer.regf.tree import HiveKey, HiveValue

__all__ = ["KeyEvent", "ValueEvent", "key_history", "value_history"]

_Stack: TypeAlias = Sequence[HiveKey | Hive | Key | None]


@dataclass(frozen=True, slots=True)
class KeyEvent:
    """What the layer at the index ``layer`` of a stack did to a key.

    A key is *changed* when a value, the class, the descriptor or the flags are others; what happens below it counts for
    the keys there. It is *replaced* when it begins anew, with nothing of what was there.
    """

    layer: int
    action: Literal["created", "changed", "replaced", "deleted"]


@dataclass(frozen=True, slots=True)
class ValueEvent:
    """What the layer at the index ``layer`` of a stack made of a value; None when it deleted it."""

    layer: int
    value: HiveValue | None


def key_history(stack: Sequence[HiveKey | Hive | Key | None], path: str) -> list[KeyEvent]:
    r"""What the layers of ``stack``, base first, did to the key at ``path`` (``Microsoft\Windows NT``; "" is the root).

    Raises what reading the hives raises.
    """
    events: list[KeyEvent] = []
    before: LayeredKey | None = None
    for layer, view in _views(stack, path):
        if view is None:
            if before is not None:
                events.append(KeyEvent(layer, "deleted"))
        elif before is None:
            events.append(KeyEvent(layer, "created"))
        elif view.layers[0] == layer:
            events.append(KeyEvent(layer, "replaced"))
        elif view.layers[-1] == layer and _facts(view) != _facts(before):
            events.append(KeyEvent(layer, "changed"))
        before = view
    return events


def value_history(stack: Sequence[HiveKey | Hive | Key | None], path: str, name: str) -> list[ValueEvent]:
    """What the layers of ``stack``, base first, made of the value ``name`` of the key at ``path``.

    "" is the default value. A layer that states what was already so is not an event. Raises what reading the hives
    raises.
    """
    events: list[ValueEvent] = []
    before: HiveValue | None = None
    folded = fold(name)
    for layer, view in _views(stack, path):
        values = view.values if view is not None else ()
        found = next((value for value in values if fold(value.name) == folded), None)
        if found != before:
            events.append(ValueEvent(layer, found))
        before = found
    return events


def _views(stack: _Stack, path: str) -> Iterator[tuple[int, LayeredKey | None]]:
    """The key at ``path`` as it is after each layer that has a hive."""
    for layer, hive in enumerate(stack):
        if hive is not None:
            yield layer, resolve(stack[: layer + 1]).key(path)


def _facts(key: LayeredKey) -> tuple[object, ...]:
    values = {fold(value.name): value for value in key.values}
    return values, key.class_name, key.security, key.flags
