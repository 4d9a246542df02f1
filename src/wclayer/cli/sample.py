"""``wclayer sample``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.options import format_option
from wclayer.cli.output import write_json, write_line
from wclayer.errors import UsageError

__all__ = ["command"]


@click.command(epilog="Example: wclayer sample -o oci:images:demo")
@click.option("-o", "--output", required=True, metavar="oci:DIR:TAG", help="The layout to add to, and the tag.")
@format_option("text", "json")
def command(output: str, output_format: str) -> None:
    """Make a small Windows image with no Microsoft content, the same every time.

    TAG is an image of three layers that has everything an NTFS layer can have; TAG-base is its base layer alone.
    """
    from wclayer.image.sample import make_sample
    from wclayer.oci import parse_reference

    place = parse_reference(output)
    if place.transport != "oci":
        raise UsageError(f"the sample is an OCI layout, not {output}", hint="write oci:DIR:TAG")
    result = make_sample(Path(place.location), place.name or "sample")
    images = [
        {
            "reference": f"oci:{place.location}:{image.tag}",
            "digest": str(image.manifest.digest),
            "diff_ids": [str(diff_id) for diff_id in image.diff_ids],
        }
        for image in (result.base, result.image)
    ]
    if output_format == "json":
        write_json("wclayer.sample/1", {"images": images})
        return
    for image in images:
        count = len(image["diff_ids"])
        write_line(f"{image['reference']}  {image['digest']}  {count} layer{'s' if count > 1 else ''}")
