"""An archive of ``docker save`` as a source: it has no manifests that could be copied, so they are made.

The present form holds an OCI layout as well, and then its manifests are taken, with their digests. The old form, and
what other tools write, names configurations and layers by path; the manifest made of that lists the layers as they lie
there.
"""

from __future__ import annotations

from collections.abc import Sequence

from wclayer.errors import LimitError, NotFoundError, UsageError, WclayerError
from wclayer.oci.compression import HEAD_SIZE, sniff
from wclayer.oci.counting import CountingSource
from wclayer.oci.descriptors import Descriptor, Manifest
from wclayer.oci.digests import Digest, digest_of, new_hash
from wclayer.oci.docker_archive import DockerArchive, SavedImage
from wclayer.oci.documents import encode_manifest
from wclayer.oci.image import ImageStore, StoredBlob, read_document
from wclayer.oci.layout import LAYOUT_FILE, Layout
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from wclayer.oci.references import Reference

__all__ = ["describe_stored", "memory_blob", "saved_images"]

_PIECE = 1 << 20
_SUFFIX = {"none": "", "gzip": "+gzip", "zstd": "+zstd"}


def saved_images(archive: DockerArchive, reference: Reference) -> tuple[ImageStore, tuple[Descriptor, ...]]:
    """The images of ``archive`` that ``reference`` names: their manifests, and what finds all they need."""
    found = archive.find(reference)
    if len({saved.names for saved in found}) > 1:
        names = ", ".join(archive.names())
        raise UsageError(
            f"there are {len(found)} images in {archive.tree}",
            hint=f"name one of them after a colon: {names or ':@0, :@1, …'}",
        )
    if LAYOUT_FILE in archive.tree:
        layout = Layout(archive.tree, elsewhere=archive.layer_paths())
        listed = _listed(layout, [archive.config(saved).digest for saved in found])
        if listed is not None:
            return layout, listed
    store = _Saved(archive)
    return store, tuple(store.add(saved) for saved in found)


def describe_stored(stored: StoredBlob, diff_id: Digest) -> Descriptor:
    """What the blob of a layer is called that is only known by its DiffID. One that is compressed is read for that."""
    blob = CountingSource(stored.open())
    try:
        compression = sniff(blob.peek(HEAD_SIZE))
        if compression == "none" and stored.size is not None:
            return Descriptor(OCI_LAYER, diff_id, stored.size)
        state = blob.hash = new_hash()
        buffer = memoryview(bytearray(_PIECE))
        while blob.readinto(buffer):
            pass
    finally:
        blob.close()
    return Descriptor(OCI_LAYER + _SUFFIX[compression], Digest("sha256", state.hexdigest()), blob.count)


def _listed(layout: Layout, configs: Sequence[Digest]) -> tuple[Descriptor, ...] | None:
    """The manifests of the layout that have these configurations; None when one of them has none."""
    by_config: dict[Digest, Descriptor] = {}
    for entry in layout.index.manifests:
        try:
            document = read_document(layout, entry) if entry.type.role == "manifest" else None
        except WclayerError:
            return None  # a layout that cannot be used; the archive's own list is what counts
        if isinstance(document, Manifest):
            by_config.setdefault(document.config.digest, entry)
    if not all(config in by_config for config in configs):
        return None
    return tuple(dict.fromkeys(by_config[config] for config in configs))


class _Saved:
    """Documents made of an archive's own list, and its layers."""

    def __init__(self, archive: DockerArchive) -> None:
        self._archive = archive
        self._documents: dict[Digest, bytes] = {}
        self._layers: dict[Digest, StoredBlob] = {}

    def add(self, saved: SavedImage) -> Descriptor:
        """Make the manifest of an image."""
        config = self._archive.config(saved)
        layers = []
        for path, diff_id in zip(saved.layers, config.diff_ids, strict=True):
            size = self._archive.tree.size(path)
            stored = None if size is None else StoredBlob(lambda path=path: self._archive.tree.open(path), size)  # type: ignore[misc]
            foreign = saved.sources.get(diff_id)
            if foreign is not None and stored is not None:
                is_original = describe_stored(stored, diff_id).digest == foreign.digest
                stored = StoredBlob(stored.open, stored.size, is_original)
            if stored is not None:
                layer = foreign or describe_stored(stored, diff_id)
                self._layers[layer.digest] = stored
            elif foreign is not None:
                layer = foreign
            else:
                raise NotFoundError(f"the layer {diff_id} is not here: there is no {path} in {self._archive.tree}")
            layers.append(layer)
        raw = encode_manifest(Descriptor(OCI_CONFIG, config.digest, len(config.raw)), layers)
        self._documents[config.digest] = config.raw
        digest = digest_of(raw)
        self._documents[digest] = raw
        return Descriptor(OCI_MANIFEST, digest, len(raw), platform=config.platform)

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """A manifest that was made, or a configuration."""
        raw = self._documents.get(descriptor.digest)
        if raw is None:
            raise NotFoundError(f"{what} is not here")
        if len(raw) > limit:
            raise LimitError(f"{what} has {len(raw)} bytes, more than the {limit} allowed")
        return raw

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:  # noqa: ARG002  # by digest
        """A layer or a configuration."""
        raw = self._documents.get(layer.digest)
        return self._layers.get(layer.digest) if raw is None else memory_blob(raw)

    def close(self) -> None:
        """Close the archive."""
        self._archive.close()


def memory_blob(raw: bytes) -> StoredBlob:
    """A small blob that is in memory."""
    return StoredBlob(lambda: _Bytes(raw), len(raw))


class _Bytes:
    def __init__(self, raw: bytes) -> None:
        self._rest = memoryview(raw)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:
        count = min(len(buffer), len(self._rest))
        memoryview(buffer)[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count

    def close(self) -> None:
        self._rest = self._rest[:0]
