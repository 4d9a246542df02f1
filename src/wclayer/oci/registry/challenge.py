"""What a server wants to see: the ``WWW-Authenticate`` header, by the grammar of RFC 9110 section 11.

A header may hold several challenges, separated by the commas that separate the parameters of one as well; so it is read
token by token rather than matched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

__all__ = ["Challenge", "parse_challenges", "quote"]

_LIMIT = 16 << 10
_COUNT = 32
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|\Z))", re.ASCII)
_SPACE = re.compile(r"[ \t]*", re.ASCII)
_COMMAS = re.compile(r"[ \t,]*", re.ASCII)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_PARAMETER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=[ \t]*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Challenge:
    """A scheme (``basic``, ``bearer``) and its parameters, all names in lower case; the first of a name counts."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of ``headers``, in their order. What cannot be read ends the header it is in, without an error."""
    found: list[Challenge] = []
    for header in headers:
        if len(header) <= _LIMIT:
            found += _parse(header, _COUNT - len(found))
    return found[:_COUNT]


def _parse(text: str, most: int) -> list[Challenge]:
    found: list[Challenge] = []
    position = _end(_COMMAS, text, 0)
    while position < len(text) and len(found) < most:
        scheme = _TOKEN.match(text, position)
        if scheme is None:
            break
        parameters: dict[str, str] = {}
        position = _end(_SPACE, text, scheme.end())
        if position == scheme.end() and position < len(text) and text[position] != ",":
            break
        blob = _TOKEN68.match(text, position)
        position = blob.end() if blob is not None else _parameters(text, position, parameters)
        found.append(Challenge(scheme[0].lower(), parameters))
        following = _end(_COMMAS, text, position)
        if following == position and position < len(text):
            break
        position = following
    return found


def _parameters(text: str, position: int, parameters: dict[str, str]) -> int:
    """Read parameters from ``position`` and return where they end."""
    while True:
        name = _PARAMETER.match(text, position)
        if name is None:
            return position
        quoted = _QUOTED.match(text, name.end())
        plain = quoted or _TOKEN.match(text, name.end())
        if plain is None:
            return len(text)
        value = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL) if quoted else plain[0]
        parameters.setdefault(name[1].lower(), value)
        position = _end(_SPACE, text, plain.end())
        following = _end(_COMMAS, text, position)
        if not _PARAMETER.match(text, following):
            return position
        position = following


def quote(value: str) -> str:
    """``value`` as a quoted string of a header."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def _end(pattern: re.Pattern[str], text: str, position: int) -> int:
    match = pattern.match(text, position)
    return match.end() if match else position
