"""What goes to standard output: data, in the form that was asked for. People are talked to on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import click

__all__ = ["printable", "size_text", "tell", "tell_notices", "write_json", "write_jsonl", "write_line"]


def write_json(schema: str, document: Mapping[str, Any], *, err: bool = False) -> None:
    """One JSON document with its schema as the first key; to standard error when the output itself is data."""
    click.echo(json.dumps({"schema": schema, **document}, indent=2, ensure_ascii=True), err=err)


def write_jsonl(schema: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """One JSON document a line."""
    for row in rows:
        click.echo(json.dumps({"schema": schema, **row}, ensure_ascii=True))


def write_line(text: str, *, err: bool = False) -> None:
    """A line of text, with whatever the terminal's encoding cannot show escaped."""
    encoding = sys.stdout.encoding or "utf-8"
    click.echo(printable(text).encode(encoding, "backslashreplace").decode(encoding), err=err)


def printable(text: str) -> str:
    """``text`` with control characters and lone surrogates escaped, so that a name cannot paint the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def tell(text: str) -> None:
    """A sentence for people."""
    click.echo(f"wclayer: {printable(text)}", err=True)


def tell_notices(notices: Mapping[str, int]) -> None:
    """One line about everything odd that was kept."""
    if notices:
        listed = ", ".join(f"{count} {code}" for code, count in sorted(notices.items()))
        tell(f"kept although odd: {listed}; --strict refuses it")


def size_text(size: int) -> str:
    """A size in bytes as people read it: ``1.4 GiB``."""
    value = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
