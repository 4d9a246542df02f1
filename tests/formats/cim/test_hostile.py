"""Whatever is done to an image: the reader refuses it by name or reads on, the check says what is wrong, and soon.

Each mutation is one place of a sound image overwritten. The check must tell it by its code, and reading everything
must either raise one of our errors or come to an end.
"""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.cim.images import (
    GUID,
    Builder,
    Node,
    Stream,
    ea_list,
    file,
    folder,
    reparse_buffer,
)
from wclayer.errors import WclayerError
from wclayer.formats.cim.dump import dump
from wclayer.formats.cim.findings import CODES
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.structures import PE_IMAGE
from wclayer.formats.cim.verify import verify_cim

FUZZ = Path(__file__).parents[3] / "fuzz" / "cim.py"
TAG, LINK = reparse_buffer()
# Fields of a file record.
FLAGS, EA_LENGTH, TAG_AT, TIME, DATA_AT, LENGTH, SD, EA, REPARSE, STREAMS, PARENT, BASE, SPARE = (
    0, 2, 4, 8, 40, 48, 56, 64, 72, 80, 88, 92, 94,
)  # fmt: skip


def tree() -> Node:
    """Ids: 1 root, 2 a, 3 d, 4 d/in, 5 d/two, 6 f, 7 l, 8 pe, 9 s, 10 z."""
    expanded = b"H" * 512 + bytes(3584) + b"T" * 1024
    pe = Stream(b"H" * 512 + b"T" * 1024, mappings=((0, 0), (512, 3584)), expanded=expanded)
    return folder(
        {
            "a": file(b"aaaa", ea=ea_list((b"ONE", b"1"), (b"TWO", b"2"))),
            "d": folder({"in": file(b"inner"), "two": folder()}),
            "f": file(b"ffffffff"),
            "l": file(reparse=LINK, tag=TAG),
            "pe": Node(pe),
            "s": file(b"x", streams={"one": Stream(b"1"), "two": Stream(b"2")}),
            "z": Node(Stream(sparse_size=5)),
        }
    )


class Sound:
    """A sound image and where its parts lie."""

    def __init__(self, directory: Path, root: Node | None = None, **options: object) -> None:
        self.builder = Builder(**options)  # type: ignore[arg-type]
        self.path = self.builder.build(directory, root or tree())
        self.directory = directory

    def region(self, number: int = 0) -> Path:
        return self.directory / f"region_{self.builder.guid}_{number}"

    def put(self, place: int | Path, data: bytes, at: int = 0) -> None:
        """Overwrite: in a file, or where a pointer points to."""
        path = place if isinstance(place, Path) else self.region(place >> 48)
        position = at if isinstance(place, Path) else (place & (1 << 48) - 1) + at
        with path.open("r+b") as target:
            target.seek(position)
            target.write(data)

    def record(self, file_id: int, at: int, form: str, value: int) -> None:
        self.put(self.builder.objects["file table 0"], struct.pack(f"<{form}", value), 96 * (file_id - 1) + at)

    def table(self, file_id: int, at: int, form: str, value: int) -> None:
        self.put(self.builder.objects[f"table {file_id}"], struct.pack(f"<{form}", value), at)

    def file_table(self, at: int, form: str, value: int) -> None:
        self.put(self.builder.objects["tables"], struct.pack(f"<{form}", value), at)

    def filesystem(self, at: int, form: str, value: int) -> None:
        self.put(self.builder.objects["filesystem"], struct.pack(f"<{form}", value), at)

    def get(self, file_id: int, at: int) -> int:
        """The pointer at byte ``at`` of a record."""
        data = self.region().read_bytes()
        value: int = struct.unpack_from("<Q", data, self.builder.objects["file table 0"] + 96 * (file_id - 1) + at)[0]
        return value


def counted(sound: Sound, file_id: int, field: int, data: bytes) -> None:
    """Overwrite what a pointer of a record points to, behind its number."""
    sound.put(sound.get(file_id, field), data, 2)


def truncate(path: Path, size: int) -> None:
    os.truncate(path, size)


NOWHERE = 1 << 40  # in region 0, far behind its end

