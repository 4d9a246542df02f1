"""``wclayer diff``."""

from __future__ import annotations

import json
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
)
from wclayer.cli.output import listed_notices, tell_notes, tell_notices, write_json, write_line, write_lines
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wclayer.image.comparing import Change

__all__ = ["command"]

_DIFFERENT = 1
_SIGNS = {"added": "+", "modified": "~", "deleted": "-"}
_IGNORABLE = ("name", "attributes", "security", "ea", "reparse", "streams", "links")


@click.command(cls=NetworkCommand, epilog="Example: wclayer diff oci:mirror:10.0.20348.1 oci:mirror:10.0.20348.2")
@image_argument("before", "A")
@image_argument("after", "B")
@click.argument("path", required=False, default="")
@click.option("--times", is_flag=True, help="Compare the four times, too.")
@click.option("--ignore", "ignored", type=click.Choice(_IGNORABLE), multiple=True, help="Do not compare this; repeat.")
@click.option("--layer-a", type=int, metavar="N", help="Only this layer of A: 0 is the base, -1 the top.")
@click.option("--layer-b", type=int, metavar="N", help="Only this layer of B.")
@platform_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json", "jsonl")
def command(
    before: str,
    after: str,
    path: str,
    times: bool,
    ignored: tuple[str, ...],
    layer_a: int | None,
    layer_b: int | None,
    platform: str | None,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> int:
    """Say what B has other than A: what is added (+), deleted (-) and modified (~), and how.

    A and B are images, unpacked images, layer folders (seen on their parents), cim:FILE.cim, transport:DIR, base:DIR,
    plain:DIR, layer tars, or folders of ordinary files, of which names and data are compared and nothing else. Exit
    code 1 when they differ.
    """
    from wclayer.image.comparing import compare
    from wclayer.image.comparing_sides import open_side
    from wclayer.oci import Limits

    limits = Limits.none() if no_limits else None
    watcher = make_progress(progress)
    way = network.for_image(before, after, progress=watcher)

    a = open_side(before, layer=layer_a, platform=platform, limits=limits, progress=watcher, network=way)
    with a.view:
        b = open_side(after, layer=layer_b, platform=platform, limits=limits, progress=watcher, network=way)
        with b.view:
            tell_notes((*a.view.notes, *b.view.notes))
            changes = compare(a, b, path, times=times, ignored=ignored)
    for side in (a, b):
        tell_notices(side.notices.counts, side.notices.listed, f"odd in {side.name}")
    if output_format == "json":
        write_json(
            "wclayer.diff/1",
            {
                "a": before,
                "b": after,
                "counts": {kind: sum(change.change == kind for change in changes) for kind in _SIGNS},
                "changes": [change.as_dict() for change in changes],
                "notices": {side.name: side.notices.counts for side in (a, b)},
                "listed": listed_notices([*a.notices.listed, *b.notices.listed]),
            },
        )
    elif output_format == "jsonl":
        for change in changes:
            write_line(json.dumps({"schema": "wclayer.diff/1", **change.as_dict()}))
    else:
        write_lines(_lines(changes))
    return _DIFFERENT if changes else 0


def _lines(changes: list[Change]) -> Iterator[str]:
    for change in changes:
        what = f"  ({', '.join(change.what)})" if change.what else ""
        yield f"{_SIGNS[change.change]} {change.windows_path}{what}"
