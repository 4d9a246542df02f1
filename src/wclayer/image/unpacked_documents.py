"""What an unpacked image says of itself, written beside its layers: last of all, for it is what makes it one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from wclayer.formats.folder.folder import layer_chain_text
from wclayer.image.importing import ImportedLayer
from wclayer.image.unpacked import CHAIN_FILE, CONFIG_FILE, IMAGE_FILE, MANIFEST_FILE, SCHEMA
from wclayer.image.whole import new_file
from wclayer.oci import Digest
from wclayer.writing import write_whole

__all__ = ["write_documents"]


def write_documents(
    folder: Path,
    layers: Sequence[ImportedLayer],
    *,
    reference: str,
    digest: Digest | None = None,
    platform: str | None = None,
    manifest: bytes | None = None,
    config: bytes | None = None,
) -> None:
    """Write the documents of the image in ``folder`` whose ``layers``, base first, are there.

    ``manifest`` and ``config`` are kept as they are, where there are any. Raises StoreError.
    """
    if manifest is not None:
        _write(folder / MANIFEST_FILE, manifest)
    if config is not None:
        _write(folder / CONFIG_FILE, config)
    _write(folder / CHAIN_FILE, layer_chain_text(layer.path.absolute() for layer in reversed(layers)))
    document = {
        "schema": SCHEMA,
        "reference": reference,
        "digest": str(digest) if digest else None,
        "platform": platform,
        "layers": [
            {
                "folder": layer.path.name,
                "diff_id": str(layer.diff_id),
                "digest": str(layer.blob_digest) if layer.blob_digest else None,
                "compression": layer.compression,
                "size": layer.size,
                "blob_size": layer.blob_size,
            }
            for layer in layers
        ],
    }
    # Last: an unpacked image is one that has this file.
    _write(folder / IMAGE_FILE, json.dumps(document, indent=1).encode() + b"\n")


def _write(path: Path, data: bytes) -> None:
    with new_file(path) as file:
        write_whole(file.write, data)
