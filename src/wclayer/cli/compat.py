"""``wclayer compat``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, image_argument, quiet_option
from wclayer.cli.output import tell_notes, write_json, write_line, write_lines

if TYPE_CHECKING:
    from wclayer.image.compat import Compatibility, HostAnswer, Isolation, JudgedEntry

__all__ = ["command"]


@click.command(cls=NetworkCommand, epilog="Example: wclayer compat oci:image:latest --host 10.0.20348.2113")
@image_argument(metavar="IMAGE")
@click.option("--host", metavar="H", help="The host's Windows: 10.0.20348.2113, 20348, ltsc2022, windows(20348)/arm64.")
@click.option("--all-hosts", is_flag=True, help="Show a table of all hosts instead.")
@click.option(
    "--isolation",
    type=click.Choice(["process", "hyperv"]),
    default="process",
    show_default=True,
    help="How the container is kept apart from its host.",
)
@network_options
@quiet_option
@format_option("text", "json")
def command(
    image: str, host: str | None, all_hosts: bool, isolation: Isolation, output_format: str, network: NetworkOptions
) -> int:
    """Say whether an image would run on a Windows host, why or why not, and what would run.

    The exit code is 1 when it would not.
    """
    from wclayer.image.compat import compatibility, hosts_of

    if all_hosts == (host is not None):
        raise click.UsageError("give either --host or --all-hosts")
    if host is None:
        _tell_hosts(image, hosts_of(image, network=network.for_image(image)), output_format)
        return 0
    answer = compatibility(image, host, isolation=isolation, network=network.for_image(image))
    tell_notes(answer.notes)
    if output_format == "json":
        write_json("wclayer.compat/1", _document(answer))
    else:
        write_lines(_lines(answer))
    return 0 if answer.runs else 1


def _lines(answer: Compatibility) -> list[str]:
    where = f"{answer.host} with {'Hyper-V' if answer.isolation == 'hyperv' else 'process'} isolation"
    if answer.chosen is not None:
        return [
            f"runs on {where}",
            f"image: {answer.chosen.platform}  {answer.chosen.digest}",
            f"because {answer.chosen.verdict.reason}",
        ]
    lines = [f"does not run on {where}"]
    lines += [f"not {entry.platform}  {entry.digest}: {entry.verdict.reason}" for entry in answer.entries]
    if answer.runs_with_hyperv:
        lines.append("it runs there with --isolation hyperv")
    lines += [f"instead: {one.reference}  {one.platform}  {one.digest}" for one in answer.alternatives]
    return lines


def _document(answer: Compatibility) -> dict[str, object]:
    return {
        "reference": answer.reference,
        "host": str(answer.host),
        "isolation": answer.isolation,
        "runs": answer.runs,
        "chosen": _entry(answer.chosen) if answer.chosen else None,
        "entries": [_entry(entry) for entry in answer.entries],
        "runs_with_hyperv": answer.runs_with_hyperv,
        "alternatives": [
            {"reference": one.reference, "digest": str(one.digest), "platform": one.platform}
            for one in answer.alternatives
        ],
        "notes": list(answer.notes),
    }


def _entry(entry: JudgedEntry) -> dict[str, object]:
    verdict = entry.verdict
    return {
        "digest": str(entry.digest),
        "platform": entry.platform,
        "runs": verdict.runs,
        "cause": verdict.cause,
        "reason": verdict.reason,
    }


def _tell_hosts(image: str, answers: list[HostAnswer], output_format: str) -> None:
    if output_format == "json":
        rows = [{"build": one.build, "name": one.name, "process": one.process, "hyperv": one.hyperv} for one in answers]
        write_json("wclayer.compat.hosts/1", {"reference": image, "hosts": rows})
        return
    rows_of_text = [("build", "host", "process isolation", "Hyper-V isolation")]
    rows_of_text += [(str(one.build), one.name, one.process or "-", one.hyperv or "-") for one in answers]
    widths = [max(len(row[column]) for row in rows_of_text) for column in range(4)]
    for row in rows_of_text:
        write_line("  ".join(f"{text:<{width}}" for text, width in zip(row, widths, strict=True)).rstrip())
