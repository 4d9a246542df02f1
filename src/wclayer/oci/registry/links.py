"""``Link`` headers (RFC 8288), which lead from one page of a list to the next."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["next_link"]

_LIMIT = 16 << 10
_LINK = re.compile(
    r'[ \t,]*<([^<>\s"]*)>((?:[ \t]*;[ \t]*[^\s=;,"<>]+(?:[ \t]*=[ \t]*(?:"[^"]*"|[^\s;,"<>]*))?)*)', re.ASCII
)
_RELATION = re.compile(r';[ \t]*rel[ \t]*=[ \t]*(?:"([^"]*)"|([^\s;,"]+))', re.ASCII | re.IGNORECASE)


def next_link(headers: Iterable[str]) -> str | None:
    """The target of the first link whose relation is ``next``, as it stands there; None when there is none."""
    for header in headers:
        if len(header) > _LIMIT:
            continue
        position = 0
        while link := _LINK.match(header, position):
            relation = _RELATION.search(link[2])
            if relation and "next" in (relation[1] or relation[2] or "").lower().split():
                return link[1]
            position = link.end()
    return None
