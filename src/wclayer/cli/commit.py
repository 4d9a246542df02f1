"""``wclayer commit``."""

from __future__ import annotations

from typing import Literal

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
    strict_option,
)
from wclayer.cli.output import listed_notices, size_text, tell_notes, tell_notices, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer commit mnt -o oci:image:changed")
@click.argument("source", metavar="DIR_OR_MOUNT")
@click.option("-o", "--output", "destination", metavar="DEST", required=True, help="Where the layer goes.")
@click.option("--parent", metavar="IMAGE_OR_DIR", help="What a plain folder is compared with.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["faithful", "reference"]),
    default="faithful",
    show_default=True,
    help="Tars: lose nothing, or write what hcsshim would.",
)
@click.option("--compress", type=click.Choice(["gzip", "zstd", "none"]), help="Instead of what DEST's name says.")
@click.option(
    "--created-by", metavar="TEXT", default="wclayer commit", show_default=True, help="For the history of an image."
)
@click.option("--sync", is_flag=True, help="Make a layer folder survive a loss of power, too.")
@platform_option
@strict_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    source: str,
    destination: str,
    parent: str | None,
    form: Literal["faithful", "reference"],
    compress: Literal["gzip", "zstd", "none"] | None,
    created_by: str,
    sync: bool,
    platform: str | None,
    strict: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Make a layer of what was changed: in a mount, in an upper folder, or in a plain folder beside --parent.

    DEST is oci:DIR:TAG, which gets the image with the layer on top, a layer tar, a layer folder, transport:DIR or
    plain:DIR. With SOURCE_DATE_EPOCH no new time is later than that.
    """
    from wclayer.image.mounting.committing import commit
    from wclayer.image.unpack import UnpackOptions
    from wclayer.oci import Limits

    watcher = make_progress(progress)
    way = network.for_image(parent or source, progress=watcher)
    limits = Limits.none() if no_limits else Limits()
    options = UnpackOptions(platform, strict, sync, limits, network=way)
    done = commit(
        source,
        destination,
        parent=parent,
        form=form,
        compression=compress,
        created_by=created_by,
        options=options,
    )
    is_data = destination == "-"
    tell_notes(done.notes)
    tell_notices(done.notices, done.listed, "odd, changed or left out")
    if output_format == "json":
        write_json(
            "wclayer.commit/1",
            {
                "source": done.source,
                "destination": done.destination,
                "entries": done.entries,
                "deletions": done.deletions,
                "size": done.size,
                "diff_id": None if done.diff_id is None else str(done.diff_id),
                "digest": None if done.digest is None else str(done.digest),
                "notices": done.notices,
                "listed": listed_notices(done.listed),
            },
            err=is_data,
        )
        return
    what = f"{done.entries} entries, {done.deletions} deletions, {size_text(done.size)}"
    write_line(f"{destination}: {what}" + (f"  {done.diff_id}" if done.diff_id else ""), err=is_data)
