"""``wclayer copy``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from wclayer.cli.copy_options import (
    all_platforms_option,
    digest_file_option,
    dry_run_option,
    foreign_option,
    platforms_option,
    preserve_digests_option,
    require_one,
    resumable,
    tell_copy,
)
from wclayer.cli.network_options import NetworkCommand, NetworkOptions, copy_network_options
from wclayer.cli.options import format_option, limits_option, progress_option, quiet_option
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(
    cls=NetworkCommand,
    epilog="Example: wclayer copy docker://base.example/windows/nanoserver:ltsc2022 oci:mirror:ltsc2022",
)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@platforms_option
@all_platforms_option
@foreign_option
@preserve_digests_option
@digest_file_option
@dry_run_option
@click.option("--os-version", default="", metavar="V", help="The os.version of an image made of a lone layer.")
@limits_option
@copy_network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    source: str,
    destination: str,
    platforms: tuple[str, ...],
    all_platforms: bool,
    foreign: Literal["keep", "fetch", "rewrite", "strip"],
    preserve_digests: bool,
    digest_file: Path | None,
    dry_run: bool,
    os_version: str,
    no_limits: bool,
    progress: str,
    output_format: str,
    source_network: NetworkOptions,
    destination_network: NetworkOptions,
) -> None:
    """Copy an image from any place to any other.

    SRC and DST are docker://HOST/NAME:TAG, oci:DIR:TAG, oci-archive:FILE, docker-archive:FILE:NAME, dir:DIR,
    store:NAME, a path, or - for standard input and output. SRC may also be an unpacked image, a layer folder or a
    layer tar. Digests stay as they are unless said otherwise, and DST gets the image whole or not at all.
    """
    from wclayer.image.copying import CopyOptions, copy_image
    from wclayer.oci import Limits

    require_one(platforms, all_platforms)
    options = CopyOptions(
        platforms,
        all_platforms,
        foreign,
        preserve_digests=preserve_digests,
        dry_run=dry_run,
        os_version=os_version,
        limits=Limits.none() if no_limits else Limits(),
    )
    with resumable():
        result = copy_image(
            source,
            destination,
            options,
            source_network=source_network.network(),
            destination_network=destination_network.network(),
            progress=make_progress(progress),
        )
    is_data = destination == "-" or destination.partition(":")[2].partition(":")[0] == "-"
    tell_copy(result, output_format, digest_file, is_data=is_data)
