"""An image put on another base, such as the next revision of Windows, with no layer read or written anew.

Manifest and configuration are made, everything else is copied: the layers of the new base from there, the layers above
the old base from the image. All of that is planned before anything is touched, so what cannot be done leaves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

from wclayer.errors import NotFoundError, UnsupportedError, UsageError, WclayerError
from wclayer.image.copying.copying import CopyOptions, CopyResult, copy_planned
from wclayer.image.copying.destinations import open_destination
from wclayer.image.copying.ends import Plan, PlannedBlob, PlannedDocument, Source
from wclayer.image.copying.planning import PlanOptions, make_plan
from wclayer.image.copying.saved import memory_blob
from wclayer.image.copying.sources import STORE_PREFIX, is_remote, open_source
from wclayer.image.index_listing import ATTESTED
from wclayer.image.layer_places import parse_place
from wclayer.image.rebased_documents import (
    BASE_DIGEST,
    BASE_NAME,
    ImageDocuments,
    doubts,
    first_difference,
    on_base,
    same_build,
    with_base,
)
from wclayer.oci.descriptors import Descriptor, Index, Manifest, Platform, parse_document
from wclayer.oci.digests import Digest
from wclayer.oci.documents import encode_json
from wclayer.oci.image import StoredBlob, image_candidates
from wclayer.oci.mediatypes import DOCKER_MANIFEST_LIST, OCI_INDEX, OCI_MANIFEST
from wclayer.oci.network import NO_TRANSFERS, Network, TransferProgress
from wclayer.oci.platforms import format_platform, parse_platform, version_numbers
from wclayer.oci.references import names_registry, parse_reference
from wclayer.oci.registry.names import parse_registry_name
from wclayer.oci.selection import Candidate, is_no_image

__all__ = ["RebaseOptions", "RebaseResult", "RebasedImage", "rebase_image"]


@dataclass(frozen=True, slots=True)
class RebaseOptions:
    """How an image is put on another base. ``copy`` says which images of an index, and how they are copied.

    ``force`` takes a base of another build of Windows. ``base_name`` is what the annotation calls the new base, None
    for its name in a registry.
    """

    copy: CopyOptions = CopyOptions()  # noqa: RUF009 - frozen
    force: bool = False
    base_name: str | None = None


@dataclass(frozen=True, slots=True)
class RebasedImage:
    """One image: its digest before and after, the digests of both bases, how many layers are whose.

    The versions are the ``os.version`` of the configuration before and after.
    """

    platform: str
    old_digest: Digest
    digest: Digest
    old_base: Digest
    new_base: Digest
    old_base_layers: int
    new_base_layers: int
    own_layers: int
    old_version: str
    version: str


@dataclass(frozen=True, slots=True)
class RebaseResult:
    """What was written, and which images were put on which base."""

    copied: CopyResult
    images: tuple[RebasedImage, ...]


def rebase_image(
    image: str,
    destination: str,
    old_base: str,
    new_base: str,
    options: RebaseOptions = RebaseOptions(),
    *,
    source_network: Network | None = None,
    destination_network: Network | None = None,
    progress: TransferProgress = NO_TRANSFERS,
) -> RebaseResult:
    """Write ``image`` to ``destination`` with the layers of ``new_base`` in place of those of ``old_base``.

    All four are references as :func:`wclayer.image.copying.copy_image` takes them; where a base is an index, the one
    that the image stands on is found by its layers, and the new one by platform and build. Raises UsageError when the
    image does not stand on the old base, or the new one is of another build and ``force`` is not given; NotFoundError
    when the new base has none for the platform; and what reading and writing raise.
    """
    if [image, old_base, new_base].count("-") > 1:
        raise UsageError("standard input can be read only once", hint="keep the images in files first")
    with ExitStack() as held:
        if destination_network is None:
            destination_network = held.enter_context(Network())
        limits = options.copy.limits
        target, names = open_destination(destination, network=destination_network, limits=limits)
        sources = []
        for text in (image, old_base, new_base):
            source = open_source(text, network=source_network, limits=limits)
            held.callback(source.close)
            sources.append(source)
        platforms = tuple(parse_platform(one) if isinstance(one, str) else one for one in options.copy.platforms)
        planned = PlanOptions(platforms, options.copy.all_platforms, options.copy.foreign, takes_tars=target.takes_tars)
        plan = make_plan(sources[0], names, planned)
        name = _base_name(new_base) if options.base_name is None else options.base_name
        old, new = _Base(sources[1], replace(planned, foreign="keep")), _Base(sources[2], planned)
        work = _Rebase(plan, old, new, name, force=options.force)
        try:
            rebased = work.run()
        except WclayerError as error:
            raise error.locate(image=image) from None
        copied = copy_planned(rebased, target, options.copy, progress=progress)
        return RebaseResult(copied, tuple(work.images))


class _Base:
    """What a base reference names: one image or several, each planned when it is asked for."""

    def __init__(self, source: Source, options: PlanOptions) -> None:
        self.source = source
        self._options = replace(options, platforms=(), all_platforms=False)
        self._plans: dict[Digest, Plan] = {}
        try:
            self._candidates = image_candidates(source.store, source.roots)
        except WclayerError as error:
            raise error.locate(image=source.reference) from None
        if not self._candidates:
            raise NotFoundError("there is no image").locate(image=source.reference)

    def plan(self, candidate: Candidate) -> Plan:
        digest = candidate.descriptor.digest
        if digest not in self._plans:
            self._plans[digest] = make_plan(replace(self.source, roots=(candidate.descriptor,)), (), self._options)
        return self._plans[digest]

    def below(self, image: ImageDocuments) -> tuple[Digest, ImageDocuments]:
        """The base that ``image`` stands on; those of its own platform are looked at first."""
        differences = []
        for candidate in sorted(self._candidates, key=lambda one: not _is_for(one, image.config.platform)):
            base = _documents(self.plan(candidate).root, self.source.reference)
            if not base.config.diff_ids:
                continue  # every image stands on no layers
            difference = first_difference(image, base)
            if difference is None:
                return candidate.descriptor.digest, base
            differences.append((difference, base))
        if not differences:
            raise UsageError(f"{self.source.reference} has no layers, so nothing stands on it")
        number, base = differences[0]
        has = image.config.diff_ids[number] if number < len(image.config.diff_ids) else "none"
        raise UsageError(
            f"the image does not stand on {self.source.reference}: layer {number} is {has} and that of the base"
            f" {base.config.diff_ids[number]}",
            hint="wclayer base says which base it stands on",
        )

    def matching(self, platform: Platform) -> Candidate:
        """The image for ``platform``, of the same build and the highest revision; one that stands alone in any case."""
        if len(self._candidates) == 1:
            return self._candidates[0]
        found = [one for one in self._candidates if _is_for(one, platform)]
        if not found:
            there = ", ".join(format_platform(one.platform) for one in self._candidates if one.platform)
            raise NotFoundError(
                f"{self.source.reference} has no image for {format_platform(platform)}: there are {there}",
                hint="name one of them by its digest",
            )
        return max(found, key=lambda one: version_numbers(one.platform.os_version) if one.platform else ())


class _Rebase:
    """``plan`` with each of its images on another base."""

    def __init__(self, plan: Plan, old: _Base, new: _Base, name: str, *, force: bool) -> None:
        self._plan = plan
        self._old = old
        self._new = new
        self._name = name
        self._force = force
        self._made = _Made()
        self._source = Source(plan.source.reference, self._made, (), lambda: None)
        self._known = {one.descriptor.digest: one for one in plan.documents}
        self._documents: dict[Digest, PlannedDocument] = {}
        self._blobs: dict[Digest, PlannedBlob] = {}
        self._left: dict[Digest, PlannedBlob] = {}
        self._changed: dict[Digest, PlannedDocument] = {}
        self._bases: dict[Digest, Digest] = {}
        self._notes: list[str] = [*plan.notes, *old.source.notes, *new.source.notes]
        self.images: list[RebasedImage] = []

    def run(self) -> Plan:
        if not self._name:
            self._notes.append("the new base has no name in a registry, so only its digest is annotated")
        self._add(self._plan.root)
        if not self.images:
            raise UnsupportedError("there is no image that could stand on a base")
        became = {old: new.descriptor.digest for old, new in self._changed.items() if old != new.descriptor.digest}
        changed = {old: became.get(new, new) for old, new in self._plan.changed.items()}
        changed |= {old: new for old, new in became.items() if old not in self._plan.changed.values()}
        return replace(
            self._plan,
            documents=tuple(self._documents.values()),
            blobs=tuple(self._blobs.values()),
            left=tuple(one for digest, one in self._left.items() if digest not in self._blobs),
            changed=changed,
            notes=tuple(dict.fromkeys(self._notes)),
        )

    def _add(self, planned: PlannedDocument, *, is_image: bool = True) -> PlannedDocument:
        """Plan what takes the place of a document, after those below it."""
        old = planned.descriptor.digest
        if old in self._changed:
            return self._changed[old]
        if isinstance(planned.document, Index):
            new = self._index(planned, planned.document)
        elif is_image and planned.config is not None:
            new = self._image(planned)
        else:
            self._take([planned.document.config, *planned.document.layers], self._plan)
            new = planned
        self._changed[old] = self._documents[new.descriptor.digest] = new
        return new

    def _index(self, planned: PlannedDocument, index: Index) -> PlannedDocument:
        document: dict[str, Any] = json.loads(index.raw)
        values, types = [], set()
        for value, entry in zip(document["manifests"], index.manifests, strict=True):
            if ATTESTED in entry.annotations:
                self._notes.append(f"{entry.digest} attests an image that is another now: left out")
                continue
            new = self._add(self._known[entry.digest], is_image=not is_no_image(entry))
            types.add(new.descriptor.media_type)
            values.append(self._entry(value, entry, new))
        document["manifests"] = values
        if index.media_type == DOCKER_MANIFEST_LIST and types & {OCI_MANIFEST, OCI_INDEX}:
            document["mediaType"] = OCI_INDEX
        parsed = parse_document(encode_json(document), str(document.get("mediaType") or OCI_INDEX))
        return PlannedDocument(_described(parsed, planned.descriptor.platform), parsed)

    def _entry(self, value: dict[str, Any], entry: Descriptor, new: PlannedDocument) -> dict[str, Any]:
        if new.descriptor.digest == entry.digest:
            return value
        result = {**value, "mediaType": new.descriptor.media_type, "digest": str(new.descriptor.digest)}
        result["size"] = new.descriptor.size
        result.pop("data", None)
        if new.config is not None:
            result["platform"] = new.descriptor.to_json()["platform"]
            if BASE_NAME in entry.annotations or BASE_DIGEST in entry.annotations:
                result["annotations"] = with_base(value["annotations"], self._name, self._bases[entry.digest])
        return result

    def _image(self, planned: PlannedDocument) -> PlannedDocument:
        image = _documents(planned, self._plan.source.reference)
        old_digest, old = self._old.below(image)
        candidate = self._new.matching(old.config.platform)
        plan = self._new.plan(candidate)
        new, digest = _documents(plan.root, self._new.source.reference), candidate.descriptor.digest
        self._notes += doubts(old.config.platform, new.config.platform, force=self._force)
        made = on_base(image, old, new, name=self._name, digest=digest)
        config = Descriptor(made.manifest.config.media_type, made.config.digest, len(made.config.raw))
        self._made.add(config.digest, made.config.raw)
        self._blobs[config.digest] = PlannedBlob(config, None, config, self._source)
        count = len(new.config.diff_ids)
        self._take(made.manifest.layers[:count], plan)
        self._take(made.manifest.layers[count:], self._plan)
        result = PlannedDocument(_described(made.manifest, made.config.platform), made.manifest, made.config)
        self._bases[planned.descriptor.digest] = digest
        self.images.append(
            RebasedImage(
                format_platform(made.config.platform),
                planned.descriptor.digest,
                result.descriptor.digest,
                old_digest,
                digest,
                len(old.config.diff_ids),
                count,
                len(made.config.diff_ids) - count,
                image.config.os_version,
                made.config.os_version,
            )
        )
        return result

    def _take(self, descriptors: Sequence[Descriptor], plan: Plan) -> None:
        """Plan the blobs that these descriptors name, as ``plan`` has them."""
        blobs: Mapping[Digest, PlannedBlob] = {one.descriptor.digest: one for one in plan.blobs}
        left: Mapping[Digest, PlannedBlob] = {one.descriptor.digest: one for one in plan.left}
        for descriptor in descriptors:
            if descriptor.digest in blobs:
                self._blobs.setdefault(descriptor.digest, replace(blobs[descriptor.digest], descriptor=descriptor))
            else:
                self._left.setdefault(descriptor.digest, replace(left[descriptor.digest], descriptor=descriptor))


class _Made:
    """Configurations that were made here, as a store of images."""

    def __init__(self) -> None:
        self._blobs: dict[Digest, bytes] = {}

    def add(self, digest: Digest, raw: bytes) -> None:
        self._blobs[digest] = raw

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:  # noqa: ARG002  # none is large
        if descriptor.digest not in self._blobs:
            raise NotFoundError(f"{what} is not here")
        return self._blobs[descriptor.digest]

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:  # noqa: ARG002  # by digest
        raw = self._blobs.get(layer.digest)
        return None if raw is None else memory_blob(raw)

    def close(self) -> None:
        return


def _documents(planned: PlannedDocument, reference: str) -> ImageDocuments:
    if not isinstance(planned.document, Manifest) or planned.config is None:
        raise UnsupportedError(f"{reference} is no container image but another artifact")
    return ImageDocuments(planned.document, planned.config)


def _is_for(candidate: Candidate, platform: Platform) -> bool:
    return candidate.platform is not None and same_build(candidate.platform, platform)


def _described(document: Manifest | Index, platform: Platform | None) -> Descriptor:
    return Descriptor(document.media_type, document.digest, len(document.raw), platform=platform)


def _base_name(text: str) -> str:
    """The name of a base in a registry, empty for one that is elsewhere and has none."""
    if text.startswith(STORE_PREFIX):
        return str(parse_registry_name(text.removeprefix(STORE_PREFIX)))
    if parse_place(text).kind != "image":
        return ""
    place = parse_reference(text)
    if is_remote(place):
        return str(parse_registry_name(place.location))
    return place.name if names_registry(place.name) else ""
