"""What a copy consists of, found out before a single blob moves: which documents, which blobs, and what must change.

Documents are taken as they are, byte for byte, so that their digests stay; only a smaller index, or a layer that may
not stay what it is, makes a new one, and every such change is in the plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from wclayer.errors import FormatError, LimitError, NotFoundError, UnsupportedError, WclayerError
from wclayer.image.copying.choosing import choose, filtered
from wclayer.image.copying.ends import Plan, PlannedBlob, PlannedDocument, Source
from wclayer.image.copying.foreign import ForeignPolicy, is_foreign, ordinary
from wclayer.image.copying.rewriting import with_entries, with_layers
from wclayer.image.copying.saved import describe_stored
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor, ImageConfig, Index, Manifest, require_image
from wclayer.oci.digests import Digest
from wclayer.oci.image import read_config, read_document
from wclayer.oci.platforms import PlatformSpec
from wclayer.oci.strictjson import parse_object

__all__ = ["PlanOptions", "config_of", "make_plan"]

_DOCUMENTS = 10_000
_BYTES = 256 << 20
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """What is copied of several images, and what is done with foreign layers.

    ``takes_tars`` says that the destination holds layers uncompressed, so that any form of one will do.
    """

    platforms: tuple[PlatformSpec, ...] = ()
    all_platforms: bool = False
    foreign: ForeignPolicy = "fetch"
    hyperv: bool = False
    takes_tars: bool = False


def make_plan(source: Source, names: Sequence[str], options: PlanOptions) -> Plan:
    """Read all documents that are to be copied, verified, and plan what becomes of them.

    Raises NotFoundError for a platform that is not there, and for a foreign layer whose blob cannot be had;
    IntegrityError in its kinds for documents that are damaged; LimitError for more of them than any image has.
    """
    choice = choose(source, options.platforms, all_platforms=options.all_platforms, hyperv=options.hyperv)
    planner = _Planner(source, options)
    try:
        planner.add(choice.root, choice.wanted)
    except WclayerError as error:
        raise error.locate(image=source.reference) from None
    return Plan(
        source,
        tuple(planner.documents.values()),
        tuple(planner.blobs.values()),
        tuple(planner.left.values()),
        planner.changed,
        tuple(names),
        (*source.notes, *choice.notes),
    )


class _Planner:
    def __init__(self, source: Source, options: PlanOptions) -> None:
        self._source = source
        self._options = options
        self._known: dict[Digest, PlannedDocument] = {}
        self._read = 0
        self.documents: dict[Digest, PlannedDocument] = {}
        self.blobs: dict[Digest, PlannedBlob] = {}
        self.left: dict[Digest, PlannedBlob] = {}
        self.changed: dict[Digest, Digest] = {}

    def add(self, descriptor: Descriptor, wanted: frozenset[Digest] | None, depth: int = 0) -> PlannedDocument:
        """Plan a document, after those below it. ``wanted`` are the images that are taken of it, None for all."""
        known = self._known.get(descriptor.digest)
        if known is not None:
            return known
        if depth > _DEPTH:
            raise LimitError(f"indexes are nested deeper than {_DEPTH} levels")
        if descriptor.type.role not in ("manifest", "index"):
            raise UnsupportedError(f"an index with an entry of the type {descriptor.media_type}, which is no manifest")
        document = read_document(self._source.store, descriptor)
        self._count(len(document.raw))
        if isinstance(document, Index):
            planned = self._index(descriptor, document, wanted, depth)
        else:
            planned = self._manifest(descriptor, document)
        if planned.descriptor.digest != descriptor.digest:
            self.changed[descriptor.digest] = planned.descriptor.digest
        self._known[descriptor.digest] = planned
        self.documents.pop(planned.descriptor.digest, None)
        self.documents[planned.descriptor.digest] = planned
        return planned

    def _count(self, size: int) -> None:
        self._read += size
        if self._read > _BYTES or len(self._known) >= _DOCUMENTS:
            raise LimitError(f"more than {_DOCUMENTS} documents, or {_BYTES} bytes of them")

    def _index(
        self, descriptor: Descriptor, index: Index, wanted: frozenset[Digest] | None, depth: int
    ) -> PlannedDocument:
        entries: list[tuple[Any, Descriptor]]
        if wanted is None:
            node = parse_object(index.raw, what="index", limit=MANIFEST_LIMIT)
            values = [child.value for child in node.array("manifests")]
            entries = list(zip(values, index.manifests, strict=True))
        else:
            entries = filtered(self._source, index, wanted)
        changed = {entry.digest: self.add(entry, None, depth + 1).descriptor for _, entry in entries}
        is_same = [entry for _, entry in entries] == list(index.manifests) and all(
            old == new.digest for old, new in changed.items()
        )
        document = index if is_same else with_entries(index, entries, changed)
        return PlannedDocument(_descriptor_of(document, descriptor), document)

    def _manifest(self, descriptor: Descriptor, manifest: Manifest) -> PlannedDocument:
        if manifest.config.type.role != "config" or manifest.artifact_type:
            for blob in (manifest.config, *manifest.layers):
                self._blob(blob, blob, None)
            return PlannedDocument(_descriptor_of(manifest, descriptor), manifest)
        config = read_config(self._source.store, manifest.config, manifest=manifest)
        require_image(manifest, config)
        self._count(len(config.raw))
        self._blob(manifest.config, manifest.config, None)
        layers = [self._layer(layer, diff_id) for layer, diff_id in zip(manifest.layers, config.diff_ids, strict=True)]
        document = manifest if tuple(layers) == manifest.layers else with_layers(manifest, layers)
        planned = _descriptor_of(document, descriptor)
        if planned.platform is None:
            planned = replace(planned, platform=config.platform)
        return PlannedDocument(planned, document, config)

    def _layer(self, layer: Descriptor, diff_id: Digest) -> Descriptor:
        """Plan a layer; returns what the manifest calls it."""
        policy = self._options.foreign
        foreign = is_foreign(layer)
        if policy in ("rewrite", "strip") and (foreign or layer.urls):
            new = ordinary(layer, remember=policy == "rewrite")
            stored = self._source.store.locate(layer, diff_id) if foreign else None
            if stored is not None and not stored.original:
                known = describe_stored(stored, diff_id)
                new = replace(new, media_type=known.media_type, digest=known.digest, size=known.size, data=None)
                self.changed[layer.digest] = new.digest
            self._blob(new, layer, diff_id)
            return new
        if foreign and policy == "keep" and not self._options.takes_tars:
            self.left[layer.digest] = PlannedBlob(layer, diff_id, layer, self._source)
            return layer
        if foreign and not self._options.takes_tars:
            stored = self._source.store.locate(layer, diff_id)
            if stored is not None and not stored.original and not (layer.urls and self._source.fetch):
                raise NotFoundError(
                    f"the foreign layer {layer.digest} is here only uncompressed, as an archive of docker save has it",
                    hint="--foreign rewrite makes an ordinary layer of it, --foreign keep leaves it out",
                )
        self._blob(layer, layer, diff_id)
        return layer

    def _blob(self, descriptor: Descriptor, origin: Descriptor, diff_id: Digest | None) -> None:
        known = self.blobs.get(descriptor.digest)
        if known is not None and known.descriptor.size != descriptor.size:
            raise FormatError(
                f"the blob {descriptor.digest} has {known.descriptor.size} bytes at one place and {descriptor.size} at"
                " another",
                kind="size",
            )
        if known is None:
            self.blobs[descriptor.digest] = PlannedBlob(descriptor, diff_id, origin, self._source)


def _descriptor_of(document: Manifest | Index, known: Descriptor) -> Descriptor:
    """What a document is called, with all that was known of it."""
    return Descriptor(document.media_type, document.digest, len(document.raw), platform=known.platform)


def config_of(document: PlannedDocument) -> ImageConfig:
    """The configuration of an image; UnsupportedError when the document is no image."""
    if document.config is None:
        raise UnsupportedError(f"the manifest {document.descriptor.digest} is no container image but another artifact")
    return document.config
