"""Registry text applied to the registry of an image: for each hive the delta that makes the change, and nothing else.

The text is made a change of the tree that the image has; :func:`wclayer.regf.diff` then leaves out of it whatever is so
already. What is deleted becomes a tombstone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TypeAlias

from wclayer.errors import NotFoundError, UsageError, WclayerError
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.hive_files import DELTA_NAMES
from wclayer.image.registry.key_paths import KeyPath, long_path
from wclayer.ntfs.names import fold
from wclayer.regf import HiveKey, diff, merge, write_hive
from wclayer.regf.text import RegSection, delta_of, parse_reg

__all__ = ["RegSections", "delta_hives", "delta_trees", "parse_sections"]

RegSections: TypeAlias = list[RegSection]
"""What registry text says, in its order: keys that are made or changed, and keys that are deleted."""


def parse_sections(data: bytes) -> RegSections:
    """What the registry text ``data`` says, in any of its encodings. Raises FormatError, naming the line."""
    return parse_reg(data)


def delta_trees(registry: ImageRegistry, sections: Iterable[RegSection]) -> dict[str, HiveKey]:
    """The deltas that do what ``sections`` say to the effective hives; only of hives that become others.

    Paths may be spelt as people do (``HKLM``, ``CurrentControlSet``). Raises NotFoundError for a hive the image does
    not have, UsageError for deleting the root of one.
    """
    by_hive: dict[str, list[RegSection]] = {}
    for section in sections:
        place = registry.path(section.path)
        if not place.hive:
            raise UsageError(f"{section.path!r} is no key of a hive", hint="name one: HKEY_LOCAL_MACHINE\\SOFTWARE\\…")
        by_hive.setdefault(place.hive, []).append(_as_spelt(registry, place, section))
    deltas = {}
    for hive, wanted in by_hive.items():
        before = registry.tree(KeyPath(hive, ""))
        if before is None:
            raise NotFoundError(f"the image has no hive {hive}", image=registry.reference)
        if registry.is_delta(hive):
            raise UsageError(
                f"of the hive {hive} only a delta is there", hint="name the image, or the layer folder with its parents"
            )
        try:
            change = delta_of(wanted, long_path(KeyPath(hive, "")))
            delta = diff(before, merge([before, change]))
        except WclayerError as error:
            raise error.locate(image=registry.reference) from None
        if delta.subkeys or delta.values:
            deltas[hive] = delta
    return deltas


def _as_spelt(registry: ImageRegistry, place: KeyPath, section: RegSection) -> RegSection:
    """``section`` with its path in full, and its values spelt as they are: setting a value never renames it."""
    key = registry.key(place) if section.values else None
    known = {fold(value.name): value.name for value in key.values} if key is not None else {}
    values = [replace(value, name=known.get(fold(value.name), value.name)) for value in section.values]
    return RegSection(long_path(place), section.deleted, values)


def delta_hives(trees: Mapping[str, HiveKey], timestamp: int) -> dict[str, bytes]:
    """The delta hives of a layer by their names: those of ``trees``, and for every other hive one without a change.

    ``timestamp`` (FILETIME ticks) is the time of every key that is made.
    """
    hives = {}
    for hive, name in DELTA_NAMES.items():
        tree = trees.get(hive) or HiveKey("ROOT")
        hives[name] = write_hive(tree, name=f"\\Hives\\{name}", delta=True, timestamp=timestamp)
    return dict(sorted(hives.items()))
