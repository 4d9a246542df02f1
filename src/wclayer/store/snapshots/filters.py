"""Filters of snapshots, as containerd writes them: ``kind==active``, ``name~=^a``, ``labels."io.x"==1``.

A comma means *and*; several filters mean *or*. A field alone asks whether it is there. Values may be in double quotes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from wclayer.store.snapshots.errors import InvalidArgumentError

__all__ = ["Fields", "fields_of", "parse_filters"]

Fields = Callable[[tuple[str, ...]], str | None]
"""Gives the value of a field, None when there is none."""

_PART = re.compile(
    r"""(?P<field>[A-Za-z0-9_-]+(?:\.(?:[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*"))*)"""
    r"""(?:(?P<operator>==|!=|~=)(?P<value>"(?:[^"\\]|\\.)*"|[^,]*))?""",
    re.ASCII,
)
_NAME = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\]|\\.)*\"""", re.ASCII)


class _Condition(NamedTuple):
    field: tuple[str, ...]
    operator: str
    value: str
    pattern: re.Pattern[str] | None

    def holds(self, fields: Fields) -> bool:
        found = fields(self.field)
        if self.operator == "!=":
            return found != self.value
        if found is None:
            return False
        if self.pattern is not None:
            return self.pattern.search(found) is not None
        return not self.operator or found == self.value


def parse_filters(filters: Iterable[str]) -> Callable[[Fields], bool]:
    """What says whether something passes any of ``filters``; without any, everything does. InvalidArgumentError."""
    alternatives = [_parse(text) for text in filters]

    def passes(fields: Fields) -> bool:
        return not alternatives or any(all(one.holds(fields) for one in parts) for parts in alternatives)

    return passes


def fields_of(values: Mapping[str, str], labels: Mapping[str, str]) -> Fields:
    """The fields of a snapshot: those in ``values``, and ``labels.NAME``."""

    def value(field: tuple[str, ...]) -> str | None:
        if field[0] == "labels" and len(field) > 1:
            return labels.get(".".join(field[1:]))
        return values.get(field[0]) if len(field) == 1 else None

    return value


def _parse(text: str) -> list[_Condition]:
    conditions: list[_Condition] = []
    position = 0
    while True:
        match = _PART.match(text, position)
        if match is None:
            break
        field = tuple(_unquoted(name) for name in _NAME.findall(match["field"]))
        operator, value = match["operator"] or "", _unquoted(match["value"] or "")
        try:
            pattern = re.compile(value) if operator == "~=" else None
        except re.error as error:
            raise InvalidArgumentError(f"the filter {text!r} has a pattern that is none: {error}") from error
        conditions.append(_Condition(field, operator, value, pattern))
        position = match.end()
        if position == len(text):
            return conditions
        if text[position] != ",":
            break
        position += 1
    raise InvalidArgumentError(f"{text!r} is no filter", hint='write kind==active or labels."a.b"==c')


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text.startswith('"') else text
