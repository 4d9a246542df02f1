"""``wclayer recompress``."""

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
    require_one,
    resumable,
    tell_copy,
)
from wclayer.cli.network_options import NetworkCommand, NetworkOptions, copy_network_options
from wclayer.cli.options import format_option, limits_option, progress_option, quiet_option
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer recompress oci:image:1.0 oci:image:1.0-zstd --zstd")
@click.argument("source", metavar="IMAGE")
@click.argument("destination", metavar="DST")
@click.option("--zstd", "compression", flag_value="zstd", help="Compress with zstd.")
@click.option("--gzip", "compression", flag_value="gzip", help="Compress with gzip.")
@click.option("--level", type=int, metavar="N", help="The level of the compressor; also does layers that fit already.")
@platforms_option
@all_platforms_option
@foreign_option
@digest_file_option
@dry_run_option
@limits_option
@copy_network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    source: str,
    destination: str,
    compression: Literal["gzip", "zstd"] | None,
    level: int | None,
    platforms: tuple[str, ...],
    all_platforms: bool,
    foreign: Literal["keep", "fetch", "rewrite", "strip"],
    digest_file: Path | None,
    dry_run: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    source_network: NetworkOptions,
    destination_network: NetworkOptions,
) -> None:
    """Copy an image with its layers compressed another way.

    The uncompressed layers, and so their DiffIDs and the image ID, stay as they are; blobs and manifest get new
    digests. Foreign layers stay as they are.
    """
    from wclayer.image.copying import CopyOptions
    from wclayer.image.copying.recompressing import recompress_image
    from wclayer.oci import Limits

    require_one(platforms, all_platforms)
    if compression is None:
        raise click.UsageError("say how to compress: --zstd or --gzip")
    limits = Limits.none() if no_limits else Limits()
    options = CopyOptions(platforms, all_platforms, foreign, dry_run=dry_run, limits=limits)
    watcher = make_progress(progress)
    with resumable():
        result = recompress_image(
            source,
            destination,
            compression,
            level,
            options,
            source_network=source_network.network(),
            destination_network=destination_network.network(),
            progress=watcher,
            transfers=watcher,
        )
    is_data = destination == "-" or destination.partition(":")[2].partition(":")[0] == "-"
    tell_copy(result, output_format, digest_file, is_data=is_data)
