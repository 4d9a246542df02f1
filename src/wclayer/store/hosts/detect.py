r"""Which stores are below a folder or in a disk image: found by a look at names, before anything is read.

A root may be the whole drive of a host (``ProgramData\docker``, ``ProgramData\containerd\root``), the data root of a
daemon, the home of the graph driver alone, or the folder of one snapshotter.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wclayer.errors import NotFoundError
from wclayer.store.hosts.containerd import ContainerdStore
from wclayer.store.hosts.containerd.store import META, SNAPSHOTTER
from wclayer.store.hosts.docker import DockerStore
from wclayer.store.hosts.docker.home import looks_like_home
from wclayer.store.hosts.files import HostTree, joined
from wclayer.store.hosts.folder_files import FolderFiles
from wclayer.store.hosts.image_files import open_volumes
from wclayer.store.hosts.records import HostStore

__all__ = ["open_host_stores", "stores_in"]

_DOCKER_ROOTS = ("", "ProgramData/docker", "docker")
_CONTAINERD_ROOTS = ("", "ProgramData/containerd/root", "containerd/root", "root")
_HOME = "windowsfilter"


@contextmanager
def open_host_stores(root: Path) -> Iterator[tuple[HostStore, ...]]:
    """The stores of Windows hosts at ``root``, a folder or a disk image, which stays open within the block.

    None when it is something else. Nothing is ever written. Raises NotFoundError when there is nothing at ``root``,
    StoreError and FormatError when it cannot be read, UnsupportedError when reading it needs what is not installed.
    """
    if not root.exists():
        raise NotFoundError(f"{root} is not there")
    if not root.is_dir():
        with open_volumes(root) as volumes:
            yield tuple(store for files in volumes for store in stores_in(HostTree(files)))
        return
    whole = root.resolve()
    if whole.name.lower() == _HOME and (whole.parent / "image").is_dir():
        # The home alone says nothing of images, and what does is beside it.
        root = whole.parent
    yield stores_in(HostTree(FolderFiles(root)))


def stores_in(tree: HostTree) -> tuple[HostStore, ...]:
    """The stores among the files of a host. Raises StoreError, LimitError."""
    found: list[HostStore] = [
        DockerStore(tree, _stored(tree, path), _stored(tree, joined(path, _HOME)))
        for path in _DOCKER_ROOTS
        if tree.is_folder(joined(path, _HOME)) or tree.is_folder(joined(path, f"image/{_HOME}/layerdb"))
    ]
    found += [ContainerdStore(tree, _stored(tree, path)) for path in _CONTAINERD_ROOTS if _is_containerd(tree, path)]
    if not found and looks_like_home(tree, ""):
        found.append(DockerStore(tree, None, ""))
    return tuple(found)


def _is_containerd(tree: HostTree, path: str) -> bool:
    for entry in tree.entries(path):
        if entry.kind == "folder":
            name = entry.name.lower()
            if name == META or (name.startswith(SNAPSHOTTER) and _has_snapshots(tree, joined(path, entry.name))):
                return True
    return False


def _has_snapshots(tree: HostTree, path: str) -> bool:
    return tree.is_folder(joined(path, "snapshots")) or tree.is_file(joined(path, "metadata.db"))


def _stored(tree: HostTree, path: str) -> str:
    found = tree.find(path)
    return found[0] if found is not None else path
