"""What can be wrong with a containerd's store, found by comparing its databases with each other and with folders."""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import WclayerError
from wclayer.store.hosts.containerd.metadata import Namespace
from wclayer.store.hosts.containerd.snapshots import SnapshotRecord, Snapshotter
from wclayer.store.hosts.containerd.store import ContainerdStore
from wclayer.store.hosts.files import joined
from wclayer.store.hosts.records import MAX_DEPTH, Finding

__all__ = ["check"]


def check(store: ContainerdStore, *, content: bool = False) -> list[Finding]:
    """What is wrong with ``store``; with ``content`` every blob is read and compared with its digest."""
    found = [*_databases(store)]
    for snapshotter in store.snapshotters:
        found += _folders(snapshotter)
        for record in snapshotter.records.values():
            found += _snapshot(store, snapshotter, record)
    for namespace in store.namespaces:
        found += [*_references(store, namespace), *_images(store, namespace)]
    found += _blobs(store)
    if content:
        found += _data(store)
    return found


def subject_of(snapshotter: Snapshotter, record: SnapshotRecord) -> str:
    """How findings call a snapshot: its snapshotter, and the snapshotter's name for it."""
    return f"{snapshotter.name} {record.name}"


def _databases(store: ContainerdStore) -> Iterator[Finding]:
    databases = [(store.meta_path, store.meta_problem, store.meta_damage)]
    databases += [(joined(one.path, "metadata.db"), one.problem, one.damage) for one in store.snapshotters]
    for path, problem, damage in databases:
        if problem:
            yield Finding("database-unreadable", "error", path, problem)
        elif damage:
            yield Finding("database-damaged", "warning", path, f"{damage}; the other meta page serves")


def _folders(snapshotter: Snapshotter) -> Iterator[Finding]:
    path = snapshotter.snapshots_path
    for name in snapshotter.half_removed:
        yield Finding("half-removed", "warning", joined(path, name), "its removal began and did not end")
    for name in snapshotter.half_made:
        yield Finding("half-made", "warning", joined(path, name), "containerd stopped while it was made")
    for name in snapshotter.unknown:
        yield Finding("stranger", "warning", joined(path, name), "nothing that a snapshotter makes")
    for names in snapshotter.variants:
        listed = " and ".join(repr(name) for name in names[:4])
        yield Finding("case-variants", "warning", path, f"{listed} are one name to Windows; the first is taken")
    if snapshotter.has_database and not snapshotter.problem:
        numbers = {str(record.id) for record in snapshotter.records.values()}
        for name in sorted(set(snapshotter.folders) - numbers, key=int):
            yield Finding("orphan", "warning", joined(path, name), "a folder that the snapshotter does not know")


def _snapshot(store: ContainerdStore, snapshotter: Snapshotter, record: SnapshotRecord) -> Iterator[Finding]:
    subject = subject_of(snapshotter, record)
    if record.id is None or record.kind == "unknown":
        yield Finding("snapshot-unreadable", "error", subject, "its record has no number or no kind")
        return
    folder = snapshotter.folders.get(str(record.id))
    if folder is not None:
        yield from _content(store, snapshotter, record, joined(snapshotter.snapshots_path, folder.name))
    elif record.kind != "view":  # a view has nothing of its own, and some snapshotters make no folder for it
        yield Finding("snapshot-folder-missing", "error", subject, f"its folder {record.id} is not there")
    ancestors, broken = snapshotter.ancestors(record)
    if broken == "cycle":
        yield Finding("chain-cycle", "error", subject, "it stands on itself")
    elif broken and not ancestors:
        yield Finding("snapshot-parent-missing", "error", subject, f"its parent {broken!r:.200} is not there")
    if len(ancestors) > MAX_DEPTH:
        yield Finding("chain-too-long", "error", subject, f"{len(ancestors)} snapshots below it, more than {MAX_DEPTH}")
    known = store.references.get((snapshotter.name, record.name))
    if known is None:
        if store.knows_clients:
            yield Finding("snapshot-unknown", "warning", subject, "no client knows it any more")
        return
    namespace, reference = known
    parent = namespace.snapshots[snapshotter.name].get(reference.parent) if reference.parent else None
    if (parent.name if parent is not None else reference.parent) != record.parent:
        detail = f"its parent is {record.parent or 'none'!r:.200}, and {reference.parent or 'none'!r:.200} for clients"
        yield Finding("chain-differs", "error", subject, detail, namespace.name)
    if not store.holders_of(snapshotter.name, record):
        yield Finding("snapshot-unused", "warning", subject, "nothing holds it", namespace.name)


