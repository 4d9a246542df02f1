"""JSON as manifests and configurations need it: one meaning for everyone who reads it, or no meaning at all.

Two readers that understand a document differently can be played against each other, so whatever leaves room for that is
refused: a key given twice, a known key in other letter case (Go's decoder would take it), other encodings, NaN. Sizes,
depth and counts are bounded before memory is spent. Every error names the place, as in ``layers[3].digest``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, TypeAlias

from wclayer.errors import FormatError, LimitError

__all__ = ["Node", "parse_array", "parse_object"]

Json: TypeAlias = Any

_DEPTH = 64
_VALUES = 500_000


def parse_object(raw: bytes, *, what: str, limit: int) -> Node:
    """The JSON object that ``raw`` (at most ``limit`` bytes) holds; ``what`` names it in errors.

    Raises FormatError, LimitError.
    """
    node = Node(_parse(raw, what, limit), what)
    node.as_object()
    return node


def parse_array(raw: bytes, *, what: str, limit: int) -> list[Node]:
    """The elements of the JSON array that ``raw`` holds. Raises FormatError, LimitError."""
    value = _parse(raw, what, limit)
    if not isinstance(value, list):
        raise FormatError(f"{what}: an array is expected, not {_name(value)}", kind="json-type")
    return [Node(element, f"{what}[{index}]") for index, element in enumerate(value)]


def _parse(raw: bytes, what: str, limit: int) -> Json:
    if len(raw) > limit:
        raise LimitError(f"{what}: {len(raw)} bytes of JSON, more than the {limit} allowed")
    if raw.count(b",") + raw.count(b"[") + raw.count(b"{") > _VALUES:
        raise LimitError(f"{what}: more than {_VALUES} JSON values")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"{what}: not UTF-8: {error}", kind="json") from None

    def pairs(items: list[tuple[str, Json]]) -> dict[str, Json]:
        table = dict(items)
        if len(table) != len(items):
            keys = [key for key, _ in items]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise FormatError(f"{what}: the key {twice!r} is given twice in one object", kind="json-duplicate-key")
        return table

    def constant(name: str) -> Json:
        raise FormatError(f"{what}: {name} is no JSON", kind="json")

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
    except RecursionError:
        raise LimitError(f"{what}: nested deeper than {_DEPTH} levels") from None
    except ValueError as error:
        raise FormatError(f"{what}: not JSON: {error}", kind="json") from None
    _require_depth(value, what)
    return value


def _require_depth(value: Json, what: str) -> None:
    level = [value]
    for _ in range(_DEPTH):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise LimitError(f"{what}: nested deeper than {_DEPTH} levels")


def _name(value: Json) -> str:
    names = {
        dict: "an object",
        list: "an array",
        str: "a string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }
    return names.get(type(value), "null")


class Node:
    """A JSON value and its place. The getters give the typed value of a key, or raise FormatError with the place.

    Null counts as absent, for that is how Go writes an empty list or map.
    """

    __slots__ = ("place", "value")

    def __init__(self, value: Json, place: str) -> None:
        self.value = value
        self.place = place

    def error(self, message: str, *, key: str | None = None, kind: str = "json-type") -> FormatError:
        """A FormatError about this value, or about one of its keys."""
        return FormatError(f"{self.place}{f'.{key}' if key else ''}: {message}", kind=kind)

    def as_object(self) -> dict[str, Json]:
        """The value, which must be an object."""
        if not isinstance(self.value, dict):
            raise self.error(f"an object is expected, not {_name(self.value)}")
        return self.value

    def require_spelling(self, known: Iterable[str]) -> None:
        """Refuse a key that differs from one of ``known`` in letter case only."""
        spelling = {key.casefold(): key for key in known}
        for key in self.as_object():
            right = spelling.get(key.casefold())
            if right is not None and right != key:
                raise self.error(f"the key {key!r} must be spelt {right!r}", kind="json-key-case")

    def has(self, key: str) -> bool:
        """Whether ``key`` is there and not null."""
        return self.as_object().get(key) is not None

    def text(self, key: str, default: str | None = None) -> str:
        """A string; ``default`` when absent, an error when there is none."""
        value = self.as_object().get(key)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise self.error(f"a string is expected, not {_name(value)}", key=key)
        return value

    def size(self, key: str) -> int:
        """A number of bytes: a non-negative integer below 2^63."""
        value = self.as_object().get(key)
        if type(value) is not int or not 0 <= value < 1 << 63:
            raise self.error(f"a size in bytes is expected, not {_name(value)} {str(value)[:40]}", key=key)
        return value

    def node(self, key: str) -> Node:
        """An object, which must be there."""
        child = Node(self.as_object().get(key), f"{self.place}.{key}")
        child.as_object()
        return child

    def optional(self, key: str) -> Node | None:
        """An object, or None when absent."""
        return self.node(key) if self.has(key) else None

    def array(self, key: str) -> list[Node]:
        """An array; empty when absent."""
        value = self.as_object().get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.error(f"an array is expected, not {_name(value)}", key=key)
        return [Node(element, f"{self.place}.{key}[{index}]") for index, element in enumerate(value)]

    def texts(self, key: str) -> tuple[str, ...]:
        """An array of strings; empty when absent."""
        elements = self.array(key)
        for element in elements:
            if not isinstance(element.value, str):
                raise element.error(f"a string is expected, not {_name(element.value)}")
        return tuple(element.value for element in elements)

    def text_map(self, key: str) -> dict[str, str]:
        """An object whose values are strings; empty when absent."""
        child = self.optional(key)
        if child is None:
            return {}
        for name, value in child.as_object().items():
            if not isinstance(value, str):
                raise child.error(f"a string is expected, not {_name(value)}", key=repr(name))
        return dict(child.as_object())

    def flag(self, key: str) -> bool:
        """A boolean; false when absent."""
        value = self.as_object().get(key, False)
        if value is not None and not isinstance(value, bool):
            raise self.error(f"a boolean is expected, not {_name(value)}", key=key)
        return bool(value)
