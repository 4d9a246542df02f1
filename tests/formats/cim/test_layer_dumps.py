"""The dump command of the conformance suite: JSON lines that another reader's can be compared with."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.formats.cim.test_layer_reader import BASE, image

ROOT = Path(__file__).parents[3]


def command(*arguments: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tests.conformance", "dump", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_path_is_a_line_with_its_links_and_streams(tmp_path: Path) -> None:
    done = command(image(tmp_path / "a.cim", BASE))
    assert (done.returncode, done.stderr) == (0, "")
    rows = {row["path"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert rows.keys() == {""} | {item.path.replace("/", "\\") for item in BASE}
    assert {path for path, row in rows.items() if row["nlinks"] == 3} == {"b\\l3", "l1", "l2"}
    assert [stream["name"] for stream in rows["a\\two"]["streams"]] == ["s"]


@pytest.mark.parametrize("change", [None, "size", "path", "less", "more"])
def test_a_dump_is_compared_field_by_field(tmp_path: Path, change: str | None) -> None:
    cim = image(tmp_path / "a.cim", BASE)
    rows = [json.loads(line) for line in command(cim).stdout.splitlines()]
    for row in rows:
        row["field of another reader"] = 1
        del row["tail"]
    if change == "size":
        rows[2]["size"] += 1
    elif change == "path":
        rows[2]["path"] += "x"
    elif change == "less":
        rows.pop()
    elif change == "more":
        rows.append(rows[-1] | {"path": "more"})
    other = tmp_path / "other.jsonl"
    other.write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = command(cim, "--against", other)
    assert done.stderr == ""
    assert done.returncode == (0 if change is None else 1)
    assert len(done.stdout.splitlines()) == {None: 0, "size": 1, "path": 2, "less": 1, "more": 1}[change]
