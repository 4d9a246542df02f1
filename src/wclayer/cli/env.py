"""``wclayer env``: the environment variables in the registry of an image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.network_options import NetworkCommand
from wclayer.cli.options import format_option, image_argument
from wclayer.cli.output import tell_notes, write_json, write_lines
from wclayer.cli.registry_view import apply_and_tell, opened_registry, output_option, registry_options

if TYPE_CHECKING:
    from wclayer.image.registry import ImageRegistry
    from wclayer.oci import ImageConfig

__all__ = ["command"]


@click.group(epilog="Example: wclayer env add-path oci:dir:app 'C:\\tools' -o oci:dir:app-tools")
def command() -> None:
    """The environment variables that the registry of an image sets, and the configuration on top of it."""


@command.command("ls", cls=NetworkCommand, epilog="Example: wclayer env ls oci:dir:app --format json")
@image_argument()
@registry_options(layer=False)
@format_option("text", "json")
def list_variables(image: str, output_format: str, **options: Any) -> None:
    """List the variables, with references to others put in; those of the configuration hide those of the registry."""
    from wclayer.image.registry.environment import list_environment

    with opened_registry(image, **options) as registry:
        found = list_environment(registry, _config(registry, options))
    if output_format == "json":
        write_json("wclayer.env.ls/1", {"variables": [one.as_dict() for one in found]})
        return
    write_lines(f"{one.name}={one.expanded}" + ("" if one.source == "registry" else "  (config)") for one in found)


@command.command("set", cls=NetworkCommand, epilog="Example: wclayer env set oci:dir:app MODE test -o oci:dir:app-test")
@image_argument()
@click.argument("name")
@click.argument("value")
@output_option
@registry_options(layer=False)
@format_option("text", "json")
def set_variable(image: str, name: str, value: str, output: str, output_format: str, **options: Any) -> None:
    """Make a layer that sets the variable NAME in the registry (experimental)."""
    from wclayer.image.registry import environment

    with opened_registry(image, **options) as registry:
        _tell_hidden(registry, name, options)
        apply_and_tell(
            registry,
            environment.set_variable(registry, name, value),
            output,
            created_by=f"wclayer env set {name}",
            options=options,
            output_format=output_format,
            schema="wclayer.env.set/1",
        )


@command.command(
    "add-path", cls=NetworkCommand, epilog="Example: wclayer env add-path oci:dir:app 'C:\\tools' -o oci:dir:app-tools"
)
@image_argument()
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.option("--prepend", is_flag=True, help="At the beginning of Path, not at its end.")
@output_option
@registry_options(layer=False)
@format_option("text", "json")
def add_path(
    image: str, folders: tuple[str, ...], prepend: bool, output: str, output_format: str, **options: Any
) -> None:
    """Make a layer that adds FOLDER to Path in the registry, unless it is there already (experimental)."""
    from wclayer.image.registry import environment

    with opened_registry(image, **options) as registry:
        _tell_hidden(registry, "Path", options)
        apply_and_tell(
            registry,
            environment.add_path(registry, folders, prepend=prepend),
            output,
            created_by=f"wclayer env add-path {' '.join(folders)}",
            options=options,
            output_format=output_format,
            schema="wclayer.env.add-path/1",
        )


def _config(registry: ImageRegistry, options: dict[str, Any]) -> ImageConfig | None:
    from wclayer.image.registry.applying import image_config

    network = options["network"].for_image(registry.reference)
    return image_config(registry.reference, platform=options["platform"], network=network)


def _tell_hidden(registry: ImageRegistry, name: str, options: dict[str, Any]) -> None:
    from wclayer.image.registry.environment import hidden_by_config

    note = hidden_by_config(_config(registry, options), name)
    tell_notes([note] if note else [])
