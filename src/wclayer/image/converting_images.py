"""Images written to an OCI layout: out of another image, byte for byte, out of folders, or out of one layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import FormatError, UsageError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, write_original
from wclayer.formats.shaping import for_tar
from wclayer.formats.tar import Members, Policy, SlabStream, TarLayerWriter
from wclayer.image.layer_places import Place
from wclayer.image.layer_sources import open_layers
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.unpacked import CONFIG_FILE, UnpackedImage
from wclayer.image.unpacking_cims import config_with
from wclayer.model import Notices, copy_layer
from wclayer.oci import (
    Descriptor,
    Digest,
    Image,
    ImageConfig,
    LayoutWriter,
    Limits,
    Platform,
    open_image,
    parse_reference,
)
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, Compression
from wclayer.oci.network import Network

__all__ = ["ImageOptions", "WrittenImage", "convert_image", "copy_tar", "put_layer"]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How layers are written: the policy of a new tar, whether an old one is kept, and how it is compressed."""

    policy: Policy
    keep: bool
    compression: Compression
    level: int | None
    os_version: str


@dataclass(frozen=True, slots=True)
class WrittenImage:
    """The image: digest of its manifest, digests of its blobs and DiffIDs, base first."""

    digest: Digest
    layers: tuple[Digest, ...]
    diff_ids: tuple[Digest, ...]


class _Layout:
    """The layout that ``oci:DIR:TAG`` names, with the layers put into it so far."""

    def __init__(self, destination: str, options: ImageOptions) -> None:
        place = parse_reference(destination)
        if place.transport != "oci" or place.digest is not None:
            raise UsageError(
                f"an image can be written to an OCI layout, not to {destination}", hint="write oci:DIR:TAG"
            )
        self.name = place.name
        self.options = options
        self.writer = LayoutWriter(place.location)
        self.layers: list[Descriptor] = []
        self.diff_ids: list[Digest] = []

    def add(self, write: Callable[[Callable[[bytes | bytearray | memoryview], int]], None]) -> None:
        """Add a layer: ``write`` is given what takes the bytes of its tar."""
        with self.writer.new_layer(self.options.compression, self.options.level) as sink:
            write(sink.write)
        self.layers.append(sink.descriptor)
        self.diff_ids.append(sink.diff_id)

    def finish(self, config: bytes | None) -> WrittenImage:
        """Put the documents: ``config`` as it is when it lists these layers, else a new one of no more than them."""
        if config is None or ImageConfig.parse(config).diff_ids != tuple(self.diff_ids):
            platform = Platform("windows", "amd64", os_version=self.options.os_version)
            if config is not None:
                platform = ImageConfig.parse(config).platform
            config = encode_config(platform, self.diff_ids)
        parsed = ImageConfig.parse(config)
        descriptor = self.writer.put_bytes(config, OCI_CONFIG)
        manifest = encode_manifest(descriptor, self.layers)
        listed = self.writer.put_manifest(manifest, name=self.name, platform=parsed.platform)
        return WrittenImage(listed.digest, tuple(one.digest for one in self.layers), tuple(self.diff_ids))


def convert_image(
    source: Place,
    destination: str,
    options: ImageOptions,
    *,
    platform: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    progress: Progress = NO_PROGRESS,
    notices: Notices | None = None,
    network: Network | None = None,
) -> WrittenImage:
    """Write the image, or the lone layer folder, at ``source`` to ``destination``, an ``oci:DIR:TAG``.

    The tars of an image are kept as they are, and so is its configuration; those of an unpacked image are written as
    they were, where that is known; ``notices`` take what a new tar cannot hold.
    """
    layout = _Layout(destination, options)
    notices = Notices() if notices is None else notices
    if source.kind == "unpacked":
        unpacked = UnpackedImage.load(source.path)
        return _from_folders(unpacked.layers, _read_config(unpacked.folder), layout, notices)
    if source.kind == "layer":
        return _from_folders((source.path,), None, layout, notices)
    if source.kind == "cim":
        return _from_cims(source, layout, notices)
    with open_image(source.text, platform, limits=limits, network=network) as image:
        for layer in image.layers:
            layer.locate()
            layer.prefetch()
        for layer in image.layers:
            with layer.stream(limits=limits) as stream:

                def write(sink: Callable[[bytes | bytearray | memoryview], int]) -> None:
                    slabs = watched(stream, progress, str(layer))  # noqa: B023 - called at once
                    copy_tar(slabs, sink, is_promised=image.config is not None)
                    stream.finish()

                layout.add(write)
        return layout.finish(_config_of(image))


def copy_tar(
    slabs: Iterable[memoryview], write: Callable[[bytes | bytearray | memoryview], object], *, is_promised: bool
) -> None:
    """Copy a tar as it is. One whose digest nobody promised is looked through, so that no half of one is copied."""

    def copied() -> Iterator[memoryview]:
        for slab in slabs:
            write(slab)
            yield slab

    pieces = copied()
    if not is_promised:
        for _ in Members(SlabStream(pieces)):
            pass
    for _ in pieces:
        pass


def put_layer(
    destination: str, options: ImageOptions, pour: Callable[[TarLayerWriter], None], notices: Notices
) -> WrittenImage:
    """Write an image of the one layer that ``pour`` writes."""
    layout = _Layout(destination, options)

    def write(sink: Callable[[bytes | bytearray | memoryview], int]) -> None:
        tar = TarLayerWriter(sink, policy=options.policy, notices=notices)
        pour(tar)
        tar.commit()

    layout.add(write)
    return layout.finish(None)


def _from_folders(
    nearest_first: Sequence[Path], config: bytes | None, layout: _Layout, notices: Notices
) -> WrittenImage:
    with ExitStack() as held:
        for path in reversed(nearest_first):
            folder = held.enter_context(LayerFolder(path))

            def write(sink: Callable[[bytes | bytearray | memoryview], int]) -> None:
                if layout.options.keep and folder.header_record is not None:  # noqa: B023 - called at once
                    write_original(folder, sink)  # noqa: B023
                    return
                tar = TarLayerWriter(sink, policy=layout.options.policy, notices=notices)
                items = LayerFolderReader(folder)  # noqa: B023
                copy_layer(for_tar(items, layout.options.policy, notices), tar)
                tar.commit()

            layout.add(write)
    return layout.finish(config)


def _from_cims(source: Place, layout: _Layout, notices: Notices) -> WrittenImage:
    """The layers of CIM images, without what importing them has added; of the configuration the DiffIDs are new."""
    policy = layout.options.policy
    with open_layers(source) as sources:
        for layer in sources.layers:

            def write(sink: Callable[[bytes | bytearray | memoryview], int]) -> None:
                tar = TarLayerWriter(sink, policy=policy, notices=notices)
                copy_layer(for_tar(layer.read(), policy, notices), tar)  # noqa: B023 - called at once
                tar.commit()

            layout.add(write)
        config = sources.config
        return layout.finish(None if config is None else config_with(config, layout.diff_ids))


def _config_of(image: Image) -> bytes | None:
    return image.config.raw if image.config else None


def _read_config(folder: Path) -> bytes | None:
    path = folder / CONFIG_FILE
    if not path.is_file():
        return None
    raw = path.read_bytes()
    try:
        ImageConfig.parse(raw)
    except FormatError as error:
        raise error.locate(path=CONFIG_FILE) from None
    return raw
