"""Every case of the conformance suites, and the runner itself: it has to notice what is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conformance.runner import cases_in, run_case

ROOT = Path(__file__).resolve().parents[1]
SUITES = [ROOT / "tests/data/layertar", ROOT / "tests/data/layertar-extra"]
CASES = [case for suite in SUITES for case in cases_in(suite)]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_layer_tar_case(case: Path) -> None:
    assert run_case(case) is None


def test_the_suites_are_whole() -> None:
    listed = json.loads((SUITES[0] / "index.json").read_bytes())
    assert [case.name for case in cases_in(SUITES[0])] == [row["case"] for row in listed]
    assert len(cases_in(SUITES[1])) > 20


def _edit(name: str, change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def edit(case: Path) -> None:
        path = case / name
        path.write_bytes(change(path.read_bytes()))

    return edit


def _flip(position: int) -> Callable[[bytes], bytes]:
    return lambda data: data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def _set(*keys: str | int, value: object) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        content = json.loads(data)
        place = content
        for key in keys[:-1]:
            place = place[key]
        assert place[keys[-1]] != value
        place[keys[-1]] = value
        return json.dumps(content).encode()

    return change


def _without_last(*keys: str | int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        content = json.loads(data)
        place = content
        for key in keys:
            place = place[key]
        del place[-1]
        return json.dumps(content).encode()

    return change


DAMAGE = {
    "a byte of the tar": ("003-padding", _edit("layer.tar", _flip(512)), "tar differs at byte 512 (block 1, offset 0)"),
    "the end of the tar": ("003-padding", _edit("layer.tar", lambda data: data + bytes(512)), "tar differs at byte"),
    "an attribute": (
        "003-padding",
        _edit("decode.json", _set("ops", 0, "attributes", value=99)),
        "operation 0, attributes: ours 32, expected 99",
    ),
    "a time by one tick": (
        "004-subsecond",
        _edit("decode.json", _set("ops", 0, "change_time", value=1)),
        "operation 0, change_time: ",
    ),
    "a stream": (
        "003-padding",
        _edit("decode.json", _set("ops", 1, "stream", "sha256", value="0" * 64)),
        "operation 1, stream: ",
    ),
    "an operation too few": ("003-padding", _edit("decode.json", _without_last("ops")), "operations, expected"),
    "the total": ("003-padding", _edit("decode.json", _set("total_size", value=1)), "total size"),
    "a name in the listing": (
        "044-plain-ustar",
        _edit("decode.json", _set("tar", 0, "name", value="another")),
        "member 0, name: ",
    ),
    "content in the listing": (
        "003-padding",
        _edit("decode.json", _set("tar", 1, "data_sha256", value="0" * 64)),
        "member 1, data_sha256: ",
    ),
    "an error that is not there": (
        "044-plain-ustar",
        _edit("decode.json", _set("error", value="tar-header")),
        "reading ended with no error, expected tar-header",
    ),
    "no error where one is": (
        "050-bad-rawsd",
        _edit("decode.json", _set("error", value=None)),
        "reading ended with base64, expected no error",
    ),
    "no error in the listing where one is": (
        "052-truncated-data",
        _edit("decode.json", _set("tar_error", value=None)),
        "listing ended with unexpected-eof, expected no error",
    ),
    "writing that should fail": (
        "003-padding",
        _edit("case.json", _set("encode_error", value="ea-buffer")),
        "writing should fail with ea-buffer and gave",
    ),
    "writing that should succeed": (
        "040-size-mismatch",
        _edit("case.json", _set("encode_error", value=None)),
        "writing failed: ",
    ),
    "a backup stream": (
        "003-padding",
        _edit("streams.json", _set(0, "stream", "sha256", value="0" * 64)),
        "builds another backup stream",
    ),
    "a file that is no JSON": ("003-padding", _edit("decode.json", lambda data: data[:-9]), "JSONDecodeError"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_the_runner_names_the_first_difference(tmp_path: Path, what: str) -> None:
    name, damage, expected = DAMAGE[what]
    case = tmp_path / name
    shutil.copytree(SUITES[0] / name, case)
    assert run_case(case) is None
    damage(case)
    difference = run_case(case)
    assert difference is not None
    assert expected in difference


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.conformance", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_command_fails_when_one_case_does(tmp_path: Path) -> None:
    for name in ("003-padding", "044-plain-ustar"):
        shutil.copytree(SUITES[0] / name, tmp_path / name)
    good = _run(tmp_path, "-v")
    assert good.stdout.splitlines() == ["ok   003-padding", "ok   044-plain-ustar", "2 passed, 0 failed"]
    assert good.returncode == 0
    _edit("layer.tar", _flip(512))(tmp_path / "003-padding")
    bad = _run(tmp_path)
    assert bad.returncode == 1
    assert bad.stdout.startswith("FAIL 003-padding: tar differs at byte 512")
    assert bad.stdout.endswith("1 passed, 1 failed\n")


def test_the_command_refuses_a_folder_without_cases(tmp_path: Path) -> None:
    result = _run(tmp_path)
    assert result.returncode == 2
    assert "holds no cases" in result.stderr
