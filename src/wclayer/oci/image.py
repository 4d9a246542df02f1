"""An image: a manifest, a configuration, and layers whose bytes come when asked for.

Every place an image can be in (layout, archive, folder, and whatever else can read documents and find blobs) answers to
:class:`ImageStore`; everything else is written once, against it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self

from wclayer.errors import FormatError, NotFoundError, UnsupportedError
from wclayer.oci.descriptors import (
    CONFIG_LIMIT,
    MANIFEST_LIMIT,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    parse_document,
    require_image,
)
from wclayer.oci.digests import Digest, require_digest
from wclayer.oci.limits import Limits
from wclayer.oci.pipeline import LayerStream, open_layer
from wclayer.oci.platforms import DEFAULT_PLATFORM, PlatformSpec
from wclayer.oci.selection import Candidate, Selection, list_candidates, select
from wclayer.oci.sources import BinarySource
from wclayer.oci.workers import SlabKeeper

__all__ = [
    "Arriving",
    "Image",
    "ImageStore",
    "LayerBlob",
    "StoredBlob",
    "compose_image",
    "image_candidates",
    "image_from",
    "read_config",
    "read_document",
    "read_platform",
]


class Arriving(Protocol):
    """A blob that is not here yet, or not all of it."""

    def begin(self) -> None:
        """Let it come, in the background; harmless when it does already."""

    def follow(self) -> BinarySource:
        """The bytes while they come. The end is told only once the whole blob was verified."""

    def wait(self, check: Callable[[], None] = lambda: None) -> None:
        """Wait until it is here, whole and verified. Raises what went wrong, and what ``check`` raises meanwhile."""


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """Bytes of a layer that can be had.

    ``open`` gives them from the start, each time anew. ``size`` is their number, None when it is not known beforehand.
    ``original`` is true when they are the blob that the layer's descriptor names; otherwise they are the same layer in
    another form (uncompressed, in an archive of ``docker save``), and only the DiffID can vouch for them. Where they
    are yet to come, ``arriving`` says more, and ``open`` waits for them.
    """

    open: Callable[[], BinarySource]
    size: int | None
    original: bool = True
    arriving: Arriving | None = None


class ImageStore(Protocol):
    """A place where documents and blobs are."""

    def read(self, descriptor: Descriptor, *, what: str, limit: int) -> bytes:
        """The bytes of a small blob, not verified yet; NotFoundError, LimitError, StoreError."""

    def locate(self, layer: Descriptor, diff_id: Digest | None) -> StoredBlob | None:
        """The bytes of a layer, None when they cannot be had."""

    def close(self) -> None:
        """Let go of files."""


class LayerBlob:
    """One layer of an image.

    ``index`` counts from 0, base first, out of ``count``. ``descriptor`` is what the manifest says of it and
    ``diff_id`` what the configuration says; each is None when there is no such document.
    """

    __slots__ = ("_hint", "_locate", "count", "descriptor", "diff_id", "index")

    def __init__(
        self,
        index: int,
        count: int,
        descriptor: Descriptor | None,
        diff_id: Digest | None,
        locate: Callable[[], StoredBlob | None],
        *,
        hint: str | None = None,
    ) -> None:
        self.index = index
        self.count = count
        self.descriptor = descriptor
        self.diff_id = diff_id
        self._locate = locate
        self._hint = hint

    def __str__(self) -> str:
        """For messages: ``3 of 7 (sha256:0123456789ab)``."""
        digest = self.descriptor.digest if self.descriptor else self.diff_id
        return f"{self.index + 1} of {self.count}" + (f" ({digest.algorithm}:{digest.short})" if digest else "")

    @property
    def is_available(self) -> bool:
        """Whether the bytes are here."""
        return self._locate() is not None

    def locate(self) -> StoredBlob:
        """Where the bytes are; NotFoundError, with what to do, when they are not here."""
        stored = self._locate()
        if stored is not None:
            return stored
        descriptor = self.descriptor
        digest = descriptor.digest if descriptor else self.diff_id
        message = f"the blob {digest} is not here"
        hint = "the image was copied without all of its layers: copy it again"
        if descriptor is not None and (descriptor.urls or not descriptor.type.distributable):
            urls = ", ".join(descriptor.urls)
            message += f"; it is a foreign layer{f', published at {urls}' if urls else ' without an address'}"
            hint = f"download it, check that its digest is {digest}, and put it at {descriptor.digest.blob_path}"
        raise NotFoundError(message, layer=str(self), hint=self._hint or hint)

    def prefetch(self) -> None:
        """Let the bytes come in the background, where they are not here yet."""
        stored = self._locate()
        if stored is not None and stored.arriving is not None:
            stored.arriving.begin()

    def open(self) -> BinarySource:
        """The bytes as they are stored, not verified; see :meth:`stream` for the verified way."""
        return self.locate().open()

    def stream(
        self,
        *,
        limits: Limits = Limits(),  # noqa: B008  # frozen
        threads: bool = True,
        following: bool = False,
        keeper: SlabKeeper | None = None,
        digests: bool = True,
    ) -> LayerStream:
        """The uncompressed tar, verified against all that the manifest and the configuration promise.

        With ``following`` a blob that is on its way is read while it comes. When it comes damaged and is fetched once
        more, that ends with an IntegrityError although all is well: once it is here, the same works. For ``keeper`` and
        ``digests`` see :func:`wclayer.oci.pipeline.open_layer`.
        """
        stored = self.locate()
        promised = self.descriptor if stored.original else None
        return open_layer(
            stored.arriving.follow() if following and stored.arriving else stored.open(),
            descriptor_digest=promised.digest if promised else None,
            descriptor_size=promised.size if promised else None,
            diff_id=self.diff_id,
            limits=limits,
            threads=threads,
            layer=str(self),
            keeper=keeper,
            digests=digests,
        )


class Image:
    """An image somewhere. A context manager, for an archive stays open as long as its image does.

    ``reference`` says where it is from. ``manifest`` and ``config`` are None for a bare layer. ``layers`` are base
    first. ``notes`` are sentences about how it was found (which platform was chosen, and over which).
    """

    def __init__(
        self,
        reference: str,
        manifest: Manifest | None,
        config: ImageConfig | None,
        layers: Iterable[LayerBlob],
        *,
        notes: Iterable[str] = (),
        close: Callable[[], None] = lambda: None,
        interrupt: Callable[[], None] = lambda: None,
    ) -> None:
        self.reference = reference
        self.manifest = manifest
        self.config = config
        self.layers = tuple(layers)
        self.notes = tuple(notes)
        self._close = close
        self._interrupt = interrupt

    @property
    def digest(self) -> Digest | None:
        """The digest of the manifest."""
        return self.manifest.digest if self.manifest else None

    @property
    def platform(self) -> Platform | None:
        """The platform, as the configuration says it."""
        return self.config.platform if self.config else None

    def interrupt(self) -> None:
        """Let nothing more come: whoever waits for bytes gets an error. From any thread."""
        self._interrupt()

    def close(self) -> None:
        """Close what was opened; blobs that are being read then fail. Harmless when called twice."""
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_document(store: ImageStore, descriptor: Descriptor) -> Manifest | Index:
    """The manifest or index that ``descriptor`` names, verified; DigestMismatchError, and what parsing raises."""
    what = f"the {descriptor.type.role} {descriptor.digest}"
    raw = store.read(descriptor, what=what, limit=MANIFEST_LIMIT)
    require_digest(descriptor.digest, raw, what=descriptor.type.role, size=descriptor.size)
    return parse_document(raw, descriptor.media_type, what=what, digest=descriptor.digest)


def read_config(store: ImageStore, descriptor: Descriptor, *, manifest: Manifest | None = None) -> ImageConfig:
    """The configuration that ``descriptor`` (of ``manifest``) names, verified; UnsupportedError when it is none."""
    if descriptor.type.role != "config" or (manifest is not None and manifest.artifact_type):
        kind = (manifest.artifact_type if manifest else "") or descriptor.media_type
        what = f"the manifest {manifest.digest}" if manifest else f"{descriptor.digest}"
        raise UnsupportedError(f"{what} is no container image but an artifact of type {kind}")
    what = f"the config {descriptor.digest}"
    raw = store.read(descriptor, what=what, limit=CONFIG_LIMIT)
    require_digest(descriptor.digest, raw, what="config", size=descriptor.size)
    return ImageConfig.parse(raw, what=what)


def read_platform(store: ImageStore, descriptor: Descriptor) -> Platform | None:
    """The platform of an image as its configuration says it; None when ``descriptor`` names another artifact."""
    if descriptor.type.role == "config":
        return read_config(store, descriptor).platform
    document = read_document(store, descriptor)
    if not isinstance(document, Manifest) or document.config.type.role != "config" or document.artifact_type:
        return None
    return read_config(store, document.config, manifest=document).platform


def image_candidates(store: ImageStore, entries: Iterable[Descriptor]) -> list[Candidate]:
    """Every image that ``entries`` lead to; documents are read where an entry does not say its platform."""

    def read_index(descriptor: Descriptor) -> Index:
        document = read_document(store, descriptor)
        if not isinstance(document, Index):
            raise FormatError(f"{descriptor.digest}: a manifest where an index was announced", kind="media-type")
        return document

    def find_platform(descriptor: Descriptor) -> Platform | None:
        return read_platform(store, descriptor)

    return list_candidates(tuple(entries), read_index=read_index, read_platform=find_platform)


def _choose_manifest(
    store: ImageStore, entries: Iterable[Descriptor], wanted: PlatformSpec, *, hyperv: bool = False
) -> tuple[Manifest, Selection]:
    """The image for ``wanted`` among ``entries`` of an index; NotFoundError that lists what there is."""
    selection = select(image_candidates(store, entries), wanted, hyperv=hyperv)
    document = read_document(store, selection.chosen.descriptor)
    if not isinstance(document, Manifest):
        raise FormatError(f"{selection.chosen.descriptor.digest}: an index where a manifest was announced")
    return document, selection


def image_from(
    reference: str,
    store: ImageStore,
    entries: Sequence[Descriptor],
    wanted: PlatformSpec | None,
    *,
    hyperv: bool = False,
) -> Image:
    """The image that ``entries`` lead to: manifests or indexes, as an index lists them or a registry names them.

    With ``wanted`` None a lone manifest is taken whatever its platform; out of several, Windows on amd64 is. The image
    closes ``store`` in its turn; when this raises, ``store`` is still open.
    """
    if wanted is None and len(entries) == 1:
        document = read_document(store, entries[0])
        if isinstance(document, Manifest):
            return compose_image(reference, document, store)
    manifest, selection = _choose_manifest(store, entries, wanted or DEFAULT_PLATFORM, hyperv=hyperv)
    return compose_image(reference, manifest, store, notes=selection.notes)


def compose_image(reference: str, manifest: Manifest, store: ImageStore, *, notes: Iterable[str] = ()) -> Image:
    """The image that ``manifest`` describes, out of ``store``, which the image closes in its turn.

    Raises UnsupportedError for an artifact, FormatError when manifest and configuration disagree.
    """
    config = read_config(store, manifest.config, manifest=manifest)
    require_image(manifest, config)

    def locator(layer: Descriptor, diff_id: Digest) -> Callable[[], StoredBlob | None]:
        return lambda: store.locate(layer, diff_id)

    count = len(manifest.layers)
    hint: str | None = getattr(store, "missing_hint", None)
    layers = [
        LayerBlob(index, count, layer, diff_id, locator(layer, diff_id), hint=hint)
        for index, (layer, diff_id) in enumerate(zip(manifest.layers, config.diff_ids, strict=True))
    ]
    interrupt: Callable[[], None] = getattr(store, "interrupt", lambda: None)
    return Image(reference, manifest, config, layers, notes=notes, close=store.close, interrupt=interrupt)
