"""Deterministic Windows layers to measure with: PE-like files, full NTFS metadata, hard links, deletions.

The same options and the same content give the same tar on every machine, whatever else runs there. A corpus is a
folder: an OCI layout with one image, tagged ``bench``, of one or more layers (``layer-0``, … alone, where there are
several), ``corpus.json`` with what is in it, and ``floor.txt``, the same files as a list for ``bench/floor.c``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from bench.content import Content, synthetic, windows_wheels
from bench.tree import Node, Shape, nodes
from wclayer.formats.tar import TarLayerWriter
from wclayer.model import AlternateStream, Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.ea import ExtendedAttribute
from wclayer.ntfs.reparse import build_link
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build
from wclayer.oci import Digest, LayoutWriter
from wclayer.oci.compressed_writer import CompressedWriter
from wclayer.oci.descriptors import Descriptor, Platform
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_LAYER, Compression

__all__ = ["WHEELS", "Shape", "items", "make_corpus", "make_layout"]

WHEELS = Path(__file__).parent / "out" / "wheels"
_EPOCH = 132_000_000_000_000_000
_TRUSTED_INSTALLER = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464"
_DESCRIPTORS = [
    build(from_sddl(text))
    for text in (
        *(
            f"O:{owner}G:{owner}D:PAI(A;;FA;;;{owner})(A;;0x1200a9;;;BA)(A;;0x1200a9;;;SY)(A;;0x1200a9;;;BU)"
            f"(A;;0x1200a9;;;AC)(A;;0x{0x1200A9 + extra:x};;;S-1-15-2-2)"
            for owner in (_TRUSTED_INSTALLER, "SY", "BA", "LS")
            for extra in range(4)
        ),
        *(
            f"O:SYG:SYD:AI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;S-1-5-80-{n}-2-3-4-5)(A;OICI;0x1200a9;;;BU)"
            for n in range(48)
        ),
    )
]
_CATALOGUE = ExtendedAttribute(b"$CI.CATALOGHINT", b"\x01\0\x1c\0Package_1_for_KB5000000~31bf.cat")
_PURGE = ExtendedAttribute(b"$KERNEL.PURGE.ESBCACHE", bytes(range(64)))
_PLATFORM = Platform("windows", "amd64", os_version="10.0.20348.1")
_FLOOR = {"folder": "d", "file": "f", "link": "l"}
_FOLDER, _REPARSE_POINT, _ARCHIVE, _READ_ONLY = 0x10, 0x400, 0x20, 1


def items(shape: Shape, content: Content, found: Iterable[Node] | None = None) -> Iterator[LayerItem]:
    """The layer of this shape; ``found`` are its nodes, where somebody has them already."""
    for node in nodes(shape) if found is None else found:
        number = node.number
        if node.kind == "folder":
            yield Entry(node.path, _metadata(number, _FOLDER), is_directory=True)
        elif node.kind == "link":
            yield HardLink(node.path, node.target, _metadata(number, _ARCHIVE))
        elif node.kind == "deletion":
            yield Tombstone(node.path)
        elif node.kind == "reparse":
            metadata = _metadata(number, _REPARSE_POINT | (number % 2 == 0) * _FOLDER)
            metadata.reparse = build_link(node.target, mount_point=number % 2 == 0)
            yield Entry(node.path, metadata, is_directory=number % 2 == 0)
        else:
            source = content.source(number, node.size, program=node.program)
            yield Entry(node.path, _metadata(number, _ARCHIVE), data=Stream(node.size, source))
            if number % 500 == 250:
                zone = b"[ZoneTransfer]\r\nZoneId=3\r\n"
                yield AlternateStream(node.path, ":Zone.Identifier:$DATA", Stream.from_bytes(zone))


def _metadata(number: int, attributes: int) -> Metadata:
    ticks = _EPOCH + number * 7_919_033_017 % 700_000_000_000_000
    if number % 3 == 0:
        ticks -= ticks % 10_000_000
    mixed = number * 2_654_435_761 % 1000
    descriptor = _DESCRIPTORS[mixed % 16 if mixed < 800 else 16 + mixed % 48]
    extended: tuple[ExtendedAttribute, ...] = ()
    if attributes == _ARCHIVE and number % 3 == 1:
        extended = (_CATALOGUE, _PURGE) if number % 2 else (_CATALOGUE,)
        attributes |= _READ_ONLY * (number % 7 == 0)
    return Metadata(attributes, ticks, ticks + 13, ticks + 29, ticks + 31, descriptor, extended)


def make_layout(
    folder: Path, files: int, size: int, compression: Compression, *, seed: int = 1, content: Content | None = None
) -> Digest:
    """An OCI layout with an image of one layer, tagged ``bench``; synthetic by default. Returns the DiffID."""
    facts = make_corpus(folder, Shape(files, size, seed), compression, content or synthetic(seed))
    return Digest.parse(facts["layers"][0]["diff_id"])


def make_corpus(
    folder: Path, shape: Shape, compression: Compression, content: Content, layers: int = 1
) -> dict[str, Any]:
    """Make the corpus ``folder`` and return what is in its ``corpus.json``.

    Several ``layers`` share the files and the bytes equally, and differ in their seeds. gzip is what Go's and zlib's
    default makes (level 6), as in images that are pulled; zstd is level 3.
    """
    layout = LayoutWriter(folder)
    count: Counter[str] = Counter()
    blobs: list[tuple[Descriptor, Digest]] = []
    for number in range(layers):
        part = Shape(shape.files // layers, shape.size // layers, shape.seed + number, shape.spread)
        blobs.append(_add_layer(layout, part, compression, content, count))
        if layers > 1:
            _add_image(layout, f"layer-{number}", blobs[-1:])
    _add_image(layout, "bench", blobs)
    facts: dict[str, Any] = {
        "files": shape.files,
        "bytes": shape.size,
        "seed": shape.seed,
        "spread": shape.spread,
        "content": content.name,
        "compression": compression,
        "entries": count.total() - count["bytes"] - count["blob"],
        "data": count["bytes"],
        "blob": count["blob"],
        "names": {kind: count[kind] for kind in ("folder", "file", "link", "reparse", "deletion")},
        "layers": [{"digest": str(blob.digest), "diff_id": str(diff_id)} for blob, diff_id in blobs],
    }
    (folder / "corpus.json").write_text(json.dumps(facts, indent=1) + "\n")
    return facts


def _add_layer(
    layout: LayoutWriter, shape: Shape, compression: Compression, content: Content, count: Counter[str]
) -> tuple[Descriptor, Digest]:
    found = list(nodes(shape))
    for node in found:
        count[node.kind] += 1
        count["bytes"] += node.size
    with (layout.folder / "floor.txt").open("a", encoding="utf-8") as file:
        for node in found:
            if node.kind in _FLOOR:
                file.write(f"{_FLOOR[node.kind]}\t{node.size}\t{node.path}\t{node.target}\n")
    path = layout.folder / "blob"
    with path.open("wb") as blob:
        writer = CompressedWriter(blob, compression, isal=False)
        with TarLayerWriter(writer.write) as tar:
            for item in items(shape, content, found):
                tar.write(item)
        writer.finish()
    media_type = OCI_LAYER if compression == "none" else f"{OCI_LAYER}+{compression}"
    descriptor = layout.put_blob(FileIO(path), media_type)
    path.unlink()
    count["blob"] += descriptor.size
    return descriptor, writer.diff_id


def _add_image(layout: LayoutWriter, name: str, blobs: list[tuple[Descriptor, Digest]]) -> None:
    config = layout.put_bytes(encode_config(_PLATFORM, [diff_id for _, diff_id in blobs]), OCI_CONFIG)
    manifest = encode_manifest(config, [descriptor for descriptor, _ in blobs])
    layout.put_manifest(manifest, name=name, platform=_PLATFORM)


def main() -> None:
    """``python -m bench.corpus DIR``: make one."""
    parser = argparse.ArgumentParser(prog="python -m bench.corpus", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=20_000, help="names of files, hard links included")
    parser.add_argument("--bytes", type=int, default=1_000_000_000, help="of data in all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--spread", type=float, default=2.0, help="of the sizes: deviation of their logarithm")
    parser.add_argument("--layers", type=int, default=1)
    parser.add_argument("--compression", choices=("gzip", "zstd", "none"), default="gzip")
    parser.add_argument("--content", choices=("wheels", "synthetic"), default="wheels")
    options = parser.parse_args()
    content = windows_wheels(WHEELS) if options.content == "wheels" else None
    shape = Shape(options.files, options.bytes, options.seed, options.spread)
    make_corpus(options.folder, shape, options.compression, content or synthetic(options.seed), options.layers)


if __name__ == "__main__":
    main()
