"""Descriptors, manifests, indexes and image configurations: typed views over the bytes that were hashed.

The raw bytes are the document; a digest is of them, and they are what is copied. The typed view on the side holds what
this package understands, checked. Formats: OCI image specification (descriptor.md, manifest.md, image-index.md,
config.md) and Docker's image manifest v2 schema 2 with its manifest list.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from wclayer.errors import FormatError, UnsupportedError, WclayerError
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.mediatypes import OCI_INDEX, OCI_MANIFEST, MediaType, bare, classify
from wclayer.oci.strictjson import Node, parse_object

__all__ = [
    "CONFIG_LIMIT",
    "MANIFEST_LIMIT",
    "Descriptor",
    "History",
    "ImageConfig",
    "Index",
    "Manifest",
    "Platform",
    "parse_document",
    "require_image",
]

MANIFEST_LIMIT = 8 << 20
"""The largest manifest or index that is read, in bytes."""
CONFIG_LIMIT = 8 << 20
"""The largest image configuration that is read, in bytes."""
_URLS = 64


@dataclass(frozen=True, slots=True)
class Platform:
    """What an image runs on, as the image says it. ``os_version`` is the quad of Windows (``10.0.20348.2700``)."""

    os: str
    architecture: str
    variant: str = ""
    os_version: str = ""
    os_features: tuple[str, ...] = ()

    @classmethod
    def of(cls, node: Node) -> Self:
        """The platform fields of a platform object or of an image configuration; FormatError."""
        node.require_spelling(("os", "architecture", "variant", "os.version", "os.features"))
        platform = cls(
            node.text("os", ""),
            node.text("architecture", ""),
            node.text("variant", ""),
            node.text("os.version", ""),
            node.texts("os.features"),
        )
        for text in (platform.os, platform.architecture, platform.variant, platform.os_version, *platform.os_features):
            if not text.isprintable() or len(text) > 255:
                raise node.error("a platform with control characters in it", kind="platform")
        return platform


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names a blob: media type, digest, size in bytes, and where else it may be (``urls``)."""

    media_type: str
    digest: Digest
    size: int
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    platform: Platform | None = None
    artifact_type: str = ""
    data: bytes | None = None

    @classmethod
    def of(cls, node: Node) -> Self:
        """The descriptor that a JSON object holds; FormatError, UnsafeEntryError, UnsupportedError."""
        node.require_spelling(
            ("mediaType", "digest", "size", "urls", "annotations", "platform", "artifactType", "data")
        )
        platform = node.optional("platform")
        urls = node.texts("urls")
        if len(urls) > _URLS:
            raise node.error(f"{len(urls)} addresses, more than the {_URLS} allowed", key="urls", kind="urls")
        return cls(
            node.text("mediaType"),
            _digest(node, node.text("digest")),
            node.size("size"),
            urls,
            node.text_map("annotations"),
            Platform.of(platform) if platform else None,
            node.text("artifactType", ""),
            _data(node),
        )

    @property
    def type(self) -> MediaType:
        """The media type, classified."""
        return classify(self.media_type)

    def to_json(self) -> dict[str, object]:
        """The JSON object, with the keys in the order of the specification."""
        document: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.urls:
            document["urls"] = list(self.urls)
        if self.annotations:
            document["annotations"] = dict(sorted(self.annotations.items()))
        if self.data is not None:
            document["data"] = base64.b64encode(self.data).decode("ascii")
        if self.platform is not None:
            platform: dict[str, object] = {"architecture": self.platform.architecture, "os": self.platform.os}
            if self.platform.os_version:
                platform["os.version"] = self.platform.os_version
            if self.platform.os_features:
                platform["os.features"] = list(self.platform.os_features)
            if self.platform.variant:
                platform["variant"] = self.platform.variant
            document["platform"] = platform
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        return document


def _digest(node: Node, text: str) -> Digest:
    try:
        return Digest.parse(text)
    except WclayerError as error:
        error.message = f"{node.place}: {error.message}"
        raise


