"""What a user names: an image, an unpacked image, or a layer folder. All of them open as a view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wclayer.errors import UsageError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerIndex, Node, StreamNode
from wclayer.image.chain import open_chain
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.scanned import ScannedLayer
from wclayer.image.unpacked import UnpackedImage
from wclayer.image.view import Consume, View, ViewLayer
from wclayer.model import LayerChain
from wclayer.oci import Limits, open_image

__all__ = ["FolderLayer", "is_layer_folder", "open_view"]


class FolderLayer:
    """A layer folder as a layer of a view."""

    def __init__(self, folder: LayerFolder) -> None:
        self.folder = folder

    @property
    def index(self) -> LayerIndex:
        """What is in the layer."""
        return self.folder

    @property
    def label(self) -> str:
        """The name of the folder."""
        return self.folder.path.name

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """Each from its own file."""
        for node, consume in wanted:
            data = self.folder.open_stream(node) if isinstance(node, StreamNode) else self.folder.open_data(node)
            if data is not None:
                consume(data)

    def close(self) -> None:
        """Close the folder."""
        self.folder.close()


def is_layer_folder(path: Path) -> bool:
    """Whether ``path`` is a layer folder of ours."""
    return (path / "layer.db").is_file()


def open_view(
    target: str,
    *,
    platform: str | None = None,
    layer: int | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    strict: bool = False,
    progress: Progress = NO_PROGRESS,
) -> View:
    """The merged view of ``target``; ``layer`` limits it to one layer, 0 being the base and -1 the top.

    A layer folder is seen on top of the layers its ``layerchain.json`` names. An image that was not unpacked is read
    once from end to end, which verifies it. Raises NotFoundError, UsageError for a layer that is not there.
    """
    path = Path(target)
    notes: tuple[str, ...] = ()
    if UnpackedImage.is_one(path):
        layers: LayerChain[ViewLayer] = LayerChain(FolderLayer(LayerFolder(one)) for one in UnpackedImage.load(path).layers)
    elif is_layer_folder(path):
        layers = LayerChain(FolderLayer(folder) for folder in open_chain(path))
    else:
        layers, notes = _scan(target, platform, layer, limits, strict=strict, progress=progress)
        layer = None
    if layer is not None:
        layers = _only(layers, layer)
    return View(layers, notes=notes)


def _scan(
    target: str, platform: str | None, layer: int | None, limits: Limits, *, strict: bool, progress: Progress
) -> tuple[LayerChain[ViewLayer], tuple[str, ...]]:
    scanned: list[ScannedLayer] = []
    image = open_image(target, platform, limits=limits)
    try:
        blobs = image.layers if layer is None else (image.layers[_place(layer, len(image.layers))],)
        for blob in blobs:
            scanned.append(ScannedLayer(blob, limits, strict=strict, progress=progress))
    except BaseException as error:
        for one in scanned:
            one.close()
        image.close()
        if isinstance(error, WclayerError):
            error.locate(image=target)
        raise
    return LayerChain[ViewLayer].from_base_first(scanned), image.notes


def _only(layers: LayerChain[ViewLayer], layer: int) -> LayerChain[ViewLayer]:
    base_first = layers.base_first()
    place = _place(layer, len(base_first))
    for other, one in enumerate(base_first):
        if other != place:
            one.close()
    return LayerChain((base_first[place],))


def _place(layer: int, count: int) -> int:
    if not -count <= layer < count:
        raise UsageError(f"there is no layer {layer}", hint=f"layers count from 0, the base, to {count - 1}")
    return layer % count

