"""Images that are small and would take for ever, or all memory, are refused soon."""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.formats.cim.images import GUID, Builder, Node, Stream, build, file, folder
from wclayer.errors import FormatError, LimitError
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.verify import verify_cim

SECONDS = 20.0  # of processor time; each takes a fraction of one
MEMORY = 64 << 20


@pytest.fixture(autouse=True)
def soon() -> Iterator[None]:
    """Each test takes little time."""
    started = time.process_time()
    yield
    assert time.process_time() - started < SECONDS


@pytest.fixture
def little_memory() -> Iterator[Callable[[], None]]:
    """Call it before reading: from then on little memory is taken."""
    yield tracemalloc.start
    assert tracemalloc.is_tracing()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


def codes(path: Path) -> set[str]:
    return {finding.code for finding in verify_cim(path)}


def test_tables_take_no_more_bytes_than_the_regions_have(tmp_path: Path) -> None:
    class Repeated(Builder):
        def record(self, node: Node) -> bytes:
            record = super().record(node)
            if node.children is not None and not node.children:
                place = self.objects["file names"]
                return record[:40] + struct.pack("<QQ", place, self.objects["length"] | 1 << 48) + record[56:]
            return record

        def number(self, root: Node) -> None:
            super().number(root)
            children = (root.children or {})["files"].children or {}
            table = self.link_table([(n, struct.pack("<I", c.file_id)) for n, c in self.ordered(children)])
            self.objects |= {"file names": self.put(table), "length": len(table)}

    files = folder({f"{number:04}": file() for number in range(1000)})
    path = Repeated().build(tmp_path, folder({"files": files, **{f"d{number:03}": folder() for number in range(400)}}))
    with CimImage.open(path) as image, pytest.raises(LimitError, match="more bytes than the regions have"):
        list(image.walk())
    assert "limit" in codes(path)


def test_names_that_overlap_are_not_decoded(tmp_path: Path, little_memory: Callable[[], None]) -> None:
    class Overlapping(Builder):
        def link_table(self, links: list[tuple[str, bytes]]) -> bytes:
            table = bytearray(super().link_table(links))
            first = struct.unpack_from("<I", table, 8 + 4 * len(links))[0]
            struct.pack_into(f"<{len(links)}I", table, 8 + 4 * len(links), *[first] * len(links))
            return bytes(table)

    children = {"n" * 255: file()} | {f"z{number:05}": file() for number in range(20000)}
    path = Overlapping().build(tmp_path, folder(children))
    little_memory()
    with CimImage.open(path) as image, pytest.raises(LimitError, match="overlap"):
        list(image.walk())
    assert "limit" in codes(path)


def test_a_folder_in_itself_ends_the_walk(tmp_path: Path) -> None:
    inner = folder({"f": file()})
    assert inner.children is not None
    inner.children["again"] = inner
    path = build(tmp_path, folder({"d": inner}))
    with CimImage.open(path) as image:
        with pytest.raises(FormatError, match="two names or lies in itself") as caught:
            list(image.walk())
        assert (caught.value.kind, caught.value.path) == ("cim-loop", "d/again")
        found = image.lookup("d/again/again/AGAIN/f")
        assert found is not None
    assert codes(path) == {"loop"}


def test_folders_with_two_names_each_do_not_multiply(tmp_path: Path) -> None:
    inner = folder({"f": file()})
    for _ in range(40):
        inner = folder({"a": inner, "b": inner})
    with CimImage.open(build(tmp_path, inner)) as image, pytest.raises(FormatError, match="two names"):
        list(image.walk())


def test_folders_in_each_other_need_no_stack(tmp_path: Path, little_memory: Callable[[], None]) -> None:
    inner = folder({"f": file(b"deep")})
    for _ in range(8000):
        inner = folder({"d": inner})
    path = build(tmp_path, inner)
    little_memory()
    with CimImage.open(path) as image:
        assert sum(1 for _ in image.walk()) == 8002
        found = image.lookup("d/" * 8000 + "F")
        assert found is not None
        assert found.open().read() == b"deep"
    assert codes(path) == set()


def test_a_path_without_end_is_refused(tmp_path: Path) -> None:
    inner = folder()
    for _ in range(200):
        inner = folder({"n" * 255: inner})
    with CimImage.open(build(tmp_path, inner)) as image, pytest.raises(FormatError, match="more than 32767"):
        list(image.walk())


def test_images_with_thousands_of_mappings_are_not_gone_through_again_and_again(tmp_path: Path) -> None:
    class Mapped(Builder):
        def stream_record(self, stream: Stream) -> bytes:
            if "mapped" not in self.objects:
                self.objects["mapped"] = struct.unpack("<QQ", super().stream_record(stream))[0]
            return struct.pack("<QQ", self.objects["mapped"], 20000 | 2 << 48)

    pe = Stream(bytes(20000), mappings=tuple((number, 0) for number in range(20000)), expanded=bytes(20000))
    path = Mapped().build(tmp_path, folder({f"{number:04}": Node(pe) for number in range(500)}))
    assert "limit" in codes(path)


def test_file_tables_that_lie_on_each_other_are_not_all_gone_through(tmp_path: Path) -> None:
    builder = Builder()
    path = builder.build(tmp_path, folder({f"{number:04}": file() for number in range(1100)}))
    region = tmp_path / f"region_{GUID}_0"
    data = region.read_bytes()
    entry = data[builder.objects["tables"] :][:16]
    place = len(data)
    region.write_bytes(data + entry * 100_000 + bytes(4096))
    with region.open("r+b") as target:
        target.seek(builder.objects["filesystem"] + 8)
        target.write(struct.pack("<QI", place, 100_000))
    assert "limit" in codes(path)


def test_a_region_full_of_nothing_costs_nothing(tmp_path: Path) -> None:
    builder = Builder()
    path = builder.build(tmp_path, folder({"f": file(b"x")}))
    with (tmp_path / f"region_{GUID}_0").open("r+b") as region:
        region.truncate(1 << 40)
        region.seek(builder.objects["filesystem"] + 8)
        region.write(struct.pack("<QI", 1 << 39, 0xFFFFFFFF))
    with CimImage.open(path) as image, pytest.raises(FormatError, match="claims 0 records"):
        list(image.walk())
    assert "file-table" in codes(path)
