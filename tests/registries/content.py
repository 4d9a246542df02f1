"""Content for registries of the tests: blobs and manifests put there with as few requests as it takes."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urljoin

from wclayer.oci import Descriptor, Digest, Platform
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_LAYER
from wclayer.oci.registry import RegistryClient, RegistrySettings, Repository, Secret, parse_registry_name

__all__ = ["SETTINGS", "WINDOWS", "put_blob", "put_image", "seed"]

WINDOWS = Platform("windows", "amd64", os_version="10.0.20348.2700")
SETTINGS = RegistrySettings(retry_delay=0.01)
"""Settings with which a test does not wait."""


def put_blob(repository: Repository, data: bytes, media_type: str = OCI_LAYER) -> Descriptor:
    """Upload ``data`` at once."""
    digest = digest_of(data)
    begun = repository.request("POST", "blobs/uploads/", actions="pull,push", expect=(202,), stream=False)
    place = urljoin(begun.url, begun.headers["location"])
    place += f"{'&' if '?' in place else '?'}digest={digest}"
    repository.request("PUT", place, body=data, actions="pull,push", expect=(201,), stream=False)
    return Descriptor(media_type, digest, len(data))


def put_image(repository: Repository, layers: Sequence[bytes], reference: str) -> Digest:
    """Put an image of Windows with plain ``layers`` (their bytes, uncompressed) under a tag; the manifest's digest."""
    descriptors = [put_blob(repository, layer) for layer in layers]
    config = put_blob(repository, encode_config(WINDOWS, [one.digest for one in descriptors]), OCI_CONFIG)
    raw = encode_manifest(config, descriptors)
    return repository.put_manifest(raw, "application/vnd.oci.image.manifest.v1+json", reference)


def seed(name: str, layers: Sequence[bytes] = (b"",), *, user: str | None = None, password: str = "") -> Digest:
    """Put an image into a registry by its full name (``127.0.0.1:PORT/REPOSITORY:TAG``)."""
    settings = RegistrySettings(
        retry_delay=0.01, username=user, password=Secret(password) if user else None, anonymous=user is None
    )
    parsed = parse_registry_name(name)
    with RegistryClient(settings) as client:
        return put_image(client.repository(parsed), layers, str(parsed.reference))
