"""``wclayer cache``: the content store."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from wclayer.cli.options import format_option, quiet_option
from wclayer.cli.output import size_text, tell_notes, write_json, write_line

if TYPE_CHECKING:
    from wclayer.oci.content.gc import StoredName
    from wclayer.oci.content.store import ContentStore

__all__ = ["command"]

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


@click.group(epilog="Example: wclayer cache gc --unused-for 30d")
def command() -> None:
    """The content store: what was fetched from registries is kept there, and not fetched again."""


def _store_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--store",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        help="The content store.  [default: $WCLAYER_STORE, else wclayer in the cache folder]",
    )(function)


def _open(folder: Path | None) -> ContentStore:
    from wclayer.oci.content.store import ContentStore
    from wclayer.oci.network import default_store_folder

    return ContentStore(folder or default_store_folder())


@command.command("ls", epilog="Example: wclayer cache ls --format json")
@_store_option
@format_option("text", "json")
def list_names(store: Path | None, output_format: str) -> None:
    """List the images that the store knows by name, with what is here of each and when it was last used."""
    from wclayer.oci.content.gc import usage

    found = usage(_open(store))
    if output_format == "json":
        write_json(
            "wclayer.cache.ls/1", {"store": str(found.folder), "images": [_described(one) for one in found.names]}
        )
        return
    for one in found.names:
        lacking = "" if not one.missing else f"  {one.missing} blobs not here"
        write_line(f"{one.name}  {one.descriptor.digest}  {size_text(one.size)}  {_day(one.used)}{lacking}")


@command.command("du", epilog="Example: wclayer cache du")
@_store_option
@format_option("text", "json")
def disk_usage(store: Path | None, output_format: str) -> None:
    """Say how large the store is, and how much of it nobody needs."""
    from wclayer.oci.content.gc import usage

    found = usage(_open(store))
    if output_format == "json":
        write_json(
            "wclayer.cache.du/1",
            {
                "store": str(found.folder),
                "images": len(found.names),
                "blobs": found.blobs,
                "size": found.size,
                "unneeded_blobs": found.unneeded,
                "unneeded_size": found.unneeded_size,
                "partial_blobs": found.partials,
                "partial_size": found.partial_size,
            },
        )
        return
    write_line(f"{found.folder}")
    write_line(f"{len(found.names)} images, {found.blobs} blobs, {size_text(found.size)}")
    write_line(f"needed by no image: {found.unneeded} blobs, {size_text(found.unneeded_size)}")
    write_line(f"not fetched to their end: {found.partials} blobs, {size_text(found.partial_size)}")


@command.command("gc", epilog="Example: wclayer cache gc --unused-for 30d --dry-run")
@click.option("--unused-for", metavar="TIME", help="First forget images that were not used for 12h, 30d, 8w, …")
@click.option(
    "--all", "everything", is_flag=True, help="Forget all images, and give up what is not fetched to its end."
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@_store_option
@quiet_option
@format_option("text", "json")
def collect_garbage(
    unused_for: str | None, everything: bool, dry_run: bool, store: Path | None, output_format: str
) -> None:
    """Remove what no image of the store needs; what a running program uses stays."""
    from wclayer.oci.content.gc import collect

    seconds = _seconds(unused_for) if unused_for is not None else None
    done = collect(_open(store), everything=everything, unused_for=seconds, dry_run=dry_run)
    if done.leased:
        tell_notes([f"{done.leased} blobs stay because a running program uses them"])
    if output_format == "json":
        write_json(
            "wclayer.cache.gc/1",
            {
                "dry_run": dry_run,
                "images": done.names,
                "blobs": done.blobs,
                "partial_blobs": done.partials,
                "size": done.size,
                "in_use": done.leased,
            },
        )
        return
    word = "would remove" if dry_run else "removed"
    for name in done.names:
        write_line(f"{'would forget' if dry_run else 'forgot'} {name}")
    partials = f" and {done.partials} not fetched to their end" if done.partials else ""
    write_line(f"{word} {done.blobs} blobs{partials}, {size_text(done.size)}")


def _described(one: StoredName) -> dict[str, object]:
    return {
        "name": one.name,
        "digest": str(one.descriptor.digest),
        "media_type": one.descriptor.media_type,
        "blobs": one.blobs,
        "size": one.size,
        "missing": one.missing,
        "used": datetime.fromtimestamp(one.used, UTC).strftime("%Y-%m-%dT%H:%M:%SZ") if one.used else None,
    }


def _day(used: float) -> str:
    return f"used {time.strftime('%Y-%m-%d', time.localtime(used))}" if used else "never used"


def _seconds(text: str) -> float:
    match = re.fullmatch(r"([0-9]{1,6})([mhdw])", text, re.ASCII)
    if match is None:
        raise click.BadParameter(f"{text!r} is no time: write 90m, 12h, 30d or 8w", param_hint="--unused-for")
    return int(match[1]) * _UNITS[match[2]]
