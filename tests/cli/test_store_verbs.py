"""``wclayer store ls``, ``fsck``, ``gc`` and ``du`` on stores of this program."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.stacks import file, folder
from tests.store.tars import add, tar
from wclayer.model import LayerItem
from wclayer.store.driver import WindowsFilterDriver
from wclayer.store.driver.layers import LayerStore
from wclayer.store.snapshots import Snapshotter

BASE: list[LayerItem] = [folder("Files"), file("Files/a", b"a" * 10_000)]
TOP: list[LayerItem] = [folder("Files"), file("Files/b", b"b")]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with an image of two layers, one layer too many, and a container."""
    place = tmp_path / "layers"
    with LayerStore(place) as store:
        base = store.register(lambda: tar(BASE))
        top = store.register(lambda: tar(TOP), base.chain_id)
        store.register(lambda: tar([folder("Files"), file("Files/lonely", b"1")]))
        store.hold("app", [base.chain_id, top.chain_id])
        store.driver.create_read_write("box", top.cache_id)
    return place


def spoil(root: Path) -> None:
    """Change a file of the base layer, without a change of its size."""
    (changed,) = (path for path in root.glob("windowsfilter/*/Files/a") if path.stat().st_size == 10_000)
    changed.chmod(0o644)
    changed.write_bytes(b"x" * 10_000)


def test_ls_lists_the_layers_with_what_has_them(run: Run, root: Path) -> None:
    document = run("store", "ls", "--root", root, "--format", "json").document
    assert (document["schema"], document["kind"]) == ("wclayer.store.ls/1", "store")
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert sorted(layer["kind"] for layer in layers.values()) == ["read-only"] * 3 + ["read-write"]
    assert layers["box"]["depth"] == 2
    top = layers[layers["box"]["parent"]]
    assert top["images"] == layers[top["parent"]]["images"] == ["app"]
    assert layers[top["parent"]]["parent"] is None
    assert all(layer["size"] > 0 and layer["uses"] == 0 for layer in layers.values())
    text = run("store", "ls", "--root", root).out
    assert len(text.splitlines()) == 4
    assert "box  read-write  on " in text
    assert text.count("  app") == 2


def test_fsck_finds_what_is_wrong_and_changes_nothing(run: Run, root: Path) -> None:
    ended = run("store", "fsck", "--content", "--root", root)
    assert (ended.code, ended.out) == (0, f"{root}: nothing is wrong\n")
    spoil(root)
    (root / "windowsfilter" / "x-removing").mkdir()
    (root / "windowsfilter" / "box" / "state.json").write_text("{}")
    assert run("store", "fsck", "--root", root, "--format", "json").code == 1
    ended = run("store", "fsck", "--content", "--root", root, "--format", "json")
    found = sorted((finding["code"], finding["path"]) for finding in ended.document["findings"])
    assert found == [("leftover", "x-removing"), ("state", ""), ("wrong-content", "Files/a")]
    assert ended.code == 1
    assert (root / "windowsfilter" / "x-removing").is_dir()
    assert "box: state: " in run("store", "fsck", "--root", root).out


def test_gc_removes_what_no_image_has(run: Run, root: Path) -> None:
    (root / "windowsfilter" / "x-removing").mkdir()
    for dry in (True, False):
        ended = run("store", "gc", "--root", root, "--format", "json", *(["--dry-run"] if dry else []))
        assert ended.document["dry_run"] is dry
        assert len(ended.document["layers"]) == 1
        assert [Path(path).name for path in ended.document["leftovers"]] == ["x-removing"]
        assert ended.document["size"] > 0
    assert run("store", "gc", "--root", root).out == "removed 0 layers and 0 leftovers, 0 B\n"
    assert run("store", "fsck", "--content", "--root", root).code == 0
    assert len(run("store", "ls", "--root", root, "--format", "json").document["layers"]) == 3


def test_du_says_what_is_there_and_what_nobody_needs(run: Run, root: Path) -> None:
    document = run("store", "du", "--root", root, "--format", "json").document
    assert document["layers"] == 4
    assert document["unneeded_layers"] == 1
    assert document["size"] > document["unneeded_size"] > 0
    assert "needed by nobody: 1 layers" in run("store", "du", "--root", root).out


def test_the_bare_home_of_a_driver_is_a_store_too(run: Run, tmp_path: Path) -> None:
    with WindowsFilterDriver(tmp_path / "home") as driver:
        add(driver, "base", "", BASE)
        driver.create("empty", "base")
        driver.get("base")
        document = run("store", "ls", "--root", tmp_path / "home", "--format", "json").document
        assert document["kind"] == "driver"
        assert [(one["name"], one["kind"], one["uses"]) for one in document["layers"]] == [
            ("base", "read-only", 1),
            ("empty", "empty", 0),
        ]
    assert run("store", "fsck", "--root", tmp_path / "home").code == 0
    (tmp_path / "home" / "stray").write_text("")
    assert "stray: stranger" in run("store", "fsck", "--root", tmp_path / "home").out
    assert run("store", "gc", "--root", tmp_path / "home").code == 0


def test_snapshots_are_a_store_too(run: Run, tmp_path: Path) -> None:
    with Snapshotter(tmp_path) as snapshots:
        snapshots.prepare("extract-1")
        snapshots.apply("extract-1", tar(BASE))
        snapshots.commit("base", "extract-1")
        snapshots.prepare("active", "base")
        snapshots.view("view", "base")
    document = run("store", "ls", "--root", tmp_path, "--format", "json").document
    assert document["kind"] == "snapshots"
    assert [(one["name"], one["kind"], one["parent"]) for one in document["layers"]] == [
        ("active", "active", "base"),
        ("base", "committed", None),
        ("view", "view", "base"),
    ]
    assert run("store", "fsck", "--content", "--root", tmp_path).code == 0
    (tmp_path / "snapshots" / "9").mkdir()
    assert "snapshots/9: leftover" in run("store", "fsck", "--root", tmp_path).out
    assert run("store", "gc", "--root", tmp_path).out.splitlines()[0] == f"removed {tmp_path}/snapshots/9"
    assert run("store", "fsck", "--root", tmp_path).code == 0
    assert run("store", "du", "--root", tmp_path).code == 0


def test_the_root_may_be_named_by_the_environment(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WCLAYER_STORE_ROOT", str(root))
    assert run("store", "ls").code == 0


def test_where_there_is_no_store_nothing_is_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("")
    for verb in ("ls", "fsck", "gc", "du"):
        assert run("store", verb, "--root", tmp_path / "none").code == 3
        assert run("store", verb, "--root", tmp_path / "other").code == 8
    assert not (tmp_path / "none").exists()
    assert [path.name for path in (tmp_path / "other").iterdir()] == ["file"]
