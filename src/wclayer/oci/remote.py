"""Images in registries, over the content store: what was fetched before is not fetched again.

Documents are verified and kept; layers come when they are asked for, several at once, and stay. What a tag names is
asked anew in every run (one HEAD); what has a digest never is, once it is here.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import LimitError, NotFoundError
from wclayer.oci.content.following import Arrival, FollowingSource
from wclayer.oci.descriptors import MANIFEST_LIMIT, Descriptor, parse_document
from wclayer.oci.digests import Digest, digest_of, require_digest
from wclayer.oci.image import Image, StoredBlob, image_from
from wclayer.oci.mediatypes import OCI_MANIFEST
from wclayer.oci.network import Network
from wclayer.oci.platforms import PlatformSpec
from wclayer.oci.references import Reference
from wclayer.oci.registry.names import RegistryName, parse_registry_name
from wclayer.oci.sources import BinarySource, open_file, read_all

if TYPE_CHECKING:
    from wclayer.oci.content.leases import Lease
    from wclayer.oci.content.partial import PartialBlob
    from wclayer.oci.registry.repository import Repository

__all__ = ["RemoteStore", "open_remote"]

_DOCUMENTS = ("manifest", "index")
_WORTH_PARTS = 32 << 20  # bytes; a blob that is smaller comes by one connection


def open_remote(reference: Reference, network: Network | None) -> RemoteStore:
    """The store of the repository that ``reference`` names. Without ``network`` it has one of its own, and closes it.

    Raises UsageError for a bad name, StoreError for a bad content store, NotFoundError offline without any.
    """
    name = parse_registry_name(reference.location)
    return RemoteStore(network or Network(), name, owns_network=network is None)


class RemoteStore:
    """The images of one repository, as an :class:`~wclayer.oci.image.ImageStore`.

    A lease keeps everything that is looked at from being collected until it is closed.
    """

    def __init__(self, network: Network, name: RegistryName, *, owns_network: bool = False) -> None:
        self.network = network
        self.name = name
        self.missing_hint: str | None = None
        self._owns_network = owns_network
        self._is_closed = False
        self._content = network.store()
        self._repository: Repository | None = None
        self._lease: Lease | None = None
        self._image: Image | None = None
        self._root: tuple[RegistryName, Descriptor] | None = None
        if network.offline:
            self.missing_hint = f"run it once without --offline, or fetch the image: wclayer pull {name}"
            if not self._content.exists():
                raise self._missing(f"there is no content store at {self._content.folder}")
            if not os.access(self._content.folder, os.W_OK):
                return  # nobody with this user's rights can collect anything of it either
        self._lease = self._content.lease()

    # ------------------------------------------------------------------ what a name means

    def roots(self, reference: Reference) -> tuple[Descriptor, ...]:
        """What the name of this repository's reference means: one manifest or one index."""
        name = parse_registry_name(reference.location)
        root = self.network.resolved.get(str(name))
        if root is None:
            root = self._by_digest(name.digest) if name.digest else self._by_tag(name)
            self.network.resolved[str(name)] = root
        self._note(name, root)
        return (root,)

    def image(self, reference: Reference, wanted: PlatformSpec | None, *, hyperv: bool = False) -> Image:
        """The image that ``reference`` and ``wanted`` pick."""
        roots = self.roots(reference)
        self._root = parse_registry_name(reference.location), roots[0]
        self._image = image_from(str(reference), self, roots, wanted, hyperv=hyperv)
        return self._image

    def names(self) -> Iterable[str]:
        """The tags of the repository; offline, those that the content store knows."""
        if not self.network.offline:
            return self._remote().tags()
        start = f"{self.name.repository_name}:"
        return [name.removeprefix(start) for name in self._content.names() if name.startswith(start)]

    def tag(self, name: RegistryName, root: Descriptor) -> None:
        """Let ``name`` mean ``root`` in the content store: everything that is wanted of it is there now."""
        raw = self.read(root, what="the manifest", limit=MANIFEST_LIMIT)
        self._content.tag(str(name), raw, root.media_type)

    def _by_digest(self, digest: Digest) -> Descriptor:
        raw = self._stored(digest, MANIFEST_LIMIT)
        if raw is None:
            if self.network.offline:
                raise self._missing(f"the manifest {digest} is not in the content store {self._content.folder}")
            self._content.put_once(digest, OCI_MANIFEST, lambda: self._remote().get_manifest(digest).raw, size=None)
            return self._by_digest(digest)
        return Descriptor(parse_document(raw, what=f"the manifest {digest}").media_type, digest, len(raw))

    def _by_tag(self, name: RegistryName) -> Descriptor:
        if self.network.offline:
            names = self._content.names()
            entry = names.get(str(name))
            if entry is None:
                alike = [one for one in names if one.startswith(f"{name.repository_name}:")]
                known = f"; of this repository there are {', '.join(alike)}" if alike else ""
                raise self._missing(f"{name} is not in the content store {self._content.folder}{known}")
            return self._by_digest(entry.digest)
        head = self._remote().head_manifest(name.reference)
        if head is not None:
            self._keep(head.digest)
            if self._stored(head.digest, MANIFEST_LIMIT) is not None:
                return head
            return self._by_digest(head.digest)
        document = self._remote().get_manifest(name.reference)
        self._keep(document.digest)
        self._content.put_bytes(document.raw, document.media_type, digest=document.digest)
        return Descriptor(document.media_type, document.digest, len(document.raw))

    def _note(self, name: RegistryName, root: Descriptor) -> None:
        """Remember what the name means for a run without network; a complete image keeps its name until another is."""
        raw = self._stored(root.digest, MANIFEST_LIMIT)
        if raw is None:
            return
        self._content.touch(root.digest)
        if not self.network.offline and str(name) not in self._content.names():
            self._content.tag(str(name), raw, root.media_type)

    # ------------------------------------------------------------------ documents

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """The bytes of a small blob, from the content store or the registry; verified when they come from there."""
        if descriptor.size > limit:
            raise LimitError(f"{what} has {descriptor.size} bytes, more than the {limit} allowed")
        data = descriptor.data
        if (
            data is not None
            and len(data) == descriptor.size
            and digest_of(data, descriptor.digest.algorithm) == (descriptor.digest)
        ):
            return data
        raw = self._stored(descriptor.digest, limit)
        if raw is not None:
            return raw
        if self.network.offline:
            raise self._missing(f"{what} is not in the content store {self._content.folder}")

        def fetch() -> bytes:
            if descriptor.type.role in _DOCUMENTS:
                return self._remote().get_manifest(descriptor.digest).raw
            from wclayer.oci.registry.blobs import open_blob

            return read_all(open_blob(self._remote(), descriptor), limit, what=what)

        raw = self._content.put_once(descriptor.digest, descriptor.media_type, fetch, size=descriptor.size)
        return raw if raw is not None else self.read(descriptor, what=what, limit=limit)

    def _stored(self, digest: Digest, limit: int) -> bytes | None:
        """A small blob that is here, verified; one that is damaged is thrown away."""
        self._keep(digest)
        raw = self._content.read(digest, limit, what=str(digest))
        if raw is not None and digest_of(raw, digest.algorithm) != digest:
            if self.network.offline:
                require_digest(digest, raw, what="the stored blob")
            self._content.discard(digest)
            return None
        return raw

    # ------------------------------------------------------------------ layers

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:
        """The bytes of a layer: here, here without compression, or yet to come. None offline, when it is not here."""
        self._keep(layer.digest)
        if diff_id is not None:
            self._keep(diff_id)
        path = self._content.blob(layer.digest, layer.size)
        if path is not None:
            return StoredBlob(_opener(path), layer.size)
        path = self._content.blob(diff_id) if diff_id is not None else None
        if path is not None:
            return StoredBlob(_opener(path), path.stat().st_size, diff_id == layer.digest)
        if self.network.offline:
            return None
        arriving = _ArrivingLayer(self, layer)
        return StoredBlob(arriving.open, layer.size, arriving=arriving)

    def begin(self, layer: Descriptor) -> Arrival:
        """Let a layer come, unless it does already."""
        arrivals = self.network.arrivals()

        def fetch(partial: PartialBlob, advance: Callable[[int], None]) -> None:
            from wclayer.oci.registry import foreign

            parts = arrivals.share(layer.size) if layer.size >= _WORTH_PARTS else 1
            # Only what has addresses of its own is looked for anywhere but in the registry.
            foreign.fetch(self.network.client(), self._remote(), layer, partial, parts=parts, advance=advance)

        return arrivals.begin(layer.digest, layer.size, fetch)

    # ------------------------------------------------------------------ the end

    def interrupt(self) -> None:
        """Stop all downloads, and let whoever waits for them fail."""
        self.network.interrupt()

    def close(self) -> None:
        """Let go of what was looked at; harmless when called twice."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            if self._root is not None and self._is_complete():
                self.tag(*self._root)
        finally:
            if self._lease is not None:
                self._lease.close()
            if self._owns_network:
                self.network.close()

    def _is_complete(self) -> bool:
        """Whether all of the image is here, fetched in this run or before."""
        image = self._image
        if image is None or self.network.offline:
            return False
        return all(
            layer.descriptor is not None and self._content.blob(layer.descriptor.digest, layer.descriptor.size)
            for layer in image.layers
        )

    def _keep(self, digest: Digest) -> None:
        if self._lease is not None:
            self._lease.add(digest)

    def _remote(self) -> Repository:
        if self._repository is None:
            self._repository = self.network.client().repository(self.name)
        return self._repository

    def _missing(self, message: str) -> NotFoundError:
        return NotFoundError(f"offline: {message}", hint=self.missing_hint)


class _ArrivingLayer:
    """A layer that is in the registry and not here."""

    def __init__(self, store: RemoteStore, layer: Descriptor) -> None:
        self._store = store
        self._layer = layer

    def begin(self) -> None:
        """Let it come, in the background."""
        self._store.begin(self._layer)

    def follow(self) -> BinarySource:
        """The bytes while they come."""
        return FollowingSource(self._store.begin(self._layer))

    def wait(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until it is here."""
        self._store.begin(self._layer).wait(check)

    def open(self) -> BinarySource:
        """The bytes, once all are here."""
        arrival = self._store.begin(self._layer)
        arrival.wait()
        return open_file(arrival.target)


def _opener(path: Path) -> Callable[[], FileIO]:
    return lambda: open_file(path)
