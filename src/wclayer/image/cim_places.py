"""What ``cim:`` names: one CIM image, ``cim:FILE.cim``, or the folder that an image was converted to, ``cim:DIR``.

::

    DIR/cim-layers/0.cim      the images, base first, each but the first a fork of the one before, with their regions
    DIR/0/                    what is kept beside each: the hives that the layers above are merged with
    DIR/cim-image.json        which image it is, its layers base first
    DIR/manifest.json         the documents as they were, byte for byte, where the image had them
    DIR/config.json

``cim-layers`` beside folders of the same names is how containerd keeps such layers, so ``cim:DIR`` also reads a folder
that has nothing else. (hcsshim ``internal/wclayer/cim``)
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wclayer.errors import FormatError, NotFoundError, UsageError
from wclayer.formats.cim.layer_names import CIM_LAYERS, CimLayer, layer_in
from wclayer.formats.cim.layer_reader import parent_of

__all__ = ["CIM_IMAGE_FILE", "CIM_SCHEMA", "CimStack", "find_cims", "is_cim_file", "layer_folder_of"]

CIM_IMAGE_FILE, CIM_SCHEMA = "cim-image.json", "wclayer.cim-image/1"
_MAX_DOCUMENT = 16 << 20
_ENDING = ".cim"


@dataclass(frozen=True, slots=True)
class CimStack:
    """Images that stand on each other, base first. ``document`` is what ``cim-image.json`` says, if there is one.

    ``folder`` is where documents of the image lie, None for a single file.
    """

    layers: tuple[CimLayer, ...]
    folder: Path | None = None
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def top(self) -> CimLayer:
        """The image that holds everything."""
        return self.layers[-1]

    @property
    def platform(self) -> str | None:
        """The platform that was recorded, as text."""
        value = self.document.get("platform")
        return value if isinstance(value, str) else None


def is_cim_file(path: Path) -> bool:
    """Whether ``path`` names one image and not a folder of them, also when neither is there yet."""
    return path.is_file() or (not path.is_dir() and path.name.lower().endswith(_ENDING))


def find_cims(path: Path) -> CimStack:
    """The images at ``path``: of a file, that one and those it is a fork of; of a folder, all of its image.

    Raises NotFoundError, FormatError for a damaged document, UsageError for a folder of several images.
    """
    if is_cim_file(path):
        return CimStack(_chain(path, lambda cim: CimLayer(cim, layer_folder_of(cim))))
    document = _read_document(path)
    if document is not None:
        layers = tuple(layer_in(path, name) for name in _names(document, path))
        return CimStack(layers, path, document)
    folder = path / CIM_LAYERS if (path / CIM_LAYERS).is_dir() else path
    found = sorted(one for one in folder.iterdir() if _is_image(one)) if folder.is_dir() else []
    if not found:
        raise NotFoundError(f"there is no CIM image in {path}")
    below = {parent_of(one) for one in found}
    tops = [one for one in found if one not in below]
    if len(tops) != 1:
        names = ", ".join(one.name for one in tops[:5])
        raise UsageError(f"{path} holds several images: {names}", hint=f"name one of them: cim:{tops[0]}")
    return CimStack(_chain(tops[0], lambda cim: CimLayer(cim, layer_folder_of(cim))), path)


def _chain(cim: Path, layer: Callable[[Path], CimLayer]) -> tuple[CimLayer, ...]:
    """``cim`` and what it is a fork of, base first."""
    chain = [cim]
    while (below := parent_of(chain[-1])) is not None:
        if below in chain:
            raise FormatError(f"{below.name} is a fork of itself", kind="cim-header", image=str(cim))
        chain.append(below)
    return tuple(layer(one) for one in reversed(chain))


def layer_folder_of(cim: Path) -> Path:
    """The folder beside an image, as hcsshim lays layers out; another one's folder is never there."""
    parent = cim.absolute().parent
    return (parent.parent if parent.name == CIM_LAYERS else parent) / cim.stem


def _is_image(path: Path) -> bool:
    return path.name.lower().endswith(_ENDING) and not path.name.startswith(".") and path.is_file()


def _read_document(folder: Path) -> dict[str, Any] | None:
    path = folder / CIM_IMAGE_FILE
    try:
        with path.open("rb") as file:
            document = json.loads(file.read(_MAX_DOCUMENT))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no JSON: {error}", hint="convert the image again") from None
    if not isinstance(document, dict):
        raise FormatError(f"{path} is damaged", hint="convert the image again")
    return document


def _names(document: dict[str, Any], folder: Path) -> list[str]:
    try:
        names = [str(layer["name"]) for layer in document["layers"]]
    except (KeyError, TypeError) as error:
        raise FormatError(f"{folder / CIM_IMAGE_FILE} is damaged: {error!r}", hint="convert the image again") from None
    if not names or any(not name or "/" in name or name.startswith(".") for name in names):
        raise FormatError(f"{folder / CIM_IMAGE_FILE} names a layer outside of its folder", hint="convert it again")
    return names
