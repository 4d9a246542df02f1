"""Images of a registry fetched into the content store, and unpacked while they come where that is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from wclayer.errors import UsageError, WclayerError
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.oci import Digest, Image, LayerBlob, Manifest, Reference, StoredBlob, parse_reference
from wclayer.oci.image import image_candidates, image_from
from wclayer.oci.network import Network
from wclayer.oci.platforms import format_platform, parse_platform
from wclayer.oci.references import looks_like_registry
from wclayer.oci.registry.names import RegistryName
from wclayer.oci.remote import RemoteStore, open_remote

if TYPE_CHECKING:  # all that writes layers: a third of the time that a small image takes
    from wclayer.image.unpack import UnpackOptions, UnpackResult

__all__ = ["PullOptions", "PullResult", "PulledImage", "pull"]


@dataclass(frozen=True, slots=True)
class PullOptions:
    """What to fetch. ``platforms`` are those that are wanted, ``all_platforms`` everything that an index lists.

    With ``unpack_to`` the one image is unpacked to that folder, as ``unpack`` says, or as usual.
    """

    platforms: tuple[str, ...] = ()
    all_platforms: bool = False
    unpack_to: Path | None = None
    unpack: UnpackOptions | None = None


@dataclass(frozen=True, slots=True)
class PulledImage:
    """An image that is in the store now. ``size`` is that of all its blobs in bytes."""

    digest: Digest
    platform: str | None
    layers: int
    size: int
    fetched: int
    """How many of its layers were not there before."""


@dataclass(slots=True)
class PullResult:
    """What was fetched: ``digest`` is what the name means, an index or the one image, and ``media_type`` its kind."""

    name: RegistryName
    digest: Digest
    media_type: str
    images: list[PulledImage] = field(default_factory=list)
    unpacked: UnpackResult | None = None
    notes: tuple[str, ...] = ()

    @property
    def pinned(self) -> str:
        """The reference that will always mean what was fetched now."""
        return f"{self.name.repository_name}@{self.digest}"


def pull(
    reference: str,
    options: PullOptions = PullOptions(),
    network: Network | None = None,
    progress: Progress = NO_PROGRESS,
) -> PullResult:
    """Fetch the image ``reference`` of a registry into the content store, which lists it by its name afterwards.

    What is there already is not fetched. Raises UsageError for what is no name of an image in a registry, and all that
    registries, stores and unpacking raise; what has come is kept then, and another run goes on from there.
    """
    place = _registry_place(reference)
    if options.unpack_to is not None and (options.all_platforms or len(options.platforms) > 1):
        raise UsageError("several images cannot be unpacked into one folder", hint="choose one with --platform")
    with ExitStack() as held:
        way = network or held.enter_context(Network())
        try:
            store = open_remote(place, way)
            held.callback(store.close)
            return _Pull(place, options, store, progress).run()
        except WclayerError as error:
            raise error.locate(image=reference) from None


def _registry_place(reference: str) -> Reference:
    place = parse_reference(reference)
    if place.transport == "path" and looks_like_registry(place.location):
        place = Reference("registry", place.location)  # nothing else can be meant here, whatever is on disk
    if place.transport != "registry":
        raise UsageError(f"{reference!r} is not in a registry", hint="write HOST/NAME:TAG or docker://HOST/NAME:TAG")
    return place


class _Pull:
    def __init__(self, place: Reference, options: PullOptions, store: RemoteStore, progress: Progress) -> None:
        self._place = place
        self._options = options
        self._store = store
        self._progress = progress
        (self._root,) = store.roots(place)

    def run(self) -> PullResult:
        """Fetch all, and list it."""
        result = PullResult(self._store.name, self._root.digest, self._root.media_type)
        images = {image.digest: image for image in self._images()}  # two platforms may mean one image
        missing = {layer: layer.locate() for image in images.values() for layer in image.layers}
        missing = {layer: stored for layer, stored in missing.items() if stored.arriving is not None}
        for image in images.values():
            result.notes += image.notes
            if self._options.unpack_to is not None:
                result.unpacked = self._unpack(image, self._options.unpack_to)
        self._fetch(missing)
        self._store.tag(self._store.name, self._root)
        for image in images.values():
            manifest = image.manifest
            if manifest is None:
                continue
            result.images.append(_pulled(image, manifest, sum(layer in missing for layer in image.layers)))
            if len(self._options.platforms) == 1:
                result.digest, result.media_type = manifest.digest, manifest.media_type
        return result

    def _images(self) -> Iterator[Image]:
        """The images that are wanted."""
        if self._options.all_platforms:
            for candidate in image_candidates(self._store, (self._root,)):
                yield image_from(str(self._place), self._store, (candidate.descriptor,), None)
            return
        for text in self._options.platforms or (None,):
            wanted = parse_platform(text) if text is not None else None
            yield image_from(str(self._place), self._store, (self._root,), wanted)

    def _fetch(self, missing: Mapping[LayerBlob, StoredBlob]) -> None:
        for layer in missing:
            layer.prefetch()
        for layer, stored in missing.items():
            try:
                if stored.arriving is not None:
                    stored.arriving.wait()
            except WclayerError as error:
                raise error.locate(layer=str(layer)) from None

    def _unpack(self, image: Image, folder: Path) -> UnpackResult:
        from wclayer.image.unpack import UnpackOptions, unpack_image

        options = replace(self._options.unpack or UnpackOptions(), network=self._store.network)
        return unpack_image(image, folder, options, self._progress)


def _pulled(image: Image, manifest: Manifest, fetched: int) -> PulledImage:
    size = sum({blob.digest: blob.size for blob in (manifest.config, *manifest.layers)}.values()) + manifest.size
    platform = format_platform(image.platform) if image.platform else None
    return PulledImage(manifest.digest, platform, len(image.layers), size, fetched)
