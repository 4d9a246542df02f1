"""What was changed becomes a layer: of a mount, of an upper folder, or of a plain folder compared with an image.

The layer is written in any form that layers have; on top of the image in an OCI layout, it gets its line in
configuration and history. The same changes give the same DiffID: items come in one order, and with
``SOURCE_DATE_EPOCH`` no new time is later than that.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from wclayer.errors import NotFoundError, StoreError, UsageError
from wclayer.formats.folder import LayerFolder
from wclayer.formats.plain import PlainFolderWriter
from wclayer.formats.shaping import for_tar, for_transport
from wclayer.formats.tar import TarLayerWriter
from wclayer.formats.transport import TransportFolderWriter
from wclayer.image.chain import is_layer_folder
from wclayer.image.exporting import compression_of, open_output
from wclayer.image.importing import import_layer
from wclayer.image.layer_places import Place, parse_place
from wclayer.image.mounting.changes import overlay_changes
from wclayer.image.mounting.lower import Lower
from wclayer.image.mounting.mounts import lasting, layers_of, mount_information
from wclayer.image.mounting.overlay import Overlay
from wclayer.image.mounting.plain_changes import plain_changes
from wclayer.image.mounting.process import identities
from wclayer.image.mounting.upper import DATABASE, PARENTS, Upper
from wclayer.image.registry.extending import extend_image, require_layout
from wclayer.image.unpack import UnpackOptions, unpack
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import AlternateStream, Entry, LayerItem, Notice, Notices, Tombstone, copy_layer
from wclayer.ntfs.filetime import from_unix, to_text
from wclayer.oci import CompressedWriter, Digest
from wclayer.oci.archive_writer import archive_time
from wclayer.oci.mediatypes import Compression

__all__ = ["CommitForm", "Committed", "commit"]

CommitForm = Literal["reference", "faithful"]
_Write = Callable[[bytes | bytearray | memoryview], int]


@dataclass(slots=True)
class Committed:
    """What was written: ``entries`` and ``deletions`` of the layer, the folders every layer has counted in.

    ``size`` is the bytes of main streams. ``diff_id`` is None for a form that is no tar; ``digest`` is that of the
    manifest of an image.
    """

    source: str
    destination: str
    entries: int = 0
    deletions: int = 0
    size: int = 0
    diff_id: Digest | None = None
    digest: Digest | None = None
    notes: tuple[str, ...] = ()
    notices: dict[str, int] = field(default_factory=dict)
    listed: list[Notice] = field(default_factory=list)


def commit(
    source: str,
    destination: str,
    *,
    parent: str | None = None,
    form: CommitForm = "faithful",
    compression: Compression | None = None,
    created_by: str = "wclayer commit",
    options: UnpackOptions = UnpackOptions(),  # noqa: B008 - frozen
) -> Committed:
    """Write the layer of what was changed in ``source`` to ``destination``.

    ``source`` is a mount, an upper folder, or a plain folder, which ``parent`` (an image, an unpacked image or a layer
    folder) is compared with. ``destination`` is ``oci:DIR:TAG``, which gets the image with the layer on top, a layer
    tar, a layer folder, ``transport:DIR`` or ``plain:DIR``. Nothing is left of what could not be completed.

    Raises UsageError for what makes no sense together, NotFoundError, StoreError for an upper folder of another image,
    and what reading and writing raise.
    """
    place = parse_place(destination, writing=True)
    if place.kind not in ("image", "tar", "layer", "transport", "plain"):
        raise UsageError(f"{destination}: a layer is written to oci:DIR:TAG, a tar, a layer folder, or transport:DIR")
    if place.kind == "image":
        require_layout(destination)
    with ExitStack() as held:
        changed = _Source(Path(source), parent, options, held)
        job = _Commit(changed, place, Committed(source, destination), form, compression, options, created_by)
        job.run()
    job.result.notices = dict(job.notices.counts)
    job.result.listed = list(job.notices.listed)
    return job.result


class _Source:
    """What was changed, and the layers that it was changed from."""

    def __init__(self, path: Path, parent: str | None, options: UnpackOptions, held: ExitStack) -> None:
        self.path = path
        self._options = options
        self._held = held
        self.upper: Upper | None = None
        mounted = mount_information(path)
        is_upper = mounted is None and (path / DATABASE).is_file()
        if mounted is not None:
            self.reference, self.layers = mounted.reference, mounted.layers
            if parent is not None:
                raise UsageError(f"{path} is a mount, which knows what it was made of", hint="leave --parent out")
            if mounted.upper is not None:
                _settle(path)
                self._take_upper(mounted.upper)
        elif is_upper:
            upper = self._take_upper(path)
            self.reference = parent or str(upper.facts.get("image", ""))
            self.layers = self._recorded(upper, parent)
        elif parent is None:
            hint = "say what it is compared with: --parent IMAGE"
            raise UsageError(f"{path} is neither a mount nor an upper folder", hint=hint)
        elif not path.is_dir():
            raise NotFoundError(f"there is no folder {path}")
        else:
            self.reference, self.layers = lasting(parent), self._unpacked(parent)
        self.is_plain = mounted is None and not is_upper
        self.lower = Lower(self.layers, reference=self.reference)
        held.callback(self.lower.close)

    def items(self, notices: Notices, latest: int | None) -> Iterator[LayerItem]:
        """The layer."""
        if self.is_plain:
            return plain_changes(self.path, self.lower, notices, latest=latest)
        return overlay_changes(Overlay(self.lower, self.upper), latest=latest)

    def _take_upper(self, path: Path) -> Upper:
        self.upper = Upper(path, writable=False)
        self._held.callback(self.upper.close)
        return self.upper

    def _recorded(self, upper: Upper, parent: str | None) -> tuple[Path, ...]:
        """The layers below an upper folder: where they were, or of what is named instead."""
        facts = upper.facts
        recorded = tuple(Path(layer) for layer in facts.get("layers", ()))
        if parent is not None:
            layers = self._unpacked(parent)
        elif UnpackedImage.is_one(upper.path / PARENTS):
            layers = UnpackedImage.load(upper.path / PARENTS).layers
        elif recorded and all(is_layer_folder(layer) for layer in recorded):
            layers = recorded
        else:
            raise NotFoundError(
                f"the layers below the upper folder {upper.path} are not there any more",
                hint="name the image: --parent IMAGE",
            )
        if identities([str(layer) for layer in layers]) != facts.get("identities"):
            raise StoreError(
                f"the upper folder {upper.path} holds changes of another image: {facts.get('image')}",
                hint="name that image: --parent IMAGE",
            )
        return tuple(layers)

    def _unpacked(self, parent: str) -> tuple[Path, ...]:
        layers = layers_of(parent)
        if layers is not None:
            return layers
        scratch = self._held.enter_context(tempfile.TemporaryDirectory(prefix="wclayer-"))
        folder = Path(scratch) / "image"
        unpack(parent, folder, self._options)
        return UnpackedImage.load(folder).layers


class _Commit:
    def __init__(
        self,
        source: _Source,
        place: Place,
        result: Committed,
        form: CommitForm,
        compression: Compression | None,
        options: UnpackOptions,
        created_by: str,
    ) -> None:
        self.source = source
        self.place = place
        self.result = result
        self.form: CommitForm = form
        self.compression = compression
        self.options = options
        self.created_by = created_by
        self.notices = Notices(strict=options.strict)
        seconds = archive_time()
        self.latest = from_unix(seconds) if seconds else None

    def run(self) -> None:
        """Write the layer in the form that is wanted."""
        kind, path = self.place.kind, self.place.path
        if kind == "image":
            self._to_image()
        elif kind == "tar":
            self._to_tar(self.place.text)
        elif kind == "layer":
            with tempfile.TemporaryDirectory(prefix="wclayer-") as temporary:
                tar = str(Path(temporary) / "layer.tar")
                self._to_tar(tar)
                import_layer(tar, path, parents=self.source.layers, sync=self.options.sync)
        elif kind == "plain":
            with PlainFolderWriter(path) as plain:
                copy_layer(self._items(), plain)
        else:
            self._to_transport(path)

    def _items(self) -> Iterator[LayerItem]:
        result = self.result
        result.entries = result.deletions = result.size = 0
        for item in self.source.items(self.notices, self.latest):
            if isinstance(item, Tombstone):
                result.deletions += 1
            elif not isinstance(item, AlternateStream):
                result.entries += 1
            if isinstance(item, Entry) and item.data is not None:
                result.size += item.data.size
            yield item

    def _pour(self, sink: _Write) -> None:
        items: Iterable[LayerItem] = for_tar(self._items(), self.form, self.notices)
        with TarLayerWriter(sink, policy=self.form, notices=self.notices) as tar:
            copy_layer(items, tar)

    def _to_tar(self, output: str) -> None:
        compression = self.compression or compression_of(output)
        with open_output(output) as file, CompressedWriter(file, compression, apart=True) as writer:
            self._pour(writer.write)
        self.result.diff_id = writer.diff_id

    def _to_transport(self, path: Path) -> None:
        with ExitStack() as held:
            parents = [held.enter_context(LayerFolder(layer)) for layer in self.source.layers]
            with TransportFolderWriter(path, notices=self.notices) as writer:
                copy_layer(for_transport(self._items(), parents, self.notices), writer)

    def _to_image(self) -> None:
        reference = self.source.reference
        if is_layer_folder(Path(reference)):
            hint = "write a tar or a layer folder, or name the image: --parent IMAGE"
            raise UsageError(f"{reference} is a layer, and no image that could get one more", hint=hint)
        seconds = archive_time()
        done = extend_image(
            reference,
            self.place.text,
            self._pour,
            created=to_text(from_unix(seconds)) if seconds else "",
            created_by=self.created_by,
            platform=self.options.platform,
            limits=self.options.limits,
            network=self.options.network,
        )
        self.result.diff_id, self.result.digest, self.result.notes = done.diff_id, done.digest, done.notes


def _settle(folder: Path) -> None:
    """Have the mount write down what it still remembers."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