# What is done, and the code that the check must give.
MUTATIONS: dict[str, tuple[Callable[[Sound], object], str]] = {
    "magic": (lambda s: s.put(s.path, b"cimfile1"), "header"),
    "type": (lambda s: s.put(s.path, b"\1", 12), "header"),
    "version": (lambda s: s.put(s.path, b"\7", 16), "unsupported"),
    "image cut off": (lambda s: truncate(s.path, 71), "header"),
    "parents cut off": (lambda s: s.put(s.path, b"\1", 70), "header"),
    "no regions": (lambda s: s.put(s.path, b"\0\0", 48), "header"),
    "more regions than there are": (lambda s: s.put(s.path, b"\3\0", 48), "region-missing"),
    "other guid": (lambda s: s.put(s.path, b"\0", 32), "region-missing"),
    "file system nowhere": (lambda s: s.put(s.path, bytes(8), 56), "offset"),
    "file system in no region": (lambda s: s.put(s.path, b"\2\0", 62), "offset"),
    "file system behind the end": (lambda s: s.put(s.path, b"\xff\xff", 60), "offset"),
    "region missing": (lambda s: s.region(1).unlink(), "region-missing"),
    "region magic": (lambda s: s.put(s.region(1), b"x"), "header"),
    "region type": (lambda s: s.put(s.region(1), b"\2", 12), "header"),
    "region version": (lambda s: s.put(s.region(1), b"\7", 16), "unsupported"),
    "region empty": (lambda s: truncate(s.region(1), 0), "header"),
    "region cut off": (lambda s: truncate(s.region(1), 41), "offset"),
    "metadata cut off": (lambda s: truncate(s.region(0), 4096), "offset"),
    "upper-case table nowhere": (lambda s: s.filesystem(0, "Q", 0), "offset"),
    "upper-case table behind the end": (lambda s: s.filesystem(0, "Q", NOWHERE), "offset"),
    "file tables nowhere": (lambda s: s.filesystem(8, "Q", 0), "offset"),
    "file tables without end": (lambda s: s.filesystem(16, "I", 0xFFFFFFFF), "file-table"),
    "no file tables": (lambda s: s.filesystem(16, "I", 0), "file-table"),
    "root 0": (lambda s: s.filesystem(20, "I", 0), "file-id"),
    "root without record": (lambda s: s.filesystem(20, "I", 11), "file-id"),
    "root in no table": (lambda s: s.filesystem(20, "I", 0xFFFFFFFF), "file-id"),
    "root is a file": (lambda s: s.filesystem(20, "I", 2), "record"),
    "table nowhere": (lambda s: s.file_table(0, "Q", 0), "offset"),
    "table behind the end": (lambda s: s.file_table(0, "Q", NOWHERE), "offset"),
    "table empty": (lambda s: s.file_table(8, "H", 0), "file-table"),
    "table too full": (lambda s: s.file_table(8, "H", 1025), "file-table"),
    "table with fewer records": (lambda s: s.file_table(8, "H", 9), "file-id"),
    "records too short": (lambda s: s.file_table(10, "H", 87), "file-table"),
    "records too long": (lambda s: s.file_table(10, "H", 1025), "file-table"),
    "records longer than any driver's": (lambda s: s.file_table(10, "H", 112), "entry-size"),
    "link table nowhere": (lambda s: s.record(1, DATA_AT, "Q", 0), "offset"),
    "link table in no region": (lambda s: s.record(1, DATA_AT, "Q", 9 << 48 | 64), "offset"),
    "link table behind the end": (lambda s: s.record(1, DATA_AT, "Q", NOWHERE), "offset"),
    "link table too long": (lambda s: s.record(1, LENGTH, "Q", 1 << 48 | 1 << 40), "limit"),
    "link table too short": (lambda s: s.record(1, LENGTH, "Q", 1 << 48 | 7), "link-table"),
    "link table longer than its stream": (lambda s: s.table(1, 0, "I", 4096), "link-table"),
    "link table shorter than its head": (lambda s: s.table(1, 0, "I", 7), "link-table"),
    "link table misaligned": (lambda s: s.record(3, DATA_AT, "Q", s.get(3, DATA_AT) + 1), "link-table"),
    "more links than fit": (lambda s: s.table(1, 4, "I", 100), "link-table"),
    "links without end": (lambda s: s.table(1, 4, "I", 0xFFFFFFFF), "link-table"),
    "name behind the end": (lambda s: s.table(3, 16, "I", 0x7FFFFFFF), "link-table"),
    "name at the last byte": (lambda s: s.table(3, 16, "I", 37), "link-table"),
    "name too long for the table": (lambda s: s.table(3, 24, "H", 200), "link-table"),
    "names overlap": (lambda s: s.table(1, 36 + 4 * 1, "I", 36 + 4 * 7), "name-twice"),
    "name with a separator": (lambda s: s.table(3, 26, "H", ord("/")), "name"),
    "name with a NUL": (lambda s: s.table(3, 26, "H", 0), "name"),
    "names not sorted": (lambda s: s.table(3, 26, "H", ord("z")), "name-order"),
    "two names of one case": (lambda s: s.table(1, 64 + 8 + 2, "H", ord("D")), "name-twice"),
    "link to file 0": (lambda s: s.table(1, 8, "I", 0), "file-id"),
    "link to no record": (lambda s: s.table(1, 8, "I", 11), "file-id"),
    "folder in itself": (lambda s: s.table(3, 12, "I", 3), "loop"),
    "folder above itself": (lambda s: s.table(3, 12, "I", 1), "loop"),
    "folder with two names": (lambda s: s.table(1, 8, "I", 5), "folder-twice"),
    "data nowhere": (lambda s: s.record(6, DATA_AT, "Q", 1 << 48), "offset"),
    "data in no region": (lambda s: s.record(6, DATA_AT, "Q", 2 << 48 | 40), "offset"),
    "data behind the end": (lambda s: s.record(6, DATA_AT, "Q", 1 << 48 | NOWHERE), "offset"),
    "data longer than its region": (lambda s: s.record(6, LENGTH, "Q", (1 << 48) - 1), "offset"),
    "data misaligned": (lambda s: s.record(6, DATA_AT, "Q", s.get(6, DATA_AT) + 2), "alignment"),
    "stream of no known kind": (lambda s: s.record(6, LENGTH, "Q", 3 << 48 | 8), "unsupported"),
    "stream with unused bits": (lambda s: s.record(6, LENGTH, "Q", 1 << 60 | 8), "unsupported"),
    "record of a merged image": (lambda s: s.record(6, BASE, "H", 1), "unsupported"),
    "flags of no known meaning": (lambda s: s.record(6, FLAGS, "H", 0x40), "flags"),
    "reserved field of a record": (lambda s: s.record(6, SPARE, "H", 1), "reserved"),
    "time that is none": (lambda s: s.record(6, TIME, "Q", 1 << 63), "time"),
    "other parent": (lambda s: s.record(6, PARENT, "I", 3), "parent-id"),
    "descriptor behind the end": (lambda s: s.record(6, SD, "Q", NOWHERE), "offset"),
    "descriptor longer than its region": (lambda s: s.record(6, SD, "Q", s.get(1, DATA_AT) & ~7), "sd"),
    "no descriptor": (lambda s: s.record(6, SD, "Q", 0), "sd-missing"),
    "descriptor that is none": (lambda s: counted(s, 6, SD, b"\2"), "sd"),
    "attributes behind the end": (lambda s: s.record(2, EA, "Q", NOWHERE), "offset"),
    "attributes nowhere": (lambda s: s.record(2, EA, "Q", 0), "offset"),
    "attributes cut off": (lambda s: s.record(2, EA_LENGTH, "H", 5), "ea"),
    "attributes of no length": (lambda s: s.record(2, EA_LENGTH, "H", 0), "ea-stray"),
    "attributes that lead away": (lambda s: s.put(s.get(2, EA), b"\xff\xff"), "ea"),
    "reparse data behind the end": (lambda s: s.record(7, REPARSE, "Q", NOWHERE), "offset"),
    "reparse data that is none": (lambda s: counted(s, 7, REPARSE, LINK[:8] + b"\xff" * 8), "reparse"),
    "reparse data of another length": (lambda s: counted(s, 7, REPARSE, LINK[:4] + b"\1\0"), "reparse-length"),
    "reparse tag of another kind": (lambda s: s.record(7, TAG_AT, "I", 0xA0000003), "reparse-tag"),
    "reparse tag without data": (lambda s: s.record(7, REPARSE, "Q", 0), "reparse-tag"),
    "streams behind the end": (lambda s: s.record(9, STREAMS, "Q", NOWHERE), "offset"),
    "streams nowhere": (lambda s: s.record(9, STREAMS, "Q", 1 << 48), "offset"),
    "more streams than fit": (lambda s: s.put(s.builder.objects["streams 9"], b"\xff\xff", 4), "link-table"),
    "stream of a stream": (lambda s: s.put(s.builder.objects["streams 9"], b"\1", 8 + 14), "unsupported"),
    "streams not sorted": (lambda s: s.put(s.builder.objects["streams 9"], b"z", 8 + 2 * 20 + 2), "name-order"),
    "streams misaligned": (lambda s: s.record(9, STREAMS, "Q", s.get(9, STREAMS) + 4), "link-table"),
    "PE image behind the end": (lambda s: s.record(8, DATA_AT, "Q", NOWHERE), "offset"),
    "PE image shorter than the file": (lambda s: s.put(s.get(8, DATA_AT), b"\1\0", 8), "pe-image"),
    "PE image with mappings without end": (lambda s: s.put(s.get(8, DATA_AT), b"\xff\xff", 20), "limit"),
    "PE mapping that goes back": (lambda s: s.put(s.get(8, DATA_AT), b"\0\0\0\0", PE_IMAGE.size + 8), "pe-image"),
    "PE mapping that leaves its region": (lambda s: s.put(s.get(8, DATA_AT), b"\xff", PE_IMAGE.size + 15), "offset"),
    "PE image in no region": (lambda s: s.put(s.get(8, DATA_AT), b"\7", 6), "offset"),
    "zeros with a place": (lambda s: s.record(10, DATA_AT, "Q", 64), "empty-offset"),
    "folder marked as zeros": (lambda s: s.record(3, LENGTH + 7, "B", 1), "sparse"),
    "object id file missing": (lambda s: (s.directory / f"objectid_{GUID}_0").unlink(), "object-id"),
    "object id file cut off": (lambda s: truncate(s.directory / f"objectid_{GUID}_0", 40), "object-id"),
    "object ids without end": (lambda s: s.put(s.directory / f"objectid_{GUID}_0", b"\xff\xff", 44), "object-id"),
    "object ids of another region": (lambda s: s.put(s.directory / f"objectid_{GUID}_0", b"\1", 32), "object-id"),
    "header of another length": (lambda s: s.put(s.path, b"\x47", 8), "header-length"),
    "header with a reserved field": (lambda s: s.put(s.path, b"\1", 13), "header-reserved"),
    "bytes behind the header": (lambda s: s.put(s.path, b"more", 72), "header-trailing"),
    "region of another version": (lambda s: s.put(s.region(1), b"\2", 16), "version-mixed"),
    "region of another number": (lambda s: s.put(s.region(1), b"\7", 32), "region-number"),
    "region of no known kind": (lambda s: s.put(s.region(1), b"\7", 34), "region-kind"),
    "region of another kind": (lambda s: s.put(s.region(1), b"\0", 34), "data-in-metadata"),
    "metadata called data": (lambda s: s.put(s.region(0), b"\2", 34), "metadata-in-data"),
    "region header with a reserved field": (lambda s: s.put(s.region(1), b"\1", 36), "header-reserved"),
    "region header of another length": (lambda s: s.put(s.region(1), b"\x29", 8), "header-length"),
    "region that ends in a page": (lambda s: truncate(s.region(0), s.region(0).stat().st_size + 1), "end-padding"),
    "table with a reserved field": (lambda s: s.file_table(12, "I", 1), "reserved"),
    "a record without a name": (lambda s: s.file_table(8, "H", 11), "unreachable"),
    "link table in a longer stream": (lambda s: s.record(3, LENGTH, "Q", s.get(3, LENGTH) + 8), "table-length"),
    "objects on each other": (lambda s: s.record(6, DATA_AT, "Q", s.get(2, DATA_AT)), "overlap"),
    "upper-case table that maps on": (lambda s: s.put(s.builder.objects["upcase"], b"c", 2 * ord("B")), "upcase-odd"),
    "another upper-case table": (lambda s: s.put(s.builder.objects["upcase"], b"\0\0", 2), "upcase-other"),
}


