"""``wclayer vhdx``: virtual disks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from wclayer.cli.options import format_option, quiet_option
from wclayer.cli.output import (
    data_output,
    size_text,
    tell,
    tell_notes,
    write_json,
    write_json_list,
    write_jsonl,
    write_lines,
)

if TYPE_CHECKING:
    from wclayer.image.disks import DiskRow

__all__ = ["command"]

FINDING = 1
F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(path_type=Path)


@click.group(epilog="Example: wclayer vhdx create blank-base.vhdx --size 20G --format-ntfs")
def command() -> None:
    """Virtual disks in VHDX files, as Windows keeps them beside layers: fixed, dynamic and differencing ones."""


def _disk(function: F) -> F:
    return click.argument("file", type=_FILE, metavar="FILE")(function)


def _parents(function: F) -> F:
    return click.option(
        "--parents",
        type=click.Path(file_okay=False, path_type=Path),
        metavar="DIR",
        multiple=True,
        help="Where parents may be, besides in the folder of each disk. May be given several times.",
    )(function)


def _partition(function: F) -> F:
    return click.option("--partition", type=int, metavar="N", help="The volume on this partition.  [default: largest]")(
        function
    )


@command.command("create", epilog="Example: wclayer vhdx create child.vhdx --parent base.vhdx")
@_disk
@click.option("--size", metavar="SIZE", help="How large the disk is: 20G, 512M, bytes.  [default: that of the parent]")
@click.option("--parent", type=_FILE, metavar="FILE", help="Make a differencing disk on this one.")
@click.option(
    "--kind",
    type=click.Choice(["dynamic", "fixed"]),
    default="dynamic",
    show_default=True,
    help="Whether the file grows with what is written, or has room for all of it.",
)
@click.option("--block-size", metavar="SIZE", default="1M", show_default=True, help="1M to 256M, a power of 2.")
@click.option("--format-ntfs", is_flag=True, help="Make the partitions of Windows, and an empty NTFS volume (mkntfs).")
@_parents
@quiet_option
def create(
    file: Path,
    size: str | None,
    parent: Path | None,
    kind: Literal["dynamic", "fixed"],
    block_size: str,
    format_ntfs: bool,
    parents: tuple[Path, ...],
) -> None:
    """Make a disk, whole or not at all."""
    from wclayer.image.disks import create_disk, disk_size

    create_disk(
        file,
        disk_size(size) if size is not None else None,
        kind=kind,
        block_size=disk_size(block_size),
        parent=parent,
        within=parents,
        ntfs=format_ntfs,
    )


@command.command("info", epilog="Example: wclayer vhdx info sandbox.vhdx --parents layers --format json")
@_disk
@_parents
@format_option("text", "json")
def info(file: Path, parents: tuple[Path, ...], output_format: str) -> int:
    """Say what a disk is, what it stands on and which partitions it has; exit code 1 when its parents do not fit."""
    from wclayer.image.disks import describe_disk

    document, problems = describe_disk(file, within=parents)
    if output_format == "json":
        write_json("wclayer.vhdx.info/1", document)
    else:
        write_lines(_described(document))
        for problem in problems:
            tell(problem)
    return FINDING if problems else 0


def _described(found: dict[str, Any]) -> Iterator[str]:
    yield f"Kind:         {found['kind']}"
    yield f"Size:         {found['size']} ({size_text(found['size'])})"
    yield f"File:         {found['file_size']} ({size_text(found['file_size'])})"
    stored = f"{found['stored_blocks']} of {found['blocks']} stored"
    yield f"Blocks:       {size_text(found['block_size'])}, {stored}"
    yield f"Sectors:      {found['logical_sector_size']} logical, {found['physical_sector_size']} physical"
    yield f"Identifier:   {found['disk_id']}"
    yield f"Content:      {found['data_write_id']}"
    yield f"Creator:      {found['creator'] or '-'}"
    if found["log_pending"]:
        yield "Log:          holds changes that were not written back; they are taken into account"
    if found["parent"] is not None:
        yield f"Parent:       {found['parent']['data_write_id']}"
        for path in found["parent"]["paths"]:
            yield f"              {path}"
    if len(found["chain"]) > 1:
        yield f"Stands on:    {', '.join(found['chain'][1:])}"
    for one in found["partitions"] or ():
        volume = ", NTFS" if one["ntfs"] else ""
        yield f"Partition {one['number']}:  {one['type']}, {size_text(one['size'])} from {one['offset']}{volume}"


@command.command("ls", epilog="Example: wclayer vhdx ls -l sandbox.vhdx 'C:\\Windows' --parents layers")
@_disk
@click.argument("path", metavar="[PATH]", required=False, default="")
@click.option("-l", "long", is_flag=True, help="Attributes, size, time of the last write.")
@click.option("-R", "--recursive", is_flag=True, help="Everything below PATH.")
@_partition
@_parents
@format_option("text", "json", "jsonl")
def list_files(
    file: Path,
    path: str,
    long: bool,
    recursive: bool,
    partition: int | None,
    parents: tuple[Path, ...],
    output_format: str,
) -> None:
    """List a folder of the NTFS volume on a disk, or the root.

    What is listed is the volume with what its parents hold of it; files of layers, which a driver of Windows shows in
    it, are not there. Needs libfsntfs: pip install 'wclayer[disks]'.
    """
    from wclayer.image.disks import DiskRow, list_disk

    rows = list_disk(file, path, recursive=recursive, within=parents, partition=partition)
    if output_format == "jsonl":
        write_jsonl("wclayer.vhdx.ls/1", DiskRow._fields, rows)
    elif output_format == "json":
        write_json_list("wclayer.vhdx.ls/1", "entries", DiskRow._fields, rows)
    else:
        write_lines(_listed(rows, long=long, full=recursive))


def _listed(rows: Iterator[DiskRow], *, long: bool, full: bool) -> Iterator[str]:
    for row in rows:
        name = row.path if full else row.path.rpartition("/")[2]
        name = name.replace("/", "\\") + ("\\" if row.kind == "directory" else "")
        size = "-" if row.size is None else row.size
        yield f"{row.attribute_letters:<10} {row.kind:<9} {size:>12} {row.last_write_time:<28} {name}" if long else name


@command.command("cat", epilog="Example: wclayer vhdx cat sandbox.vhdx 'C:\\log.txt' --parents layers | tail")
@_disk
@click.argument("path", metavar="PATH")
@click.option("--stream", metavar="NAME", default="", help="An alternate stream instead of the data.")
@_partition
@_parents
def read_file(file: Path, path: str, stream: str, partition: int | None, parents: tuple[Path, ...]) -> None:
    """Write a file of the NTFS volume on a disk to standard output."""
    from wclayer.image.disks import read_disk_file

    with data_output() as write:
        read_disk_file(file, path, write, stream=stream, within=parents, partition=partition)


@command.command("rebase", epilog="Example: wclayer vhdx rebase sandbox.vhdx --parent ../base/blank-base.vhdx")
@_disk
@click.option("--parent", type=_FILE, metavar="FILE", required=True, help="Where the parent is now.")
@_parents
@quiet_option
def rebase(file: Path, parent: Path, parents: tuple[Path, ...]) -> None:
    """Let a differencing disk find its parent where it is now; it must be the very disk that FILE was made on."""
    from wclayer.image.disks import rebase_disk

    rebase_disk(file, parent, within=parents)


@command.command("resize", epilog="Example: wclayer vhdx resize sandbox.vhdx --size 127G --parents layers")
@_disk
@click.option("--size", metavar="SIZE", required=True, help="The new size, not below the old one: 127G, bytes.")
@click.option("--disk-only", is_flag=True, help="Leave partitions and volume as they are, and change FILE in place.")
@_parents
@quiet_option
def resize(file: Path, size: str, disk_only: bool, parents: tuple[Path, ...]) -> None:
    """Let a disk grow, with its last partition and the NTFS volume on that. Disks that stand on it no longer fit."""
    from wclayer.image.disks import disk_size, resize_disk

    if not resize_disk(file, disk_size(size), within=parents, disk_only=disk_only):
        tell_notes(["the disk and its partition have grown, and the NTFS volume has not: Windows enlarges it on use"])
