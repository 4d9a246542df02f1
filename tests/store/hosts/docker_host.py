"""A Docker daemon's data root, laid out as moby lays it out: the windowsfilter driver and the databases above it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import tarfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["HOME", "DockerHost", "Layer"]

HOME = "C:\\ProgramData\\docker\\windowsfilter"


@dataclass
class Layer:
    """A layer that the builder made."""

    folder: str
    diff_id: str
    chain_id: str
    parents: tuple[str, ...] = ()
    above: Layer | None = field(default=None, repr=False)


class DockerHost:
    """Builds a data root below ``root``. What it writes is what Docker writes, to the byte where that matters."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "windowsfilter"
        self.image = root / "image" / "windowsfilter"
        self.layerdb = self.image / "layerdb"
        self.home.mkdir(parents=True)
        for folder in ("sha256", "mounts", "tmp"):
            (self.layerdb / folder).mkdir(parents=True)
        (self.image / "imagedb" / "content" / "sha256").mkdir(parents=True)
        (self.image / "imagedb" / "metadata" / "sha256").mkdir(parents=True)
        self.repositories: dict[str, dict[str, str]] = {}

    def layer(
        self,
        name: str,
        files: dict[str, bytes],
        parent: Layer | None = None,
        *,
        source: str | None = None,
    ) -> Layer:
        """Import a layer of ``files`` (paths below Files) on top of ``parent``, as ``docker pull`` does."""
        folder = hashlib.sha256(f"cache {name}".encode()).hexdigest()
        parents = (parent.folder, *parent.parents) if parent else ()
        tar = layer_tar(files)
        diff_id = f"sha256:{hashlib.sha256(tar).hexdigest()}"
        chain_id = diff_id
        if parent:
            chain_id = f"sha256:{hashlib.sha256(f'{parent.chain_id} {diff_id}'.encode()).hexdigest()}"
        place = self.home / folder
        (place / "Files").mkdir(parents=True)
        for path, data in files.items():
            file = place / "Files" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        self.chain(folder, parents)
        record = self.layerdb / chain_id.replace(":", "/")
        record.mkdir()
        (record / "size").write_text(str(sum(map(len, files.values()))))
        if parent:
            (record / "parent").write_text(parent.chain_id)
        (record / "diff").write_text(diff_id)
        (record / "cache-id").write_text(folder)
        (record / "tar-split.json.gz").write_bytes(tar_split(tar))
        if source:
            self.source(diff_id, source, hashlib.sha256(b"blob of " + tar).hexdigest())
        return Layer(folder, diff_id, chain_id, parents, parent)

    def chain(self, folder: str, parents: tuple[str, ...]) -> None:
        """Write ``layerchain.json`` as the driver does: ``null`` for a base layer."""
        document = [f"{HOME}\\{parent}" for parent in parents] or None
        (self.home / folder / "layerchain.json").write_text(json.dumps(document, separators=(",", ":")))

    def source(self, diff_id: str, repository: str, digest: str) -> None:
        """Remember where the blob of a layer was seen."""
        path = self.image / "distribution" / "v2metadata-by-diffid" / diff_id.replace(":", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        document = [{"Digest": f"sha256:{digest}", "SourceRepository": repository, "HMAC": ""}]
        path.write_text(json.dumps(document))

    def make_image(self, top: Layer, *names: str, created: str = "2024-03-05T06:07:08.123456789Z") -> str:
        """Record an image of ``top`` and all it stands on, under ``names`` such as ``app:1``."""
        layers: list[Layer] = []
        layer: Layer | None = top
        while layer:
            layers.insert(0, layer)
            layer = layer.above
        config: dict[str, Any] = {
            "created": created,
            "architecture": "amd64",
            "os": "windows",
            "os.version": "10.0.20348.2700",
            "rootfs": {"type": "layers", "diff_ids": [one.diff_id for one in layers]},
            "history": [{"created": created, "created_by": f"layer {number}"} for number in range(len(layers))],
        }
        raw = json.dumps(config).encode()
        image_id = hashlib.sha256(raw).hexdigest()
        (self.image / "imagedb" / "content" / "sha256" / image_id).write_bytes(raw)
        metadata = self.image / "imagedb" / "metadata" / "sha256" / image_id
        metadata.mkdir(parents=True)
        (metadata / "lastUpdated").write_text("2024-04-05T06:07:08.5Z")
        for name in names:
            self.repositories.setdefault(name.rpartition(":")[0], {})[name] = f"sha256:{image_id}"
        self.write_names()
        return f"sha256:{image_id}"

    def write_names(self) -> None:
        """Write ``repositories.json``."""
        (self.image / "repositories.json").write_text(json.dumps({"Repositories": self.repositories}))

    def container(self, name: str, top: Layer, image_id: str = "") -> str:
        """Create a container: its scratch layer and the one below it, a mount record, a configuration."""
        identity = hashlib.sha256(f"container {name}".encode()).hexdigest()
        parents = (top.folder, *top.parents)
        for folder in (f"{identity}-init", identity):
            (self.home / folder).mkdir()
            (self.home / folder / "sandbox.vhdx").write_bytes(b"vhdxfile")
            self.chain(folder, parents)
        mount = self.layerdb / "mounts" / identity
        mount.mkdir()
        (mount / "mount-id").write_text(identity)
        (mount / "init-id").write_text(f"{identity}-init")
        (mount / "parent").write_text(top.chain_id)
        folder_of = self.root / "containers" / identity
        folder_of.mkdir(parents=True)
        state = {"StartedAt": "2024-05-06T07:08:09Z", "FinishedAt": "0001-01-01T00:00:00Z"}
        document = {
            "ID": identity,
            "Name": f"/{name}",
            "Image": image_id,
            "Created": "2024-05-06T07:08:08Z",
            "State": state,
        }
        (folder_of / "config.v2.json").write_text(json.dumps(document))
        return identity

    def record(self, layer: Layer) -> Path:
        """Where the database keeps a layer."""
        return self.layerdb / layer.chain_id.replace(":", "/")

    def path(self, layer: Layer) -> Path:
        """The folder of a layer."""
        return self.home / layer.folder


def layer_tar(files: dict[str, bytes]) -> bytes:
    """A small layer tar with the files below Files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name in ("Files", "Hives"):
            folder = tarfile.TarInfo(name)
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
        for path, data in files.items():
            entry = tarfile.TarInfo(f"Files/{path}")
            entry.size = len(data)
            entry.pax_headers = {"MSWINDOWS.fileattr": "32"}
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def tar_split(tar: bytes) -> bytes:
    """The tar as vbatts/tar-split packs it: the pieces between the data of files, and what belongs between them."""
    lines: list[dict[str, Any]] = []
    at = 0

    def add(entry: dict[str, Any]) -> None:
        lines.append({**entry, "position": len(lines)})

    with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
        for member in archive:
            add({"type": 2, "payload": base64.b64encode(tar[at : member.offset_data]).decode()})
            size = member.size if member.isfile() else 0
            entry: dict[str, Any] = {"type": 1, "name": member.name, "payload": None}
            if size:
                entry = {**entry, "size": size, "payload": "AAAAAAAAAAA="}
            add(entry)
            at = member.offset_data + size
    add({"type": 2, "payload": base64.b64encode(tar[at:]).decode()})
    return gzip.compress(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


def rename_case(path: Path, name: str) -> Path:
    """Give a file of the host a name in other letter case, as only this machine can tell."""
    os.rename(path, path.with_name(name))
    return path.with_name(name)
