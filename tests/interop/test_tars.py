"""Layer tars of other programs come in whole, and go out byte for byte as they came."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.interop.trees import Names, expected, make_tree, shown
from tests.peers import require
from wclayer.image.exporting import export_layer
from wclayer.image.importing import import_layer
from wclayer.image.verifying import verify

Writer: TypeAlias = Callable[[Path, Path], None]


@pytest.fixture(scope="session")
def tarfolder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program of tests/interop/go, built."""
    program = tmp_path_factory.mktemp("tarfolder") / "tarfolder"
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=mod"}
    folder = Path(__file__).parent / "go"
    subprocess.run([require("go"), "build", "-o", str(program), "."], cwd=folder, check=True, env=environment)
    return program


def with_command(program: str, *options: str, whole: bool = False) -> Writer:
    def write(folder: Path, output: Path) -> None:
        names = ["."] if whole else sorted(os.listdir(folder))
        command = [require(program), *options, "-cf", str(output), "-C", str(folder), *names]
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, "LC_ALL": "C.UTF-8"})

    return write


def with_python(form: int) -> Writer:
    def write(folder: Path, output: Path) -> None:
        with tarfile.open(output, "w", format=form, encoding="utf-8") as archive:
            for name in sorted(os.listdir(folder)):
                archive.add(folder / name, name)

    return write


def with_go(form: str) -> Writer:
    def write(folder: Path, output: Path) -> None:
        with output.open("wb") as file:
            subprocess.run([str(folder.parent / "tarfolder"), form, str(folder)], check=True, stdout=file)

    return write


RECORDS = "MSWINDOWS.fileattr:=32,LIBARCHIVE.creationtime:=1577836800.5"

WRITERS: dict[str, tuple[Names, Writer]] = {
    "gnu-v7": ("ascii", with_command("tar", "--format=v7")),
    "gnu-oldgnu": ("long", with_command("tar", "--format=oldgnu")),
    "gnu-ustar": ("short", with_command("tar", "--format=ustar")),
    "gnu-gnu": ("long", with_command("tar", "--format=gnu")),
    "gnu-pax": ("long", with_command("tar", "--format=pax")),
    "gnu-gnu-sparse": ("long", with_command("tar", "--format=gnu", "--sparse")),
    "gnu-pax-sparse-0.0": ("long", with_command("tar", "--format=pax", "--sparse", "--sparse-version=0.0")),
    "gnu-pax-sparse-0.1": ("long", with_command("tar", "--format=pax", "--sparse", "--sparse-version=0.1")),
    "gnu-pax-sparse-1.0": ("long", with_command("tar", "--format=pax", "--sparse", "--sparse-version=1.0")),
    "gnu-pax-records": (
        "long",
        with_command(
            "tar", "--format=pax", "--pax-option=MSWINDOWS.fileattr:=32,LIBARCHIVE.creationtime:=1577836800.5"
        ),
    ),
    "gnu-from-dot": ("long", with_command("tar", "--format=pax", whole=True)),
    "bsdtar-from-dot": ("long", with_command("bsdtar", "--format", "pax", whole=True)),
    "gnu-pax-global": ("long", with_command("tar", "--format=pax", "--pax-option=comment=a global header")),
    "gnu-blocked": ("short", with_command("tar", "--format=gnu", "--blocking-factor=100")),
    "bsdtar-ustar": ("short", with_command("bsdtar", "--format", "ustar")),
    "bsdtar-pax": ("long", with_command("bsdtar", "--format", "pax")),
    "bsdtar-gnutar": ("long", with_command("bsdtar", "--format", "gnutar")),
    "bsdtar-pax-xattrs": ("long", with_command("bsdtar", "--format", "pax", "--xattrs")),
    "python-ustar": ("short", with_python(tarfile.USTAR_FORMAT)),
    "python-gnu": ("long", with_python(tarfile.GNU_FORMAT)),
    "python-pax": ("long", with_python(tarfile.PAX_FORMAT)),
    "go-ustar": ("ascii", with_go("ustar")),
    "go-gnu": ("long", with_go("gnu")),
    "go-pax": ("long", with_go("pax")),
}


@pytest.mark.parametrize("name", WRITERS)
def test_what_another_program_packed_is_imported_and_exported_unchanged(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    names, write = WRITERS[name]
    if name.startswith("go-"):
        (tmp_path / "tarfolder").symlink_to(request.getfixturevalue("tarfolder"))
    tree = make_tree(tmp_path / "tree", names)
    if name.endswith("xattrs"):
        _set_attributes(tree)
    layer = tmp_path / "layer.tar"
    write(tree, layer)
    data = layer.read_bytes()
    diff_id = f"sha256:{hashlib.sha256(data).hexdigest()}"

    assert shown(layer) == expected(tree)
    parent = _parent(tree, tmp_path)
    imported = import_layer(str(layer), tmp_path / "folder", parents=[parent], diff_id=diff_id)
    assert str(imported.diff_id) == diff_id
    assert shown(tmp_path / "folder") == expected(tree)

    exported = export_layer(tmp_path / "folder", str(tmp_path / "again.tar"), form="original")
    assert str(exported.diff_id) == diff_id
    assert (tmp_path / "again.tar").read_bytes() == data
    assert verify(str(tmp_path / "folder")).ok

    # Written anew it is another tar, and the same layer.
    export_layer(tmp_path / "folder", str(tmp_path / "new.tar"), form="faithful")
    import_layer(str(tmp_path / "new.tar"), tmp_path / "other", parents=[parent])
    assert shown(tmp_path / "other") == expected(tree)


def _set_attributes(tree: Path) -> None:
    try:
        os.setxattr(tree / "Files" / "zeros", "user.note", b"kept in the header record")
    except OSError as error:
        pytest.skip(f"no extended attributes here: {error}")


def _parent(tree: Path, work: Path) -> Path:
    """A base layer, so that whiteouts have something to be about."""
    base = work / "base tree" / "Files"
    (base / "deleted folder").mkdir(parents=True)
    (base / "Windows").mkdir()
    (base / "Windows" / "deleted").write_bytes(b"")
    with tarfile.open(work / "base.tar", "w") as archive:
        archive.add(base, "Files")
    import_layer(str(work / "base.tar"), work / "base")
    return work / "base"


def test_a_sparse_file_stays_sparse(tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "tree", "ascii")
    for version in ("0.0", "0.1", "1.0"):
        with_command("tar", "--format=pax", "--sparse", f"--sparse-version={version}")(tree, tmp_path / "layer.tar")
        import_layer(str(tmp_path / "layer.tar"), tmp_path / version)
        found = (tmp_path / version / "Files" / "holes").stat()
        assert found.st_size == 1_000_000
        assert found.st_blocks * 512 < 500_000
