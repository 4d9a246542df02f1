"""``wclayer import``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.options import (
    format_option,
    limits_option,
    progress_option,
    quiet_option,
    strict_option,
    verbose_option,
)
from wclayer.cli.output import listed_notices, size_text, tell_notices, write_json, write_line
from wclayer.cli.progress import make_progress

__all__ = ["command"]


@click.command("import", epilog="Example: wclayer import layer.tar.gz top --parent base --diff-id sha256:…")
@click.argument("layer_tar", metavar="LAYER_TAR")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--parent",
    "parents",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The layer folder it stands on; repeat for more, nearest first. What a parent stands on follows by itself.",
)
@click.option("--diff-id", metavar="DIGEST", help="The digest that the uncompressed tar must have.")
@click.option("--sync", is_flag=True, help="Make it survive a loss of power, too.")
@strict_option
@limits_option
@progress_option
@quiet_option
@verbose_option
@format_option("text", "json")
def command(
    layer_tar: str,
    folder: Path,
    parents: tuple[Path, ...],
    diff_id: str | None,
    sync: bool,
    strict: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
) -> None:
    """Make the layer folder DIR from LAYER_TAR, which may be compressed, or - for standard input."""
    from wclayer.image.importing import import_layer
    from wclayer.image.processors import prefer_throughput
    from wclayer.oci import Limits

    with prefer_throughput():
        result = import_layer(
            layer_tar,
            folder,
            parents=parents,
            diff_id=diff_id,
            strict=strict,
            sync=sync,
            limits=Limits.none() if no_limits else Limits(),
            progress=make_progress(progress),
        )
    tell_notices(result.notices, result.listed)
    if output_format == "json":
        write_json(
            "wclayer.import/1",
            {
                "path": str(result.path),
                "diff_id": str(result.diff_id),
                "chain_id": result.chain_id,
                "digest": str(result.blob_digest),
                "compression": result.compression,
                "size": result.size,
                "blob_size": result.blob_size,
                "file_bytes": result.file_bytes,
                "notices": result.notices,
                "listed": listed_notices(result.listed),
            },
        )
        return
    write_line(f"{result.diff_id}  {size_text(result.size)}  {result.path}")
