"""The documents of an image on another base: documents in, documents out, and no layer is looked at.

What stands above the old base is the image's own and all of it stays; what is below comes from the new base, and so
does the platform, for it is the base that an image gets its version of Windows from. A history is only told by the
tools that made the image, and many told nothing, so it is fitted to the layers and never the layers to it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wclayer.errors import FormatError, UsageError
from wclayer.image.copying.rewriting import as_oci_manifest
from wclayer.oci.descriptors import ImageConfig, Manifest, Platform, parse_document
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import OCI_MANIFEST
from wclayer.oci.platforms import format_platform, normalize, version_triple

__all__ = [
    "BASE_DIGEST",
    "BASE_NAME",
    "ImageDocuments",
    "doubts",
    "first_difference",
    "on_base",
    "same_build",
    "stitch_history",
    "with_base",
]

BASE_NAME = "org.opencontainers.image.base.name"
"""The annotation with the name of the base (OCI image specification, annotations.md)."""
BASE_DIGEST = "org.opencontainers.image.base.digest"
"""The annotation with the digest of the base's manifest."""

_PLATFORM = ("architecture", "variant", "os", "os.version", "os.features")
_UNTOLD = "nothing is known of this layer"


@dataclass(frozen=True, slots=True)
class ImageDocuments:
    """Manifest and configuration of one image; there are as many DiffIDs as layers."""

    manifest: Manifest
    config: ImageConfig


def first_difference(image: ImageDocuments, base: ImageDocuments) -> int | None:
    """The first layer of ``base`` that ``image`` does not have at this place, None when it stands on ``base``.

    Layers are the same by their DiffID, for a base may have been compressed anew, or by the digest of their blob.
    """
    for number, (layer, diff_id) in enumerate(zip(base.manifest.layers, base.config.diff_ids, strict=True)):
        if number >= len(image.config.diff_ids):
            return number
        if diff_id != image.config.diff_ids[number] and layer.digest != image.manifest.layers[number].digest:
            return number
    return None


def same_build(one: Platform, other: Platform) -> bool:
    """Whether two platforms are the same but for the revision of Windows. Versions are compared as numbers."""
    left, right = normalize(one), normalize(other)
    if (left.os, left.architecture, left.variant) != (right.os, right.architecture, right.variant):
        return False
    if left.os_version == right.os_version:
        return True
    numbers = version_triple(left.os_version)
    return left.os == "windows" and numbers is not None and numbers == version_triple(right.os_version)


def doubts(old: Platform, new: Platform, *, force: bool = False) -> tuple[str, ...]:
    """What speaks against a base for ``new`` in place of one for ``old``, as notes.

    Raises UsageError for another operating system or architecture, and for another build unless ``force`` is given.
    """
    if same_build(old, new):
        return ()
    left, right = normalize(old), normalize(new)
    if (left.os, left.architecture) != (right.os, right.architecture):
        raise UsageError(f"the new base is for {format_platform(new)}, the old one for {format_platform(old)}")
    said = (
        f"the new base is {format_platform(new)} and the old one {format_platform(old)}:"
        " the layers above were made for another build"
    )
    if not force:
        raise UsageError(said, hint="--force goes on nevertheless")
    return (said,)


def stitch_history(
    image: Sequence[Mapping[str, Any]],
    image_layers: int,
    old: Sequence[Mapping[str, Any]],
    old_layers: int,
    new: Sequence[Mapping[str, Any]],
    new_layers: int,
) -> list[dict[str, Any]]:
    """The history of the image on the new base: the lines of the base, then those of the image's own layers.

    Each history may tell of fewer layers than there are, or of more, or be empty. The result has exactly one line that
    is no ``empty_layer`` for each layer. Where lines lack, the lowest layers are those that nothing is told of, for
    tools add theirs at the end.
    """
    own = image_layers - old_layers
    return [*_fitted(new, new_layers), *_fitted(image[_own_start(image, image_layers, old, old_layers) :], own)]


