"""``wclayer store ls``, ``fsck``, ``gc`` and ``du``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from wclayer.cli.options import format_option, quiet_option
from wclayer.cli.output import size_text, write_json, write_line

if TYPE_CHECKING:
    from wclayer.store.hosts import HostStore
    from wclayer.store.roots import StoreRoot

__all__ = ["check", "collect_garbage", "disk_usage", "list_layers"]

FINDING = 1


def _root_option(function: click.decorators.FC) -> click.decorators.FC:
    return click.option(
        "--root",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="The store: its folder, or the folder or disk image of a Windows host."
        "  [default: $WCLAYER_STORE_ROOT, else wclayer/store in the data folder]",
    )(function)


def _hosts(root: Path | None) -> tuple[HostStore, ...]:
    """The stores of Windows hosts at ``root``; none when a store of this program is there."""
    from wclayer.cli.store_hosts import host_stores
    from wclayer.store.roots import root_kind

    return () if root is None or root_kind(root) is not None else host_stores(root)


def _open(root: Path | None) -> StoreRoot:
    from wclayer.store.roots import default_root, open_root

    return open_root(root or default_root())


@click.command("ls", epilog="Example: wclayer store ls --root /srv/layers --format json")
@_root_option
@quiet_option
@format_option("text", "json")
def list_layers(root: Path | None, output_format: str) -> int:
    """List the layers of a store: name, kind, what it stands on, size on disk, how many have it mounted."""
    from wclayer.cli.store_hosts import list_hosts

    if hosts := _hosts(root):
        return list_hosts(hosts, output_format)
    store = _open(root)
    rows = store.rows()
    if output_format == "json":
        listed = [{**row._asdict(), "images": list(row.images)} for row in rows]
        write_json("wclayer.store.ls/1", {"root": str(store.root), "kind": store.kind, "layers": listed})
        return 0
    for row in rows:
        on = f"on {row.parent}" if row.parent is not None else "base"
        more = "".join(
            (
                f"  {row.uses} uses" if row.uses else "",
                f"  {', '.join(row.images)}" if row.images else "",
            )
        )
        write_line(f"{row.name}  {row.kind}  {on}  {size_text(row.size)}{more}")
    return 0


@click.command("fsck", epilog="Example: wclayer store fsck --content --root /srv/layers")
@_root_option
@click.option("--content", is_flag=True, help="Read all data, too, not only look at names and sizes.")
@quiet_option
@format_option("text", "json")
def check(root: Path | None, content: bool, output_format: str) -> int:
    """Find what is wrong with a store, and change nothing; exit code 1 when there is anything."""
    from wclayer.cli.store_hosts import check_hosts

    if hosts := _hosts(root):
        return check_hosts(hosts, output_format, content=content)
    store = _open(root)
    findings = list(store.check(contents=content))
    if output_format == "json":
        listed = [finding._asdict() for finding in findings]
        write_json("wclayer.store.fsck/1", {"root": str(store.root), "kind": store.kind, "findings": listed})
    else:
        for finding in findings:
            place = "/".join(part for part in (finding.layer, finding.path) if part) or str(store.root)
            write_line(f"{place}: {finding.code}: {finding.detail}")
        if not findings:
            write_line(f"{store.root}: nothing is wrong")
    return FINDING if findings else 0


@click.command("gc", epilog="Example: wclayer store gc --dry-run")
@_root_option
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@quiet_option
@format_option("text", "json")
def collect_garbage(root: Path | None, dry_run: bool, output_format: str) -> None:
    """Remove layers that no image has and no program uses, and what programs left that died."""
    from wclayer.errors import UsageError

    if _hosts(root):
        raise UsageError(
            f"{root} is the store of a Windows host, which is only read", hint=f"wclayer store plan --root {root}"
        )
    store = _open(root)
    done = store.collect(dry_run=dry_run)
    if output_format == "json":
        document = {"root": str(store.root), "kind": store.kind, "dry_run": dry_run}
        write_json(
            "wclayer.store.gc/1", {**document, "layers": done.layers, "leftovers": done.leftovers, "size": done.size}
        )
        return
    word = "would remove" if dry_run else "removed"
    for name in (*done.layers, *done.leftovers):
        write_line(f"{word} {name}")
    write_line(f"{word} {len(done.layers)} layers and {len(done.leftovers)} leftovers, {size_text(done.size)}")


@click.command("du", epilog="Example: wclayer store du")
@_root_option
@quiet_option
@format_option("text", "json")
def disk_usage(root: Path | None, output_format: str) -> int:
    """Say how large a store is on disk, what layers share, and how much of it nobody needs."""
    from wclayer.cli.store_hosts import usage_hosts

    if hosts := _hosts(root):
        return usage_hosts(hosts, output_format)
    store = _open(root)
    usage = store.usage()
    if output_format == "json":
        write_json(
            "wclayer.store.du/1",
            {
                "root": str(store.root),
                "kind": store.kind,
                "layers": usage.layers,
                "size": usage.size,
                "shared_size": usage.shared,
                "unneeded_layers": usage.unneeded,
                "unneeded_size": usage.unneeded_size,
            },
        )
        return 0
    write_line(str(store.root))
    write_line(f"{usage.layers} layers, {size_text(usage.size)} on disk, of which {size_text(usage.shared)} are shared")
    write_line(f"needed by nobody: {usage.unneeded} layers, {size_text(usage.unneeded_size)} with leftovers")
    return 0
