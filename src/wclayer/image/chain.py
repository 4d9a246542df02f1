"""Which layers a layer stands on, as ``layerchain.json`` tells it, also after the folders were moved together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wclayer.errors import NotFoundError
from wclayer.formats.folder import LayerFolder, read_layer_chain
from wclayer.model import LayerChain

__all__ = ["find_parents", "open_chain", "with_ancestors"]


def find_parents(folder: Path) -> tuple[Path, ...]:
    """The parents of the layer in ``folder``, nearest first.

    The file names absolute paths, as Docker's does. A parent that is not there any more is looked for beside the layer,
    which is where it is after both were moved. Raises NotFoundError for one that is nowhere.
    """
    found = []
    for parent in read_layer_chain(folder):
        beside = folder.absolute().parent / parent.name
        if parent.is_dir():
            found.append(parent)
        elif beside.is_dir():
            found.append(beside)
        else:
            raise NotFoundError(
                f"the parent layer {parent} is not there", layer=str(folder), hint="put it back, or unpack again"
            )
    return tuple(found)


def with_ancestors(parents: Sequence[Path]) -> tuple[Path, ...]:
    """``parents``, nearest first, and whatever the last of them stands on in its turn."""
    chain = [parent.absolute() for parent in parents]
    if chain:
        chain += [path for path in find_parents(chain[-1]) if path not in chain]
    return tuple(chain)


def open_chain(folder: Path) -> LayerChain[LayerFolder]:
    """The layer in ``folder`` and all it stands on, open; the caller closes them."""
    opened: list[LayerFolder] = []
    try:
        for path in (folder, *find_parents(folder)):
            opened.append(LayerFolder(path))
    except BaseException:
        for layer in opened:
            layer.close()
        raise
    return LayerChain(opened)
