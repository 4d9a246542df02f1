"""``wclayer reg``: looking into the registry of an image."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.network_options import NetworkCommand
from wclayer.cli.options import format_option, image_argument
from wclayer.cli.output import (
    data_output,
    is_quiet,
    tell,
    write_json,
    write_json_list,
    write_jsonl,
    write_line,
    write_lines,
)
from wclayer.cli.reg_changes import apply_text, blame_key, compare_images
from wclayer.cli.registry_view import opened_registry, registry_options
from wclayer.writing import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from wclayer.image.registry.listing import RegistryRow

__all__ = ["command"]

_COLUMNS = ("kind", "path", "name", "type", "data", "layer", "last_write_time")


@click.group(epilog="Example: wclayer reg ls oci:mirror:ltsc2022 'HKLM/SOFTWARE/Microsoft/Windows NT/CurrentVersion'")
def command() -> None:
    r"""The registry of an image, as a container sees it: base hives and the delta hives of all layers.

    IMAGE_OR_DIR may also be a hive file. A KEY is written HKLM/SOFTWARE/Microsoft or HKLM\SOFTWARE\Microsoft, in any
    case; HKU/.DEFAULT is the hive DEFAULT, and CurrentControlSet is resolved.
    """


command.add_command(compare_images)
command.add_command(blame_key)
command.add_command(apply_text)


@command.command("ls", cls=NetworkCommand, epilog="Example: wclayer reg ls out HKLM/SYSTEM/Select")
@image_argument()
@click.argument("path", metavar="[KEY]", required=False, default="")
@click.option("-R", "--recursive", is_flag=True, help="Everything below KEY.")
@registry_options()
@format_option("text", "json", "jsonl")
def list_keys(image: str, path: str, recursive: bool, output_format: str, **options: Any) -> None:
    """List the values and subkeys of KEY, or the hives."""
    from wclayer.image.registry.listing import list_registry

    with opened_registry(image, **options) as registry:
        _write_rows(
            "wclayer.reg.ls/1", list_registry(registry, path, recursive=recursive), output_format, full=recursive
        )


@command.command("grep", cls=NetworkCommand, epilog="Example: wclayer reg grep -i out 'kb50[0-9]+' HKLM/SOFTWARE")
@image_argument()
@click.argument("pattern")
@click.argument("path", metavar="[KEY]", required=False, default="")
@click.option("-i", "--ignore-case", is_flag=True, help="Large and small letters are the same.")
@click.option("-F", "--fixed-strings", is_flag=True, help="PATTERN is plain text, no regular expression.")
@click.option(
    "--in",
    "places",
    type=click.Choice(["keys", "names", "data"]),
    multiple=True,
    help="Look only there: names of keys, names of values, data. May be given several times.",
)
@registry_options()
@format_option("text", "json", "jsonl")
def search(
    image: str,
    pattern: str,
    path: str,
    ignore_case: bool,
    fixed_strings: bool,
    places: tuple[str, ...],
    output_format: str,
    **options: Any,
) -> int:
    """Find the keys and values with PATTERN in a name or in their data; exit code 1 when there is none."""
    from wclayer.image.registry.listing import search_registry

    found = 0
    wanted = places or ("keys", "names", "data")
    with opened_registry(image, **options) as registry:
        rows = search_registry(
            registry,
            pattern,
            path,
            fixed=fixed_strings,
            ignore_case=ignore_case,
            keys="keys" in wanted,
            names="names" in wanted,
            data="data" in wanted,
        )

        def counted() -> Iterator[RegistryRow]:
            nonlocal found
            for row in rows:
                found += 1
                yield row

        _write_rows("wclayer.reg.grep/1", counted(), output_format, full=True)
    return 0 if found else 1


@command.command(
    "get",
    cls=NetworkCommand,
    epilog="Example: wclayer reg get out 'HKLM/SOFTWARE/Microsoft/Windows NT/CurrentVersion' --value UBR",
)
@image_argument()
@click.argument("path", metavar="KEY")
@click.option("--value", metavar="NAME", help="Only this value; '' is the default value.")
@registry_options()
@format_option("text", "json", "raw")
def get(image: str, path: str, value: str | None, output_format: str, **options: Any) -> None:
    """Show one key with all there is to know of it, or write the data of one value."""
    from wclayer.image.registry.listing import describe_key, find_value

    if output_format == "raw" and value is None:
        raise click.UsageError("only a value has raw data: name one with --value")
    with opened_registry(image, **options) as registry:
        if value is not None:
            row, found = find_value(registry, path, value)
            if output_format == "raw":
                with data_output() as write:
                    write(found.data)
            elif output_format == "json":
                write_json("wclayer.reg.value/1", {name: getattr(row, name) for name in _COLUMNS[1:6]})
            else:
                write_lines([*row.data] if isinstance(row.data, list) else [row.text])
            return
        about = describe_key(registry, path)
    if output_format == "json":
        write_json("wclayer.reg.key/1", about.as_dict())
        return
    write_line(f"Key:         {about.path}")
    write_line(f"Class:       {about.class_name if about.class_name is not None else 'none'}")
    write_line(f"Last write:  {about.last_write_time or '-'}")
    write_line(f"Security:    {about.security or 'no descriptor'}")
    write_line(f"Layers:      {', '.join(str(layer) for layer in about.layers)}")
    write_lines(_lines(about.values, full=False))
    write_lines(f"{name}\\" for name in about.subkeys)


@command.command("export", cls=NetworkCommand, epilog="Example: wclayer reg export out HKLM/SAM --format hive -o S")
@image_argument()
@click.argument("path", metavar="[KEY]", required=False, default="")
@click.option("-o", "--output", metavar="FILE", default="-", show_default=True, help="The file; - is standard output.")
@registry_options()
@format_option("reg", "json", "hive")
def export(image: str, path: str, output: str, output_format: str, **options: Any) -> None:
    """Write KEY with all below it as registry text, JSON or a hive file.

    Registry text is UTF-16 in a file, as regedit has it, and UTF-8 on standard output.
    """
    from typing import cast

    from wclayer.image.registry.exporting import ExportFormat, export_registry

    form = cast("ExportFormat", output_format)
    with opened_registry(image, **options) as registry:
        if output == "-":
            with data_output() as write:
                skipped = export_registry(registry, path, form, write, utf16=False)
        else:
            from wclayer.image.whole import new_file

            with new_file(Path(output)) as file:
                skipped = export_registry(registry, path, form, partial(write_whole, file.write))
    if skipped and not is_quiet():
        tell(f"left out, for registry text cannot say it: {len(skipped)} keys or values, the first {skipped[0]}")


def _write_rows(schema: str, rows: Iterable[RegistryRow], output_format: str, *, full: bool) -> None:
    columns = len(_COLUMNS)
    if output_format == "jsonl":
        write_jsonl(schema, _COLUMNS, (row[:columns] for row in rows))
    elif output_format == "json":
        write_json_list(schema, "entries", _COLUMNS, (row[:columns] for row in rows))
    else:
        write_lines(_lines(rows, full=full))


def _lines(rows: Iterable[RegistryRow], *, full: bool) -> Iterator[str]:
    for row in rows:
        name = row.name or "(default)"
        gone = " (deleted)" if row.kind.startswith("deleted") else ""
        if row.kind.endswith("key"):
            yield (row.path if full or row.path.count("\\") == 1 else row.path.rpartition("\\")[2] + "\\") + gone
        elif full:
            yield f"{row.path}  {name}{gone}" + ("" if gone else f"  {row.type}  {row.text}")
        else:
            yield f"{name}{gone}" if gone else f"{name}  {row.type}  {row.text}"
