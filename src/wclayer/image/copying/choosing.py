"""Which images of an index are copied: one, some, or the index as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wclayer.errors import FormatError, UsageError
from wclayer.image.copying.ends import Source
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor, Index, Manifest
from wclayer.oci.digests import Digest
from wclayer.oci.image import image_candidates, read_document
from wclayer.oci.platforms import DEFAULT_PLATFORM, PlatformSpec
from wclayer.oci.selection import Candidate, select
from wclayer.oci.strictjson import parse_object

__all__ = ["Choice", "choose", "filtered"]

_SUBJECT = "vnd.docker.reference.digest"
"""The annotation of an attestation that names the image it is about (BuildKit, attestation storage)."""


@dataclass(frozen=True, slots=True)
class Choice:
    """What is copied: ``root``, and of an index only ``wanted``, when that is not None."""

    root: Descriptor
    wanted: frozenset[Digest] | None = None
    notes: tuple[str, ...] = ()


def choose(source: Source, platforms: Sequence[PlatformSpec], *, all_platforms: bool, hyperv: bool = False) -> Choice:
    """What to copy of ``source``: for ``platforms`` the best image of each, with none the default one.

    An image that stands alone is taken when nothing else was asked for. NotFoundError that lists what there is;
    UsageError for all of several roots.
    """
    if all_platforms:
        if len(source.roots) > 1:
            raise UsageError(f"{len(source.roots)} manifests go by this name", hint="name one of them by its digest")
        return Choice(source.roots[0])
    if not platforms and len(source.roots) == 1 and source.roots[0].type.role == "manifest":
        return Choice(source.roots[0])
    if not platforms and len(source.roots) == 1:  # what the root is only its bytes say for certain
        document = read_document(source.store, source.roots[0])
        if isinstance(document, Manifest):
            return Choice(source.roots[0])
    candidates = image_candidates(source.store, source.roots)
    chosen: dict[Digest, Candidate] = {}
    notes: list[str] = []
    for wanted in platforms or (DEFAULT_PLATFORM,):
        selection = select(candidates, wanted, hyperv=hyperv)
        chosen.setdefault(selection.chosen.descriptor.digest, selection.chosen)
        notes += selection.notes
    if len(chosen) == 1:
        (one,) = chosen.values()
        return Choice(replace(one.descriptor, platform=one.platform), notes=tuple(notes))
    if len(source.roots) > 1:
        raise UsageError("several images of one name and no index of them", hint="copy them one by one")
    return Choice(source.roots[0], frozenset(chosen), tuple(notes))


def filtered(source: Source, index: Index, wanted: frozenset[Digest]) -> list[tuple[Any, Descriptor]]:
    """The entries of ``index``, and of those inside it, that are ``wanted`` or are attestations of what is.

    Each comes as the JSON object that it is, and as that object read.
    """
    subjects = {str(digest) for digest in wanted}
    entries: list[tuple[Any, Descriptor]] = []
    seen: set[Digest] = set()

    def visit(index: Index) -> None:
        node = parse_object(index.raw, what="index", limit=MANIFEST_LIMIT)
        for child, entry in zip(node.array("manifests"), index.manifests, strict=True):
            if entry.type.role == "index":
                if entry.digest not in seen:
                    seen.add(entry.digest)
                    inner = read_document(source.store, entry)
                    if not isinstance(inner, Index):
                        raise FormatError(f"{entry.digest}: a manifest where an index was announced", kind="media-type")
                    visit(inner)
            elif entry.digest in wanted or entry.annotations.get(_SUBJECT) in subjects:
                entries.append((child.value, entry))

    visit(index)
    return entries
