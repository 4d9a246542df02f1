"""Lists of names that come in pages: the tags of a repository, the repositories of a registry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urljoin, urlsplit

from wclayer.errors import LimitError, NetworkError
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.links import next_link
from wclayer.oci.registry.redaction import shown_url
from wclayer.oci.strictjson import Node, parse_object

__all__ = ["PAGE_LIMIT", "names_in_pages", "pages"]

PAGE_LIMIT = 8 << 20
"""The largest page of a list that is read, in bytes."""
_PAGES = 10_000
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,512}", re.ASCII)


def pages(fetch: Callable[[str], Answer], first: str, what: str) -> Iterator[tuple[Node, Answer]]:
    """The pages of a list as JSON objects, each with its answer, which has been read.

    ``fetch`` gets the answer for a path or, after the first page, an address of the same host. Raises NetworkError for
    pages that lead to other hosts or in a circle, LimitError, FormatError.
    """
    path = first
    seen: set[str] = set()
    for _ in range(_PAGES):
        answer = fetch(path)
        raw = answer.read(PAGE_LIMIT, what)
        yield parse_object(raw, what=f"{what} from {answer.place}", limit=PAGE_LIMIT), answer
        following = next_link(answer.header_values("link"))
        if following is None:
            return
        path = _joined(answer.url, following)
        if not path:
            raise NetworkError(f"{what}: {answer.place} continues at another host: {shown_url(following)}")
        if path in seen or path == answer.url:
            raise NetworkError(f"{what}: {answer.place} continues in a circle")
        seen.add(path)
    raise LimitError(f"{what}: more than {_PAGES} pages")


def _joined(url: str, following: str) -> str:
    """The address of the next page; empty when it is not one of the same host."""
    try:
        path = urljoin(url, following)
        parts = urlsplit(path)
        same = parts.scheme in ("http", "https") and parts.hostname == urlsplit(url).hostname
    except ValueError:
        return ""
    return path if same else ""


def names_in_pages(fetch: Callable[[str], Answer], first: str, key: str, what: str) -> Iterator[str]:
    """The names under ``key`` of all pages, each once; raises as :func:`pages`, and FormatError for what is no name."""
    known: set[str] = set()
    for page, _ in pages(fetch, first, what):
        for name in page.texts(key):
            if not _NAME.fullmatch(name):
                raise page.error(f"not a name: {name[:80]!r}", key=key, kind="name")
            if name not in known:
                known.add(name)
                yield name
