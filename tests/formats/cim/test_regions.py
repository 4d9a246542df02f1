"""Region files: metadata is mapped, data is read, and both come out alike whatever the file system can do."""

from __future__ import annotations

import errno
import mmap
import os
from pathlib import Path

import pytest

from tests.formats.cim.images import GUID, Builder, build, file, folder, rich
from wclayer.errors import FormatError, StoreError
from wclayer.formats.cim.reader import CimImage
from wclayer.formats.cim.structures import FileRecord


def get(image: CimImage, path: str) -> bytes:
    found = image.lookup(path)
    assert found is not None
    return found.open().read() or b""


def test_what_cannot_be_mapped_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_options: object) -> mmap.mmap:
        raise OSError(errno.ENODEV, "this file system cannot map")

    def everything(image: CimImage) -> list[tuple[str, FileRecord, bytes]]:
        return [
            (found.path, found.record, found.open().read(1 << 20) or b"" if not found.is_directory else b"")
            for found in image.walk()
        ]

    path = build(tmp_path, rich(2000))
    with CimImage.open(path) as image:
        mapped = everything(image)
    monkeypatch.setattr("wclayer.formats.cim.regions.mmap.mmap", refuse)
    with CimImage.open(path) as image:
        assert everything(image) == mapped
        assert [type(region._bytes).__name__ for region in image.regions.regions] == ["_FileBytes"] * 2


def test_metadata_is_mapped_and_data_is_read(tmp_path: Path) -> None:
    with CimImage.open(build(tmp_path, folder({"f": file(b"data")}))) as image:
        assert get(image, "f") == b"data"
        assert [type(region._bytes).__name__ for region in image.regions.regions] == ["mmap", "_FileBytes"]


@pytest.mark.parametrize("positional", [True, False])
def test_short_reads_are_gone_on_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, positional: bool) -> None:
    data = bytes(range(256)) * 40
    path = build(tmp_path, folder({"f": file(data)}))
    pread, read = os.pread, os.read
    if positional:
        monkeypatch.setattr(os, "pread", lambda descriptor, length, at: pread(descriptor, min(length, 1000), at))
    else:
        monkeypatch.delattr(os, "pread")
        monkeypatch.setattr(os, "read", lambda descriptor, length: read(descriptor, min(length, 1000)))
    with CimImage.open(path) as image:
        assert get(image, "f") == data


def test_a_disk_that_cannot_read_is_told_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_descriptor: int, _length: int, position: int) -> bytes:
        if position:
            raise OSError(errno.EIO, "Input/output error")
        return pread(_descriptor, _length, position)

    pread = os.pread
    path = build(tmp_path, folder({"f": file(b"data")}))
    with CimImage.open(path) as image:
        monkeypatch.setattr(os, "pread", broken)
        with pytest.raises(StoreError, match=f"region_{GUID}_1 cannot be read: Input/output error"):
            get(image, "f")


def test_a_file_that_shrinks_where_it_cannot_be_mapped_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: object, **_options: object) -> mmap.mmap:
        raise ValueError

    monkeypatch.setattr("wclayer.formats.cim.regions.mmap.mmap", refuse)
    with CimImage.open(build(tmp_path, folder({"f": file(b"x" * 100)}))) as image:
        found = image.lookup("f")
        assert found is not None
        opened = found.open()
        os.truncate(tmp_path / f"region_{GUID}_1", 60)
        with pytest.raises(FormatError, match="100 bytes at 0x28"):
            opened.read()


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="this system does not list open files")
def test_closing_gives_every_descriptor_back(tmp_path: Path) -> None:
    def opened() -> list[str]:
        links = (Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd"))
        return [os.readlink(link) for link in links if link.is_symlink() and str(tmp_path) in os.readlink(link)]

    path = build(tmp_path, rich())
    with CimImage.open(path) as image:
        assert len(list(image.walk())) == 24
        assert get(image, "a.txt") == b"hello"
        assert len(opened()) == 2
    assert opened() == []
    builder = Builder()
    path = builder.build(tmp_path, folder())
    path.write_bytes(path.read_bytes()[:56] + bytes(16))
    with pytest.raises(FormatError, match="a pointer to nothing"):
        CimImage.open(path)
    assert opened() == []
