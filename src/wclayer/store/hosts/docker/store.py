"""A Docker daemon's store as a whole: what the folders of the driver are, in the words of the databases above it.

The driver knows folders, the layer database knows chain ids, the image database knows names. Each can be there without
the others: a copy may be of the driver's home alone, and then every folder in it is taken for a layer.
"""

from __future__ import annotations

from wclayer.oci.platforms import format_platform
from wclayer.store.hosts.docker.home import REMOVING, Home, HomeLayer
from wclayer.store.hosts.docker.imagedb import ImageDatabase, read_containers
from wclayer.store.hosts.docker.layerdb import LayerDatabase, LayerRecord, chain_id_of
from wclayer.store.hosts.files import HostTree, joined
from wclayer.store.hosts.records import (
    Event,
    Finding,
    HostImage,
    HostLayer,
    LayerUsage,
    Step,
    nanoseconds,
)
from wclayer.store.hosts.usage import measure

__all__ = ["DockerStore", "removing_name"]


class DockerStore:
    """The store of a Docker daemon: ``data_root`` holds ``windowsfilter`` and ``image``, ``home`` is the first of them.

    Raises StoreError, LimitError when a folder that everything else hangs on cannot be listed.
    """

    kind = "windowsfilter"

    def __init__(self, tree: HostTree, data_root: str | None, home: str) -> None:
        self.tree = tree
        self.data_root = data_root
        self.home = Home(tree, home)
        above = joined(data_root, "image/windowsfilter") if data_root is not None else None
        self.layerdb = LayerDatabase(tree, joined(above, "layerdb") if above is not None else None)
        self.imagedb = ImageDatabase(tree, above)
        self.containers = read_containers(tree, joined(data_root or "", "containers")) if above else None
        self.folders: dict[str, str] = {}
        """The folder of each layer in the database, by its chain id, as far as it is there."""
        self.mounted: dict[str, str] = {}
        """The container of each folder that a mount record names."""
        for chain_id, record in self.layerdb.layers.items():
            folder = self.home.resolve(record.cache_id) if record.cache_id else None
            if folder is not None:
                self.folders[chain_id] = folder
        for name, mount in self.layerdb.mounts.items():
            for mounted in (mount.mount_id, mount.init_id):
                folder = self.home.resolve(mounted) if mounted else None
                if folder is not None:
                    self.mounted[folder] = name
        self._users = self._find_users()

    @property
    def place(self) -> str:
        """Where the store is."""
        below = self.data_root if self.data_root is not None else self.home.path
        return f"{self.tree.name}/{below}" if below else self.tree.name

    @property
    def has_databases(self) -> bool:
        """Whether there is a database of layers, so that a folder can be one that nobody knows."""
        return self.layerdb.exists

    def image_chain(self, diff_ids: tuple[str, ...]) -> tuple[str, ...]:
        """The chain ids of an image's layers, base first."""
        chain: list[str] = []
        for diff_id in diff_ids:
            chain.append(chain_id_of(chain[-1] if chain else None, diff_id))
        return tuple(chain)

    def users(self, chain_id: str) -> list[str]:
        """What the images and containers that stand on a layer are called."""
        return self._users.get(chain_id, [])

    def image_name(self, image_id: str) -> str:
        """The first name of an image, or the beginning of its id."""
        names = self.imagedb.images[image_id].names
        return min(names, key=lambda name: ("@" in name, name)) if names else image_id[:19]

    def container_name(self, mount: str) -> str:
        """What a person calls the container of a mount."""
        record = (self.containers or {}).get(mount)
        return record.name if record is not None and record.name else mount[:12]

    def layers(self) -> list[HostLayer]:
        """All layers: those of the database, those of containers, and the folders that nobody knows."""
        found: list[HostLayer] = []
        named: dict[str, LayerRecord] = {}
        for chain_id in sorted(self.layerdb.layers):
            record = self.layerdb.layers[chain_id]
            folder = self.folders.get(chain_id)
            if folder is not None:
                named[folder] = record
            found.append(self._recorded(record, folder))
        found += [self._unrecorded(layer) for folder, layer in sorted(self.home.layers.items()) if folder not in named]
        for name in sorted(self.home.removing):
            entry = self.home.removing[name]
            path = joined(self.home.path, entry.name)
            found.append(HostLayer(entry.name, "removing", name, path, created=entry.modified))
        children: dict[str, list[str]] = {}
        for layer in found:
            if layer.parents and layer.parents[0] is not None:
                children.setdefault(layer.parents[0], []).append(layer.id)
        for layer in found:
            layer.held_by += [f"layer {child[:12]}" for child in children.get(layer.id, ())]
        return found

    def images(self) -> list[HostImage]:
        """All images of the database."""
        found = []
        for image_id, record in sorted(self.imagedb.images.items()):
            config = record.config
            chain = self.image_chain(tuple(map(str, config.diff_ids))) if config else ()
            created = nanoseconds(str(config.document.get("created", ""))) if config else None
            found.append(
                HostImage(
                    image_id,
                    tuple(sorted(record.names)),
                    format_platform(config.platform) if config else None,
                    created,
                    tuple(self.folders.get(chain_id) for chain_id in chain),
                )
            )
        return found

    def findings(self, *, content: bool = False) -> list[Finding]:
        """What is wrong; see :mod:`wclayer.store.hosts.docker.checks`."""
        from wclayer.store.hosts.docker.checks import check

        return check(self, content=content)

    def steps(self) -> list[Step]:
        """What could be done; see :mod:`wclayer.store.hosts.docker.planning`."""
        from wclayer.store.hosts.docker.planning import plan

        return plan(self)

    def events(self) -> list[Event]:
        """What happened; see :mod:`wclayer.store.hosts.docker.events`."""
        from wclayer.store.hosts.docker.events import events_of

        return events_of(self)

    def usage(self) -> list[LayerUsage]:
        """What the folder of each layer takes."""
        return measure(self.tree, [layer for layer in self.layers() if layer.path is not None])

    def _find_users(self) -> dict[str, list[str]]:
        users: dict[str, list[str]] = {}
        for image_id, record in sorted(self.imagedb.images.items()):
            if record.config is not None:
                for chain_id in self.image_chain(tuple(map(str, record.config.diff_ids))):
                    users.setdefault(chain_id, []).append(f"image {self.image_name(image_id)}")
        for name, mount in sorted(self.layerdb.mounts.items()):
            for layer in self.layerdb.chain(mount.parent) or () if mount.parent else ():
                users.setdefault(layer.chain_id, []).append(f"container {self.container_name(name)}")
        return users

    def _recorded(self, record: LayerRecord, folder: str | None) -> HostLayer:
        layer = self.home.layers[folder] if folder is not None else None
        users = self.users(record.chain_id)
        below = (self.layerdb.chain(record.chain_id) or ())[1:]
        return HostLayer(
            folder or record.cache_id or record.chain_id,
            "layer" if layer else "lost",
            record.chain_id,
            layer.path if layer else None,
            layer.parents if layer else tuple(one.cache_id for one in below),
            record.diff_id,
            record.chain_id,
            record.size,
            record.written,
            [user.removeprefix("image ") for user in users if user.startswith("image ")],
            list(users),
        )

    def _unrecorded(self, layer: HomeLayer) -> HostLayer:
        mount = self.mounted.get(layer.id)
        kind = "init" if layer.is_init else "scratch" if layer.scratch is not None else "layer"
        if self.has_databases and mount is None:
            kind = "orphan"
        return HostLayer(
            layer.id,
            kind,
            mount,
            layer.path,
            layer.parents,
            size=layer.scratch.size if layer.scratch else None,
            created=layer.chain_written or layer.modified,
            held_by=[f"container {self.container_name(mount)}"] if mount is not None else [],
        )


def removing_name(layer_id: str) -> str:
    """The name that the driver gives the folder of a layer while it removes it."""
    return f"{layer_id}{REMOVING}"