def _data(node: Node) -> bytes | None:
    if not node.has("data"):
        return None
    try:
        return base64.b64decode(node.text("data"), validate=True)
    except (binascii.Error, ValueError) as error:
        raise node.error(f"not base64: {error}", key="data", kind="base64") from None


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of one image. ``layers`` are base first. ``raw`` are the bytes the digest is of."""

    raw: bytes = field(repr=False)
    digest: Digest
    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    artifact_type: str = ""

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self.raw)


@dataclass(frozen=True, slots=True)
class Index:
    """An index (manifest list): one image for several platforms."""

    raw: bytes = field(repr=False)
    digest: Digest
    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)
    subject: Descriptor | None = None
    artifact_type: str = ""


_DOCUMENT_KEYS = (
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "annotations",
    "subject",
    "artifactType",
    "fsLayers",
)


def parse_document(
    raw: bytes, media_type: str | None = None, *, what: str = "manifest", digest: Digest | None = None
) -> Manifest | Index:
    """The manifest or the index that ``raw`` holds.

    ``media_type`` is what a descriptor or a registry said it is, None when nobody did.
    ``digest`` is the digest it is known by, when that has been verified; else the SHA-256 is taken.

    Raises FormatError when it is neither, could be taken for both, or contradicts what was said of it;
    UnsupportedError for Docker's schema 1.
    """
    node = parse_object(raw, what=what, limit=MANIFEST_LIMIT)
    node.require_spelling(_DOCUMENT_KEYS)
    declared = bare(media_type) if media_type else ""
    inner = bare(node.text("mediaType", ""))
    if "schema1" in (classify(declared).role, classify(inner).role) or node.has("fsLayers"):
        raise UnsupportedError(
            f"{what}: Docker's manifest schema 1, which has no digests of uncompressed layers",
            hint="push the image again with a current tool",
        )
    if type(version := node.value.get("schemaVersion")) is not int or version != 2:
        raise node.error(f"2 is expected, not {str(version)[:40]}", key="schemaVersion", kind="schema-version")
    if declared and inner and declared != inner:
        raise FormatError(f"{what}: says it is {inner} where {declared} was announced", kind="media-type")
    single = "config" in node.value or "layers" in node.value
    several = "manifests" in node.value
    if single and several:
        raise FormatError(f"{what}: both a manifest and an index", kind="media-type")
    if not single and not several:
        raise FormatError(f"{what}: neither a manifest nor an index", kind="media-type")
    actual = inner or declared or (OCI_MANIFEST if single else OCI_INDEX)
    if classify(actual).role != ("manifest" if single else "index"):
        raise FormatError(f"{what}: not what its media type {actual} says", kind="media-type")
    digest = digest or digest_of(raw)
    subject = node.optional("subject")
    common = (
        node.text_map("annotations"),
        Descriptor.of(subject) if subject else None,
        node.text("artifactType", ""),
    )
    if several:
        return Index(raw, digest, actual, tuple(Descriptor.of(entry) for entry in node.array("manifests")), *common)
    layers = tuple(Descriptor.of(layer) for layer in node.array("layers"))
    return Manifest(raw, digest, actual, Descriptor.of(node.node("config")), layers, *common)


@dataclass(frozen=True, slots=True)
class History:
    """One line of an image's history. Times are kept as the text that stands there."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The configuration of an image. ``diff_ids`` are base first.

    ``document`` is the whole parsed object, for what has no field here (``config``, ``created``, …).
    """

    raw: bytes = field(repr=False)
    digest: Digest
    platform: Platform
    diff_ids: tuple[Digest, ...]
    history: tuple[History, ...]
    document: Mapping[str, object] = field(repr=False, hash=False)

    @classmethod
    def parse(cls, raw: bytes, *, what: str = "config") -> Self:
        """The configuration that ``raw`` holds; FormatError, LimitError, and what digests raise."""
        node = parse_object(raw, what=what, limit=CONFIG_LIMIT)
        node.require_spelling(("rootfs", "history", "config"))
        rootfs = node.node("rootfs")
        rootfs.require_spelling(("type", "diff_ids"))
        kind = rootfs.text("type", "layers")
        if kind != "layers":
            raise UnsupportedError(f"{what}: a root file system of type {kind!r} instead of layers")
        return cls(
            raw,
            digest_of(raw),
            Platform.of(node),
            tuple(_digest(rootfs, text) for text in rootfs.texts("diff_ids")),
            tuple(_history(line) for line in node.array("history")),
            node.as_object(),
        )

    @property
    def os_version(self) -> str:
        """The version of the operating system, empty when the image does not say."""
        return self.platform.os_version


def _history(node: Node) -> History:
    return History(
        node.text("created", ""),
        node.text("created_by", ""),
        node.text("author", ""),
        node.text("comment", ""),
        node.flag("empty_layer"),
    )


def require_image(manifest: Manifest, config: ImageConfig) -> None:
    """Check that every layer of ``manifest`` has its DiffID in ``config``, before anything is read; FormatError."""
    if len(manifest.layers) != len(config.diff_ids):
        raise FormatError(
            f"the manifest lists {len(manifest.layers)} layers and the configuration {len(config.diff_ids)} DiffIDs",
            kind="layer-count",
        )
