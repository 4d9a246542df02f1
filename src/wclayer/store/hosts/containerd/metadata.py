"""``meta.db``: what containerd knows of images, containers, content and snapshots, apart for each namespace.

A snapshot has two names: the key that clients use, and the name under which the snapshotter has it. This database maps
one to the other, and what it does not hold does not exist for containerd, whatever a snapshotter still has.

Source: containerd, ``metadata/buckets.go`` (the layout of the buckets), ``metadata/gc.go`` (what holds what).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from wclayer.store.hosts.bolt import BoltDatabase, Bucket
from wclayer.store.hosts.containerd.values import labels_of, signed, text_of, time_of

__all__ = ["BlobRecord", "ContainerRecord", "ImageRecord", "LeaseRecord", "Namespace", "SnapshotRef", "read_metadata"]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """A name, and the digest, media type and size in bytes of what it stands for."""

    name: str
    digest: str
    media_type: str
    size: int | None
    created: int | None
    updated: int | None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """A container: its image, and the snapshot that is its scratch layer."""

    id: str
    image: str
    snapshotter: str
    snapshot_key: str
    created: int | None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BlobRecord:
    """A blob of the content store; ``size`` in bytes."""

    digest: str
    size: int | None
    created: int | None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SnapshotRef:
    """A snapshot, by the key of its clients; ``name`` is the snapshotter's for it."""

    key: str
    name: str
    parent: str
    created: int | None
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What a client holds for a while: digests of blobs, and snapshots as (snapshotter, key)."""

    id: str
    created: int | None
    labels: dict[str, str] = field(default_factory=dict)
    blobs: tuple[str, ...] = ()
    snapshots: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Namespace:
    """All that is known in one namespace."""

    name: str
    images: dict[str, ImageRecord] = field(default_factory=dict)
    containers: dict[str, ContainerRecord] = field(default_factory=dict)
    blobs: dict[str, BlobRecord] = field(default_factory=dict)
    snapshots: dict[str, dict[str, SnapshotRef]] = field(default_factory=dict)
    """By snapshotter, then by key."""
    leases: dict[str, LeaseRecord] = field(default_factory=dict)


def read_metadata(database: BoltDatabase) -> list[Namespace]:
    """The namespaces of ``meta.db``. Raises FormatError, LimitError, StoreError."""
    version = database.bucket(b"v1")
    if version is None:
        return []
    found = []
    for key, bucket in version.buckets():
        namespace = Namespace(text_of(key))
        for kind, objects in bucket.buckets():
            if kind == b"images":
                namespace.images = {one.name: one for one in map(_image, *_pairs(objects))}
            elif kind == b"containers":
                namespace.containers = {one.id: one for one in map(_container, *_pairs(objects))}
            elif kind == b"content":
                blobs = objects.bucket(b"blob")
                if blobs is not None:
                    namespace.blobs = {one.digest: one for one in map(_blob, *_pairs(blobs))}
            elif kind == b"snapshots":
                for snapshotter, snapshots in objects.buckets():
                    references = {one.key: one for one in map(_snapshot, *_pairs(snapshots))}
                    namespace.snapshots[text_of(snapshotter)] = references
            elif kind == b"leases":
                namespace.leases = {one.id: one for one in map(_lease, *_pairs(objects))}
        found.append(namespace)
    return found


def _pairs(bucket: Bucket) -> tuple[list[str], list[Bucket]]:
    pairs = list(bucket.buckets())
    return [text_of(key) for key, _ in pairs], [below for _, below in pairs]


def _image(name: str, record: Bucket) -> ImageRecord:
    values = record.values()
    target = record.bucket(b"target")
    described = target.values() if target is not None else {}
    return ImageRecord(
        name,
        text_of(described.get(b"digest")),
        text_of(described.get(b"mediatype")),
        signed(described.get(b"size")),
        time_of(values.get(b"createdat")),
        time_of(values.get(b"updatedat")),
        labels_of(record),
    )


def _container(name: str, record: Bucket) -> ContainerRecord:
    values = record.values()
    return ContainerRecord(
        name,
        text_of(values.get(b"image")),
        text_of(values.get(b"snapshotter")),
        text_of(values.get(b"snapshotKey")),
        time_of(values.get(b"createdat")),
        labels_of(record),
    )


def _blob(name: str, record: Bucket) -> BlobRecord:
    values = record.values()
    return BlobRecord(name, signed(values.get(b"size")), time_of(values.get(b"createdat")), labels_of(record))


def _snapshot(name: str, record: Bucket) -> SnapshotRef:
    values = record.values()
    return SnapshotRef(
        name,
        text_of(values.get(b"name")),
        text_of(values.get(b"parent")),
        time_of(values.get(b"createdat")),
        labels_of(record),
    )


def _lease(name: str, record: Bucket) -> LeaseRecord:
    content, snapshots = record.bucket(b"content"), record.bucket(b"snapshots")
    return LeaseRecord(
        name,
        time_of(record.values().get(b"createdat")),
        labels_of(record),
        tuple(text_of(key) for key, _ in content) if content is not None else (),
        tuple(
            (text_of(snapshotter), text_of(key))
            for snapshotter, keys in (snapshots.buckets() if snapshots is not None else ())
            for key, _ in keys
        ),
    )
