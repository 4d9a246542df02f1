"""What differs between the registries of two images, as changes and as registry text that makes one of the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from wclayer.errors import NotFoundError
from wclayer.image.registry.comparing import Change, compare
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.exporting import json_value
from wclayer.image.registry.key_paths import HIVES, KeyPath, long_path, shown_path
from wclayer.image.registry.values import data_text, type_name
from wclayer.regf import HiveValue
from wclayer.regf.text import RegSection, encode_reg, write_reg

__all__ = ["RegistryChange", "diff_registries", "diff_text"]


class RegistryChange(NamedTuple):
    """One difference: the hive it is in, and what it is."""

    hive: str
    change: Change

    @property
    def path(self) -> KeyPath:
        """The key."""
        return KeyPath(self.hive, self.change.path)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        change = self.change
        return {
            "action": change.action,
            "kind": change.kind,
            "path": shown_path(self.path),
            "name": change.name,
            "before": _shown(change.before),
            "after": _shown(change.after),
        }

    def line(self) -> str:
        """For people: ``+``, ``-`` or ``~``, the key, the name of the value, what it was and what it is."""
        change = self.change
        mark = {"added": "+", "removed": "-", "changed": "~"}[change.action]
        text = f"{mark} {shown_path(self.path)}"
        if change.kind == "key":
            return text
        about = f"{change.name or '(default)'}" if change.kind == "value" else f"({change.kind})"
        both = [_brief(side) for side in (change.before, change.after) if side is not None or change.kind != "value"]
        return f"{text}  {about} = {' -> '.join(both)}"


def diff_registries(
    before: ImageRegistry, after: ImageRegistry, path: str = "", *, security: bool = False
) -> Iterator[RegistryChange]:
    """What changes from ``before`` to ``after`` at and below ``path``; everywhere without one.

    Times are not compared, security descriptors only with ``security``. Raises NotFoundError for a key that neither
    has.
    """
    places = (before.path(path), after.path(path))
    hives: Iterable[str]
    if places[0].hive:
        hives = [places[0].hive]
    else:
        both = (*HIVES, *before.hives, *after.hives)
        there = {*before.hives, *after.hives}
        wanted = places[0].path
        hives = [
            hive
            for hive in dict.fromkeys(both)
            if hive in there and wanted in ("", "HKU" if hive == "DEFAULT" else "HKLM")
        ]
        before.load(hives)
        after.load(hives)
    for hive in hives:
        one, two = (KeyPath(hive, place.path if place.hive else "") for place in places)
        old, new = before.tree(one), after.tree(two)
        if old is None and new is None and places[0].hive:
            raise NotFoundError(f"neither has the key {shown_path(one)}")
        # Two registries may have their current control set under different numbers.
        for change in compare(old, new, two.path, security=security):
            yield RegistryChange(hive, change)


def diff_text(changes: Iterable[RegistryChange], *, utf16: bool = True, skipped: list[str] | None = None) -> bytes:
    """Registry text that makes the second registry of the first. Classes and descriptors have no place in it.

    It is UTF-16LE with a byte order mark, as regedit has it, or UTF-8 without ``utf16``. ``skipped`` takes the paths of
    what cannot be said.
    """
    text = write_reg(_sections(changes), skipped=skipped)
    return encode_reg(text) if utf16 else text.encode("utf-8", "surrogatepass")


def _sections(changes: Iterable[RegistryChange]) -> Iterator[RegSection]:
    gone: KeyPath | None = None
    section: RegSection | None = None
    for one in changes:
        change, path = one.change, one.path
        if gone is not None and gone.hive == path.hive and _is_within(path.path, gone.path):
            continue
        if change.kind == "key" and change.action == "removed":
            if section is not None:
                yield section
            section, gone = None, path
            yield RegSection(long_path(path), deleted=True)
            continue
        if change.kind not in ("key", "value"):
            continue
        if section is None or section.path != long_path(path):
            if section is not None:
                yield section
            section = RegSection(long_path(path))
        if change.kind == "value":
            after = change.after
            value = after if isinstance(after, HiveValue) else HiveValue.deleted(change.name or "")
            section.values.append(value)
    if section is not None:
        yield section


def _is_within(path: str, top: str) -> bool:
    return not top or f"{path}\\".startswith(f"{top}\\")


def _shown(side: HiveValue | str | bytes | None) -> object:
    if isinstance(side, HiveValue):
        return {key: value for key, value in json_value(side).items() if key != "name"}
    return side.hex() if isinstance(side, bytes) else side


def _brief(side: HiveValue | str | bytes | None) -> str:
    if isinstance(side, HiveValue):
        return f"{type_name(side)} {data_text(side)}"
    return "none" if side is None else side.hex() if isinstance(side, bytes) else side
