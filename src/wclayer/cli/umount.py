"""``wclayer umount``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.options import format_option, quiet_option
from wclayer.cli.output import write_json, write_line

__all__ = ["command"]


@click.command(epilog="Example: wclayer umount mnt")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("-l", "--lazy", is_flag=True, help="Now, even though files are open there; they stay open.")
@quiet_option
@format_option("text", "json")
def command(folder: Path, lazy: bool, output_format: str) -> None:
    """Unmount the image on DIR, and wait until all that was written is in the upper folder."""
    from wclayer.image.mounting.mounts import unmount

    about = unmount(folder, lazy=lazy)
    if output_format == "json":
        upper = None if about.upper is None else str(about.upper)
        write_json("wclayer.umount/1", {"folder": str(folder), "image": about.reference, "upper": upper})
        return
    write_line(f"{folder}: unmounted {about.reference}")
