"""A containerd as a whole: which snapshot is which layer of which image, and what holds it.

Three databases know parts of that. ``meta.db`` knows names, each snapshotter knows which snapshot stands on which and
in which folder, and the blobs of the content store say which layers an image has.
"""

from __future__ import annotations

from collections.abc import Iterator

from wclayer.errors import WclayerError
from wclayer.oci.descriptors import CONFIG_LIMIT, MANIFEST_LIMIT, ImageConfig, Index, Manifest, parse_document
from wclayer.oci.platforms import format_platform
from wclayer.store.hosts.containerd.content import Content
from wclayer.store.hosts.containerd.holding import Node, held
from wclayer.store.hosts.containerd.metadata import ImageRecord, Namespace, SnapshotRef, read_metadata
from wclayer.store.hosts.containerd.snapshots import SnapshotRecord, Snapshotter, open_database
from wclayer.store.hosts.docker.layerdb import chain_id_of
from wclayer.store.hosts.files import HostTree, joined
from wclayer.store.hosts.records import Event, Finding, HostImage, HostLayer, LayerUsage, Step, nanoseconds
from wclayer.store.hosts.usage import measure

__all__ = ["META", "SNAPSHOTTER", "ContainerdStore", "ReadImage"]

META = "io.containerd.metadata.v1.bolt"
SNAPSHOTTER = "io.containerd.snapshotter.v1."
"""What the names of the folders of snapshotters begin with."""

_CONTENT = "io.containerd.content.v1.content"
_MAX_MANIFESTS = 1000  # of one index


class ReadImage:
    """An image of one platform, as far as its documents are there: its manifest, and its configuration or None."""

    __slots__ = ("chain", "config", "manifest")

    def __init__(self, manifest: Manifest, config: ImageConfig | None) -> None:
        self.manifest = manifest
        self.config = config
        chain: list[str] = []
        for diff_id in config.diff_ids if config is not None else ():
            chain.append(chain_id_of(chain[-1] if chain else None, str(diff_id)))
        self.chain = tuple(chain)
        """The chain ids of its layers, base first."""


