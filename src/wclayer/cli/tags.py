"""``wclayer tags``."""

from __future__ import annotations

from dataclasses import asdict

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, image_argument
from wclayer.cli.output import write_json, write_lines

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer tags base.example/windows/nanoserver")
@image_argument("reference", metavar="REF")
@format_option("text", "json")
@network_options
def command(reference: str, output_format: str, network: NetworkOptions) -> None:
    """List the tags of a repository, or the names in a layout or an archive, sorted.

    A tag in REF itself does not matter.
    """
    from wclayer.image.tags import list_tags

    found = list_tags(reference, network=network.for_image(reference))
    if output_format == "json":
        write_json("wclayer.tags/1", asdict(found))
        return
    write_lines(found.tags)
