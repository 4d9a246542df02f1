from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oci.samples import Opened, Source, packed, tar
from wclayer.errors import FormatError, LimitError, NotFoundError, StoreError, UnsafeEntryError, WclayerError
from wclayer.oci import Limits, archive
from wclayer.oci.archive import ArchiveTree, first_name, has_tar_header
from wclayer.oci.engines import zstd
from wclayer.oci.sources import read_all
from wclayer.oci.trees import read_file

OPENED = Opened()
NO_LIMITS = Limits.none()


@pytest.fixture(autouse=True)
def close_trees() -> Iterator[None]:
    yield
    OPENED.close()


def tree(data: bytes, *, limits: Limits = NO_LIMITS) -> ArchiveTree:
    return OPENED.keep(ArchiveTree.spool(Source(data), "test", limits=limits))


def content(of: ArchiveTree, path: str) -> bytes:
    return read_file(of, path, 1 << 20, what=path)


@pytest.mark.parametrize("pack", [bytes, packed, zstd.compress])
def test_files_are_read_in_place_from_any_compression(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(pack(tar([("a", None), ("a/b", b"one"), ("./c", b"two"), ("empty", b"")])))
    found = ArchiveTree.from_file(path, limits=Limits())
    assert (content(found, "a/b"), content(found, "c"), content(found, "empty")) == (b"one", b"two", b"")
    assert "a" not in found
    with pytest.raises(NotFoundError):
        found.open("nope")
    found.close()
    assert list(tmp_path.iterdir()) == [path]


def test_several_files_are_read_at_the_same_time(tmp_path: Path) -> None:
    found = tree(tar([("a", b"a" * 5000), ("b", b"b" * 5000)]))
    a, b = found.open("a"), found.open("b")
    buffer = bytearray(1000)
    for _ in range(5):
        assert a.readinto(buffer) == 1000
        assert buffer == b"a" * 1000
        assert b.readinto(buffer) == 1000
        assert buffer == b"b" * 1000
    assert (a.readinto(buffer), b.readinto(buffer)) == (0, 0)
    again = found.open("a")
    found.close()
    with pytest.raises(StoreError, match="closed"):
        again.readinto(buffer)


def test_links_are_followed_within_the_archive() -> None:
    found = tree(
        tar(
            [("d/file", b"x")],
            links=[
                ("d/same", "file", tarfile.SYMTYPE),
                ("e/up", "../d/file", tarfile.SYMTYPE),
                ("e/twice", "up", tarfile.SYMTYPE),
                ("hard", "d/file", tarfile.LNKTYPE),
                ("broken", "nowhere", tarfile.SYMTYPE),
            ],
        )
    )
    for path in ("d/same", "e/up", "e/twice", "hard"):
        assert content(found, path) == b"x"
    assert "broken" not in found


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "../..", "a\\b"])
def test_a_link_that_leads_out_is_unsafe(target: str) -> None:
    found = tree(tar([], links=[("d/out", target, tarfile.SYMTYPE)]))
    with pytest.raises(UnsafeEntryError):
        found.size("d/out")


def test_a_circle_of_links_is_unsafe() -> None:
    found = tree(tar([], links=[("a", "b", tarfile.SYMTYPE), ("b", "a", tarfile.SYMTYPE)]))
    with pytest.raises(UnsafeEntryError, match="without end"):
        found.open("a")


def test_names_that_lead_out_name_nothing_outside() -> None:
    found = tree(tar([("../x", b"1"), ("/y", b"2"), ("a/../z", b"3")]))
    assert content(found, "y") == b"2"
    assert content(found, "z") == b"3"
    assert content(found, "../x") == b"1"  # an entry of the index and nothing else


def test_of_equal_names_the_last_counts_and_it_is_known() -> None:
    found = tree(tar([("a", b"1"), ("b", b"x"), ("a", b"2")]))
    assert content(found, "a") == b"2"
    assert found.is_ambiguous("a")
    assert not found.is_ambiguous("b")


def test_devices_are_left_out() -> None:
    found = tree(tar([], links=[("null", "", tarfile.CHRTYPE), ("pipe", "", tarfile.FIFOTYPE)]))
    assert "null" not in found
    assert "pipe" not in found


