"""The content store: a file for each blob, named by its digest, and a folder for each download that did not end.

Source: containerd, ``content/local/store.go``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from wclayer.errors import StoreError
from wclayer.oci.digests import Digest, digest_of, new_hash
from wclayer.store.hosts.files import HostEntry, HostTree, joined

__all__ = ["Content", "Ingest"]

_CHUNK = 1 << 20
_HEX = re.compile(r"[0-9a-f]{64,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ingest:
    """A download that did not end: what has come of it, in bytes, and when something last did."""

    path: str
    size: int
    modified: int


class Content:
    """The store at ``path`` (``io.containerd.content.v1.content``); where there is none it is empty."""

    def __init__(self, tree: HostTree, path: str) -> None:
        self.path = path
        self.exists = tree.is_folder(path)
        self.blobs: dict[str, HostEntry] = {}
        self.unknown: list[str] = []
        self.ingests: list[Ingest] = []
        self._tree = tree
        for algorithm in tree.entries(joined(path, "blobs")):
            folder = joined(joined(path, "blobs"), algorithm.name)
            for entry in tree.entries(folder):
                if entry.kind == "file" and _HEX.fullmatch(entry.name):
                    self.blobs[f"{algorithm.name}:{entry.name}"] = entry
                else:
                    self.unknown.append(joined(folder, entry.name))
        for entry in tree.entries(joined(path, "ingest")):
            folder = joined(joined(path, "ingest"), entry.name)
            data = tree.find(joined(folder, "data"))
            found = data[1] if data is not None else entry
            self.ingests.append(Ingest(folder, found.size, found.modified))

    def blob_path(self, digest: str) -> str:
        """Where the blob is, or would be."""
        return joined(self.path, f"blobs/{digest.replace(':', '/')}")

    def read(self, digest: str, limit: int) -> bytes | None:
        """A small blob whose digest is right; None where there is none. Raises LimitError, StoreError."""
        if digest not in self.blobs:
            return None
        raw = self._tree.read(self.blob_path(digest), limit)
        wanted = Digest.parse(digest)
        return raw if raw is not None and digest_of(raw, wanted.algorithm) == wanted else None

    def digest_of(self, digest: str) -> str:
        """The digest that the bytes of the blob ``digest`` have. Raises StoreError, UnsupportedError."""
        wanted = Digest.parse(digest)
        state = new_hash(wanted.algorithm)
        path = self.blob_path(digest)
        with self._tree.open(path) as stream:
            try:
                while chunk := stream.read(_CHUNK):
                    state.update(chunk)
            except OSError as error:
                raise StoreError(f"{path}: cannot be read: {error.strerror or error}") from error
        return f"{wanted.algorithm}:{state.hexdigest()}"
