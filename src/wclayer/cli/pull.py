"""``wclayer pull``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    limits_option,
    progress_option,
    quiet_option,
    strict_option,
)
from wclayer.cli.output import listed_notices, size_text, tell_notes, tell_notices, write_json, write_line
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.pulling import PullResult

__all__ = ["command"]


@click.command(
    cls=NetworkCommand,
    epilog="Example: wclayer pull base.example/windows/nanoserver:ltsc2022 --unpack nanoserver",
)
@click.argument("reference", metavar="REF")
@click.option(
    "--unpack",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Unpack the image to DIR as well, while its layers come.",
)
@click.option(
    "--platform",
    "platforms",
    metavar="P",
    multiple=True,
    help="Which image of several; repeat for more.  [default: windows/amd64, the newest]",
)
@click.option("--all-platforms", is_flag=True, help="Every image that an index lists.")
@click.option(
    "--digest-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the digest to FILE.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="With --unpack: layers to write at once.  [default: the processors there are, where it pays]",
)
@strict_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    reference: str,
    folder: Path | None,
    platforms: tuple[str, ...],
    all_platforms: bool,
    digest_file: Path | None,
    jobs: int | None,
    strict: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Fetch the image REF of a registry into the content store.

    What is there already is not fetched again, and what an interrupted run fetched is kept. The last line is REF with
    its digest, which means the same image for ever.
    """
    from wclayer.image.pulling import PullOptions, pull

    if all_platforms and platforms:
        raise click.UsageError("--platform and --all-platforms exclude each other")
    watcher = make_progress(progress)
    unpack = None
    if folder is not None:
        from wclayer.image.unpack import UnpackOptions
        from wclayer.oci import Limits

        unpack = UnpackOptions(strict=strict, limits=Limits.none() if no_limits else Limits(), jobs=jobs)
    options = PullOptions(platforms, all_platforms, folder, unpack)
    result = pull(reference, options, network.network(watcher), watcher)
    if digest_file is not None:
        digest_file.write_text(f"{result.digest}\n", "ascii")
    _report(result, output_format)


def _report(result: PullResult, output_format: str) -> None:
    tell_notes(result.notes)
    unpacked = result.unpacked
    listed = [notice for layer in unpacked.layers for notice in layer.listed] if unpacked else []
    if unpacked is not None:
        tell_notices(unpacked.notices, listed)
    if output_format == "json":
        write_json(
            "wclayer.pull/1",
            {
                "reference": str(result.name),
                "pinned": result.pinned,
                "digest": str(result.digest),
                "media_type": result.media_type,
                "images": [
                    {
                        "digest": str(image.digest),
                        "platform": image.platform,
                        "layers": image.layers,
                        "size": image.size,
                        "fetched": image.fetched,
                    }
                    for image in result.images
                ],
                "folder": str(unpacked.folder) if unpacked else None,
                "notices": unpacked.notices if unpacked else {},
                "listed": listed_notices(listed),
            },
        )
        return
    for image in result.images:
        layers = f"{image.layers} layer{'s' if image.layers != 1 else ''}, {image.fetched} fetched"
        write_line(f"{image.platform or 'unknown platform'}  {image.digest}  {size_text(image.size)}  {layers}")
    if unpacked is not None:
        write_line(f"{unpacked.folder}: {len(unpacked.layers)} layers, unpacked")
    write_line(result.pinned)
