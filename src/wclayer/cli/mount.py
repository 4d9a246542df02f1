"""``wclayer mount``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    image_argument,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
    strict_option,
)
from wclayer.cli.output import tell, tell_notes, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer mount oci:image:latest mnt --upper changes")
@image_argument()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--upper",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Let the mount be written to, and keep what is changed in this folder.",
)
@click.option("-f", "--foreground", is_flag=True, help="Stay until it is unmounted.")
@click.option("--no-fuse", is_flag=True, help="Write the files to DIR instead of mounting.")
@click.option("--allow-other", is_flag=True, help="Let other users in, too.")
@platform_option
@strict_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    image: str,
    folder: Path,
    upper: Path | None,
    foreground: bool,
    no_fuse: bool,
    allow_other: bool,
    platform: str | None,
    strict: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Mount what a container of an image sees on DIR, read-only or over an upper folder.

    Names are found in any case, links lead to places below DIR, and NTFS metadata are extended attributes under the
    names that ntfs-3g uses. Returns when the files are there. Where there is no FUSE they are written to DIR.
    """
    from wclayer.image.mounting.mounts import mount
    from wclayer.image.unpack import UnpackOptions
    from wclayer.oci import Limits

    watcher = make_progress(progress)
    way = network.for_image(image, progress=watcher)
    options = UnpackOptions(platform, strict, False, Limits.none() if no_limits else Limits(), network=way)
    done = mount(
        image,
        folder,
        upper=upper,
        fuse=not no_fuse,
        foreground=foreground,
        allow_other=allow_other,
        options=options,
        progress=watcher,
    )
    tell_notes(done.notes)
    if done.written_out is not None:
        tell(f"not mounted, but written to {folder}, read-only: {done.written_out}")
    if output_format == "json":
        write_json(
            "wclayer.mount/1",
            {
                "image": done.reference,
                "folder": str(done.folder),
                "layers": done.layers,
                "upper": None if done.upper is None else str(done.upper),
                "process": done.process,
                "written_out": done.written_out,
            },
        )
    elif not foreground:
        how = f", changes go to {done.upper}" if done.upper is not None else ", read-only"
        write_line(f"{folder}: {done.layers} {'layer' if done.layers == 1 else 'layers'} of {done.reference}{how}")
