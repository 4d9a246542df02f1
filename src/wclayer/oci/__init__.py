"""OCI images in files: references, descriptors, manifests, platforms, layouts, archives, compression, digests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer._lazy import lazy_names

if TYPE_CHECKING:
    from wclayer.oci.compressed_writer import CompressedWriter
    from wclayer.oci.descriptors import Descriptor, History, ImageConfig, Index, Manifest, Platform
    from wclayer.oci.digests import Digest
    from wclayer.oci.image import Image, ImageStore, LayerBlob, StoredBlob
    from wclayer.oci.layout_writer import LayoutWriter
    from wclayer.oci.limits import Limits
    from wclayer.oci.open import open_image
    from wclayer.oci.pipeline import LayerStream, open_layer
    from wclayer.oci.platforms import PlatformSpec, parse_platform
    from wclayer.oci.references import Reference, parse_reference
    from wclayer.oci.sources import BinarySource

__all__ = [
    "BinarySource",
    "CompressedWriter",
    "Descriptor",
    "Digest",
    "History",
    "Image",
    "ImageConfig",
    "ImageStore",
    "Index",
    "LayerBlob",
    "LayerStream",
    "LayoutWriter",
    "Limits",
    "Manifest",
    "Platform",
    "PlatformSpec",
    "Reference",
    "StoredBlob",
    "open_image",
    "open_layer",
    "parse_platform",
    "parse_reference",
]

_HOMES = {
    "wclayer.oci.compressed_writer": ("CompressedWriter",),
    "wclayer.oci.descriptors": ("Descriptor", "History", "ImageConfig", "Index", "Manifest", "Platform"),
    "wclayer.oci.digests": ("Digest",),
    "wclayer.oci.image": ("Image", "ImageStore", "LayerBlob", "StoredBlob"),
    "wclayer.oci.layout_writer": ("LayoutWriter",),
    "wclayer.oci.limits": ("Limits",),
    "wclayer.oci.open": ("open_image",),
    "wclayer.oci.pipeline": ("LayerStream", "open_layer"),
    "wclayer.oci.platforms": ("PlatformSpec", "parse_platform"),
    "wclayer.oci.references": ("Reference", "parse_reference"),
    "wclayer.oci.sources": ("BinarySource",),
}
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
