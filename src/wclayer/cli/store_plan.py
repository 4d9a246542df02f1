"""``wclayer store plan``."""

from __future__ import annotations

from pathlib import Path

import click

from wclayer.cli.options import format_option
from wclayer.cli.output import write_json, write_line
from wclayer.cli.store_hosts import host_root_option, require_hosts

__all__ = ["command"]


@click.command("plan", epilog="Example: wclayer store plan --root /mnt/c")
@host_root_option
@format_option("text", "json")
def command(root: Path, output_format: str) -> None:
    """Say what to do about a Windows host's store, step by step. Nothing is done, and nothing is deleted by any step.

    What nobody needs is moved aside, what is lost is fetched again, and wrong chains are written as the databases have
    them. Commands are PowerShell for the host, with $root for the folder of the store there; wclayer.exe is hcsshim's.
    """
    planned = [(store, store.steps()) for store in require_hosts(root)]
    if output_format == "json":
        write_json(
            "wclayer.store.plan/1",
            {
                "stores": [
                    {
                        "kind": store.kind,
                        "place": store.place,
                        "steps": [
                            {
                                "kind": step.kind,
                                "target": step.target,
                                "to": step.to,
                                "content": step.content,
                                "why": step.why,
                                "findings": list(step.findings),
                                "commands": list(step.commands),
                            }
                            for step in steps
                        ],
                    }
                    for store, steps in planned
                ]
            },
        )
        return
    for store, steps in planned:
        write_line(f"{store.kind}: {store.place}")
        if not steps:
            write_line("  nothing to do")
        for number, step in enumerate(steps, 1):
            to = f" -> {step.to}" if step.to else ""
            write_line(f"{number:>3}. {step.kind} {step.target}{to}")
            write_line(f"     why: {step.why}")
            for shell in step.commands:
                write_line(f"     PS> {shell}")
