"""``wclayer rebase``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wclayer.cli.copy_options import (
    all_platforms_option,
    copy_document,
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
from wclayer.cli.output import tell_notes, write_json, write_line
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.rebasing import RebasedImage

__all__ = ["command"]


@click.command(
    cls=NetworkCommand,
    epilog="Example: wclayer rebase oci:app:1 oci:app:2 --old-base oci:base:2024-01 --new-base oci:base:2024-02",
)
@click.argument("image", metavar="IMAGE")
@click.argument("destination", metavar="DST")
@click.option("--old-base", required=True, metavar="REF", help="The base that IMAGE stands on.")
@click.option("--new-base", required=True, metavar="REF", help="The base that it shall stand on.")
@click.option(
    "--base-name", metavar="NAME", help="What the annotation calls the new base.  [default: its name in a registry]"
)
@click.option("--force", is_flag=True, help="Also take a base of another build of Windows.")
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
    image: str,
    destination: str,
    old_base: str,
    new_base: str,
    base_name: str | None,
    force: bool,
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
    """Put the layers of an image that stand above its base on another base.

    No layer is read or written anew: manifest and configuration are, and the layers of the new base are copied to DST
    with those of IMAGE. The platform, with os.version, is that of the new base.
    """
    from wclayer.image.copying import CopyOptions
    from wclayer.image.rebasing import RebaseOptions, rebase_image
    from wclayer.oci import Limits

    require_one(platforms, all_platforms)
    limits = Limits.none() if no_limits else Limits()
    copy = CopyOptions(platforms, all_platforms, foreign, dry_run=dry_run, limits=limits)
    with resumable():
        result = rebase_image(
            image,
            destination,
            old_base,
            new_base,
            RebaseOptions(copy, force, base_name),
            source_network=source_network.network(),
            destination_network=destination_network.network(),
            progress=make_progress(progress),
        )
    is_data = destination == "-" or destination.partition(":")[2].partition(":")[0] == "-"
    if output_format == "text":
        for one in result.images:
            write_line(_line(one), err=is_data)
        tell_copy(result.copied, output_format, digest_file, is_data=is_data)
        return
    tell_notes(result.copied.notes)
    if digest_file is not None and not dry_run:
        digest_file.write_text(f"{result.copied.digest}\n", "ascii")
    document = {**copy_document(result.copied), "rebased": [_document(one) for one in result.images]}
    write_json("wclayer.rebase/1", document, err=is_data)


def _line(one: RebasedImage) -> str:
    layers = f"{one.own_layers} layer{'s' if one.own_layers != 1 else ''}"
    return f"{one.platform}: {layers} from {one.old_version or 'no version'} to {one.version or 'no version'}"


def _document(one: RebasedImage) -> dict[str, Any]:
    return {
        "platform": one.platform,
        "old_digest": str(one.old_digest),
        "digest": str(one.digest),
        "old_base": str(one.old_base),
        "new_base": str(one.new_base),
        "old_base_layers": one.old_base_layers,
        "new_base_layers": one.new_base_layers,
        "own_layers": one.own_layers,
        "old_os_version": one.old_version or None,
        "os_version": one.version or None,
    }
