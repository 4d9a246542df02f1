"""A registry seen through a proxy that writes down what is asked, and holds blobs back for as long as a test wants."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.faults.proxy import Proxy, Script
from tests.faults.wire import Exchange, HangUp, Server
from tests.registries.content import SETTINGS, put_blob
from tests.registries.docker_registry import DockerRegistry
from wclayer.oci import Descriptor, Digest, Manifest, Platform, open_image
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_INDEX
from wclayer.oci.registry import RegistryClient, parse_registry_name
from wclayer.oci.sources import read_all

__all__ = ["Watched", "push_index", "push_layout", "watched"]

_DEADLINE = 60.0


class Watched:
    """``host`` passes requests on. ``asked`` are methods and paths; bytes of bodies that were sent are in ``sent``."""

    def __init__(self, registry: DockerRegistry) -> None:
        self.registry = registry
        self.host = ""
        self.asked: list[tuple[str, str]] = []
        self.server: Server | None = None
        self._proxy = Proxy(registry.host, Script())
        self._gates: dict[str, tuple[int, threading.Event]] = {}
        self._reached: dict[str, threading.Event] = {}

    @property
    def sent(self) -> int:
        """Bytes of bodies that clients got so far."""
        return self.server.bytes_sent if self.server else 0

    def blob_reads(self) -> list[str]:
        """The digests of the blobs that were asked for, once for each request."""
        return [path.rpartition("/")[2] for method, path in list(self.asked) if method == "GET" and "/blobs/" in path]

    def hold(self, digest: Digest, after: int = 0) -> threading.Event:
        """Send no more than ``after`` bytes of a blob until the event that is returned is set."""
        gate = threading.Event()
        self._gates[str(digest)] = (after, gate)
        self._reached[str(digest)] = threading.Event()
        return gate

    def wait_until_held(self, digest: Digest) -> None:
        """Until somebody has got all that is sent of it."""
        assert self._reached[str(digest)].wait(_DEADLINE)

    def release_all(self) -> None:
        """Hold nothing back any more."""
        for _, gate in self._gates.values():
            gate.set()

    def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        self.asked.append((request.method, request.path))
        name = request.path.rpartition("/")[2]
        after, gate = self._gates.get(name, (0, None))
        if request.method != "GET" or gate is None:
            self._proxy.relay(exchange)
            return

        def held(pieces: Iterator[bytes], _length: int) -> Iterator[bytes]:
            left = after
            for piece in pieces:
                if not gate.is_set():
                    yield piece[:left]
                    piece, left = piece[left:], max(left - len(piece), 0)
                    if piece or not left:
                        self._reached[name].set()
                        if not gate.wait(_DEADLINE):
                            raise HangUp
                yield piece

        self._proxy.relay(exchange, body=held)


@contextmanager
def watched(registry: DockerRegistry) -> Iterator[Watched]:
    """A proxy before ``registry`` for as long as the block lasts."""
    seen = Watched(registry)
    with Server(seen) as server:
        seen.server = server
        seen.host = server.host
        try:
            yield seen
        finally:
            seen.release_all()


def push_layout(reference: str, name: str) -> Manifest:
    """Put the image ``reference`` under ``name`` (``127.0.0.1:PORT/REPOSITORY:TAG``), as it is."""
    parsed = parse_registry_name(name)
    with open_image(reference) as image, RegistryClient(SETTINGS) as client:
        repository = client.repository(parsed)
        assert image.manifest is not None
        assert image.config is not None
        for layer in image.layers:
            if layer.descriptor is not None and layer.is_available:
                put_blob(repository, read_all(layer.open(), 1 << 30, what="layer"), layer.descriptor.media_type)
        put_blob(repository, image.config.raw, OCI_CONFIG)
        repository.put_manifest(image.manifest.raw, image.manifest.media_type, parsed.reference)
        return image.manifest


def push_index(name: str, images: Sequence[tuple[Manifest, Platform]]) -> Digest:
    """Put an index of ``images``, which are in the repository already, under ``name``; returns its digest."""
    parsed = parse_registry_name(name)
    entries = [
        Descriptor(image.media_type, image.digest, image.size, platform=platform).to_json()
        for image, platform in images
    ]
    raw = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries})
    with RegistryClient(SETTINGS) as client:
        return client.repository(parsed).put_manifest(raw, OCI_INDEX, parsed.reference)
