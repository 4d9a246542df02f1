"""What an image, an unpacked image or a layer folder is made of, as plain values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from wclayer.formats.folder import LayerFolder
from wclayer.image.target import is_layer_folder
from wclayer.image.unpacked import CONFIG_FILE, UnpackedImage, chain_ids
from wclayer.oci import Image, open_image
from wclayer.oci.platforms import format_platform

__all__ = ["inspect"]


def inspect(target: str, *, platform: str | None = None) -> dict[str, Any]:
    """Platform, configuration and layers (base first) of ``target``. Nothing large is read."""
    path = Path(target)
    if UnpackedImage.is_one(path):
        return _unpacked(UnpackedImage.load(path))
    if is_layer_folder(path):
        return {"kind": "layer", "reference": target, "layers": [_folder(path)]}
    with open_image(target, platform) as image:
        return _image(image)


def _image(image: Image) -> dict[str, Any]:
    diff_ids = [layer.diff_id for layer in image.layers]
    chain = chain_ids([diff_id for diff_id in diff_ids if diff_id]) if all(diff_ids) else [None] * len(diff_ids)
    return {
        "kind": "image" if image.manifest else "layer",
        "reference": image.reference,
        "digest": str(image.digest) if image.digest else None,
        "platform": format_platform(image.platform) if image.platform else None,
        "config": json.loads(image.config.raw) if image.config else None,
        "layers": [
            {
                "index": layer.index,
                "diff_id": str(layer.diff_id) if layer.diff_id else None,
                "chain_id": str(chain_id) if chain_id else None,
                "digest": str(layer.descriptor.digest) if layer.descriptor else None,
                "media_type": layer.descriptor.media_type if layer.descriptor else None,
                "blob_size": layer.descriptor.size if layer.descriptor else None,
                "urls": list(layer.descriptor.urls) if layer.descriptor else [],
                "available": layer.is_available,
            }
            for layer, chain_id in zip(image.layers, chain, strict=True)
        ],
        "notes": list(image.notes),
    }


def _unpacked(image: UnpackedImage) -> dict[str, Any]:
    config = image.folder / CONFIG_FILE
    return {
        "kind": "unpacked image",
        "reference": image.reference,
        "digest": image.document.get("digest"),
        "platform": image.document.get("platform"),
        "config": json.loads(config.read_bytes()) if config.is_file() else None,
        "layers": [_folder(path) for path in reversed(image.layers)],
        "notes": [],
    }


def _folder(path: Path) -> dict[str, Any]:
    with LayerFolder(path) as folder:
        counts, _ = folder.notices()
        return {"path": str(path), **folder.facts, "notices": counts}
