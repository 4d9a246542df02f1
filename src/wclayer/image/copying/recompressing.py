"""Layers compressed anew: other blobs, the same content, so the DiffIDs and the configuration stay as they are.

Manifests and indexes change, and only where they must. A foreign layer stays as it is, for its addresses lead to the
blob that it is now; and so does a layer that is compressed as wanted already, unless a level is asked for.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from wclayer.errors import DigestMismatchError, StoreError, UnsupportedError, WclayerError
from wclayer.image.copying.copying import CopiedBlob, CopyOptions, CopyResult, copy_planned, plan_copy
from wclayer.image.copying.destinations import open_destination
from wclayer.image.copying.ends import Plan, PlannedBlob, PlannedDocument, Source
from wclayer.image.copying.folder_destinations import LayoutDestination
from wclayer.image.copying.foreign import is_foreign
from wclayer.image.copying.rewriting import as_oci_manifest, with_changed_entries, with_layers
from wclayer.image.copying.sources import MakeOptions, open_source
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.model import Notices
from wclayer.oci.descriptors import Descriptor, Index, Manifest
from wclayer.oci.digests import Digest
from wclayer.oci.image import LayerBlob
from wclayer.oci.layout import Layout
from wclayer.oci.layout_writer import LayoutWriter
from wclayer.oci.mediatypes import DOCKER_LAYER_GZIP, DOCKER_MANIFEST, OCI_LAYER, Compression
from wclayer.oci.network import NO_TRANSFERS, Network, TransferProgress
from wclayer.oci.trees import FolderTree

__all__ = ["recompress_image"]

_OCI_TYPES: dict[Compression, str] = {"none": OCI_LAYER, "gzip": f"{OCI_LAYER}+gzip", "zstd": f"{OCI_LAYER}+zstd"}
_OF_A_FORM = ("containerd.io/snapshot/stargz/", "io.containers.estargz.", "io.github.containers.zstd-chunked.")
"""Annotations that describe the old blob: tables of contents of eStargz and zstd:chunked."""
_JOBS = 4


def recompress_image(
    source: str,
    destination: str,
    compression: Literal["gzip", "zstd"],
    level: int | None = None,
    options: CopyOptions = CopyOptions(),  # noqa: B008 - frozen
    *,
    source_network: Network | None = None,
    destination_network: Network | None = None,
    progress: Progress = NO_PROGRESS,
    transfers: TransferProgress = NO_TRANSFERS,
) -> CopyResult:
    """Copy ``source`` to ``destination`` with its layers in ``compression``, at ``level`` of the library.

    Every layer is verified while it is read, by its digest and its DiffID. Raises UnsupportedError for an artifact that
    is no image, and for a destination that compresses nothing; UsageError for a level that there is not.
    """
    with ExitStack() as held:
        if destination_network is None:
            destination_network = held.enter_context(Network())
        target, names = open_destination(destination, network=destination_network, limits=options.limits)
        if target.takes_tars:
            raise UnsupportedError(f"{target.reference} holds layers uncompressed", hint="write oci-archive:FILE")
        notices = Notices()
        making = MakeOptions(options.os_version, notices, progress)
        opened = open_source(source, network=source_network, limits=options.limits, making=making)
        held.callback(opened.close)
        plan = plan_copy(opened, target, names, options)
        if options.dry_run:
            return replace(copy_planned(plan, target, options), notices=notices.counts)
        if isinstance(target, LayoutDestination):
            folder = target.folder
        else:
            folder = Path(held.enter_context(_temporary_folder())) / "layout"
        work = _Recompression(plan, folder, compression, level, options, progress)
        result = copy_planned(work.run(), target, options, progress=transfers)
        made = {layer.descriptor.digest for layer in work.layers.values()}
        blobs = [replace(blob, outcome="copied") if blob.digest in made else blob for blob in result.blobs]
        return replace(result, blobs=tuple[CopiedBlob, ...](blobs), notices=notices.counts)


@dataclass(frozen=True, slots=True)
class _NewLayer:
    descriptor: Descriptor
    diff_id: Digest


class _Recompression:
    """``plan``, with layers that are made in the layout ``folder``."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        compression: Compression,
        level: int | None,
        options: CopyOptions,
        progress: Progress,
    ) -> None:
        self._plan = plan
        self._writer = LayoutWriter(folder)
        self._compression: Compression = compression
        self._level = level
        self._options = options
        self._progress = progress
        self.layers: dict[Digest, _NewLayer] = {}
        self._source = Source(
            plan.source.reference, Layout(FolderTree(folder)), (), lambda: None, notes=plan.source.notes
        )

    def run(self) -> Plan:
        """Make the layers, and the plan that takes them."""
        wanted = [blob for blob in self._plan.blobs if self._is_wanted(blob)]
        self._progress.expect(len(wanted), sum(blob.descriptor.size for blob in wanted))
        with ThreadPoolExecutor(min(_JOBS, os.cpu_count() or 1), thread_name_prefix="wclayer-layer") as pool:
            try:
                for blob, new in zip(wanted, pool.map(self._recompress, wanted), strict=True):
                    self.layers[blob.descriptor.digest] = new
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        documents: dict[Digest, PlannedDocument] = {}
        for document in self._plan.documents:
            documents[document.descriptor.digest] = self._changed(document, documents)
        changed = {**self._plan.changed}
        changed |= {old: new.descriptor.digest for old, new in self.layers.items() if old != new.descriptor.digest}
        changed |= {old: new.descriptor.digest for old, new in documents.items() if old != new.descriptor.digest}
        blobs = {blob.descriptor.digest: blob for blob in map(self._blob, self._plan.blobs)}
        return replace(
            self._plan,
            documents=tuple(documents.values()),
            blobs=tuple(blobs.values()),
            changed=changed,
            notes=(*self._plan.notes, *self._notes(wanted)),
        )

    def _is_wanted(self, blob: PlannedBlob) -> bool:
        if blob.diff_id is None or is_foreign(blob.descriptor):
            return False
        return self._level is not None or blob.descriptor.type.compression != self._compression

    def _recompress(self, blob: PlannedBlob) -> _NewLayer:
        part = str(blob)
        self._progress.begin(part)
        layer = LayerBlob(0, 1, blob.descriptor, blob.diff_id, blob.locate)
        try:
            with (
                layer.stream(limits=self._options.limits) as stream,
                self._writer.new_layer(self._compression, self._level) as sink,
            ):
                sink.write_all(watched(stream, self._progress, part))
                stream.finish()
        except WclayerError as error:
            raise error.locate(image=self._plan.source.reference, layer=part) from None
        finally:
            self._progress.end(part)
        assert blob.diff_id is not None  # noqa: S101  # only layers are wanted
        if sink.diff_id.algorithm == blob.diff_id.algorithm and sink.diff_id != blob.diff_id:
            raise DigestMismatchError(f"the layer has the DiffID {sink.diff_id} where {blob.diff_id} was promised")
        return _NewLayer(sink.descriptor, blob.diff_id)

    def _blob(self, blob: PlannedBlob) -> PlannedBlob:
        new = self.layers.get(blob.descriptor.digest)
        return blob if new is None else PlannedBlob(new.descriptor, blob.diff_id, new.descriptor, self._source)

    def _changed(self, planned: PlannedDocument, known: dict[Digest, PlannedDocument]) -> PlannedDocument:
        document = planned.document
        if isinstance(document, Index):
            new: Index | Manifest = with_changed_entries(
                document, {old: one.descriptor for old, one in known.items() if old != one.descriptor.digest}
            )
        elif any(layer.digest in self.layers for layer in document.layers):
            manifest = document
            if document.media_type == DOCKER_MANIFEST and self._compression == "zstd":
                manifest = as_oci_manifest(document)  # Docker's own types have none for zstd that all readers know
            new = with_layers(manifest, [self._layer(layer, manifest) for layer in manifest.layers])
        else:
            return planned
        descriptor = replace(planned.descriptor, media_type=new.media_type, digest=new.digest, size=len(new.raw))
        return replace(planned, descriptor=descriptor, document=new)

    def _layer(self, layer: Descriptor, manifest: Manifest) -> Descriptor:
        new = self.layers.get(layer.digest)
        if new is None:
            return layer
        media_type = _OCI_TYPES[self._compression]
        if manifest.media_type == DOCKER_MANIFEST:
            media_type = DOCKER_LAYER_GZIP
        annotations = {key: text for key, text in layer.annotations.items() if not key.startswith(_OF_A_FORM)}
        descriptor = new.descriptor
        return replace(
            layer,
            media_type=media_type,
            digest=descriptor.digest,
            size=descriptor.size,
            data=None,
            annotations=annotations,
        )

    def _notes(self, wanted: Sequence[PlannedBlob]) -> list[str]:
        notes = []
        foreign = sum(1 for blob in self._plan.blobs if is_foreign(blob.descriptor)) + len(self._plan.left)
        if foreign:
            notes.append(f"{foreign} foreign layers stay as they are (--foreign rewrite makes ordinary ones of them)")
        same = sum(1 for blob in self._plan.blobs if blob.diff_id is not None) - len(wanted) - foreign
        if same > 0:
            notes.append(f"{same} layers are compressed with {self._compression} already: kept")
        if self._compression == "zstd" and any(
            document.descriptor.media_type == DOCKER_MANIFEST for document in self._plan.documents
        ):
            notes.append("Docker's manifests cannot hold zstd: they become OCI manifests")
        return notes


def _temporary_folder() -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="wclayer-")
    except OSError as error:
        raise StoreError(
            f"cannot write to the temporary folder: {error.strerror or error}",
            hint="point TMPDIR at a place with room",
        ) from error
