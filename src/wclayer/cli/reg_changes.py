"""``wclayer reg diff``, ``blame`` and ``apply``: what differs, who changed it, and changing it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.network_options import NetworkCommand
from wclayer.cli.options import format_option, image_argument
from wclayer.cli.output import data_output, is_quiet, tell, write_json, write_line, write_lines
from wclayer.cli.registry_view import apply_and_tell, opened_registry, output_option, registry_options
from wclayer.writing import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wclayer.image.registry import RegistryEvent

__all__ = ["apply_text", "blame_key", "compare_images"]

_MAX_TEXT = 256 << 20


@click.command("diff", cls=NetworkCommand, epilog="Example: wclayer reg diff oci:a:1 oci:a:2 HKLM/SOFTWARE/Microsoft")
@image_argument("before", "IMAGE_A")
@image_argument("after", "IMAGE_B")
@click.argument("path", metavar="[KEY]", required=False, default="")
@click.option("--security", is_flag=True, help="Compare security descriptors, too.")
@click.option("-o", "--output", metavar="FILE", help="Where registry text goes, as regedit has it.")
@registry_options()
@format_option("text", "json", "reg")
def compare_images(
    before: str, after: str, path: str, security: bool, output: str | None, output_format: str, **options: Any
) -> int:
    """Say what the registry of IMAGE_B has other than that of IMAGE_A; exit code 1 when there is a difference.

    As registry text it is what makes the one of the other.
    """
    from wclayer.image.registry.differences import diff_registries, diff_text

    if output is not None and output_format != "reg":
        raise click.UsageError("--output is for --format reg")
    with opened_registry(before, **options) as old, opened_registry(after, **options) as new:
        changes = list(diff_registries(old, new, path, security=security))
        if output_format == "json":
            write_json("wclayer.reg.diff/1", {"changes": [change.as_dict() for change in changes]})
        elif output_format == "reg":
            skipped: list[str] = []
            text = diff_text(changes, utf16=output is not None, skipped=skipped)
            if output is None:
                with data_output() as write:
                    write(text)
            else:
                from wclayer.image.whole import new_file

                with new_file(Path(output)) as file:
                    write_whole(file.write, text)
            if skipped and not is_quiet():
                tell(f"left out, for registry text cannot say it: {len(skipped)} keys or values")
        else:
            write_lines(change.line() for change in changes)
    return 1 if changes else 0


@click.command("blame", cls=NetworkCommand, epilog="Example: wclayer reg blame out HKLM/SYSTEM/Select")
@image_argument()
@click.argument("path", metavar="KEY")
@click.option("-R", "--recursive", is_flag=True, help="Everything below KEY.")
@registry_options(layer=False)
@format_option("text", "json")
def blame_key(image: str, path: str, recursive: bool, output_format: str, **options: Any) -> None:
    """Say which layer set, changed and deleted KEY, its values and its subkeys; also of what is not there any more."""
    from wclayer.errors import NotFoundError
    from wclayer.image.registry import shown_path
    from wclayer.image.registry.exporting import json_value

    with opened_registry(image, **options) as registry:
        events = registry.history(path, recursive=recursive)
        if not events:
            raise NotFoundError(f"no layer has or had the key {shown_path(registry.path(path))}")
        labels = registry.layers
    if output_format == "text":
        write_lines(_blamed(events))
        return
    write_json(
        "wclayer.reg.blame/1",
        {
            "layers": [{"number": number, "name": label} for number, label in enumerate(labels)],
            "events": [
                {
                    "path": shown_path(event.path),
                    "kind": event.kind,
                    "name": event.name,
                    "layer": event.layer,
                    "action": event.action,
                    "value": None if event.value is None else json_value(event.value),
                }
                for event in events
            ],
        },
    )


def _blamed(events: list[RegistryEvent]) -> Iterator[str]:
    from wclayer.image.registry import shown_path
    from wclayer.image.registry.values import data_text, type_name

    for event in events:
        line = f"layer {event.layer}  {event.action:<7}  {shown_path(event.path)}"
        if event.kind == "value":
            line += f"  {event.name or '(default)'}"
        elif event.kind != "key":
            line += f"  ({event.kind})"
        if event.value is not None:
            line += f"  {type_name(event.value)}  {data_text(event.value)}"
        yield line


@click.command("apply", cls=NetworkCommand, epilog="Example: wclayer reg apply change.reg oci:dir:app -o oci:dir:app2")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@image_argument()
@output_option
@registry_options(layer=False)
@format_option("text", "json")
def apply_text(file: str, image: str, output: str, output_format: str, **options: Any) -> None:
    """Make a layer that changes the registry as the registry text FILE says (experimental).

    Its delta hives hold what is not so already and nothing else; what is deleted becomes a tombstone.
    """
    from wclayer.image.registry.changing import parse_sections

    sections = parse_sections(_read(file))
    with opened_registry(image, **options) as registry:
        apply_and_tell(
            registry,
            sections,
            output,
            created_by=f"wclayer reg apply {Path(file).name}",
            options=options,
            output_format=output_format,
            schema="wclayer.reg.apply/1",
        )
    if not sections:
        write_line("wclayer: the file holds no key", err=True)


def _read(file: str) -> bytes:
    from wclayer.errors import LimitError, NotFoundError, StoreError

    try:
        with click.open_file(file, "rb") as stream:
            data: bytes = stream.read(_MAX_TEXT + 1)
    except FileNotFoundError:
        raise NotFoundError(f"there is no file {file}") from None
    except OSError as error:
        raise StoreError(f"cannot read {file}: {error.strerror}") from error
    if len(data) > _MAX_TEXT:
        raise LimitError(f"{file} has more than {_MAX_TEXT >> 20} MiB, too many for registry text")
    return data
