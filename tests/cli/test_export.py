"""``wclayer export``: the forms of a layer that it takes, and hard links or none; what ``convert`` lists."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.lint.tars import Layer
from tests.interop.members import members


@pytest.fixture
def layer(tmp_path: Path, run: Run) -> Path:
    (tmp_path / "in.tar").write_bytes(Layer().file("Files/a", b"data").link("Files/b", "Files/a").bytes())
    assert run("import", tmp_path / "in.tar", tmp_path / "layer").code == 0
    return tmp_path / "layer"


@pytest.mark.parametrize("form", ["layer", "transport", "base"])
def test_hard_links_are_written_or_not(layer: Path, form: str, tmp_path: Path, run: Run) -> None:
    place = f"{form}:{layer}"
    if form != "layer":
        place = f"{form}:{tmp_path / form}"
        assert run("convert", layer, place).code == 0
    kinds = {}
    diff_ids = set()
    for choice in ("yes", "no"):
        output = tmp_path / f"{choice}.tar"
        ended = run("export", place, "-o", output, "--as", "reference", "--hard-links", choice, "--format", "json")
        assert ended.code == 0
        diff_ids.add(ended.document["diff_id"])
        kinds[choice] = {member.name: member.kind for member in members(output.read_bytes())}
    assert kinds["yes"]["Files/b"] == "1"
    assert kinds["no"]["Files/b"] == "0"
    assert len(diff_ids) == 2
    assert run("export", place, "-o", tmp_path / "default.tar", "--as", "reference").code == 0
    assert (tmp_path / "default.tar").read_bytes() == (tmp_path / "yes.tar").read_bytes()


def test_the_original_cannot_lose_its_links(layer: Path, tmp_path: Path, run: Run) -> None:
    ended = run("export", layer, "-o", tmp_path / "x.tar", "--as", "original", "--hard-links", "no")
    assert ended.code == 2
    assert "--as reference" in ended.err
    ended = run("export", layer, "-o", tmp_path / "x.tar", "--hard-links", "no", "--format", "json")
    assert ended.document["as"] == "reference"
    assert ended.document["same_diff_id"] is False


def test_a_folder_of_windows_has_one_form_and_one_layer(layer: Path, tmp_path: Path, run: Run) -> None:
    assert run("convert", layer, f"transport:{tmp_path / 't'}").code == 0
    assert run("export", tmp_path / "t", "-o", tmp_path / "x.tar").code == 0
    assert run("export", tmp_path / "t", "-o", tmp_path / "x.tar", "--layer", "0").code == 2
    assert run("export", tmp_path / "t", "-o", tmp_path / "x.tar", "--as", "original").code == 3
    ended = run("export", tmp_path / "t", "-o", tmp_path / "x.tar", "--as", "faithful")
    assert ended.code == 7
    assert "wclayer convert" in ended.err
    assert run("export", f"transport:{layer}", "-o", tmp_path / "x.tar").code == 2
    assert run("export", f"base:{tmp_path / 'nowhere'}", "-o", tmp_path / "x.tar").code == 3


def test_strict_refuses_what_the_tar_cannot_hold(tmp_path: Path, run: Run) -> None:
    untimed = Layer().entry("Files/a", records={"atime": None, "ctime": None}).bytes()
    (tmp_path / "in.tar").write_bytes(untimed)
    assert run("import", tmp_path / "in.tar", tmp_path / "layer").code == 0
    ended = run("export", tmp_path / "layer", "-o", tmp_path / "x.tar", "--as", "reference")
    assert (ended.code, "3 times-filled" in ended.err) == (0, True)
    ended = run("export", tmp_path / "layer", "-o", tmp_path / "y.tar", "--as", "reference", "--strict")
    assert (ended.code, "--strict" in ended.err) == (6, True)
    assert not (tmp_path / "y.tar").exists()


def test_convert_lists_what_is_lost(tmp_path: Path, run: Run) -> None:
    layer = Layer().folder("UtilityVM").folder("UtilityVM/Files").file("UtilityVM/Files/x")
    (tmp_path / "in.tar").write_bytes(layer.bytes())
    ended = run("convert", tmp_path / "in.tar", f"transport:{tmp_path / 't'}", "--format", "json")
    # Nor do these entries say when they were made.
    assert ended.document["notices"] == {"utility-vm-left-out": 3, "times-filled": 2}
    assert [one["path"] for one in ended.document["listed"] if one["code"] == "utility-vm-left-out"] == [
        "UtilityVM",
        "UtilityVM/Files",
        "UtilityVM/Files/x",
    ]
    assert "odd, changed or left out: 2 times-filled, 3 utility-vm-left-out" in ended.err
    assert "a base folder, a plain folder, a tar or a layer folder keeps it" in ended.err
    assert run("convert", tmp_path / "in.tar", f"transport:{tmp_path / 'u'}", "--quiet").err == ""
