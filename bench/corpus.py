"""A deterministic layer to measure with: folders, PE-like files, full NTFS metadata, hard links, deletions.

The same options give the same tar on every machine. Nothing in it is anybody's: content is made of a fixed
pseudo-random stream in which code-like runs repeat, so that it compresses about as well as programs do.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from wclayer.formats.tar import TarLayerWriter
from wclayer.model import Entry, HardLink, LayerItem, Metadata, Stream, Tombstone
from wclayer.ntfs.sddl import from_sddl
from wclayer.ntfs.security import build
from wclayer.oci import Digest, LayoutWriter
from wclayer.oci.descriptors import Platform
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, Compression

__all__ = ["make_layout"]

_EPOCH = 132_000_000_000_000_000
_DESCRIPTORS = [
    build(from_sddl(f"O:BAG:SYD:(A;;FA;;;BA)(A;;FA;;;SY)(A;;0x{0x1200A9 + number:x};;;BU)")) for number in range(32)
]
_POOL_SIZE = 8 << 20


def _pool(seed: int) -> bytes:
    """Bytes of which two fifths are noise and the rest repeats, as in compiled programs."""
    noise = random.Random(seed)
    words = [noise.randbytes(noise.randint(4, 40)) for _ in range(4096)]
    parts: list[bytes] = []
    size = 0
    while size < _POOL_SIZE:
        part = noise.randbytes(48) if noise.random() < 0.4 else noise.choice(words) + noise.choice(words)
        parts.append(part)
        size += len(part)
    return b"".join(parts)[:_POOL_SIZE]


def _metadata(number: int, attributes: int) -> Metadata:
    ticks = _EPOCH + number * 7_919_033
    return Metadata(
        attributes, ticks, ticks + 13, ticks + 29, ticks + 31, security_descriptor=_DESCRIPTORS[number % 32]
    )


def items(files: int, size: int, seed: int = 1) -> Iterator[LayerItem]:
    """A layer of about ``files`` files and ``size`` bytes; a fifth as many hard links, some folders and deletions."""
    pool = _pool(seed)
    chance = random.Random(seed)
    weights = [chance.lognormvariate(0, 1.6) for _ in range(files)]
    scale = size / sum(weights)
    for name in ("Files", "Hives", "Files/Windows"):
        yield Entry(name, _metadata(0, 0x10), is_directory=True)
    folder = ""
    names: list[str] = []
    for number in range(files):
        if number % 8 == 0:
            folder = f"Files/Windows/component-{number // 512:04d}/amd64_{number // 8:06x}"
            if number % 512 == 0:
                yield Entry(folder.rpartition("/")[0], _metadata(number, 0x10), is_directory=True)
            yield Entry(folder, _metadata(number, 0x10), is_directory=True)
        name = f"{folder}/module-{number:06d}.dll"
        yield Entry(name, _metadata(number, 0x20), data=_content(pool, number, int(weights[number] * scale)))
        names.append(name)
        if number % 5 == 4:
            target = names[chance.randrange(len(names))]
            yield HardLink(f"{folder}/link-{number:06d}.dll", target, _metadata(number, 0x20))
        if number % 1000 == 999:
            yield Tombstone(f"{folder}/gone-{number}.dll")


def _content(pool: bytes, number: int, size: int) -> Stream:
    start = number * 104_729 % _POOL_SIZE

    def source(_stored: int) -> Iterator[memoryview]:
        view = memoryview(pool)
        at, left = start, size
        while left:
            piece = view[at : at + left]
            yield piece
            left -= len(piece)
            at = 0

    return Stream(size, source)


def make_layout(folder: Path, files: int, size: int, compression: Compression) -> Digest:
    """An OCI layout with one image of one such layer, tagged ``bench``; returns the DiffID."""
    layout = LayoutWriter(folder)
    with layout.new_layer(compression) as sink, TarLayerWriter(sink.write) as tar:
        for item in items(files, size):
            tar.write(item)
    platform = Platform("windows", "amd64", os_version="10.0.20348.1")
    config = layout.put_bytes(encode_config(platform, [sink.diff_id]), OCI_CONFIG)
    layout.put_manifest(encode_manifest(config, [sink.descriptor]), name="bench", platform=platform)
    return sink.diff_id