def test_an_archive_cut_anywhere_is_refused_or_lacks_its_end() -> None:
    data = tar([("a", b"x" * 1000), ("b", b"y" * 1000)])
    end = len(data.rstrip(b"\0"))
    for length in range(1, end, 41):
        try:
            found = tree(data[:length])
        except FormatError:
            continue
        assert "b" not in found  # the cut fell between two members
        found.close()


def test_a_damaged_header_in_the_middle_is_refused() -> None:
    data = bytearray(tar([("a", b"x" * 1000), ("b", b"y" * 1000)]))
    position = data.index(b"b\0\0\0")
    data[position : position + 10] = b"\xff" * 10
    with pytest.raises(FormatError, match="damaged header"):
        tree(bytes(data))


@pytest.mark.parametrize("data", [b"no tar at all", bytes(range(256)) * 10, packed(b"no tar")])
def test_what_is_no_tar_is_refused(data: bytes) -> None:
    with pytest.raises(FormatError):
        tree(data)


def test_a_member_larger_than_the_archive_is_refused() -> None:
    info = tarfile.TarInfo("big")
    info.size = 1 << 40
    with pytest.raises(FormatError):
        tree(info.tobuf() + bytes(1024))


def test_an_extended_header_of_any_size_is_not_read() -> None:
    info = tarfile.TarInfo("x")
    info.type = tarfile.XHDTYPE
    info.size = 64 << 20
    with pytest.raises(LimitError, match="header"):
        tree(info.tobuf() + bytes(info.size), limits=Limits.none())


def test_the_number_of_members_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "_MEMBERS", 10)
    tree(tar([(str(number), b"") for number in range(10)])).close()
    with pytest.raises(LimitError, match="members"):
        tree(tar([(str(number), b"") for number in range(11)]))


def test_a_bomb_is_not_spooled() -> None:
    with pytest.raises(LimitError, match="bomb"):
        tree(packed(bytes(64 << 20)), limits=Limits(ratio_after=1 << 20))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        ArchiveTree.from_file(tmp_path / "none.tar", limits=Limits())
    with pytest.raises(StoreError):
        ArchiveTree.from_file(tmp_path, limits=Limits())


def test_a_tar_header_is_known_by_its_checksum() -> None:
    data = tar([("Files", None)])
    assert has_tar_header(data)
    assert not any(has_tar_header(head) for head in (data[:511], b"x" + data[1:], b"", b"x" * 1024, bytes(1024)))


def test_the_first_name_of_a_tar() -> None:
    assert first_name(tar([("./Files", None), ("x", b"")])) == "Files"
    assert first_name(tar([("./", None), (".", None), ("./Files", None)])) == "Files"
    assert first_name(tar([])) == ""
    assert first_name(tar([("Files/" + "x" * 200, b"abc")])[:2048]) == "Files/" + "x" * 200
    with pytest.raises(FormatError):
        first_name(b"x" * 1024)


def test_a_sparse_member_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as writer:
        info = tarfile.TarInfo("s")
        sparse = {"major": "0", "minor": "1", "map": "0,1", "size": "9"}
        info.pax_headers = {f"GNU.sparse.{key}": value for key, value in sparse.items()}
        info.size = 1
        writer.addfile(info, io.BytesIO(b"x"))
    with pytest.raises(FormatError, match="sparse"):
        tree(out.getvalue())


SEED = tar([("a/" + "n" * 120, b"content"), ("b", b"")], links=[("l", "b", tarfile.SYMTYPE)])


@given(st.data())
def test_damage_raises_nothing_but_errors_of_the_package(data: st.DataObject) -> None:
    damaged = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(0, 4096))] = data.draw(st.integers(0, 255))
    try:
        found = tree(bytes(damaged))
    except WclayerError:
        return
    for path in ("b", "l"):
        with suppress(WclayerError):
            if path in found:
                read_all(found.open(path), 1 << 20, what=path)
    found.close()


@given(st.binary(max_size=2000))
def test_bytes_raise_nothing_but_errors_of_the_package(data: bytes) -> None:
    for call in (lambda: tree(data).close(), lambda: first_name(data)):
        with suppress(WclayerError):
            call()
