"""What ``docker save`` writes: a tar whose ``manifest.json`` lists configurations and layers by path.

The old form keeps layers as ``<id>/layer.tar``, with symbolic links between equal ones; the present one is an OCI
layout as well, with uncompressed layers under the blob name of their DiffID. A foreign layer keeps its descriptor in
``LayerSources``, by DiffID. Format: moby, image/spec (combined image JSON and file-system changeset).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from wclayer.errors import FormatError, LimitError, NotFoundError, UsageError
from wclayer.oci.archive import ArchiveTree
from wclayer.oci.descriptors import CONFIG_LIMIT, MANIFEST_LIMIT, Descriptor, ImageConfig
from wclayer.oci.digests import Digest, digest_of, require_digest
from wclayer.oci.image import Image, LayerBlob, StoredBlob
from wclayer.oci.mediatypes import DOCKER_CONFIG
from wclayer.oci.platforms import PlatformSpec
from wclayer.oci.references import Reference
from wclayer.oci.selection import Candidate, select
from wclayer.oci.strictjson import Node, parse_array
from wclayer.oci.trees import read_file

__all__ = ["MANIFEST_FILE", "DockerArchive", "SavedImage"]

MANIFEST_FILE = "manifest.json"
_CONFIG_NAME = re.compile(r"(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class SavedImage:
    """One element of ``manifest.json``: paths within the archive, base first."""

    config: str
    names: tuple[str, ...]
    layers: tuple[str, ...]
    sources: Mapping[Digest, Descriptor]


class DockerArchive:
    """The images of an archive. Takes ``tree`` over. NotFoundError when it is no such archive; FormatError."""

    def __init__(self, tree: ArchiveTree) -> None:
        self.tree = tree
        if MANIFEST_FILE not in tree:
            raise NotFoundError(f"{tree} is no docker archive: it does not contain a {MANIFEST_FILE}")
        if tree.is_ambiguous(MANIFEST_FILE):
            raise FormatError(f"{tree}: {MANIFEST_FILE} is there more than once", kind="duplicate")
        raw = read_file(tree, MANIFEST_FILE, MANIFEST_LIMIT, what=MANIFEST_FILE)
        self._configs: dict[Digest, bytes] = {}
        self.images = [_saved(node) for node in parse_array(raw, what=MANIFEST_FILE, limit=MANIFEST_LIMIT)]

    def close(self) -> None:
        """Close the archive."""
        self.tree.close()

    def config(self, saved: SavedImage) -> ImageConfig:
        """The configuration of an image; its layers are counted, and its digest is checked where its name is one."""
        what = f"the config {saved.config}"
        raw = read_file(self.tree, saved.config, CONFIG_LIMIT, what=what)
        match = _CONFIG_NAME.fullmatch(saved.config)
        if match:
            require_digest(Digest("sha256", match[1]), raw, what="the config")
        config = ImageConfig.parse(raw, what=what)
        if len(saved.layers) != len(config.diff_ids):
            raise FormatError(
                f"{MANIFEST_FILE} lists {len(saved.layers)} layers and {what} {len(config.diff_ids)} DiffIDs",
                kind="layer-count",
            )
        return config

    def layer_paths(self) -> dict[Digest, str]:
        """Where every layer is, by DiffID."""
        paths: dict[Digest, str] = {}
        for saved in self.images:
            paths.update(zip(self.config(saved).diff_ids, saved.layers, strict=True))
        return paths

    def names(self) -> list[str]:
        """Every name in the archive, once, sorted."""
        return sorted({name for saved in self.images for name in saved.names})

    def roots(self, reference: Reference) -> Sequence[Descriptor]:
        """The configurations of the images that ``reference`` names: there are no manifests here."""
        configs = [self.config(saved) for saved in self.find(reference)]
        self._configs = {config.digest: config.raw for config in configs}
        return [
            Descriptor(DOCKER_CONFIG, config.digest, len(config.raw), platform=config.platform) for config in configs
        ]

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """A configuration that :meth:`roots` listed."""
        raw = self._configs.get(descriptor.digest)
        if raw is None:
            raise NotFoundError(f"{what} is not here")
        if len(raw) > limit:
            raise LimitError(f"{what} has {len(raw)} bytes, more than the {limit} allowed")
        return raw

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:  # noqa: ARG002  # by DiffID only
        """The uncompressed bytes of a layer, None when they are not here."""
        path = self.layer_paths().get(diff_id) if diff_id else None
        return self._locator(path)() if path is not None else None

    def image(self, reference: Reference, wanted: PlatformSpec | None, *, hyperv: bool = False) -> Image:
        """The image that ``reference`` and ``wanted`` pick; NotFoundError, UsageError, and what parsing raises."""
        found = self.find(reference)
        configs = [self.config(saved) for saved in found]
        notes: tuple[str, ...] = ()
        position = 0
        if wanted is not None:
            candidates = [
                Candidate(Descriptor(DOCKER_CONFIG, digest_of(config.raw), len(config.raw)), config.platform)
                for config in configs
            ]
            selection = select(candidates, wanted, hyperv=hyperv)
            notes = selection.notes
            position = next(i for i, candidate in enumerate(candidates) if candidate is selection.chosen)
        elif len(found) > 1:
            names = sorted({name for saved in found for name in saved.names})
            raise UsageError(
                f"there are {len(found)} images in {self.tree}",
                hint=f"name one of them after a colon: {', '.join(names) or ':@0, :@1, …'}",
            )
        saved, config = found[position], configs[position]
        layers = [
            LayerBlob(index, len(saved.layers), saved.sources.get(diff_id), diff_id, self._locator(path))
            for index, (path, diff_id) in enumerate(zip(saved.layers, config.diff_ids, strict=True))
        ]
        return Image(str(reference), None, config, layers, notes=notes, close=self.close)

    def _locator(self, path: str) -> Callable[[], StoredBlob | None]:
        def locate() -> StoredBlob | None:
            size = self.tree.size(path)
            return None if size is None else StoredBlob(lambda: self.tree.open(path), size, original=False)

        return locate

    def find(self, reference: Reference) -> list[SavedImage]:
        """The images that ``reference`` names; NotFoundError."""
        if not self.images:
            raise NotFoundError(f"there is no image in {self.tree}")
        if reference.number is not None:
            if reference.number >= len(self.images):
                raise NotFoundError(f"no image number {reference.number} in {self.tree}: it has {len(self.images)}")
            return [self.images[reference.number]]
        name = reference.name
        if not name:
            return self.images
        full = name if ":" in name.rpartition("/")[2] else f"{name}:latest"
        for exact in (True, False):  # a whole name first, then the end of one
            found = [saved for saved in self.images if _has_name(saved, full, exact=exact)]
            if found:
                return found
        names = sorted({known for saved in self.images for known in saved.names})
        raise NotFoundError(
            f"no image {full!r} in {self.tree}", hint=f"it has {', '.join(names)}" if names else "no image has a name"
        )


def _has_name(saved: SavedImage, name: str, *, exact: bool) -> bool:
    return any(known == name or (not exact and known.endswith(f"/{name}")) for known in saved.names)


def _saved(node: Node) -> SavedImage:
    node.require_spelling(("Config", "RepoTags", "Layers", "LayerSources"))
    sources: dict[Digest, Descriptor] = {}
    listed = node.optional("LayerSources")
    if listed is not None:
        for diff_id in listed.as_object():
            sources[Digest.parse(diff_id)] = Descriptor.of(listed.node(diff_id))
    return SavedImage(node.text("Config"), node.texts("RepoTags"), node.texts("Layers"), sources)
