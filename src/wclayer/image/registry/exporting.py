"""Keys of the registry of an image as files: registry text, JSON, a hive.

Of a layer that is seen alone with a delta hive its changes are exported: text with deletions, or a delta hive again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

from wclayer.errors import UsageError
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.key_paths import KeyPath, long_path, shown_path
from wclayer.image.registry.values import json_data, type_name
from wclayer.ntfs.filetime import to_text
from wclayer.regf import HiveKey, HiveValue, save_hive
from wclayer.regf.text import encode_reg, sections_of, write_reg

__all__ = ["ExportFormat", "export_registry", "json_keys", "json_value"]

ExportFormat: TypeAlias = Literal["reg", "json", "hive"]

_Write: TypeAlias = Callable[[bytes | bytearray | memoryview], object]


def export_registry(
    registry: ImageRegistry, path: str, form: ExportFormat, write: _Write, *, utf16: bool = True
) -> list[str]:
    """Write the key at ``path`` with all below it to ``write``; returns what could not be said in registry text.

    ``reg`` is text as regedit imports it: UTF-16LE with a byte order mark, or UTF-8 without ``utf16``. ``json`` is one
    document that lists the keys. ``hive`` is a file whose root is the key, a delta when the hive is one. For text and
    JSON ``path`` may also be ``HKLM``, ``HKU`` or nothing: all hives there. Raises NotFoundError, UsageError.
    """
    tops = list(_tops(registry, path))
    if form == "json":
        for piece in json_keys((place, tree) for place, tree in tops):
            write(piece.encode("ascii"))
        return []
    if form == "hive":
        if len(tops) != 1:
            raise UsageError("one file holds one hive", hint="name a hive or a key: HKLM/SOFTWARE")
        ((place, tree),) = tops
        save_hive(
            _Sink(write),
            tree,
            name=shown_path(place)[-31:],
            delta=registry.is_delta(place.hive),
            timestamp=tree.timestamp or 0,
        )
        return []
    skipped: list[str] = []
    sections = (section for place, tree in tops for section in sections_of(tree, long_path(place), skipped=skipped))
    text = write_reg(sections, skipped=skipped)
    write(encode_reg(text) if utf16 else text.encode("utf-8", "surrogatepass"))
    return skipped


def _tops(registry: ImageRegistry, path: str) -> Iterator[tuple[KeyPath, HiveKey]]:
    place = registry.path(path)
    if place.hive:
        at, key = registry.require(place)
        if registry.is_delta(at.hive):
            yield at, registry.stack(at.hive)[0].key(at.path).tree()
        else:
            yield at, key.tree()
        return
    hives = [hive for hive in registry.hives if place.path in ("", "HKU" if hive == "DEFAULT" else "HKLM")]
    registry.load(hives)
    for hive in hives:
        yield from _tops(registry, shown_path(KeyPath(hive, "")))


def json_value(value: HiveValue) -> dict[str, Any]:
    """A value as JSON has it."""
    if value.tombstone:
        return {"name": value.name, "deleted": True}
    return {"name": value.name, "type": type_name(value), "data": json_data(value)}


def json_keys(tops: Iterator[tuple[KeyPath, HiveKey]]) -> Iterator[str]:
    """The text of the document: its schema and a list of keys, each before those below it; a piece for each key."""
    before = '{\n  "schema": "wclayer.reg.export/1",\n  "keys": ['
    for place, tree in tops:
        waiting = [(place, tree)]
        while waiting:
            at, key = waiting.pop()
            row: dict[str, Any] = {
                "path": shown_path(at),
                "class_name": key.class_name,
                "last_write_time": None if key.timestamp is None else to_text(key.timestamp),
                "values": [json_value(value) for value in key.values],
            }
            if key.layer:
                row["layer_flags"] = key.layer
            yield f"{before}\n    {json.dumps(row)}"
            before = ","
            waiting += [(at.below(below.name), below) for below in reversed(key.subkeys)]
    yield "\n  ]\n}\n"


class _Sink:
    def __init__(self, write: _Write) -> None:
        self.write = write
