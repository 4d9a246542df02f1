"""Docker's database of images: configurations by their digest, and the names and containers that stand on them.

An image is its configuration, in a file named by the digest of its bytes. ``repositories.json`` maps names to images,
``distribution`` remembers in which repository, and under which digest, the blob of each layer was seen.

Source: moby, ``image/fs.go``, ``reference/store.go``, ``distribution/metadata/v2_metadata_service.go``,
``container/container.go``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from wclayer.errors import FormatError, WclayerError
from wclayer.oci.descriptors import CONFIG_LIMIT, ImageConfig
from wclayer.oci.digests import Digest
from wclayer.oci.strictjson import Node, parse_array, parse_object
from wclayer.store.hosts.files import HostTree, joined
from wclayer.store.hosts.records import nanoseconds

__all__ = ["BlobSource", "ContainerRecord", "ImageDatabase", "ImageRecord", "read_containers"]

_HEX = re.compile(r"[a-f0-9]{64}", re.ASCII)
_REPOSITORIES = 64 << 20
_CONTAINER = 16 << 20
_METADATA = 1 << 20


@dataclass(slots=True)
class ImageRecord:
    """An image; ``config`` is None when its file cannot be read, and ``problem`` says why."""

    id: str
    path: str
    written: int
    config: ImageConfig | None = None
    problem: str = ""
    is_damaged: bool = False
    """Whether its bytes are not the ones that its name promises."""
    names: list[str] = field(default_factory=list)
    updated: int | None = None


@dataclass(frozen=True, slots=True)
class BlobSource:
    """Where a blob was seen: its digest, in a repository."""

    repository: str
    digest: str


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """A container, as its configuration tells it. Times are nanoseconds since 1970."""

    id: str
    name: str
    image: str
    path: str
    created: int | None = None
    started: int | None = None
    finished: int | None = None
    problem: str = ""


class ImageDatabase:
    """The database below ``path`` (``image/windowsfilter``); where there is none, or None, it is empty."""

    def __init__(self, tree: HostTree, path: str | None) -> None:
        self._tree = tree
        self.path = path or ""
        self.images: dict[str, ImageRecord] = {}
        self.dangling: dict[str, str] = {}
        """Names of images that are not there, each with the id it stands for."""
        self.names_problem = ""
        self.names_path = joined(self.path, "repositories.json")
        if path is None:
            return
        folder = joined(path, "imagedb/content/sha256")
        for entry in tree.entries(folder):
            if entry.kind == "file" and _HEX.fullmatch(entry.name):
                record = self._image(entry.name, joined(folder, entry.name), entry.modified)
                self.images[record.id] = record
        self._read_names()

    def sources(self, diff_id: str) -> list[BlobSource]:
        """Where the blob of the layer with this DiffID was seen, the last place first; nothing where nobody knows."""
        path = joined(self.path, f"distribution/v2metadata-by-diffid/{diff_id.replace(':', '/')}")
        try:
            raw = self._tree.read(path, _METADATA)
            nodes = [] if raw is None else parse_array(raw, what=path, limit=_METADATA)
            found = [BlobSource(node.text("SourceRepository", ""), node.text("Digest", "")) for node in nodes]
        except WclayerError:
            # A cache: without it the layer is asked for by the image's name.
            return []
        return [one for one in reversed(found) if one.repository and one.digest]

    def _image(self, hexadecimal: str, path: str, modified: int) -> ImageRecord:
        record = ImageRecord(f"sha256:{hexadecimal}", path, modified)
        try:
            raw = self._tree.read(path, CONFIG_LIMIT) or b""
            config = ImageConfig.parse(raw, what=path)
        except WclayerError as error:
            record.problem = error.message
        else:
            record.config = config
            record.is_damaged = config.digest.hex != hexadecimal
        try:
            updated = self._tree.read(
                joined(self.path, f"imagedb/metadata/sha256/{hexadecimal}/lastUpdated"), _METADATA
            )
        except WclayerError:
            updated = None
        record.updated = nanoseconds(updated.decode("utf-8", "replace").strip()) if updated else None
        return record

    def _read_names(self) -> None:
        try:
            raw = self._tree.read(self.names_path, _REPOSITORIES)
            if raw is None:
                return
            repositories = parse_object(raw, what="repositories.json", limit=_REPOSITORIES).optional("Repositories")
            for repository in (repositories.as_object() if repositories else {}).values():
                for name, value in Node(repository, "Repositories").as_object().items():
                    self._name(name, value)
        except WclayerError as error:
            self.names_problem = error.message

    def _name(self, name: str, value: object) -> None:
        if not isinstance(value, str):
            raise FormatError(f"repositories.json: {name!r} stands for no digest", kind="json-type")
        image = self.images.get(str(Digest.parse(value)))
        if image is None:
            self.dangling[name] = value
        else:
            image.names.append(name)


def read_containers(tree: HostTree, path: str) -> dict[str, ContainerRecord] | None:
    """The containers below ``path`` (``containers``) by id; None where the folder was not copied."""
    if not tree.is_folder(path):
        return None
    found: dict[str, ContainerRecord] = {}
    for entry in tree.entries(path):
        if entry.kind != "folder":
            continue
        file = joined(joined(path, entry.name), "config.v2.json")
        try:
            raw = tree.read(file, _CONTAINER)
            if raw is None:
                continue
            node = parse_object(raw, what=file, limit=_CONTAINER)
            state = node.optional("State")
            found[entry.name] = ContainerRecord(
                entry.name,
                node.text("Name", "").lstrip("/"),
                node.text("Image", ""),
                file,
                nanoseconds(node.text("Created", "")),
                nanoseconds(state.text("StartedAt", "")) if state else None,
                nanoseconds(state.text("FinishedAt", "")) if state else None,
            )
        except WclayerError as error:
            found[entry.name] = ContainerRecord(entry.name, "", "", file, problem=error.message)
    return found
