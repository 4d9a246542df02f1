"""``wclayer store`` on the stores of a Windows host."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.store.hosts.containerd_host import ContainerdHost
from tests.store.hosts.docker_host import DockerHost


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A drive with a store of Docker's that has lost a layer, and a whole one of containerd's."""
    drive = tmp_path / "drive"
    docker = DockerHost(drive / "ProgramData" / "docker")
    base = docker.layer("base", {"b": b"b"}, source="registry.test/base")
    top = docker.layer("top", {"t": b"t"}, base, source="registry.test/app")
    docker.make_image(top, "registry.test/app:1")
    shutil.rmtree(docker.path(top))
    containerd = ContainerdHost(drive / "ProgramData" / "containerd" / "root")
    containerd.image("registry.test/other:1", [b"base", b"top"])
    containerd.write()
    return drive


def test_ls_lists_all_stores_of_a_drive(run: Run, drive: Path) -> None:
    ended = run("store", "ls", "--root", drive, "--format", "json")
    assert ended.code == 0
    assert ended.document["schema"] == "wclayer.store.host-ls/1"
    docker, containerd = ended.document["stores"]
    assert (docker["kind"], containerd["kind"]) == ("windowsfilter", "containerd")
    assert sorted(layer["kind"] for layer in docker["layers"]) == ["layer", "lost"]
    assert docker["images"][0]["layers"][1] is None
    assert [layer["id"] for layer in containerd["layers"]] == ["windows/1", "windows/2"]
    text = run("store", "ls", "--root", drive).out
    assert f"windowsfilter: {drive}/ProgramData/docker\n" in text
    assert "2 layers, 1 of them not here" in text
    assert "image registry.test/other:1" in text


def test_fsck_says_what_is_wrong_and_ends_with_1(run: Run, drive: Path) -> None:
    ended = run("store", "fsck", "--content", "--root", drive, "--format", "json")
    assert ended.code == 1
    assert (ended.document["errors"], ended.document["warnings"]) == (1, 0)
    (finding,) = ended.document["stores"][0]["findings"]
    assert (finding["code"], finding["severity"], finding["namespace"]) == ("layer-folder-missing", "error", None)
    text = run("store", "fsck", "--root", drive)
    assert text.code == 1
    assert "  error: layer-folder-missing: sha256:" in text.out
    assert text.out.endswith("1 errors, 0 warnings\n")


def test_fsck_of_a_whole_store_ends_with_0(run: Run, drive: Path) -> None:
    ended = run("store", "fsck", "--root", drive / "ProgramData" / "containerd" / "root")
    assert ended.code == 0
    assert "nothing is wrong" in ended.out


def test_du_measures_layers(run: Run, drive: Path) -> None:
    ended = run("store", "du", "--root", drive, "--format", "json")
    assert ended.code == 0
    containerd = ended.document["stores"][1]
    assert [(one["id"], one["files"], one["size"]) for one in containerd["layers"]] == [
        ("windows/1", 1, 1),
        ("windows/2", 1, 2),
    ]
    assert (containerd["size"], containerd["unheld_size"]) == (3, 0)
    assert "in all 3 B, held by nothing 0 B" in run("store", "du", "--root", drive).out


def test_plan_gives_steps_and_does_none(run: Run, drive: Path) -> None:
    before = sorted(drive.rglob("*"))
    ended = run("store", "plan", "--root", drive, "--format", "json")
    assert ended.code == 0
    kinds = [step["kind"] for step in ended.document["stores"][0]["steps"]]
    assert kinds == ["pull", "stop-service", "import-layer", "start-service"]
    assert ended.document["stores"][1]["steps"] == []
    text = run("store", "plan", "--root", drive).out
    assert "  3. import-layer ProgramData/docker/windowsfilter/" in text
    assert "     PS> wclayer.exe import -i layer.tar.gz -l ($root + '\\windowsfilter\\" in text
    assert "nothing to do" in text
    assert sorted(drive.rglob("*")) == before


def test_timeline_is_in_order_in_every_form(run: Run, drive: Path) -> None:
    document = run("store", "timeline", "--root", drive, "--format", "json").document
    assert document["schema"] == "wclayer.store.timeline/1"
    times = [event["nanoseconds"] for event in document["events"]]
    assert times == sorted(times)
    assert {event["store"] for event in document["events"]} == {"windowsfilter", "containerd"}
    lines = run("store", "timeline", "--root", drive, "--format", "jsonl").out.splitlines()
    assert [json.loads(line)["nanoseconds"] for line in lines] == times
    assert len(run("store", "timeline", "--root", drive).out.splitlines()) == len(times)


@pytest.mark.parametrize("verb", ["plan", "timeline"])
def test_a_folder_that_is_no_store_of_a_host_is_a_mistake(run: Run, tmp_path: Path, verb: str) -> None:
    ended = run("store", verb, "--root", tmp_path)
    assert ended.code == 2
    assert "is no store of a Windows host" in ended.err
    assert run("store", verb, "--root", tmp_path / "nothing").code == 3


def test_gc_sends_to_the_plan(run: Run, drive: Path) -> None:
    ended = run("store", "gc", "--root", drive)
    assert ended.code == 2
    assert "wclayer store plan" in ended.err


def test_a_name_cannot_paint_the_terminal(run: Run, drive: Path) -> None:
    home = drive / "ProgramData" / "docker" / "windowsfilter"
    (home / "evil\x1b[31m-removing").mkdir()
    for verb in ("ls", "fsck", "du", "plan", "timeline"):
        assert "\x1b" not in run("store", verb, "--root", drive).out
