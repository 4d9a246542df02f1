"""Opening the registry that the verbs ``reg`` and ``env`` are about, and the options they share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click

from wclayer.cli.network_options import NetworkOptions, network_options
from wclayer.cli.options import layer_option, limits_option, platform_option, progress_option, quiet_option
from wclayer.cli.output import tell, tell_notes, write_json, write_line
from wclayer.cli.progress import make_progress

if TYPE_CHECKING:
    from wclayer.image.registry import ImageRegistry
    from wclayer.image.registry.changing import RegSections

__all__ = ["apply_and_tell", "opened_registry", "output_option", "registry_options"]

F = TypeVar("F", bound=Callable[..., Any])

_EXPERIMENTAL = "experimental: layers with delta hives made by wclayer were not tried on Windows yet"


def registry_options(*, layer: bool = True) -> Callable[[Callable[..., Any]], Any]:
    """The options of opening a registry; the function gets them as :func:`opened_registry` takes them."""

    def decorate(function: Callable[..., Any]) -> Any:
        function = quiet_option(function)
        function = progress_option(function)
        function = network_options(function)
        function = limits_option(function)
        function = platform_option(function)
        return layer_option(function) if layer else function

    return decorate


def output_option(function: F) -> F:
    """``--output`` of what makes a layer."""
    return click.option(
        "-o",
        "--output",
        metavar="DEST",
        required=True,
        help="oci:DIR:TAG for the image with the layer on top, FILE.tar[.gz] or a layer folder for the layer alone.",
    )(function)


@contextmanager
def opened_registry(
    image: str,
    *,
    platform: str | None,
    no_limits: bool,
    progress: str,
    network: NetworkOptions,
    layer: int | None = None,
) -> Iterator[ImageRegistry]:
    """The registry that the options ask for; what is to be noted about it is told at the end."""
    from wclayer.image.registry import ImageRegistry

    watcher = make_progress(progress)
    with ImageRegistry.open(
        image,
        platform=platform,
        layer=layer,
        limits=_limits(no_limits=no_limits),
        network=network.for_image(image, progress=watcher),
        progress=watcher,
    ) as registry:
        try:
            yield registry
        finally:
            tell_notes(dict.fromkeys(registry.notes))


def apply_and_tell(
    registry: ImageRegistry,
    sections: RegSections,
    output: str,
    *,
    created_by: str,
    options: Mapping[str, Any],
    output_format: str,
    schema: str,
    facts: Mapping[str, Any] | None = None,
) -> None:
    """Write the layer that makes the change, and say what was written. ``options`` are those of the registry."""
    from wclayer.image.registry.applying import apply_sections
    from wclayer.oci import Limits

    tell(_EXPERIMENTAL)
    network: NetworkOptions = options["network"]
    done = apply_sections(
        registry,
        sections,
        output,
        created_by=created_by,
        platform=options["platform"],
        limits=_limits(no_limits=options["no_limits"]) or Limits(),
        network=network.for_image(registry.reference),
    )
    tell_notes(done.notes)
    if output_format == "json":
        document = {
            "destination": done.destination,
            "hives": list(done.hives),
            "diff_id": None if done.diff_id is None else str(done.diff_id),
            "digest": None if done.digest is None else str(done.digest),
            **(facts or {}),
        }
        write_json(schema, document, err=output == "-")
        return
    changed = ", ".join(done.hives) or "nothing, all of it was so already"
    write_line(f"{done.destination}: changes {changed}", err=output == "-")
    if done.diff_id is not None:
        write_line(f"DiffID  {done.diff_id}", err=output == "-")
    if done.digest is not None:
        write_line(f"digest  {done.digest}", err=output == "-")


def _limits(*, no_limits: bool) -> Any:
    if not no_limits:
        return None
    from wclayer.oci import Limits

    return Limits.none()
