"""What may be shown of addresses and headers: names always, values only where they cannot open a door.

Signed addresses of blob stores carry their permission in the query, upload sessions their state, and headers tokens; so
a value is shown when its name is on a list, not hidden when its name is on one.
"""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

__all__ = ["header_lines", "printable", "shown_url"]

_QUERY = frozenset({"account", "artifactType", "digest", "from", "last", "mount", "n", "ns", "scope", "service"})
_HEADERS = frozenset(
    {
        "accept",
        "accept-encoding",
        "accept-ranges",
        "age",
        "cache-control",
        "connection",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "docker-content-digest",
        "docker-distribution-api-version",
        "docker-upload-uuid",
        "host",
        "if-range",
        "oci-chunk-min-length",
        "oci-filters-applied",
        "oci-subject",
        "oci-tag",
        "range",
        "ratelimit-limit",
        "ratelimit-remaining",
        "retry-after",
        "server",
        "transfer-encoding",
        "user-agent",
        "warning",
        "x-content-type-options",
    }
)
_ADDRESSES = frozenset({"location"})
_LONGEST = 300


def printable(text: str, longest: int = _LONGEST) -> str:
    """``text`` without control characters and not too long, for a message made of what a server said."""
    short = text if len(text) <= longest else f"{text[:longest]}…"
    return "".join(c if c.isprintable() else " " for c in short)


def shown_url(url: str) -> str:
    """``url`` without user, password and fragment, and with the values of its query hidden where they may be secret."""
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that is none"
    query = "&".join(_shown_pair(pair) for pair in parts.query.split("&")) if parts.query else ""
    prefix = f"{parts.scheme}://{host}" if host else ""
    return printable(prefix + parts.path + (f"?{query}" if query else ""), 1000)


def _shown_pair(pair: str) -> str:
    name, equals, _ = pair.partition("=")
    return pair if name in _QUERY else f"{name}{equals}***" if equals else "***"


def header_lines(headers: Iterable[tuple[str, str]], mark: str) -> list[str]:
    """A line for each header, with its value when that is harmless."""
    lines = []
    for name, value in headers:
        low = name.lower()
        if low in _ADDRESSES:
            shown = shown_url(value)
        elif low in _HEADERS:
            shown = printable(value)
        elif low in ("authorization", "proxy-authorization", "www-authenticate"):
            shown = f"{printable(value.partition(' ')[0], 20)} ***"
        else:
            shown = "***"
        lines.append(f"{mark} {printable(name, 80)}: {shown}")
    return lines