def on_base(
    image: ImageDocuments, old: ImageDocuments, new: ImageDocuments, *, name: str, digest: Digest
) -> ImageDocuments:
    """``image`` on the base ``new`` in place of ``old``; everything that does not come from the base is kept.

    ``name`` and ``digest`` are what the annotations call the new base; without a name there is no such annotation. A
    manifest of Docker's becomes one of OCI when the base has one. ``image`` must stand on ``old``.
    """
    below = len(old.config.diff_ids)
    config = _load(image.config.raw)
    of_base = _load(new.config.raw)
    merged = {key: of_base[key] for key in _PLATFORM if key in of_base}
    merged |= {key: value for key, value in config.items() if key not in _PLATFORM}
    diff_ids = [*new.config.diff_ids, *image.config.diff_ids[below:]]
    merged["rootfs"] = {**config["rootfs"], "diff_ids": [str(diff_id) for diff_id in diff_ids]}
    merged["history"] = stitch_history(
        config.get("history") or [],
        len(image.config.diff_ids),
        _load(old.config.raw).get("history") or [],
        below,
        of_base.get("history") or [],
        len(new.config.diff_ids),
    )
    raw = encode_json(merged)
    upper, lower = image.manifest, new.manifest
    if upper.media_type != lower.media_type:
        upper, lower = as_oci_manifest(upper), as_oci_manifest(lower)
    document = _load(upper.raw)
    document["config"] |= {"digest": str(digest_of(raw)), "size": len(raw)}
    document["config"].pop("data", None)
    document["layers"] = [*_load(lower.raw)["layers"], *document["layers"][below:]]
    document["annotations"] = with_base(document.get("annotations") or {}, name, digest)
    parsed = parse_document(encode_json(document), str(document.get("mediaType") or OCI_MANIFEST))
    if not isinstance(parsed, Manifest):
        raise FormatError("a manifest that is none any more", kind="media-type")
    return ImageDocuments(parsed, ImageConfig.parse(raw))


def with_base(annotations: Mapping[str, str], name: str, digest: Digest) -> dict[str, str]:
    """``annotations`` that name this base and no other."""
    kept = {key: text for key, text in annotations.items() if key not in (BASE_NAME, BASE_DIGEST)}
    if name:
        kept[BASE_NAME] = name
    kept[BASE_DIGEST] = str(digest)
    return kept


def _own_start(
    image: Sequence[Mapping[str, Any]], image_layers: int, old: Sequence[Mapping[str, Any]], below: int
) -> int:
    """Where in the history of the image the lines of its own begin."""
    is_prefix = list(image[: len(old)]) == list(old)
    if _told(image) == image_layers:
        if is_prefix and _told(old) == below:
            return len(old)  # with the lines of the base that made no layer
        return _after(image, below)
    own = image_layers - below
    if is_prefix and _told(image[len(old) :]) <= own:
        return len(old)
    return _after(image, max(_told(image) - own, 0))


def _after(lines: Sequence[Mapping[str, Any]], layers: int) -> int:
    """Where the lines begin that follow those of the first ``layers`` layers."""
    if not layers:
        return 0
    told = 0
    for number, line in enumerate(lines):
        told += not line.get("empty_layer")
        if told == layers:
            return number + 1
    return len(lines)


def _told(lines: Sequence[Mapping[str, Any]]) -> int:
    return sum(not line.get("empty_layer") for line in lines)


def _fitted(lines: Sequence[Mapping[str, Any]], layers: int) -> list[dict[str, Any]]:
    """``lines`` with one for each layer: below them some that tell nothing, or the first of too many for no layer."""
    told = _told(lines)
    result: list[dict[str, Any]] = [{"comment": _UNTOLD} for _ in range(layers - told)]
    surplus = told - layers
    for line in lines:
        if surplus > 0 and not line.get("empty_layer"):
            result.append({**line, "empty_layer": True})
            surplus -= 1
        else:
            result.append(dict(line))
    return result


def _load(raw: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(raw)  # it was parsed strictly before
    return document
