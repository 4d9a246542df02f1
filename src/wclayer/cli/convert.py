"""``wclayer convert``."""

from __future__ import annotations

from pathlib import Path
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
from wclayer.cli.output import EXPERIMENTAL_CIM, listed_notices, tell_notes, tell_notices, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer convert layer.tar.gz transport:out --parent base")
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option(
    "--as",
    "form",
    type=click.Choice(["original", "reference", "faithful"]),
    help="Tars: keep their bytes; read and write them as hcsshim does; or lose nothing.  [default: original where there"
    " is one, else reference]",
)
@click.option(
    "--parent",
    "parents",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A layer folder below a lone layer, for its hard links; repeat for more, nearest first.",
)
@click.option("--compress", type=click.Choice(["gzip", "zstd", "none"]), help="Instead of what DST's name says.")
@click.option("--level", type=int, help="The level of the compressor.")
@click.option("--os-version", default="", metavar="V", help="The os.version of an image made of a lone layer.")
@click.option("--sync", is_flag=True, help="Make a layer folder, or a new tar, survive a loss of power, too.")
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
    form: Literal["original", "reference", "faithful"] | None,
    parents: tuple[Path, ...],
    compress: Literal["gzip", "zstd", "none"] | None,
    level: int | None,
    os_version: str,
    sync: bool,
    platform: str | None,
    strict: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Pour a layer, or an image, from one form into another.

    SRC and DST are a layer tar, oci:DIR:TAG, transport:DIR (what ImportLayer takes), base:DIR (the folder of a base
    layer), cim:DIR (CIM images of all layers; experimental) or cim:FILE.cim, plain:DIR (files, and one text file with
    everything else), layer:DIR or just DIR (a layer folder). What DST cannot hold is counted and told.
    """
    from wclayer.image.converting import ConvertOptions, convert
    from wclayer.image.processors import prefer_throughput
    from wclayer.oci import Limits

    watcher = make_progress(progress)
    if destination.startswith("cim:"):
        tell_notes([EXPERIMENTAL_CIM])
    options = ConvertOptions(
        form,
        parents,
        compress,
        level,
        platform,
        os_version,
        strict,
        sync,
        Limits.none() if no_limits else Limits(),
        network.for_image(source, progress=watcher),
    )
    with prefer_throughput():
        result = convert(source, destination, options, watcher)
    tell_notices(result.notices, result.listed, "odd, changed or left out")
    is_data = destination == "-"
    if output_format == "json":
        write_json(
            "wclayer.convert/1",
            {
                "source": result.source,
                "destination": result.destination,
                "kind": result.kind,
                "layers": result.layers,
                "diff_ids": result.diff_ids,
                "digest": result.digest,
                "notices": result.notices,
                "listed": listed_notices(result.listed),
            },
            err=is_data,
        )
        return
    for number, layer in enumerate(result.layers):
        diff_id = f"  {result.diff_ids[number]}" if number < len(result.diff_ids) else ""
        write_line(f"{number}  {layer}{diff_id}", err=is_data)
    if result.digest:
        write_line(f"{result.destination}  {result.digest}", err=is_data)