class ContainerdStore:
    """The store whose root is the folder ``path``. Databases that cannot be read are empty, and have a ``problem``.

    Raises StoreError, LimitError when a folder that everything else hangs on cannot be listed.
    """

    kind = "containerd"

    def __init__(self, tree: HostTree, path: str) -> None:
        self.tree = tree
        self.path = path
        self._read: dict[str, list[ReadImage]] = {}
        self.meta_path = joined(joined(path, META), "meta.db")
        self.has_meta = tree.find(self.meta_path) is not None
        self.meta_problem = self.meta_damage = ""
        self.namespaces = self._read_meta() if self.has_meta else []
        self.snapshotters = [
            Snapshotter(tree, joined(path, entry.name), entry.name[len(SNAPSHOTTER) :])
            for entry in tree.entries(path)
            if entry.kind == "folder" and entry.name.lower().startswith(SNAPSHOTTER)
        ]
        self.content = Content(tree, joined(path, _CONTENT))
        self.holders: dict[str, dict[Node, list[str]]] = {one.name: held(one) for one in self.namespaces}
        self.references: dict[tuple[str, str], tuple[Namespace, SnapshotRef]] = {
            (snapshotter, reference.name): (namespace, reference)
            for namespace in self.namespaces
            for snapshotter, references in namespace.snapshots.items()
            for reference in references.values()
        }
        """What clients call a snapshot, by snapshotter and the snapshotter's name for it."""

    @property
    def place(self) -> str:
        """Where the store is."""
        return f"{self.tree.name}/{self.path}" if self.path else self.tree.name

    @property
    def knows_clients(self) -> bool:
        """Whether ``meta.db`` could be read, so that a snapshot can be one that nobody knows."""
        return self.has_meta and not self.meta_problem

    def holders_of(self, snapshotter: str, record: SnapshotRecord) -> list[str]:
        """What holds a snapshot of a snapshotter."""
        known = self.references.get((snapshotter, record.name))
        if known is None:
            return []
        namespace, reference = known
        return self.holders[namespace.name].get(("snapshot", snapshotter, reference.key), [])

    def layers(self) -> list[HostLayer]:
        """All snapshots, and the folders that no snapshotter knows."""
        return [layer for snapshotter in self.snapshotters for layer in self._snapshots(snapshotter)]

    def images(self) -> list[HostImage]:
        """All images, each platform of an index apart, as far as its documents are there."""
        found = []
        folders = {
            (namespace.name, reference.key): f"{snapshotter.name}/{record.id}"
            for snapshotter in self.snapshotters
            for record in snapshotter.records.values()
            if (known := self.references.get((snapshotter.name, record.name))) is not None
            for namespace, reference in (known,)
        }
        for namespace in self.namespaces:
            for names, one in self.read_images(namespace):
                config = one.config
                found.append(
                    HostImage(
                        str(one.manifest.digest),
                        names,
                        format_platform(config.platform) if config is not None else None,
                        nanoseconds(str(config.document.get("created", ""))) if config is not None else None,
                        tuple(folders.get((namespace.name, chain_id)) for chain_id in one.chain),
                    )
                )
            found += [
                HostImage(image.digest, (image.name,), created=image.created)
                for image in namespace.images.values()
                if not self.read_image(image)
            ]
        return found

    def read_images(self, namespace: Namespace) -> list[tuple[tuple[str, ...], ReadImage]]:
        """The images of ``namespace`` whose manifests are there, each once, with all their names."""
        names: dict[str, list[str]] = {}
        images: dict[str, ReadImage] = {}
        for image in namespace.images.values():
            for one in self.read_image(image):
                digest = str(one.manifest.digest)
                images[digest] = one
                names.setdefault(digest, []).append(image.name)
        return [(tuple(names[digest]), one) for digest, one in images.items()]

    def read_image(self, image: ImageRecord) -> list[ReadImage]:
        """The images that a name stands for, one for each platform whose manifest is there and whole."""
        if image.digest not in self._read:
            self._read[image.digest] = list(self._documents(image.digest))
        return self._read[image.digest]

    def _documents(self, target: str) -> Iterator[ReadImage]:
        waiting = [target]
        seen: set[str] = set()
        while waiting and len(seen) < _MAX_MANIFESTS:
            digest = waiting.pop(0)
            if digest in seen:
                continue
            seen.add(digest)
            try:
                raw = self.content.read(digest, MANIFEST_LIMIT)
                document = parse_document(raw) if raw is not None else None
            except WclayerError:
                continue  # what is wrong with a blob is a finding of its own
            if isinstance(document, Index):
                waiting += [str(one.digest) for one in document.manifests]
            elif document is not None:
                yield ReadImage(document, self._config(document))

    def findings(self, *, content: bool = False) -> list[Finding]:
        """What is wrong; see :mod:`wclayer.store.hosts.containerd.checks`."""
        from wclayer.store.hosts.containerd.checks import check

        return check(self, content=content)

    def steps(self) -> list[Step]:
        """What could be done; see :mod:`wclayer.store.hosts.containerd.planning`."""
        from wclayer.store.hosts.containerd.planning import plan

        return plan(self)

    def events(self) -> list[Event]:
        """What happened; see :mod:`wclayer.store.hosts.containerd.events`."""
        from wclayer.store.hosts.containerd.events import events_of

        return events_of(self)

    def usage(self) -> list[LayerUsage]:
        """What the folder of each snapshot takes."""
        return measure(self.tree, self.layers())

    def _read_meta(self) -> list[Namespace]:
        try:
            with open_database(self.tree, self.meta_path) as database:
                self.meta_damage = database.damage
                return read_metadata(database)
        except WclayerError as error:
            self.meta_problem = error.message
            return []

    def _config(self, manifest: Manifest) -> ImageConfig | None:
        try:
            raw = self.content.read(str(manifest.config.digest), CONFIG_LIMIT)
            return ImageConfig.parse(raw) if raw is not None else None
        except WclayerError:
            return None

    def _snapshots(self, snapshotter: Snapshotter) -> Iterator[HostLayer]:
        diff_ids = self._diff_ids()
        known: set[str] = set()
        for record in snapshotter.records.values():
            number = str(record.id)
            known.add(number)
            ancestors, broken = snapshotter.ancestors(record)
            parents = [f"{snapshotter.name}/{one.id}" for one in ancestors]
            reference = self.references.get((snapshotter.name, record.name))
            key = reference[1].key if reference is not None else record.name
            holders = self.holders_of(snapshotter.name, record)
            folder = snapshotter.folders.get(number)
            yield HostLayer(
                f"{snapshotter.name}/{number}",
                record.kind if folder is not None or record.kind == "view" else "lost",
                key,
                joined(snapshotter.snapshots_path, folder.name) if folder is not None else None,
                (*parents, None) if broken else tuple(parents),
                diff_ids.get(key),
                key if key in diff_ids else None,
                record.size,
                record.created,
                [one.removeprefix("image ") for one in holders if one.startswith("image ")],
                list(holders),
            )
        for name, entry in sorted(snapshotter.folders.items()):
            if name not in known:
                yield self._leftover(
                    snapshotter, name, "orphan" if snapshotter.has_database else "layer", entry.modified
                )
        for name in [*snapshotter.half_removed, *snapshotter.half_made]:
            yield self._leftover(snapshotter, name, "removing" if name.startswith("rm-") else "orphan", None)

    def _leftover(self, snapshotter: Snapshotter, name: str, kind: str, modified: int | None) -> HostLayer:
        path = joined(snapshotter.snapshots_path, name)
        return HostLayer(f"{snapshotter.name}/{name}", kind, None, path, created=modified)

    def _diff_ids(self) -> dict[str, str]:
        """The DiffID of each chain id, as the configurations that are there tell."""
        return {
            chain_id: str(diff_id)
            for namespace in self.namespaces
            for image in namespace.images.values()
            for one in self.read_image(image)
            if one.config is not None
            for chain_id, diff_id in zip(one.chain, one.config.diff_ids, strict=True)
        }
