"""``wclayer explain``."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from wclayer.cli.options import format_option
from wclayer.cli.output import write_json, write_line

__all__ = ["command"]

_MAX_TEXT = 1 << 20


@click.command(epilog="Example: wclayer explain 'hcsshim::ImportLayer failed in Win32: … (0x3)'")
@click.argument("text", metavar="'ERROR TEXT'", nargs=-1, required=True)
@format_option("text", "json")
def command(text: tuple[str, ...], output_format: str) -> None:
    """Say what is known about an error of hcsshim, of Windows, or of a tool for Windows images.

    ERROR TEXT is the message, or just a code (0x80070003); - reads it from standard input. Exit code 3 when nothing is
    known about it.
    """
    from wclayer.image.explain import explain

    given = sys.stdin.read(_MAX_TEXT) if text == ("-",) else " ".join(text)
    known = explain(given)
    if output_format == "json":
        write_json("wclayer.explain/1", {"text": given, **asdict(known)})
        return
    for code in known.codes:
        write_line(f"{code.text}: {code.message or 'a code that is not in the table'}")
    for entry in known.explanations:
        write_line("")
        write_line(f"{entry.title} [{entry.id}]")
        for cause in entry.causes:
            write_line(f"  because  {cause}")
        for step in entry.steps:
            write_line(f"  do       {step}")
        if entry.sources:
            write_line(f"  see      {', '.join(entry.sources)}")
