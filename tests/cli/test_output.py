"""What goes to standard output is the same however it is brought there: in large pieces, row by row, or at once."""

from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cli.conftest import Run
from tests.image.stacks import file, make_image
from wclayer.cli.output import write_facts, write_json, write_json_list, write_jsonl, write_line, write_lines

NAMES = ("path", 'odd "%s"\n', "size")
SCHEMA = "wclayer.test%d/1"
TEXT = st.text(st.characters(), max_size=8)
VALUES = st.one_of(TEXT, st.integers(), st.none(), st.booleans(), st.floats(allow_nan=False))
ROWS = st.lists(st.tuples(VALUES, VALUES, VALUES), max_size=5)


def written(write: Callable[[], object], encoding: str = "utf-8") -> bytes:
    raw = io.BytesIO()
    with redirect_stdout(io.TextIOWrapper(raw, encoding=encoding, newline="\n")) as text:
        write()
        text.flush()
        return raw.getvalue()


@given(ROWS)
def test_rows_are_encoded_as_json_encodes_them(rows: list[tuple[Any, ...]]) -> None:
    dictionaries = [dict(zip(NAMES, row, strict=True)) for row in rows]
    lines = "".join(json.dumps({"schema": SCHEMA, **one}) + "\n" for one in dictionaries)
    assert written(lambda: write_jsonl(SCHEMA, NAMES, rows)) == lines.encode()
    whole = written(lambda: write_json(SCHEMA, {"entries": dictionaries}))
    assert written(lambda: write_json_list(SCHEMA, "entries", NAMES, rows)) == whole


@given(st.lists(TEXT), st.sampled_from(["utf-8", "ascii", "cp1252"]))
def test_many_lines_are_written_as_one_after_the_other(lines: list[str], encoding: str) -> None:
    def one_by_one() -> None:
        for line in lines:
            write_line(line)

    assert written(lambda: write_lines(lines), encoding) == written(one_by_one, encoding)


def test_what_came_before_an_error_is_written() -> None:
    def rows() -> Iterator[tuple[str]]:
        yield ("one",)
        yield ("two",)
        raise OSError("the third is damaged")

    def write() -> None:
        with pytest.raises(OSError, match="third"):
            write_jsonl("s/1", ["path"], rows())

    assert written(write) == b'{"schema": "s/1", "path": "one"}\n{"schema": "s/1", "path": "two"}\n'


def test_the_values_of_labels_stand_below_each_other() -> None:
    facts = [("Size", "7"), ("a label that is long enough", "x")]
    assert written(lambda: write_facts(facts)) == b"Size:                7\na label that is long enough: x\n"


def test_rows_do_not_wait_for_the_last_one() -> None:
    raw = io.BytesIO()
    seen = 0

    def lines() -> Iterator[str]:
        nonlocal seen
        for _ in range(1000):
            yield "x" * 999
        seen = len(raw.getvalue())
        yield "last"

    with redirect_stdout(io.TextIOWrapper(raw, encoding="utf-8")) as text:
        write_lines(lines())
        text.flush()
        assert len(raw.getvalue()) == 1000 * 1000 + len("last") + len(os.linesep)
    assert seen > 800_000


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_file_that_does_not_fit_is_an_error(unbuffered: str, tmp_path: Path, run: Run) -> None:
    """Also when standard output takes only part of what it is given, and says so in passing."""
    image = str(tmp_path / "unpacked")
    assert run("unpack", make_image(tmp_path / "layout", [file("Files/f", b"x" * 10_000)]), image).code == 0
    assert run("cat", image, "f").data == b"x" * 10_000
    with (tmp_path / "out").open("wb") as output:
        ended = subprocess.run(
            [sys.executable, "-m", "wclayer", "cat", image, "f"],
            check=False,
            stdout=output,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)),
            timeout=60,
        )
    assert ended.returncode == 8
    assert ended.stderr == b"wclayer: File too large\n"
