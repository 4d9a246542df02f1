"""A layer folder becomes a layer tar again: the one it came from, byte for byte, or the one hcsshim would write."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Literal, TypeAlias

from wclayer.errors import NotFoundError, StoreError, WclayerError
from wclayer.formats.folder import LayerFolder, LayerFolderReader, write_original
from wclayer.formats.tar import TarLayerWriter
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import copy_layer
from wclayer.oci import CompressedWriter, Digest

__all__ = ["ExportForm", "ExportedLayer", "compression_of", "export_layer", "open_output"]

ExportForm: TypeAlias = Literal["original", "reference", "faithful"]


@dataclass(frozen=True, slots=True)
class ExportedLayer:
    """What was written. ``size`` is that of the tar, ``blob_size`` that of the file, in bytes.

    ``same_diff_id`` tells whether the tar is the one that the layer came from; None when that is not known.
    """

    output: str
    form: ExportForm
    diff_id: Digest
    blob_digest: Digest
    size: int
    blob_size: int
    compression: str
    same_diff_id: bool | None


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
    form: ExportForm | None = None,
    compression: Literal["gzip", "zstd", "none"] | None = None,
    level: int | None = None,
) -> ExportedLayer:
    """Write the layer in ``folder`` to ``output``, a path or ``-`` for standard output.

    ``form`` None is ``original`` where the layer came from a tar, else ``reference``. The file appears when it is
    complete; one that was there is replaced then. Raises NotFoundError for an ``original`` of a layer that did not come
    from a tar, IntegrityError for a layer whose files were changed.
    """
    folder = _layer_in(folder)
    compression = compression or compression_of(output)
    with LayerFolder(folder) as layer:
        form = form or ("original" if layer.header_record else "reference")
        with open_output(output) as file:
            writer = CompressedWriter(file, compression, level)
            try:
                if form == "original":
                    write_original(layer, writer.write)
                else:
                    tar = TarLayerWriter(writer.write, policy=form)
                    copy_layer(LayerFolderReader(layer), tar)
                    tar.commit()
            except WclayerError as error:
                raise error.locate(layer=str(folder)) from None
            writer.finish()
        recorded = layer.facts.get("diff_id")
    return ExportedLayer(
        output,
        form,
        writer.diff_id,
        writer.blob_digest,
        writer.uncompressed_size,
        writer.blob_size,
        compression,
        None if recorded is None else recorded == str(writer.diff_id),
    )


def _layer_in(folder: Path) -> Path:
    """``folder`` itself, or the only layer of the unpacked image in it."""
    if UnpackedImage.is_one(folder):
        layers = UnpackedImage.load(folder).layers
        if len(layers) != 1:
            raise NotFoundError(
                f"{folder} is an unpacked image of {len(layers)} layers", hint=f"name one of them, such as {layers[0]}"
            )
        return layers[0]
    return folder


@contextmanager
def open_output(output: str) -> Iterator[FileIO]:
    """The file to write: standard output, a device or pipe as it is, or a new file that takes its name at the end."""
    if output == "-":
        with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as file:
            yield file
        return
    path = Path(output)
    try:
        if path.exists() and not path.is_file():
            with path.open("wb", buffering=0) as file:
                yield file
            return
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            with temporary.open("xb", buffering=0) as file:
                yield file
                os.fsync(file.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"cannot write {output}: {error.strerror}") from error
