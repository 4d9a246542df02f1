"""Listing keys and values of the registry of an image, and searching them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from wclayer.errors import FormatError, NotFoundError, UsageError
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.key_paths import KeyPath, shown_path
from wclayer.image.registry.values import data_text, json_data, searched_text, type_name
from wclayer.ntfs.filetime import to_text
from wclayer.ntfs.sddl import to_sddl
from wclayer.regf import LAYER_TOMBSTONE, HiveValue, Key, LayeredKey, LayeredValue
from wclayer.regf.tree import LAYER_SUPERSEDE_TREE

__all__ = ["KeyDescription", "RegistryRow", "describe_key", "find_value", "list_registry", "search_registry"]


class RegistryRow(NamedTuple):
    r"""A key, or a value of one.

    ``kind`` is ``key`` or ``value``; of a layer that is seen alone also ``deleted key`` and ``deleted value``.
    ``path`` is that of the key (``HKLM\SOFTWARE\Microsoft``), ``name`` that of the value. ``layer`` counts from 0, the
    base: where the key comes from, or who had the last word on the value.
    """

    kind: str
    path: str
    name: str | None
    type: str | None
    data: str | list[str] | int | None
    layer: int | None
    last_write_time: str | None
    text: str = ""


def list_registry(registry: ImageRegistry, path: str, *, recursive: bool = False) -> Iterator[RegistryRow]:
    """The values and subkeys of the key at ``path``; of all below it with ``recursive``.

    Of ``HKLM``, ``HKU`` or nothing at all the hives are listed. Raises NotFoundError.
    """
    place = registry.path(path)
    if not place.hive:
        for hive in _hives(registry, place):
            root = registry.root(hive)
            if root is not None:
                yield _key_row(registry, KeyPath(hive, ""), root)
                if recursive:
                    yield from _listed(registry, KeyPath(hive, ""), root, recursive=True)
        return
    at, key = _required(registry, place)
    yield from _listed(registry, at, key, recursive=recursive)


def _required(registry: ImageRegistry, place: KeyPath) -> tuple[KeyPath, LayeredKey]:
    if registry.is_delta(place.hive) and registry.key(place) is None:
        root = registry.stack(place.hive)[0].root
        here: Key | None = root
        for name in place.path.split("\\"):
            here = here.subkey(name) if here is not None else None
            if here is not None and here.layer & LAYER_SUPERSEDE_TREE == LAYER_TOMBSTONE:
                raise NotFoundError(f"this layer deletes {shown_path(KeyPath(place.hive, here.path))}")
    return registry.require(place)


def _hives(registry: ImageRegistry, place: KeyPath) -> list[str]:
    """The hives below ``HKLM``, ``HKU``, or everything."""
    return [hive for hive in registry.hives if place.path in ("", "HKU" if hive == "DEFAULT" else "HKLM")]


def _listed(registry: ImageRegistry, at: KeyPath, key: LayeredKey, *, recursive: bool) -> Iterator[RegistryRow]:
    deletions = registry.is_delta(at.hive)
    for here in key.walk() if recursive else (key,):
        place = KeyPath(at.hive, here.path)
        if here is not key:
            yield _key_row(registry, place, here)
        for value in here.layered_values():
            yield _value_row(registry, place, value)
        if deletions:
            yield from _deletions(registry, place)
    if not recursive:
        for subkey in key.subkeys:
            yield _key_row(registry, KeyPath(at.hive, subkey.path), subkey)


def _deletions(registry: ImageRegistry, place: KeyPath) -> Iterator[RegistryRow]:
    (file,) = registry.files(place.hive)
    raw = registry.stack(place.hive)[0].key(place.path)
    path = shown_path(place)
    for value in raw.values:
        if value.tombstone:
            yield RegistryRow("deleted value", path, value.name, None, None, file.layer, None)
    for key in raw.subkeys:
        if key.layer & LAYER_SUPERSEDE_TREE == LAYER_TOMBSTONE:
            deleted = shown_path(place.below(key.name))
            yield RegistryRow("deleted key", deleted, None, None, None, file.layer, to_text(key.timestamp))


def _key_row(registry: ImageRegistry, place: KeyPath, key: LayeredKey) -> RegistryRow:
    layer = registry.files(place.hive)[key.layers[0]].layer
    time = None if key.timestamp is None else to_text(key.timestamp)
    return RegistryRow("key", shown_path(place), None, None, None, layer, time)


def _value_row(registry: ImageRegistry, place: KeyPath, layered: LayeredValue) -> RegistryRow:
    value = layered.value
    layer = registry.files(place.hive)[layered.layer].layer
    return RegistryRow(
        "value", shown_path(place), value.name, type_name(value), json_data(value), layer, None, data_text(value)
    )


def search_registry(
    registry: ImageRegistry,
    pattern: str,
    path: str = "",
    *,
    fixed: bool = False,
    ignore_case: bool = False,
    keys: bool = True,
    names: bool = True,
    data: bool = True,
) -> Iterator[RegistryRow]:
    """The keys and values at and below ``path`` that have the regular expression ``pattern`` somewhere.

    ``fixed`` makes it plain text. It is looked for in the names of ``keys``, the ``names`` of values and their
    ``data``. Raises UsageError for a pattern that is none, NotFoundError.
    """
    try:
        search = re.compile(re.escape(pattern) if fixed else pattern, re.IGNORECASE if ignore_case else 0).search
    except re.error as error:
        raise UsageError(f"{pattern!r} is no regular expression: {error}") from None
    place = registry.path(path)
    hives = [place.hive] if place.hive else _hives(registry, place)
    registry.load(hives)
    for hive in hives:
        if place.hive:
            _, top = registry.require(place)
        else:
            root = registry.root(hive)
            if root is None:
                continue
            top = root
        for key in top.walk():
            here = KeyPath(hive, key.path)
            if keys and key.path and search(key.name):
                yield _key_row(registry, here, key)
            for value in key.values:
                if (names and search(value.name)) or (data and search(searched_text(value))):
                    layered = key.value(value.name)
                    if layered is not None:
                        yield _value_row(registry, here, layered)


class KeyDescription(NamedTuple):
    """All there is to know of a key. ``layers`` are those whose hives take part, base first."""

    path: str
    class_name: str | None
    last_write_time: str | None
    security: str | None
    layers: list[int]
    values: list[RegistryRow]
    subkeys: list[str]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        values = [{"name": row.name, "type": row.type, "data": row.data, "layer": row.layer} for row in self.values]
        return {**self._asdict(), "values": values}


def describe_key(registry: ImageRegistry, path: str) -> KeyDescription:
    """The key at ``path``. Raises NotFoundError."""
    at, key = registry.require(path)
    files = registry.files(at.hive)
    return KeyDescription(
        shown_path(at),
        key.class_name,
        None if key.timestamp is None else to_text(key.timestamp),
        _sddl(key.security),
        [files[layer].layer for layer in key.layers],
        [_value_row(registry, at, value) for value in key.layered_values()],
        [subkey.name for subkey in key.subkeys],
    )


def find_value(registry: ImageRegistry, path: str, name: str) -> tuple[RegistryRow, HiveValue]:
    """The value ``name`` of the key at ``path``; "" is the default value. Raises NotFoundError."""
    at, key = registry.require(path)
    found = key.value(name)
    if found is None:
        there = ", ".join(value.name or "(default)" for value in key.values) or "none"
        raise NotFoundError(f"{shown_path(at)} has no value {name or '(default)'!r}; it has {there[:500]}")
    return _value_row(registry, at, found), found.value


def _sddl(descriptor: bytes | None) -> str | None:
    if descriptor is None:
        return None
    try:
        return to_sddl(descriptor)
    except FormatError as error:
        return f"damaged: {error.message}"
