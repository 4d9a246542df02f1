"""The same image with Docker's media types, for a registry of before there were others.

Blobs stay as they are; manifests get other digests, which is why it is done only where nothing else is taken, and told.
"""

from __future__ import annotations

from dataclasses import replace

from wclayer.image.copying.ends import Plan, PlannedDocument
from wclayer.image.copying.rewriting import as_docker_list, as_docker_manifest
from wclayer.oci.descriptors import Descriptor, Index, Manifest
from wclayer.oci.digests import Digest
from wclayer.oci.mediatypes import OCI_INDEX, OCI_MANIFEST

__all__ = ["with_docker_types"]


def with_docker_types(plan: Plan) -> Plan | None:
    """``plan`` with Docker manifests in place of OCI ones; None when one of them cannot be such, or none has to."""
    changed: dict[Digest, Descriptor] = {}
    documents = []
    for planned in plan.documents:
        old = planned.document
        new: Manifest | Index | None = old
        if isinstance(old, Index):
            if old.media_type == OCI_INDEX or any(entry.digest in changed for entry in old.manifests):
                new = as_docker_list(old, changed)
        elif old.media_type == OCI_MANIFEST:
            new = None if planned.config is None else as_docker_manifest(old)
        if new is None:
            return None
        descriptor = replace(planned.descriptor, media_type=new.media_type, digest=new.digest, size=len(new.raw))
        if descriptor.digest != planned.descriptor.digest:
            changed[planned.descriptor.digest] = descriptor
        documents.append(PlannedDocument(descriptor, new, planned.config))
    return replace(plan, documents=tuple(documents)) if changed else None
