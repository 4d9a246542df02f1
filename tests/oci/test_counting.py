"""The compressed side of a blob: what the system is told to read ahead of it."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from wclayer.oci.counting import CountingSource
from wclayer.oci.sources import SharedFile, open_file

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no such advice")


@pytest.fixture
def advice(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _file, start, size, _kind: given.append((start, size)))
    return given


def read(source: CountingSource, size: int) -> bytes:
    buffer = bytearray(size)
    return bytes(buffer[: source.readinto(memoryview(buffer))])


def test_the_system_stays_as_far_ahead_as_it_was_asked_to(tmp_path: Path, advice: list[tuple[int, int]]) -> None:
    (tmp_path / "blob").write_bytes(bytes(range(200)))
    source = CountingSource(open_file(tmp_path / "blob"))
    source.read_ahead(50)
    assert read(source, 30) + read(source, 200) == bytes(range(200))
    assert advice == [(0, 50), (50, 30), (80, 170)]
    source.close()


def test_a_part_of_an_archive_is_read_ahead_where_it_lies(tmp_path: Path, advice: list[tuple[int, int]]) -> None:
    (tmp_path / "archive").write_bytes(bytes(300))
    file = SharedFile(open_file(tmp_path / "archive"))
    source = CountingSource(file.section(100, 150))
    assert source.peek(16) == bytes(16)
    source.read_ahead(50)
    assert read(source, 16) == bytes(16)  # what was looked at before needs no reading
    assert len(read(source, 30)) == 30
    assert advice == [(100, 50), (166, 30)]
    source.close()
    file.close()


def test_what_is_in_no_file_is_just_read(advice: list[tuple[int, int]]) -> None:
    source = CountingSource(io.BytesIO(b"abc"))
    source.read_ahead(50)
    assert read(source, 9) == b"abc"
    assert advice == []


def test_a_file_that_takes_no_advice_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> None:
        raise OSError(29, "Illegal seek")

    monkeypatch.setattr(os, "posix_fadvise", refuse)
    (tmp_path / "blob").write_bytes(b"abc")
    source = CountingSource(open_file(tmp_path / "blob"))
    source.read_ahead(50)
    assert read(source, 9) == b"abc"
    source.close()
