"""``wclayer cim create``, ``fork``, ``import``, ``merge``, ``extract`` and ``destroy``: images made and taken apart."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
    strict_option,
    verbose_option,
)
from wclayer.cli.output import (
    EXPERIMENTAL_CIM,
    listed_notices,
    size_text,
    tell_notes,
    tell_notices,
    write_json,
    write_line,
)
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.cli.progress import Watcher
    from wclayer.image.cim_writing import CimOptions, WrittenCim

__all__ = ["create", "destroy", "extract", "fork", "import_layer", "merge"]

_CIM = click.Path(dir_okay=False, path_type=Path)
_FOLDER = click.Path(file_okay=False, path_type=Path)
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst")


def _writing(*, replace: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """The options of whatever writes an image; the function gets ``options`` and ``watcher`` instead of them."""

    def decorate(function: Callable[..., Any]) -> Any:
        @functools.wraps(function)
        def call(*arguments: Any, **given: Any) -> Any:
            names = (*_OPTIONS, "network")
            taken = {name: given.pop(name, None) for name in names}
            watcher = make_progress(taken["progress"])
            references = [value for value in (given.get("source"), *given.get("sources", ())) if value]
            tell_notes([EXPERIMENTAL_CIM])
            return function(*arguments, options=_options(taken, references, watcher), watcher=watcher, **given)

        for option in reversed(_options_of(replace=replace)):
            call = option(call)
        return call

    return decorate


_OPTIONS = (
    "profile",
    "guid",
    "compact",
    "no_deduplication",
    "check",
    "replace",
    "platform",
    "strict",
    "no_limits",
    "progress",
)


def _options_of(*, replace: bool) -> list[Callable[[Any], Any]]:
    own = [
        click.option(
            "--profile",
            type=click.Choice(["ltsc2022", "ltsc2025"]),
            help="For which Windows.  [default: ltsc2022; a fork is for that of its parent]",
        ),
        click.option(
            "--guid", metavar="GUID", help="Names the region files; with one the same input is the same bytes."
        ),
        click.option("--compact", is_flag=True, help="Pack files of less than 1 KiB: smaller, and less certain."),
        click.option("--no-deduplication", is_flag=True, help="Store equal data each time."),
        click.option(
            "--check",
            type=click.Choice(["sample", "all", "none"]),
            default="sample",
            show_default=True,
            help="Whose data is read back before the image is given its name.",
        ),
    ]
    if replace:
        own.append(click.option("--replace", is_flag=True, help="Replace an image that is there, unless it has forks."))
    shared: list[Callable[[Any], Any]] = [
        platform_option,
        strict_option,
        limits_option,
        network_options,
        progress_option,
        quiet_option,
        format_option("text", "json"),
    ]
    return own + shared


def _options(taken: dict[str, Any], references: list[str], watcher: Watcher) -> CimOptions:
    from wclayer.image.cim_writing import CimOptions
    from wclayer.image.layer_sources import SourceOptions
    from wclayer.oci import Limits

    network: NetworkOptions = taken["network"]
    source = SourceOptions(
        platform=taken["platform"],
        limits=Limits.none() if taken["no_limits"] else Limits(),
        network=network.for_image(*references, progress=watcher),
    )
    return CimOptions(
        taken["profile"],
        taken["guid"],
        taken["compact"],
        not taken["no_deduplication"],
        taken["check"],
        bool(taken["replace"]),
        taken["strict"],
        source,
    )


def _report(result: WrittenCim, output_format: str) -> None:
    tell_notices(result.notices, result.listed, "odd, changed or left out")
    if output_format == "json":
        document = {
            "path": str(result.path),
            "guid": result.guid,
            "version": result.version,
            "folder": None if result.folder is None else str(result.folder),
            "counts": result.counts,
            "size": result.size,
            "notices": result.notices,
            "listed": listed_notices(result.listed),
        }
        write_json("wclayer.cim.create/1", document)
        return
    counts = result.counts
    write_line(
        f"{result.path}  {result.guid}  {counts['files']} files, {counts['folders']} folders,"
        f" {size_text(result.size)}, {size_text(counts['stored'])} stored"
    )


@click.command("create", cls=NetworkCommand, epilog="Example: wclayer cim create base.cim layer.tar.gz")
@click.argument("file", metavar="FILE.cim", type=_CIM)
@click.argument("source", metavar="LAYER")
@_writing()
def create(file: Path, source: str, options: CimOptions, watcher: Watcher, output_format: str) -> None:
    """Write LAYER as an image, just as it is (experimental).

    LAYER is a layer tar, a layer folder, an image of one layer, transport:DIR, base:DIR, plain:DIR, cim:FILE.cim, or a
    folder of ordinary files.
    """
    from wclayer.image.cim_writing import create_cim

    _report(create_cim(source, file, options, watcher), output_format)


@click.command("fork", cls=NetworkCommand, epilog="Example: wclayer cim fork app.cim base.cim change.tar")
@click.argument("file", metavar="FILE.cim", type=_CIM)
@click.argument("parent", metavar="PARENT.cim", type=_CIM)
@click.argument("source", metavar="LAYER")
@_writing()
def fork(file: Path, parent: Path, source: str, options: CimOptions, watcher: Watcher, output_format: str) -> None:
    """Write an image that is PARENT.cim with the changes of LAYER (experimental).

    It shares the regions of its parent, so both must be in one folder, and PARENT.cim must stay.
    """
    from wclayer.image.cim_writing import create_cim

    _report(create_cim(source, file, options, watcher, parent=parent), output_format)


@click.command(
    "import",
    cls=NetworkCommand,
    epilog="Example: wclayer cim import layer.tar.gz layers/cim-layers/1.cim --parent layers/cim-layers/0.cim",
)
@click.argument("source", metavar="LAYER")
@click.argument("file", metavar="FILE.cim", type=_CIM)
@click.option("--parent", type=_CIM, metavar="FILE.cim", help="The image of the layer below.")
@click.option(
    "--layer-dir",
    "folder",
    type=_FOLDER,
    metavar="DIR",
    help="Where what is kept beside the image goes.  [default: DIR/NAME, for DIR/cim-layers/NAME.cim]",
)
@click.option("--parent-dir", "parent_folder", type=_FOLDER, metavar="DIR", help="The same of the layer below.")
@click.option("--no-processing", is_flag=True, help="Leave the hives as they are.")
@_writing(replace=False)
def import_layer(
    source: str,
    file: Path,
    parent: Path | None,
    folder: Path | None,
    parent_folder: Path | None,
    no_processing: bool,
    options: CimOptions,
    watcher: Watcher,
    output_format: str,
) -> None:
    """Import LAYER as hcsshim does: an image, and a folder with its hives beside it (experimental).

    A base layer gets its hives linked into Hives; on a parent the image is a fork, and the hive deltas of the layer are
    merged with the hives of the parent.
    """
    from wclayer.image.cim_writing import import_cim

    result = import_cim(
        source,
        file,
        options,
        watcher,
        folder=folder,
        parent=parent,
        parent_folder=parent_folder,
        process=not no_processing,
    )
    _report(result, output_format)


@click.command("merge", cls=NetworkCommand, epilog="Example: wclayer cim merge flat.cim oci:images:app")
@click.argument("file", metavar="FILE.cim", type=_CIM)
@click.argument("sources", metavar="LAYER...", nargs=-1, required=True)
@_writing()
def merge(file: Path, sources: tuple[str, ...], options: CimOptions, watcher: Watcher, output_format: str) -> None:
    """Write several layers as one image that needs no other (experimental).

    LAYER is an image, with all its layers, or a layer; of several the base comes first. What upper layers delete or
    replace is not stored. Of a lone cim:FILE.cim all that it inherited comes along.
    """
    from wclayer.image.cim_writing import merge_cims

    _report(merge_cims(sources, file, options, watcher), output_format)


@click.command("extract", epilog="Example: wclayer cim extract base.cim 'Files\\Windows\\System32' -o out")
@click.argument("file", metavar="FILE.cim", type=click.Path(path_type=Path))
@click.argument("paths", metavar="[PATH]...", nargs=-1)
@click.option("-o", "--output", required=True, metavar="DEST", help="A folder; FILE.tar, .tar.gz, .tar.zst or - a tar.")
@click.option("--streams", is_flag=True, help="To a folder: alternate streams too, as files named FILE:STREAM.")
@click.option("--force", is_flag=True, help="To a folder: replace files that are there.")
@strict_option
@verbose_option
@quiet_option
@format_option("text", "json")
def extract(
    file: Path,
    paths: tuple[str, ...],
    output: str,
    streams: bool,
    force: bool,
    strict: bool,
    output_format: str,
) -> None:
    """Take an image, or what is at each PATH of it, apart into plain files; or all of it into a layer tar.

    The tar holds everything that the image says, and makes the same image again.
    """
    from wclayer.image.cim_actions import extract_cim, extract_cim_tar

    if output == "-" or output.lower().endswith(_TARS):
        if paths or streams or force:
            raise click.UsageError("a tar holds the whole image: PATH, --streams and --force are for a folder")
        diff_id, notices = extract_cim_tar(file, output, strict=strict)
        tell_notices(notices.counts, notices.listed, "odd, changed or left out")
        made = {"output": output, "diff_id": diff_id, "notices": notices.counts}
        if output_format == "json":
            write_json("wclayer.cim.extract/1", made, err=output == "-")
        else:
            write_line(f"{output}  {diff_id}", err=output == "-")
        return
    result = extract_cim(file, paths, Path(output), streams=streams, force=force)
    tell_notes(f"left out {path}: {reason}" for path, reason in result.left_out)
    if output_format == "json":
        document: dict[str, Any] = {
            "output": output,
            "files": result.files,
            "folders": result.folders,
            "size": result.size,
            "linked": result.linked,
            "left_out": [{"path": path, "reason": reason} for path, reason in result.left_out],
        }
        write_json("wclayer.cim.extract/1", document)
        return
    write_line(f"{len(result.files)} files, {size_text(result.size)}, in {output}")


@click.command("destroy", epilog="Example: wclayer cim destroy layers/cim-layers/1.cim --layer")
@click.argument("file", metavar="FILE.cim", type=_CIM)
@click.option("--layer", is_flag=True, help="The folder of the layer beside it, too.")
@click.option("--force", is_flag=True, help="Even if it has forks, which cannot be read any more then.")
@quiet_option
@format_option("text", "json")
def destroy(file: Path, layer: bool, force: bool, output_format: str) -> None:
    """Remove an image with its own regions; those of its parents stay."""
    from wclayer.image import cim_actions

    removed = cim_actions.destroy(file, folder=layer, force=force)
    if output_format == "json":
        write_json("wclayer.cim.destroy/1", {"path": str(file), "removed": [str(path) for path in removed]})
        return
    for path in removed:
        write_line(f"removed {path}")
