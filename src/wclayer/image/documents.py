"""The documents of an image as they are stored: manifest or index, configuration, digest.

Bytes are given as they were hashed. Nothing of a layer is looked at, wherever the image is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import UnsupportedError
from wclayer.image.unpacked import CONFIG_FILE, MANIFEST_FILE, UnpackedImage, refuse_unfinished
from wclayer.oci.descriptors import CONFIG_LIMIT, MANIFEST_LIMIT, Descriptor, Index, Manifest, parse_document
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.image import Image, StoredBlob, image_from
from wclayer.oci.mediatypes import OCI_CONFIG
from wclayer.oci.named import NamedDocuments, open_documents, require_manifest
from wclayer.oci.platforms import DEFAULT_PLATFORM, PlatformSpec, format_platform
from wclayer.oci.references import Reference
from wclayer.oci.selection import Candidate
from wclayer.oci.trees import FolderTree, read_file

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["NamedDigest", "StoredDocument", "config_of", "digest_of_image", "manifest_of", "open_named"]


@dataclass(frozen=True, slots=True)
class NamedDigest:
    """What a reference names. ``platform`` is the canonical spelling, None when no entry says it."""

    reference: str
    kind: str
    digest: Digest
    media_type: str
    size: int
    platform: str | None
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """The values as JSON has them."""
        return {
            "reference": self.reference,
            "kind": self.kind,
            "digest": str(self.digest),
            "media_type": self.media_type,
            "size": self.size,
            "platform": self.platform,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class StoredDocument:
    """A document: ``kind`` is ``index``, ``manifest`` or ``config``, ``raw`` its bytes, ``parsed`` a view of them.

    ``parsed`` is None for a configuration.
    """

    named: NamedDigest
    raw: bytes = field(repr=False)
    parsed: Manifest | Index | None = None

    def lines(self) -> list[str]:
        """What is in it, a line for each blob it names, or for each value of a configuration."""
        if isinstance(self.parsed, Index):
            return [
                f"{format_platform(entry.platform) if entry.platform else '-'}  {_blob(entry)}"
                for entry in self.parsed.manifests
            ]
        if self.parsed is not None:
            return [f"config: {_blob(self.parsed.config)}", *(f"layer: {_blob(one)}" for one in self.parsed.layers)]
        return [f"{key}: {text}" for key, text in _flat("", json.loads(self.raw))]


def open_named(target: str, network: Network | None = None) -> NamedDocuments:
    """The documents that ``target`` names: a reference to an image, or the folder that one was unpacked to.

    ``network`` is the way to registries. Must be closed. Raises what :func:`wclayer.oci.named.open_documents` raises.
    """
    folder = Path(target)
    if UnpackedImage.is_one(folder):
        reference = Reference("path", target)
        store = _Unpacked(UnpackedImage.load(folder))
        return NamedDocuments(reference, store, store.roots(reference))
    refuse_unfinished(folder)
    return open_documents(target, network=network)


def digest_of_image(target: str, *, platform: str | None = None, network: Network | None = None) -> NamedDigest:
    """The digest of what ``target`` names, or of the image in it that ``platform`` picks.

    Raises NotFoundError, UsageError when several manifests go by one name, UnsupportedError where there is no manifest.
    """
    with open_named(target, network) as named:
        chosen, notes = _choose(named, platform)
        require_manifest(chosen.descriptor)
        return _named(named, chosen, notes)


def manifest_of(target: str, *, platform: str | None = None, network: Network | None = None) -> StoredDocument:
    """The manifest or index that ``target`` names, or the manifest of the image in it that ``platform`` picks."""
    with open_named(target, network) as named:
        chosen, notes = _choose(named, platform)
        document = named.document(chosen.descriptor)
        return StoredDocument(_named(named, chosen, notes), document.raw, document)


def config_of(target: str, *, platform: str | None = None, network: Network | None = None) -> StoredDocument:
    """The configuration of the image; out of several that ``platform`` picks, else Windows on amd64."""
    with open_named(target, network) as named:
        single = platform is None and len(named.roots) == 1 and named.root.type.role != "index"
        chosen, notes = _choose(named, platform if platform is not None or single else DEFAULT_PLATFORM)
        stored, config = named.config(chosen.descriptor)
        found = NamedDigest(
            str(named.reference),
            "config",
            stored.digest,
            stored.media_type,
            len(config.raw),
            format_platform(config.platform),
            notes,
        )
        return StoredDocument(found, config.raw)


def _blob(entry: Descriptor) -> str:
    urls = f"  {' '.join(entry.urls)}" if entry.urls else ""
    return f"{entry.digest}  {entry.size}  {entry.media_type}{urls}"


def _flat(prefix: str, value: object) -> Iterator[tuple[str, str]]:
    """The members of objects with their path; lists of the history and of layers one by one, others as JSON."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    elif isinstance(value, list) and any(isinstance(inner, dict) for inner in value):
        for number, inner in enumerate(value):
            yield from _flat(f"{prefix}[{number}]", inner)
    else:
        yield prefix, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _choose(named: NamedDocuments, platform: str | PlatformSpec | None) -> tuple[Candidate, tuple[str, ...]]:
    if platform is None:
        return Candidate(named.root, named.root.platform), ()
    selection = named.select(platform)
    return selection.chosen, selection.notes


def _named(named: NamedDocuments, chosen: Candidate, notes: tuple[str, ...]) -> NamedDigest:
    descriptor, said = chosen.descriptor, chosen.platform
    return NamedDigest(
        str(named.reference),
        descriptor.type.role,
        descriptor.digest,
        descriptor.media_type,
        descriptor.size,
        format_platform(said) if said and said.os else None,
        notes,
    )


class _Unpacked:
    """The documents beside the layers of an unpacked image, as a store that has no layers."""

    def __init__(self, image: UnpackedImage) -> None:
        self._tree = FolderTree(image.folder)
        self._digest = image.document.get("digest")

    def roots(self, reference: Reference) -> Sequence[Descriptor]:  # noqa: ARG002  # there is one
        """The manifest, or the configuration of an image that had no manifest."""
        if self._tree.size(MANIFEST_FILE) is not None:
            raw = read_file(self._tree, MANIFEST_FILE, MANIFEST_LIMIT, what=MANIFEST_FILE)
            digest = Digest.parse(self._digest) if isinstance(self._digest, str) else digest_of(raw)
            return (Descriptor(parse_document(raw, what=MANIFEST_FILE).media_type, digest, len(raw)),)
        if self._tree.size(CONFIG_FILE) is not None:
            raw = read_file(self._tree, CONFIG_FILE, CONFIG_LIMIT, what=CONFIG_FILE)
            return (Descriptor(OCI_CONFIG, digest_of(raw), len(raw)),)
        raise UnsupportedError("this was unpacked from a layer tar: it has neither a manifest nor a configuration")

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """The manifest or the configuration, not verified yet."""
        path = MANIFEST_FILE if descriptor.type.role == "manifest" else CONFIG_FILE
        return read_file(self._tree, path, limit, what=what)

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:  # noqa: ARG002  # there is none
        """Nothing: the layers are unpacked."""
        return None

    def names(self) -> Sequence[str]:
        """None."""
        return ()

    def image(self, reference: Reference, wanted: PlatformSpec | None, *, hyperv: bool = False) -> Image:
        """The image, with layers that are not here."""
        return image_from(str(reference), self, self.roots(reference), wanted, hyperv=hyperv)

    def close(self) -> None:
        """Nothing stays open."""
