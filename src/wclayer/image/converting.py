"""Any form of a layer, or of an image, poured into any other.

One layer is a flow of items, so every reader fits every writer. An image keeps its documents and the bytes of its
layers where the new form holds them; what a form cannot hold is counted in notices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from wclayer.errors import StoreError, UsageError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, sweep
from wclayer.formats.folder.shared_memory import SharedMemory
from wclayer.formats.folder.staging import Staging
from wclayer.formats.shaping import for_base, for_tar, for_transport, with_hard_links
from wclayer.formats.tar import Policy, TarLayerWriter
from wclayer.formats.transport import TransportFolderWriter
from wclayer.image.chain import find_parents, with_ancestors
from wclayer.image.importing import ImportedLayer, Pour, import_layer, written_apart
from wclayer.image.layer_places import Place, parse_place
from wclayer.image.layer_sources import SourceOptions, open_layers
from wclayer.image.progress import NO_PROGRESS, Progress, watched
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import LayerItem, LayerWriter, Notice, Notices, copy_layer
from wclayer.oci import CompressedWriter, Image, Limits, open_image
from wclayer.oci.mediatypes import Compression
from wclayer.oci.network import Network

if TYPE_CHECKING:
    from wclayer.image.converting_images import ImageOptions
    from wclayer.image.unpack import UnpackResult

__all__ = ["ConvertForm", "ConvertOptions", "Converted", "convert"]

ConvertForm: TypeAlias = Literal["original", "reference", "faithful"]
Shape: TypeAlias = Callable[[Iterable[LayerItem]], Iterable[LayerItem]]


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """How to convert.

    ``form`` is that of the tars: ``original`` keeps their bytes where there are some, ``reference`` is what hcsshim
    would read and write, ``faithful`` loses nothing; None is ``original`` where that is possible, else ``reference``.
    ``parents`` are layer folders below a lone layer, nearest first. ``os_version`` is for an image that is made of a
    lone layer. ``compression`` None is what the name of a file says, and gzip for an image. ``network`` is the way to
    registries.
    """

    form: ConvertForm | None = None
    parents: tuple[Path, ...] = ()
    compression: Compression | None = None
    level: int | None = None
    platform: str | None = None
    os_version: str = ""
    strict: bool = False
    sync: bool = False
    limits: Limits = Limits()  # noqa: RUF009 - frozen
    network: Network | None = None

    @property
    def policy(self) -> Policy:
        """How a tar is read."""
        return "reference" if self.form == "reference" else "faithful"

    def for_sources(self) -> SourceOptions:
        """What concerns the reading of layers."""
        return SourceOptions(self.parents, self.platform, self.policy, self.limits, self.network)

    def for_image(self) -> ImageOptions:
        """What concerns the writing of an image."""
        from wclayer.image.converting_images import ImageOptions

        policy: Policy = "faithful" if self.form == "faithful" else "reference"
        return ImageOptions(
            policy, self.form in (None, "original"), self.compression or "gzip", self.level, self.os_version
        )


@dataclass(slots=True)
class Converted:
    """What was written: the places, base first, with their DiffIDs where they are tars.

    ``notices`` counts what was odd, changed or left out, by code; ``listed`` has the first of each code.
    """

    source: str
    destination: str
    kind: str
    layers: list[str] = field(default_factory=list)
    diff_ids: list[str] = field(default_factory=list)
    digest: str | None = None
    notices: dict[str, int] = field(default_factory=dict)
    listed: list[Notice] = field(default_factory=list)


def convert(
    source: str,
    destination: str,
    options: ConvertOptions = ConvertOptions(),
    progress: Progress = NO_PROGRESS,
) -> Converted:
    """Pour ``source`` into ``destination``; see :mod:`wclayer.image.layer_places` for what both may be.

    An image of several layers becomes an image, an unpacked image, CIM images, each a fork of the one below, or a
    folder of layers numbered from 0, the base.
    Nothing is left of a destination that could not be completed. Raises UsageError for what cannot be told apart or
    makes no sense, and all that reading and writing raise.
    """
    given, wanted = parse_place(source), parse_place(destination, writing=True)
    try:
        return _Job(given, wanted, options, progress).run()
    except WclayerError as error:
        raise error.locate(image=source) from None


class _Job:
    def __init__(self, source: Place, destination: Place, options: ConvertOptions, progress: Progress) -> None:
        self.source = source
        self.destination = destination
        self.options = options
        self.progress = progress
        self.notices = Notices(strict=options.strict)
        self.result = Converted(str(source), str(destination), destination.kind)

    def run(self) -> Converted:
        if self.destination.kind == "image":
            self._to_image()
        elif self.destination.kind == "cim":
            self._to_cims()
        elif self._count() == 1:
            source = self.source
            if source.kind == "unpacked":
                (path,) = UnpackedImage.load(source.path).layers
                source = Place("layer", path, str(path))
            self._one(source, self.destination, self._parents(source))
        else:
            self._several()
        self.result.notices = {**self.notices.counts}
        self.result.listed = [*self.notices.listed]
        return self.result

    def _open(self, place: Place) -> Image:
        options = self.options
        return open_image(place.text, options.platform, limits=options.limits, network=options.network)

    def _count(self) -> int:
        """How many layers the source has."""
        if self.source.kind == "cim":
            from wclayer.image.cim_places import find_cims, is_cim_file

            return 1 if is_cim_file(self.source.path) else len(find_cims(self.source.path).layers)
        if self.source.kind == "unpacked":
            return len(UnpackedImage.load(self.source.path).layers)
        if self.source.kind == "image" and self.source.text != "-":
            with self._open(self.source) as image:
                return len(image.layers)
        return 1

    def _parents(self, place: Place) -> tuple[Path, ...]:
        if self.options.parents:
            return with_ancestors(self.options.parents)
        return find_parents(place.path) if place.kind == "layer" else ()

    def _take_notices(self, counts: Mapping[str, int], listed: Iterable[Notice]) -> None:
        """Take over what a step told that has notices of its own."""
        self.notices.listed += listed
        for code, count in counts.items():
            self.notices.counts[code] = self.notices.counts.get(code, 0) + count

    def _take_notices_of(self, done: UnpackResult) -> None:
        self._take_notices(done.notices, [notice for layer in done.layers for notice in layer.listed])

    # ------------------------------------------------------------------ one layer

    def _one(self, source: Place, destination: Place, parents: Sequence[Path]) -> None:
        options = self.options
        is_tar = source.kind in ("image", "tar")
        if destination.kind == "tar" and source.kind == "layer" and options.form != "reference":
            self._export(source, destination)
        elif destination.kind == "tar":
            self._to_tar(source, destination, keep=is_tar and options.form in (None, "original"))
        elif destination.kind == "layer" and is_tar and options.form != "reference":
            imported = self._import_bare if self._is_bare(source) else self._import_of_image
            made = imported(source, destination, parents)
            self._take_notices(made.notices, made.listed)
        else:
            self._to_folder(source, destination, parents)
        self.result.layers.append(str(destination.path))

    def _import_bare(self, source: Place, destination: Place, parents: Sequence[Path]) -> ImportedLayer:
        options = self.options
        return import_layer(
            source.text,
            destination.path,
            parents=parents,
            strict=options.strict,
            sync=options.sync,
            limits=options.limits,
            progress=self.progress,
        )

    def _import_of_image(self, source: Place, destination: Place, parents: Sequence[Path]) -> ImportedLayer:
        """The same for the one layer of an image: the folder remembers the bytes of the tar."""
        options = self.options
        _make_parent(destination.path)
        with ExitStack() as held:
            opened = [held.enter_context(LayerFolder(parent)) for parent in parents]
            image = held.enter_context(self._open(source))
            layer = image.layers[0]
            self.progress.begin(str(layer))
            held.callback(self.progress.end, str(layer))
            stream = layer.stream(limits=options.limits)
            with Pour(stream, destination.path, strict=options.strict, sync=options.sync) as pour:
                pour.run(self.progress, str(layer))
                chain_id = None if opened else str(pour.poured.diff_id)
                return pour.commit(opened, chain_id, {"source": source.text})

    def _is_bare(self, source: Place) -> bool:
        """Whether it is a tar and no image around one."""
        if source.text == "-":
            return True
        with self._open(source) as image:
            return image.manifest is None

    def _export(self, source: Place, destination: Place) -> None:
        from wclayer.image.exporting import export_layer

        options = self.options
        done = export_layer(
            source.path,
            destination.text,
            form=options.form,
            compression=options.compression,
            level=options.level,
            strict=options.strict,
            sync=options.sync,
        )
        self._take_notices(done.notices, done.listed)
        self.result.diff_ids.append(str(done.diff_id))

    def _to_tar(self, source: Place, destination: Place, *, keep: bool) -> None:
        """Write a tar: the bytes that there are, or the items anew."""
        from wclayer.image.converting_images import copy_tar
        from wclayer.image.exporting import compression_of, open_output

        options = self.options
        compression = options.compression or compression_of(destination.text)
        with (
            open_output(destination.text, sync=options.sync) as file,
            CompressedWriter(file, compression, options.level, apart=True) as writer,
        ):
            if keep:
                with self._open(source) as image:
                    layer = image.layers[0]
                    with layer.stream(limits=options.limits) as stream:
                        slabs = watched(stream, self.progress, str(layer))
                        copy_tar(slabs, writer.write, is_promised=image.config is not None)
                        stream.finish()
            else:
                policy = options.for_image().policy
                tar = TarLayerWriter(writer.write, policy=policy, notices=self.notices)
                self._pour(source, tar, lambda items: for_tar(items, policy, self.notices))
                tar.commit()
        self.result.diff_ids.append(str(writer.diff_id))

    def _to_folder(self, source: Place, destination: Place, parents: Sequence[Path]) -> None:
        path = destination.path
        _make_parent(path)
        sweep(path.absolute().parent)
        with ExitStack() as held:
            opened = [held.enter_context(LayerFolder(parent)) for parent in parents]
            writer: LayerWriter
            memory = None
            if destination.kind == "layer":
                writer = LayerFolderWriter(path, parents=opened, notices=self.notices, sync=self.options.sync)
            elif destination.kind == "transport":
                memory = written_apart() if source.kind in ("tar", "image") else None
                writer = TransportFolderWriter(path, notices=self.notices, memory=memory)
            elif destination.kind == "base":
                from wclayer.formats.base import BaseFolderWriter

                writer = BaseFolderWriter(path, notices=self.notices)
            else:
                from wclayer.formats.plain import PlainFolderWriter

                writer = PlainFolderWriter(path)
            with writer:
                self._pour(source, writer, self._shape(destination, opened), memory)

    def _shape(self, destination: Place, parents: Sequence[LayerFolder]) -> Shape:
        """What the items have to go through for a folder of that kind."""

        def shape(items: Iterable[LayerItem]) -> Iterable[LayerItem]:
            items = with_hard_links(items)
            if destination.kind == "transport":
                return for_transport(items, parents, self.notices)
            return for_base(items, self.notices) if destination.kind == "base" else items

        return shape

    def _pour(
        self, source: Place, writer: LayerWriter, shape: Shape = iter, memory: SharedMemory | None = None
    ) -> None:
        with self.options.for_sources().open_items(source, self.notices, self.progress, memory) as items:
            copy_layer(shape(items), writer)

    # ------------------------------------------------------------------ several layers

    def _several(self) -> None:
        from wclayer.image.unpack import UnpackOptions, unpack

        kind = self.destination.kind
        if kind in ("base", "tar"):
            what = "a base layer" if kind == "base" else "one tar"
            raise UsageError(
                f"{self.source} has {self._count()} layers, which do not fit {what}",
                hint="unpack it first, and name one",
            )
        if self.source.kind in ("image", "cim") and kind == "layer":
            options = self.options
            done = unpack(
                self.source.text,
                self.destination.path,
                UnpackOptions(options.platform, options.strict, options.sync, options.limits, network=options.network),
                self.progress,
            )
            self._take_notices_of(done)
            self.result.layers = [str(layer.path) for layer in done.layers]
            self.result.diff_ids = [str(layer.diff_id) for layer in done.layers]
            return
        if self.source.kind == "unpacked":
            self._numbered(UnpackedImage.load(self.source.path))
            return
        # Links lead into other layers, so these have to be somewhere while one is written.
        scratch = self._staging()
        try:
            options = self.options
            folder = scratch.path / "image"
            unpacked = UnpackOptions(options.platform, options.strict, limits=options.limits, network=options.network)
            self._take_notices_of(unpack(self.source.text, folder, unpacked))
            self._numbered(UnpackedImage.load(folder))
        finally:
            scratch.discard()

    def _staging(self) -> Staging:
        """A hidden folder beside the destination; what dead runs left there goes."""
        top = self.destination.path
        _make_parent(top)
        sweep(top.absolute().parent)
        return Staging(top)

    def _numbered(self, image: UnpackedImage) -> None:
        """A folder with one folder for each layer: all of them, or nothing."""
        top, kind = self.destination.path, self.destination.kind
        base_first = image.layers[::-1]
        staging = self._staging()
        try:
            folder = staging.path / "layers"  # not the locked folder itself: writers lock the one they write into
            folder.mkdir()
            for number, layer in enumerate(base_first):
                place = Place(kind, folder / str(number), f"{kind}:{top / str(number)}")
                self._one(Place("layer", layer, str(layer)), place, base_first[:number][::-1])
            try:
                folder.rename(top)  # replaces an empty folder, and nothing else
            except OSError as error:
                raise StoreError(f"cannot rename to {top}: {error.strerror}", hint="choose another place") from error
        finally:
            staging.discard()
        self.result.layers = [str(top / str(number)) for number in range(len(base_first))]

    def _to_cims(self) -> None:
        from wclayer.image.converting_cims import convert_to_cims

        reading = self.options.for_sources()
        with open_layers(self.source, reading, notices=self.notices, progress=self.progress) as sources:
            done = convert_to_cims(sources, self.destination.path, self.notices)
        self.result.layers = [str(cim) for cim in done.cims]
        self.result.diff_ids = [diff_id for diff_id in done.diff_ids if diff_id is not None]

    def _to_image(self) -> None:
        from wclayer.image.converting_images import convert_image, put_layer

        options = self.options
        if self.source.kind in ("image", "unpacked", "layer", "tar", "cim"):
            done = convert_image(
                self.source,
                self.destination.text,
                options.for_image(),
                platform=options.platform,
                limits=options.limits,
                progress=self.progress,
                notices=self.notices,
                network=options.network,
            )
        else:
            policy = options.for_image().policy

            def pour(tar: TarLayerWriter) -> None:
                self._pour(self.source, tar, lambda items: for_tar(items, policy, self.notices))

            done = put_layer(self.destination.text, options.for_image(), pour, self.notices)
        self.result.diff_ids = [str(diff_id) for diff_id in done.diff_ids]
        self.result.digest = str(done.digest)
        self.result.layers = [str(digest) for digest in done.layers]


def _make_parent(path: Path) -> None:
    try:
        path.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"cannot make {path.parent}: {error.strerror}") from error
