"""A change of the registry of an image, written as a layer: on top of the image, as a tar, or as a layer folder."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from wclayer.errors import FormatError, UnsupportedError, UsageError
from wclayer.formats.folder import read_layer_chain
from wclayer.formats.tar import TarLayerWriter
from wclayer.image.chain import is_layer_folder, with_ancestors
from wclayer.image.documents import config_of
from wclayer.image.exporting import compression_of, open_output
from wclayer.image.importing import import_layer
from wclayer.image.layer_places import parse_place
from wclayer.image.registry.changing import delta_hives, delta_trees
from wclayer.image.registry.effective import ImageRegistry
from wclayer.image.registry.extending import extend_image, require_layout
from wclayer.image.registry.layer_items import registry_layer_items
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import copy_layer
from wclayer.ntfs.filetime import from_text, from_unix, to_text
from wclayer.oci import CompressedWriter, Digest, ImageConfig, Limits
from wclayer.oci.archive_writer import archive_time
from wclayer.oci.network import Network
from wclayer.regf.text import RegSection

__all__ = ["AppliedChange", "apply_sections", "image_config"]

# Go writes nanoseconds, and a FILETIME has tenths of a microsecond.
_FINER = re.compile(r"(\.\d{7})\d+")
_Write = Callable[[bytes | bytearray | memoryview], int]


@dataclass(frozen=True, slots=True)
class AppliedChange:
    """What was written. ``hives`` are those that change, none when everything was so already.

    ``digest`` is that of the manifest of an image, None for a layer alone; ``diff_id`` that of the new layer, None when
    an image needed none.
    """

    destination: str
    hives: tuple[str, ...]
    diff_id: Digest | None
    digest: Digest | None = None
    notes: tuple[str, ...] = ()


def image_config(place: str, *, platform: str | None = None, network: Network | None = None) -> ImageConfig | None:
    """The configuration of the image ``place``; None for what has none, such as a layer alone."""
    named = parse_place(place)
    if named.kind not in ("image", "unpacked") or place == "-":
        return None
    try:
        return ImageConfig.parse(config_of(place, platform=platform, network=network).raw)
    except UnsupportedError:  # a bare layer tar
        return None


def apply_sections(
    registry: ImageRegistry,
    sections: Iterable[RegSection],
    destination: str,
    *,
    created_by: str = "wclayer reg apply",
    platform: str | None = None,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    network: Network | None = None,
) -> AppliedChange:
    """Write the layer that does what ``sections`` say to ``registry``, whose image is read once more.

    ``destination`` is an ``oci:DIR:TAG``, which gets the image with the layer on top; a layer tar; or a layer folder,
    which stands on the layers of the unpacked image or layer folder that the registry is of. Where nothing changes, an
    image gets no layer, and a layer alone has deltas without a change. Nothing depends on the clock: times are those of
    ``SOURCE_DATE_EPOCH``, else of the image's creation.
    """
    place = parse_place(destination, writing=True)
    if place.kind not in ("image", "tar", "layer"):
        raise UsageError(f"{destination}: a layer is written to oci:DIR:TAG, a tar or a layer folder")
    if place.kind == "image":
        require_layout(destination)
        _require_whole(registry.reference)
    trees = delta_trees(registry, sections)
    config = image_config(registry.reference, platform=platform, network=network)
    created, timestamp = _time(config)
    items = registry_layer_items(registry, delta_hives(trees, timestamp), timestamp)
    hives = tuple(trees)

    def write(sink: _Write) -> None:
        with TarLayerWriter(sink, policy="reference") as tar:
            copy_layer(items, tar)

    if place.kind == "tar":
        return AppliedChange(destination, hives, _to_tar(destination, write))
    if place.kind == "layer":
        return AppliedChange(destination, hives, _to_folder(registry.reference, place.path, write))
    done = extend_image(
        registry.reference,
        destination,
        write if trees else None,
        created=created,
        created_by=created_by,
        platform=platform,
        limits=limits,
        network=network,
    )
    return AppliedChange(destination, hives, done.diff_id, done.digest, done.notes)


def _time(config: ImageConfig | None) -> tuple[str, int]:
    """The time of the change, as text for a history and in FILETIME ticks."""
    seconds = archive_time()
    if seconds:
        return to_text(from_unix(seconds)), from_unix(seconds)
    text = str(config.document.get("created") or "") if config is not None else ""
    try:
        return text, from_text(_FINER.sub(r"\1", text))
    except FormatError:  # none, or one in a time zone
        return "", from_unix(0)


def _to_tar(output: str, write: Callable[[_Write], None]) -> Digest:
    with open_output(output) as file, CompressedWriter(file, compression_of(output), apart=True) as writer:
        write(writer.write)
    return writer.diff_id


def _to_folder(reference: str, folder: Path, write: Callable[[_Write], None]) -> Digest:
    named = parse_place(reference)
    if named.kind == "unpacked":
        parents = UnpackedImage.load(named.path).layers
    elif named.kind == "layer" and is_layer_folder(named.path):
        parents = with_ancestors([named.path])
    else:
        raise UsageError(
            f"{reference} is not unpacked, so no layer folder can stand on its layers",
            hint="unpack it first, or write oci:DIR:TAG or a layer tar",
        )
    with tempfile.TemporaryDirectory(prefix="wclayer-") as temporary:
        tar = str(Path(temporary) / "layer.tar")
        _to_tar(tar, write)
        return import_layer(tar, folder, parents=parents).diff_id


def _require_whole(reference: str) -> None:
    if reference == "-":
        raise UsageError("standard input can be read only once", hint="keep the image in a file first")
    named = parse_place(reference)
    if named.kind == "layer" and is_layer_folder(named.path) and read_layer_chain(named.path):
        raise UsageError(
            f"{reference} is one layer of an image", hint="name the image, or write a layer tar or a layer folder"
        )
    if named.kind == "transport":
        raise UsageError(f"{reference} is one layer of an image", hint="write a layer tar")
