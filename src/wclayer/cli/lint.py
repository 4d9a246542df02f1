"""``wclayer lint``."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, limits_option, platform_option, progress_option
from wclayer.cli.output import printable, write_json, write_line
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.lint import LintReport

__all__ = ["command"]

FINDING = 1


@click.command(
    cls=NetworkCommand, epilog="Example: wclayer lint oci:image:latest --fail-on warning --format sarif > lint.sarif"
)
@click.argument("target", metavar="LAYER|IMAGE", required=False)
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note", "never"]),
    default="error",
    show_default=True,
    help="What makes the exit code 1.",
)
@click.option("--ignore", "ignored", multiple=True, metavar="RULE", help="Leave a rule out; repeat for more.")
@click.option(
    "--parent",
    "parents",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A layer folder below a lone layer; repeat for more, nearest first.",
)
@click.option(
    "--as",
    "role",
    type=click.Choice(["auto", "base", "upper"]),
    default="auto",
    show_default=True,
    help="What a lone layer is; auto: a base if it holds hives of one and deletes nothing.",
)
@click.option("--list-rules", is_flag=True, help="Print all rules instead.")
@platform_option
@limits_option
@network_options
@progress_option
@format_option("text", "json", "sarif")
def command(
    target: str | None,
    fail_on: Literal["error", "warning", "note", "never"],
    ignored: tuple[str, ...],
    parents: tuple[Path, ...],
    role: Literal["auto", "base", "upper"],
    list_rules: bool,
    platform: str | None,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> int:
    """Find what Windows would refuse in a layer or an image, or import otherwise than was meant.

    An error fails the import, now or when the next layer is imported; a warning is imported otherwise, or fails on some
    versions; a note is worth knowing. Exit code 1 when something is at least as grave as --fail-on.
    """
    from wclayer.image.lint import json_document, lint, sarif_document
    from wclayer.oci import Limits

    if list_rules:
        _list_rules(output_format)
        return 0
    if target is None:
        raise click.UsageError("Missing argument 'LAYER|IMAGE'.")
    watcher = make_progress(progress)
    report = lint(
        target,
        platform=platform,
        parents=parents,
        role=role,
        ignored=ignored,
        limits=Limits.none() if no_limits else Limits(),
        progress=watcher,
        network=network.for_image(target, progress=watcher),
    )
    if output_format == "json":
        write_json("wclayer.lint/1", json_document(report))
    elif output_format == "sarif":
        click.echo(json.dumps(sarif_document(report), indent=2))
    else:
        _print(report)
    return FINDING if fail_on != "never" and report.findings.total(fail_on) else 0


def _print(report: LintReport) -> None:
    listed = report.findings.listed
    for one in listed:
        where = "image" if one.layer is None else f"layer {one.layer}"
        path = f" {one.path}" if one.path else ""
        write_line(f"{one.severity:<7} {one.rule}: {where}{printable(path)}: {one.evidence}")
        write_line(f"        {one.fix}")
    shown: dict[tuple[str | None, str], int] = {}
    for one in listed:
        shown[one.layer, one.rule] = shown.get((one.layer, one.rule), 0) + 1
    for key, count in report.findings.counts.items():
        if count > shown.get(key, 0):
            write_line(f"        and {count - shown.get(key, 0)} more of {key[1]} in {key[0] or 'the image'}")
    errors = report.findings.total("error")
    warnings = report.findings.total("warning") - errors
    notes = report.findings.total() - errors - warnings
    write_line(f"{len(report.layers)} layers: {errors} errors, {warnings} warnings, {notes} notes")


def _list_rules(output_format: str) -> None:
    from wclayer.image.lint import RULES

    if output_format != "text":
        write_json("wclayer.lint-rules/1", {"rules": [asdict(rule) for rule in RULES.values()]})
        return
    for rule in RULES.values():
        write_line(f"{rule.severity:<7} {rule.id}: {rule.why}")
        write_line(f"        {rule.fix}")
