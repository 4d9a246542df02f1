"""The two ends of a copy: whatever can read documents and find blobs, and whatever can take them.

With these two protocols every kind of place can be copied to every other; no pair of them has code of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from wclayer.errors import UnsupportedError
from wclayer.image.copying.fetching import Advance, Fetch, fetched_blob
from wclayer.oci.descriptors import Descriptor, ImageConfig, Index, Manifest
from wclayer.oci.digests import Digest
from wclayer.oci.image import ImageStore, StoredBlob

if TYPE_CHECKING:
    from wclayer.oci.registry.names import RegistryName

__all__ = ["Destination", "Outcome", "Plan", "PlannedBlob", "PlannedDocument", "Source", "TypesRefusedError"]

Outcome: TypeAlias = Literal["copied", "mounted", "present"]
"""What became of a blob: its bytes were copied, the registry took it from another repository, it was there already."""


class TypesRefusedError(UnsupportedError):
    """A destination does not take manifests of this media type."""


@dataclass(frozen=True, slots=True)
class Source:
    """An opened place with what was named in it.

    ``roots`` are the manifests or indexes that ``reference`` names, several when they go by one name. ``close`` lets go
    of it. ``repository`` is the repository of a registry that it is, from which another one there may take blobs.
    ``fetch`` brings a blob out of the network into a file, going on where an earlier run stopped; of a source that is
    none in the network, only one that has addresses of its own.
    """

    reference: str
    store: ImageStore
    roots: tuple[Descriptor, ...]
    close: Callable[[], None]
    repository: RegistryName | None = None
    fetch: Fetch | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PlannedBlob:
    """A blob that an image needs. ``descriptor`` is what the destination's manifest calls it, ``diff_id`` a layer's.

    At the ``source`` it is called ``origin``.
    """

    descriptor: Descriptor
    diff_id: Digest | None
    origin: Descriptor
    source: Source

    def locate(self, *, any_form: bool = False) -> StoredBlob | None:
        """The bytes at the source, None when they cannot be had.

        With ``any_form`` a layer may be there in another compression; else one of which only the addresses are known
        is fetched from there.
        """
        stored = self.source.store.locate(self.origin, self.diff_id)
        is_other = self.descriptor.digest != self.origin.digest  # made of what is there
        if stored is not None and (stored.original or any_form or is_other):
            return stored
        if self.source.fetch is not None and self.origin.urls:
            return fetched_blob(self.origin, self.source.fetch)
        return stored

    def __str__(self) -> str:
        return f"{self.descriptor.type.role} {self.descriptor.digest.algorithm}:{self.descriptor.digest.short}"


@dataclass(frozen=True, slots=True)
class PlannedDocument:
    """A manifest or an index as the destination gets it; ``config`` is that of an image, None for all else."""

    descriptor: Descriptor
    document: Manifest | Index
    config: ImageConfig | None = None

    @property
    def raw(self) -> bytes:
        """The bytes that the digest is of."""
        return self.document.raw


@dataclass(frozen=True, slots=True)
class Plan:
    """One image (or index) that is to be copied, and all that belongs to it.

    ``documents`` come children first, so the last one is the root. ``left`` are foreign layers whose bytes stay where
    they are. ``changed`` maps digests at the source to those at the destination, for documents and layers that are not
    copied as they are. ``names`` is what it shall be called.
    """

    source: Source
    documents: tuple[PlannedDocument, ...]
    blobs: tuple[PlannedBlob, ...]
    left: tuple[PlannedBlob, ...]
    changed: Mapping[Digest, Digest]
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def root(self) -> PlannedDocument:
        """The document that is named."""
        return self.documents[-1]

    def descriptors(self) -> list[Descriptor]:
        """Everything that is copied: blobs, then documents."""
        return [*(blob.descriptor for blob in self.blobs), *(document.descriptor for document in self.documents)]


class Destination(Protocol):
    """Takes images. Nothing is touched before :meth:`begin`, and nothing has a name before :meth:`finish`.

    ``jobs`` is how many blobs it can take at the same time, None for any number; with 1 they come in the order of the
    plan. ``takes_tars`` is true when layers are stored uncompressed there, whatever the manifest names: then every
    layer is needed, in any compression.
    """

    reference: str
    jobs: int | None
    takes_tars: bool

    def is_present(self, plan: Plan) -> bool:
        """Whether exactly this image is there already under its name, with all that belongs to it."""

    def has_blob(self, blob: PlannedBlob) -> bool:
        """Whether a blob is there, asked before :meth:`begin`."""

    def begin(self, plans: Sequence[Plan]) -> None:
        """Get ready for all of these; UnsupportedError for what cannot be held, StoreError, network errors."""

    def put_blob(self, blob: PlannedBlob, stored: StoredBlob, advance: Advance) -> Outcome:
        """Store a blob, verified; called from several threads. ``advance`` counts bytes and may raise to stop it."""

    def put_document(self, document: PlannedDocument, plan: Plan) -> None:
        """Store a manifest or an index; all it names is there by now. TypesRefusedError for a type that it cannot."""

    def finish(self, plans: Sequence[Plan]) -> Mapping[Digest, Digest]:
        """Give the images their names. Returns which documents it had to write as others, by the planned digests.

        TypesRefusedError as well.
        """

    def close(self) -> None:
        """Let go; what was not finished leaves nothing that can be taken for an image."""
