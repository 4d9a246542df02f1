"""A full disk: an error that says so, and nothing left behind."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.formats.folder.layers import alternate, file, read, write
from wclayer.errors import StoreError
from wclayer.formats.folder import LayerFolderWriter

CI = os.environ.get("CI") == "true"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,nr_inodes=300", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        if CI:
            pytest.fail("cannot mount a tmpfs: these tests need root")
        pytest.skip("cannot mount a tmpfs")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    "items",
    [
        [file("large", bytes(4 << 20))],
        [file(str(number), bytes(100_000)) for number in range(40)],
        [alternate("a", f":{number}:$DATA", bytes(100_000)) for number in range(40)],
        [alternate("a", f":{number}:$DATA", os.urandom(50_000)) for number in range(100)],
        [file(str(number)) for number in range(400)],
        [file(f"{number}/x") for number in range(200)],
        [file("x", b"", security_descriptor=os.urandom(60_000)) for _ in range(1)]
        + [file(str(n), b"", security_descriptor=os.urandom(60_000)) for n in range(60)],
    ],
    ids=["one file", "files", "stream files", "inline streams", "inodes", "folders", "security descriptors"],
)
def test_a_full_disk_is_said_to_be_full_and_nothing_is_left(small_disk: Path, items: list[object]) -> None:
    with pytest.raises(StoreError, match="no space left") as caught:
        write(small_disk / "layer", *items)  # type: ignore[arg-type]
    assert caught.value.exit_code == 8
    assert list(small_disk.iterdir()) == []
    assert len(read(write(small_disk / "layer", file("a", b"1")))) == 1


def test_a_header_record_that_does_not_fit_leaves_nothing(small_disk: Path) -> None:
    def overfill() -> None:
        with LayerFolderWriter(small_disk / "layer") as writer:
            record = writer.header_record()
            for _ in range(40):
                record.segment(os.urandom(100_000))

    with pytest.raises(StoreError, match="no space left"):
        overfill()
    assert list(small_disk.iterdir()) == []
