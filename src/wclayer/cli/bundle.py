"""``wclayer bundle``."""

from __future__ import annotations

import click

from wclayer.cli.copy_options import all_platforms_option, platforms_option, require_one
from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, limits_option, progress_option, quiet_option
from wclayer.cli.output import size_text, tell_notes, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(
    cls=NetworkCommand,
    epilog="Example: wclayer bundle base.example/windows/nanoserver:ltsc2022 registry.example/app:1 -o all.tar",
)
@click.argument("references", metavar="REF...", nargs=-1, required=True)
@click.option(
    "-o", "--output", required=True, metavar="FILE", help="The file to write; - for standard output.", type=click.Path()
)
@platforms_option
@all_platforms_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    references: tuple[str, ...],
    output: str,
    platforms: tuple[str, ...],
    all_platforms: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Write several images to one file, for where there is no network.

    The file holds every blob once, also those of foreign layers, and the names of the images. It is an OCI layout in a
    tar that docker load reads as well; wclayer load puts it into a registry, a folder or the content store.
    """
    from wclayer.image.copying import CopyOptions
    from wclayer.image.copying.bundling import bundle_images
    from wclayer.oci import Limits

    require_one(platforms, all_platforms)
    options = CopyOptions(platforms, all_platforms, limits=Limits.none() if no_limits else Limits())
    bundled = bundle_images(references, output, options, network=network.network(), progress=make_progress(progress))
    for image in bundled.images:
        tell_notes(image.notes)
    is_data = output == "-"
    if output_format == "json":
        document = {
            "file": bundled.file,
            "images": [
                {"source": image.source, "name": image.name, "digest": str(image.digest), "notes": list(image.notes)}
                for image in bundled.images
            ],
            "blobs": bundled.blobs,
            "size": bundled.size,
        }
        write_json("wclayer.bundle/1", document, err=is_data)
        return
    for image in bundled.images:
        write_line(f"{image.name or image.source}@{image.digest}", err=is_data)
    write_line(f"{output}: {bundled.blobs} blobs, {size_text(bundled.size)}", err=is_data)
