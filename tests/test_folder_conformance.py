"""The public cases of whole folders, run as the conformance runner runs them, and the runner's own honesty."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.folders.rules import REASONS, Rules
from tests.conformance.folders.runner import is_folder_case, run_folder_case

FOLDER = Path(__file__).parent / "data" / "folders"
CASES = sorted(path.parent for path in FOLDER.glob("*/case.json"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_case_gives_what_the_reference_gives(case: Path) -> None:
    rules = Rules()
    assert run_folder_case(case, rules) == []
    assert set(rules.used) <= set(REASONS)
    assert not rules.unread_texts


def test_all_cases_are_of_the_schema() -> None:
    assert len(CASES) == 13
    assert all(is_folder_case(case) for case in CASES)


def test_rules_are_used_only_where_the_reference_does_otherwise() -> None:
    used = {}
    for case in CASES:
        rules = Rules()
        run_folder_case(case, rules)
        used[case.name] = dict(rules.used)
    assert {name: counts for name, counts in used.items() if counts} == {
        "pub-05": {"bcd-copied": 1},
        "pub-07": {"no-partial-import": 7},
        "pub-09": {"sparse-exported": 1},
        "pub-13": {"block-container": 2},
    }


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from leaves(inner, (*path, index))
    elif value is not None:
        yield path, value


def changed(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    return ("B" if value[:1] == "A" else "A") + value[1:]


ENDS = {f"calls/{name}/{key}" for name in ("CimCommitImage", "CimCloseImage") for key in ("fs", "hr")}


@pytest.mark.parametrize(
    ("item", "unread"),
    [
        ("pub-01/a", {"vmcompute/*/flavour"}),
        ("pub-02/a", set()),
        ("pub-03/a", set()),
        ("pub-06/a", {"vmcompute/*/flavour", "vmcompute/*/home"}),
        ("pub-13/forked", set()),
        # The container is refused, so what is asked of it as a whole is not compared; nor is the file that it is.
        ("pub-13/block", {f"calls/CimCreateImage2/{key}" for key in ("flags", "fs", "hr", "new", "path")} | ENDS),
    ],
)
def test_the_runner_notices_whatever_is_changed_in_an_expectation(tmp_path: Path, item: str, unread: set[str]) -> None:
    case, name = item.split("/")
    expected = json.loads((FOLDER / item / "expect.json").read_bytes())
    shutil.copytree(FOLDER / case, tmp_path / case)
    unnoticed, seen = set(), set()
    for path, value in leaves(expected):
        kind = "/".join("*" if isinstance(key, int) else key for key in path)
        if path[0] == "calls":
            kind = kind.replace("*", expected["calls"][path[1]]["fn"])
        if kind in seen:
            continue
        seen.add(kind)
        other = copy.deepcopy(expected)
        inner = other
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = changed(value)
        (tmp_path / case / name / "expect.json").write_text(json.dumps(other))
        if not run_folder_case(tmp_path / case, Rules()):
            unnoticed.add(kind)
    assert unnoticed == unread
