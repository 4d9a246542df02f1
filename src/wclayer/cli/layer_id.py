"""``wclayer layer-id``."""

from __future__ import annotations

from dataclasses import asdict

import click

from wclayer.cli.options import format_option
from wclayer.cli.output import tell, write_json, write_line

__all__ = ["command"]


@click.command("layer-id", epilog="Example: wclayer layer-id 'C:\\ProgramData\\docker\\windowsfilter\\4'")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--name", "are_names", is_flag=True, help="PATH is a name, as it is: what NameToGuid is asked.")
@format_option("text", "json")
def command(paths: tuple[str, ...], are_names: bool, output_format: str) -> None:
    """Print the GUID that Windows gives the layer in PATH, which need not exist.

    It is made of the last element of the path alone, so layers in folders of one name share it.
    """
    from wclayer.image.layer_ids import layer_identities

    found = layer_identities(paths, are_names=are_names)
    for one in found:
        for other in one.shared_with:
            tell(f"{one.path} and {other} have the same GUID, for their folders have the same name")
    if output_format == "json":
        write_json("wclayer.layer-id/1", {"layers": [asdict(one) for one in found]})
        return
    for one in found:
        write_line(f"{one.guid}  {one.path}")
