"""What can be wrong with a Docker daemon's store, found by comparing what its parts say of each other.

Nothing stops at the first finding: a folder that cannot be read, or a record that makes no sense, is a finding, and the
rest is looked at all the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.store.hosts.docker.content import check_content
from wclayer.store.hosts.docker.home import HomeLayer
from wclayer.store.hosts.docker.layerdb import LayerRecord, chain_id_of
from wclayer.store.hosts.docker.store import DockerStore, removing_name
from wclayer.store.hosts.files import joined, last_component
from wclayer.store.hosts.records import MAX_DEPTH, Finding

__all__ = ["check", "expected_by_record"]


def check(store: DockerStore, *, content: bool = False) -> list[Finding]:
    """What is wrong with ``store``; with ``content`` the data of each layer is compared with its DiffID too."""
    found = [*_home(store), *_records(store), *_mounts(store), *_images(store), *_strangers(store)]
    if content:
        found += check_content(store)
    return found


def _home(store: DockerStore) -> Iterator[Finding]:
    home = store.home
    for name in home.links:
        yield Finding("link-in-store", "warning", joined(home.path, name), "a link among the layers, not followed")
    for names in home.variants:
        yield _variants(home.path, names)
    for layer in home.layers.values():
        if layer.problem:
            yield Finding("unreadable", "error", layer.id, layer.problem)
            continue
        for names in layer.variants:
            yield _variants(layer.path, names)
        yield from _alias(store, layer)
        yield from _chain(store, layer)
    for name in home.removing:
        needed = any(record.cache_id == name for record in store.layerdb.layers.values())
        detail = "its removal began and did not end"
        if needed and name not in home.layers:
            detail += ", and a layer of the database needs it"
        yield Finding("half-removed", "warning", removing_name(name), detail)


def _variants(folder: str, names: list[str]) -> Finding:
    listed = " and ".join(repr(name) for name in names[:4])
    return Finding("case-variants", "warning", folder, f"{listed} are one name to Windows; the first is taken")


def _alias(store: DockerStore, layer: HomeLayer) -> Iterator[Finding]:
    if layer.alias_problem:
        yield Finding("alias-unreadable", "error", layer.id, layer.alias_problem)
    elif layer.alias is not None and store.home.named(last_component(layer.alias)) is None:
        yield Finding("alias-missing", "error", layer.id, f"it stands for {layer.alias!r:.100}, which is not there")


def _chain(store: DockerStore, layer: HomeLayer) -> Iterator[Finding]:
    if layer.chain is None:
        yield Finding("chain-unreadable", "error", layer.id, layer.chain_problem)
        return
    missing = [element for element, name in zip(layer.chain, layer.parents, strict=True) if name is None]
    for element in missing:
        yield Finding("chain-parent-missing", "error", layer.id, f"{element!r:.300} is not in the store")
    if len(layer.chain) > MAX_DEPTH:
        detail = f"{len(layer.chain)} layers below it, more than the {MAX_DEPTH} that Docker makes"
        yield Finding("chain-too-long", "error", layer.id, detail)
    names = [name for name in layer.parents if name is not None]
    if layer.id in names or len(set(names)) < len(names) or _goes_round(store, layer):
        yield Finding("chain-cycle", "error", layer.id, "it stands on itself")
        return
    expected = _expected_chain(store, layer)
    if not missing and expected is not None and expected != layer.parents:
        wanted = ", ".join((name or "?")[:12] for name in expected) or "none"
        given = ", ".join((name or "?")[:12] for name in layer.parents) or "none"
        yield Finding("chain-differs", "error", layer.id, f"its parents are {given}, and should be {wanted}")


def _goes_round(store: DockerStore, layer: HomeLayer) -> bool:
    """Whether going from parent to parent comes back to ``layer``."""
    seen: set[str] = set()
    name = layer.parents[0] if layer.parents else None
    while name is not None and name not in seen:
        if name == layer.id:
            return True
        seen.add(name)
        parents = store.home.layers[name].parents
        name = parents[0] if parents else None
    return False


def _expected_chain(store: DockerStore, layer: HomeLayer) -> tuple[str | None, ...] | None:
    """What ``layerchain.json`` should list, as the database or else the nearest parent tells; None if neither does."""
    expected = expected_by_record(store, layer.id)
    if expected is not None:
        return expected
    nearest = layer.parents[0] if layer.parents else None
    return store.home.child_chain(nearest) if nearest is not None else None


def expected_by_record(store: DockerStore, folder: str, *, lost: bool = False) -> tuple[str, ...] | None:
    """The parents that the database of layers gives the layer in ``folder``; None where it does not know all of them.

    For a layer of a container these are the layers of its image: the one below it, without files, stands in no chain.
    With ``lost`` parents whose folders are gone count too, under the names that these had.
    """
    mount = store.layerdb.mounts.get(store.mounted.get(folder, ""))
    chain: tuple[LayerRecord, ...] | None
    if mount is not None:
        chain = store.layerdb.chain(mount.parent) if mount.parent else ()
    else:
        own = next((chain_id for chain_id, name in store.folders.items() if name == folder), None)
        chain = store.layerdb.chain(own) if own is not None else None
        chain = chain[1:] if chain else None
    if chain is None:
        return None
    folders = [store.folders.get(record.chain_id, record.cache_id if lost else None) for record in chain]
    return None if None in folders else tuple(name for name in folders if name is not None)


def _records(store: DockerStore) -> Iterator[Finding]:
    for chain_id, record in sorted(store.layerdb.layers.items()):
        for problem in record.problems:
            yield Finding("layer-record-unreadable", "error", chain_id, problem)
        if record.diff_id is not None:
            actual = chain_id_of(record.parent, record.diff_id)
            if actual != chain_id:
                detail = f"its DiffID {record.diff_id} makes it {actual}"
                yield Finding("chain-id-wrong", "error", chain_id, detail)
        if record.parent is not None and record.parent not in store.layerdb.layers:
            yield Finding("layer-parent-missing", "error", chain_id, f"its parent {record.parent} is not there")
        yield from _folder(store, record)
        if not store.users(chain_id) and not _has_child(store, chain_id):
            yield Finding("layer-unused", "warning", chain_id, "no image and no container stands on it")
    for path in store.layerdb.removing:
        yield Finding("record-half-removed", "warning", path, "its removal began and did not end")
    for path in store.layerdb.half_written:
        yield Finding("record-half-written", "warning", path, "it was being written when Docker stopped")


def _has_child(store: DockerStore, chain_id: str) -> bool:
    return any(record.parent == chain_id for record in store.layerdb.layers.values())


def _folder(store: DockerStore, record: LayerRecord) -> Iterator[Finding]:
    if record.cache_id is None:
        return
    folder = store.folders.get(record.chain_id)
    if folder is None:
        kept = record.cache_id in store.home.removing
        detail = f"its folder {record.cache_id} is not there"
        yield Finding(
            "layer-folder-missing", "error", record.chain_id, f"{detail}, but one half removed is" if kept else detail
        )
    elif not store.home.layers[folder].has_files and not store.home.layers[folder].problem:
        yield Finding("layer-content-missing", "error", record.chain_id, f"its folder {folder} has no Files")


def _mounts(store: DockerStore) -> Iterator[Finding]:
    for name, mount in sorted(store.layerdb.mounts.items()):
        for problem in mount.problems:
            yield Finding("mount-unreadable", "error", name, problem)
        if mount.mount_id is not None and store.home.resolve(mount.mount_id) is None:
            yield Finding("mount-layer-missing", "error", name, f"the container's layer {mount.mount_id} is not there")
        if mount.init_id is not None and store.home.resolve(mount.init_id) is None:
            yield Finding("mount-layer-missing", "error", name, f"the layer {mount.init_id} is not there")
        if mount.parent is not None and mount.parent not in store.layerdb.layers:
            yield Finding("mount-parent-missing", "error", name, f"{mount.parent} is not in the database")
        if store.containers is not None and name not in store.containers:
            yield Finding("mount-without-container", "warning", name, "there is no container of this name")
    for name, container in sorted((store.containers or {}).items()):
        if container.problem:
            yield Finding("container-unreadable", "error", name, container.problem)


def _images(store: DockerStore) -> Iterator[Finding]:
    database = store.imagedb
    if database.names_problem:
        yield Finding("repositories-unreadable", "error", database.names_path, database.names_problem)
    for name, image_id in sorted(database.dangling.items()):
        yield Finding("tag-dangling", "error", name, f"it stands for the image {image_id}, which is not there")
    for image_id, record in sorted(database.images.items()):
        if record.config is None:
            yield Finding("image-unreadable", "error", image_id, record.problem)
            continue
        if record.is_damaged:
            yield Finding("image-id-wrong", "error", image_id, f"its bytes have the digest {record.config.digest}")
        chain = store.image_chain(tuple(map(str, record.config.diff_ids)))
        if len(chain) > MAX_DEPTH:
            yield Finding("chain-too-long", "error", image_id, f"{len(chain)} layers, more than {MAX_DEPTH}")
        for index, chain_id in enumerate(chain):
            if store.layerdb.exists and chain_id not in store.layerdb.layers:
                detail = f"layer {index} ({record.config.diff_ids[index]}) is not in the database of layers"
                yield Finding("image-layer-missing", "error", image_id, detail)


def _strangers(store: DockerStore) -> Iterator[Finding]:
    if not store.has_databases:
        return
    for layer in store.layers():
        if layer.kind == "orphan":
            what = "a container's layer" if store.home.layers[layer.id].scratch else "a layer"
            yield Finding(
                "orphan", "warning", layer.id, f"{what} that neither the database of layers nor a mount knows"
            )
