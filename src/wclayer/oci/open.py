"""Opening an image by its reference: one function for every place an image can be in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from wclayer.errors import NotFoundError, UnsupportedError, WclayerError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.dir_transport import MANIFEST_FILE, VERSION_FILE, DirTransport
from wclayer.oci.image import Image, ImageStore
from wclayer.oci.layout import LAYOUT_FILE, Layout
from wclayer.oci.limits import Limits
from wclayer.oci.platforms import PlatformSpec, parse_platform
from wclayer.oci.rawlayer import stdin_image
from wclayer.oci.references import Reference, looks_like_registry, names_registry, parse_reference, split_name
from wclayer.oci.trees import FolderTree

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["OpenStore", "open_image", "open_place"]

_LAYER_FORMS = ("cim:", "transport:", "base:", "plain:")


class OpenStore(ImageStore, Protocol):
    """A place where images are, opened."""

    def roots(self, reference: Reference) -> Sequence[Descriptor]:
        """What ``reference`` names, before one image of several is chosen."""

    def image(self, reference: Reference, wanted: PlatformSpec | None, *, hyperv: bool = False) -> Image:
        """The image that ``reference`` and ``wanted`` pick."""

    def names(self) -> Iterable[str]:
        """Every name that an image goes by here; the tags of a repository."""


def open_image(
    reference: str | Reference,
    platform: str | PlatformSpec | None = None,
    *,
    hyperv: bool = False,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    network: Network | None = None,
) -> Image:
    """Open the image that ``reference`` names (see :mod:`wclayer.oci.references`).

    ``platform`` picks one image of several (see :func:`wclayer.oci.platforms.parse_platform`); without it a lone
    image is taken as it is, and out of several Windows on amd64 with the highest version. ``hyperv`` applies the rule
    of Hyper-V isolation. ``limits`` bound the inflating of a compressed archive. ``network`` says how a registry is
    reached, and where what comes from there is kept; None is the default way.

    Raises UsageError for a reference or a platform that makes no sense, NotFoundError, UnsupportedError for a reference
    to an engine, IntegrityError in its kinds for documents that are damaged, AuthenticationError and NetworkError.
    The image must be closed.
    """
    place = parse_reference(reference) if isinstance(reference, str) else reference
    wanted = parse_platform(platform) if isinstance(platform, str) else platform
    try:
        opened = open_place(place, limits=limits, network=network)
        if isinstance(opened, Image):
            return opened
        store, found = opened
        try:
            return store.image(found, wanted, hyperv=hyperv)
        except BaseException:
            store.close()
            raise
    except WclayerError as error:
        error.locate(image=str(place))
        raise


def open_place(
    place: Reference, *, limits: Limits, network: Network | None = None
) -> tuple[OpenStore, Reference] | Image:
    """Open what ``place`` is in, and say which reference there is meant; a bare layer tar is an image already.

    Raises what :func:`open_image` raises of a place. Whatever is returned must be closed.
    """
    if place.transport == "path":
        return _open_path(place, limits, network)
    path = Path(place.location)
    match place.transport:
        case "oci":
            return Layout(FolderTree(path)), place
        case "dir":
            return DirTransport(FolderTree(path)), place
        case "oci-archive" | "docker-archive":
            from wclayer.oci.open_file import open_archive  # nor does a layout need what reads archives

            return open_archive(place, limits), place
        case "stdin":
            return stdin_image()
        case "registry":
            from wclayer.oci.remote import open_remote  # nothing local needs what talks to registries

            return open_remote(place, network), place
        case _:
            raise UnsupportedError(
                "images in engines are not available",
                hint=f"copy it first: skopeo copy {place.location} oci:DIR:TAG, then use oci:DIR:TAG",
            )


def _open_path(place: Reference, limits: Limits, network: Network | None) -> tuple[OpenStore, Reference] | Image:
    existing = _existing(place.location)
    if existing is None:
        if names_registry(place.location):
            return open_place(Reference("registry", place.location), limits=limits, network=network)
        hint = f"an image of Docker Hub is docker://{place.location}" if looks_like_registry(place.location) else None
        if place.location.startswith(_LAYER_FORMS):
            hint = f"a form of layers, and no image: wclayer convert {place.location} oci:DIR:TAG makes one of it"
        raise NotFoundError(f"no such file or folder: {place.location}", hint=hint)
    path, name = existing
    if path.is_dir():
        if (path / LAYOUT_FILE).exists():
            return open_place(Reference("oci", str(path), name), limits=limits)
        if (path / VERSION_FILE).exists() and (path / MANIFEST_FILE).exists() and not name:
            return open_place(Reference("dir", str(path)), limits=limits)
        raise UnsupportedError(f"the folder {path} is neither an OCI layout nor one of skopeo's dir transport")
    from wclayer.oci.open_file import open_unknown

    return open_unknown(path, name, limits)


def _existing(text: str) -> tuple[Path, str] | None:
    """The path, and the name after it, that exist on disk; None when there is none."""
    for location, name in ((text, ""), split_name(text)):
        path = Path(location)
        try:
            if location and path.exists():
                return path, name
        except (OSError, ValueError):  # a name longer than the file system has, or not encodable
            continue
    return None
