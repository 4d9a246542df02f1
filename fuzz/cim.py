"""Mutated CIM images: whatever is done to the bytes, an error of wclayer or a result comes out, soon, in little memory.

Not part of the tests, but for a short run. To go through a hundred thousand::

    python fuzz/cim.py --count 100000 --seed 1

Sound images of every structure (both versions, an image on a parent, PE mappings, both layouts of stream tables) are
damaged: bits, words, pointers that point at other objects, lengths of interest, pieces moved and cut off. Then all that
there is is read, looked up, dumped and checked, with the address space limited. Beyond "no other exception" this holds:
what the check calls free of errors is read whole, and what is read comes out alike through a mapped file and through
one that cannot be mapped. A failing image is kept in the folder of ``--keep``; ``python fuzz/cim.py DIR`` reads it
again.
"""

from __future__ import annotations

import random
import shutil
import struct
import sys
import uuid
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from unittest.mock import patch

from driver import Subject, drive

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.formats.cim.images import (  # noqa: E402
    DATA,
    GUID,
    Builder,
    Node,
    Stream,
    ea_list,
    file,
    folder,
    reparse_buffer,
    rich,
)
from wclayer.errors import WclayerError  # noqa: E402
from wclayer.formats.cim.dump import dump  # noqa: E402
from wclayer.formats.cim.reader import CimImage  # noqa: E402
from wclayer.formats.cim.verify import verify_cim  # noqa: E402

PARENT = uuid.UUID("99999999-8888-4777-8666-555555555555")
INTERESTING = (
    0,
    1,
    2,
    3,
    7,
    8,
    0x28,
    0x40,
    0x60,
    88,
    96,
    104,
    255,
    256,
    1023,
    1024,
    1025,
    0xFFFF,
    0x7FFFFFFF,
    0xFFFFFFFF,
)

Image = dict[str, bytes]


def sound_images(directory: Path) -> list[Image]:
    """Images small enough to be hit where it hurts, as names and contents of files."""
    tag, link = reparse_buffer()

    def small() -> Node:
        shared = file(b"two names")
        pe = Stream(b"H" * 512 + b"T" * 64, mappings=((0, 0), (512, 512)), expanded=b"H" * 512 + bytes(512) + b"T" * 64)
        inner = folder({"x": file(b"x"), "Y": shared, "z": folder({"deep": file(b"deep")})})
        return folder(
            {
                "a": file(b"a" * 50, ea=ea_list((b"N", b"v"), (b"M", b"w"))),
                "d": inner,
                "l": file(reparse=link, tag=tag),
                "p": Node(pe),
                "s": file(b"s", streams={"one": Stream(b"1"), "two": Stream(sparse_size=9)}),
                "t": folder(streams={"dir": Stream(b"stream")}, counted=True),
                "u": shared,
            }
        )

    made: list[Image] = []

    def keep(name: str, builder: Builder, root: Node) -> None:
        place = directory / name
        place.mkdir(exist_ok=True)
        builder.build(place, root)
        made.append({found.name: found.read_bytes() for found in place.iterdir()})

    keep("v3", Builder(), small())
    keep("v2", Builder(major=2, data_kind=DATA), small())
    keep("long", Builder(entry_size=104, region_order=False), small())
    keep("rich", Builder(), rich(30))
    keep("child", Builder(guid=PARENT), small())
    made.pop()
    keep("child", Builder(parents=((PARENT, 2),)), small())
    keep("tables", Builder(), folder({f"{number}": file() for number in range(1030)}))
    return made


