"""``wclayer store``: stores of layers, those of this program and those of Windows hosts."""

from __future__ import annotations

import click

from wclayer.cli import store_plan, store_timeline
from wclayer.cli.store_verbs import check, collect_garbage, disk_usage, list_layers

__all__ = ["command"]


@click.group(epilog="Example: wclayer store fsck --root /srv/layers")
def command() -> None:
    """Stores of layers: of the graph driver and the snapshots of this program, and of a Windows host, read-only."""


for _verb in (list_layers, check, collect_garbage, disk_usage):
    command.add_command(_verb)
command.add_command(store_plan.command, "plan")
command.add_command(store_timeline.command, "timeline")
