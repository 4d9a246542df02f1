"""CIM images become layer folders: an unpacked image of what ``cim:`` names.

A CIM image has no digest. The DiffID of a layer is therefore that of the tar that it makes when nothing is left out
(``faithful``), which is found while the layer is poured; the configuration lists these, and the rest of it is kept.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from wclayer.errors import StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, sweep
from wclayer.formats.shaping import for_tar
from wclayer.formats.tar import TarLayerWriter
from wclayer.image.importing import ImportedLayer
from wclayer.image.layer_places import parse_place
from wclayer.image.layer_sources import LayerSource, open_layers
from wclayer.image.places import folder_made
from wclayer.image.unpacked import (
    LAYERS,
    UnpackedImage,
    chain_ids,
    locked,
    refuse_others,
)
from wclayer.image.unpacked_documents import write_documents
from wclayer.model import Entry, LayerItem, Notices
from wclayer.oci import Digest
from wclayer.oci.documents import encode_json

__all__ = ["config_with", "unpack_cims"]


def unpack_cims(
    reference: str, folder: Path, *, strict: bool = False, sync: bool = False
) -> tuple[list[ImportedLayer], str | None]:
    """Unpack the images that ``reference`` (``cim:…``) names to ``folder``, an unpacked image afterwards.

    Returns the layers, base first, and the platform of the image, as text, where it is known. Raises StoreError when
    ``folder`` holds anything, and then it is as it was; FormatError for a reparse buffer that no layer tar can hold.
    """
    layers = folder / LAYERS
    with open_layers(parse_place(reference)) as sources, folder_made(folder.absolute()), locked(folder):
        refuse_others(folder)
        if UnpackedImage.is_one(folder):
            raise StoreError(f"{folder} holds an image already", hint="unpack to another folder, or remove that one")
        layers.mkdir(exist_ok=True)
        sweep(layers)
        done: list[ImportedLayer] = []
        for number, source in enumerate(sources.layers):
            try:
                done.append(_pour(source, layers / f"layer-{number}", done, strict=strict, sync=sync))
            except WclayerError as error:
                raise error.locate(layer=source.label) from None
        config = None if sources.config is None else config_with(sources.config, [layer.diff_id for layer in done])
        write_documents(folder, done, reference=sources.reference, platform=sources.platform, config=config)
        return done, sources.platform


def config_with(config: bytes, diff_ids: list[Digest]) -> bytes:
    """The configuration ``config`` for layers with other DiffIDs; everything else in it is kept."""
    document = json.loads(config)
    document["rootfs"]["diff_ids"] = [str(diff_id) for diff_id in diff_ids]
    return encode_json(document)


def _pour(source: LayerSource, path: Path, below: list[ImportedLayer], *, strict: bool, sync: bool) -> ImportedLayer:
    if path.is_dir():
        raise StoreError(f"{path} is there already", hint="unpack to another folder, or remove that one")
    notices, size, file_bytes = Notices(strict=strict), 0, 0
    state = hashlib.sha256()

    def hashed(piece: bytes | bytearray | memoryview) -> int:
        nonlocal size
        state.update(piece)
        size += len(piece)
        return len(piece)

    tar = TarLayerWriter(hashed, policy="faithful", notices=Notices())
    with ExitStack() as held:
        parents = [held.enter_context(LayerFolder(layer.path)) for layer in reversed(below)]
        writer = LayerFolderWriter(path, parents=parents, notices=notices, sync=sync)
        with writer:
            for item in _twice(source, tar):
                writer.write(item)
                if isinstance(item, Entry) and item.data is not None:
                    file_bytes += item.data.size
            tar.commit()
            diff_id = Digest.parse(f"sha256:{state.hexdigest()}")
            chain_id = str(chain_ids([*(layer.diff_id for layer in below), diff_id])[-1])
            writer.set_facts(diff_id=str(diff_id), chain_id=chain_id, tar_size=size, policy="faithful")
    counts, listed = dict(notices.counts), list(notices.listed)
    return ImportedLayer(path, diff_id, None, chain_id, "", size, 0, file_bytes, notices=counts, listed=listed)


def _twice(source: LayerSource, tar: TarLayerWriter) -> Iterator[LayerItem]:
    """The items, each of which the tar has taken before; data of an image can be read as often as one likes."""
    for item in for_tar(source.read(), "faithful", Notices()):
        tar.write(item)
        yield item
