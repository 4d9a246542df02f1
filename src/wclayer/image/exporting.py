"""The folder of a layer becomes a layer tar: the one it came from, byte for byte, or the one hcsshim would write."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal, TypeAlias, TypedDict

from wclayer.errors import NotFoundError, StoreError, UnsupportedError, UsageError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, require_original, write_original
from wclayer.formats.hard_links import without_hard_links
from wclayer.formats.shaping import for_tar
from wclayer.formats.tar import TarLayerWriter
from wclayer.formats.volume.layer import LAYER_MANIFEST, open_layer_volume
from wclayer.image.chain import find_parents, is_layer_folder, open_chain
from wclayer.image.layer_places import Place, PlaceKind, existing_folder, parse_place
from wclayer.image.target import layer_place
from wclayer.image.transport_export import export_layer_to_tar, export_transport_to_tar
from wclayer.image.unpacked import UnpackedImage, refuse_unfinished
from wclayer.image.whole import new_file
from wclayer.model import LayerItem, Notice, Notices, copy_layer
from wclayer.oci import CompressedWriter, Digest
from wclayer.oci.mediatypes import Compression

__all__ = ["ExportForm", "ExportedLayer", "compression_of", "export_layer", "open_output"]

ExportForm: TypeAlias = Literal["original", "reference", "faithful"]


@dataclass(frozen=True, slots=True)
class ExportedLayer:
    """What was written. ``size`` is that of the tar, ``blob_size`` that of the file, in bytes.

    ``same_diff_id`` tells whether the tar is the one that the layer came from; None when that is not known. ``notices``
    counts what the new tar could not hold as it is, ``listed`` has the first of each kind.
    """

    layer: Path
    output: str
    form: ExportForm
    diff_id: Digest
    blob_digest: Digest
    size: int
    blob_size: int
    compression: str
    same_diff_id: bool | None
    notices: dict[str, int]
    listed: list[Notice]


def compression_of(output: str) -> Literal["gzip", "zstd", "none"]:
    """The compression that the name of a file asks for."""
    name = output.lower()
    if name.endswith((".gz", ".tgz")):
        return "gzip"
    return "zstd" if name.endswith((".zst", ".zstd", ".tzst")) else "none"


def export_layer(
    folder: Path | str,
    output: str,
    *,
    layer: int | None = None,
    form: ExportForm | None = None,
    hard_links: bool = True,
    compression: Literal["gzip", "zstd", "none"] | None = None,
    level: int | None = None,
    strict: bool = False,
    sync: bool = False,
) -> ExportedLayer:
    """Write the layer in ``folder`` to ``output``, a path or ``-`` for standard output.

    ``folder`` is a layer folder or an unpacked image; as a text it may also be ``transport:DIR`` or ``base:DIR``, and
    ``layer:DIR`` for the folder of a diff layer as Windows keeps it, see :mod:`wclayer.image.layer_places`: those are
    read and written as hcsshim does. Of an unpacked image, or a layer folder with parents, ``layer`` says which one, 0
    being the base and -1 the top. ``form`` None is ``original`` where the layer came from a tar, else ``reference``.
    Without ``hard_links`` every name of a file is a file of its own, as hcsshim wrote it before it exported hard links;
    that has another DiffID. With ``strict`` a notice is an error.

    The file appears when it is complete; one that was there is replaced then. With ``sync`` a new file survives a loss
    of power, too; one that replaces another always does. Raises NotFoundError for an ``original``
    of a layer that did not come from a tar, IntegrityError for a layer whose files were changed, UnsupportedError for
    what no layer tar can hold, UsageError for options that contradict each other.
    """
    if form == "original" and not hard_links:
        raise UsageError("the original tar has the hard links that it has", hint="write a new one: --as reference")
    place = parse_place(folder) if isinstance(folder, str) else Place("layer", folder, str(folder))
    notices = Notices(strict=strict)
    job = _Export(output, compression or compression_of(output), level, notices, hard_links=hard_links, sync=sync)
    is_windows = place.kind == "layer" and _is_windows_folder(place.path)
    if place.kind not in ("transport", "base") and not is_windows:
        return job.layer_folder(_layer_in(place.path, layer), form)
    if layer is not None:
        raise UsageError(f"{place} is one layer", hint="leave --layer out")
    if form == "original":
        raise _no_original(place.path)
    if form == "faithful":
        raise UnsupportedError(
            f"{place} is read as hcsshim does",
            hint=f"wclayer convert {place} {output} --as faithful reads all that is there",
        )
    return job.windows_folder(place.kind, place.path if is_windows else existing_folder(place))


class _Export:
    """One export: where to, and how."""

    def __init__(
        self,
        output: str,
        compression: Compression,
        level: int | None,
        notices: Notices,
        *,
        hard_links: bool,
        sync: bool,
    ) -> None:
        self.output = output
        self.compression: Compression = compression
        self.level = level
        self.notices = notices
        self.hard_links = hard_links
        self.sync = sync

    def layer_folder(self, path: Path, form: ExportForm | None) -> ExportedLayer:
        with ExitStack() as held:
            layers: tuple[LayerFolder, ...] = (held.enter_context(LayerFolder(path)),)
            opened = layers[0]
            form = form or ("original" if opened.header_record and self.hard_links else "reference")
            if form == "original" and opened.header_record is None:
                raise _no_original(path)
            if not self.hard_links:
                layers = open_chain(path).layers
                for layer in layers:
                    held.callback(layer.close)
            recorded = opened.facts.get("diff_id")

            def pour(writer: CompressedWriter) -> None:
                if form == "original":
                    write_original(opened, writer.write, check=False)
                    writer.finish()
                    require_original(opened, str(writer.diff_id))  # before the file takes its name
                    return
                tar = TarLayerWriter(writer.write, policy=form, notices=self.notices)
                items: Iterable[LayerItem] = LayerFolderReader(layers[0])
                if not self.hard_links:
                    items = without_hard_links(items, layers, self.notices)
                copy_layer(for_tar(items, form, self.notices), tar)
                tar.commit()

            return self._write(path, form, pour, recorded if isinstance(recorded, str) else None)

    def windows_folder(self, kind: PlaceKind, path: Path) -> ExportedLayer:
        options: _Options = {"hard_links": self.hard_links, "notices": self.notices}

        def pour(writer: CompressedWriter) -> None:
            if kind == "transport":
                export_transport_to_tar(path, writer.write, lenient=True, **options)
                return
            if kind == "base":
                from wclayer.formats.base import refuse_deletions

                with open_layer_volume(path, label=str(path)) as volume:
                    refuse_deletions(volume)
            export_layer_to_tar(path, writer.write, is_base=kind == "base", **options)

        return self._write(path, "reference", pour, None)

    def _write(
        self, path: Path, form: ExportForm, pour: Callable[[CompressedWriter], None], recorded: str | None
    ) -> ExportedLayer:
        with (
            open_output(self.output, sync=self.sync) as file,
            CompressedWriter(file, self.compression, self.level, apart=True) as writer,
        ):
            try:
                pour(writer)
            except UnsupportedError as error:
                if form == "reference":
                    error.hint = error.hint or "write it with --as faithful"
                raise error.locate(layer=str(path)) from None
            except WclayerError as error:
                raise error.locate(layer=str(path)) from None
        return ExportedLayer(
            path,
            self.output,
            form,
            writer.diff_id,
            writer.blob_digest,
            writer.uncompressed_size,
            writer.blob_size,
            self.compression,
            None if recorded is None else recorded == str(writer.diff_id),
            dict(self.notices.counts),
            list(self.notices.listed),
        )


class _Options(TypedDict):
    hard_links: bool
    notices: Notices


def _no_original(folder: Path) -> NotFoundError:
    return NotFoundError(
        "the layer did not come from a tar, so there is no original of it",
        layer=str(folder),
        hint="write a new tar: --as reference, or --as faithful",
    )


def _is_windows_folder(path: Path) -> bool:
    """Whether it is the folder of a layer as hcsshim makes one, and not one of ours."""
    return not is_layer_folder(path) and (path / LAYER_MANIFEST).is_file()


def _layer_in(folder: Path, layer: int | None) -> Path:
    """The layer folder that is meant: ``folder`` itself, or number ``layer`` of what is in it or below it."""
    if UnpackedImage.is_one(folder):
        nearest_first = UnpackedImage.load(folder).layers
        if layer is None and len(nearest_first) > 1:
            raise UsageError(
                f"{folder} is an unpacked image of {len(nearest_first)} layers",
                hint=f"say which one: --layer 0, the base, to --layer {len(nearest_first) - 1}, the top",
            )
    elif layer is None:
        refuse_unfinished(folder)
        return folder
    else:
        nearest_first = (folder, *find_parents(folder))
    return nearest_first[::-1][layer_place(-1 if layer is None else layer, len(nearest_first))]


@contextmanager
def open_output(output: str, *, sync: bool = True) -> Iterator[FileIO]:
    """The file to write: standard output, a device or pipe as it is, or a new file that takes its name at the end.

    What ``sync`` does: :func:`wclayer.image.whole.new_file`.
    """
    if output == "-":
        with os.fdopen(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as file:
            yield file
        return
    path = Path(output)
    if not path.exists() or path.is_file():
        with new_file(path, sync=sync) as file:
            yield file
        return
    try:
        with path.open("wb", buffering=0) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write {output}: {error.strerror}") from error
