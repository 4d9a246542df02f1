"""``wclayer inspect``."""

from __future__ import annotations

import json
from typing import Any

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, image_argument, platform_option, quiet_option
from wclayer.cli.output import size_text, tell_notes, write_json, write_line

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer inspect docker-archive:image.tar --format json")
@image_argument()
@platform_option
@network_options
@quiet_option
@format_option("text", "json")
def command(image: str, platform: str | None, output_format: str, network: NetworkOptions) -> None:
    """Say what an image is made of: platform, configuration, layers (base first)."""
    from wclayer.image.inspecting import inspect

    document = inspect(image, platform=platform, network=network.for_image(image))
    tell_notes(document["notes"])
    if output_format == "json":
        write_json("wclayer.inspect/1", document)
        return
    write_line(f"{document['kind']}  {document['reference']}")
    for key in ("digest", "platform"):
        if document.get(key):
            write_line(f"{key}: {document[key]}")
    _config(document.get("config") or {})
    for number, layer in enumerate(document["layers"]):
        size = layer.get("blob_size")
        about = layer.get("media_type") or layer.get("compression") or ""
        missing = "" if layer.get("available", True) else "  NOT HERE"
        shown = size_text(size) if isinstance(size, int) else "-"
        write_line(f"layer {number}: {layer.get('diff_id') or '-'}  {shown}  {about}{missing}")


def _config(config: dict[str, Any]) -> None:
    inner = config.get("config") or {}
    for label, value in (
        ("created", config.get("created")),
        ("user", inner.get("User")),
        ("entrypoint", inner.get("Entrypoint")),
        ("command", inner.get("Cmd")),
        ("working folder", inner.get("WorkingDir")),
    ):
        if value:
            write_line(f"{label}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}")
