"""Places that may not be written, are taken, or are no folders; and an ordinary user who does everything."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hostile.command import (
    AS_SOMEBODY,
    INTEGRITY,
    NOBODY,
    STORE,
    USAGE,
    Outcome,
    require_root,
    run_as,
    snapshot,
)
from tests.hostile.images import Layout
from tests.hostile.link_cases import LINK_CASES, ORDER_CASES
from tests.hostile.tars import file, folder, layer, link
from tests.hostile.world import World

LAYER = layer(folder("Files/d"), file("Files/d/x", b"content"))


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder of an ordinary user; the folders of pytest are nobody's business but root's."""
    require_root()
    path = Path(tempfile.mkdtemp(prefix="wclayer-home-"))
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def nobody(*arguments: str | Path) -> Outcome:
    """The command as that user."""
    outcome = run_as(NOBODY, *arguments, cwd="/")
    assert "Traceback" not in outcome.err, outcome
    return outcome


def test_an_ordinary_user_does_everything(home: Path) -> None:
    images, out = home / "images", home / "out"
    assert nobody("sample", "-o", f"oci:{images}:demo").code == 0
    unpacked = nobody("unpack", f"oci:{images}:demo", out, "--format", "json")
    assert unpacked.code == 0, unpacked
    assert nobody("verify", out).code == 0
    assert nobody("unpack", f"oci:{images}:demo", out).code == 0
    chain = json.loads(unpacked.out)["chain"]
    parents: list[str | Path] = []
    for number, path in enumerate(reversed(chain)):
        exported, imported = home / f"{number}.tar.gz", home / f"imported-{number}"
        assert nobody("export", path, "-o", exported).code == 0
        result = nobody("import", exported, imported, *parents)
        assert result.code == 0, result
        parents = ["--parent", imported]
        assert nobody("verify", imported).code == 0
    assert nobody("unpack", "--view", "merged", f"oci:{images}:demo", home / "merged").code == 0
    assert nobody("verify", home / "merged").code == 0
    assert nobody("extract", out, "/Windows", "-o", home / "extracted").code == 0
    assert {path.owner() for path in out.rglob("*")} == {path.owner() for path in [home]}
    assert not list(home.rglob(".*wclayer-*"))


@pytest.mark.parametrize("case", [case for case in [*LINK_CASES, *ORDER_CASES] if not case.with_parent][::12], ids=str)
def test_an_ordinary_user_cleans_up_after_hostile_layers(home: Path, case: object) -> None:
    from tests.hostile.cases import Case

    assert isinstance(case, Case)
    (home / "layer.tar").write_bytes(case.make())
    reference = Layout([case.make()]).write(home / "image")
    before = snapshot(home, without=[home])
    assert nobody("import", home / "layer.tar", home / "out").code == INTEGRITY
    assert nobody("unpack", reference, home / "out").code == INTEGRITY
    assert snapshot(home, without=[home]) == before


