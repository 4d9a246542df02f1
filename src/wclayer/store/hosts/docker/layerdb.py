"""Docker's database of layers: folders of small text files, one folder for each layer and each mount.

A layer is known by its chain id, the digest of its own DiffID and of all below it, and ``cache-id`` says under which
name the graph driver has it. A mount is the layer of a container. Folders are made elsewhere and renamed, and renamed
again to be removed, so that an interrupted write or removal shows by its name.

Source: moby, ``layer/filestore.go`` and ``layer/layer_store.go``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.errors import WclayerError
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.strictjson import parse_object
from wclayer.store.hosts.files import HostTree, joined

__all__ = ["TAR_SPLIT", "LayerDatabase", "LayerRecord", "MountRecord", "chain_id_of"]

TAR_SPLIT = "tar-split.json.gz"
"""The tar of a layer without the data of its files."""

_SMALL = 1 << 12
_DESCRIPTOR = 1 << 20
_CACHE_ID = re.compile(r"[a-f0-9]{64}(?:-init)?", re.ASCII)
_HEX = re.compile(r"[a-f0-9]{64}", re.ASCII)
_REMOVING = re.compile(r"([a-f0-9]{64})-.+-removing", re.ASCII)


@dataclass(slots=True)
class LayerRecord:
    """What is known of a layer; a field that cannot be read is None, and ``problems`` says why."""

    chain_id: str
    path: str
    written: int
    diff_id: str | None = None
    parent: str | None = None
    """The chain id of the layer below."""
    cache_id: str | None = None
    size: int | None = None
    descriptor: Descriptor | None = None
    """Of a layer that came from elsewhere than the registry of the image."""
    has_tar_split: bool = False
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class MountRecord:
    """The layer of a container."""

    name: str
    path: str
    written: int
    mount_id: str | None = None
    init_id: str | None = None
    parent: str | None = None
    """The chain id of the image's top layer."""
    problems: tuple[str, ...] = ()


class LayerDatabase:
    """The database at ``path`` (``image/windowsfilter/layerdb``); where there is none, or None, it is empty."""

    def __init__(self, tree: HostTree, path: str | None) -> None:
        self.exists = path is not None and tree.is_folder(path)
        self.layers: dict[str, LayerRecord] = {}
        self.mounts: dict[str, MountRecord] = {}
        self.removing: dict[str, str] = {}
        """Paths of records whose removal did not end, each with the hexadecimal digits of its chain id."""
        self.half_written: list[str] = []
        self.unknown: list[str] = []
        self._tree = tree
        if path is not None:
            self._read(path)

    def _read(self, path: str) -> None:
        tree = self._tree
        folder = joined(path, "sha256")
        for entry in tree.entries(folder):
            below = joined(folder, entry.name)
            if entry.kind != "folder":
                self.unknown.append(below)
            elif _HEX.fullmatch(entry.name):
                record = self._layer(f"sha256:{entry.name}", below, entry.modified)
                self.layers[record.chain_id] = record
            elif match := _REMOVING.fullmatch(entry.name):
                self.removing[below] = match[1]
            else:
                self.unknown.append(below)
        mounts = joined(path, "mounts")
        for entry in tree.entries(mounts):
            if entry.kind == "folder":
                self.mounts[entry.name] = self._mount(entry.name, joined(mounts, entry.name), entry.modified)
        self.half_written = [joined(joined(path, "tmp"), one.name) for one in tree.entries(joined(path, "tmp"))]

    def chain(self, chain_id: str) -> tuple[LayerRecord, ...] | None:
        """The layer and all it stands on, nearest first; None when one is not there, or they stand on each other."""
        found: dict[str, LayerRecord] = {}
        wanted: str | None = chain_id
        while wanted is not None:
            record = self.layers.get(wanted)
            if record is None or wanted in found:
                return None
            found[wanted] = record
            wanted = record.parent
        return tuple(found.values())

    def _layer(self, chain_id: str, path: str, modified: int) -> LayerRecord:
        record = LayerRecord(chain_id, path, modified)
        problems: list[str] = []

        def take(name: str, required: bool) -> str | None:
            return self._text(joined(path, name), problems, required=required)

        record.diff_id = _digest(take("diff", True), "diff", problems)
        record.parent = _digest(take("parent", False), "parent", problems)
        record.cache_id = _id(take("cache-id", True), "cache-id", problems)
        size = take("size", True)
        if size is not None and size.isascii() and size.isdigit() and len(size) < 20:
            record.size = int(size)
        elif size is not None:
            problems.append(f"size is no number: {size[:40]!r}")
        record.descriptor = self._descriptor(joined(path, "descriptor.json"), problems)
        try:
            found = self._tree.find(joined(path, "cache-id"))
            record.written = found[1].modified if found else modified
            record.has_tar_split = self._tree.is_file(joined(path, TAR_SPLIT))
        except WclayerError as error:
            problems.append(error.message)
        record.problems = tuple(problems)
        return record

    def _mount(self, name: str, path: str, modified: int) -> MountRecord:
        record = MountRecord(name, path, modified)
        problems: list[str] = []
        record.mount_id = self._mounted(joined(path, "mount-id"), problems, required=True)
        record.init_id = self._mounted(joined(path, "init-id"), problems, required=False)
        record.parent = _digest(self._text(joined(path, "parent"), problems, required=False), "parent", problems)
        record.problems = tuple(problems)
        return record

    def _mounted(self, path: str, problems: list[str], *, required: bool) -> str | None:
        """The id in a mount record. On Windows it is the name of the container, which need not be hexadecimal."""
        text = self._text(path, problems, required=required)
        if text is not None and (not text or text in (".", "..") or "/" in text or "\\" in text):
            problems.append(f"{path.rpartition('/')[2]} is no id: {text[:80]!r}")
            return None
        return text

    def _text(self, path: str, problems: list[str], *, required: bool) -> str | None:
        name = path.rpartition("/")[2]
        try:
            raw = self._tree.read(path, _SMALL)
        except WclayerError as error:
            problems.append(error.message)
            return None
        if raw is None:
            if required:
                problems.append(f"{name} is missing")
            return None
        try:
            return raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            problems.append(f"{name} is not UTF-8")
            return None

    def _descriptor(self, path: str, problems: list[str]) -> Descriptor | None:
        try:
            raw = self._tree.read(path, _DESCRIPTOR)
            if raw is None:
                return None
            node = parse_object(raw, what="descriptor.json", limit=_DESCRIPTOR)
            # Docker writes an empty one where there was nothing to say.
            return Descriptor.of(node) if node.has("digest") and node.has("mediaType") else None
        except WclayerError as error:
            problems.append(error.message)
            return None


def chain_id_of(parent: str | None, diff_id: str) -> str:
    """The chain id of a layer with this DiffID on top of ``parent`` (OCI image-spec, config.md, "Layer ChainID")."""
    return diff_id if parent is None else str(digest_of(f"{parent} {diff_id}".encode()))


def _digest(text: str | None, name: str, problems: list[str]) -> str | None:
    if text is None:
        return None
    try:
        return str(Digest.parse(text))
    except WclayerError as error:
        problems.append(f"{name}: {error.message}")
        return None


def _id(text: str | None, name: str, problems: list[str]) -> str | None:
    if text is not None and not _CACHE_ID.fullmatch(text):
        problems.append(f"{name} is no id: {text[:80]!r}")
        return None
    return text
