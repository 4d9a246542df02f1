"""References to new places of every kind, and the images that are copied between them."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.oci.samples import FOREIGN, WINDOWS, layer_tar, write_image
from tests.peers import require
from wclayer.image.copying.sources import open_source
from wclayer.oci import Descriptor, Digest, LayoutWriter, Platform, open_layer
from wclayer.oci.descriptors import Index, Manifest
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_config, encode_json, encode_manifest
from wclayer.oci.image import read_config, read_document
from wclayer.oci.mediatypes import DOCKER_CONFIG, DOCKER_LAYER_GZIP, DOCKER_MANIFEST, DOCKER_MANIFEST_LIST, OCI_INDEX

KINDS = ("oci", "oci-archive", "docker-archive", "dir", "registry", "store", "path", "tar")
VERSIONS = ("10.0.17763.6414", "10.0.20348.999", "10.0.20348.3091", "10.0.26100.1742")


@dataclass
class Places:
    """``places.new("dir")`` is a reference to a folder that is not there yet."""

    folder: Path
    host: str
    repository: str
    _count: int = field(default=0)

    def new(self, kind: str) -> str:
        """A reference of ``kind``, one of :data:`KINDS`."""
        self._count += 1
        path = self.folder / f"place{self._count}"
        return {
            "oci": f"oci:{path}:t",
            "oci-archive": f"oci-archive:{path}.tar:t",
            "docker-archive": f"docker-archive:{path}.tar:example.com/app:1",
            "dir": f"dir:{path}",
            "registry": f"docker://{self.host}/{self.repository}-{self._count}:t",
            "store": f"store:example.com/app{self._count}:t",
            "path": f"{path}",
            "tar": f"{path}.tar",
        }[kind]


def windows_index(
    layout: Path, *, name: str = "all", versions: Sequence[str] = VERSIONS, docker: bool = False
) -> Digest:
    """An index of images for several versions of Windows and one of Linux, with an attestation of the first one."""
    writer = LayoutWriter(layout)
    entries: list[dict[str, Any]] = []
    platforms = [Platform("linux", "amd64"), *(Platform("windows", "amd64", os_version=one) for one in versions)]
    for platform in platforms:
        label = platform.os_version or "linux"
        entry = write_image(layout, [layer_tar("base"), layer_tar(label)], platform=platform, entry_platform=platform)
        entries.append({**entry.to_json(), "x-kept": label})
    attested = str(entries[1]["digest"])
    blob = writer.put_bytes(b"{}", "application/vnd.oci.empty.v1+json")
    statement = writer.put_bytes(b'{"_type":"statement"}', "application/vnd.in-toto+json")
    attestation = encode_manifest(blob, [statement], annotations={"about": attested})
    listed = writer.put_manifest(attestation)
    entries.append(
        {
            **listed.to_json(),
            "platform": {"architecture": "unknown", "os": "unknown"},
            "annotations": {
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": attested,
            },
        }
    )
    media_type = DOCKER_MANIFEST_LIST if docker else OCI_INDEX
    raw = encode_json({"schemaVersion": 2, "mediaType": media_type, "manifests": entries, "x-unknown": [1, 2.5]})
    return writer.put_manifest(raw, name=name).digest


def docker_image(layout: Path, layers: Sequence[bytes], *, name: str, platform: Platform = WINDOWS) -> Digest:
    """An image with Docker's media types."""
    writer = LayoutWriter(layout)
    blobs = [writer.put_bytes(gzip.compress(layer, mtime=0), DOCKER_LAYER_GZIP) for layer in layers]
    config = writer.put_bytes(encode_config(platform, [digest_of(layer) for layer in layers]), DOCKER_CONFIG)
    return writer.put_manifest(encode_manifest(config, blobs, media_type=DOCKER_MANIFEST), name=name).digest


def foreign_image(
    layout: Path,
    *,
    name: str = "foreign",
    urls: Sequence[str] = ("https://example.invalid/base",),
    present: bool = True,
) -> tuple[Digest, Descriptor]:
    """A Docker image whose base is a foreign layer; returns its digest and that layer. Without ``present`` no blob."""
    writer = LayoutWriter(layout)
    base, top = layer_tar("base"), layer_tar("top")
    packed = gzip.compress(base, mtime=0)
    foreign = Descriptor(FOREIGN, digest_of(packed), len(packed), urls=tuple(urls))
    if present:
        writer.put_bytes(packed, FOREIGN)
    own = writer.put_bytes(gzip.compress(top, mtime=0), DOCKER_LAYER_GZIP)
    config = writer.put_bytes(encode_config(WINDOWS, [digest_of(base), digest_of(top)]), DOCKER_CONFIG)
    raw = encode_manifest(config, [foreign, own], media_type=DOCKER_MANIFEST)
    return writer.put_manifest(raw, name=name, platform=WINDOWS).digest, foreign


def contents(reference: str) -> dict[str, list[str]]:
    """Of each image that a reference leads to, by its os.version: digests of its configuration and its tars."""
    source = open_source(reference)
    found: dict[str, list[str]] = {}

    def visit(descriptor: Descriptor) -> None:
        document = read_document(source.store, descriptor)
        if isinstance(document, Index):
            for entry in document.manifests:
                visit(entry)
            return
        if document.config.type.role != "config":
            return
        config = read_config(source.store, document.config, manifest=document)
        lines = [str(config.digest)]
        for layer, diff_id in zip(document.layers, config.diff_ids, strict=True):
            stored = source.store.locate(layer, diff_id)
            assert stored is not None, layer
            promised = layer if stored.original else None
            with open_layer(
                stored.open(),
                descriptor_digest=promised.digest if promised else None,
                descriptor_size=promised.size if promised else None,
                diff_id=diff_id,
            ) as stream:
                stream.finish()
                lines.append(str(stream.diff_id))
        found[config.platform.os_version or config.platform.os] = lines

    try:
        for root in source.roots:
            visit(root)
    finally:
        source.close()
    return found


def document(reference: str) -> Manifest | Index:
    """The document that a reference names."""
    source = open_source(reference)
    try:
        (root,) = source.roots
        return read_document(source.store, root)
    finally:
        source.close()


def root_digest(reference: str) -> Digest:
    """The digest of the document that a reference names."""
    return document(reference).digest


def files(folder: Path) -> dict[str, str]:
    """All files below a folder, with the hashes of their content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def members(archive: Path) -> dict[str, bytes]:
    """The files of a tar, whose names must be distinct."""
    with tarfile.open(archive) as tar:
        found = [(member.name, tar.extractfile(member)) for member in tar if member.isfile()]
        table = {name: file.read() for name, file in found if file is not None}
        assert len(table) == len(found)
    return table


def loaded(archive: Path, name: str) -> Any:
    """A JSON file of a tar."""
    return json.loads(members(archive)[name])


def called(program: str, *arguments: object, environment: Mapping[str, str] | None = None) -> str:
    """What a peer prints; it must not fail."""
    command = [require(program), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def skopeo(*arguments: object, os: str = "windows") -> str:
    """skopeo, for images of Windows and registries without TLS."""
    verb, *rest = arguments
    insecure = {"copy": ("--src-tls-verify=false", "--dest-tls-verify=false"), "inspect": ("--tls-verify=false",)}
    return called("skopeo", "--override-os", os, "--insecure-policy", verb, *insecure[str(verb)], *rest)
