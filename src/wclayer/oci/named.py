"""What a reference names, before one image of several is chosen: the documents, and nothing of the layers.

An image that is opened reads its manifest and its configuration. Here only what is asked for is read: the digest of a
reference costs a look at its entry, and the entries of an index cost the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from wclayer.errors import NotFoundError, UnsupportedError, UsageError, WclayerError
from wclayer.oci.descriptors import Descriptor, ImageConfig, Index, Manifest, Platform
from wclayer.oci.image import Image, ImageStore, image_candidates, read_config, read_document, read_platform
from wclayer.oci.limits import Limits
from wclayer.oci.open import OpenStore, open_place
from wclayer.oci.platforms import PlatformSpec, parse_platform
from wclayer.oci.references import Reference, parse_reference
from wclayer.oci.selection import Candidate, Selection, select

if TYPE_CHECKING:
    from wclayer.oci.network import Network

__all__ = ["Documents", "NamedDocuments", "open_documents", "require_manifest"]


class Documents:
    """What is named in ``store``, as documents.

    ``roots`` is a manifest or an index, several of them when they go by one name, or the configurations in an archive
    of ``docker save``, which has no manifests.
    """

    def __init__(self, store: ImageStore, roots: Sequence[Descriptor]) -> None:
        self.store = store
        self.roots = tuple(roots)
        self._candidates: list[Candidate] | None = None

    @property
    def root(self) -> Descriptor:
        """The one document that is named; UsageError when there are several, NotFoundError when there is none."""
        if len(self.roots) > 1:
            raise UsageError(f"{len(self.roots)} manifests go by this name", hint="choose one with --platform")
        if not self.roots:
            raise NotFoundError("there is no image")
        return self.roots[0]

    def candidates(self) -> list[Candidate]:
        """Every image that the reference leads to, in the order of the indexes."""
        if self._candidates is None:
            self._candidates = image_candidates(self.store, self.roots)
        return self._candidates

    def select(self, wanted: str | PlatformSpec, *, hyperv: bool = False) -> Selection:
        """The image for ``wanted``; NotFoundError that lists what there is, UsageError for no platform."""
        spec = parse_platform(wanted) if isinstance(wanted, str) else wanted
        return select(self.candidates(), spec, hyperv=hyperv)

    def document(self, descriptor: Descriptor) -> Manifest | Index:
        """A manifest or an index, verified. UnsupportedError where there is none to read."""
        require_manifest(descriptor)
        return read_document(self.store, descriptor)

    def config(self, descriptor: Descriptor) -> tuple[Descriptor, ImageConfig]:
        """The configuration of the image whose manifest (or configuration) ``descriptor`` names, verified.

        With it what names it. UsageError for an index, UnsupportedError for an artifact that is no image.
        """
        if descriptor.type.role == "config":
            return descriptor, read_config(self.store, descriptor)
        document = self.document(descriptor)
        if isinstance(document, Index):
            raise UsageError("this is an index of several images", hint="choose one with --platform")
        return document.config, read_config(self.store, document.config, manifest=document)

    def platform(self, descriptor: Descriptor) -> Platform | None:
        """The platform of an image as its configuration says it; None for another artifact."""
        return read_platform(self.store, descriptor)


class NamedDocuments(Documents):
    """The documents that ``reference`` names. A context manager, for an archive stays open as long.

    ``place`` is where they are.
    """

    def __init__(self, reference: Reference, place: OpenStore, roots: Sequence[Descriptor]) -> None:
        super().__init__(place, roots)
        self.reference = reference
        self.place = place

    def close(self) -> None:
        """Close what was opened."""
        self.place.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if isinstance(error, WclayerError):
            error.locate(image=str(self.reference))


def require_manifest(descriptor: Descriptor) -> None:
    """UnsupportedError when ``descriptor`` names no manifest or index but a configuration."""
    if descriptor.type.role == "config":
        raise UnsupportedError(
            "there is no manifest, only a configuration and layers",
            hint="an archive of docker save may hold a layout as well (oci-archive:FILE), else copy it to oci:DIR:TAG",
        )


def open_documents(
    reference: str | Reference,
    *,
    limits: Limits = Limits(),  # noqa: B008  # frozen
    network: Network | None = None,
) -> NamedDocuments:
    """Open the documents that ``reference`` names. No layer is looked at, and of documents only what must be.

    Raises what :func:`wclayer.oci.open.open_image` raises, and UnsupportedError for a bare layer tar, which has none.
    """
    place = parse_reference(reference) if isinstance(reference, str) else reference
    try:
        opened = open_place(place, limits=limits, network=network)
        if isinstance(opened, Image):
            opened.close()
            raise UnsupportedError("this is a layer tar: it has neither a manifest nor a configuration")
        store, found = opened
        try:
            return NamedDocuments(found, store, store.roots(found))
        except BaseException:
            store.close()
            raise
    except WclayerError as error:
        error.locate(image=str(place))
        raise
