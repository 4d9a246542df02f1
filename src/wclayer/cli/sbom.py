"""``wclayer sbom``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import image_argument, limits_option, platform_option, progress_option, quiet_option
from wclayer.cli.output import tell, tell_notes
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.sbom import SbomFormat

__all__ = ["command"]

FINDING = 1


@click.command(cls=NetworkCommand, epilog="Example: wclayer sbom oci:image:latest -o image.cdx.json")
@image_argument()
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    default="-",
    metavar="FILE",
    help="Where to write it.  [default: -, standard output]",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["cyclonedx-json", "spdx-json"]),
    default="cyclonedx-json",
    show_default=True,
    help="CycloneDX 1.6 or SPDX 2.3.",
)
@platform_option
@limits_option
@network_options
@progress_option
@quiet_option
def command(
    image: str,
    output: Path,
    output_format: str,
    platform: str | None,
    no_limits: bool,
    progress: str,
    network: NetworkOptions,
) -> int:
    """Write a bill of materials: Windows, its updates, installed software, programs, packages.

    Every component says which layer brought it. Exit code 1 when the OS cannot be assessed; the bill is written all
    the same, and says so.
    """
    from wclayer.image.sbom import sbom
    from wclayer.image.sbom.run import require_library

    form = cast("SbomFormat", output_format)
    require_library(form)
    limits = None
    if no_limits:
        from wclayer.oci import Limits

        limits = Limits.none()
    watcher = make_progress(progress)
    with sbom(
        image,
        platform=platform,
        network=network.for_image(image, progress=watcher),
        limits=limits,
        progress=watcher,
    ) as bill:
        tell_notes(bill.subject.notes)
        if str(output) == "-":
            for piece in bill.pieces(form):
                sys.stdout.write(piece)
        else:
            from wclayer.image.sbom.run import write_bill

            write_bill(bill, form, output)
        counts = ", ".join(f"{count} {kind}" for kind, count in bill.counts.items())
        tell(f"components: {counts}; programs without a version: {bill.programs - bill.counts['file']}")
        if not bill.is_assessed:
            tell("the OS was not assessed")
        return 0 if bill.is_assessed else FINDING
