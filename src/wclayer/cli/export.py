"""``wclayer export``."""

from __future__ import annotations

from typing import Literal

import click

from wclayer.cli.options import format_option, quiet_option, strict_option, verbose_option
from wclayer.cli.output import listed_notices, size_text, tell_notes, tell_notices, write_json, write_line

__all__ = ["command"]


@click.command(epilog="Example: wclayer export out --layer -1 -o layer.tar.zst --as original")
@click.argument("folder", metavar="DIR")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to; .gz and .zst compress; - is stdout.")
@click.option(
    "--as",
    "form",
    type=click.Choice(["original", "reference", "faithful"]),
    help="The tar it came from, byte for byte; the one hcsshim writes; or one that loses nothing.  [default: original"
    " where it came from a tar, else reference]",
)
@click.option(
    "--hard-links",
    type=click.Choice(["yes", "no"]),
    default="yes",
    show_default=True,
    help="One file and links to it for a file of several names, as hcsshim writes it today; or, no, a file for each"
    " name, as it did before. That is another DiffID.",
)
@click.option("--compress", type=click.Choice(["gzip", "zstd", "none"]), help="Instead of what FILE's name says.")
@click.option("--level", type=int, help="The level of the compressor.")
@click.option("--layer", type=int, metavar="N", help="Of an unpacked image: 0 is the base, -1 the top.")
@click.option("--sync", is_flag=True, help="Make a new file survive a loss of power, too.")
@strict_option
@quiet_option
@verbose_option
@format_option("text", "json")
def command(
    folder: str,
    output: str,
    layer: int | None,
    form: Literal["original", "reference", "faithful"] | None,
    compress: Literal["gzip", "zstd", "none"] | None,
    level: int | None,
    hard_links: Literal["yes", "no"],
    sync: bool,
    strict: bool,
    output_format: str,
) -> None:
    """Write the layer folder DIR, or a layer of the unpacked image DIR, as a layer tar.

    DIR may also be transport:DIR, what ExportLayer leaves, base:DIR, the folder of a base layer, or layer:DIR, that of
    a diff layer as Windows keeps it. A folder without such a prefix is looked at.
    """
    from wclayer.image.exporting import export_layer

    result = export_layer(
        folder,
        output,
        layer=layer,
        form=form,
        hard_links=hard_links == "yes",
        compression=compress,
        level=level,
        strict=strict,
        sync=sync,
    )
    if result.same_diff_id is False:
        tell_notes([f"the tar differs from the one the layer came from: its DiffID is {result.diff_id}"])
    tell_notices(result.notices, result.listed)
    if output_format == "json":
        document = {
            "layer": str(result.layer),
            "output": output,
            "as": result.form,
            "diff_id": str(result.diff_id),
            "digest": str(result.blob_digest),
            "size": result.size,
            "blob_size": result.blob_size,
            "compression": result.compression,
            "same_diff_id": result.same_diff_id,
            "notices": result.notices,
            "listed": listed_notices(result.listed),
        }
        write_json("wclayer.export/1", document, err=output == "-")
        return
    write_line(f"{result.diff_id}  {size_text(result.blob_size)}  {output}", err=output == "-")
