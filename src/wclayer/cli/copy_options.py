"""What the verbs that copy images have in common: options, what they tell, and what an interruption leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wclayer.cli.output import size_text, tell, tell_notes, tell_notices, write_json, write_line

if TYPE_CHECKING:
    from wclayer.image.copying import CopyResult

__all__ = [
    "all_platforms_option",
    "copy_document",
    "digest_file_option",
    "dry_run_option",
    "foreign_option",
    "platforms_option",
    "preserve_digests_option",
    "require_one",
    "resumable",
    "tell_copy",
]

F = TypeVar("F", bound=Callable[..., Any])


def platforms_option(function: F) -> F:
    """``--platform``, repeatable."""
    return click.option(
        "--platform",
        "platforms",
        multiple=True,
        metavar="P",
        help="Which image of several; repeat it for an index of some.  [default: windows/amd64, the newest]",
    )(function)


def all_platforms_option(function: F) -> F:
    """``--all-platforms``."""
    return click.option("--all-platforms", is_flag=True, help="The whole index, as it is.")(function)


def foreign_option(function: F) -> F:
    """``--foreign``."""
    return click.option(
        "--foreign",
        type=click.Choice(["keep", "fetch", "rewrite", "strip"]),
        default="fetch",
        show_default=True,
        help="Foreign layers: leave their bytes out; copy them too; or make ordinary layers of them, whose annotations"
        " remember the addresses or not.",
    )(function)


def preserve_digests_option(function: F) -> F:
    """``--preserve-digests``."""
    return click.option(
        "--preserve-digests", is_flag=True, help="Copy nothing that would get another digest: exit code 7."
    )(function)


def digest_file_option(function: F) -> F:
    """``--digest-file``."""
    return click.option(
        "--digest-file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="Write the digest of the manifest at the destination to FILE.",
    )(function)


def dry_run_option(function: F) -> F:
    """``--dry-run``."""
    return click.option("--dry-run", is_flag=True, help="Say what would be copied, and write nothing.")(function)


def require_one(platforms: tuple[str, ...], all_platforms: bool) -> None:
    """A usage error when both were given."""
    if platforms and all_platforms:
        raise click.UsageError("--platform and --all-platforms exclude each other")


@contextmanager
def resumable() -> Iterator[None]:
    """Say, when a person interrupts, that the work is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        tell("what has arrived at a folder, a store or a registry stays there: the same command goes on from there")
        raise


def tell_copy(result: CopyResult, output_format: str, digest_file: Path | None, *, is_data: bool = False) -> None:
    """Print what was copied; to standard error when the copy itself went to standard output."""
    tell_notes(result.notes)
    tell_notices(result.notices, [], "odd, changed or left out")
    if digest_file is not None and result.status != "planned":
        digest_file.write_text(f"{result.digest}\n", "ascii")
    if output_format == "json":
        write_json("wclayer.copy/1", copy_document(result), err=is_data)
        return
    if result.status == "planned":
        for blob in result.blobs:
            write_line(f"{blob.outcome:<8} {size_text(blob.size):>10}  {blob.digest}", err=is_data)
    else:
        write_line(_summary(result), err=is_data)
    write_line(f"{_bare(result.destination)}@{result.digest}", err=is_data)


def copy_document(result: CopyResult) -> dict[str, Any]:
    """The result for JSON."""
    return {
        "source": result.source,
        "destination": result.destination,
        "status": result.status,
        "digest": str(result.digest),
        "media_type": result.media_type,
        "images": result.images,
        "blobs": [
            {
                "digest": str(blob.digest),
                "size": blob.size,
                "media_type": blob.media_type,
                "outcome": blob.outcome,
            }
            for blob in result.blobs
        ],
        "copied_bytes": result.moved,
        "changed": {str(old): str(new) for old, new in result.changed.items()},
        "notes": list(result.notes),
        "notices": dict(result.notices),
    }


def _summary(result: CopyResult) -> str:
    counts: dict[str, int] = {}
    for blob in result.blobs:
        counts[blob.outcome] = counts.get(blob.outcome, 0) + 1
    said = [f"{counts['copied']} copied ({size_text(result.moved)})"] if "copied" in counts else []
    said += [f"{counts[word]} {text}" for word, text in _SAID if word in counts]
    images = f"{result.images} images, " if result.images > 1 else ""
    return f"{images}{len(result.blobs)} blobs: {', '.join(said) or 'none'}"


_SAID = (("mounted", "mounted"), ("present", "there already"), ("left", "left where they are"))


def _bare(reference: str) -> str:
    return reference.removeprefix("docker://").removeprefix("store:")
