"""What goes to standard output: data, in the form that was asked for. People are talked to on standard error."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from json.encoder import encode_basestring_ascii
from typing import Any, Protocol

import click

__all__ = [
    "EXPERIMENTAL_CIM",
    "QUIET",
    "VERBOSE",
    "data_output",
    "is_quiet",
    "listed_notices",
    "printable",
    "size_text",
    "tell",
    "tell_notes",
    "tell_notices",
    "write_facts",
    "write_json",
    "write_json_list",
    "write_jsonl",
    "write_line",
    "write_lines",
]

QUIET, VERBOSE = "wclayer.quiet", "wclayer.verbose"
"""Where ``--quiet`` and ``--verbose`` are kept in the context of a command."""

EXPERIMENTAL_CIM = (
    "writing CIM images is experimental: Windows has not mounted one yet; take a snapshot of a machine before you try"
)
"""What every verb says that writes such images."""

# user:password@host; what follows a tag is a digest, and what precedes a folder is a transport.
_PASSWORD = re.compile(
    r"(?<![\w.+-])(?!(?:oci|dir|[a-z]+-archive):)([^\s/:@'\"]+):[^\s/]+@(?=[\w\[])(?!sha(?:256|512):)", re.ASCII
)
_PIECE = 1 << 16  # characters
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


@contextmanager
def data_output() -> Iterator[Callable[[bytes | bytearray | memoryview], object]]:
    """Takes the bytes that go to standard output; all have been written at the end of the block."""
    output = sys.stdout.buffer
    if not isinstance(output, io.RawIOBase):
        yield output.write
        return
    # With PYTHONUNBUFFERED a write may take the first part of a piece, and only says so; a buffer sees to the rest.
    buffered = io.BufferedWriter(output)
    try:
        yield buffered.write
        buffered.flush()
    finally:
        buffered.detach()


def write_json(schema: str, document: Mapping[str, Any], *, err: bool = False) -> None:
    """One JSON document with its schema as the first key; to standard error when the output itself is data."""
    click.echo(json.dumps({"schema": schema, **document}, indent=2, ensure_ascii=True), err=err)


def write_json_list(schema: str, key: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """The document that :func:`write_json` makes of ``key`` and a list of rows, written while the rows come."""

    def texts() -> Iterator[str]:
        before, space, after = json.dumps({"schema": schema, key: []}, indent=2).rpartition("]")[0], "\n    ", ""
        for text in _encoded({}, names, rows, indent=4):
            yield f"{before}{space}{text}"
            before, after = ",", "\n  "
        yield f"{'' if after else before}{after}]\n}}\n"

    _write(texts())


def write_jsonl(schema: str, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """One JSON document a line: the schema, and what ``names`` calls the values of a row."""
    _write(f"{text}\n" for text in _encoded({"schema": schema}, names, rows))


def _encoded(
    fixed: Mapping[str, str], names: Sequence[str], rows: Iterable[Sequence[Any]], *, indent: int = 0
) -> Iterator[str]:
    """Rows as ``json.dumps`` encodes ``{**fixed, **dict(zip(names, row))}``, several times as fast.

    Each value of a row is text, a number or None. ``indent`` is where the keys stand below an outer document.
    """
    members = [f"{json.dumps(key)}: {json.dumps(value)}".replace("%", "%%") for key, value in fixed.items()]
    members += [f"{json.dumps(name)}: ".replace("%", "%%") + "%s" for name in names]
    space = "\n" + " " * (indent + 2) if indent else ""
    shape = "{" + space + f",{space or ' '}".join(members) + ("\n" + " " * indent if indent else "") + "}"
    for row in rows:
        yield shape % tuple(
            [
                encode_basestring_ascii(value)
                if (kind := type(value)) is str
                else value
                if kind is int
                else json.dumps(value)
                if value is not None
                else "null"
                for value in row
            ]
        )


def write_line(text: str, *, err: bool = False) -> None:
    """A line of text, with whatever the terminal's encoding cannot show escaped."""
    stream = sys.stderr if err else sys.stdout
    stream.write(_shown(text, stream.encoding or "utf-8"))


def write_facts(facts: Iterable[tuple[str, str]]) -> None:
    """What is known of one thing: a line for each label and its value, the values below each other."""
    for label, value in facts:
        write_line(f"{label + ':':<20} {value}")


def write_lines(lines: Iterable[str]) -> None:
    """Many such lines to standard output."""
    encoding = sys.stdout.encoding or "utf-8"
    _write(_shown(line, encoding) for line in lines)


def _shown(text: str, encoding: str) -> str:
    if text.isascii() and text.isprintable():
        return f"{text}\n"
    return printable(text).encode(encoding, "backslashreplace").decode(encoding) + "\n"


def _write(texts: Iterator[str]) -> None:
    """Write in large pieces, for each may be a system call; what came before an error is written before it goes on."""
    size, waiting = 0, []
    try:
        for text in texts:
            waiting.append(text)
            size += len(text)
            if size > _PIECE:
                whole, size, waiting = "".join(waiting), 0, []
                sys.stdout.write(whole)
    finally:
        if waiting:
            sys.stdout.write("".join(waiting))


def printable(text: str) -> str:
    """``text`` with control characters and lone surrogates escaped, so that a name cannot paint the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def tell(text: str) -> None:
    """A sentence for people, on standard error; always said, but for passwords that somebody typed into an address."""
    if "@" in text:
        text = _PASSWORD.sub(r"\1:***@", text)
    write_line(f"wclayer: {text}", err=True)


def tell_notes(notes: Iterable[str]) -> None:
    """What is good to know and no error; not with ``--quiet``."""
    if not is_quiet():
        for note in notes:
            tell(note)


def tell_notices(counts: Mapping[str, int], listed: Sequence[Notice], what: str = "kept although odd") -> None:
    """Everything odd that was kept: one line in all, and the first few; all that are kept with ``--verbose``.

    ``what`` says what became of it.
    """
    if not counts or is_quiet():
        return
    total = ", ".join(f"{count} {code}" for code, count in sorted(counts.items()))
    tell(f"{what}: {total} (--strict refuses such layers)")
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
