"""The root of a Windows host's containerd, with the Windows snapshotter, as its databases and folders are laid out."""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path
from typing import Any

from tests.store.hosts.bolt_writer import Table, bolt_file

__all__ = ["ContainerdHost", "go_time", "uvarint", "varint"]

KINDS = {"view": 1, "active": 2, "committed": 3}
YEAR_1 = 62135596800  # seconds before 1970
NAMESPACE = b"k8s.io"


def uvarint(number: int) -> bytes:
    """As Go's ``binary.PutUvarint``."""
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def varint(number: int) -> bytes:
    """As Go's ``binary.PutVarint``."""
    return uvarint(number * 2 if number >= 0 else -number * 2 - 1)


def go_time(seconds: int, nanoseconds: int = 0) -> bytes:
    """As ``MarshalBinary`` of a time in UTC."""
    return struct.pack(">Bqih", 1, seconds + YEAR_1, nanoseconds, -1)


class ContainerdHost:
    """Builds the root; :meth:`write` writes the databases."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.snapshotter = root / "io.containerd.snapshotter.v1.windows"
        self.snapshots = self.snapshotter / "snapshots"
        self.content = root / "io.containerd.content.v1.content"
        self.snapshots.mkdir(parents=True)
        (self.content / "blobs" / "sha256").mkdir(parents=True)
        (self.content / "ingest").mkdir()
        (root / "io.containerd.metadata.v1.bolt").mkdir()
        self.records: Table = {}
        self.references: Table = {}
        self.images: Table = {}
        self.blobs: Table = {}
        self.containers: Table = {}
        self.leases: Table = {}
        self._number = 0

    def snapshot(self, key: str, parent: str = "", kind: str = "committed", *, at: int = 1_700_000_000) -> int:
        """A snapshot with its folder and both records; returns its number."""
        self._number += 1
        number = self._number
        times: Table = {b"createdat": go_time(at + number), b"updatedat": go_time(at + number)}
        name = f"k8s.io/{number}/{key}".encode()
        above = self.references.get(parent.encode(), {})
        parent_name = above[b"name"] if isinstance(above, dict) and above else b""
        record: Table = {**times, b"id": uvarint(number), b"kind": bytes([KINDS[kind]])}
        reference: Table = {**times, b"name": name}
        if parent:
            assert isinstance(parent_name, bytes)
            record[b"parent"], reference[b"parent"] = parent_name, parent.encode()
        if kind == "committed":
            record |= {b"size": varint(1000 * number), b"inodes": varint(number)}
        self.records[name], self.references[key.encode()] = record, reference
        folder = self.snapshots / str(number)
        folder.mkdir()
        if kind == "committed":
            (folder / "Files").mkdir()
            (folder / "Files" / "f").write_bytes(b"f" * number)
        else:
            (folder / "sandbox.vhdx").write_bytes(b"vhdxfile")
        return number

    def blob(self, data: bytes, **labels: str) -> str:
        """A blob with its record."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        (self.content / "blobs" / digest.replace(":", "/")).write_bytes(data)
        self.blobs[digest.encode()] = {
            b"size": varint(len(data)),
            b"createdat": go_time(1_700_000_000),
            b"labels": {key.replace("__", ".").encode(): value.encode() for key, value in labels.items()},
        }
        return digest

    def image(self, name: str, layers: list[bytes]) -> list[str]:
        """An image whose layers are unpacked; returns the keys of their snapshots, base first."""
        diff_ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
        keys: list[str] = []
        for diff_id in diff_ids:
            below = keys[-1] if keys else ""
            key = f"sha256:{hashlib.sha256(f'{below} {diff_id}'.encode()).hexdigest()}" if below else diff_id
            if key.encode() not in self.references:
                self.snapshot(key, below)
            keys.append(key)
        config = {
            "created": "2024-01-02T03:04:05Z",
            "os": "windows",
            "architecture": "amd64",
            "os.version": "10.0.17763.1",
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        }
        label = "containerd__io/gc__ref__snapshot__windows"
        described = [self._described("application/vnd.oci.image.layer.v1.tar", self.blob(one), one) for one in layers]
        raw = json.dumps(config).encode()
        config_digest = self.blob(raw, **{label: keys[-1]})
        manifest = {
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": self._described("application/vnd.oci.image.config.v1+json", config_digest, raw),
            "layers": described,
        }
        labels = {"containerd__io/gc__ref__content__config": config_digest}
        for index, layer in enumerate(described):
            labels[f"containerd__io/gc__ref__content__l__{index}"] = str(layer["digest"])
        data = json.dumps(manifest).encode()
        target = self.blob(data, **labels)
        self.images[name.encode()] = {
            b"createdat": go_time(1_700_000_100),
            b"updatedat": go_time(1_700_000_200, 5),
            b"target": {
                b"digest": target.encode(),
                b"mediatype": b"application/vnd.oci.image.manifest.v1+json",
                b"size": varint(len(data)),
            },
        }
        return keys

    def container(self, identity: str, image: str, key: str) -> None:
        """A container whose scratch layer is the snapshot ``key``."""
        self.containers[identity.encode()] = {
            b"image": image.encode(),
            b"snapshotter": b"windows",
            b"snapshotKey": key.encode(),
            b"createdat": go_time(1_700_001_000),
            b"updatedat": go_time(1_700_001_000),
            b"runtime": {b"name": b"io.containerd.runhcs.v1"},
        }

    def write(self) -> None:
        """Write ``meta.db`` and ``metadata.db``."""
        namespace: Table = {
            b"images": self.images,
            b"containers": self.containers,
            b"content": {b"blob": self.blobs, b"ingests": {}},
            b"leases": self.leases,
            b"snapshots": {b"windows": self.references},
        }
        meta: Table = {b"v1": {b"version": varint(3), NAMESPACE: namespace}}
        (self.root / "io.containerd.metadata.v1.bolt" / "meta.db").write_bytes(bolt_file(meta, fill=4))
        own: Table = {b"v1": {b"parents": {}, b"snapshots": self.records}}
        (self.snapshotter / "metadata.db").write_bytes(bolt_file(own, fill=3))

    def record_of(self, key: str) -> Table:
        """The snapshotter's record of a snapshot."""
        reference = self.references[key.encode()]
        assert isinstance(reference, dict)
        name = reference[b"name"]
        assert isinstance(name, bytes)
        record = self.records[name]
        assert isinstance(record, dict)
        return record

    @staticmethod
    def _described(media_type: str, digest: str, data: bytes) -> dict[str, Any]:
        return {"mediaType": media_type, "digest": digest, "size": len(data)}
