"""``wclayer extract``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    image_argument,
    layer_option,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
)
from wclayer.cli.output import size_text, tell_notes, write_json, write_line
from wclayer.cli.view import opened_view

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer extract oci:mirror:ltsc2022 'C:/Windows/**/*.dll' -o dlls")
@image_argument()
@click.argument("patterns", metavar="PATH...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The folder to write to.",
)
@click.option("--streams", is_flag=True, help="Alternate streams too, as files named FILE:STREAM.")
@click.option("--flat", is_flag=True, help="Files only, without their folders.")
@click.option("--force", is_flag=True, help="Replace files that are there.")
@layer_option
@platform_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    image: str,
    patterns: tuple[str, ...],
    output: Path,
    streams: bool,
    flat: bool,
    force: bool,
    layer: int | None,
    platform: str | None,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Copy files out of an image.

    PATH is a path or a pattern: * and ? within a name, [..] sets, ** for any folders; in any case. A folder is copied
    with all that is in it; a symbolic link is copied as the file it leads to.
    """
    from wclayer.image.extract import extract

    with opened_view(
        image, platform=platform, layer=layer, no_limits=no_limits, progress=progress, network=network
    ) as view:
        result = extract(view, patterns, output, streams=streams, flat=flat, force=force)
    tell_notes(f"left out {path}: {reason}" for path, reason in result.left_out)
    if output_format == "json":
        write_json(
            "wclayer.extract/1",
            {
                "output": str(output),
                "files": result.files,
                "folders": result.folders,
                "size": result.size,
                "linked": result.linked,
                "left_out": [{"path": path, "reason": reason} for path, reason in result.left_out],
            },
        )
        return
    write_line(f"{len(result.files)} files, {size_text(result.size)}, in {output}")
