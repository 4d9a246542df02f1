"""``wclayer push``."""

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
from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, limits_option, progress_option, quiet_option
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer push oci:image:1.0 registry.example/team/image:1.0")
@click.argument("source", metavar="SRC")
@click.argument("reference", metavar="REF")
@platforms_option
@all_platforms_option
@foreign_option
@preserve_digests_option
@digest_file_option
@dry_run_option
@click.option("--os-version", default="", metavar="V", help="The os.version of an image made of a lone layer.")
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    source: str,
    reference: str,
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
    network: NetworkOptions,
) -> None:
    """Push an image to the name REF of a registry.

    SRC is an image of any form, the folder of an unpacked image, a layer folder or a layer tar. Blobs that the registry
    has are not sent again, and the tag is set when everything is there.
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
    way = network.network()
    with resumable():
        result = copy_image(
            source,
            reference,
            options,
            source_network=way,
            destination_network=way,
            progress=make_progress(progress),
            to_registry=True,
        )
    tell_copy(result, output_format, digest_file)
