"""OCI images in files: references, descriptors, manifests, platforms, layouts, archives, compression, digests."""

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
