"""The data of a stream is one file that can be read anywhere, however it is stored."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.cim.images import DATA, GUID, Builder, Node, Stream, build, file, folder
from wclayer.errors import FormatError, UnsupportedError
from wclayer.formats.cim.file import CimFile
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.streams import PIECE
from wclayer.formats.cim.verify import verify_cim


def only(image: CimImage) -> CimFile:
    found = image.lookup("f")
    assert found is not None
    return found


def expanded(data: bytes, mappings: tuple[tuple[int, int], ...]) -> bytes:
    """``data`` as its mappings want it to lie."""
    out = bytearray()
    for number, (start, delta) in enumerate(mappings):
        end = mappings[number + 1][0] if number + 1 < len(mappings) else len(data)
        out += bytes(max(0, start + delta - len(out)))
        out[start + delta : start + delta + max(0, end - start)] = data[start:end]
    return bytes(out)


def pe(data: bytes, mappings: tuple[tuple[int, int], ...], stored: bytes | None = None) -> Node:
    return Node(Stream(data, mappings=mappings, expanded=expanded(data, mappings) if stored is None else stored))


def test_plain_data_is_read_in_pieces_of_bounded_size(tmp_path: Path) -> None:
    data = bytes(range(256)) * 10000
    with CimImage.open(build(tmp_path, folder({"f": file(data)}), data_kind=DATA)) as image:
        pieces = list(only(image).pieces())
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) == PIECE
        assert only(image).open().read() == data


def test_an_empty_stream_touches_no_data(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder({"f": file()}))) as image:
        found = only(image)
        assert (found.record.data_offset, found.open().read(), list(found.pieces())) == (0, b"", [])


def test_a_stream_without_data_reads_as_zeros(tmp_path: Path) -> None:
    size = (1 << 48) - 1
    with CimImage.open(build(tmp_path, folder({"f": Node(Stream(sparse_size=size))}))) as image:
        found = only(image)
        assert (found.size, found.default_stream.is_sparse) == (size, True)
        opened = found.open()
        assert opened.seek(-10, io.SEEK_END) == size - 10
        assert opened.read(100) == bytes(10)
        assert opened.read(100) == b""
        assert next(iter(found.pieces())) == bytes(PIECE)


def test_a_small_stream_of_zeros_has_its_exact_size(tmp_path: Path) -> None:
    size = 2 * PIECE + 7
    with CimImage.open(build(tmp_path, folder({"f": Node(Stream(sparse_size=size))}))) as image:
        assert [len(piece) for piece in only(image).pieces()] == [PIECE, PIECE, 7]


def test_an_open_stream_behaves_as_a_file_does(tmp_path: Path) -> None:
    data = bytes(range(200))
    with CimImage.open(build(tmp_path, folder({"f": file(data)}))) as image:
        opened = only(image).open()
        assert (opened.readable(), opened.seekable(), opened.writable()) == (True, True, False)
        assert opened.read(10) == data[:10]
        assert opened.tell() == 10
        assert opened.seek(5, io.SEEK_CUR) == 15
        assert opened.read(5) == data[15:20]
        assert opened.seek(-3, io.SEEK_END) == 197
        assert opened.read() == data[197:]
        assert opened.seek(1000) == 1000
        assert opened.read() == b""
        for offset, whence in ((-1, io.SEEK_SET), (-2000, io.SEEK_END), (0, 9)):
            with pytest.raises(ValueError, match="no position"):
                opened.seek(offset, whence)
        opened.seek(0)
        assert io.BufferedReader(opened).read() == data


def test_a_pe_image_comes_out_as_the_file_it_was(tmp_path: Path) -> None:
    data = b"M" * 1024 + b"T" * 1536 + b"D" * 512 + b"signature" * 9
    mappings = ((0, 0), (1024, 3072), (2560, 5632), (3072, 9216))
    with CimImage.open(build(tmp_path, folder({"f": pe(data, mappings)}), data_kind=DATA)) as image:
        found = only(image)
        assert (found.default_stream.kind, found.size) == (2, len(data))
        assert b"".join(found.pieces()) == data
        assert found.open().read() == data
        assert list(found.default_stream.data().runs()) == [
            (0, 1024, 0),
            (1024, 2560, 3072),
            (2560, 3072, 5632),
            (3072, len(data), 9216),
        ]


def test_what_lies_before_the_first_mapping_is_not_moved(tmp_path: Path) -> None:
    data = b"H" * 100 + b"T" * 50
    stored = b"H" * 100 + bytes(400) + b"T" * 50
    with CimImage.open(build(tmp_path, folder({"f": pe(data, ((100, 400),), stored)}))) as image:
        assert only(image).open().read() == data


def test_an_image_without_mappings_is_plain(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder({"f": pe(b"data", (), b"data")}))) as image:
        assert only(image).open().read() == b"data"


def test_mappings_behind_the_end_of_the_file_mean_nothing(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder({"f": pe(b"data", ((0, 0), (4, 1 << 31)), b"data")}))) as image:
        assert only(image).open().read() == b"data"


@pytest.mark.parametrize("mappings", [((5, 0), (4, 0)), ((0, 0), (0, 4)), ((1, 0), (1, 4))])
def test_mappings_that_do_not_ascend_are_refused(tmp_path: Path, mappings: tuple[tuple[int, int], ...]) -> None:
    with CimImage.open(build(tmp_path, folder({"f": pe(b"d" * 10, mappings, b"d" * 100)}))) as image:
        with pytest.raises(FormatError, match="do not ascend") as caught:
            only(image).open()
        assert (caught.value.kind, caught.value.path, caught.value.image) == ("cim-pe-image", "f", image.what)


def test_a_mapping_that_leaves_its_region_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    path = build(tmp_path, folder({"f": pe(b"d" * 10, ((0, 0), (5, 1 << 31)), b"d" * 10)}))
    with CimImage.open(path) as image, pytest.raises(FormatError, match="data: 5 bytes"):
        only(image).open()


@given(
    data=st.binary(min_size=1, max_size=300),
    cuts=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 50)), max_size=6),
    reads=st.lists(st.tuples(st.integers(0, 320), st.integers(0, 120)), max_size=8),
)
def test_any_mapping_reads_as_the_file_did(
    tmp_path_factory: pytest.TempPathFactory,
    data: bytes,
    cuts: list[tuple[int, int]],
    reads: list[tuple[int, int]],
) -> None:
    starts = sorted({start for start, _ in cuts})
    mappings, delta = [], 0
    for start, (_, more) in zip(starts, cuts, strict=False):
        delta += more
        mappings.append((start, delta))
    whole = ((0, 0), *mappings) if not mappings or mappings[0][0] else tuple(mappings)
    directory = tmp_path_factory.mktemp("pe")
    with CimImage.open(build(directory, folder({"f": pe(data, whole)}))) as image:
        opened = only(image).open()
        assert opened.read() == data
        for start, length in reads:
            opened.seek(start)
            assert opened.read(length) == data[start : start + length]


@pytest.mark.parametrize("counted", [False, True])
def test_alternate_streams_are_read_in_both_layouts(tmp_path: Path, *, counted: bool) -> None:
    streams = {f"stream {number}": Stream(b"%d" % number) for number in range(40)} | {
        "Zone.Identifier": Stream(b"[ZoneTransfer]"),
        "empty": Stream(),
        "zeros": Stream(sparse_size=100),
    }
    root = folder(
        {
            "f": file(b"main", streams=streams, counted=counted),
            "one": file(b"", streams={"x": Stream(b"y")}, counted=counted),
            "d": folder({"inner": file()}, streams={"of a folder": Stream(b"too")}, counted=counted),
        }
    )
    with CimImage.open(build(tmp_path, root)) as image:
        found = {stream.name: stream for stream in only(image).streams}
        assert len(found) == 43
        assert list(found) == sorted(found, key=str.upper)
        assert found["stream 17"].open().read() == b"17"
        assert b"".join(found["Zone.Identifier"].pieces()) == b"[ZoneTransfer]"
        assert (found["empty"].size, found["zeros"].open().read()) == (0, bytes(100))
        assert found["zeros"].is_sparse
        assert found["stream 1"].path == "f:stream 1"
        one, other = image.lookup("one"), image.lookup("d")
        assert one is not None
        assert other is not None
        assert [(stream.name, stream.open().read()) for stream in one.streams] == [("x", b"y")]
        assert [(stream.name, stream.open().read()) for stream in other.streams] == [("of a folder", b"too")]
        assert image.stream_table(one.record.stream_table_offset, "one")[2] == counted


def test_an_alternate_stream_is_plain_data_only(tmp_path: Path) -> None:
    stream = Stream(b"dd", mappings=((0, 0),), expanded=b"dd")
    with CimImage.open(build(tmp_path, folder({"f": file(streams={"s": stream})}))) as image:
        (found,) = only(image).streams
        with pytest.raises(UnsupportedError, match="alternate stream of type 0x2") as caught:
            found.open()
        assert caught.value.path == "f:s"


@pytest.mark.parametrize("bits", [3 << 48, 0xFF << 48, 1 << 57, 1 << 63])
def test_a_stream_of_a_kind_not_known_is_refused(tmp_path: Path, bits: int) -> None:
    with CimImage.open(build(tmp_path, folder({"f": Node(Stream(b"xxxx", size_bits=bits))}))) as image:
        found = only(image)
        assert found.size == 4
        with pytest.raises(UnsupportedError, match="which is not known"):
            found.open()


def test_data_beyond_four_gibibytes_is_found(tmp_path: Path) -> None:
    far = (5 << 30) + 4096
    builder = Builder(data_kind=DATA)
    path = builder.build(tmp_path, folder({"f": file(b"near")}))
    with (tmp_path / f"region_{GUID}_1").open("r+b") as region:
        region.seek(far)
        region.write(b"far!")
        region.seek(far + (6 << 30) - 4)
        region.write(b"end.")
    with (tmp_path / f"region_{GUID}_0").open("r+b") as region:
        region.seek(builder.objects["file table 0"] + 96 + 40)
        region.write(struct.pack("<QQ", 1 << 48 | far, 6 << 30))
    with CimImage.open(path) as image:
        found = only(image)
        assert found.size == 6 << 30
        opened = found.open()
        assert opened.read(4) == b"far!"
        assert opened.seek(-4, io.SEEK_END) == (6 << 30) - 4
        assert opened.read() == b"end."
    assert verify_cim(path) == []
