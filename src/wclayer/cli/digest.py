"""``wclayer digest``."""

from __future__ import annotations

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, image_argument, platform_option, quiet_option
from wclayer.cli.output import tell_notes, write_json, write_line

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer digest oci:image:latest --platform ltsc2022")
@image_argument(metavar="IMAGE")
@platform_option
@network_options
@quiet_option
@format_option("text", "json")
def command(image: str, platform: str | None, output_format: str, network: NetworkOptions) -> None:
    """Print the digest of what IMAGE names, an index or a manifest; with --platform that of the image."""
    from wclayer.image.documents import digest_of_image

    named = digest_of_image(image, platform=platform, network=network.for_image(image))
    tell_notes(named.notes)
    if output_format == "json":
        write_json("wclayer.digest/1", named.to_json())
    else:
        write_line(str(named.digest))
