"""A repository of a registry as a destination: blobs first, then manifests, and the tag at the very end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from wclayer.errors import AuthenticationError, NetworkError, UnsupportedError, UsageError
from wclayer.image.copying.ends import Outcome, Plan, PlannedBlob, PlannedDocument, TypesRefusedError
from wclayer.image.copying.fetching import Advance
from wclayer.image.copying.foreign import is_foreign
from wclayer.oci.descriptors import Manifest
from wclayer.oci.digests import Digest
from wclayer.oci.image import StoredBlob
from wclayer.oci.mediatypes import OCI_INDEX, OCI_MANIFEST
from wclayer.oci.network import Network
from wclayer.oci.registry.names import RegistryName
from wclayer.oci.verified import VerifiedSource

if TYPE_CHECKING:
    from wclayer.oci.registry.repository import Repository

__all__ = ["RegistryDestination"]

_REFUSED = "the registry may know only Docker's manifests, which cannot hold this image"


class RegistryDestination:
    """The image ``name`` of a registry."""

    takes_tars = False

    def __init__(self, name: RegistryName, network: Network) -> None:
        self.reference = f"docker://{name}"
        self.jobs: int | None = network.max_downloads
        self._name = name
        self._network = network
        self._made: Repository | None = None

    def is_present(self, plan: Plan) -> bool:
        """Whether the name leads to this image: a registry takes no manifest before all it names is there."""
        found = self._repository().head_manifest(self._name.reference)
        return found is not None and found.digest == plan.root.descriptor.digest

    def has_blob(self, blob: PlannedBlob) -> bool:
        """Whether the registry has a blob in this repository."""
        return self._repository().has_blob(blob.descriptor.digest) is not None

    def begin(self, plans: Sequence[Plan]) -> None:
        """Refuse a name by a digest that is not the image's."""
        for plan in plans:
            if self._name.digest not in (None, plan.root.descriptor.digest):
                raise UsageError(
                    f"{self._name}: the image has the digest {plan.root.descriptor.digest}", hint="name it by a tag"
                )

    def put_blob(self, blob: PlannedBlob, stored: StoredBlob, advance: Advance) -> Outcome:
        """Upload a blob, unless it is there, or the registry has it in the repository that it comes from."""
        from wclayer.oci.registry.upload import upload

        repository = blob.source.repository
        came_about = upload(
            self._repository(),
            lambda: VerifiedSource(stored.open(), blob.descriptor),
            blob.descriptor,
            mount_from=() if repository is None else (repository,),
            advance=advance,
        )
        return {"exists": "present", "mounted": "mounted", "uploaded": "copied"}[came_about]  # type: ignore[return-value]

    def put_document(self, document: PlannedDocument, plan: Plan) -> None:
        """Store a manifest that is not the root, by its digest."""
        if document is not plan.root:
            self._put(document, document.descriptor.digest)

    def finish(self, plans: Sequence[Plan]) -> Mapping[Digest, Digest]:
        """Store the root under the name."""
        for plan in plans:
            self._put(plan.root, self._name.reference)
        return {}

    def close(self) -> None:
        """The connections are the network's."""

    def _put(self, document: PlannedDocument, reference: str | Digest) -> None:
        try:
            self._repository().put_manifest(document.raw, document.descriptor.media_type, reference)
        except AuthenticationError:
            raise
        except (NetworkError, UnsupportedError) as error:
            if self._refuses_type(document, reference):
                raise TypesRefusedError(error.message, image=error.image, hint=_REFUSED) from error
            manifest = document.document
            if isinstance(manifest, Manifest) and any(is_foreign(layer) for layer in manifest.layers):
                error.hint = "the registry may refuse foreign layers: --foreign rewrite makes them ordinary ones"
            raise

    def _refuses_type(self, document: PlannedDocument, reference: str | Digest) -> bool:
        """Whether it is the media type that a manifest was refused for, as registries do that know only Docker's."""
        media_type = document.descriptor.media_type
        if media_type not in (OCI_MANIFEST, OCI_INDEX):
            return False
        from wclayer.oci.registry.failures import server_words

        answer = self._repository().request(
            "PUT",
            f"manifests/{reference}",
            headers={"Content-Type": media_type},
            body=document.raw,
            actions="pull,push",
            expect=(200, 201, 202, 400, 404, 405, 415),
        )
        with answer:
            if answer.status < 300:
                return False
            codes, _ = server_words(answer)
        return answer.status == 415 or bool(codes & {"MANIFEST_INVALID", "UNSUPPORTED"})

    def _repository(self) -> Repository:
        if self._made is None:
            self._made = self._network.client().repository(self._name)
        return self._made
