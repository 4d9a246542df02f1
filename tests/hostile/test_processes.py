"""The same refusals by the command as a process of its own: exit codes and streams are what a script sees."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.hostile.cases import NAME_CASES, Case
from tests.hostile.command import INTEGRITY, arguments_of, run, snapshot
from tests.hostile.format_cases import FORMAT_CASES
from tests.hostile.images import Layout
from tests.hostile.link_cases import LINK_CASES, ORDER_CASES
from tests.hostile.tars import file, layer

CASES = [cases[number] for cases in (NAME_CASES, LINK_CASES, ORDER_CASES, FORMAT_CASES) for number in (0, 9, 17)]


@pytest.mark.parametrize("case", [case for case in CASES if not case.with_parent], ids=str)
def test_a_process_refuses(case: Case, tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(case.make())
    reference = Layout([case.make()]).write(tmp_path / "image")
    before = snapshot(tmp_path, without=[tmp_path])
    for arguments in (("import", tmp_path / "layer.tar"), ("unpack", reference)):
        outcome = run(*arguments, tmp_path / "out")
        assert outcome.code == INTEGRITY, outcome
        assert outcome.out == ""
        for text in case.mentions:
            assert text in outcome.err
        assert snapshot(tmp_path, without=[tmp_path]) == before


def test_standard_input_is_refused_like_a_file(tmp_path: Path) -> None:
    hostile = layer(file("../evil"))
    done = subprocess.run(
        arguments_of("import", "-", tmp_path / "out"), input=hostile, capture_output=True, check=False
    )
    assert done.returncode == INTEGRITY
    assert b"../evil" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["verify", "ls", "stat", "cat", "extract"])
def test_every_verb_that_reads_refuses_a_hostile_layer(verb: str, tmp_path: Path) -> None:
    source = tmp_path / "layer.tar"
    source.write_bytes(layer(file("../evil")))
    options: dict[str, list[str | Path]] = {"cat": ["/x"], "extract": ["/good.txt", "-o", tmp_path / "extracted"]}
    before = snapshot(tmp_path)
    outcome = run(verb, source, *options.get(verb, []))
    assert outcome.code == INTEGRITY, outcome
    assert "../evil" in outcome.out + outcome.err
    assert snapshot(tmp_path) == before
