"""A source that is a part of a file can be read by somebody else, who only has the descriptor."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wclayer.oci.sources import BinarySource, FilePart, PartSource, SharedFile, file_part, open_file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of ten bytes."""
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    return path


def read(source: BinarySource, step: int) -> bytes:
    data, buffer = b"", bytearray(step)
    while count := source.readinto(buffer):
        data += buffer[:count]
    return data


def copy_of(part: FilePart | None) -> PartSource:
    assert part is not None
    return PartSource(part._replace(descriptor=os.dup(part.descriptor)))


@pytest.mark.parametrize("step", [1, 3, 64])
def test_all_of_a_file(path: Path, step: int) -> None:
    with open_file(path) as file:
        source = copy_of(file_part(file))
        assert read(source, step) == b"0123456789"
        assert file.tell() == 0
        source.close()
        source.close()


@pytest.mark.parametrize("step", [1, 3, 64])
def test_a_section_of_a_shared_file(path: Path, step: int) -> None:
    shared = SharedFile(open_file(path))
    section = shared.section(2, 5)
    source = copy_of(file_part(section))
    assert read(section, 2) == b"23456"
    assert read(source, step) == b"23456"
    source.close()
    shared.close()


def test_a_file_that_became_shorter_ends_early(path: Path) -> None:
    with open_file(path) as file:
        source = copy_of(FilePart(file.fileno(), 8, 100))
        assert read(source, 64) == b"89"
        source.close()


def test_other_sources_are_no_part_of_a_file() -> None:
    class Other:
        def readinto(self, buffer: bytearray | memoryview, /) -> int:  # noqa: ARG002 - the protocol's signature
            return 0

        def close(self) -> None:
            return

    assert file_part(Other()) is None
    reading, writing = os.pipe()
    os.close(writing)
    with open(reading, "rb", buffering=0) as pipe:
        assert file_part(pipe) is None
