"""Whatever differs between the files and the database is found."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.formats.folder.layers import alternate, file, folder, sparse, symlink, write
from wclayer.formats.folder import LayerFolder, LayerFolderWriter, verify_folder
from wclayer.model import HardLink, Tombstone


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """A layer with something of everything, made writable."""
    with LayerFolderWriter(tmp_path / "layer") as writer:
        writer.header_record().segment(b"header")
        for item in (
            folder("Files"),
            file("Files/a", b"content"),
            alternate("Files/a", ":small:$DATA", b"small"),
            alternate("Files/a", ":large:$DATA", bytes(70_000)),
            HardLink("Files/link", "Files/a"),
            sparse("Files/sparse", 1 << 20, (4096, b"data")),
            symlink("Files/junction", is_directory=True),
            folder("Files/sub"),
            file("Files/sub/b", b"1"),
            Tombstone("Files/gone"),
        ):
            writer.write(item)
    for base, names, files in os.walk(tmp_path / "layer"):
        for name in [".", *names]:
            os.chmod(os.path.join(base, name), 0o755)
        for name in files:
            os.chmod(os.path.join(base, name), 0o644)
    return tmp_path / "layer"


def findings(layer: Path, *, contents: bool = True) -> set[tuple[str, str]]:
    with LayerFolder(layer) as opened:
        return {(finding.code, finding.path) for finding in verify_folder(opened, contents=contents)}


def test_a_good_layer_has_no_findings(layer: Path) -> None:
    assert findings(layer) == set()


def drop(*paths: Path) -> None:
    """Remove files and empty folders."""
    for path in paths:
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


def swap(path: Path, make: Callable[[Path], object]) -> None:
    drop(path)
    make(path)


CASES: dict[str, tuple[Callable[[Path], object], set[tuple[str, str]]]] = {
    "missing file": (lambda p: (p / "Files/sub/b").unlink(), {("missing", "Files/sub/b")}),
    "missing folder": (
        lambda p: drop(p / "Files/sub/b", p / "Files/sub"),
        {("missing", "Files/sub")},
    ),
    "extra file": (lambda p: (p / "Files/new").write_text("x"), {("extra", "Files/new")}),
    "extra folder": (lambda p: (p / "Files/sub/new").mkdir(), {("extra", "Files/sub/new")}),
    "extra file at the top": (lambda p: (p / "new").write_text("x"), {("extra", "new")}),
    "extra in a reparse point": (lambda p: (p / "Files/junction/x").write_text("x"), {("extra", "Files/junction/x")}),
    "extra symlink": (lambda p: (p / "Files/new").symlink_to("/etc"), {("extra", "Files/new")}),
    "extra tombstoned": (lambda p: (p / "Files/gone").write_text("x"), {("extra", "Files/gone")}),
    "longer": (lambda p: (p / "Files/sub/b").write_bytes(b"12"), {("wrong-size", "Files/sub/b")}),
    "changed": (lambda p: (p / "Files/sub/b").write_bytes(b"2"), {("wrong-content", "Files/sub/b")}),
    "changed with a link": (
        lambda p: (p / "Files/a").write_bytes(b"CONTENT"),
        {("wrong-content", "Files/a"), ("wrong-content", "Files/link")},
    ),
    "a symlink to the same": (
        lambda p: swap(p / "Files/sub/b", lambda q: q.symlink_to("../a")),
        {("wrong-kind", "Files/sub/b")},
    ),
    "a pipe": (lambda p: swap(p / "Files/sub/b", os.mkfifo), {("wrong-kind", "Files/sub/b")}),
    "a folder for a file": (lambda p: swap(p / "Files/sub/b", Path.mkdir), {("wrong-kind", "Files/sub/b")}),
    "a file for a folder": (
        lambda p: swap(p / "Files/junction", lambda q: q.write_text("")),
        {("wrong-kind", "Files/junction")},
    ),
    "a symlink for a folder": (
        lambda p: swap(p / "Files/junction", lambda q: q.symlink_to("/etc")),
        {("wrong-kind", "Files/junction")},
    ),
    "stream missing": (
        lambda p: (p / "layer.streams/00000004").unlink(),
        {("missing", "layer.streams/00000004")},
    ),
    "stream changed": (
        lambda p: (p / "layer.streams/00000004").write_bytes(bytes(69_999) + b"x"),
        {("wrong-content", "layer.streams/00000004")},
    ),
    "stream shorter": (
        lambda p: (p / "layer.streams/00000004").write_bytes(b""),
        {("wrong-size", "layer.streams/00000004")},
    ),
    "stream a symlink": (
        lambda p: swap(p / "layer.streams/00000004", lambda q: q.symlink_to("/etc/passwd")),
        {("wrong-kind", "layer.streams/00000004")},
    ),
    "stream too many": (lambda p: (p / "layer.streams/x").write_text(""), {("extra", "layer.streams/x")}),
    "header record missing": (lambda p: (p / "layer.headers").unlink(), {("missing", "layer.headers")}),
    "header record damaged": (lambda p: (p / "layer.headers").write_bytes(b"x"), {("header-record", "layer.headers")}),
    "chain damaged": (lambda p: (p / "layerchain.json").write_text("{"), {("layer-chain", "layerchain.json")}),
}


@pytest.mark.parametrize("case", CASES)
def test_each_damage_is_found_and_nothing_else(layer: Path, case: str) -> None:
    damage, expected = CASES[case]
    damage(layer)
    assert findings(layer) == expected
    without_content = {"wrong-content", "header-record"}
    assert findings(layer, contents=False) == {found for found in expected if found[0] not in without_content}


def test_a_layer_with_names_of_this_machine_only_is_good(tmp_path: Path) -> None:
    path = write(tmp_path / "layer", file("layer.db"), file("d/" + "字" * 200, b"x"), file("字" * 100 + "/a"))
    assert findings(path) == set()
