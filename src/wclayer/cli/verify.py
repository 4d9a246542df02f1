"""``wclayer verify``."""

from __future__ import annotations

import click

from wclayer.cli.options import (
    format_option,
    image_argument,
    limits_option,
    platform_option,
    progress_option,
    strict_option,
)
from wclayer.cli.output import tell_notices, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]

INTEGRITY = 6


@click.command(epilog="Example: wclayer verify out")
@image_argument()
@platform_option
@strict_option
@limits_option
@progress_option
@format_option("text", "json")
def command(
    image: str, platform: str | None, strict: bool, no_limits: bool, progress: str, output_format: str
) -> int:
    """Check that everything is what it claims to be.

    Of an image: sizes, blob digests and DiffIDs, and that every layer can be read. Of what was unpacked: databases,
    every file against them, and the DiffIDs of the tars that the files make. Exit code 6 when anything is wrong.
    """
    from wclayer.image.verifying import verify
    from wclayer.oci import Limits

    limits = Limits.none() if no_limits else Limits()
    verdicts = verify(image, platform=platform, strict=strict, limits=limits, progress=make_progress(progress))
    ok = all(verdict.ok for verdict in verdicts)
    if output_format == "json":
        write_json(
            "wclayer.verify/1",
            {
                "target": image,
                "ok": ok,
                "layers": [
                    {
                        "layer": verdict.layer,
                        "diff_id": verdict.diff_id,
                        "ok": verdict.ok,
                        "checked": verdict.checked,
                        "problems": verdict.problems,
                        "notices": verdict.notices,
                    }
                    for verdict in verdicts
                ],
            },
        )
        return 0 if ok else INTEGRITY
    for verdict in verdicts:
        tell_notices(verdict.notices)
        write_line(f"{'ok' if verdict.ok else 'BAD':<4} {verdict.diff_id or '-'}  ({', '.join(verdict.checked)})")
        for problem in verdict.problems:
            write_line(f"     {problem}")
    return 0 if ok else INTEGRITY