def mutated(image: Image, source: random.Random) -> Image:
    """``image`` with a few things changed, most of them where they are used: the image file and the metadata."""
    data = {name: bytearray(content) for name, content in image.items()}
    metadata = next(name for name, content in data.items() if name.startswith(f"region_{GUID}") and content[34] == 0)
    small = [name for name in data if name == "v.cim"] + [name for name in data if name.startswith("region")]
    # The upper-case table is a large part of the metadata and says little.
    table = bytes(data[metadata]).find(struct.pack("<4H", 0, 1, 2, 3))
    live = [*range(40, table, 4), *range(table + 0x20000, len(data[metadata].rstrip(b"\0")) + 8, 4)]
    for _ in range(source.choice((1, 1, 1, 2, 3, 6))):
        kind = source.randrange(9)
        content, at = data[metadata], source.choice(live)
        if kind == 0:
            content[at + source.randrange(4)] ^= 1 << source.randrange(8)
        elif kind == 1:
            struct.pack_into("<I", content, at, source.choice(INTERESTING))
        elif kind == 2:
            struct.pack_into("<H", content, at + source.choice((0, 2)), source.choice(INTERESTING) & 0xFFFF)
        elif kind == 3:
            region = source.choice((0, 0, 0, 1, 2, 3, 4)) << 48
            struct.pack_into("<Q", content, at & ~7, region | source.choice(live))
        elif kind == 4:
            other, length = source.choice(live), source.randrange(4, 120)
            content[at : at + length] = content[other : other + length]
        elif kind == 5:
            content = data[source.choice(small)]
            content[source.randrange(min(96, len(content)))] ^= 1 << source.randrange(8)
        elif kind == 6:
            struct.pack_into("<I", content, at, source.randrange(64))
        elif kind == 7:
            struct.pack_into("<Q", content, at & ~7, source.choice(INTERESTING) | source.randrange(4) << 48)
        elif source.random() < 0.2:
            content = data[source.choice(small)]
            del content[source.randrange(len(content)) :]
            break
    return {name: bytes(content) for name, content in data.items()}


def one_image(path: Path) -> Counter[str]:
    """Do with an image all that can be done; returns how often what came of it."""
    outcomes: Counter[str] = Counter()

    def everything() -> list[tuple[str, bytes]]:
        found = []
        with CimImage.open(path) as image:
            for each in image.walk():
                image.lookup(each.path)
                _ = each.metadata
                if not each.is_directory:
                    found.append((each.path, each.open().read(1 << 16) or b""))
                found += [(stream.path, stream.open().read(1 << 16) or b"") for stream in each.streams]
        return found

    def attempt(name: str, unmapped: bool) -> list[tuple[str, bytes]] | None:
        try:
            with patch("wclayer.formats.cim.regions.mmap.mmap", side_effect=OSError) if unmapped else nullcontext():
                found = everything()
        except WclayerError as error:
            outcomes[f"{name}: {type(error).__name__}"] += 1
            return None
        outcomes[f"{name}: result"] += 1
        return found

    mapped = attempt("read", unmapped=False)
    if attempt("read unmapped", unmapped=True) != mapped:
        raise AssertionError("mapped and unmapped differ")
    try:
        with CimImage.open(path) as image:
            for number, _ in enumerate(dump(image, contents=False)):
                if number > 5000:
                    break
    except WclayerError as error:
        outcomes[f"dump: {type(error).__name__}"] += 1
    try:
        errors = [finding for finding in verify_cim(path) if finding.severity == "error"]
    except WclayerError as error:
        outcomes[f"verify: {type(error).__name__}"] += 1
    else:
        outcomes["verify: errors" if errors else "verify: no errors"] += 1
        if not errors and mapped is None:
            raise AssertionError("the check finds no error in what cannot be read")
    return outcomes


class Images(Subject[Path]):
    """A mutated image in a folder, always the same one."""

    name = "image"
    memory = 512 << 20
    kept = "the one image v.cim in this folder"

    def prepare(self, scratch: Path) -> None:
        self.sound = sound_images(scratch)
        self.place = scratch / "image"

    def mutated(self, source: random.Random) -> Path:
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir()
        for name, content in mutated(source.choice(self.sound), source).items():
            (self.place / name).write_bytes(content)
        return self.place

    def outcomes(self, case: Path, source: random.Random) -> Counter[str]:  # noqa: ARG002
        return one_image(case / "v.cim")

    def keep(self, case: Path, folder: Path, number: str) -> None:
        shutil.copytree(case, folder / f"cim-{number}", dirs_exist_ok=True)

    def again(self, path: Path, source: random.Random) -> Counter[str]:  # noqa: ARG002
        return one_image(path / "v.cim")


if __name__ == "__main__":
    sys.exit(drive(Images(), __doc__))
