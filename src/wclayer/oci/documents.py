"""Manifests and configurations that are made here: the same values give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence

from wclayer.oci.descriptors import Descriptor, History, Platform
from wclayer.oci.digests import Digest
from wclayer.oci.mediatypes import OCI_INDEX, OCI_MANIFEST

__all__ = ["encode_config", "encode_index", "encode_json", "encode_manifest"]


def encode_json(document: object) -> bytes:
    """``document`` as compact JSON, with keys in the order they are in."""
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode("ascii")


def encode_manifest(
    config: Descriptor,
    layers: Sequence[Descriptor],
    *,
    media_type: str = OCI_MANIFEST,
    annotations: Mapping[str, str] | None = None,
) -> bytes:
    """An image manifest; ``layers`` are base first."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": config.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    return encode_json(document)


def encode_index(
    manifests: Sequence[Descriptor], *, media_type: str = OCI_INDEX, annotations: Mapping[str, str] | None = None
) -> bytes:
    """An index of ``manifests``, which say their platforms."""
    document: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media_type,
        "manifests": [entry.to_json() for entry in manifests],
    }
    if annotations:
        document["annotations"] = dict(sorted(annotations.items()))
    return encode_json(document)


def encode_config(
    platform: Platform,
    diff_ids: Iterable[Digest],
    *,
    created: str = "",
    config: Mapping[str, object] | None = None,
    history: Iterable[History] = (),
) -> bytes:
    """An image configuration; ``created`` is an RFC 3339 time, ``config`` what runs (``Cmd``, ``Env``, ``User``, …)."""
    document: dict[str, object] = {}
    if created:
        document["created"] = created
    document["architecture"] = platform.architecture
    if platform.variant:
        document["variant"] = platform.variant
    document["os"] = platform.os
    if platform.os_version:
        document["os.version"] = platform.os_version
    if platform.os_features:
        document["os.features"] = list(platform.os_features)
    document["config"] = dict(config or {})
    document["rootfs"] = {"type": "layers", "diff_ids": [str(diff_id) for diff_id in diff_ids]}
    lines = [_history(line) for line in history]
    if lines:
        document["history"] = lines
    return encode_json(document)


def _history(line: History) -> dict[str, object]:
    fields: dict[str, object] = {
        "created": line.created,
        "created_by": line.created_by,
        "author": line.author,
        "comment": line.comment,
        "empty_layer": line.empty_layer,
    }
    return {key: value for key, value in fields.items() if value}
