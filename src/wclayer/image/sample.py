"""A whole Windows image made of nothing: something to try every command on, without a download and without a licence.

Two images are put into an OCI layout: ``TAG``, of three layers, and ``TAG-base``, which is the base layer of the former
alone, so that it can play the base image. What the layers hold is in :mod:`wclayer.image.sample_content`. They are
written as hcsshim exports layers; so holes are written out, and the flags of extended attributes are not kept.

The uncompressed layers, and so the DiffIDs and the configuration, are the same bytes always. The blob of a gzip layer
depends on the library that compresses, and the manifest names the blobs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from wclayer.errors import UsageError
from wclayer.formats.tar import TarLayerWriter
from wclayer.image.sample_content import base_items, middle_items, top_items
from wclayer.model import LayerItem, copy_layer
from wclayer.oci import Descriptor, Digest, History, LayoutWriter, Platform
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, Compression

__all__ = ["SAMPLE_PLATFORM", "SampleImage", "SampleLayer", "SampleResult", "make_sample"]

SAMPLE_PLATFORM: Final = Platform("windows", "amd64", os_version="10.0.20348.1")
"""What both images say they run on."""

_BASE_SUFFIX: Final = "-base"
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,122}", re.ASCII)
_CONFIG: Final[dict[str, object]] = {
    "User": "ContainerUser",
    "Env": ["SAMPLE=wclayer", "Path=C:\\Windows\\System32;C:\\Windows"],
    "Cmd": ["cmd.exe"],
    "WorkingDir": "C:\\Sample",
}


@dataclass(frozen=True, slots=True)
class _Recipe:
    items: Callable[[], list[LayerItem]]
    compression: Compression
    created: str
    comment: str


#: Base first.
_RECIPES: Final = (
    _Recipe(base_items, "gzip", "2022-02-01T00:00:00Z", "the base layer"),
    _Recipe(middle_items, "zstd", "2022-06-01T00:00:00Z", "replaces, deletes and links to the base"),
    _Recipe(top_items, "gzip", "2022-10-01T00:00:00Z", "recreates, and links to both layers below"),
)


@dataclass(frozen=True, slots=True)
class SampleLayer:
    """One layer: the descriptor of its blob, and the digest of its uncompressed tar."""

    descriptor: Descriptor
    diff_id: Digest


@dataclass(frozen=True, slots=True)
class SampleImage:
    """One image in the layout: its tag, the descriptors of manifest and configuration, its layers, base first."""

    tag: str
    manifest: Descriptor
    config: Descriptor
    layers: tuple[SampleLayer, ...]

    @property
    def diff_ids(self) -> tuple[Digest, ...]:
        """The digests of the uncompressed layers, base first."""
        return tuple(layer.diff_id for layer in self.layers)


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What was made: the folder of the layout, the image of three layers, and the base image below it."""

    layout: Path
    image: SampleImage
    base: SampleImage


def make_sample(layout_dir: Path | str, tag: str = "sample") -> SampleResult:
    """Put the sample images ``tag`` and ``tag-base`` into the OCI layout ``layout_dir``, which may exist.

    Images that have these tags are replaced in its index. Raises UsageError for a tag that is none (letters, digits and
    ``_.-``, at most 123 of them), StoreError when the file system refuses, FormatError for a folder that holds a layout
    that cannot be read.
    """
    if not _TAG.fullmatch(tag):
        raise UsageError(f"{tag!r} is not a tag", hint="use letters, digits, '_', '.' and '-', 123 of them at most")
    layout = LayoutWriter(layout_dir)
    layers = tuple(_write_layer(layout, recipe) for recipe in _RECIPES)
    image = _write_image(layout, tag, layers)
    base = _write_image(layout, tag + _BASE_SUFFIX, layers[:1])
    return SampleResult(layout.folder, image, base)


def _write_layer(layout: LayoutWriter, recipe: _Recipe) -> SampleLayer:
    with layout.new_layer(recipe.compression) as sink, TarLayerWriter(sink.write, policy="reference") as writer:
        copy_layer(recipe.items(), writer)
    return SampleLayer(sink.descriptor, sink.diff_id)


def _write_image(layout: LayoutWriter, tag: str, layers: Sequence[SampleLayer]) -> SampleImage:
    recipes = _RECIPES[: len(layers)]
    created = recipes[-1].created
    history = [History(recipe.created, created_by="wclayer", comment=recipe.comment) for recipe in recipes]
    history.append(History(created, created_by='CMD ["cmd.exe"]', empty_layer=True))
    diff_ids = [layer.diff_id for layer in layers]
    raw = encode_config(SAMPLE_PLATFORM, diff_ids, created=created, config=_CONFIG, history=history)
    config = layout.put_bytes(raw, OCI_CONFIG)
    manifest = encode_manifest(
        config,
        [layer.descriptor for layer in layers],
        annotations={
            "org.opencontainers.image.created": created,
            "org.opencontainers.image.licenses": "Apache-2.0",
            "org.opencontainers.image.title": "wclayer sample",
        },
    )
    listed = layout.put_manifest(manifest, name=tag, platform=SAMPLE_PLATFORM)
    return SampleImage(tag, listed, config, tuple(layers))