def read_everything(path: Path) -> str:
    """Read all that there is; returns what came of it."""
    try:
        with CimImage.open(path) as image:
            for line, found in zip(dump(image), image.walk(), strict=True):
                assert line["path"] == found.path.replace("/", "\\")
                assert line["attributes"] == found.metadata.attributes
                image.lookup(found.path)
    except WclayerError as error:
        return type(error).__name__
    return "read"


@pytest.fixture
def sound(tmp_path: Path) -> Sound:
    return Sound(tmp_path)


def test_the_sound_image_has_nothing_wrong(sound: Sound) -> None:
    assert verify_cim(sound.path) == []
    assert read_everything(sound.path) == "read"


@pytest.mark.parametrize("name", MUTATIONS)
def test_each_mutation_is_found(sound: Sound, name: str) -> None:
    mutate, code = MUTATIONS[name]
    mutate(sound)
    findings = verify_cim(sound.path)
    assert code in [finding.code for finding in findings], findings
    assert all(finding.severity == CODES[finding.code][0] for finding in findings)
    read_everything(sound.path)


@pytest.mark.parametrize("name", [name for name, (_, code) in MUTATIONS.items() if CODES[code][0] == "error"])
def test_what_a_reader_cannot_get_over_is_one_of_our_errors(sound: Sound, name: str) -> None:
    mutate, code = MUTATIONS[name]
    mutate(sound)
    outcome = read_everything(sound.path)
    if code in ("name-order", "name-twice", "alignment", "entry-size", "reparse"):  # read right all the same
        assert outcome in ("read", "FormatError", "UnsupportedError", "LimitError")
    else:
        assert outcome in ("FormatError", "UnsupportedError", "LimitError")


def test_mutated_images_give_an_error_or_a_result(tmp_path: Path) -> None:
    """A few of those that ``fuzz/cim.py`` goes through, in 512 MiB of address space."""
    command = [sys.executable, str(FUZZ), "--count", "100", "--seed", "11", "--keep", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "100 images, seed 11: 0 failures" in done.stdout
    assert "'read: result'" in done.stdout
    assert "'verify: errors'" in done.stdout
    assert list(tmp_path.iterdir()) == []
