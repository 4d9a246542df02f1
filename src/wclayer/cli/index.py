"""``wclayer index``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, image_argument, progress_option, quiet_option
from wclayer.cli.output import size_text, tell_notes, write_json, write_jsonl, write_line, write_lines
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.index_listing import IndexEntry
    from wclayer.image.indexes import WrittenIndex

__all__ = ["command"]

_EXAMPLE = "Example: wclayer index create oci:out:1.0 oci:ltsc2022:1.0 oci:ltsc2025:1.0"
_COLUMNS = ("kind", "depth", "platform", "os_version", "digest", "size", "media_type", "artifact_type", "subject")


_foreign_option = click.option(
    "--foreign",
    type=click.Choice(["fetch", "keep"]),
    default="fetch",
    show_default=True,
    help="What to do with foreign layers: copy them as well, or write no more than their descriptors.",
)


@click.group(
    "index",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EXAMPLE,
)
def command() -> None:
    """Make, filter and list indexes of images for several versions of Windows."""


@command.command("ls", cls=NetworkCommand, epilog="Example: wclayer index ls oci:image:latest")
@image_argument(metavar="IMAGE")
@network_options
@quiet_option
@format_option("text", "json", "jsonl")
def list_command(image: str, output_format: str, network: NetworkOptions) -> None:
    """List the entries of an index: platform, os.version, digest, size of the manifest in bytes."""
    from wclayer.image.index_listing import list_entries

    entries = list_entries(image, network=network.for_image(image))
    if output_format == "text":
        write_lines(_lines(entries))
    elif output_format == "jsonl":
        write_jsonl("wclayer.index.ls/1", _COLUMNS, map(_row, entries))
    else:
        rows = [dict(zip(_COLUMNS, _row(entry), strict=True)) for entry in entries]
        write_json("wclayer.index.ls/1", {"reference": image, "entries": rows})


@command.command(
    "create", cls=NetworkCommand, epilog="Example: wclayer index create oci:out:1.0 oci:ltsc2022:1.0 oci:ltsc2025:1.0"
)
@click.argument("destination", metavar="DST")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True)
@click.option("--annotation", "annotations", multiple=True, metavar="KEY=TEXT", help="An annotation of the index.")
@_foreign_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def create_command(
    destination: str,
    images: tuple[str, ...],
    annotations: tuple[str, ...],
    foreign: Literal["fetch", "keep"],
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Write an index of images to DST, with the platforms that their configurations say.

    Of an IMAGE that is an index, its images are taken.
    """
    from wclayer.image.indexes import create_index

    texts = {}
    for annotation in annotations:
        key, equals, text = annotation.partition("=")
        if not key or not equals:
            raise click.UsageError(f"--annotation {annotation!r} is not KEY=TEXT")
        texts[key] = text
    watcher = make_progress(progress)
    written = create_index(
        destination,
        images,
        annotations=texts,
        foreign=foreign,
        network=network.for_image(destination, *images, progress=watcher),
        progress=watcher,
    )
    _tell_written(destination, written, output_format)


@command.command(
    "filter", cls=NetworkCommand, epilog="Example: wclayer index filter oci:image:all oci:image:lts --platform ltsc2022"
)
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option(
    "--platform",
    "platforms",
    metavar="P",
    multiple=True,
    required=True,
    help="Keep images of this platform, all versions of it when it says none; may be given several times.",
)
@_foreign_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def filter_command(
    source: str,
    destination: str,
    platforms: tuple[str, ...],
    foreign: Literal["fetch", "keep"],
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Write the index SRC to DST with only some of its images, and what attests them."""
    from wclayer.image.indexes import filter_index

    watcher = make_progress(progress)
    written = filter_index(
        source,
        destination,
        platforms,
        foreign=foreign,
        network=network.for_image(destination, source, progress=watcher),
        progress=watcher,
    )
    _tell_written(destination, written, output_format)


def _tell_written(destination: str, written: WrittenIndex, output_format: str) -> None:
    tell_notes(written.notes)
    if output_format == "json":
        document = {
            "destination": destination,
            "digest": str(written.digest),
            "media_type": written.media_type,
            "size": written.size,
            "platforms": list(written.platforms),
            "notes": list(written.notes),
        }
        write_json("wclayer.index/1", document)
        return
    for platform in written.platforms:
        write_line(platform)
    write_line(f"{destination}@{written.digest}  {size_text(written.size)}")


def _row(entry: IndexEntry) -> tuple[str | int | None, ...]:
    descriptor = entry.descriptor
    return (
        entry.kind,
        entry.depth,
        entry.platform_text,
        (entry.platform.os_version or None) if entry.platform else None,
        str(descriptor.digest),
        descriptor.size,
        descriptor.media_type,
        descriptor.artifact_type or None,
        entry.subject or None,
    )


def _lines(entries: list[IndexEntry]) -> list[str]:
    names = [_name(entry) for entry in entries]
    versions = [(entry.platform.os_version if entry.platform else "") or "-" for entry in entries]
    widths = [max(map(len, column), default=0) for column in (names, versions)]
    return [
        f"{name:<{widths[0]}}  {version:<{widths[1]}}  {entry.descriptor.digest}  {entry.descriptor.size}"
        for name, version, entry in zip(names, versions, entries, strict=True)
    ]


def _name(entry: IndexEntry) -> str:
    name = entry.platform_text or "-"
    if entry.kind != "image":
        name = f"({entry.kind})" + (f" {name}" if entry.platform else "")
    return "  " * entry.depth + name
