"""``wclayer diff``: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.stacks import file, folder, folders, make_image


@pytest.fixture
def two(tmp_path: Path) -> tuple[str, str]:
    before = [*folders("Files", "Files/d"), file("Files/d/f", b"old"), file("Files/gone"), file("Files/same", b"same")]
    after = [*folders("Files", "Files/d"), file("Files/d/f", b"new", attributes=0x21), file("Files/same", b"same")]
    layout = tmp_path / "layout"
    return make_image(layout, before, tag="a"), make_image(layout, [*after, folder("Files/new")], tag="b")


def test_text(run: Run, two: tuple[str, str]) -> None:
    ended = run("diff", *two)
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.splitlines() == ["~ C:\\d\\f  (data, attributes)", "- C:\\gone", "+ C:\\new"]
    ended = run("diff", *two, "C:/d", "--ignore", "attributes")
    assert (ended.code, ended.out) == (1, "~ C:\\d\\f  (data)\n")
    assert run("diff", *two[::-1], "C:/d").out == ended.out.replace("(data)", "(data, attributes)")


def test_the_same_is_no_difference(run: Run, two: tuple[str, str], sample: str, unpacked: Path) -> None:
    for a, b in ((two[0], two[0]), (sample, unpacked), (unpacked, sample)):
        ended = run("diff", a, b, "--times")
        assert (ended.code, ended.data, ended.err) == (0, b"", "")


def test_json(run: Run, two: tuple[str, str]) -> None:
    document = run("diff", *two, "--format", "json").document
    assert document["schema"] == "wclayer.diff/1"
    assert (document["a"], document["b"]) == two
    assert document["counts"] == {"added": 1, "modified": 1, "deleted": 1}
    assert document["changes"][0] == {
        "change": "modified",
        "path": "Files/d/f",
        "windows_path": "C:\\d\\f",
        "what": ["data", "attributes"],
        "before": {"kind": "file", "size": 3, "attributes": 0x20},
        "after": {"kind": "file", "size": 3, "attributes": 0x21},
    }
    lines = [json.loads(line) for line in run("diff", *two, "--format", "jsonl").out.splitlines()]
    assert [{key: one[key] for key in one if key != "schema"} for one in lines] == document["changes"]
    assert {one["schema"] for one in lines} == {"wclayer.diff/1"}


def test_exit_codes(run: Run, two: tuple[str, str], tmp_path: Path) -> None:
    assert run("diff", two[0]).code == 2
    assert run("diff", *two, "--layer-a", "1").code == 2
    assert run("diff", *two, "C:/nowhere").code == 3
    assert run("diff", two[0], tmp_path / "nowhere").code == 3
    broken = tmp_path / "broken.tar"
    broken.write_bytes(b"\x1f\x8b" + bytes(100))
    assert run("diff", two[0], broken).code == 6


def test_the_odd_is_told(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "a:b").write_bytes(b"")
    ended = run("diff", tmp_path / "plain", tmp_path / "plain")
    assert ended.code == 0
    assert "1 name-refused" in ended.err
    assert run("diff", tmp_path / "plain", tmp_path / "plain", "--quiet").err == ""
