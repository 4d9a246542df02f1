"""Image layouts and archives written by hand, so that any part of them can be wrong. Nothing comes from the package."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.hostile.tars import SYMLINK, archive, file, member

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

Document = dict[str, Any]
Change = Callable[[Document], None]


def sha256(data: bytes) -> str:
    """The digest of ``data``."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def dumps(document: object) -> bytes:
    """JSON."""
    return json.dumps(document).encode()


def unchanged(_document: Document) -> None:
    """Leaves a document as it is."""


class Layout:
    """An OCI layout in memory: ``files`` by path. Each document can be changed before it is hashed."""

    def __init__(
        self,
        layers: Sequence[bytes],
        *,
        blobs: Sequence[bytes] | None = None,
        change_config: Change = unchanged,
        change_manifest: Change = unchanged,
        change_index: Change = unchanged,
        config: bytes | None = None,
        manifest: bytes | None = None,
    ) -> None:
        self.files: dict[str, bytes] = {}
        blobs = layers if blobs is None else blobs
        if config is None:
            document: Document = {
                "architecture": "amd64",
                "os": "windows",
                "os.version": "10.0.20348.1",
                "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
            }
            change_config(document)
            config = dumps(document)
        if manifest is None:
            document = {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self.blob(config, CONFIG),
                "layers": [self.blob(blob, media_type(blob)) for blob in blobs],
            }
            change_manifest(document)
            manifest = dumps(document)
        document = {"schemaVersion": 2, "manifests": [self.blob(manifest, MANIFEST)]}
        change_index(document)
        self.files["index.json"] = dumps(document)
        self.files["oci-layout"] = b'{"imageLayoutVersion":"1.0.0"}'

    def blob(self, data: bytes, kind: str) -> Document:
        """Put a blob into the layout; returns its descriptor."""
        digest = sha256(data)
        self.files["blobs/" + digest.replace(":", "/")] = data
        return {"mediaType": kind, "digest": digest, "size": len(data)}

    def write(self, folder: Path) -> str:
        """Write it to ``folder``; returns the reference."""
        for name, data in self.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        return f"oci:{folder}"

    def members(self) -> list[bytes]:
        """It as the members of a tar."""
        return [file(name, data) for name, data in self.files.items()]


def media_type(blob: bytes) -> str:
    """The media type of a layer blob, by its first bytes."""
    if blob.startswith(b"\x1f\x8b"):
        return LAYER + "+gzip"
    return LAYER + "+zstd" if blob.startswith(b"\x28\xb5\x2f\xfd") else LAYER


def packed(data: bytes) -> bytes:
    """``data`` as gzip."""
    return gzip.compress(data, compresslevel=6, mtime=0)


def docker_archive(
    layers: Sequence[tuple[str, bytes]],
    *extra: bytes,
    paths: Sequence[str] | None = None,
    config_name: str | None = None,
    change: Change = unchanged,
) -> bytes:
    """What ``docker save`` writes, with ``extra`` members; ``paths`` is what its list says of the layers."""
    config = dumps(
        {
            "architecture": "amd64",
            "os": "windows",
            "rootfs": {"type": "layers", "diff_ids": [sha256(data) for _, data in layers]},
        }
    )
    name = config_name or sha256(config).partition(":")[2] + ".json"
    entry: Document = {
        "Config": name,
        "RepoTags": ["app:1"],
        "Layers": list(paths) if paths is not None else [path for path, _ in layers],
    }
    change(entry)
    return archive(
        file(name, config),
        *(file(path, data) for path, data in layers),
        file("manifest.json", dumps([entry])),
        *extra,
    )


def archive_link(name: str, target: str) -> bytes:
    """A symbolic link in an archive of an image."""
    return member(name, SYMLINK, linkname=target)
