"""The content store of this machine as a destination: its images are named by their full references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from wclayer.image.copying.ends import Outcome, Plan, PlannedBlob, PlannedDocument
from wclayer.image.copying.fetching import Advance
from wclayer.image.copying.registry_source import copy_into
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest
from wclayer.oci.image import StoredBlob
from wclayer.oci.network import Network

if TYPE_CHECKING:
    from wclayer.oci.content.leases import Lease
    from wclayer.oci.content.partial import PartialBlob

__all__ = ["StoreDestination"]


class StoreDestination:
    """The content store that ``network`` has."""

    jobs: int | None = None
    takes_tars = False

    def __init__(self, network: Network, reference: str) -> None:
        self.reference = reference
        self._content = network.store()
        self._held = ExitStack()

    def is_present(self, plan: Plan) -> bool:
        """Whether the names lead to this image, and everything of it is there by its size."""
        names = self._content.names()
        root = plan.root.descriptor.digest
        if not all(name in names and names[name].digest == root for name in plan.names):
            return False
        return all(self._has(descriptor) for descriptor in plan.descriptors())

    def has_blob(self, blob: PlannedBlob) -> bool:
        """Whether a blob is there, by its size."""
        return self._has(blob.descriptor)

    def begin(self, plans: Sequence[Plan]) -> None:
        """Keep everything of these images from being collected until they have their names."""
        lease: Lease = self._held.enter_context(self._content.lease())
        for plan in plans:
            lease.add(*(descriptor.digest for descriptor in plan.descriptors()))

    def put_blob(self, blob: PlannedBlob, stored: StoredBlob, advance: Advance) -> Outcome:
        """Store a blob, unless it is there or another process brings it."""
        descriptor, source = blob.descriptor, blob.source
        if self._has(descriptor):
            return "present"
        outcome: Outcome = "present"

        def fetch(partial: PartialBlob) -> None:
            nonlocal outcome
            outcome = "copied"
            if source.repository is not None and source.fetch is not None and blob.origin.digest == descriptor.digest:
                source.fetch(descriptor, partial, advance)
            else:
                copy_into(stored.open(), partial, advance)

        self._content.ingest(descriptor.digest, descriptor.size, fetch)
        return outcome

    def put_document(self, document: PlannedDocument, plan: Plan) -> None:
        """Store a document that is not the root."""
        if document is not plan.root:
            descriptor = document.descriptor
            self._content.put_bytes(document.raw, descriptor.media_type, digest=descriptor.digest)

    def finish(self, plans: Sequence[Plan]) -> Mapping[Digest, Digest]:
        """Name the images."""
        for plan in plans:
            root = plan.root
            self._content.put_bytes(root.raw, root.descriptor.media_type, digest=root.descriptor.digest)
            for name in plan.names:
                self._content.tag(name, root.raw, root.descriptor.media_type)
        return {}

    def close(self) -> None:
        """Give the lease back."""
        self._held.close()

    def _has(self, descriptor: Descriptor) -> bool:
        return self._content.blob(descriptor.digest, descriptor.size) is not None
