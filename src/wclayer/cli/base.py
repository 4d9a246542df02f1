"""``wclayer base``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.catalog import catalog_option
from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, image_argument, platform_option, quiet_option
from wclayer.cli.output import write_json, write_line

__all__ = ["command"]

FINDING = 1


@click.command(cls=NetworkCommand, epilog="Example: wclayer base oci:image:latest --catalog bases.json")
@image_argument()
@catalog_option
@platform_option
@network_options
@quiet_option
@format_option("text", "json")
def command(
    image: str, catalog_file: Path | None, platform: str | None, output_format: str, network: NetworkOptions
) -> int:
    """Say which base image an image stands on, going by the DiffIDs of its layers.

    The bases that are looked up are those of a catalogue: see wclayer catalog. Exit code 1 when the base is in none.
    """
    from wclayer.image.base_images import Catalog, base_of, default_catalog_file

    catalog = Catalog.load(catalog_file or default_catalog_file())
    answer = base_of(image, catalog, platform=platform, network=network.for_image(image))
    code = 0 if answer.bases else FINDING
    if output_format == "json":
        write_json("wclayer.base/1", answer.to_json())
        return code
    for one in answer.bases:
        write_line(f"base: {one.name}  {one.os_version or '-'}  {one.architecture}")
    if answer.bases:
        own = len(answer.diff_ids) - answer.base_layers
        write_line(f"layers: {answer.base_layers} of the base, {own} of its own")
        return code
    write_line(f"base: not known: none of the {len(catalog.bases)} images of the catalogue is below it")
    for one in answer.related:
        write_line(f"shared layers: {answer.shared_layers}, with {one.name}  {one.os_version or '-'}")
    return code
