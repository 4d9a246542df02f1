"""The verbs about Windows' own forms and errors: what they print, and their exit codes."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tests.image.lint.tars import Layer
from wclayer.cli.main import main


@pytest.fixture
def layer(tmp_path: Path) -> str:
    path = tmp_path / "layer.tar"
    path.write_bytes(Layer().file("Files/a").file("Files/NUL.txt").file("Files/\x1b[31mred").bytes())
    return str(path)


def test_explain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert main(["explain", "hcsshim::ImportLayer failed in Win32: … (0x3)"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("0x3: The system cannot find the path specified.\n")
    assert "[import-not-found]" in printed
    assert "moby#41058" in printed
    assert main(["explain", "ImportLayer", "0x5", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "wclayer.explain/1"
    assert document["explanations"][0]["id"] == "import-denied"
    assert main(["explain", "nonsense"]) == 3
    assert "nothing is known" in capsys.readouterr().err
    monkeypatch.setattr("sys.stdin", io.StringIO("invalid hard link in layer"))
    assert main(["explain", "-"]) == 0
    assert "invalid-hard-link" in capsys.readouterr().out


def test_layer_id(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layer-id", "C:\\layers\\4"]) == 0
    assert capsys.readouterr().out == "bd9c3ef9-f239-59b5-a27e-15c523b1d149  C:\\layers\\4\n"
    assert main(["layer-id", "/a/4", "/b/4", "--format", "json"]) == 0
    printed = capsys.readouterr()
    assert [one["guid"] for one in json.loads(printed.out)["layers"]] == ["bd9c3ef9-f239-59b5-a27e-15c523b1d149"] * 2
    assert "have the same GUID" in printed.err
    assert main(["layer-id", "--name", ""]) == 0
    assert capsys.readouterr().out.startswith("62a9753f-ed70-52d8-ba49-d04390fe316f")


def test_lint_says_what_it_finds_and_fails_on_what_it_is_told(capsys: pytest.CaptureFixture[str], layer: str) -> None:
    assert main(["lint", layer]) == 1
    printed = capsys.readouterr().out
    assert "error   name-illegal: " in printed
    assert "\x1b" not in printed
    assert printed.endswith("1 layers: 1 errors, 1 warnings, 0 notes\n")
    assert main(["lint", layer, "--ignore", "name-illegal"]) == 0
    assert main(["lint", layer, "--ignore", "name-illegal", "--fail-on", "warning"]) == 1
    assert main(["lint", layer, "--fail-on", "never"]) == 0
    assert main(["lint", layer, "--ignore", "nonsense"]) == 2
    assert main(["lint"]) == 2
    assert main(["lint", layer + "-not-there"]) == 3


def test_lint_in_forms_for_programs(capsys: pytest.CaptureFixture[str], layer: str) -> None:
    assert main(["lint", layer, "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["schema"] == "wclayer.lint/1"
    assert main(["lint", layer, "--format", "sarif"]) == 1
    assert json.loads(capsys.readouterr().out)["version"] == "2.1.0"
    assert main(["lint", "--list-rules"]) == 0
    assert "hive-empty" in capsys.readouterr().out
    assert main(["lint", "--list-rules", "--format", "json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["rules"]) > 50


def test_lint_counts_what_it_does_not_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    made = Layer()
    for number in range(25):
        made.file(f"Files/{number}?")
    (tmp_path / "layer.tar").write_bytes(made.bytes())
    assert main(["lint", str(tmp_path / "layer.tar")]) == 1
    printed = capsys.readouterr().out
    assert "and 5 more of name-illegal" in printed
    assert "25 errors" in printed


def test_convert(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(Layer().file("Files/a", b"data").bytes())
    assert main(["convert", str(tmp_path / "layer.tar"), f"transport:{tmp_path / 't'}"]) == 0
    assert capsys.readouterr().out == f"0  {tmp_path / 't'}\n"
    assert (tmp_path / "t/tombstones.txt").exists()
    assert main(["convert", f"transport:{tmp_path / 't'}", str(tmp_path / "b.tar.gz"), "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "wclayer.convert/1"
    assert document["diff_ids"][0].startswith("sha256:")
    assert main(["convert", str(tmp_path / "b.tar.gz"), f"oci:{tmp_path / 'oci'}:x", "--os-version", "10.0.1"]) == 0
    assert "sha256:" in capsys.readouterr().out
    assert main(["convert", str(tmp_path / "nowhere"), str(tmp_path / "x")]) == 3


def test_convert_tells_what_is_lost(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    layer = Layer().base().folder("UtilityVM", sd=None).folder("UtilityVM/Files")
    (tmp_path / "layer.tar").write_bytes(layer.bytes())
    assert main(["convert", str(tmp_path / "layer.tar"), f"transport:{tmp_path / 't'}"]) == 0
    assert "2 utility-vm-left-out" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "layer.tar"), f"transport:{tmp_path / 'u'}", "--strict"]) == 6
    assert not (tmp_path / "u").exists()
