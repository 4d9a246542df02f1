"""``wclayer unpack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

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
from wclayer.cli.output import listed_notices, size_text, tell_notes, tell_notices, write_json, write_line
from wclayer.cli.progress import Watcher, make_progress

if TYPE_CHECKING:
    from wclayer.image.flatten import MergeResult
    from wclayer.image.unpack import UnpackOptions, UnpackResult

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer unpack oci:mirror:ltsc2022 out --format json")
@image_argument(metavar="IMAGE")
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--view",
    type=click.Choice(["layers", "merged"]),
    default="layers",
    show_default=True,
    help="A folder for each layer, or one folder with what a container sees.",
)
@click.option("--subtree", metavar="PATH", help="With --view merged: only this folder, such as C:\\Windows\\System32.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1),
    metavar="N",
    help="Layers to write at once, each in a process.  [default: the processors there are, where it pays]",
)
@click.option("--sync", is_flag=True, help="Make it survive a loss of power, too.")
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
    view: str,
    subtree: str | None,
    jobs: int | None,
    sync: bool,
    platform: str | None,
    strict: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Unpack IMAGE to DIR with nothing lost.

    DIR/layers has a folder for each layer: its files, and layer.db with everything that plain files cannot hold.
    DIR/layerchain.json lists them, nearest first. Running it again completes what an interrupted run left.
    """
    from wclayer.image.processors import prefer_throughput
    from wclayer.image.unpack import UnpackOptions, unpack
    from wclayer.oci import Limits

    watcher = make_progress(progress)
    way = network.for_image(image, progress=watcher)
    options = UnpackOptions(platform, strict, sync, Limits.none() if no_limits else Limits(), jobs, way)
    if view == "merged":
        with prefer_throughput():
            _merged(image, folder, subtree, options, watcher, output_format)
        return
    if subtree is not None:
        raise click.UsageError("--subtree needs --view merged")
    with prefer_throughput():
        result = unpack(image, folder, options, watcher)
    _report(result, output_format)


def _merged(
    image: str, folder: Path, subtree: str | None, options: UnpackOptions, watcher: Watcher, output_format: str
) -> None:
    from wclayer.image.flatten import unpack_merged

    result: MergeResult = unpack_merged(image, folder, options, watcher, subtree=subtree)
    tell_notes(result.notes)
    tell_notices(result.notices, result.listed)
    if output_format == "json":
        write_json(
            "wclayer.unpack/1",
            {
                "view": "merged",
                "image": result.reference,
                "folder": str(result.folder),
                "subtree": result.subtree or None,
                "layers": result.layers,
                "entries": result.entries,
                "size": result.size,
                "notices": result.notices,
                "listed": listed_notices(result.listed),
            },
        )
        return
    write_line(f"{result.folder}: {result.entries} entries, {size_text(result.size)}, out of {result.layers} layers")


def _report(result: UnpackResult, output_format: str) -> None:
    tell_notes(result.notes)
    tell_notices(result.notices, [notice for layer in result.layers for notice in layer.listed])
    if output_format == "json":
        write_json(
            "wclayer.unpack/1",
            {
                "view": "layers",
                "image": result.reference,
                "digest": str(result.digest) if result.digest else None,
                "platform": result.platform,
                "folder": str(result.folder),
                "chain_file": str(result.folder / "layerchain.json"),
                "chain": [str(path) for path in result.chain],
                "layers": [
                    {
                        "path": str(layer.path),
                        "diff_id": str(layer.diff_id),
                        "chain_id": layer.chain_id,
                        "digest": str(layer.blob_digest) if layer.blob_digest else None,
                        "compression": layer.compression,
                        "size": layer.size,
                        "blob_size": layer.blob_size,
                        "reused": layer.reused,
                        "notices": layer.notices,
                        "listed": listed_notices(layer.listed),
                    }
                    for layer in result.layers
                ],
                "notices": result.notices,
            },
        )
        return
    for number, layer in enumerate(result.layers):
        state = f"{size_text(layer.size)}{', there already' if layer.reused else ''}"
        write_line(f"layer {number}: {layer.diff_id}  {state}  {layer.path}")
    count = len(result.layers)
    write_line(f"{result.folder}: {count} layer{'s' if count > 1 else ''} of {result.reference}, base first as above")
