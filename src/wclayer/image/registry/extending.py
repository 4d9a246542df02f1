"""An image with one layer more: its blobs stay what they are, configuration and manifest get one line each.

Only what must change is changed in the two documents: the DiffID and the line of history of the new layer, and in the
manifest its descriptor and that of the configuration. Everything else in them is kept, known or not. The tag is set
last, so that it names the old image or the new one and nothing between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from wclayer.errors import UnsupportedError, UsageError
from wclayer.image.copying.foreign import is_foreign
from wclayer.image.copying.sources import is_remote, open_source
from wclayer.image.layer_places import parse_place
from wclayer.oci import (
    Descriptor,
    Digest,
    Image,
    ImageConfig,
    LayoutWriter,
    Limits,
    Manifest,
    open_image,
    parse_platform,
    parse_reference,
)
from wclayer.oci.documents import encode_json
from wclayer.oci.image import image_from
from wclayer.oci.layout_writer import LayerSink
from wclayer.oci.mediatypes import DOCKER_LAYER_GZIP, DOCKER_MANIFEST
from wclayer.oci.network import Network
from wclayer.oci.references import Reference

__all__ = ["ExtendedImage", "extend_image", "opened_image", "require_layout"]


@dataclass(frozen=True, slots=True)
class ExtendedImage:
    """What was written. ``diff_id`` and ``layer`` are those of the new layer, None when none was needed."""

    digest: Digest
    diff_id: Digest | None
    layer: Digest | None
    notes: tuple[str, ...] = ()


@contextmanager
def opened_image(
    text: str, *, platform: str | None, limits: Limits, network: Network | None
) -> Iterator[tuple[Image, tuple[str, ...]]]:
    """The image that ``text`` names, with its manifest; of what is none an image is made. Notes come with it."""
    if parse_place(text).kind == "image" and is_remote(parse_reference(text)):
        with open_image(text, platform, limits=limits, network=network) as image:
            yield image, image.notes
        return
    source = open_source(text, network=network, limits=limits)
    try:
        image = image_from(source.reference, source.store, source.roots, parse_platform(platform) if platform else None)
        yield image, (*source.notes, *image.notes)
    finally:
        source.close()


def require_layout(destination: str) -> Reference:
    """The OCI layout that ``destination`` names, and the tag in it. Raises UsageError for anything else."""
    place = parse_reference(destination)
    if place.transport != "oci" or place.digest is not None:
        raise UsageError(f"an image can be written to an OCI layout, not to {destination}", hint="write oci:DIR:TAG")
    return place


def extend_image(
    text: str,
    destination: str,
    write: Callable[[Callable[[bytes | bytearray | memoryview], int]], None] | None,
    *,
    created: str,
    created_by: str,
    platform: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    network: Network | None = None,
) -> ExtendedImage:
    """Write the image ``text`` to ``destination``, an ``oci:DIR:TAG``, with the layer that ``write`` writes on top.

    ``write`` is given what takes the bytes of the tar; with None the image is copied as it is. ``created`` (RFC 3339)
    and ``created_by`` go into its line of history. The two may be the same layout. Raises UsageError for another
    destination, UnsupportedError for what has no manifest, and what reading and writing raises.
    """
    place = require_layout(destination)
    with opened_image(text, platform=platform, limits=limits, network=network) as (image, notes):
        if image.manifest is None or image.config is None:
            raise UnsupportedError(f"{text} has no manifest that a layer could be added to")
        layout = LayoutWriter(place.location)
        left = [_copied(layout, layer.descriptor, layer.is_available, layer.open) for layer in image.layers]
        notes += tuple(note for note in left if note)
        manifest, config = image.manifest, image.config
        if write is None:
            layout.put_bytes(config.raw, manifest.config.media_type, digest=manifest.config.digest)
            listed = layout.put_manifest(
                manifest.raw, name=place.name, media_type=manifest.media_type, platform=config.platform
            )
            return ExtendedImage(listed.digest, None, None, notes)
        docker = manifest.media_type == DOCKER_MANIFEST
        sink = layout.new_layer("gzip", media_type=DOCKER_LAYER_GZIP if docker else None)
        with sink:
            write(sink.write)
        raw = _with_layer(config, sink, created, created_by)
        stored = layout.put_bytes(raw, manifest.config.media_type)
        listed = layout.put_manifest(
            _manifest_with(manifest, stored, sink.descriptor),
            name=place.name,
            media_type=manifest.media_type,
            platform=config.platform,
        )
        return ExtendedImage(listed.digest, sink.diff_id, sink.descriptor.digest, notes)


def _copied(layout: LayoutWriter, blob: Descriptor | None, available: bool, opened: Callable[[], Any]) -> str | None:
    """Put the blob of a layer into ``layout``, unless it is there; a note when it is left where it is."""
    if blob is None:
        raise UnsupportedError("a layer without a descriptor cannot be copied as it is")
    path = layout.folder / blob.digest.blob_path
    if path.is_file() and path.stat().st_size == blob.size:
        return None
    if not available and is_foreign(blob):
        return f"the foreign layer {blob.digest} is not here, and stays where it is"
    layout.put_blob(opened(), blob.media_type, digest=blob.digest, size=blob.size)
    return None


def _with_layer(config: ImageConfig, sink: LayerSink, created: str, created_by: str) -> bytes:
    document: dict[str, Any] = json.loads(config.raw)
    document["rootfs"]["diff_ids"] = [*(document["rootfs"].get("diff_ids") or ()), str(sink.diff_id)]
    # A history that does not tell of every layer would be wrong with one line more as well.
    if sum(not line.empty_layer for line in config.history) == len(config.diff_ids):
        line = {"created": created, "created_by": created_by} if created else {"created_by": created_by}
        document["history"] = [*(document.get("history") or ()), line]
    return encode_json(document)


def _manifest_with(manifest: Manifest, config: Descriptor, layer: Descriptor) -> bytes:
    document: dict[str, Any] = json.loads(manifest.raw)
    document["config"] |= {"digest": str(config.digest), "size": config.size}
    document["config"].pop("data", None)
    document["layers"] = [*document["layers"], layer.to_json()]
    return encode_json(document)
