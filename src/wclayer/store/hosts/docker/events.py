"""When things happened to a Docker daemon's store, as far as its records and the times of its files still tell."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.store.hosts.docker.home import REMOVING
from wclayer.store.hosts.docker.store import DockerStore
from wclayer.store.hosts.files import joined
from wclayer.store.hosts.records import Event, in_order, nanoseconds

__all__ = ["events_of"]

_DETAIL = 200


def events_of(store: DockerStore) -> list[Event]:
    """All events, oldest first."""
    return in_order([*_layers(store), *_images(store), *_containers(store)])


def _layers(store: DockerStore) -> Iterator[Event]:
    for chain_id, record in store.layerdb.layers.items():
        detail = f"DiffID {record.diff_id}, folder {record.cache_id}"
        yield Event(record.written, "layer-recorded", chain_id, detail, joined(record.path, "cache-id"))
    for name, mount in store.layerdb.mounts.items():
        yield Event(mount.written, "mount-recorded", name, f"on top of {mount.parent}", mount.path)
    chain_ids = {folder: chain_id for chain_id, folder in store.folders.items()}
    for layer in store.home.layers.values():
        container = store.mounted.get(layer.id)
        detail = chain_ids.get(layer.id) or (f"container {container}" if container else "no record")
        if layer.chain_written is not None:
            file = joined(layer.path, "layerchain.json")
            yield Event(layer.chain_written, "layer-made", layer.id, detail, file)
        yield Event(layer.modified, "layer-folder-changed", layer.id, detail, layer.path)
        if layer.scratch is not None:
            file = joined(layer.path, layer.scratch.name)
            yield Event(layer.scratch.modified, "scratch-written", layer.id, detail, file)
    for name, entry in store.home.removing.items():
        path = joined(store.home.path, entry.name)
        yield Event(entry.modified, "removal-began", name + REMOVING, "and did not end", path)


def _images(store: DockerStore) -> Iterator[Event]:
    for image_id, record in store.imagedb.images.items():
        name = store.image_name(image_id)
        yield Event(record.written, "image-stored", image_id, name, record.path)
        if record.updated is not None:
            path = joined(store.imagedb.path, f"imagedb/metadata/{image_id.replace(':', '/')}/lastUpdated")
            yield Event(record.updated, "image-tagged", image_id, name, path)
        if record.config is None:
            continue
        created = nanoseconds(str(record.config.document.get("created", "")))
        if created is not None:
            yield Event(created, "image-created", image_id, name, record.path)
        layers = iter(record.config.diff_ids)
        for line in record.config.history:
            diff_id = None if line.empty_layer else next(layers, None)
            at = nanoseconds(line.created)
            if at is not None:
                subject = str(diff_id) if diff_id is not None else image_id
                what = "layer-built" if diff_id is not None else "history"
                yield Event(at, what, subject, f"{name}: {line.created_by[:_DETAIL]}", record.path)


def _containers(store: DockerStore) -> Iterator[Event]:
    for name, container in (store.containers or {}).items():
        detail = f"{container.name}, image {container.image}"
        for what, at in (
            ("container-created", container.created),
            ("container-started", container.started),
            ("container-finished", container.finished),
        ):
            if at is not None:
                yield Event(at, what, name, detail, container.path)
