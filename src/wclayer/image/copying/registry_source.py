"""An image in a registry as a source: its bytes pass through, and nothing is kept unless the destination keeps it.

What the content store of this machine has already is taken from there. Offline, it is the only source.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import LimitError
from wclayer.image.copying.ends import Source
from wclayer.image.copying.fetching import Advance, Fetch, fetched_blob
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import Digest
from wclayer.oci.image import StoredBlob
from wclayer.oci.network import Network
from wclayer.oci.references import Reference
from wclayer.oci.registry.names import parse_registry_name
from wclayer.oci.sources import BinarySource, open_file, read_all

if TYPE_CHECKING:
    from wclayer.oci.content.partial import PartialBlob
    from wclayer.oci.registry.repository import Repository

__all__ = ["copy_into", "fetch_from_urls", "open_registry"]

_WORTH_PARTS = 32 << 20
"""A blob below so many bytes comes by one connection."""
_PIECE = 1 << 20


def open_registry(place: Reference, held: ExitStack, network: Network | None) -> Source:
    """The image that ``place`` names; ``held`` closes what is opened. Raises what a registry raises."""
    if network is None:
        network = held.enter_context(Network())
    if network.offline:
        from wclayer.oci.remote import open_remote

        remote = open_remote(place, network)
        held.callback(remote.close)
        return Source(str(place), remote, tuple(remote.roots(place)), held.close)
    name = parse_registry_name(place.location)
    store = _RegistryStore(network, network.client().repository(name))
    root = store.root()
    return Source(f"docker://{name}", store, (root,), held.close, repository=name, fetch=store.fetch)


def fetch_from_urls(network: Network) -> Fetch:
    """Fetches layers that have addresses of their own, for an image that is in no registry."""

    def fetch(descriptor: Descriptor, partial: PartialBlob, advance: Advance) -> None:
        from wclayer.oci.registry import foreign

        foreign.fetch(network.client(), None, descriptor, partial, advance=advance)

    return fetch


class _RegistryStore:
    def __init__(self, network: Network, repository: Repository) -> None:
        self._network = network
        self._repository = repository
        self._root: tuple[Digest, bytes] | None = None

    def root(self) -> Descriptor:
        """What the name leads to."""
        document = self._repository.get_manifest(self._repository.name.reference)
        self._root = (document.digest, document.raw)
        return document.descriptor

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """A document, or a small blob."""
        if descriptor.size > limit:
            raise LimitError(f"{what} has {descriptor.size} bytes, more than the {limit} allowed")
        if self._root is not None and descriptor.digest == self._root[0]:
            return self._root[1]
        if descriptor.type.role in ("manifest", "index"):
            return self._repository.get_manifest(descriptor.digest).raw
        return read_all(self._open(descriptor), limit, what=what)

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:  # noqa: ARG002  # by digest
        """A blob that comes when it is opened; a foreign layer by way of a temporary file."""
        if self._stored(layer) is None and (layer.urls or not layer.type.distributable):
            return fetched_blob(layer, self.fetch)
        return StoredBlob(lambda: self._open(layer), layer.size)

    def fetch(self, descriptor: Descriptor, partial: PartialBlob, advance: Advance) -> None:
        """A blob into a file, from the registry or the addresses it has."""
        stored = self._stored(descriptor)
        if stored is not None:
            copy_into(open_file(stored), partial, advance)
            return
        from wclayer.oci.registry import foreign

        parts = self._network.max_downloads if descriptor.size >= _WORTH_PARTS else 1
        foreign.fetch(self._network.client(), self._repository, descriptor, partial, parts=parts, advance=advance)

    def close(self) -> None:
        """The connections are the network's."""

    def _open(self, descriptor: Descriptor) -> BinarySource:
        stored = self._stored(descriptor)
        if stored is not None:
            return open_file(stored)
        from wclayer.oci.registry.blobs import open_blob

        return open_blob(self._repository, descriptor)

    def _stored(self, descriptor: Descriptor) -> Path | None:
        """The file of a blob in the content store, when it is there."""
        content = self._network.store()
        return content.blob(descriptor.digest, descriptor.size) if content.exists() else None


def copy_into(source: BinarySource, partial: PartialBlob, advance: Advance) -> None:
    """Write everything ``source`` holds into ``partial``, which verifies it when it is finished, and close it."""
    buffer = memoryview(bytearray(_PIECE))
    position = 0
    try:
        while count := source.readinto(buffer):
            advance(partial.write(position, buffer[:count]))
            position += count
    finally:
        source.close()
