"""Referrers: what was attached to an image (signatures, SBOMs), and how registries without that API remember it.

Distribution specification 1.1, "Listing Referrers" and "Referrers Tag Schema": a registry that does not know the API
answers 404; then an index under a tag made of the digest stands in, which whoever pushes keeps up to date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

from wclayer.errors import NotFoundError, UnsupportedError
from wclayer.oci.descriptors import Descriptor, Index, Manifest
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import OCI_INDEX
from wclayer.oci.registry.documents import Document, delete_document, get_document, put_document
from wclayer.oci.registry.listing import pages

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wclayer.oci.registry.answers import Answer
    from wclayer.oci.registry.repository import Repository

__all__ = ["add_referrer", "fallback_tag", "list_referrers", "remove_referrer"]

_TRIES = 5


def fallback_tag(digest: Digest) -> str:
    """The tag under which the referrers of ``digest`` are listed where the API is not known."""
    return f"{digest.algorithm[:32]}-{digest.hex[:64]}"


def list_referrers(repository: Repository, digest: Digest, artifact_type: str | None) -> Index:
    """What refers to ``digest``; see :meth:`wclayer.oci.registry.repository.Repository.referrers`."""
    found = _from_api(repository, digest, artifact_type)
    if found is None:
        found = _from_tag(repository, digest)
    if artifact_type is not None:
        found = [descriptor for descriptor in found if descriptor.artifact_type == artifact_type]
    return _index(found)


def _from_api(repository: Repository, digest: Digest, artifact_type: str | None) -> list[Descriptor] | None:
    """As the API lists them; None when the registry does not know it."""
    path = f"referrers/{digest}" + (f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else "")
    what = f"the referrers of {digest}"

    def fetch(path: str) -> Answer:
        answer = repository.request(
            "GET", path, headers={"Accept": OCI_INDEX}, expect=(200, 404, 405), what=what, actions="pull"
        )
        if answer.status != 200:
            answer.drain()
            raise _NoApi
        return answer

    found: list[Descriptor] = []
    try:
        for page, _ in pages(fetch, path, what):
            found += [Descriptor.of(entry) for entry in page.array("manifests")]
    except _NoApi:
        return None
    return found


class _NoApi(Exception):
    """The registry does not know referrers."""


def _from_tag(repository: Repository, digest: Digest) -> list[Descriptor]:
    document = _tagged(repository, digest)
    return list(document.parsed.manifests) if document and isinstance(document.parsed, Index) else []


def _tagged(repository: Repository, digest: Digest) -> Document | None:
    try:
        return get_document(repository, fallback_tag(digest))
    except NotFoundError:
        return None


def _index(descriptors: Iterable[Descriptor]) -> Index:
    listed = tuple(descriptors)
    raw = encode_json(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor.to_json() for descriptor in listed]}
    )
    return Index(raw, digest_of(raw), OCI_INDEX, listed)


def add_referrer(repository: Repository, document: Manifest | Index) -> None:
    """List ``document`` as a referrer of its subject under the tag that stands in for the API.

    Somebody else may do the same at the same time: it is read again afterwards, and done again when it got lost.
    """
    if document.subject is None:
        return
    artifact_type = document.artifact_type
    if not artifact_type and isinstance(document, Manifest):
        artifact_type = document.config.media_type
    entry = Descriptor(
        document.media_type,
        document.digest,
        len(document.raw),
        annotations=document.annotations,
        artifact_type=artifact_type,
    )
    subject = document.subject.digest
    for _ in range(_TRIES):
        listed = _from_tag(repository, subject)
        if any(descriptor.digest == entry.digest for descriptor in listed):
            return
        put_document(repository, _index([*listed, entry]).raw, OCI_INDEX, fallback_tag(subject))


def remove_referrer(repository: Repository, document: Manifest | Index) -> None:
    """Take ``document``, which was deleted, from the list of its subject's referrers, where a tag holds that list."""
    if document.subject is None or _from_api(repository, document.subject.digest, None) is not None:
        return
    subject = document.subject.digest
    listed = _from_tag(repository, subject)
    kept = [descriptor for descriptor in listed if descriptor.digest != document.digest]
    if len(kept) == len(listed):
        return
    if kept:
        put_document(repository, _index(kept).raw, OCI_INDEX, fallback_tag(subject))
        return
    tagged = _tagged(repository, subject)
    if tagged is not None:
        try:
            delete_document(repository, tagged.digest)
        except UnsupportedError:  # an empty list says the same
            put_document(repository, _index([]).raw, OCI_INDEX, fallback_tag(subject))
