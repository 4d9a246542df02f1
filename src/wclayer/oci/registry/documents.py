"""Manifests and indexes as a registry gives and takes them: bytes, which are checked against every digest around.

A registry is believed in nothing that can be checked: content asked for by digest must have it, a digest in a header
must be that of the content, and a media type in a header that of the document.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wclayer.errors import FormatError, NetworkError, UnsupportedError, WclayerError
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor, Index, Manifest, parse_document
from wclayer.oci.digests import Digest, digest_of, require_digest
from wclayer.oci.mediatypes import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST, bare, classify
from wclayer.oci.registry.answers import Answer
from wclayer.oci.registry.redaction import printable

if TYPE_CHECKING:
    from wclayer.oci.registry.repository import Repository

__all__ = ["Document", "delete_document", "get_document", "head_document", "header_digest", "put_document"]

ACCEPTED = ", ".join(
    (
        OCI_INDEX,
        OCI_MANIFEST,
        DOCKER_MANIFEST_LIST,
        DOCKER_MANIFEST,
        "application/vnd.oci.artifact.manifest.v1+json",
        "*/*",
    )
)
_VAGUE = ("", "application/json", "application/octet-stream", "text/plain", "binary/octet-stream")


@dataclass(frozen=True, slots=True)
class Document:
    """A manifest or an index: the bytes that ``digest`` is of, their media type, and what they say."""

    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest
    parsed: Manifest | Index = field(repr=False)

    @property
    def descriptor(self) -> Descriptor:
        """A descriptor of the document itself."""
        return Descriptor(self.media_type, self.digest, len(self.raw))


def get_document(repository: Repository, reference: str | Digest) -> Document:
    """Fetch a manifest or an index; see :meth:`wclayer.oci.registry.repository.Repository.get_manifest`."""
    what = f"the manifest {reference} of {repository.name.repository}"
    with repository.request(
        "GET", f"manifests/{reference}", headers={"Accept": ACCEPTED}, expect=(200,), what=what
    ) as answer:
        kind = bare(answer.headers.get("content-type", ""))
        promised = header_digest(answer)
        place = answer.place
        raw = answer.read(MANIFEST_LIMIT, what)
    if kind == "text/html":
        raise NetworkError(f"{place} answers with a web page where {what} was asked for")
    if isinstance(reference, Digest):
        require_digest(reference, raw, what=f"the manifest from {place}")
    elif promised is not None:
        require_digest(promised, raw, what=f"the manifest from {place}")
    digest = reference if isinstance(reference, Digest) else promised or digest_of(raw)
    parsed = parse_document(raw, None if kind in _VAGUE else kind, what=what, digest=digest)
    return Document(raw, parsed.media_type, digest, parsed)


def head_document(repository: Repository, reference: str | Digest) -> Descriptor | None:
    """What a reference leads to, without its content where the registry can say it; None when it leads nowhere."""
    what = f"the manifest {reference} of {repository.name.repository}"
    answer = repository.request(
        "HEAD", f"manifests/{reference}", headers={"Accept": ACCEPTED}, expect=(200, 404, 405), what=what, stream=False
    )
    if answer.status == 404:
        return None
    digest = header_digest(answer) or (reference if isinstance(reference, Digest) else None)
    kind, size = bare(answer.headers.get("content-type", "")), answer.content_length
    if answer.status == 405 or digest is None or size is None or classify(kind).role not in ("manifest", "index"):
        return get_document(repository, reference).descriptor
    if isinstance(reference, Digest) and digest.algorithm == reference.algorithm and digest != reference:
        raise NetworkError(f"{answer.place} answers for {digest} where {reference} was asked for")
    return Descriptor(kind, digest, size)


def put_document(repository: Repository, raw: bytes, media_type: str, reference: str | Digest) -> tuple[Digest, bool]:
    """Store a manifest; its digest, and whether the registry lists it as a referrer of its subject by itself."""
    what = f"the manifest {reference} of {repository.name.repository}"
    digest = reference if isinstance(reference, Digest) else digest_of(raw)
    require_digest(digest, raw, what="the manifest to store")
    answer = repository.request(
        "PUT",
        f"manifests/{reference}",
        headers={"Content-Type": media_type},
        body=raw,
        actions="pull,push",
        expect=(201, 200, 202),
        what=f"storing {what}",
        stream=False,
    )
    stored = header_digest(answer)
    if stored is not None and stored != digest and stored != digest_of(raw, stored.algorithm):
        raise NetworkError(f"{answer.place} stored the manifest as {stored}, but its digest is {digest}")
    return digest, "oci-subject" in answer.headers


def delete_document(repository: Repository, reference: str | Digest) -> None:
    """Delete a manifest by its digest, or a tag."""
    is_tag = not isinstance(reference, Digest)
    what = f"deleting {'the tag' if is_tag else 'the manifest'} {reference} of {repository.name.repository}"
    # Where only digests can be deleted, a tag is a bad digest.
    expect = (202, 200, 204, 400, 405) if is_tag else (202, 200, 204, 405)
    answer = repository.request(
        "DELETE", f"manifests/{reference}", actions="pull,delete", expect=expect, what=what, stream=False
    )
    if answer.status in (400, 405):
        place = repository.host.name
        if is_tag:
            hint = "delete the manifest by its digest, and with it all of its tags"
            raise UnsupportedError(f"{place} does not delete tags alone: {what}", hint=hint)
        raise UnsupportedError(f"{place} does not allow deletion: {what}")


def header_digest(answer: Answer) -> Digest | None:
    """``Docker-Content-Digest``, None when there is none or one of an algorithm that is not known; NetworkError."""
    text = answer.headers.get("docker-content-digest")
    if not text:
        return None
    try:
        return Digest.parse(text)
    except UnsupportedError:
        return None
    except (FormatError, WclayerError):
        raise NetworkError(f"{answer.place} gives a digest that is none: {printable(text, 100)}") from None
