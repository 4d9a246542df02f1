"""What ``wclayer store`` prints of the store of a Windows host: ``ls``, ``fsck`` and ``du`` when their root is one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.output import size_text, write_json, write_line

if TYPE_CHECKING:
    from wclayer.store.hosts import HostImage, HostLayer, HostStore, LayerUsage

__all__ = ["check_hosts", "host_root_option", "host_stores", "list_hosts", "require_hosts", "usage_hosts"]

FINDING = 1
_SHORT = 12
_NAMES = 3

host_root_option = click.option(
    "--root",
    required=True,
    type=click.Path(path_type=Path),
    metavar="DIR_OR_IMAGE",
    help="A copied folder (a whole drive, Docker's data root, containerd's root), or a disk image.",
)
"""``--root`` of the verbs that are for hosts only."""


def host_stores(root: Path | None) -> tuple[HostStore, ...]:
    """The stores of Windows hosts at ``root``, open until the command ends; none when it is something else."""
    if root is None:
        return ()
    from wclayer.store.hosts import open_host_stores

    return click.get_current_context().with_resource(open_host_stores(root))


def require_hosts(root: Path) -> tuple[HostStore, ...]:
    """The stores at ``root``; UsageError when there are none."""
    from wclayer.errors import UsageError

    stores = host_stores(root)
    if not stores:
        raise UsageError(
            f"{root} is no store of a Windows host",
            hint="give the folder that holds windowsfilter and image, or io.containerd.metadata.v1.bolt",
        )
    return stores


def list_hosts(stores: Sequence[HostStore], output_format: str) -> int:
    """``wclayer store ls``: layers and images, with what holds them."""
    if output_format == "json":
        write_json(
            "wclayer.store.host-ls/1",
            {
                "stores": [
                    {
                        "kind": store.kind,
                        "place": store.place,
                        "layers": [_layer(layer) for layer in store.layers()],
                        "images": [_image(image) for image in store.images()],
                    }
                    for store in stores
                ]
            },
        )
        return 0
    for store in stores:
        write_line(f"{store.kind}: {store.place}")
        for layer in store.layers():
            size = size_text(layer.size) if layer.size is not None else "-"
            holders = layer.held_by[:_NAMES] + (["…"] if len(layer.held_by) > _NAMES else [])
            held = ", ".join(holders) or "held by nothing"
            write_line(f"  {layer.kind:<9}  {_short(layer)}  {_depth(layer)}  {size}  {_time(layer.created)}  {held}")
        for image in store.images():
            names = ", ".join(image.names) or "(no name)"
            lacking = sum(one is None for one in image.layers)
            layers = f"{len(image.layers)} layers" + (f", {lacking} of them not here" if lacking else "")
            write_line(f"  image  {names}  {image.platform or '-'}  {_time(image.created)}  {layers}  {image.id}")
    return 0


def check_hosts(stores: Sequence[HostStore], output_format: str, *, content: bool = False) -> int:
    """``wclayer store fsck``: what is wrong. The exit code is 1 when something is."""
    found = [(store, store.findings(content=content)) for store in stores]
    errors = sum(finding.severity == "error" for _, findings in found for finding in findings)
    total = sum(len(findings) for _, findings in found)
    if output_format == "json":
        write_json(
            "wclayer.store.host-fsck/1",
            {
                "stores": [
                    {
                        "kind": store.kind,
                        "place": store.place,
                        "findings": [
                            {
                                "code": finding.code,
                                "severity": finding.severity,
                                "subject": finding.subject,
                                "namespace": finding.namespace or None,
                                "detail": finding.detail,
                            }
                            for finding in findings
                        ],
                    }
                    for store, findings in found
                ],
                "errors": errors,
                "warnings": total - errors,
            },
        )
        return FINDING if total else 0
    for store, findings in found:
        write_line(f"{store.kind}: {store.place}")
        for finding in findings:
            where = f"{finding.namespace}: " if finding.namespace else ""
            write_line(f"  {finding.severity}: {finding.code}: {where}{finding.subject}: {finding.detail}")
        if not findings:
            write_line("  nothing is wrong")
    if total:
        write_line(f"{errors} errors, {total - errors} warnings")
    return FINDING if total else 0


def usage_hosts(stores: Sequence[HostStore], output_format: str) -> int:
    """``wclayer store du``: what each layer takes, and how much of it nothing holds."""
    used = [(store, store.usage()) for store in stores]
    if output_format == "json":
        write_json(
            "wclayer.store.host-du/1",
            {
                "stores": [
                    {
                        "kind": store.kind,
                        "place": store.place,
                        "layers": [
                            {
                                "id": one.layer.id,
                                "kind": one.layer.kind,
                                "files": one.files,
                                "size": one.size,
                                "allocated": one.allocated,
                                "held": bool(one.layer.held_by),
                            }
                            for one in usage
                        ],
                        **_totals(usage),
                    }
                    for store, usage in used
                ]
            },
        )
        return 0
    for store, usage in used:
        write_line(f"{store.kind}: {store.place}")
        for one in usage:
            held = "" if one.layer.held_by else "  held by nothing"
            write_line(f"  {one.layer.kind:<9}  {_short(one.layer)}  {one.files} files  {size_text(one.size)}{held}")
        totals = _totals(usage)
        write_line(f"  in all {size_text(totals['size'])}, held by nothing {size_text(totals['unheld_size'])}")
    return 0


def _totals(usage: Sequence[LayerUsage]) -> dict[str, int]:
    return {
        "size": sum(one.size for one in usage),
        "unheld_size": sum(one.size for one in usage if not one.layer.held_by),
    }


def _layer(layer: HostLayer) -> dict[str, Any]:
    return {
        "id": layer.id,
        "kind": layer.kind,
        "name": layer.name,
        "path": layer.path,
        "parents": list(layer.parents),
        "diff_id": layer.diff_id,
        "chain_id": layer.chain_id,
        "size": layer.size,
        "created": _time(layer.created) if layer.created is not None else None,
        "images": layer.images,
        "held_by": layer.held_by,
    }


def _image(image: HostImage) -> dict[str, Any]:
    return {
        "id": image.id,
        "names": list(image.names),
        "platform": image.platform,
        "created": _time(image.created) if image.created is not None else None,
        "layers": list(image.layers),
    }


def _short(layer: HostLayer) -> str:
    """A folder's name as far as it tells; the ends that say what it is stay."""
    identity, dash, end = layer.id.partition("-")
    return f"{identity[:_SHORT]}{dash}{end}" if len(identity) > _SHORT and "/" not in identity else layer.id


def _depth(layer: HostLayer) -> str:
    return f"on {len(layer.parents)}" if layer.parents else "base"


def _time(time: int | None) -> str:
    from wclayer.store.hosts.records import nanoseconds_text

    return nanoseconds_text(time) if time is not None else "-"
