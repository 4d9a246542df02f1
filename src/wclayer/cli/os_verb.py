"""``wclayer os``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import (
    format_option,
    image_argument,
    limits_option,
    platform_option,
    progress_option,
    quiet_option,
)
from wclayer.cli.output import write_json, write_line, write_lines
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.os_report import OsReport

__all__ = ["command"]

FINDING = 1


@click.command("os", cls=NetworkCommand, epilog="Example: wclayer os oci:image:latest --fail-if-older-than 45d")
@image_argument()
@click.option(
    "--fail-if-older-than",
    "oldest",
    metavar="AGE",
    help="Exit code 1 when the newest update is older than AGE (45d, 6w, 12h), or when its age cannot be told.",
)
@platform_option
@limits_option
@network_options
@progress_option
@quiet_option
@format_option("text", "json")
def command(
    image: str,
    oldest: str | None,
    platform: str | None,
    no_limits: bool,
    progress: str,
    output_format: str,
    network: NetworkOptions,
) -> int:
    """Say which Windows an image is: version, updates, installed software.

    Versions and lists come from the registry as a container sees it, all layers taken together, and are held against
    what the configuration says. Exit code 1 when the OS cannot be assessed, so that nobody takes an empty list for a
    clean one.
    """
    from wclayer.image.os_age import parse_duration
    from wclayer.image.os_report import os_report

    limit = parse_duration(oldest) if oldest is not None else None
    limits = None
    if no_limits:
        from wclayer.oci import Limits

        limits = Limits.none()
    watcher = make_progress(progress)
    report = os_report(
        image,
        platform=platform,
        network=network.for_image(image, progress=watcher),
        limits=limits,
        progress=watcher,
    )
    too_old = limit is not None and report.age.exceeds(limit)
    if output_format == "json":
        write_json(
            "wclayer.os/1", {**report.to_json(), "fail_if_older_than": limit, "too_old": too_old if oldest else None}
        )
    else:
        write_lines(_lines(report))
    if limit is not None and too_old:
        write_line(f"older than {oldest}: {_age(report)}", err=True)
    if not report.version.is_assessed:
        write_line("the OS was not assessed", err=True)
    return FINDING if too_old or not report.version.is_assessed else 0


def _lines(report: OsReport) -> Iterator[str]:
    version = report.version
    for label, value in (
        ("product", version.product),
        ("edition", version.edition),
        ("installation type", version.installation_type),
        ("version", version.version),
        ("display version", version.display_version),
        ("release", version.release),
        ("architecture", version.architecture),
        ("os.version of the configuration", version.config_version),
        ("set by layer", version.layer),
    ):
        yield f"{label}: {value if value is not None else 'not known'}"
    for sentence in version.disagreements:
        yield f"DISAGREEMENT: {sentence}"
    for sentence in report.not_assessed:
        yield f"NOT ASSESSED: {sentence}"
    yield f"age: {_age(report)}"
    yield f"updates: {sum(update.is_installed for update in report.updates)} installed"
    for update in report.updates:
        date = (update.installed_text or "-")[:10]
        yield f"  {update.name:<24} {update.state:<20} {date:<10} layer {update.layer}  {update.package}"
    yield f"software: {len(report.software)}"
    for one in report.software:
        about = f"{one.view}, {one.publisher}" if one.publisher else one.view
        yield f"  {one.name} {one.version or '(no version)'}  ({about})  layer {one.layer}"
    for framework in report.dotnet:
        yield f"dotnet: {framework.product} {framework.version}  layer {framework.layer}"
    if report.iis is not None:
        components = ", ".join(report.iis.components) or "no components"
        yield f"iis: {report.iis.version} ({components})  layer {report.iis.layer}"
    for name, layer in report.features:
        yield f"feature: {name}  layer {layer}"


def _age(report: OsReport) -> str:
    age = report.age
    if age.seconds is None:
        return f"not known: {age.basis}"
    return f"{age.seconds // 86_400} days, since {(age.since or '')[:10]}: {age.basis}"
