"""What two things to be compared may be: whatever opens as a view, other forms of a layer, and folders of plain files.

Of a folder of ordinary files nothing is known but names and data, so nothing else is compared then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from wclayer.formats.base import BaseFolderReader
from wclayer.formats.plain import PlainFolderReader
from wclayer.formats.transport import TransportFolderReader
from wclayer.formats.volume.layer import LAYER_MANIFEST
from wclayer.image.host_tree import is_layer_tree, read_host_tree
from wclayer.image.item_layer import ItemLayer
from wclayer.image.layer_places import Place, existing_folder, parse_place
from wclayer.image.paths import VOLUME
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.target import layer_place, open_view
from wclayer.image.view import View, ViewLayer
from wclayer.model import LayerChain, LayerItem, Notices
from wclayer.oci import Limits
from wclayer.oci.network import Network

__all__ = ["Side", "is_host_tree", "open_side"]

_IMAGE_FILES = ("index.json", "oci-layout", "manifest.json", "version")


@dataclass(frozen=True, slots=True)
class Side:
    """One of two things that are compared: its ``view``, and whether more than names and data are known of it.

    ``scope`` is the layer path of all it can hold: drive C, for a folder that is no more than that.
    """

    name: str
    view: View
    notices: Notices
    has_metadata: bool = True
    scope: str = ""


def open_side(
    text: str,
    *,
    layer: int | None = None,
    platform: str | None = None,
    limits: Limits | None = None,
    progress: Progress = NO_PROGRESS,
    network: Network | None = None,
) -> Side:
    """Open ``text``, any place of a layer or image, or a folder of ordinary files; the caller closes the view.

    ``layer`` is one layer alone of several, 0 being the base. Raises NotFoundError, UsageError, and what reading does.
    """
    place = parse_place(text)
    if is_host_tree(place):
        scope = "" if is_layer_tree(place.path) else VOLUME
        side = _of_items(place, layer, lambda notices: read_host_tree(place.path, notices, top=scope))
        return replace(side, has_metadata=False, scope=scope)
    if place.kind == "transport":
        folder = existing_folder(place)
        return _of_items(place, layer, lambda notices: TransportFolderReader(folder, lenient=True, notices=notices))
    if place.kind == "base":
        folder = existing_folder(place)
        return _of_items(place, layer, lambda notices: BaseFolderReader(folder, notices=notices))
    if place.kind == "plain":
        folder = existing_folder(place)
        return _of_items(place, layer, lambda notices: PlainFolderReader(folder, notices=notices))
    target = str(place.path) if place.kind == "layer" else text
    view = open_view(
        target,
        platform=platform,
        layer=layer,
        limits=limits,
        processed=False,
        progress=progress,
        network=network,
    )
    return Side(text, view, Notices())


def is_host_tree(place: Place) -> bool:
    """Whether it is a folder of ordinary files: a path without a prefix at which nothing else lies."""
    path = place.path
    if place.kind not in ("image", "base") or str(path) != str(Path(place.text)) or not path.is_dir():
        return False
    others = (LAYER_MANIFEST,) if place.kind == "base" else _IMAGE_FILES
    return not any((path / name).is_file() for name in others)


def _of_items(place: Place, layer: int | None, read: Callable[[Notices], Iterable[LayerItem]]) -> Side:
    if layer is not None:
        layer_place(layer, 1)
    notices = Notices()
    first = [True]

    def items() -> Iterable[LayerItem]:
        told = notices if first[0] else Notices()  # a second pass finds the same things odd
        first[0] = False
        return read(told)

    view = View(
        LayerChain[ViewLayer]([ItemLayer(place.path.name or place.text, items)]),
        single=layer is not None,
        reference=place.text,
    )
    return Side(place.text, view, notices)
