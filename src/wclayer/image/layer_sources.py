"""Every layer of an image, base first, as items that can be read more than once: what a whole image is poured from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import UsageError
from wclayer.formats.folder import LayerFolder, LayerFolderReader
from wclayer.formats.folder.shared_memory import SharedMemory
from wclayer.formats.tar import Policy, TarLayerReader
from wclayer.image.chain import find_parents, with_ancestors
from wclayer.image.layer_places import Place, open_items
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.unpacked import CONFIG_FILE, MANIFEST_FILE, UnpackedImage
from wclayer.model import LayerItem, Notices
from wclayer.oci import Image, LayerBlob, Limits, open_image
from wclayer.oci.network import Network
from wclayer.oci.platforms import format_platform

__all__ = ["LayerSource", "LayerSources", "SourceOptions", "open_layers"]


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How layers are read. ``parents`` are layer folders below a lone layer, nearest first."""

    parents: tuple[Path, ...] = ()
    platform: str | None = None
    policy: Policy = "faithful"
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    network: Network | None = None

    def open_items(
        self, place: Place, notices: Notices, progress: Progress, memory: SharedMemory | None = None
    ) -> AbstractContextManager[Iterable[LayerItem]]:
        """The items of the one layer at ``place``, see :func:`~wclayer.image.layer_places.open_items`."""
        return open_items(
            place,
            platform=self.platform,
            policy=self.policy,
            notices=notices,
            limits=self.limits,
            progress=progress,
            network=self.network,
            memory=memory,
        )


@dataclass(frozen=True, slots=True)
class LayerSource:
    """One layer. ``read`` gives its items, each time from the start; at their end its digests have been verified.

    ``diff_id`` is the DiffID where it is known; ``label`` names the layer to people.
    """

    label: str
    read: Callable[[], Iterable[LayerItem]]
    diff_id: str | None = None


@dataclass(frozen=True, slots=True)
class LayerSources:
    """The layers, base first, and the documents of their image, where it has any."""

    reference: str
    layers: tuple[LayerSource, ...]
    manifest: bytes | None = None
    config: bytes | None = None
    digest: str | None = None
    platform: str | None = None
    notes: tuple[str, ...] = ()


@contextmanager
def open_layers(
    place: Place,
    options: SourceOptions = SourceOptions(),
    *,
    notices: Notices | None = None,
    progress: Progress = NO_PROGRESS,
) -> Iterator[LayerSources]:
    """The layers of whatever is at ``place``: an image, or one layer with all it stands on.

    Raises what opening it raises; what is wrong with a layer comes while that is read.
    """
    notices = Notices() if notices is None else notices
    with ExitStack() as held:
        if place.kind == "image" and place.text != "-":
            image = held.enter_context(
                open_image(place.text, options.platform, limits=options.limits, network=options.network)
            )
            if image.manifest is not None or len(image.layers) != 1:
                yield _of_image(image, options, notices, progress)
                return
        if place.kind == "unpacked":
            unpacked = UnpackedImage.load(place.path)
            yield LayerSources(
                unpacked.reference,
                _of_folders(held, unpacked.layers, unpacked.diff_ids[::-1]),
                _document(unpacked.folder / MANIFEST_FILE),
                _document(unpacked.folder / CONFIG_FILE),
                _text(unpacked.document.get("digest")),
                _text(unpacked.document.get("platform")),
            )
        elif place.kind == "layer" and not options.parents:
            yield LayerSources(str(place), _of_folders(held, (place.path, *find_parents(place.path))))
        elif place.kind == "cim":
            yield _of_cims(place)
        else:
            below = _of_folders(held, with_ancestors(options.parents))
            yield LayerSources(str(place), (*below, _lone(place, options, notices, progress)))


def _of_image(image: Image, options: SourceOptions, notices: Notices, progress: Progress) -> LayerSources:
    for layer in image.layers:
        progress.expect(1, layer.locate().size)
        layer.prefetch()
    return LayerSources(
        image.reference,
        tuple(_of_blob(layer, options, notices, progress) for layer in image.layers),
        image.manifest.raw if image.manifest else None,
        image.config.raw if image.config else None,
        str(image.digest) if image.digest else None,
        format_platform(image.platform) if image.platform else None,
        image.notes,
    )


def _of_blob(layer: LayerBlob, options: SourceOptions, notices: Notices, progress: Progress) -> LayerSource:
    label = str(layer)

    def read() -> Iterator[LayerItem]:
        progress.begin(label)
        try:
            with layer.stream(limits=options.limits) as stream:
                yield from TarLayerReader(watched(stream, progress, label), policy=options.policy, notices=notices)
                for _ in stream:
                    pass
                stream.finish()
        finally:
            progress.end(label)

    return LayerSource(label, read, str(layer.diff_id) if layer.diff_id else None)


def _of_folders(
    held: ExitStack, nearest_first: Sequence[Path], diff_ids: Sequence[str | None] = ()
) -> tuple[LayerSource, ...]:
    sources = []
    for number, path in enumerate(nearest_first):
        folder = held.enter_context(LayerFolder(path))
        diff_id = diff_ids[number] if diff_ids else _text(folder.facts.get("diff_id"))
        sources.append(LayerSource(path.name, _reading(folder), diff_id))
    return tuple(reversed(sources))


def _reading(folder: LayerFolder) -> Callable[[], Iterable[LayerItem]]:
    return lambda: LayerFolderReader(folder)


def _of_cims(place: Place) -> LayerSources:
    from wclayer.formats.cim import CimLayerReader
    from wclayer.image.cim_places import find_cims

    stack = find_cims(place.path)
    if not stack.layers:
        raise UsageError(f"{place} has no layers")
    below = [None, *(layer.cim for layer in stack.layers[:-1])]
    sources = []
    for layer, parent in zip(stack.layers, below, strict=True):
        reader = CimLayerReader(layer.cim, parent=parent)
        sources.append(LayerSource(layer.cim.name, reader.__iter__))
    folder = stack.folder
    return LayerSources(
        _text(stack.document.get("reference")) or str(place),
        tuple(sources),
        _document(folder / MANIFEST_FILE) if folder else None,
        _document(folder / CONFIG_FILE) if folder else None,
        _text(stack.document.get("digest")),
        _text(stack.document.get("platform")),
    )


def _lone(place: Place, options: SourceOptions, notices: Notices, progress: Progress) -> LayerSource:
    def read() -> Iterator[LayerItem]:
        with options.open_items(place, notices, progress) as items:
            yield from items

    return LayerSource(str(place), read)


def _document(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
