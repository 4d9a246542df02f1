"""The layer-folder conformance list: what a program must hold that makes, reads and changes layers as hcsshim does.

A test that proves a part of a case carries its number: ``test_30_a_link_to_a_link``. Several tests may carry one. This
file says what the numbers mean, and proves that none is without a test that runs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

TESTS = Path(__file__).parent

LIST = {
    "identities and paths": {
        1: "the GUID of a name: every pair that daemons logged, and no other encoding or case of the name",
        2: "the GUID of a layer: which part of a path is its name, with either slash, a slash at the end, a drive",
        3: "the other GUID, of any text; and the descriptor of a layer, of 64 and of 32 bits",
        4: "the long form of Windows paths",
        5: "the build of a utility VM: a 16-bit decimal without a line end",
        6: "the layer that has the utility VM: the first one; an error that is not absence is no absence",
        7: "layerchain.json: a list, null, nothing at all, damage, and who may change it",
    },
    "tombstones.txt": {
        8: "line ends: LF, CRLF, none behind the last line",
        9: "the first line, exact to the byte; an empty file; no file",
        10: "lines that are no paths, duplicates, lines without end",
        11: "where deletions come among the entries; those whose folder is missing or spelt otherwise",
        12: "the bytes that are written; a list that comes with a tar counts for nothing",
    },
    "reading a transport folder": {
        13: "the order of the walk",
        14: "sidecars: never entries; orphans; missing ones; folders of such a name",
        15: "the recycle bin, and what only looks like it",
        16: "attributes of blobs and the size of their data",
        17: "sparse data in all its shapes",
        18: "times of Files, of Hives and of hives",
        19: "where seeking works, and what it says elsewhere",
        20: "the end, errors and a closed reader: each says the same again",
        21: "extended attributes behind the data",
    },
    "writing a diff layer": {
        22: "blobs, sidecars and plain hives, to the byte",
        23: "names that come twice, too early, in other case, or do not belong",
        24: "folders that are reparse points are out of the way until the end",
        25: "ending an entry that went wrong",
        26: "data without an entry",
        27: "declaring the utility VM",
        28: "cloning it: what is shared with the parent, and the boot files that are not",
        29: "entries of it that change their type",
        30: "what a hard link means",
        31: "what can be deleted, and when it is",
        32: "failed entries and full disks leave nothing",
    },
    "finishing it": {
        33: "import, deletions, links, times, utility VM: in this order, and no further than the first error",
        34: "deletions of nothing, of full folders, of reparse points, of own entries",
        35: "own folders that are deleted; finishing twice",
        36: "a layer that cannot be begun leaves nothing",
    },
    "base layers": {
        37: "what is read of one, and what never",
        38: "writing one: order, links, deletions, errors that stick, times",
        39: "making one of plain folders: hives, boot configuration",
    },
    "safe files": {
        40: "no operation leaves the root or passes through a link, whatever the path",
        41: "nor while somebody swaps folders for links",
        42: "removing trees and making links",
    },
    "layer tars": {
        43: "deletions: all forms of their names, and the block that is written",
        44: "files of several names become links on the way out",
        45: "pristine copies of the boot files",
        46: "the size that is returned; imports that are stopped or cut short",
        47: "vendor records: missing, senseless, contradictory, at their limits",
        48: "alternate streams: whose they are, and which cannot be written",
        49: "layers by BuildKit, crane and imgutil",
        50: "odd types, and names in every spelling",
        51: "gzip: known by three bytes, written whole",
    },
    "the libraries of Windows": {
        52: "the arguments of every function",
        53: "what a result means, and what never reaches Windows",
        54: "where a layer is mounted; how a volume grows",
        55: "JSON documents to the byte; texts and exit codes of the command",
        56: "the GUIDs that Windows itself gives",
    },
}
SUBJECTS = {number: subject for part in LIST.values() for number, subject in part.items()}

ON_WINDOWS_ONLY = {56}


_ASSERTS = re.compile(r"\bassert\b|\bpytest\.raises\(|\b(?:assert|refused|untouched)[a-z_]*\(")


class Numbered(NamedTuple):
    """A test that carries a number."""

    number: int
    file: str
    name: str
    decorators: str
    body: str


def numbered_tests() -> Iterator[Numbered]:
    for path in sorted(TESTS.rglob("test_*.py")):
        source = path.read_text("utf-8")
        if not re.search(r"def test_[0-9]{2}_", source):
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef) and (found := re.match(r"test_([0-9]{2})_", node.name)):
                decorators = " ".join(ast.unparse(decorator) for decorator in node.decorator_list)
                body = "\n".join(ast.unparse(statement) for statement in node.body)
                yield Numbered(int(found[1]), str(path.relative_to(TESTS)), node.name, decorators, body)


FOUND = list(numbered_tests())


def test_the_list_is_numbered_without_gaps() -> None:
    assert list(SUBJECTS) == list(range(1, 57))


@pytest.mark.parametrize("number", SUBJECTS, ids=lambda number: f"{number:02}")
def test_every_number_is_carried_by_a_test_that_runs(number: int) -> None:
    carried = [test for test in FOUND if test.number == number]
    assert carried, SUBJECTS[number]
    skipped = [test.name for test in carried if "skip" in test.decorators or "pytest.skip" in test.body]
    if number in ON_WINDOWS_ONLY:
        assert all("win32" in test.decorators and "reason=" in test.decorators for test in carried)
    else:
        assert skipped == []


def test_no_test_carries_a_number_that_is_not_in_the_list() -> None:
    assert {test.number for test in FOUND} == set(SUBJECTS)


def test_every_one_of_them_asserts_something() -> None:
    assert [(test.file, test.name) for test in FOUND if not _ASSERTS.search(test.body)] == []
