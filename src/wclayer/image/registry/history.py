"""Which layer made, set, changed or deleted a key and its values: the difference that each layer makes to the view.

A layer that states what was already so changes nothing, and is not mentioned.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from wclayer.image.registry.comparing import compare
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.key_paths import KeyPath
from wclayer.ntfs.names import fold
from wclayer.regf import HiveValue

__all__ = ["RegistryEvent", "history"]

_ACTIONS: dict[str, Literal["set", "changed", "deleted"]] = {"added": "set", "changed": "changed", "removed": "deleted"}


class RegistryEvent(NamedTuple):
    """What the layer number ``layer`` (0 is the base) did.

    ``kind`` is ``key``, ``value`` or ``class``; ``name`` is the name of a value. A key is ``set`` when it is made.
    ``value`` is what a value became, None when it was deleted.
    """

    path: KeyPath
    kind: Literal["key", "value", "class", "security"]
    name: str | None
    layer: int
    action: Literal["set", "changed", "deleted"]
    value: HiveValue | None


def history(registry: ImageRegistry, path: str | KeyPath, *, recursive: bool = True) -> list[RegistryEvent]:
    """What the layers of ``registry`` did to the key at ``path``: by keys and values, for each the base first.

    A key that was deleted has a history as well. Without ``recursive`` only the key itself, its values and the coming
    and going of its subkeys are looked at. The list is empty when no layer ever had the key.
    """
    place = registry.path(path)
    events: list[tuple[tuple[str, ...], str, int, RegistryEvent]] = []
    before = None
    for number, file in enumerate(registry.files(place.hive) if place.hive else ()):
        after = registry.tree(place, layers=number + 1)
        for change in compare(before, after, place.path, recursive=recursive):
            value = change.after if isinstance(change.after, HiveValue) else None
            event = RegistryEvent(
                KeyPath(place.hive, change.path), change.kind, change.name, file.layer, _ACTIONS[change.action], value
            )
            names = tuple(fold(change.path).split("\\"))
            # The key itself comes before its values, whose default has no name.
            about = "" if change.name is None else f"\0{fold(change.name)}"
            events.append((names, about, number, event))
        before = after
    events.sort(key=lambda one: one[:3])
    return [event for *_, event in events]
