"""``wclayer load``."""

from __future__ import annotations

import click

from wclayer.cli.copy_options import copy_document, dry_run_option, resumable
from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, limits_option, progress_option, quiet_option
from wclayer.cli.output import size_text, tell_notes, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer load all.tar docker://registry.example/mirror")
@click.argument("file", metavar="FILE")
@click.argument("destination", metavar="[DST]", required=False, default="store:")
@dry_run_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    file: str,
    destination: str,
    dry_run: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Put all images of an archive to another place, under the names they have.

    FILE is what wclayer bundle wrote, or docker save, or any layout with full names, - being standard input. DST is the
    content store, a registry with or without a path (docker://HOST/PATH), or oci:DIR. Every blob is verified. What is
    there is skipped, so the same command goes on where it was interrupted.
    """
    from wclayer.image.copying import CopyOptions
    from wclayer.image.copying.bundling import load_images
    from wclayer.oci import Limits

    options = CopyOptions(dry_run=dry_run, limits=Limits.none() if no_limits else Limits())
    with resumable():
        results = load_images(file, destination, options, network=network.network(), progress=make_progress(progress))
    for result in results:
        tell_notes(result.notes)
    if output_format == "json":
        write_json("wclayer.load/1", {"file": file, "images": [copy_document(result) for result in results]})
        return
    for result in results:
        reference = result.destination.removeprefix("docker://").removeprefix("store:")
        write_line(f"{result.status:<8} {size_text(result.moved):>10}  {reference}@{result.digest}")
