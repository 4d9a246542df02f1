"""Foreign layers: those whose media type says that they must not be distributed, but be fetched from their ``urls``.

Microsoft's base layers were such until 2023, and copies of that time still are. What is done with one is a matter of
policy, never of accident: other tools leave its bytes out without a word. Only the media type counts (OCI image
specification, layer.md, "Non-Distributable Layers"); the presence of ``urls`` says nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, TypeAlias

from wclayer.oci.descriptors import Descriptor

__all__ = ["URLS_ANNOTATION", "ForeignPolicy", "is_foreign", "ordinary"]

ForeignPolicy: TypeAlias = Literal["keep", "fetch", "rewrite", "strip"]
"""``keep``: the descriptor stays, the bytes are not copied. ``fetch``: both are. ``rewrite``: it becomes an ordinary
layer, and an annotation remembers the addresses. ``strip``: the same, and nothing is remembered."""

URLS_ANNOTATION = "io.wclayer.foreign.urls"
"""The annotation with the addresses that a rewritten layer had, separated by spaces."""

_ORDINARY = (
    ("application/vnd.oci.image.layer.nondistributable.v1.tar", "application/vnd.oci.image.layer.v1.tar"),
    ("application/vnd.docker.image.rootfs.foreign.diff.tar", "application/vnd.docker.image.rootfs.diff.tar"),
)


def is_foreign(layer: Descriptor) -> bool:
    """Whether ``layer`` is of a type that must not be distributed."""
    return not layer.type.distributable


def ordinary(layer: Descriptor, *, remember: bool) -> Descriptor:
    """``layer`` as one that may be distributed, without ``urls``; ``remember`` keeps them in an annotation."""
    media_type = layer.media_type
    for foreign, plain in _ORDINARY:
        if layer.type.base.startswith(foreign):
            media_type = plain + layer.type.base.removeprefix(foreign)
    annotations = dict(layer.annotations)
    if remember and layer.urls:
        annotations[URLS_ANNOTATION] = " ".join(layer.urls)
    return replace(layer, media_type=media_type, urls=(), annotations=annotations)
