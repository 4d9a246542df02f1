"""``wclayer cat``."""

from __future__ import annotations

import sys

import click

from wclayer.cli.options import image_argument, limits_option, platform_option, progress_option
from wclayer.cli.output import tell
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(epilog="Example: wclayer cat oci:mirror:ltsc2022 'C:\\Windows\\System32\\license.rtf' | head")
@image_argument()
@click.argument("path")
@click.option("--stream", metavar="NAME", help="An alternate stream instead of the data.")
@click.option("--layer", type=int, metavar="N", help="Only this layer: 0 is the base, -1 the top.")
@platform_option
@limits_option
@progress_option
def command(
    image: str,
    path: str,
    stream: str | None,
    layer: int | None,
    platform: str | None,
    no_limits: bool,
    progress: str,
) -> None:
    """Write the file PATH to standard output; hard links, symbolic links and junctions are followed."""
    from wclayer.image.listing import read_path
    from wclayer.image.target import open_view
    from wclayer.oci import Limits

    limits = Limits.none() if no_limits else Limits()
    with open_view(image, platform=platform, layer=layer, limits=limits, progress=make_progress(progress)) as view:
        for note in view.notes:
            tell(note)
        read_path(view, path, sys.stdout.buffer.write, stream=stream)
