"""``wclayer rebase``: what it prints, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Run
from tests.image.stacks import file, folder, link, make_image, tar


def bases(layout: Path) -> list[str]:
    """An image, and arguments that put it on another base."""
    old, new, own = (tar([folder("Files"), file(f"Files/{name}", name.encode())]) for name in ("old", "new", "own"))
    app = make_image(layout, old, own, tag="app")
    ends = ["--old-base", make_image(layout, old, tag="old"), "--new-base", make_image(layout, new, tag="new")]
    return [app, f"oci:{layout}:out", *ends]


def test_an_image_is_put_on_another_base(tmp_path: Path, run: Run) -> None:
    ended = run("rebase", *bases(tmp_path / "images"))
    assert ended.code == 0, ended.err
    first, *_, last = ended.out.splitlines()
    assert first == "windows(10.0.20348.1)/amd64: 1 layer from 10.0.20348.1 to 10.0.20348.1"
    assert last.startswith(f"oci:{tmp_path}/images:out@sha256:")
    listed = run("ls", f"oci:{tmp_path}/images:out", "--format", "json")
    assert {entry["path"] for entry in json.loads(listed.out)["entries"]} >= {"Files/new", "Files/own"}
    assert "Files/old" not in listed.out


def test_json_names_both_bases(tmp_path: Path, run: Run) -> None:
    ended = run("rebase", *bases(tmp_path / "images"), "--format", "json", "--digest-file", tmp_path / "digest")
    document = json.loads(ended.out)
    assert document["schema"] == "wclayer.rebase/1"
    (one,) = document["rebased"]
    assert one["digest"] == document["digest"] == (tmp_path / "digest").read_text().strip()
    assert (one["old_base_layers"], one["new_base_layers"], one["own_layers"]) == (1, 1, 1)
    assert document["changed"] == {one["old_digest"]: one["digest"]}


def test_a_base_that_it_does_not_stand_on_is_a_usage_error(tmp_path: Path, run: Run) -> None:
    image, destination, _, _, *new = bases(tmp_path / "images")
    ended = run("rebase", image, destination, "--old-base", new[1], *new)
    assert ended.code == 2
    assert "does not stand on" in ended.err


def test_lint_finds_a_link_whose_target_the_new_base_lacks(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "images"
    old, new = (tar([folder("Files"), file(f"Files/{name}", b"x")]) for name in ("old", "new"))
    app = make_image(layout, old, tar([folder("Files"), link("Files/linked", "Files/old")]), tag="app")
    ends = ["--old-base", make_image(layout, old, tag="old"), "--new-base", make_image(layout, new, tag="new")]
    assert run("rebase", app, f"oci:{layout}:out", *ends).code == 0
    for tag, found in (("app", False), ("out", True)):
        ended = run("lint", f"oci:{layout}:{tag}", "--format", "json")
        assert ("hard-link-target" in {one["rule"] for one in json.loads(ended.out)["findings"]}) is found
