"""``wclayer store timeline``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.options import format_option
from wclayer.cli.output import write_json_list, write_jsonl, write_lines
from wclayer.cli.store_hosts import host_root_option, require_hosts

__all__ = ["command"]

_COLUMNS = ("time", "nanoseconds", "what", "subject", "detail", "store", "source")


@click.command("timeline", epilog="Example: wclayer store timeline --root host.vhdx --format jsonl")
@host_root_option
@format_option("text", "json", "jsonl")
def command(root: Path, output_format: str) -> None:
    """List what happened to a Windows host's layers, images and containers, oldest first.

    Times are those of the databases, of the images' own history, and of files, in UTC.
    """
    from wclayer.store.hosts.records import nanoseconds_text

    events = [(event, store) for store in require_hosts(root) for event in store.events()]
    events.sort(key=lambda one: one[0].time)
    if output_format == "text":
        write_lines(
            f"{nanoseconds_text(event.time):<30}  {event.what:<22}  {event.subject}  {event.detail}".rstrip()
            for event, _ in events
        )
        return
    rows = (
        (
            nanoseconds_text(event.time),
            event.time,
            event.what,
            event.subject,
            event.detail,
            store.kind,
            event.source,
        )
        for event, store in events
    )
    if output_format == "json":
        write_json_list("wclayer.store.timeline/1", "events", _COLUMNS, rows)
    else:
        write_jsonl("wclayer.store.timeline/1", _COLUMNS, rows)
