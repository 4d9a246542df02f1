"""``wclayer cat``."""

from __future__ import annotations

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    image_argument,
    layer_option,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
)
from wclayer.cli.output import data_output
from wclayer.cli.view import opened_view

__all__ = ["command"]


@click.command(
    cls=NetworkCommand, epilog="Example: wclayer cat oci:mirror:ltsc2022 'C:\\Windows\\System32\\license.rtf' | head"
)
@image_argument()
@click.argument("path")
@click.option("--stream", metavar="NAME", help="An alternate stream instead of the data.")
@layer_option
@platform_option
@limits_option
@network_options
@progress_option
@quiet_option
def command(
    image: str,
    path: str,
    stream: str | None,
    layer: int | None,
    platform: str | None,
    no_limits: bool,
    progress: str,
    network: NetworkOptions,
) -> None:
    """Write the file PATH to standard output; hard links, symbolic links and junctions are followed."""
    from wclayer.image.listing import read_path

    with (
        opened_view(
            image, platform=platform, layer=layer, no_limits=no_limits, progress=progress, network=network
        ) as view,
        data_output() as write,
    ):
        read_path(view, path, write, stream=stream)
