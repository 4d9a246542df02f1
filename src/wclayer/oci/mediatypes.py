"""What a media type says about a blob: its role, its compression, and whether it may be distributed.

Media types of the OCI image specification (media-types.md) and of Docker's image manifest v2 schema 2. Whether a layer
is distributable is said by its media type alone, never by the presence of ``urls``. What a type says of compression is
a claim: the content is sniffed as well (see :mod:`wclayer.oci.compression`), and the DiffID decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "DOCKER_CONFIG",
    "DOCKER_LAYER_GZIP",
    "DOCKER_MANIFEST",
    "DOCKER_MANIFEST_LIST",
    "OCI_CONFIG",
    "OCI_EMPTY",
    "OCI_INDEX",
    "OCI_LAYER",
    "OCI_LAYER_GZIP",
    "OCI_LAYER_ZSTD",
    "OCI_MANIFEST",
    "Compression",
    "MediaType",
    "Role",
    "bare",
    "classify",
]

Role: TypeAlias = Literal["layer", "config", "manifest", "index", "schema1", "empty", "other"]
Compression: TypeAlias = Literal["none", "gzip", "zstd"]

OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
OCI_LAYER_GZIP = OCI_LAYER + "+gzip"
OCI_LAYER_ZSTD = OCI_LAYER + "+zstd"
_OCI_NONDISTRIBUTABLE = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
DOCKER_LAYER_GZIP = _DOCKER_LAYER + ".gzip"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"


@dataclass(frozen=True, slots=True)
class MediaType:
    """A media type, classified.

    ``compression`` is None where the type does not say (Docker's plain ``.tar`` types are used for both). ``base`` is
    the type without parameters.
    """

    base: str
    role: Role
    compression: Compression | None = None
    distributable: bool = True


def _table() -> dict[str, MediaType]:
    rows: list[MediaType] = []
    for stem, distributable in ((OCI_LAYER, True), (_OCI_NONDISTRIBUTABLE, False)):
        rows += [
            MediaType(stem, "layer", "none", distributable),
            MediaType(stem + "+gzip", "layer", "gzip", distributable),
            MediaType(stem + "+zstd", "layer", "zstd", distributable),
        ]
    rows += [
        MediaType(_DOCKER_LAYER, "layer", None),
        MediaType(DOCKER_LAYER_GZIP, "layer", "gzip"),
        MediaType(_DOCKER_LAYER + ".zstd", "layer", "zstd"),
        MediaType(_DOCKER_FOREIGN, "layer", None, distributable=False),
        MediaType(_DOCKER_FOREIGN + ".gzip", "layer", "gzip", distributable=False),
        MediaType(OCI_CONFIG, "config"),
        MediaType(DOCKER_CONFIG, "config"),
        MediaType(OCI_MANIFEST, "manifest"),
        MediaType(DOCKER_MANIFEST, "manifest"),
        MediaType(OCI_INDEX, "index"),
        MediaType(DOCKER_MANIFEST_LIST, "index"),
        MediaType("application/vnd.docker.distribution.manifest.v1+json", "schema1"),
        MediaType("application/vnd.docker.distribution.manifest.v1+prettyjws", "schema1"),
        MediaType(OCI_EMPTY, "empty"),
    ]
    return {row.base: row for row in rows}


_TABLE = _table()


def bare(media_type: str) -> str:
    """``media_type`` without the parameters after ``;``. Types are compared with regard to case."""
    return media_type.partition(";")[0].strip()


def classify(media_type: str) -> MediaType:
    """Look ``media_type`` up; one that is not known has the role ``other`` and says nothing else."""
    base = bare(media_type)
    return _TABLE.get(base) or MediaType(base, "other")
