"""``wclayer verify``."""

from __future__ import annotations

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
from wclayer.cli.output import listed_notices, tell_notices, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]

INTEGRITY = 6


@click.command(cls=NetworkCommand, epilog="Example: wclayer verify out")
@image_argument()
@platform_option
@strict_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    image: str,
    platform: str | None,
    strict: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> int:
    """Check that everything is what it claims to be.

    Of an image: sizes, blob digests and DiffIDs, and that every layer can be read. Of what was unpacked: databases,
    every file against them, and the DiffIDs of the tars that the files make. Exit code 6 when anything is wrong.
    """
    from wclayer.image.verifying import verify
    from wclayer.oci import Limits

    limits = Limits.none() if no_limits else Limits()
    watcher = make_progress(progress)
    verdict = verify(
        image,
        platform=platform,
        strict=strict,
        limits=limits,
        progress=watcher,
        network=network.for_image(image, progress=watcher),
    )
    if output_format == "json":
        write_json(
            "wclayer.verify/1",
            {
                "target": image,
                "ok": verdict.ok,
                "problems": verdict.problems,
                "layers": [
                    {
                        "layer": layer.layer,
                        "diff_id": layer.diff_id,
                        "ok": layer.ok,
                        "checked": layer.checked,
                        "problems": layer.problems,
                        "notices": layer.notices,
                        "listed": listed_notices(layer.listed),
                    }
                    for layer in verdict.layers
                ],
            },
        )
        return 0 if verdict.ok else INTEGRITY
    for layer in verdict.layers:
        tell_notices(layer.notices, layer.listed)
        write_line(f"{'ok' if layer.ok else 'BAD':<4} {layer.diff_id or '-'}  ({', '.join(layer.checked)})")
        for problem in layer.problems:
            write_line(f"     {problem}")
    for problem in verdict.problems:
        write_line(f"BAD  {problem}")
    return 0 if verdict.ok else INTEGRITY
