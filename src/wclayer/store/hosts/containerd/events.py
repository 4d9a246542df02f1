"""When things happened to a containerd's store, as its databases and the times of its files tell."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import WclayerError
from wclayer.store.hosts.containerd.store import ContainerdStore
from wclayer.store.hosts.files import joined
from wclayer.store.hosts.records import Event, in_order, nanoseconds

__all__ = ["events_of"]

_DETAIL = 200


def events_of(store: ContainerdStore) -> list[Event]:
    """All events, oldest first."""
    return in_order([*_clients(store), *_snapshots(store), *_images(store)])


def _clients(store: ContainerdStore) -> Iterator[Event]:
    for namespace in store.namespaces:
        source = store.meta_path
        records: list[tuple[str, str, int | None, str]] = []
        for image in namespace.images.values():
            records.append(("image-recorded", image.name, image.created, image.digest))
            if image.updated != image.created:
                records.append(("image-updated", image.name, image.updated, image.digest))
        records += [
            ("container-created", one.id, one.created, f"image {one.image}, snapshot {one.snapshot_key}")
            for one in namespace.containers.values()
        ]
        records += [("lease-created", one.id, one.created, "") for one in namespace.leases.values()]
        records += [("blob-stored", one.digest, one.created, f"{one.size} bytes") for one in namespace.blobs.values()]
        for what, subject, at, detail in records:
            if at is not None:
                yield Event(at, what, subject, f"{namespace.name}: {detail}" if detail else namespace.name, source)
    for ingest in store.content.ingests:
        yield Event(ingest.modified, "download-stopped", ingest.path, f"after {ingest.size} bytes", ingest.path)


def _snapshots(store: ContainerdStore) -> Iterator[Event]:
    for snapshotter in store.snapshotters:
        source = joined(snapshotter.path, "metadata.db")
        for record in snapshotter.records.values():
            subject = f"{snapshotter.name}/{record.id}"
            detail = f"{record.name}, on top of {record.parent}" if record.parent else record.name
            if record.created is not None:
                what = "snapshot-committed" if record.kind == "committed" else "snapshot-made"
                yield Event(record.created, what, subject, detail, source)
            if record.updated is not None and record.updated != record.created:
                yield Event(record.updated, "snapshot-updated", subject, detail, source)
            folder = snapshotter.folders.get(str(record.id))
            if folder is None:
                continue
            path = joined(snapshotter.snapshots_path, folder.name)
            yield Event(folder.modified, "snapshot-folder-changed", subject, detail, path)
            try:
                scratch = store.tree.find(joined(path, "sandbox.vhdx"))
            except WclayerError:
                continue  # what cannot be read is a finding of fsck
            if scratch is not None and scratch[1].kind == "file":
                yield Event(scratch[1].modified, "scratch-written", subject, detail, scratch[0])


def _images(store: ContainerdStore) -> Iterator[Event]:
    for namespace in store.namespaces:
        for names, one in store.read_images(namespace):
            if one.config is None:
                continue
            called = ", ".join(names)
            source = store.content.blob_path(str(one.manifest.config.digest))
            created = nanoseconds(str(one.config.document.get("created", "")))
            if created is not None:
                yield Event(created, "image-created", str(one.manifest.digest), called, source)
            layers = iter(one.config.diff_ids)
            for line in one.config.history:
                diff_id = None if line.empty_layer else next(layers, None)
                at = nanoseconds(line.created)
                if at is not None:
                    what = "layer-built" if diff_id is not None else "history"
                    subject = str(diff_id) if diff_id is not None else str(one.manifest.digest)
                    yield Event(at, what, subject, f"{called}: {line.created_by[:_DETAIL]}", source)
