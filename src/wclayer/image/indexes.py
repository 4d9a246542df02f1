"""Indexes of images for several versions of Windows: made from images, or made smaller.

An entry of an index that lacks ``os.version`` cannot be chosen by it, so what an entry says is completed from the
configuration of its image. Entries that are kept are kept as they stand, with whatever this package does not know;
an index of which everything is kept is the same index, byte for byte.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from wclayer.errors import LimitError, NotFoundError, UsageError, WclayerError
from wclayer.image.copying.destinations import open_destination
from wclayer.image.copying.ends import Plan, PlannedBlob, PlannedDocument, Source
from wclayer.image.copying.engine import move
from wclayer.image.copying.planning import PlanOptions, make_plan
from wclayer.image.copying.sources import open_source
from wclayer.image.index_listing import ATTESTED, IndexEntry, walk_entries
from wclayer.oci.descriptors import Descriptor, Index, Platform, parse_document
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.documents import encode_index, encode_json
from wclayer.oci.layout import IMAGE_NAME, REF_NAME
from wclayer.oci.mediatypes import DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX
from wclayer.oci.named import Documents
from wclayer.oci.network import NO_TRANSFERS, TransferProgress
from wclayer.oci.platforms import PlatformSpec, format_platform, normalize, parse_platform, version_numbers
from wclayer.oci.selection import is_no_image

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["WrittenIndex", "covers", "create_index", "filter_index"]

_DEPTH = 8
_KEPT = 10_000


@dataclass(frozen=True, slots=True)
class WrittenIndex:
    """What was written: the digest of the index, its media type, and its images in canonical spelling."""

    digest: Digest
    media_type: str
    size: int
    platforms: tuple[str, ...]
    notes: tuple[str, ...]


def create_index(
    destination: str,
    targets: Sequence[str],
    *,
    annotations: Mapping[str, str] | None = None,
    foreign: Literal["fetch", "keep"] = "fetch",
    network: Network | None = None,
    progress: TransferProgress = NO_TRANSFERS,
) -> WrittenIndex:
    """Write an index of the images that ``targets`` name to ``destination``, in their order; of indexes their images.

    Platforms are those of the configurations. The index is a Docker manifest list when all manifests are Docker's.
    With ``foreign`` ``keep`` of foreign layers no more than their descriptors is written. The references are those of
    :mod:`wclayer.image.copying`. Raises NotFoundError when there is no image, and what reading and writing raise.
    """
    notes: list[str] = []
    entries: dict[Digest, Descriptor] = {}
    with ExitStack() as stack:
        found: list[tuple[Source, Descriptor]] = []
        for target in targets:
            source = open_source(target, network=network)
            stack.callback(source.close)
            notes += source.notes
            for descriptor in _taken(source, notes):
                if descriptor.digest in entries:
                    notes.append(f"{descriptor.digest} is named twice: taken once")
                    continue
                entries[descriptor.digest] = descriptor
                found.append((source, descriptor))
        if not entries:
            raise NotFoundError("there is no image to make an index of")
        notes += _doubtful(entries.values())
        docker = all(entry.media_type == DOCKER_MANIFEST for entry in entries.values()) and not annotations
        media_type = DOCKER_MANIFEST_LIST if docker else OCI_INDEX
        raw = encode_index(list(entries.values()), media_type=media_type, annotations=annotations)
        notes += _write(destination, raw, media_type, found, foreign, network, progress)
        return _written(raw, media_type, entries.values(), notes)


def filter_index(
    target: str,
    destination: str,
    platforms: Sequence[str],
    *,
    foreign: Literal["fetch", "keep"] = "fetch",
    network: Network | None = None,
    progress: TransferProgress = NO_TRANSFERS,
) -> WrittenIndex:
    """Write the index ``target`` to ``destination`` with the images that one of ``platforms`` covers.

    What attests them stays with them. Raises UsageError when it is no index, NotFoundError that lists what there is
    when nothing is left, and what reading and writing raise.
    """
    wanted = [parse_platform(text) for text in platforms]
    notes: list[str] = []
    with ExitStack() as stack:
        source = open_source(target, network=network)
        stack.callback(source.close)
        named = Documents(source.store, source.roots)
        document = named.document(named.root)
        if not isinstance(document, Index):
            raise UsageError("this is one image and no index of several", image=target)
        images = [entry for entry in walk_entries(named) if entry.kind == "image" and entry.platform is not None]
        kept = {
            entry.descriptor.digest: replace(entry.descriptor, platform=entry.platform)
            for entry in images
            if entry.platform is not None and any(covers(spec, entry.platform) for spec in wanted)
        }
        if not kept:
            there = ", ".join(dict.fromkeys(format_platform(entry.platform) for entry in images if entry.platform))
            asked = " or ".join(str(spec) for spec in wanted)
            raise NotFoundError(f"no image for {asked}: there {f'are {there}' if there else 'is no image at all'}")
        values, whole = _filtered(named, document, set(kept), 0)
        raw = document.raw if whole else encode_json({**json.loads(document.raw), "manifests": [v for v, _ in values]})
        found = [(source, descriptor) for _, descriptor in values]
        left_out = len({entry.descriptor.digest for entry in images} - set(kept))
        if left_out:
            notes.append(f"left out {left_out} image{'s' if left_out > 1 else ''} for other platforms")
        notes += _write(destination, raw, document.media_type, found, foreign, network, progress)
        return _written(raw, document.media_type, kept.values(), notes)


def _write(
    destination: str,
    raw: bytes,
    media_type: str,
    found: Sequence[tuple[Source, Descriptor]],
    foreign: Literal["fetch", "keep"],
    network: Network | None,
    progress: TransferProgress,
) -> list[str]:
    """Copy the images as they are, and write the index after them; returns notes."""
    target, names = open_destination(destination, network=network)
    try:
        documents: dict[Digest, PlannedDocument] = {}
        blobs: dict[Digest, PlannedBlob] = {}
        left: dict[Digest, PlannedBlob] = {}
        options = PlanOptions(all_platforms=True, foreign=foreign)
        for source, descriptor in found:
            part = make_plan(replace(source, roots=(descriptor,)), (), options)
            documents |= {
                one.descriptor.digest: one for one in part.documents if one.descriptor.digest not in documents
            }
            blobs |= {one.descriptor.digest: one for one in part.blobs if one.descriptor.digest not in blobs}
            left |= {one.descriptor.digest: one for one in part.left}
        index = parse_document(raw, media_type)
        root = PlannedDocument(Descriptor(index.media_type, index.digest, len(raw)), index)
        documents.pop(index.digest, None)
        plan = Plan(
            found[0][0],
            (*documents.values(), root),
            tuple(blobs.values()),
            tuple(left.values()),
            {},
            names,
        )
        move([plan], target, progress=progress)
    finally:
        target.close()
    return [f"the foreign layer {digest} was left where it is: only its descriptor was written" for digest in left]


def covers(spec: PlatformSpec, platform: Platform) -> bool:
    """Whether ``platform`` is one of those that ``spec`` names: of that version, not merely able to run there.

    A version of fewer numbers than four covers all that begin with these numbers; features must all be there.
    """
    said = normalize(platform)
    if (said.os, said.architecture) != (spec.os, spec.architecture) or (spec.variant and said.variant != spec.variant):
        return False
    if not set(spec.os_features) <= set(said.os_features):
        return False
    if spec.os != "windows" or not spec.os_version:
        return not spec.os_version or said.os_version == spec.os_version
    numbers = version_numbers(spec.os_version)
    return version_numbers(said.os_version)[: len(numbers)] == numbers


def _taken(source: Source, notes: list[str]) -> Iterator[Descriptor]:
    """The entries that ``source`` gives to a new index, with platforms, and without names of a layout."""
    named = Documents(source.store, source.roots)
    try:
        for entry in walk_entries(named):
            annotations = {
                key: text for key, text in entry.descriptor.annotations.items() if key not in (REF_NAME, IMAGE_NAME)
            }
            descriptor = replace(entry.descriptor, annotations=annotations)
            if entry.kind == "image":
                yield replace(descriptor, platform=_platform(named, entry, notes))
            elif entry.kind == "attestation":
                yield descriptor
            elif entry.kind != "index":
                notes.append(f"{descriptor.digest} is no image: left out")
    except WclayerError as error:
        raise error.locate(image=source.reference) from None


def _platform(named: Documents, entry: IndexEntry, notes: list[str]) -> Platform:
    """The platform of an image as its configuration says it, and what only the entry says."""
    said, (_, config) = entry.platform, named.config(entry.descriptor)
    platform = config.platform
    if said is None:
        return platform
    if said.os_version and platform.os_version and said.os_version != platform.os_version:
        notes.append(
            f"{entry.descriptor.digest}: its entry says {format_platform(said)} and its configuration"
            f" {format_platform(platform)}, which is taken"
        )
    return Platform(
        platform.os or said.os,
        platform.architecture or said.architecture,
        platform.variant or said.variant,
        platform.os_version or said.os_version,
        platform.os_features or said.os_features,
    )


def _doubtful(entries: Iterable[Descriptor]) -> Iterator[str]:
    """What keeps hosts from choosing well."""
    seen: dict[str, Digest] = {}
    for entry in entries:
        if entry.platform is None or is_no_image(entry):
            continue
        text = format_platform(normalize(entry.platform))
        if text in seen:
            yield f"{seen[text]} and {entry.digest} are both for {text}: the first will be chosen"
        elif entry.platform.os == "windows" and not entry.platform.os_version:
            yield f"{entry.digest} does not say its version of Windows: hosts may take it and fail"
        seen.setdefault(text, entry.digest)


def _filtered(
    named: Documents, index: Index, kept: set[Digest], depth: int
) -> tuple[list[tuple[dict[str, Any], Descriptor]], bool]:
    """The entries of ``index`` that stay, as they stand, and whether these are all of it.

    A nested index of which a part stays gives its place to that part.
    """
    if depth > _DEPTH:
        raise LimitError(f"indexes are nested deeper than {_DEPTH} levels")
    values: list[tuple[dict[str, Any], Descriptor]] = []
    whole = True
    attested = {str(digest) for digest in kept}
    for value, entry in zip(json.loads(index.raw)["manifests"], index.manifests, strict=True):
        if entry.type.role == "index" and not is_no_image(entry):
            nested = named.document(entry)
            inner, all_of_it = _filtered(named, nested, kept, depth + 1) if isinstance(nested, Index) else ([], False)
            values += [(value, entry)] if all_of_it else inner
            whole &= all_of_it
        elif entry.digest in kept or entry.annotations.get(ATTESTED, "") in attested:
            values.append((value, entry))
        else:
            whole = False
    if len(values) > _KEPT:
        raise LimitError(f"an index with more than {_KEPT} entries")
    return values, whole


def _written(raw: bytes, media_type: str, entries: Iterable[Descriptor], notes: Sequence[str]) -> WrittenIndex:
    platforms = [format_platform(one.platform) for one in entries if one.platform and not is_no_image(one)]
    return WrittenIndex(digest_of(raw), media_type, len(raw), tuple(platforms), tuple(dict.fromkeys(notes)))
