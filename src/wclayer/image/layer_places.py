"""Where a layer is, or is to be: every form a layer has on this machine, told by a prefix or by a look.

======================  ===============================================================================
``oci:DIR[:TAG]``       an image in an OCI layout, and the other transports of image references
``transport:DIR``       the transport folder of ImportLayer and ExportLayer
``base:DIR``            the folder of a base layer
``plain:DIR``           ordinary files and one text file with everything else
``layer:DIR``           a layer folder of wclayer, also when nothing tells it from another folder yet
``cim:FILE``            a CIM image; ``cim:DIR`` the images of all layers, see :mod:`wclayer.image.cim_places`
``FILE``, ``-``         a layer tar; to be written, if the name ends like one (``.tar``, ``.tar.gz``, ``.tgz``, …)
``DIR``                 looked at; to be written, a layer folder
======================  ===============================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from wclayer.errors import NotFoundError, UsageError
from wclayer.formats.folder import LayerFolder, LayerFolderReader
from wclayer.formats.folder.shared_memory import SharedMemory
from wclayer.formats.plain.names import METADATA
from wclayer.formats.tar import Policy, TarLayerReader
from wclayer.formats.transport import TransportFolderReader
from wclayer.image.chain import is_layer_folder
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import LayerItem, Notices
from wclayer.oci import Limits, open_image
from wclayer.oci.network import Network

__all__ = ["Place", "PlaceKind", "existing_folder", "lone_cim", "open_items", "parse_place"]

PlaceKind: TypeAlias = Literal["image", "unpacked", "layer", "transport", "base", "plain", "tar", "cim"]

_PREFIXES: dict[str, PlaceKind] = {
    "transport": "transport",
    "base": "base",
    "plain": "plain",
    "layer": "layer",
    "cim": "cim",
}
_IMAGES = ("oci", "oci-archive", "docker-archive", "dir", "docker")
_TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.zstd", ".tzst")


@dataclass(frozen=True, slots=True)
class Place:
    """A place. ``path`` is the folder or file; ``text`` what the user wrote, which for an image says more."""

    kind: PlaceKind
    path: Path
    text: str

    def __str__(self) -> str:
        return self.text


def parse_place(text: str, *, writing: bool = False) -> Place:
    """The place that ``text`` names. Raises UsageError when it names none."""
    prefix, colon, rest = text.partition(":")
    if colon and prefix in _PREFIXES:
        if not rest:
            what = "file or folder" if prefix == "cim" else "folder"
            raise UsageError(f"{text!r}: a {what} is expected after {prefix}:")
        return Place(_PREFIXES[prefix], Path(rest), text)
    if not text:
        raise UsageError("an empty text names no layer")
    path = Path(text)
    if colon and prefix in _IMAGES:
        return Place("image", path, text)
    if text == "-" or (writing and text.lower().endswith(_TAR_ENDINGS)):
        return Place("tar", path, text)
    if writing:
        return Place("layer", path, text)
    return Place(_sniffed(path), path, text)


def _sniffed(path: Path) -> PlaceKind:
    if UnpackedImage.is_one(path):
        return "unpacked"
    if is_layer_folder(path):
        return "layer"
    if (path / METADATA).is_file():
        return "plain"
    if (path / "Files").is_dir():
        # Every folder of a transport folder, Files itself among them, may have its description beside it.
        is_transport = (path / "tombstones.txt").exists() or (path / "Files.$wcidirs$").exists()
        return "transport" if is_transport else "base"
    return "image"


@contextmanager
def open_items(
    place: Place,
    *,
    platform: str | None = None,
    policy: Policy = "faithful",
    notices: Notices | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
    network: Network | None = None,
    memory: SharedMemory | None = None,
) -> Iterator[Iterable[LayerItem]]:
    """The items of the one layer at ``place``; at the end of the block all its digests have been verified.

    Of a tar that is inflated into ``memory`` the items say where in it their data lies. Raises UsageError for an image
    of several layers.
    """
    notices = Notices() if notices is None else notices
    if place.kind == "layer":
        with LayerFolder(place.path) as folder:
            yield LayerFolderReader(folder)
    elif place.kind == "transport":
        yield TransportFolderReader(existing_folder(place), policy=policy, lenient=True, notices=notices)
    elif place.kind == "base":
        from wclayer.formats.base import BaseFolderReader

        yield BaseFolderReader(existing_folder(place), policy=policy, notices=notices)
    elif place.kind == "plain":
        from wclayer.formats.plain import PlainFolderReader

        yield PlainFolderReader(existing_folder(place), notices=notices)
    elif place.kind == "cim":
        from wclayer.formats.cim import CimLayerReader

        yield CimLayerReader(lone_cim(place))
    elif place.kind == "unpacked":
        layers = UnpackedImage.load(place.path).layers
        if len(layers) != 1:
            raise UsageError(f"{place} is an image of {len(layers)} layers", hint=f"name one of them: {layers[0]}")
        with LayerFolder(layers[0]) as folder:
            yield LayerFolderReader(folder)
    else:
        with open_image(place.text, platform, limits=limits, network=network) as image:
            if len(image.layers) != 1:
                raise UsageError(
                    f"{place} is an image of {len(image.layers)} layers", hint="unpack it, and name one of its layers"
                )
            with image.layers[0].stream(limits=limits, digests=False, keeper=memory) as stream:
                progress.begin(place.text)
                lies = None if memory is None else memory.place
                try:
                    slabs = watched(stream, progress, place.text)
                    yield TarLayerReader(slabs, policy=policy, notices=notices, place=lies)
                    for _ in stream:
                        pass
                    stream.finish()
                finally:
                    progress.end(place.text)


def lone_cim(place: Place) -> Path:
    """The one image that a place of kind ``cim`` is. Raises UsageError for a folder of several, NotFoundError."""
    from wclayer.image.cim_places import find_cims, is_cim_file

    if is_cim_file(place.path):
        return place.path
    layers = find_cims(place.path).layers
    if len(layers) != 1:
        raise UsageError(f"{place} is an image of {len(layers)} layers", hint=f"name one of them: cim:{layers[0].cim}")
    return layers[0].cim


def existing_folder(place: Place) -> Path:
    """The folder of a place that is no layer folder. Raises NotFoundError, and UsageError for a layer folder."""
    path = place.path
    if not path.is_dir():
        raise NotFoundError(f"there is no folder {path}")
    if is_layer_folder(path):
        # Read as something else it would lose its deletions, and whatever lies in its database.
        raise UsageError(f"{path} is a layer folder of wclayer", hint=f"name it layer:{path}")
    return path
