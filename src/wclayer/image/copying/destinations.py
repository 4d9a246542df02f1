"""Where a copy goes, by its reference.

==================================  ============================================================================
``docker://HOST/NAME[:TAG]``        a registry; also without ``docker://`` when the first part is a host
``oci:DIR[:NAME]``                  an OCI layout folder
``oci-archive:FILE[:NAME]``         the same in a tar
``docker-archive:FILE[:NAME]``      what ``docker save`` writes
``dir:DIR``                         skopeo's plain folder
``store:NAME``                      the content store of this machine
``-``                               an OCI layout in a tar, on standard output; ``docker-archive:-`` the other one
``FILE.tar``                        an OCI layout in a tar
``PATH[:NAME]``                     what is there, else an OCI layout folder
==================================  ============================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wclayer.errors import UnsupportedError, UsageError
from wclayer.image.copying.archive_destinations import DockerArchiveDestination, LayoutArchiveDestination
from wclayer.image.copying.ends import Destination
from wclayer.image.copying.folder_destinations import DirDestination, LayoutDestination
from wclayer.image.copying.sources import STORE_PREFIX
from wclayer.oci.dir_transport import VERSION_FILE
from wclayer.oci.limits import Limits
from wclayer.oci.network import Network
from wclayer.oci.references import Reference, names_registry, parse_reference, split_name

__all__ = ["open_destination", "registry_destination"]


def open_destination(
    text: str,
    *,
    network: Network | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
) -> tuple[Destination, tuple[str, ...]]:
    """The destination that ``text`` names, and the names that an image gets there. Nothing is touched yet.

    ``network`` is the way to registries and to the content store. Raises UsageError for what cannot be written to.
    """
    if text.startswith(STORE_PREFIX):
        from wclayer.image.copying.store_destination import StoreDestination
        from wclayer.oci.registry.names import parse_registry_name

        name = str(parse_registry_name(text.removeprefix(STORE_PREFIX)))
        return StoreDestination(network or Network(), f"{STORE_PREFIX}{name}"), (name,)
    place = _place(text)
    if place.digest is not None or place.number is not None:
        raise UsageError(f"{text}: what is written gets its digest by itself", hint="name it by a tag")
    names = (place.name,) if place.name else ()
    path = Path(place.location)
    match place.transport:
        case "registry":
            return registry_destination(place.location, network or Network())
        case "oci":
            return LayoutDestination(path, str(place)), names
        case "dir":
            return DirDestination(path, str(place)), ()
        case "oci-archive":
            return LayoutArchiveDestination(place.location, str(place)), names
        case "docker-archive":
            return DockerArchiveDestination(place.location, str(place), limits), names
        case _:
            raise UnsupportedError(f"nothing can be copied to {text}", hint="write docker://HOST/NAME:TAG or oci:DIR")


def registry_destination(text: str, network: Network) -> tuple[Destination, tuple[str, ...]]:
    """The same for an image in a registry, with or without ``docker://``; UsageError for a bad name."""
    from wclayer.image.copying.registry_destination import RegistryDestination
    from wclayer.oci.registry.names import parse_registry_name

    name = parse_registry_name(text)
    return RegistryDestination(name, network), (str(name),)


def _place(text: str) -> Reference:
    if text == "-":
        return Reference("oci-archive", "-")
    place = parse_reference(text)
    if place.transport != "path":
        return place
    for location, name in _readings(text):
        path = Path(location)
        if path.is_dir():
            return Reference("dir", location) if (path / VERSION_FILE).exists() else Reference("oci", location, name)
        if path.exists():
            return Reference("oci-archive", location, name)
    if names_registry(text):
        return Reference("registry", text)
    location, name = split_name(text)
    return Reference("oci-archive" if location.endswith(".tar") else "oci", location, name)


def _readings(text: str) -> Sequence[tuple[str, str]]:
    """A path, and a path with a name after it."""
    whole, split = (text, ""), split_name(text)
    return (whole, split) if split[0] else (whole,)