def test_an_ordinary_user_removes_what_is_sealed_already(home: Path) -> None:
    """The destination is taken at the last moment, when the new folder is complete and read-only."""
    out = home / "out"
    data = layer(*(folder(f"Files/{number}") + file(f"Files/{number}/x") for number in range(300)))
    with subprocess.Popen(
        [sys.executable, "-c", AS_SOMEBODY, str(NOBODY), "import", "-", str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=False,
    ) as process:
        assert process.stdin is not None
        process.stdin.write(data[:-1024])
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while not list(home.iterdir()) and time.monotonic() < deadline:
            time.sleep(0.01)
        out.mkdir()
        (out / "taken").write_bytes(b"")
        _, errors = process.communicate(data[-1024:])
    assert process.returncode == STORE, errors
    assert b"exists" in errors
    assert {path.name for path in home.rglob("*")} == {"out", "taken"}


def test_an_ordinary_user_sweeps_what_is_sealed_already(home: Path) -> None:
    """What a killed run left may be read-only throughout."""
    left = home / ".out.wclayer-0123456789abcdef"
    (left / "Files" / "a" / "b").mkdir(parents=True)
    (left / "Files" / "a" / "b" / "x").write_bytes(b"x")
    for path in [left, *left.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
        path.chmod(0o444 if path.is_file() else 0o555)
    (home / "layer.tar").write_bytes(LAYER)
    assert nobody("import", home / "layer.tar", home / "out").code == 0
    assert {path.name for path in home.iterdir()} == {"layer.tar", "out"}


@pytest.mark.parametrize("verb", ["import", "unpack", "merged", "export", "sample", "extract"])
def test_a_folder_that_belongs_to_somebody_else(verb: str, home: Path) -> None:
    (home / "layer.tar").write_bytes(LAYER)
    reference = Layout([LAYER]).write(home / "image")
    assert nobody("import", home / "layer.tar", home / "folder").code == 0
    foreign = home / "foreign"
    foreign.mkdir(mode=0o755)
    (foreign / "layer.tar").write_bytes(b"old")
    before = snapshot(home)
    arguments: dict[str, list[str | Path]] = {
        "import": ["import", home / "layer.tar", foreign / "out"],
        "unpack": ["unpack", reference, foreign / "out"],
        "merged": ["unpack", "--view", "merged", reference, foreign / "out"],
        "export": ["export", home / "folder", "-o", foreign / "layer.tar"],
        "sample": ["sample", "-o", f"oci:{foreign}/images:demo"],
        "extract": ["extract", home / "folder", "/d/x", "-o", foreign / "out"],
    }
    outcome = nobody(*arguments[verb])
    assert outcome.code == STORE, outcome
    assert "Permission denied" in outcome.err
    assert str(foreign) in outcome.err
    assert snapshot(home) == before


@pytest.mark.parametrize("verb", ["import", "unpack", "verify", "ls"])
@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_source_that_may_not_be_read(verb: str, what: str, home: Path) -> None:
    hidden = home / "hidden"
    hidden.mkdir()
    source = hidden / "layer.tar"
    source.write_bytes(LAYER)
    Layout([LAYER]).write(hidden / "image")
    (hidden if what == "folder" else source).chmod(0o700)
    (hidden / "image" / "index.json").chmod(0o600)
    reference: str | Path = f"oci:{hidden}/image" if verb == "unpack" else source
    more = [home / "out"] if verb in ("import", "unpack") else []
    outcome = nobody(verb, reference, *more)
    assert outcome.code == STORE, outcome
    assert "Permission denied" in outcome.err
    assert str(hidden) in outcome.err
    assert [path.name for path in home.iterdir()] == ["hidden"]


# ------------------------------------------------------------------------------------------------ places that are taken


@pytest.fixture
def reference(world: World) -> str:
    """An image."""
    return Layout([LAYER]).write(world.root / "image")


@pytest.fixture
def source(world: World) -> Path:
    """A layer."""
    path = world.root / "layer.tar"
    path.write_bytes(LAYER)
    return path


def test_a_destination_that_holds_something_stays(world: World, reference: str, source: Path) -> None:
    world.destination.mkdir()
    (world.destination / "mine").write_bytes(b"mine")
    for arguments in (["import", source], ["unpack", reference], ["unpack", "--view", "merged", reference]):
        world.refused(*arguments, world.destination, code=STORE, mentions=[str(world.destination)])
        assert [path.name for path in world.destination.iterdir()] == ["mine"]


def test_a_destination_that_is_a_file_stays(world: World, reference: str, source: Path) -> None:
    world.destination.write_bytes(b"mine")
    for arguments in (["import", source], ["unpack", reference], ["unpack", "--view", "merged", reference]):
        outcome = world.command(*arguments, world.destination)
        assert outcome.code in (USAGE, STORE)
        assert str(world.destination) in outcome.err
        assert world.destination.read_bytes() == b"mine"
    assert {path.name for path in world.work.iterdir()} == {"out", "sentinel"}


def test_a_destination_that_is_a_link_that_leads_nowhere_stays(world: World, reference: str, source: Path) -> None:
    world.destination.symlink_to("nowhere")
    for arguments in (["import", source], ["unpack", reference], ["unpack", "--view", "merged", reference]):
        outcome = world.command(*arguments, world.destination)
        assert outcome.code == STORE, outcome
        assert world.destination.is_symlink()
    assert {path.name for path in world.work.iterdir()} == {"out", "sentinel"}


def test_a_destination_below_a_file_is_an_error(world: World, reference: str, source: Path) -> None:
    for arguments in (["import", source], ["unpack", reference], ["unpack", "--view", "merged", reference]):
        world.refused(*arguments, world.work / "sentinel" / "out", code=STORE, mentions=["sentinel"])


def test_a_name_that_is_too_long_is_an_error(world: World, reference: str, source: Path) -> None:
    for arguments in (["import", source], ["unpack", reference], ["unpack", "--view", "merged", reference]):
        world.refused(*arguments, world.work / ("n" * 300), code=STORE, mentions=["nnn"])


def test_folders_made_on_the_way_go_again(world: World, source: Path) -> None:
    hostile = layer(file("../evil"))
    source.write_bytes(hostile)
    reference = Layout([hostile]).write(world.root / "image")
    for arguments in (["import", source], ["unpack", reference], ["unpack", "--view", "merged", reference]):
        world.refused(*arguments, world.work / "a" / "b" / "out")


def test_an_empty_destination_is_empty_after_a_failure(world: World, source: Path) -> None:
    hostile = layer(link("Files/l", "Files/missing"))
    source.write_bytes(hostile)
    reference = Layout([hostile]).write(world.root / "image")
    world.destination.mkdir()
    for arguments in (["import", source], ["unpack", reference], ["unpack", "--view", "merged", reference]):
        world.refused(*arguments, world.destination)


def test_an_unpacked_image_stays_when_another_is_unpacked_to_its_place(world: World, reference: str) -> None:
    assert world.command("unpack", reference, world.destination).code == 0
    other = Layout([layer(file("Files/other"))]).write(world.root / "other")
    world.refused("unpack", other, world.destination, code=STORE, mentions=["another image"])
    hostile = Layout([layer(file("../evil"))]).write(world.root / "hostile")
    world.refused("unpack", hostile, world.destination, code=STORE)
    world.refused("unpack", "--view", "merged", reference, world.destination, code=STORE)
    assert world.command("verify", world.destination).code == 0


def test_a_layer_folder_stays_when_another_is_imported_to_its_place(world: World, source: Path) -> None:
    assert world.command("import", source, world.destination).code == 0
    world.refused("import", source, world.destination, code=STORE, mentions=["exists"])
    source.write_bytes(layer(file("../evil")))
    assert world.command("import", source, world.destination).code in (STORE, INTEGRITY)
    assert world.command("verify", world.destination).code == 0
