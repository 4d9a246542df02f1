"""What a user names: an image, an unpacked image, a layer folder or CIM images. All of them open as a view."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import UsageError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerIndex, Node, StreamNode
from wclayer.image.chain import is_layer_folder, open_all, open_chain
from wclayer.image.places import CIM_PREFIX
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.unpacked import UnpackedImage, refuse_unfinished
from wclayer.image.view import Consume, View, ViewLayer
from wclayer.model import LayerChain

if TYPE_CHECKING:
    from wclayer.oci import Image, Limits
    from wclayer.oci.network import Network

__all__ = ["FolderLayer", "cim_path", "layer_place", "open_view"]


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

    @property
    def identity(self) -> str | None:
        """The DiffID of the tar it came from; of another one where it lies."""
        recorded = self.folder.facts.get("diff_id")
        return recorded if isinstance(recorded, str) else str(self.folder.path.resolve())

    def read(self, wanted: Sequence[tuple[Node | StreamNode, Consume]]) -> None:
        """Each from its own file."""
        for node, consume in wanted:
            data = self.folder.open_stream(node) if isinstance(node, StreamNode) else self.folder.open_data(node)
            if data is not None:
                consume(data)

    def close(self) -> None:
        """Close the folder."""
        self.folder.close()


def open_view(
    target: str,
    *,
    platform: str | None = None,
    layer: int | None = None,
    limits: Limits | None = None,
    strict: bool = False,
    data: bool = True,
    processed: bool = True,
    progress: Progress = NO_PROGRESS,
    network: Network | None = None,
) -> View:
    """The merged view of ``target``; ``layer`` shows one layer alone, 0 being the base and -1 the top.

    A layer folder is seen on top of the layers its ``layerchain.json`` names. An image that was not unpacked is read
    once from end to end, which verifies it; of a single layer only that one is, and what its hard links name. Standard
    input can be read once: it is kept in a temporary file, unless ``data`` is false, for then no file is asked for.

    Of CIM images what the import of layers has added is only shown when ``processed``.

    ``limits`` guard the reading of such an image; None means the usual ones. ``network`` is the way to registries; of
    an image there the layers that are looked at come all at once, and each is read while it comes.

    Raises NotFoundError, UsageError for a layer that is not there, and whatever is wrong with the image.
    """
    path = Path(target)
    try:
        if target.startswith(CIM_PREFIX):
            return _cims(target, layer, processed=processed)
        if UnpackedImage.is_one(path):
            return _folders(open_all(UnpackedImage.load(path).layers), target, layer)
        if is_layer_folder(path):
            return _folders(open_chain(path).layers, target, layer)
        refuse_unfinished(path)
        from wclayer.image.spool import spooled_stdin  # what is unpacked needs nothing of registries and archives
        from wclayer.oci import Limits, open_image

        limits = limits or Limits()
        if target == "-" and data:
            image = spooled_stdin()
        else:
            image = open_image(target, platform, limits=limits, network=network)
        try:
            return _scan(image, target, layer, limits, strict=strict, progress=progress)
        except BaseException:
            image.close()
            raise
    except WclayerError as error:
        raise error.locate(image=target) from None


def cim_path(text: str) -> Path:
    """The path in ``cim:PATH``. Raises UsageError when there is none."""
    path = text.removeprefix(CIM_PREFIX)
    if not path:
        raise UsageError(f"{text!r}: a file or folder is expected after {CIM_PREFIX}")
    return Path(path)


def layer_place(layer: int, count: int) -> int:
    """The place of layer number ``layer`` of ``count``, base first; negative numbers count from the top."""
    if not -count <= layer < count:
        raise UsageError(f"there is no layer {layer}", hint=f"layers count from 0, the base, to {count - 1}, the top")
    return layer % count


def _folders(nearest_first: Sequence[LayerFolder], target: str, layer: int | None) -> View:
    layers = [FolderLayer(folder) for folder in nearest_first]
    try:
        first = 0 if layer is None else len(layers) - 1 - layer_place(layer, len(layers))
    except BaseException:
        for one in layers:
            one.close()
        raise
    for one in layers[:first]:
        one.close()
    return View(LayerChain[ViewLayer](layers[first:]), single=layer is not None, reference=target)


def _cims(target: str, layer: int | None, *, processed: bool) -> View:
    """CIM images: the top one alone holds all that the others hold; of a single layer what it changes."""
    from wclayer.image.cim_places import find_cims
    from wclayer.image.cim_view import CimViewLayer

    stack = find_cims(cim_path(target))
    if layer is None:
        wanted: list[tuple[Path, Path | None]] = [(stack.top.cim, None)]
    else:
        place = layer_place(layer, len(stack.layers))
        below = [one.cim for one in stack.layers[:place]][-1:]
        wanted = [(stack.layers[place].cim, below[0] if below else None)]
        wanted += [(cim, None) for cim in below]  # for the files that its hard links name
    opened: list[ViewLayer] = []
    try:
        for cim, parent in wanted:
            opened.append(CimViewLayer(cim, parent=parent, processed=processed))
    except BaseException:
        for one in opened:
            one.close()
        raise
    return View(LayerChain[ViewLayer](opened), single=layer is not None, reference=target)


def _scan(image: Image, target: str, layer: int | None, limits: Limits, *, strict: bool, progress: Progress) -> View:
    from wclayer.image.scanned import ScannedLayer

    blobs = image.layers if layer is None else image.layers[: layer_place(layer, len(image.layers)) + 1]
    layers = [ScannedLayer(blob, limits, strict=strict, progress=progress) for blob in blobs]
    wanted = layers if layer is None else layers[-1:]
    try:
        for one in wanted:
            one.announce()  # all must be there before the first is read
        for one in wanted:
            one.blob.prefetch()
        for one in wanted:
            one.scan()
    except BaseException:
        for one in layers:
            one.close()
        raise
    return View(
        LayerChain[ViewLayer].from_base_first(layers),
        single=layer is not None,
        notes=image.notes,
        reference=target,
        close=image.close,
    )
