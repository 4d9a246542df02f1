"""Transport folders and base layers from strangers: an error that names the place, or a notice, and no read outside."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.hostile.command import INTEGRITY, Command, require_root, snapshot
from tests.hostile.tars import archive, file, folder
from wclayer.errors import IntegrityError, WclayerError
from wclayer.formats.base import BaseFolderReader
from wclayer.formats.transport import TransportFolderReader
from wclayer.formats.volume.layer import LAYER_MANIFEST
from wclayer.model import AlternateStream, Entry

SECRET = b"nobody may read this"
HEAD = b"\xef\xbb\xbfVersion 1.0\n"
EMPTY_BLOB = b"\x20\0\0\0"
UNSUPPORTED, STORE = 7, 8

Change = Callable[[Path, Path], object]


@pytest.fixture
def made(tmp_path: Path, command: Command) -> Path:
    """A transport folder without a manifest, as one that comes from elsewhere; ``tmp_path/outside`` has secrets."""
    source, place = tmp_path / "layer.tar", tmp_path / "source"
    members = [folder("Files"), folder("Files/d"), file("Files/d/x", b"x" * 100), file("Files/d/x:s", b"alternate")]
    source.write_bytes(archive(*members, folder("Hives"), file("Hives/System_Delta", b"regf")))
    assert command("convert", source, f"transport:{place}").code == 0
    (tmp_path / "source.ntfs").unlink()
    (tmp_path / "work").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    for name in ("secret", "tombstones.txt", "x", "d.$wcidirs$"):
        (outside / name).write_bytes(EMPTY_BLOB + SECRET)
    return place


def replaced(name: str) -> Change:
    """A symbolic link to the outside instead of something."""

    def change(source: Path, outside: Path) -> None:
        place = source / name
        if place.is_dir():
            shutil.rmtree(place)
            place.symlink_to(outside)
        else:
            place.unlink()
            place.symlink_to(outside / "secret")

    return change


def deep(source: Path, _outside: Path) -> None:
    """Folders in folders, deeper than any stack."""
    here = os.open(source / "Files" / "d", os.O_RDONLY)
    for _ in range(1100):
        Path(f"/proc/self/fd/{here}/f.$wcidirs$").write_bytes(b"\x10\0\0\0")
        os.mkdir("f", dir_fd=here)
        following = os.open("f", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = following
    os.close(here)


def tombstones(text: bytes) -> Change:
    """Other deletions."""
    return lambda source, _outside: (source / "tombstones.txt").write_bytes(text)


def blob(content: bytes) -> Change:
    """Another blob."""

    def change(source: Path, _outside: Path) -> None:
        place = source / "Files" / "d" / "x"
        place.chmod(0o644)
        place.write_bytes(content)

    return change


def _socket(source: Path, _outside: Path) -> None:
    here = Path.cwd()
    os.chdir(source / "Files")  # the name of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind("s")
    finally:
        os.chdir(here)


def _instead(source: Path, name: str, make: Callable[[Path], object]) -> None:
    place = source / name
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    make(place)


STREAM = EMPTY_BLOB + b"\x01\0\0\0" + b"\0\0\0\0"

#: What was done to the folder, and the codes with which it may end; 0 is one where the folder is read and told of.
CHANGES: dict[str, tuple[Change, tuple[int, ...]]] = {
    "folder-without-sidecar": (lambda s, _: (s / "Files" / "d.$wcidirs$").unlink(), (INTEGRITY, STORE)),
    "sidecar-without-folder": (lambda s, _: (s / "Files" / "e.$wcidirs$").write_bytes(b"\x10\0\0\0"), (0,)),
    "folder-named-like-a-sidecar": (lambda s, _: (s / "Files" / "e.$wcidirs$").mkdir(), (INTEGRITY,)),
    "sidecar-that-is-a-folder": (
        lambda s, _: _instead(s, "Files/d.$wcidirs$", lambda place: place.mkdir()),
        (INTEGRITY, STORE),
    ),
    "sidecar-that-ends-early": (lambda s, _: _instead(s, "Files/d.$wcidirs$", Path.touch), (INTEGRITY,)),
    "linked-tombstones": (replaced("tombstones.txt"), (INTEGRITY,)),
    "linked-files": (replaced("Files"), (INTEGRITY,)),
    "linked-folder": (replaced("Files/d"), (INTEGRITY,)),
    "linked-blob": (replaced("Files/d/x"), (INTEGRITY,)),
    "linked-sidecar": (replaced("Files/d.$wcidirs$"), (INTEGRITY,)),
    "linked-hives": (replaced("Hives"), (INTEGRITY,)),
    "linked-hive": (replaced("Hives/System_Delta"), (INTEGRITY,)),
    "pipe-as-blob": (lambda s, _: os.mkfifo(s / "Files" / "pipe"), (UNSUPPORTED,)),
    "pipe-as-tombstones": (lambda s, _: _instead(s, "tombstones.txt", os.mkfifo), (UNSUPPORTED,)),
    "pipe-as-hive": (lambda s, _: _instead(s, "Hives/System_Delta", os.mkfifo), (UNSUPPORTED,)),
    "pipe-as-sidecar": (lambda s, _: _instead(s, "Files/d.$wcidirs$", os.mkfifo), (UNSUPPORTED,)),
    "socket": (_socket, (UNSUPPORTED,)),
    "deep": (deep, (0, INTEGRITY)),
    "tombstones-that-are-a-folder": (lambda s, _: _instead(s, "tombstones.txt", Path.mkdir), (INTEGRITY,)),
    "tombstones-with-dots": (tombstones(HEAD + b"\\..\\..\\evil\n"), (0, INTEGRITY)),
    "tombstones-absolute": (tombstones(HEAD + b"\\\\server\\share\n\\C:\\x\n/etc/passwd\n"), (0, INTEGRITY)),
    "tombstones-with-nul": (tombstones(HEAD + b"\\a\0b\n"), (0, INTEGRITY)),
    "tombstones-of-one-huge-line": (tombstones(HEAD + b"\\" + b"a" * (8 << 20)), (INTEGRITY,)),
    "tombstones-with-a-name-of-64-kib": (tombstones(HEAD + b"\\" + b"a" * 65_000 + b"\n"), (0, INTEGRITY)),
    "tombstones-without-a-head": (tombstones(b"\\a\n"), (INTEGRITY,)),
    "tombstones-of-nothing": (tombstones(b""), (INTEGRITY,)),
    "blob-of-10-gb": (blob(STREAM + (10 << 30).to_bytes(8, "little") + bytes(4) + b"x"), (INTEGRITY,)),
    "blob-of-negative-size": (blob(STREAM + b"\xff" * 8 + bytes(4)), (INTEGRITY,)),
    "blob-with-a-name-of-64-kib": (
        blob(EMPTY_BLOB + b"\x04" + bytes(15) + b"\xfe\xff\0\0" + b"a\0" * 32_767),
        (0, INTEGRITY),
    ),
    "blob-with-a-name-of-4-gb": (blob(STREAM + bytes(8) + b"\xfe\xff\xff\xff"), (INTEGRITY,)),
    "blob-of-an-unknown-stream": (blob(EMPTY_BLOB + b"\x63" + bytes(19)), (INTEGRITY,)),
    "manifest-that-is-none": (lambda s, _: s.with_name("source.ntfs").write_bytes(b"none"), (INTEGRITY, STORE)),
    "manifest-that-is-a-folder": (lambda s, _: s.with_name("source.ntfs").mkdir(), (INTEGRITY, STORE)),
    "one-file-for-a-blob-and-a-sidecar": (
        lambda s, _: _instead(s, "Files/d/x", lambda place: os.link(s / "Files" / "d.$wcidirs$", place)),
        (0,),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_transport_folder_from_a_stranger(change: str, made: Path, tmp_path: Path, command: Command) -> None:
    alter, codes = CHANGES[change]
    outside = tmp_path / "outside"
    try:
        alter(made, outside)
        _try_it(made, tmp_path, command, codes)
    finally:
        subprocess.run(["rm", "-rf", made], check=True)  # a deep one is too deep for shutil


def _try_it(made: Path, tmp_path: Path, command: Command, codes: tuple[int, ...]) -> None:
    outside = tmp_path / "outside"
    before = snapshot(outside)
    for destination in (f"layer:{tmp_path / 'work' / 'out'}", str(tmp_path / "work" / "out.tar")):
        outcome = command("convert", f"transport:{made}", destination)
        assert outcome.code in codes, outcome
        work = tmp_path / "work"
        if outcome.code:
            assert len(outcome.err.splitlines()) == 1, outcome
            assert str(made) in outcome.err, outcome
            assert list(work.iterdir()) == []
        for path in work.rglob("*"):
            assert path.is_dir() or SECRET not in path.read_bytes()
        subprocess.run(["rm", "-rf", work / "out", work / "out.tar"], check=True)
    assert snapshot(outside) == before


def test_a_device_is_not_opened(made: Path, tmp_path: Path, command: Command) -> None:
    require_root()
    os.mknod(made / "Files" / "zero", 0o020644, os.makedev(1, 5))
    outcome = command("convert", f"transport:{made}", f"layer:{tmp_path / 'work' / 'out'}")
    assert outcome.code == UNSUPPORTED, outcome
    assert "zero" in outcome.err


def test_a_blob_that_ends_anywhere(made: Path) -> None:
    """At each of its boundaries it is a shorter blob or an error, and never anything else."""
    place = made / "Files" / "d" / "x"
    content = place.read_bytes()
    place.chmod(0o644)
    whole = 0
    for length in range(len(content)):
        place.write_bytes(content[:length])
        for policy in ("faithful", "reference"):
            try:
                for item in TransportFolderReader(made, policy=policy):
                    if isinstance(item, Entry | AlternateStream) and item.data is not None:
                        item.data.read(1 << 16)
                whole += 1
            except IntegrityError:
                continue
    assert 0 < whole < 12  # where a stream ends and the next one begins


# ------------------------------------------------------------------------------------------------------ anything at all

_PIECES = st.lists(
    st.one_of(
        st.binary(max_size=24),
        st.sampled_from([bytes(20), b"\x01" + bytes(19), b"\x09" + bytes(27), b"\x04", b"\xff" * 8]),
    ),
    max_size=6,
).map(b"".join)


@settings(max_examples=40)
@given(blob=_PIECES, sidecar=_PIECES, deleted=_PIECES, lenient=st.booleans())
def test_whatever_the_files_hold_only_our_errors_come_out(
    tmp_path_factory: pytest.TempPathFactory, blob: bytes, sidecar: bytes, deleted: bytes, lenient: bool
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    (place / "Files" / "d").mkdir(parents=True)
    (place / "Files" / "d.$wcidirs$").write_bytes(b"\x10\0\0\0" + sidecar)
    (place / "Files" / "d" / "f").write_bytes(EMPTY_BLOB + blob)
    (place / "tombstones.txt").write_bytes(HEAD + deleted)
    for policy in ("faithful", "reference"):
        with suppress(WclayerError):
            for item in TransportFolderReader(place, policy=policy, lenient=lenient):
                if isinstance(item, Entry | AlternateStream) and item.data and item.data.size < 1 << 20:
                    item.data.read(1 << 20)
    shutil.rmtree(place)


@pytest.fixture(scope="module")
def base_layer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a base layer."""
    from wclayer.image.transport_import import import_layer_from_tar

    tar = archive(folder("Files"), file("Files/x", b"x" * 100), file("Files/x:s", b"alternate"))
    return import_layer_from_tar([tar], tmp_path_factory.mktemp("base") / "layer").path


@settings(max_examples=60)
@given(data=st.data())
def test_whatever_the_manifest_of_a_base_layer_holds_only_our_errors_come_out(
    tmp_path_factory: pytest.TempPathFactory, base_layer: Path, data: st.DataObject
) -> None:
    place = tmp_path_factory.mktemp("fuzz") / "layer"
    shutil.copytree(base_layer, place)
    manifest = place / LAYER_MANIFEST
    content = bytearray(manifest.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        offset = data.draw(st.integers(0, len(content) - 1))
        content[offset : offset + 1] = data.draw(st.binary(min_size=1, max_size=1))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    manifest.chmod(0o644)
    manifest.write_bytes(content)
    for policy in ("faithful", "reference"):
        with suppress(WclayerError):
            for item in BaseFolderReader(place, policy=policy):
                if isinstance(item, Entry | AlternateStream) and item.data and item.data.size < 1 << 20:
                    item.data.read(1 << 20)
    shutil.rmtree(place.parent)
