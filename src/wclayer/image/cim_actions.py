"""What is done to images of which nothing is listed: verifying, telling the size, taking apart, destroying."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from wclayer.errors import StoreError
from wclayer.formats.cim.block import refuse_block
from wclayer.formats.cim.dump import dump
from wclayer.formats.cim.files import cim_usage, destroy_cim, forks_of
from wclayer.formats.cim.layer_folder import cim_layer_usage, destroy_cim_layer
from wclayer.formats.cim.layer_names import CimLayer
from wclayer.formats.cim.layer_reader import CimLayerReader
from wclayer.formats.cim.verify import verify_cim
from wclayer.formats.shaping import for_tar
from wclayer.formats.tar import TarLayerWriter
from wclayer.image.cim_listing import is_block_image, open_cim
from wclayer.image.cim_places import find_cims, layer_folder_of
from wclayer.image.exporting import compression_of, open_output
from wclayer.image.extract import Extracted, extract_found
from wclayer.image.target import open_view
from wclayer.model import Notices, copy_layer
from wclayer.oci import CompressedWriter

__all__ = [
    "CimFinding",
    "CimUsage",
    "check_cim",
    "destroy",
    "dump_cim",
    "extract_cim",
    "extract_cim_tar",
    "images_at",
    "usage_of",
]


class CimFinding(NamedTuple):
    """Something wrong with an image: ``severity`` is ``error``, ``warning`` or ``note``, ``path`` that in the image."""

    severity: str
    code: str
    path: str
    detail: str


@dataclass(frozen=True, slots=True)
class CimUsage:
    """Bytes of an image: its own regions, and together with the folder beside it."""

    path: Path
    usage: int
    layer_usage: int


def check_cim(path: Path, *, version_1: bool = False) -> list[CimFinding]:
    """All that is wrong with the image ``path``. Raises NotFoundError, StoreError, UnsupportedError."""
    if is_block_image(path):
        raise refuse_block("read", path)
    return [CimFinding(*finding) for finding in verify_cim(path, version_1=version_1)]


def images_at(paths: Iterable[Path]) -> list[Path]:
    """The images that are named: files as they are, of a folder those of its one image, base first.

    Raises NotFoundError and UsageError for a folder without an image, or with several.
    """
    return [cim for path in paths for cim in (_stacked(path) if path.is_dir() else [path])]


def _stacked(folder: Path) -> list[Path]:
    return [layer.cim for layer in find_cims(folder).layers]


def dump_cim(path: Path, *, contents: bool = True, version_1: bool = False) -> Iterator[str]:
    """A JSON document for each name in the image; without ``contents`` no data is read."""
    with open_cim(path, version_1=version_1) as image:
        for line in dump(image, contents=contents):
            yield json.dumps(line)


def usage_of(path: Path) -> CimUsage:
    """How many bytes the image ``path`` takes, without what it shares with those it is a fork of."""
    layer = CimLayer(path, layer_folder_of(path))
    return CimUsage(path, cim_usage(path), cim_layer_usage(layer))


def destroy(path: Path, *, folder: bool = False, force: bool = False) -> list[Path]:
    """Remove the image ``path`` with its own regions, with ``folder`` also what lies beside it; returns what was.

    Raises StoreError when other images are forks of it, unless ``force``: those cannot be read any more then.
    """
    if folder:
        layer = CimLayer(path, layer_folder_of(path))
        there = layer.folder.exists()
        destroy_cim_layer(layer, force=force)
        return [path, layer.folder] if there else [path]
    forks = [] if force else forks_of(path)
    if forks:
        names = ", ".join(fork.name for fork in forks)
        raise StoreError(f"{path} has forks that cannot be read without it: {names}", hint="--force destroys it anyhow")
    return destroy_cim(path)


def extract_cim(
    path: Path, paths: Sequence[str], output: Path, *, streams: bool = False, force: bool = False
) -> Extracted:
    """Write what is at ``paths`` of the image, or all of it, to the folder ``output``, under its paths in the image."""
    with open_view(f"cim:{path}") as view:
        names = ["/".join(part for part in one.replace("\\", "/").split("/") if part) for one in paths]
        roots = [view.find(name, follow=False) for name in names] if names else view.children(view.root)
        return extract_found(view, roots, output, streams=streams, force=force, layer_paths=True)


def extract_cim_tar(path: Path, output: str, *, strict: bool = False) -> tuple[str, Notices]:
    """Write all that is in the image as a layer tar that loses nothing (``faithful``); returns its DiffID.

    ``output`` is a path or ``-``; its name says the compression. Raises FormatError for what no layer tar can hold.
    """
    notices = Notices(strict=strict)
    with open_cim(path) as image:
        cim = image.path
    with open_output(output) as file, CompressedWriter(file, compression_of(output), apart=True) as writer:
        tar = TarLayerWriter(writer.write, policy="faithful", notices=notices)
        copy_layer(for_tar(CimLayerReader(cim, whole=True, processed=True), "faithful", notices), tar)
        tar.commit()
    return str(writer.diff_id), notices
