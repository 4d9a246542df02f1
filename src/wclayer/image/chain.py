"""Which layers a layer stands on, as ``layerchain.json`` tells it, also after the folders were moved together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from wclayer.errors import FormatError, NotFoundError, StoreError
from wclayer.formats.folder import LayerFolder
from wclayer.model import LayerChain

__all__ = ["find_parents", "is_layer_folder", "open_all", "open_chain", "with_ancestors"]


def is_layer_folder(path: Path) -> bool:
    """Whether ``path`` is a layer folder of ours."""
    return (path / "layer.db").is_file()


def open_all(paths: Iterable[Path]) -> tuple[LayerFolder, ...]:
    """The layer folders at ``paths``, all of them open or none."""
    opened: list[LayerFolder] = []
    try:
        for path in paths:
            opened.append(LayerFolder(path))  # noqa: PERF401 - closed when a later one fails
    except BaseException:
        for layer in opened:
            layer.close()
        raise
    return tuple(opened)


def open_chain(folder: Path) -> LayerChain[LayerFolder]:
    """The layer in ``folder`` and all it stands on, open; the caller closes them.

    The file names absolute paths, as Docker's does. A parent that is not there any more is looked for beside the layer,
    which is where it is after both were moved. Raises NotFoundError for one that is nowhere, StoreError for another
    layer in its place, FormatError for a layer that stands on itself.
    """
    opened = [LayerFolder(folder)]
    try:
        top = opened[0]
        paths = top.parent_paths
        identities = _recorded(top, len(paths))
        for path, identity in zip(paths, identities, strict=True):
            parent = _open_parent(top, path, identity)
            opened.append(parent)
    except BaseException:
        for layer in opened:
            layer.close()
        raise
    return LayerChain(opened)


def find_parents(folder: Path) -> tuple[Path, ...]:
    """The parents of the layer in ``folder``, nearest first; raises as :func:`open_chain` does."""
    layers = open_chain(folder).layers
    for layer in layers:
        layer.close()
    return tuple(layer.path for layer in layers[1:])


def with_ancestors(parents: Sequence[Path]) -> tuple[Path, ...]:
    """``parents``, nearest first, and whatever the last of them stands on in its turn."""
    chain = [parent.absolute() for parent in parents]
    if chain:
        chain += [path for path in find_parents(chain[-1]) if path not in chain]
    return tuple(chain)


def _open_parent(child: LayerFolder, path: Path, identity: str | None) -> LayerFolder:
    other: Path | None = None
    for place in dict.fromkeys((path, child.path.parent / path.name)):
        if not is_layer_folder(place):
            continue
        if place.samefile(child.path):
            raise FormatError("the layer is listed among its own parents", kind="layer-chain", layer=str(child.path))
        parent = LayerFolder(place)
        if identity is None or identity == _identity(parent):
            return parent
        parent.close()
        other = other or place
    hint = "put it back, or unpack again"
    if other is not None:
        message = f"{other} is another layer than the parent that was there when this layer was made"
        raise StoreError(message, layer=str(child.path), hint=hint)
    raise NotFoundError(f"the parent layer {path} is not there", layer=str(child.path), hint=hint)


def _recorded(layer: LayerFolder, count: int) -> list[str | None]:
    """What is recorded of the identities of ``count`` parents; None where nothing is."""
    recorded = layer.facts.get("parents")
    if not isinstance(recorded, list) or len(recorded) != count:
        return [None] * count
    identities = [one.get("id") if isinstance(one, dict) else None for one in recorded]
    return [one if isinstance(one, str) else None for one in identities]


def _identity(layer: LayerFolder) -> object:
    """As :func:`wclayer.formats.folder.folder.parents_fact` records it."""
    facts = layer.facts
    return facts.get("chain_id") or facts.get("diff_id")
