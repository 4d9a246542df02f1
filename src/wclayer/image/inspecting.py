"""What an image, an unpacked image or a layer folder is made of, as plain values."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wclayer.errors import FormatError
from wclayer.formats.folder import LayerFolder
from wclayer.image.chain import is_layer_folder, open_all, open_chain
from wclayer.image.unpacked import CONFIG_FILE, UnpackedImage, chain_ids, refuse_unfinished

if TYPE_CHECKING:
    from wclayer.oci import Image
    from wclayer.oci.network import Network

__all__ = ["inspect"]


def inspect(target: str, *, platform: str | None = None, network: Network | None = None) -> dict[str, Any]:
    """Platform, configuration and layers (base first) of ``target``. Nothing large is read.

    The keys are the same whatever ``target`` is; what is not known is None. ``network`` is the way to registries.
    """
    path = Path(target)
    if UnpackedImage.is_one(path):
        return _unpacked(UnpackedImage.load(path))
    if is_layer_folder(path):
        return _document("layer folder", target, _folders(open_chain(path).base_first()))
    refuse_unfinished(path)
    from wclayer.oci import open_image  # what is unpacked needs nothing of registries and archives

    with open_image(target, platform, network=network) as image:
        return _image(image)


def _document(
    kind: str,
    reference: str,
    layers: list[dict[str, Any]],
    *,
    digest: object = None,
    platform: object = None,
    config: object = None,
    notes: Iterable[str] = (),
) -> dict[str, Any]:
    return {
        "kind": kind,
        "reference": reference,
        "digest": digest,
        "platform": platform,
        "config": config,
        "layers": layers,
        "notes": list(notes),
    }


def _image(image: Image) -> dict[str, Any]:
    from wclayer.oci.platforms import format_platform

    known = [layer.diff_id for layer in image.layers if layer.diff_id]
    chain = chain_ids(known) if len(known) == len(image.layers) else [None] * len(image.layers)
    layers: list[dict[str, Any]] = []
    for layer, chain_id in zip(image.layers, chain, strict=True):
        descriptor = layer.descriptor
        layers.append(
            {
                "index": layer.index,
                "diff_id": str(layer.diff_id) if layer.diff_id else None,
                "chain_id": str(chain_id) if chain_id else None,
                "digest": str(descriptor.digest) if descriptor else None,
                "media_type": descriptor.media_type if descriptor else None,
                "blob_size": descriptor.size if descriptor else layer.locate().size,
                "size": None,
                "urls": list(descriptor.urls) if descriptor else [],
                "available": layer.is_available,
                "path": None,
                "entries": None,
                "notices": None,
            }
        )
    return _document(
        "image" if image.manifest else "layer tar",
        image.reference,
        layers,
        digest=str(image.digest) if image.digest else None,
        platform=format_platform(image.platform) if image.platform else None,
        config=json.loads(image.config.raw) if image.config else None,
        notes=image.notes,
    )


def _unpacked(image: UnpackedImage) -> dict[str, Any]:
    path = image.folder / CONFIG_FILE
    try:
        config = json.loads(path.read_bytes()) if path.is_file() else None
    except (ValueError, RecursionError) as error:
        raise FormatError(f"{path} is no JSON: {error}", hint="unpack the image again") from None
    return _document(
        "unpacked image",
        image.reference,
        _folders(open_all(reversed(image.layers))),
        digest=image.document.get("digest"),
        platform=image.document.get("platform"),
        config=config,
    )


def _folders(base_first: Iterable[LayerFolder]) -> list[dict[str, Any]]:
    layers: list[dict[str, Any]] = []
    with ExitStack() as stack:
        opened = [stack.enter_context(folder) for folder in base_first]
        for index, folder in enumerate(opened):
            facts = folder.facts
            layers.append(
                {
                    "index": index,
                    "diff_id": facts.get("diff_id"),
                    "chain_id": facts.get("chain_id"),
                    "digest": facts.get("blob_digest"),
                    "media_type": facts.get("media_type"),
                    "blob_size": facts.get("blob_size"),
                    "size": facts.get("tar_size"),
                    "urls": [],
                    "available": True,
                    "path": str(folder.path),
                    "entries": facts.get("entries"),
                    "notices": folder.notices()[0],
                }
            )
    return layers
