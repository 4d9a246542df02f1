"""``wclayer stat``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    image_argument,
    layer_option,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
)
from wclayer.cli.output import write_facts, write_json
from wclayer.cli.view import opened_view

if TYPE_CHECKING:
    from wclayer.image.describe import Description

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer stat out 'C:\\Documents and Settings' --format json")
@image_argument()
@click.argument("path", required=False, default="/")
@click.option("-L", "--follow", is_flag=True, help="What a symbolic link or junction leads to.")
@layer_option
@platform_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    image: str,
    path: str,
    follow: bool,
    layer: int | None,
    platform: str | None,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Show everything NTFS knows about PATH: attributes, four times, security, attributes, streams, links."""
    from wclayer.image.describe import describe
    from wclayer.image.paths import layer_path

    with opened_view(
        image, platform=platform, layer=layer, no_limits=no_limits, progress=progress, network=network, data=False
    ) as view:
        description = describe(view, view.find(layer_path(path), follow=follow))
    if output_format == "json":
        write_json("wclayer.stat/1", description.as_dict())
        return
    write_facts(_lines(description))


def _lines(about: Description) -> list[tuple[str, str]]:
    lines = [
        ("Path", about.windows_path),
        ("Layer path", about.path or "."),
        ("Kind", about.kind),
        ("Size", "no data stream" if about.size is None else str(about.size)),
    ]
    if about.allocated is not None:
        lines.append(("Allocated", ", ".join(f"{start}+{length}" for start, length in about.allocated) or "nothing"))
    names = ", ".join(about.attribute_names) or "none"
    lines.append(("Attributes", f"0x{about.attributes:08X} ({names})"))
    for key, label in (
        ("creation_time", "Created"),
        ("last_write_time", "Last write"),
        ("last_access_time", "Last access"),
        ("change_time", "Changed"),
    ):
        time = about.times[key]
        lines.append((label, f"{time['text']} ({time['filetime']})" if time else "not in the layer"))
    security = about.security
    if security is None:
        lines.append(("Security", "no descriptor"))
    else:
        damaged = security["damaged"]
        lines.append(("Security", security["sddl"] if damaged is None else f"damaged: {damaged}"))
    lines += [
        ("EA", f"{ea['name']} ({ea['size']} bytes, flags 0x{ea['flags']:02X}): {ea['value']}")
        for ea in about.extended_attributes
    ]
    lines += _reparse_lines(about)
    lines += [("Stream", f"{stream['name']} ({stream['size']} bytes)") for stream in about.streams]
    if about.hard_link is not None:
        lines.append(("Hard link to", _hard_link(about.hard_link)))
    lines += [("Layer", f"{layer['number']} ({layer['name']})") for layer in about.layers]
    return lines


def _reparse_lines(about: Description) -> list[tuple[str, str]]:
    reparse = about.reparse
    if reparse is None:
        return []
    lines = [("Reparse tag", f"{reparse['tag'] or '?'} ({reparse['tag_name'] or 'unknown'})")]
    for key, label in (("print_name", "Target"), ("substitute_name", "Substitute name"), ("damaged", "Damaged")):
        if reparse[key] is not None:
            lines.append((label, reparse[key]))
    return lines


def _hard_link(link: dict[str, Any]) -> str:
    from wclayer.image.paths import windows_path

    if link["file"] is None:
        return f"{windows_path(link['target'])}: {link['missing']}"
    through = f", through {windows_path(link['target'])}" if link["file"] != link["target"] else ""
    return f"{windows_path(link['file'])} in layer {link['layer']}{through}"
