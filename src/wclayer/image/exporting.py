"""A layer folder becomes a layer tar again: the one it came from, byte for byte, or the one hcsshim would write."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal, TypeAlias

from wclayer.errors import NotFoundError, StoreError, UnsupportedError, UsageError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, write_original
from wclayer.formats.tar import TarLayerWriter
from wclayer.image.chain import find_parents
from wclayer.image.target import layer_place
from wclayer.image.unpacked import UnpackedImage, refuse_unfinished
from wclayer.image.whole import new_file
from wclayer.model import Notice, Notices, copy_layer
from wclayer.oci import CompressedWriter, Digest

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
    folder: Path,
    output: str,
    *,
    layer: int | None = None,
    form: ExportForm | None = None,
    compression: Literal["gzip", "zstd", "none"] | None = None,
    level: int | None = None,
) -> ExportedLayer:
    """Write the layer in ``folder`` to ``output``, a path or ``-`` for standard output.

    Of an unpacked image, or a layer folder with parents, ``layer`` says which one, 0 being the base and -1 the top.
    ``form`` None is ``original`` where the layer came from a tar, else ``reference``. The file appears when it is
    complete; one that was there is replaced then. Raises NotFoundError for an ``original`` of a layer that did not come
    from a tar, IntegrityError for a layer whose files were changed, UnsupportedError for what no layer tar can hold.
    """
    folder = _layer_in(folder, layer)
    compression = compression or compression_of(output)
    notices = Notices()
    with LayerFolder(folder) as opened:
        form = form or ("original" if opened.header_record else "reference")
        if form == "original" and opened.header_record is None:
            raise NotFoundError(
                "the layer did not come from a tar, so there is no original of it",
                layer=str(folder),
                hint="write a new tar: --as reference, or --as faithful",
            )
        with open_output(output) as file:
            writer = CompressedWriter(file, compression, level)
            try:
                if form == "original":
                    write_original(opened, writer.write)
                else:
                    tar = TarLayerWriter(writer.write, policy=form, notices=notices)
                    copy_layer(LayerFolderReader(opened), tar)
                    tar.commit()
            except UnsupportedError as error:
                if form == "reference":
                    error.hint = error.hint or "write it with --as faithful"
                raise error.locate(layer=str(folder)) from None
            except WclayerError as error:
                raise error.locate(layer=str(folder)) from None
            writer.finish()
        recorded = opened.facts.get("diff_id")
    return ExportedLayer(
        folder,
        output,
        form,
        writer.diff_id,
        writer.blob_digest,
        writer.uncompressed_size,
        writer.blob_size,
        compression,
        None if recorded is None else recorded == str(writer.diff_id),
        dict(notices.counts),
        list(notices.listed),
    )


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
def open_output(output: str) -> Iterator[FileIO]:
    """The file to write: standard output, a device or pipe as it is, or a new file that takes its name at the end."""
    if output == "-":
        with os.fdopen(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as file:
            yield file
        return
    path = Path(output)
    if not path.exists() or path.is_file():
        with new_file(path) as file:
            yield file
        return
    try:
        with path.open("wb", buffering=0) as file:
            yield file
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write {output}: {error.strerror}") from error
