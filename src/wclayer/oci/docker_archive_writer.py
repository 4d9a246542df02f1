"""Writing what ``docker save`` writes now: ``manifest.json``, ``repositories``, and an OCI layout of the same blobs.

Layers lie uncompressed under the blob names of their DiffIDs. A foreign layer keeps its descriptor, in ``LayerSources``
and in the manifest of the layout; there is no blob of that digest then, and its bytes are found through its DiffID.
Unlike docker, every image is listed in ``index.json``, named or not, and nothing is written that was not verified.
Format: moby, image/tarexport, and its image specification.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from wclayer.errors import UsageError
from wclayer.oci.archive_writer import ArchiveWriter
from wclayer.oci.descriptors import Descriptor, ImageConfig, Manifest, parse_document
from wclayer.oci.digests import Digest
from wclayer.oci.docker_archive import MANIFEST_FILE
from wclayer.oci.documents import encode_json, encode_manifest
from wclayer.oci.layout import IMAGE_NAME, LAYOUT_FILE, LAYOUT_VERSION, REF_NAME
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST
from wclayer.oci.pipeline import LayerStream
from wclayer.oci.registry.names import RegistryName, parse_registry_name

__all__ = ["DockerArchiveWriter", "docker_name", "familiar_name"]

_HUB, _LIBRARY = "docker.io/", "docker.io/library/"


class DockerArchiveWriter:
    """Adds layers and images to ``archive``; :meth:`finish` writes the lists."""

    def __init__(self, archive: ArchiveWriter) -> None:
        self._archive = archive
        self._sizes: dict[Digest, int] = {}
        self._written: set[Digest] = set()
        self._entries: list[Descriptor] = []
        self._listing: list[object] = []
        self._repositories: dict[str, dict[str, str]] = {}
        archive.add_folder("blobs")
        self._algorithms: set[str] = set()

    def has_layer(self, diff_id: Digest) -> bool:
        """Whether the layer is in the archive."""
        return diff_id in self._sizes

    def add_layer(self, diff_id: Digest, stream: LayerStream, advance: Callable[[int], None]) -> None:
        """Write a layer out of ``stream``, which verifies it. ``advance`` counts the bytes read of the blob."""
        self._folder(diff_id)
        with self._archive.append(diff_id.blob_path) as member:
            before = 0
            for slab in stream:
                member.write(slab)
                advance(stream.consumed - before)
                before = stream.consumed
            stream.finish()
        self._sizes[diff_id] = stream.uncompressed_size

    def add_image(self, config: ImageConfig, names: Sequence[str], sources: Mapping[Digest, Descriptor]) -> Manifest:
        """Add an image of layers that are there; ``sources`` are its foreign layers by DiffID. Returns its manifest.

        UsageError for a name that Docker could not give an image.
        """
        layers = [
            sources.get(diff_id) or Descriptor(OCI_LAYER, diff_id, self._sizes[diff_id]) for diff_id in config.diff_ids
        ]
        raw = encode_manifest(Descriptor(OCI_CONFIG, config.digest, len(config.raw)), layers)
        manifest = parse_document(raw)
        assert isinstance(manifest, Manifest)  # noqa: S101  # for the type checker: it was encoded as one
        self._blob(config.digest, config.raw)
        self._blob(manifest.digest, raw)
        full = [docker_name(name) for name in names]
        entry = Descriptor(OCI_MANIFEST, manifest.digest, len(raw), platform=config.platform)
        self._entries += [
            replace(entry, annotations={IMAGE_NAME: str(name), REF_NAME: name.tag or ""}) for name in full
        ] or [entry]
        listed: dict[str, object] = {
            "Config": config.digest.blob_path,
            "RepoTags": [familiar_name(name) for name in full] or None,
            "Layers": [diff_id.blob_path for diff_id in config.diff_ids],
        }
        if sources:
            listed["LayerSources"] = {str(diff_id): sources[diff_id].to_json() for diff_id in sorted(sources)}
        self._listing.append(listed)
        for name in full if config.diff_ids else ():
            tags = self._repositories.setdefault(familiar_name(name).rpartition(":")[0], {})
            tags[name.tag or ""] = config.diff_ids[-1].hex
        return manifest

    def finish(self) -> None:
        """Write the lists, and the end of the archive."""
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            "manifests": [entry.to_json() for entry in self._entries],
        }
        self._archive.add("index.json", encode_json(index))
        self._archive.add(MANIFEST_FILE, encode_json(self._listing))
        self._archive.add(LAYOUT_FILE, encode_json({"imageLayoutVersion": LAYOUT_VERSION}))
        if self._repositories:
            self._archive.add("repositories", encode_json(_sorted(self._repositories)))
        self._archive.finish()

    def _blob(self, digest: Digest, data: bytes) -> None:
        if digest not in self._written:
            self._folder(digest)
            self._archive.add(digest.blob_path, data)
            self._written.add(digest)

    def _folder(self, digest: Digest) -> None:
        if digest.algorithm not in self._algorithms:
            self._algorithms.add(digest.algorithm)
            self._archive.add_folder(f"blobs/{digest.algorithm}")


def docker_name(name: str) -> RegistryName:
    """The name of an image as Docker has it, ``latest`` when there is no tag; UsageError when it can have no such."""
    parsed = parse_registry_name(name)
    if parsed.digest is not None:
        raise UsageError(f"{name}: an image in an archive of docker save is named by a tag", hint="write NAME:TAG")
    return parsed


def familiar_name(name: RegistryName) -> str:
    """A name as Docker shows it, without what it fills in for its own hub."""
    text = str(name)
    for prefix in (_LIBRARY, _HUB):
        if text.startswith(prefix):
            return text.removeprefix(prefix)
    return text


def _sorted(table: Mapping[str, Mapping[str, str]]) -> dict[str, dict[str, str]]:
    return {key: dict(sorted(value.items())) for key, value in sorted(table.items())}