def _content(store: ContainerdStore, snapshotter: Snapshotter, record: SnapshotRecord, path: str) -> Iterator[Finding]:
    """A committed snapshot of the Windows snapshotter has a tree, or was committed with nothing in it."""
    if snapshotter.name != "windows" or record.kind != "committed":
        return
    try:
        if not store.tree.is_folder(joined(path, "Files")):
            yield Finding("layer-content-missing", "error", subject_of(snapshotter, record), f"{path} has no Files")
    except WclayerError as error:
        yield Finding("unreadable", "error", path, error.message)


def _references(store: ContainerdStore, namespace: Namespace) -> Iterator[Finding]:
    snapshotters = {one.name: one for one in store.snapshotters}
    for name, references in namespace.snapshots.items():
        snapshotter = snapshotters.get(name)
        if snapshotter is None or snapshotter.problem:
            continue  # it was not copied, or cannot be read
        for reference in references.values():
            if reference.name not in snapshotter.records:
                detail = f"the snapshotter does not have {reference.name!r:.200}"
                yield Finding("snapshot-lost", "error", f"{name} {reference.key}", detail, namespace.name)
    for container in namespace.containers.values():
        if not container.snapshot_key or container.snapshotter not in snapshotters:
            continue
        if container.snapshot_key not in namespace.snapshots.get(container.snapshotter, {}):
            detail = f"its snapshot {container.snapshot_key!r:.200} is not there"
            yield Finding("container-snapshot-missing", "error", container.id, detail, namespace.name)


def _images(store: ContainerdStore, namespace: Namespace) -> Iterator[Finding]:
    for image in namespace.images.values():
        if image.digest not in namespace.blobs:
            detail = f"{image.digest!r:.100} is not in the content store"
            yield Finding("image-target-missing", "error", image.name, detail, namespace.name)
            continue
        for one in store.read_image(image):
            if one.config is None:
                if str(one.manifest.config.digest) in namespace.blobs:
                    detail = f"its configuration {one.manifest.config.digest} cannot be read"
                    yield Finding("image-unreadable", "error", image.name, detail, namespace.name)
                continue  # a platform that was not fetched
            unpacked = _unpacked(namespace)
            for index, layer in enumerate(one.manifest.layers):
                here = str(layer.digest) in namespace.blobs
                if not here and not (index < len(one.chain) and one.chain[index] in unpacked):
                    detail = f"layer {index} ({layer.digest}) is neither a blob nor a snapshot"
                    yield Finding("image-layer-missing", "error", image.name, detail, namespace.name)


def _unpacked(namespace: Namespace) -> set[str]:
    return {key for references in namespace.snapshots.values() for key in references}


def _blobs(store: ContainerdStore) -> Iterator[Finding]:
    content = store.content
    if not content.exists:
        return
    known: set[str] = set()
    for namespace in store.namespaces:
        for blob in namespace.blobs.values():
            known.add(blob.digest)
            entry = content.blobs.get(blob.digest)
            if entry is None:
                detail = "its file is not in the content store"
                yield Finding("blob-missing", "error", blob.digest, detail, namespace.name)
            elif blob.size is not None and entry.size != blob.size:
                detail = f"its file has {entry.size} bytes, and should have {blob.size}"
                yield Finding("blob-size-wrong", "error", blob.digest, detail, namespace.name)
            if ("blob", "", blob.digest) not in store.holders[namespace.name]:
                yield Finding("blob-unused", "warning", blob.digest, "nothing holds it", namespace.name)
    if store.knows_clients:
        for digest in sorted(set(content.blobs) - known):
            yield Finding("blob-unknown", "warning", digest, "a file that containerd does not know")
    for path in content.unknown:
        yield Finding("stranger", "warning", path, "nothing that the content store makes")
    for ingest in content.ingests:
        yield Finding("ingest-left", "warning", ingest.path, f"a download of {ingest.size} bytes that did not end")


def _data(store: ContainerdStore) -> Iterator[Finding]:
    for digest in sorted(store.content.blobs):
        try:
            actual = store.content.digest_of(digest)
        except WclayerError as error:
            yield Finding("unreadable", "error", digest, error.message)
        else:
            if actual != digest:
                yield Finding("blob-data-wrong", "error", digest, f"its bytes have the digest {actual}")
