"""Folders as destinations: an OCI layout, and skopeo's plain folder. What an interrupted copy left there is used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from wclayer.errors import UnsupportedError, WclayerError
from wclayer.image.copying.ends import Outcome, Plan, PlannedBlob, PlannedDocument
from wclayer.image.copying.fetching import Advance, fetch_into
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.dir_writer import DirWriter
from wclayer.oci.image import StoredBlob
from wclayer.oci.layout import LAYOUT_FILE, Layout, entry_names
from wclayer.oci.layout_writer import LayoutWriter
from wclayer.oci.trees import FolderTree, read_file
from wclayer.oci.verified import WatchedSource

__all__ = ["DirDestination", "LayoutDestination"]


class LayoutDestination:
    """An OCI layout in ``folder``, made when there is none; an image appears in it with its entry in ``index.json``."""

    jobs: int | None = None
    takes_tars = False

    def __init__(self, folder: Path, reference: str) -> None:
        self.reference = reference
        self.folder = folder
        self._writer: LayoutWriter | None = None

    def is_present(self, plan: Plan) -> bool:
        """Whether the name leads to this image, and everything of it is there by its size."""
        if not (self.folder / LAYOUT_FILE).exists():
            return False
        root = plan.root.descriptor.digest
        listed = Layout(FolderTree(self.folder)).index.manifests
        if not any(entry.digest == root and set(plan.names) <= set(entry_names(entry)) for entry in listed):
            return False
        return all(self._has(descriptor) for descriptor in plan.descriptors())

    def has_blob(self, blob: PlannedBlob) -> bool:
        """Whether a blob is there, by its size."""
        return self._has(blob.descriptor)

    def begin(self, plans: Sequence[Plan]) -> None:  # noqa: ARG002  # it holds everything
        """Make the layout."""
        self._writer = LayoutWriter(self.folder)

    def put_blob(self, blob: PlannedBlob, stored: StoredBlob, advance: Advance) -> Outcome:
        """Store a blob, unless it is there."""
        descriptor = blob.descriptor
        if self._has(descriptor):
            return "present"
        source = blob.source
        if source.repository is not None and source.fetch is not None and descriptor.digest == blob.origin.digest:
            target = self.folder / descriptor.digest.blob_path
            if fetch_into(self.folder, blob.origin, target, source.fetch, advance):
                return "copied"
        self._layout().put_blob(
            WatchedSource(stored.open(), advance),
            descriptor.media_type,
            digest=descriptor.digest,
            size=descriptor.size,
        )
        return "copied"

    def put_document(self, document: PlannedDocument, plan: Plan) -> None:
        """Store a document that is not the root."""
        if document is not plan.root:
            self._layout().put_bytes(document.raw, document.descriptor.media_type, digest=document.descriptor.digest)

    def finish(self, plans: Sequence[Plan]) -> Mapping[Digest, Digest]:
        """List the images."""
        for plan in plans:
            root = plan.root
            for name in plan.names or ("",):
                self._layout().put_manifest(
                    root.raw, name=name, media_type=root.descriptor.media_type, platform=root.descriptor.platform
                )
        return {}

    def close(self) -> None:
        """Nothing stays open."""

    def _has(self, descriptor: Descriptor) -> bool:
        return FolderTree(self.folder).size(descriptor.digest.blob_path) == descriptor.size

    def _layout(self) -> LayoutWriter:
        if self._writer is None:
            raise ValueError("begin() comes first")
        return self._writer


class DirDestination:
    """A plain folder, which holds one image and becomes it in one step."""

    jobs: int | None = None
    takes_tars = False

    def __init__(self, folder: Path, reference: str) -> None:
        self.reference = reference
        self._folder = folder
        self._writer: DirWriter | None = None

    def is_present(self, plan: Plan) -> bool:
        """Whether the folder is this image, complete by its sizes."""
        tree = FolderTree(self._folder)
        try:
            raw = read_file(tree, "manifest.json", MANIFEST_LIMIT, what="manifest.json")
        except WclayerError:
            return False
        root = plan.root.descriptor.digest
        children = (document for document in plan.documents if document is not plan.root)
        return (
            digest_of(raw, root.algorithm) == root
            and all(self.has_blob(blob) for blob in plan.blobs)
            and all(tree.size(f"{child.descriptor.digest.hex}.manifest.json") for child in children)
        )

    def has_blob(self, blob: PlannedBlob) -> bool:
        """Whether a blob is there, by its size."""
        return FolderTree(self._folder).size(blob.descriptor.digest.hex) == blob.descriptor.size

    def begin(self, plans: Sequence[Plan]) -> None:
        """Make the folder, and keep others out of it."""
        if len(plans) > 1:
            raise UnsupportedError(f"{self.reference} holds one image", hint="copy them to oci:DIR, with their names")
        self._writer = DirWriter(self._folder)

    def put_blob(self, blob: PlannedBlob, stored: StoredBlob, advance: Advance) -> Outcome:
        """Store a blob, unless it is there."""
        descriptor = blob.descriptor
        if self.has_blob(blob):
            return "present"
        source = blob.source
        if source.repository is not None and source.fetch is not None and descriptor.digest == blob.origin.digest:
            target = self._folder / descriptor.digest.hex
            if fetch_into(self._folder, blob.origin, target, source.fetch, advance):
                return "copied"
        self._open().put_blob(stored.open(), descriptor, advance)
        return "copied"

    def put_document(self, document: PlannedDocument, plan: Plan) -> None:
        """Store a manifest of an index."""
        if document is not plan.root:
            self._open().put_manifest(document.raw, document.descriptor)

    def finish(self, plans: Sequence[Plan]) -> Mapping[Digest, Digest]:
        """Make the folder the image."""
        for plan in plans:
            self._open().finish(plan.root.raw, plan.descriptors())
        return {}

    def close(self) -> None:
        """Let others write to the folder."""
        if self._writer is not None:
            self._writer.close()

    def _open(self) -> DirWriter:
        if self._writer is None:
            raise ValueError("begin() comes first")
        return self._writer
