"""``wclayer manifest``."""

from __future__ import annotations

import json

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, image_argument, platform_option, quiet_option
from wclayer.cli.output import data_output, tell_notes, write_json, write_line

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer manifest oci:image:latest --platform ltsc2022")
@image_argument(metavar="IMAGE")
@platform_option
@network_options
@quiet_option
@format_option("raw", "json", "text")
def command(image: str, platform: str | None, output_format: str, network: NetworkOptions) -> None:
    """Print the manifest or index as it is stored, byte for byte.

    Without --platform that is what IMAGE names, an index or a manifest; with it the manifest of that image.
    """
    from wclayer.image.documents import manifest_of

    document = manifest_of(image, platform=platform, network=network.for_image(image))
    tell_notes(document.named.notes)
    if output_format == "raw":
        with data_output() as write:
            write(document.raw)
        return
    if output_format == "json":
        write_json("wclayer.manifest/1", {**document.named.to_json(), "document": json.loads(document.raw)})
        return
    write_line(f"{document.named.kind}  {document.named.digest}  {document.named.media_type}")
    for line in document.lines():
        write_line(line)
