"""``wclayer cim``: looking into CIM images. What makes and removes them is in :mod:`wclayer.cli.cim_writing`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.cim_writing import create, destroy, extract, fork, import_layer, merge
from wclayer.cli.options import format_option, quiet_option
from wclayer.cli.output import (
    data_output,
    size_text,
    write_facts,
    write_json,
    write_json_list,
    write_jsonl,
    write_line,
    write_lines,
)

if TYPE_CHECKING:
    from wclayer.image.cim_listing import CimRow

__all__ = ["command"]

_INTEGRITY = 6
_STATES = {"error": "BAD", "warning": "odd", "note": "note"}
_FILE = click.Path(path_type=Path)


@click.group(epilog="Example: wclayer cim ls -R layers/cim-layers/0.cim 'Files\\Windows'")
def command() -> None:
    r"""CIM images: what Windows mounts as layers, read, checked and written without Windows.

    FILE.cim is an image of files, with its regions beside it. Paths are those of the image, with / or \, in any case.
    Writing is experimental: no image has been mounted by Windows yet.
    """


for one in (create, fork, import_layer, merge, extract, destroy):
    command.add_command(one)


def _reading(function: Callable[..., Any]) -> Any:
    """The options of whatever reads an image."""
    text = "Read images of Windows 10 (version 1), too."
    return click.option("--version-1", is_flag=True, help=text)(quiet_option(function))


@command.command("ls", epilog="Example: wclayer cim ls -l base.cim 'Files\\Windows'")
@click.argument("file", metavar="FILE.cim", type=_FILE)
@click.argument("path", required=False, default="")
@click.option("-l", "long", is_flag=True, help="Attributes, size, time of the last write, targets of links.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below PATH.")
@click.option("-d", "--directory", "itself", is_flag=True, help="PATH itself, not what is in it.")
@_reading
@format_option("text", "json", "jsonl")
def list_folder(
    file: Path, path: str, long: bool, recursive: bool, itself: bool, version_1: bool, output_format: str
) -> None:
    """List the folder PATH of an image, or its root."""
    from wclayer.image.cim_listing import CimRow, list_cim, open_cim

    with open_cim(file, version_1=version_1) as image:
        rows = list_cim(image, path, recursive=recursive, itself=itself)
        if output_format == "jsonl":
            write_jsonl("wclayer.cim.ls/1", CimRow._fields, rows)
        elif output_format == "json":
            write_json_list("wclayer.cim.ls/1", "entries", CimRow._fields, rows)
        else:
            write_lines(_lines(rows, long=long, full=recursive or itself))


def _lines(rows: Iterator[CimRow], *, long: bool, full: bool) -> Iterator[str]:
    for row in rows:
        name = row.path.replace("/", "\\") if full else row.path.rpartition("/")[2]
        if row.kind == "directory" and not full:
            name += "\\"
        if not long:
            yield name or "\\"
            continue
        arrow = "" if row.target is None else f" -> {row.target}"
        size = "-" if row.size is None else str(row.size)
        yield f"{row.attribute_letters:<10} {row.kind:<9} {size:>12} {row.last_write_time or '-':<28} {name}{arrow}"


@command.command("stat", epilog="Example: wclayer cim stat base.cim 'Files\\License.txt' --format json")
@click.argument("file", metavar="FILE.cim", type=_FILE)
@click.argument("path", required=False, default="")
@_reading
@format_option("text", "json")
def describe(file: Path, path: str, version_1: bool, output_format: str) -> None:
    """Show everything that an image says of PATH, or of its root."""
    from wclayer.image.cim_listing import describe_cim_file, open_cim

    with open_cim(file, version_1=version_1) as image:
        about = describe_cim_file(image, path)
    if output_format == "json":
        write_json("wclayer.cim.stat/1", about)
        return
    write_facts(_described(about))


def _described(about: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Path", about["path"].replace("/", "\\") or "\\"
    yield "Kind", about["kind"]
    yield "File id", f"{about['file_id']}, in folder {about['parent_id']}"
    for name in about["names"][1:] and about["names"]:
        yield "Name", name.replace("/", "\\")
    yield "Size", "no data stream" if about["size"] is None else str(about["size"])
    data = about["data"]
    if data is not None and data["region"] is not None:
        yield "Data", f"region {data['region']}, at 0x{data['offset']:x}"
    elif data is not None and data["sparse"]:
        yield "Data", "zeros"
    yield "Attributes", f"0x{about['attributes']:08X} ({', '.join(about['attribute_names']) or 'none'})"
    for name, time in about["times"].items():
        label = name.removesuffix("_time").replace("_", " ").capitalize()
        yield label, "not said" if time is None else f"{time['text']} ({time['filetime']})"
    security, reparse = about["security"], about["reparse"]
    yield "Security", "not said" if security is None else security["sddl"] or f"damaged: {security['damaged']}"
    for ea in about["extended_attributes"]:
        yield "Extended attribute", f"{ea['name']} ({ea['size']} bytes)"
    if reparse is not None:
        target = reparse["substitute_name"]
        yield "Reparse point", f"{reparse['tag_name'] or 'damaged'}{f' -> {target}' if target else ''}"
    for stream in about["streams"]:
        yield "Stream", f"{stream['name']} ({stream['size']} bytes)"
    yield "Record", f"{about['record_size']} bytes"


@command.command("cat", epilog="Example: wclayer cim cat base.cim 'Files\\License.txt' | head")
@click.argument("file", metavar="FILE.cim", type=_FILE)
@click.argument("path")
@click.option("--stream", metavar="NAME", help="An alternate stream instead of the data.")
@_reading
def read(file: Path, path: str, stream: str | None, version_1: bool) -> None:
    """Write the file PATH of an image to standard output. Symbolic links are not followed."""
    from wclayer.image.cim_listing import open_cim, read_cim_file

    with open_cim(file, version_1=version_1) as image, data_output() as write:
        read_cim_file(image, path, write, stream=stream)


@command.command("info", epilog="Example: wclayer cim info base.cim --format json")
@click.argument("file", metavar="FILE.cim", type=_FILE)
@_reading
@format_option("text", "json")
def inform(file: Path, version_1: bool, output_format: str) -> None:
    """Say what an image is: version, regions, what it is a fork of, and what is in it, counted.

    Of an image in a single file, which only Windows can read, it says what is around it.
    """
    from wclayer.image.cim_listing import block_facts, cim_facts, is_block_image, open_cim

    if file.is_file() and is_block_image(file):
        facts = block_facts(file)
    else:
        with open_cim(file, version_1=version_1) as image:
            facts = cim_facts(image)
    if output_format == "json":
        write_json("wclayer.cim.info/1", facts)
        return
    write_facts(_facts(facts))


def _facts(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Image", facts["path"]
    yield "Form", "one file" if facts["form"] == "block" else "files"
    if facts["form"] == "block":
        yield "Size", str(facts["size"])
        yield "Virtual disk", "yes" if facts["footer"] else "no"
        yield "Root hash", facts["root_hash"] or "none beside it"
        return
    yield "GUID", facts["guid"]
    yield "Version", f"{facts['version']}, records of {facts['entry_size']} bytes"
    yield "Fork of", facts["parent"] or ("an image that is not here" if facts["parents"] else "none")
    for name in facts["forks"]:
        yield "Forked by", name
    for region in facts["regions"]:
        whose = "" if region["own"] else ", of a parent"
        yield "Region", f"{region['name']}  {region['kind']}, {region['size']} bytes{whose}"
    yield "Folders", str(facts["directories"])
    yield "Files", f"{facts['files']}, {size_text(facts['size'])}, with {facts['names']} names"
    yield "Links", str(facts["links"])
    yield "Streams", str(facts["streams"])
    yield "Usage", f"{facts['usage']} bytes of its own"


@command.command("verify", epilog="Example: wclayer cim verify cim-layers/*.cim")
@click.argument("files", metavar="FILE.cim...", type=_FILE, nargs=-1, required=True)
@click.option("--strict", is_flag=True, help="What is odd is wrong, too.")
@_reading
@format_option("text", "json")
def verify(files: tuple[Path, ...], strict: bool, version_1: bool, output_format: str) -> int:
    """Check everything that can be checked without Windows; data is not read. Exit code 6 when anything is wrong.

    A malformed image can stop a Windows host that mounts it.
    """
    from wclayer.image.cim_actions import check_cim, images_at

    found = {file: check_cim(file, version_1=version_1) for file in images_at(files)}
    wrong = ("error", "warning") if strict else ("error",)
    bad = {file: any(one.severity in wrong for one in findings) for file, findings in found.items()}
    if output_format == "json":
        images = [
            {"path": str(file), "ok": not bad[file], "findings": [one._asdict() for one in findings]}
            for file, findings in found.items()
        ]
        write_json("wclayer.cim.verify/1", {"ok": not any(bad.values()), "images": images})
        return _INTEGRITY if any(bad.values()) else 0
    for file, findings in found.items():
        write_line(f"{'BAD' if bad[file] else 'ok':<4} {file}")
        for one in findings:
            where = one.path.replace("/", "\\") or "the image"
            write_line(f"     {_STATES[one.severity]:<4} {one.code}: {where}: {one.detail}")
    return _INTEGRITY if any(bad.values()) else 0


@command.command("usage", epilog="Example: wclayer cim usage cim-layers/*.cim")
@click.argument("files", metavar="FILE.cim...", type=_FILE, nargs=-1, required=True)
@quiet_option
@format_option("text", "json")
def use(files: tuple[Path, ...], output_format: str) -> None:
    """Say how many bytes images take, without what they share with those they are forks of."""
    from wclayer.image.cim_actions import images_at, usage_of

    rows = [usage_of(file) for file in images_at(files)]
    if output_format == "json":
        images = [{"path": str(row.path), "usage": row.usage, "layer_usage": row.layer_usage} for row in rows]
        write_json("wclayer.cim.usage/1", {"images": images, "usage": sum(row.usage for row in rows)})
        return
    for row in rows:
        write_line(f"{row.usage:>14}  {row.path}")


@command.command("dump", epilog="Example: wclayer cim dump base.cim | grep kernel32")
@click.argument("file", metavar="FILE.cim", type=_FILE)
@click.option("--no-contents", is_flag=True, help="Do not read data: no SHA-256.")
@_reading
@format_option("jsonl", "json")
def dump(file: Path, no_contents: bool, version_1: bool, output_format: str) -> None:
    """Write everything that an image says as JSON, one line for each name: made to be compared."""
    from wclayer.image.cim_actions import dump_cim

    lines = dump_cim(file, contents=not no_contents, version_1=version_1)
    if output_format == "jsonl":
        write_lines(lines)
        return
    import json

    write_json("wclayer.cim.dump/1", {"entries": [json.loads(line) for line in lines]})
