"""The entries of an index, one after another: what each is, for which platform, and where nested indexes lead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wclayer.errors import FormatError, LimitError
from wclayer.image.documents import open_named
from wclayer.oci.descriptors import Descriptor, Index, Platform
from wclayer.oci.digests import Digest
from wclayer.oci.named import Documents
from wclayer.oci.platforms import format_platform
from wclayer.oci.selection import is_no_image

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["ATTESTED", "IndexEntry", "list_entries", "walk_entries"]

ATTESTED = "vnd.docker.reference.digest"
"""The annotation of an attestation that names the manifest it is about."""

_DEPTH = 8
_ENTRIES = 10_000

Kind = Literal["image", "index", "attestation", "artifact", "other"]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """One entry. ``depth`` counts the nested indexes around it; ``subject`` is what an attestation is about."""

    descriptor: Descriptor
    kind: Kind
    platform: Platform | None
    depth: int = 0
    subject: str = ""

    @property
    def platform_text(self) -> str | None:
        """Operating system, features and architecture in containerd's spelling, without the version."""
        said = self.platform
        if said is None:
            return None
        return format_platform(Platform(said.os, said.architecture, said.variant, "", said.os_features))


def list_entries(target: str, *, network: Network | None = None) -> list[IndexEntry]:
    """The entries of the index that ``target`` names; of a lone image the image itself.

    Documents are read where an entry does not say its platform; nothing of a layer is looked at. Raises what
    :func:`wclayer.image.documents.open_named` and reading documents raise, and LimitError for an index without end.
    """
    with open_named(target, network) as named:
        return list(walk_entries(named))


def walk_entries(named: Documents) -> Iterator[IndexEntry]:
    """The entries below what ``named`` names, those of a nested index after it."""
    roots = named.roots
    if len(roots) == 1 and roots[0].type.role == "index":
        roots = _index(named, roots[0]).manifests
    count = 0
    seen: set[Digest] = set()

    def walk(entries: Iterable[Descriptor], depth: int) -> Iterator[IndexEntry]:
        nonlocal count
        if depth > _DEPTH:
            raise LimitError(f"indexes are nested deeper than {_DEPTH} levels")
        for entry in entries:
            count += 1
            if count > _ENTRIES:
                raise LimitError(f"an index with more than {_ENTRIES} entries")
            found = _entry(named, entry, depth)
            yield found
            if found.kind == "index" and entry.digest not in seen:
                seen.add(entry.digest)
                yield from walk(_index(named, entry).manifests, depth + 1)

    return walk(roots, 0)


def _index(named: Documents, descriptor: Descriptor) -> Index:
    document = named.document(descriptor)
    if not isinstance(document, Index):
        raise FormatError(f"{descriptor.digest}: a manifest where an index was announced", kind="media-type")
    return document


def _entry(named: Documents, entry: Descriptor, depth: int) -> IndexEntry:
    role = entry.type.role
    said = entry.platform if entry.platform and entry.platform.os else None
    if is_no_image(entry):
        subject = entry.annotations.get(ATTESTED, "")
        unknown = said is not None and said.os == "unknown"
        kind: Kind = "attestation" if not entry.artifact_type and (subject or unknown) else "artifact"
        return IndexEntry(entry, kind, None, depth, subject)
    if role == "index":
        return IndexEntry(entry, "index", said, depth)
    if role not in ("manifest", "config"):
        return IndexEntry(entry, "other", said, depth)
    if said is None:
        said = named.platform(entry)
    return IndexEntry(entry, "image" if said else "artifact", said, depth)
