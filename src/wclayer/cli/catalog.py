"""``wclayer catalog``: the bases that ``wclayer base`` knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from wclayer.cli.network_options import NetworkCommand, NetworkOptions, network_options
from wclayer.cli.options import format_option, quiet_option
from wclayer.cli.output import write_json, write_line

__all__ = ["catalog_option", "command"]

F = TypeVar("F", bound=Callable[..., Any])


def catalog_option(function: F) -> F:
    """``--catalog``."""
    return click.option(
        "--catalog",
        "catalog_file",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="FILE",
        help="The catalogue.  [default: $WCLAYER_CATALOG, else wclayer/catalog.json in the data folder]",
    )(function)


@click.group("catalog", epilog="Example: wclayer catalog update --from oci:bases:ltsc2022")
def command() -> None:
    """The catalogue of base images: which chains of DiffIDs they are."""


@command.command("update", cls=NetworkCommand, epilog="Example: wclayer catalog update --from oci:bases:ltsc2022")
@click.argument("references", metavar="[REF]...", nargs=-1)
@click.option(
    "--from", "local", metavar="IMAGE", multiple=True, help="Also take this image: oci:DIR, an archive; repeatable."
)
@catalog_option
@network_options
@quiet_option
@format_option("text", "json")
def update_command(
    references: tuple[str, ...],
    local: tuple[str, ...],
    catalog_file: Path | None,
    output_format: str,
    network: NetworkOptions,
) -> None:
    """Add base images to the catalogue: of each REF all Windows images, with the versions they have now.

    Without any, the references that the catalogue has are asked again. Only manifests and configurations are fetched.
    What is there stays, for images still stand on older versions.
    """
    from wclayer.errors import NotFoundError
    from wclayer.image.base_images import Catalog, default_catalog_file, known_bases

    path = catalog_file or default_catalog_file()
    try:
        catalog = Catalog.load(path)
    except NotFoundError:
        if not references and not local:
            raise
        catalog = Catalog()
    asked = [*references, *local] or catalog.names
    found = [base for one in asked for base in known_bases(one, network=network.for_image(one))]
    added = catalog.add(found)
    catalog.save(path)
    if output_format == "json":
        document = {"catalog": str(path), "asked": asked, "found": len(found), "added": added}
        write_json("wclayer.catalog.update/1", {**document, "images": len(catalog.bases)})
        return
    write_line(f"{path}: {added} added, {len(catalog.bases)} images")


@command.command("ls", epilog="Example: wclayer catalog ls --format json")
@catalog_option
@format_option("text", "json")
def list_command(catalog_file: Path | None, output_format: str) -> None:
    """List the catalogue: name, os.version, architecture, DiffID of the topmost layer, number of layers."""
    from wclayer.image.base_images import Catalog, default_catalog_file

    path = catalog_file or default_catalog_file()
    catalog = Catalog.load(path)
    if output_format == "json":
        write_json("wclayer.catalog.ls/1", {"catalog": str(path), "images": [one.to_json() for one in catalog.bases]})
        return
    for one in catalog.bases:
        write_line(
            f"{one.name}  {one.os_version or '-'}  {one.architecture}  {one.diff_ids[-1]}  {len(one.diff_ids)} layers"
        )
