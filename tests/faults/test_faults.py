"""Whatever happens between client and registry: the right blob, or the right exit code, and never a wrong blob.

With ``pytest -s`` the table of all cases is printed at the end; ``python -m tests.faults`` prints it as well.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.cases import DOWNLOADS, UPLOADS
from tests.faults.runner import Case, Mode, Outcome, check, run
from tests.faults.upstreams import CONTENT, Upstream, docker_upstream, memory_upstream

ALL = [
    pytest.param(case, mode, id=f"{what}: {case.name}, {mode}")
    for what, cases in (("download", DOWNLOADS), ("upload", UPLOADS))
    for case in cases
    for mode in case.modes
]


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Upstream]:
    folder = tmp_path_factory.mktemp("faults")
    with docker_upstream(folder) if shutil.which("docker-registry") else memory_upstream() as registry:
        yield registry


@pytest.fixture(scope="module")
def table() -> Iterator[list[Outcome]]:
    outcomes: list[Outcome] = []
    yield outcomes
    print("\ncase, mode, end, requests, times the blob, seconds")
    for outcome in outcomes:
        print(outcome.row)


@pytest.mark.parametrize(("case", "mode"), ALL)
def test_the_right_blob_or_the_right_exit_code(
    case: Case, mode: Mode, upstream: Upstream, table: list[Outcome], tmp_path: Path
) -> None:
    outcome = run(case, mode, upstream.host, upstream.repository_for(mode), CONTENT, tmp_path)
    table.append(outcome)
    assert check(outcome) == []
