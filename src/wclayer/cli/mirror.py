"""``wclayer mirror``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from wclayer.cli.copy_options import (
    all_platforms_option,
    copy_document,
    dry_run_option,
    foreign_option,
    platforms_option,
    preserve_digests_option,
    require_one,
    resumable,
)
from wclayer.cli.network_options import NetworkCommand, NetworkOptions, copy_network_options
from wclayer.cli.options import format_option, limits_option, progress_option, quiet_option
from wclayer.cli.output import size_text, tell, tell_notes, write_json, write_line
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.copying.mirroring import MirroredImage

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer mirror images.txt --to docker://registry.example/mirror")
@click.argument("file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--to", metavar="PREFIX", help="Where images without a destination go: docker://HOST/PATH or oci:DIR.")
@platforms_option
@all_platforms_option
@foreign_option
@preserve_digests_option
@dry_run_option
@limits_option
@copy_network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    file: Path,
    to: str | None,
    platforms: tuple[str, ...],
    all_platforms: bool,
    foreign: Literal["keep", "fetch", "rewrite", "strip"],
    preserve_digests: bool,
    dry_run: bool,
    no_limits: bool,
    progress: str,
    output_format: str,
    source_network: NetworkOptions,
    destination_network: NetworkOptions,
) -> int:
    """Keep copies of the images that FILE lists.

    FILE has lines SRC [DST], or is TOML, where more can be said. What is there is skipped, and a failure stops only its
    own image; the exit code is that of the first one.
    """
    from wclayer.image.copying import CopyOptions
    from wclayer.image.copying.mirror_list import read_mirror_list
    from wclayer.image.copying.mirroring import mirror
    from wclayer.oci import Limits

    require_one(platforms, all_platforms)
    options = CopyOptions(
        platforms,
        all_platforms,
        foreign,
        preserve_digests=preserve_digests,
        dry_run=dry_run,
        limits=Limits.none() if no_limits else Limits(),
    )

    def told(image: MirroredImage) -> None:
        if image.error is not None:
            tell(str(image.error))
        if image.result is not None:
            tell_notes(image.result.notes)
        if output_format == "text":
            write_line(_line(image))

    with resumable():
        report = mirror(
            read_mirror_list(file),
            options,
            to=to,
            source_network=source_network.network(),
            destination_network=destination_network.network(),
            progress=make_progress(progress),
            told=told,
        )
    counts = {word: sum(image.status == word for image in report.images) for word in _WORDS}
    if output_format == "json":
        write_json("wclayer.mirror/1", {**counts, "images": [_document(image) for image in report.images]})
    else:
        write_line(", ".join(f"{count} {word}" for word, count in counts.items() if count) or "nothing to do")
    return report.exit_code


_WORDS = ("copied", "present", "planned", "failed")


def _line(image: MirroredImage) -> str:
    result = image.result
    if result is None:
        return f"failed               -  {image.source} -> {image.destination or '?'}"
    return f"{result.status:<8} {size_text(result.moved):>12}  {image.source} -> {image.destination}@{result.digest}"


def _document(image: MirroredImage) -> dict[str, Any]:
    error = image.error
    return {
        "source": image.source,
        "destination": image.destination,
        "status": image.status,
        "error": None if error is None else {"message": str(error), "exit_code": error.exit_code},
        "result": None if image.result is None else copy_document(image.result),
    }
