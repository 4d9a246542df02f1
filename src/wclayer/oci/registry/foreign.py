"""Foreign layers: blobs that a manifest says can be had elsewhere too (``urls``), for they may not be in any registry.

The registry is asked first, unless the caller wants it the other way, and then one address after the other until the
content is there. The addresses come from whoever wrote the manifest: only https, no credentials, no way into a private
network, not at any redirect either; no more bytes than the descriptor promises, and none is believed but by the digest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from wclayer.errors import (
    AuthenticationError,
    DigestMismatchError,
    NetworkError,
    NotFoundError,
    UnsupportedError,
    WclayerError,
)
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.registry.blobs import Transfer, download
from wclayer.oci.registry.client import RegistryClient
from wclayer.oci.registry.redaction import shown_url
from wclayer.oci.registry.repository import Repository
from wclayer.oci.registry.streams import ANSWERS

__all__ = ["fetch"]

_URLS = 8
_NEXT = (NotFoundError, AuthenticationError, NetworkError, UnsupportedError, DigestMismatchError)
_GRAVEST = (DigestMismatchError, NetworkError, AuthenticationError, UnsupportedError, NotFoundError)


def fetch(
    client: RegistryClient,
    repository: Repository | None,
    descriptor: Descriptor,
    partial: PartialBlob,
    *,
    parts: int = 1,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Fetch, verify and finish a blob from ``repository``, if there is one, or from an address in its descriptor.

    ``client.settings`` says which comes first, and whether private addresses are allowed. What one place has sent is
    kept for the next. Works for blobs without addresses as well. Arguments and errors are those of
    :func:`wclayer.oci.registry.blobs.download`; the error names every place that was tried, and is of the gravest kind
    that was met there.
    """
    failed: list[tuple[str, WclayerError]] = []
    for place, attempt in _places(client, repository, descriptor, partial, parts, advance):
        try:
            attempt()
        except _NEXT as error:
            failed.append((place, error))
        else:
            return
    if len(failed) == 1:
        raise failed[0][1]
    if not failed:
        raise NotFoundError(f"the blob {descriptor.digest} has no address, and there is no registry to ask")
    kinds = [kind for kind in _GRAVEST if any(isinstance(error, kind) for _, error in failed)]
    tried = "; ".join(f"{place}: {error.message}" for place, error in failed)
    hints = [error.hint for _, error in failed if error.hint]
    final = kinds[0](f"the blob {descriptor.digest} cannot be had anywhere: {tried}", hint=hints[0] if hints else None)
    raise final.locate(image=next((error.image for _, error in failed if error.image), None))


def _places(
    client: RegistryClient,
    repository: Repository | None,
    descriptor: Descriptor,
    partial: PartialBlob,
    parts: int,
    advance: Callable[[int], None],
) -> Iterator[tuple[str, Callable[[], None]]]:
    registry = []
    if repository is not None:
        what = f"the registry {repository.name.host}"
        registry = [(what, lambda: download(repository, descriptor, partial, parts=parts, advance=advance))]
    urls = [
        (shown_url(url), lambda url=url: _from_url(client, url, descriptor, partial, parts, advance))
        for url in list(dict.fromkeys(descriptor.urls))[:_URLS]
    ]
    yield from (*urls, *registry) if client.settings.foreign_order == "urls" else (*registry, *urls)


def _from_url(
    client: RegistryClient,
    url: str,
    descriptor: Descriptor,
    partial: PartialBlob,
    parts: int,
    advance: Callable[[int], None],
) -> None:
    what = f"the blob {descriptor.digest}"
    Transfer(
        lambda headers: client.fetch_url(url, headers=headers, expect=ANSWERS, what=what),
        descriptor,
        partial,
        patience=client.patience,
        stall_timeout=client.settings.read_timeout,
        advance=advance,
    ).run(parts)
