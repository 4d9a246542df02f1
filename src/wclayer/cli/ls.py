"""``wclayer ls``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    image_argument,
    layer_option,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
)
from wclayer.cli.output import write_json_list, write_jsonl, write_lines
from wclayer.cli.view import opened_view

if TYPE_CHECKING:
    from wclayer.image.describe import Row

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer ls -l out 'C:\\Windows'")
@image_argument()
@click.argument("path", required=False, default="/")
@click.option("-l", "long", is_flag=True, help="Attributes, size, time of the last write, targets of links.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below PATH.")
@click.option("-d", "--directory", "itself", is_flag=True, help="PATH itself, not what is in it.")
@layer_option
@platform_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json", "jsonl")
def command(
    image: str,
    path: str,
    long: bool,
    recursive: bool,
    itself: bool,
    layer: int | None,
    platform: str | None,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    r"""List PATH (C:\ by default) as a container sees it.

    PATH may be written C:\Windows, /Windows or Windows, in any case; Hives, UtilityVM and Files are the layer's own
    folders, and . is where they are. It may be a pattern: * and ? within a name, [..] sets, ** for any folders.
    """
    from wclayer.image.describe import Row
    from wclayer.image.globs import has_magic
    from wclayer.image.listing import list_path

    with opened_view(
        image, platform=platform, layer=layer, no_limits=no_limits, progress=progress, network=network, data=False
    ) as view:
        rows = list_path(view, path, recursive=recursive, itself=itself)
        if output_format == "jsonl":
            write_jsonl("wclayer.ls/1", Row._fields, rows)
        elif output_format == "json":
            write_json_list("wclayer.ls/1", "entries", Row._fields, rows)
        else:
            write_lines(_lines(rows, long=long, full=recursive or itself or has_magic(path)))


def _lines(rows: Iterator[Row], *, long: bool, full: bool) -> Iterator[str]:
    from wclayer.image.paths import windows_path

    for row in rows:
        name = row.windows_path if full else row.path.rpartition("/")[2] or row.windows_path
        if row.kind == "directory" and not full:
            name += "\\"
        if not long:
            yield name if row.kind != "deleted" else f"{name} (deleted)"
            continue
        arrow = ""
        if row.target is not None:
            arrow = f" = {windows_path(row.target)}" if row.kind == "hardlink" else f" -> {row.target}"
        size = "-" if row.size is None else str(row.size)
        yield f"{row.attribute_letters:<10} {row.kind:<9} {size:>12} {row.last_write_time or '-':<28} {name}{arrow}"
