"""What goes to standard output: data, in the form that was asked for. People are talked to on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import click

__all__ = [
    "QUIET",
    "VERBOSE",
    "is_quiet",
    "listed_notices",
    "printable",
    "size_text",
    "tell",
    "tell_notes",
    "tell_notices",
    "write_json",
    "write_jsonl",
    "write_line",
]

QUIET, VERBOSE = "wclayer.quiet", "wclayer.verbose"
"""Where ``--quiet`` and ``--verbose`` are kept in the context of a command."""

_FIRST = 5
_LISTED = 100


class Notice(Protocol):
    """Something odd about a layer: a code, the path it concerns, and a sentence."""

    @property
    def code(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def detail(self) -> str: ...


def write_json(schema: str, document: Mapping[str, Any], *, err: bool = False) -> None:
    """One JSON document with its schema as the first key; to standard error when the output itself is data."""
    click.echo(json.dumps({"schema": schema, **document}, indent=2, ensure_ascii=True), err=err)


def write_jsonl(schema: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON document a line."""
    for row in rows:
        sys.stdout.write(json.dumps({"schema": schema, **row}, ensure_ascii=True) + "\n")


def write_line(text: str, *, err: bool = False) -> None:
    """A line of text, with whatever the terminal's encoding cannot show escaped."""
    stream = sys.stderr if err else sys.stdout
    encoding = stream.encoding or "utf-8"
    stream.write(printable(text).encode(encoding, "backslashreplace").decode(encoding) + "\n")


def printable(text: str) -> str:
    """``text`` with control characters and lone surrogates escaped, so that a name cannot paint the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def tell(text: str) -> None:
    """A sentence for people, on standard error; always said."""
    write_line(f"wclayer: {text}", err=True)


def tell_notes(notes: Iterable[str]) -> None:
    """What is good to know and no error; not with ``--quiet``."""
    if not is_quiet():
        for note in notes:
            tell(note)


def tell_notices(counts: Mapping[str, int], listed: Sequence[Notice]) -> None:
    """Everything odd that was kept: one line in all, and the first few; all that are kept with ``--verbose``."""
    if not counts or is_quiet():
        return
    total = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    tell(f"kept although odd: {total} (--strict refuses such layers)")
    shown = len(listed) if _flag(VERBOSE) else _FIRST
    for notice in listed[:shown]:
        write_line(f"  {notice.code}: {notice.path}: {notice.detail}", err=True)
    more = sum(counts.values()) - min(shown, len(listed))
    if more > 0:
        hint = "" if _flag(VERBOSE) else "; -v lists more"
        write_line(f"  and {more} more{hint}", err=True)


def listed_notices(listed: Sequence[Notice]) -> list[dict[str, str]]:
    """The first notices of each code, for JSON."""
    counts: dict[str, int] = {}
    rows = []
    for notice in listed:
        counts[notice.code] = counts.get(notice.code, 0) + 1
        if counts[notice.code] <= _LISTED:
            rows.append({"code": notice.code, "path": notice.path, "detail": notice.detail})
    return rows


def is_quiet() -> bool:
    """Whether ``--quiet`` was given."""
    return _flag(QUIET)


def size_text(size: int) -> str:
    """A size in bytes as people read it: ``1.4 GiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def _flag(name: str) -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(name))
