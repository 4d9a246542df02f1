"""Changing a manifest or an index: only what must change, with every other field kept, known or not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from wclayer.errors import FormatError
from wclayer.oci.descriptors import Descriptor, Index, Manifest, parse_document
from wclayer.oci.digests import Digest
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
)

__all__ = [
    "as_docker_list",
    "as_docker_manifest",
    "as_oci_manifest",
    "with_changed_entries",
    "with_entries",
    "with_layers",
]

_TO_OCI = {
    "application/vnd.docker.image.rootfs.diff.tar": OCI_LAYER,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{OCI_LAYER}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{OCI_LAYER}+zstd",
    "application/vnd.docker.image.rootfs.foreign.diff.tar": "application/vnd.oci.image.layer.nondistributable.v1.tar",
    "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip": (
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
    ),
    "application/vnd.docker.container.image.v1+json": OCI_CONFIG,
}


# zstd is left out: Docker's type for it is known to few.
_TO_DOCKER = {oci: docker for docker, oci in _TO_OCI.items() if not oci.endswith("+zstd")}


def with_layers(manifest: Manifest, layers: Sequence[Descriptor]) -> Manifest:
    """``manifest`` with other layers, base first, one for each it has."""
    document = _load(manifest.raw)
    document["layers"] = [
        _changed(value, old, new) for value, old, new in zip(document["layers"], manifest.layers, layers, strict=True)
    ]
    return _manifest(document)


def as_oci_manifest(manifest: Manifest) -> Manifest:
    """A Docker manifest as an OCI one, with the media types of its configuration and layers; another as it is."""
    if manifest.media_type != DOCKER_MANIFEST:
        return manifest
    document = _load(manifest.raw)
    document["mediaType"] = OCI_MANIFEST
    for value in (document["config"], *document["layers"]):
        value["mediaType"] = _TO_OCI.get(value["mediaType"], value["mediaType"])
    return _manifest(document)


def as_docker_manifest(manifest: Manifest) -> Manifest | None:
    """An OCI manifest as a Docker one, for readers that know nothing else; None when it has types that Docker lacks."""
    document = _load(manifest.raw)
    document["mediaType"] = DOCKER_MANIFEST
    for value in (document["config"], *document["layers"]):
        docker = _TO_DOCKER.get(value["mediaType"])
        if docker is None:
            return None
        value["mediaType"] = docker
    return _manifest(document)


def as_docker_list(index: Index, changed: Mapping[Digest, Descriptor]) -> Index:
    """An OCI index as a Docker manifest list; ``changed`` has what takes the place of its manifests."""
    listed = with_changed_entries(index, changed)
    return _index({**_load(listed.raw), "mediaType": DOCKER_MANIFEST_LIST})


def with_entries(
    index: Index, entries: Sequence[tuple[Any, Descriptor]], changed: Mapping[Digest, Descriptor]
) -> Index:
    """``index`` with these entries: each the JSON object that it is, and that object read.

    ``changed`` has what takes the place of an entry's document, by the digest it had.
    """
    document = _load(index.raw)
    document["manifests"] = [_renamed(value, old, changed.get(old.digest)) for value, old in entries]
    return _index(document)


def with_changed_entries(index: Index, changed: Mapping[Digest, Descriptor]) -> Index:
    """``index`` with every entry it has, where ``changed`` has what takes the place of some, by their digests."""
    values = _load(index.raw)["manifests"]
    if not any(entry.digest in changed for entry in index.manifests):
        return index
    return with_entries(index, list(zip(values, index.manifests, strict=True)), changed)


def _changed(value: dict[str, Any], old: Descriptor, new: Descriptor) -> dict[str, Any]:
    if new == old:
        return value
    result = {**value, "mediaType": new.media_type, "digest": str(new.digest), "size": new.size}
    result.pop("urls", None)
    if new.urls:
        result["urls"] = list(new.urls)
    if new.digest != old.digest:
        result.pop("data", None)
    result.pop("annotations", None)
    if new.annotations:
        result["annotations"] = dict(sorted(new.annotations.items()))
    return result


def _renamed(value: dict[str, Any], old: Descriptor, new: Descriptor | None) -> dict[str, Any]:
    if new is None or new.digest == old.digest:
        return value
    result = {**value, "mediaType": new.media_type, "digest": str(new.digest), "size": new.size}
    result.pop("data", None)
    return result


def _load(raw: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(raw)  # it was parsed strictly before
    return document


def _manifest(document: dict[str, Any]) -> Manifest:
    parsed = parse_document(encode_json(document), str(document.get("mediaType") or OCI_MANIFEST))
    if not isinstance(parsed, Manifest):
        raise FormatError("a manifest that is none any more", kind="media-type")
    return parsed


def _index(document: dict[str, Any]) -> Index:
    parsed = parse_document(encode_json(document), str(document.get("mediaType") or OCI_INDEX))
    if not isinstance(parsed, Index):
        raise FormatError("an index that is none any more", kind="media-type")
    return parsed
