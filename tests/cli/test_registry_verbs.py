"""``wclayer reg`` and ``wclayer env``: what they print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.registry.windows_images import UNINSTALL, three_layers
from wclayer.regf import Hive
from wclayer.regf.text import parse_reg

VERSION = "HKLM/SOFTWARE/Microsoft/Windows NT/CurrentVersion"


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return three_layers(tmp_path_factory.mktemp("windows"))


def test_ls(run: Run, windows: str) -> None:
    ended = run("reg", "ls", windows)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "HKLM\\SAM",
        "HKLM\\SECURITY",
        "HKLM\\SOFTWARE",
        "HKLM\\SYSTEM",
        "HKU\\.DEFAULT",
    ]
    assert "UBR  REG_DWORD  2322" in run("reg", "ls", windows, VERSION).out
    assert run("reg", "ls", windows, "HKLM/SYSTEM").out == "ControlSet001\\\nSelect\\\n"
    document = run("reg", "ls", windows, VERSION, "--format", "json").document
    assert document["schema"] == "wclayer.reg.ls/1"
    assert {"kind": "value", "name": "UBR", "type": "REG_DWORD", "data": 2322, "layer": 1}.items() <= next(
        entry for entry in document["entries"] if entry["name"] == "UBR"
    ).items()
    lines = run("reg", "ls", windows, "HKLM/SYSTEM", "-R", "--format", "jsonl").out.splitlines()
    assert {json.loads(line)["schema"] for line in lines} == {"wclayer.reg.ls/1"}
    deleted = run("reg", "ls", windows, f"HKLM\\SOFTWARE\\{UNINSTALL}", "--layer", "-1")
    assert deleted.out == "{11111111-2222-3333-4444-555555555555}\\ (deleted)\n"
    assert run("reg", "ls", windows, "HKLM/SOFTWARE/Nothing").code == 3
    assert run("reg", "ls", f"{windows}x").code == 3


def test_get(run: Run, windows: str) -> None:
    assert run("reg", "get", windows, VERSION, "--value", "UBR").out == "2322\n"
    assert run("reg", "get", windows, VERSION, "--value", "UBR", "--format", "raw").data == b"\x12\x09\0\0"
    value = run("reg", "get", windows, VERSION, "--value", "ubr", "--format", "json").document
    assert value == {
        "schema": "wclayer.reg.value/1",
        "path": VERSION.replace("/", "\\"),
        "name": "UBR",
        "type": "REG_DWORD",
        "data": 2322,
        "layer": 1,
    }
    key = run("reg", "get", windows, VERSION, "--format", "json").document
    assert key["schema"] == "wclayer.reg.key/1"
    assert key["layers"] == [0, 1]
    text = run("reg", "get", windows, VERSION).out
    assert text.startswith("Key:         HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\n")
    assert run("reg", "get", windows, VERSION, "--format", "raw").code == 2
    assert run("reg", "get", windows, VERSION, "--value", "nothing").code == 3
    assert run("reg", "get", windows, "HKCU/Software").code == 3


def test_grep(run: Run, windows: str) -> None:
    ended = run("reg", "grep", "-i", windows, "kb5034770", "HKLM/SOFTWARE", "--in", "keys")
    assert ended.code == 0
    assert ended.out.endswith("Package_for_KB5034770~31bf3856ad364e35~amd64~~20348.2322.1.4\n")
    assert len(ended.out.splitlines()) == 1
    assert run("reg", "grep", windows, "nothing has this").code == 1
    assert run("reg", "grep", windows, "(").code == 2
    assert run("reg", "grep", "-F", windows, "(").code == 1
    document = run("reg", "grep", windows, "^UBR$", "--in", "names", "--format", "json").document
    assert [entry["data"] for entry in document["entries"]] == [2322]


def test_export(run: Run, windows: str, tmp_path: Path) -> None:
    ended = run("reg", "export", windows, "HKLM/SYSTEM/Select")
    assert ended.out.startswith("Windows Registry Editor Version 5.00\r\n")
    for name, form in (("out.reg", "reg"), ("out.json", "json"), ("out.hive", "hive")):
        done = run("reg", "export", windows, "HKLM/SOFTWARE", "--format", form, "-o", tmp_path / name)
        assert (done.code, done.out) == (0, "")
    assert parse_reg((tmp_path / "out.reg").read_bytes())[0].path == "HKEY_LOCAL_MACHINE\\SOFTWARE"
    assert json.loads((tmp_path / "out.json").read_bytes())["schema"] == "wclayer.reg.export/1"
    hive = Hive((tmp_path / "out.hive").read_bytes())
    assert hive.key(r"Microsoft\Windows NT\CurrentVersion").value("UBR") is not None
    assert run("reg", "get", tmp_path / "out.hive", "Microsoft/Windows NT/CurrentVersion", "--value", "UBR").code == 0
    assert run("reg", "export", windows, "HKLM", "--format", "hive").code == 2
    assert run("reg", "export", windows, "--format", "json").document["keys"]


def test_diff_apply_and_blame(run: Run, windows: str, tmp_path: Path) -> None:
    (tmp_path / "change.reg").write_text(
        'Windows Registry Editor Version 5.00\n\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\Example]\n"n"=dword:7\n'
    )
    made = f"oci:{tmp_path / 'layout'}:made"
    done = run("reg", "apply", tmp_path / "change.reg", windows, "-o", made, "--format", "json")
    assert done.code == 0
    assert done.err.count("\n") == 1
    assert "experimental" in done.err
    assert done.document["schema"] == "wclayer.reg.apply/1"
    assert done.document["hives"] == ["SOFTWARE"]
    assert run("reg", "get", made, "HKLM/SOFTWARE/Example", "--value", "n").out == "7\n"
    assert run("reg", "diff", windows, windows).code == 0
    ended = run("reg", "diff", windows, made)
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "+ HKLM\\SOFTWARE\\Example",
        "+ HKLM\\SOFTWARE\\Example  n = REG_DWORD 7",
    ]
    text = run("reg", "diff", made, windows, "--format", "reg")
    assert [(one.path, one.deleted) for one in parse_reg(text.data)] == [
        ("HKEY_LOCAL_MACHINE\\SOFTWARE\\Example", True)
    ]
    assert run("reg", "diff", made, windows, "--format", "reg", "-o", tmp_path / "back.reg").code == 1
    back = f"oci:{tmp_path / 'layout'}:back"
    assert run("reg", "apply", tmp_path / "back.reg", made, "-o", back).code == 0
    assert run("reg", "diff", windows, back).code == 0
    document = run("reg", "diff", windows, made, "--format", "json").document
    assert document["changes"][1]["after"] == {"type": "REG_DWORD", "data": 7}
    assert run("reg", "diff", windows, made, "-o", tmp_path / "x").code == 2
    blamed = run("reg", "blame", back, "HKLM/SOFTWARE/Example")
    assert blamed.out.splitlines() == [
        "layer 3  set      HKLM\\SOFTWARE\\Example",
        "layer 4  deleted  HKLM\\SOFTWARE\\Example",
        "layer 3  set      HKLM\\SOFTWARE\\Example  n  REG_DWORD  7",
        "layer 4  deleted  HKLM\\SOFTWARE\\Example  n",
    ]
    events = run("reg", "blame", back, "HKLM/SOFTWARE/Example", "--format", "json").document
    assert len(events["layers"]) == 5
    assert events["events"][2]["value"] == {"name": "n", "type": "REG_DWORD", "data": 7}
    assert run("reg", "blame", back, "HKLM/SOFTWARE/Nothing").code == 3


def test_apply_takes_standard_input_and_refuses_what_is_no_text(
    run: Run, windows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bad.reg").write_text("[HKLM\\SOFTWARE\\a]\n")
    assert run("reg", "apply", tmp_path / "bad.reg", windows, "-o", f"oci:{tmp_path / 'l'}:x").code == 6
    assert run("reg", "apply", tmp_path / "nothing.reg", windows, "-o", f"oci:{tmp_path / 'l'}:x").code == 3
    (tmp_path / "empty.reg").write_text("REGEDIT4\n")
    tar = run("reg", "apply", tmp_path / "empty.reg", windows, "-o", tmp_path / "empty.tar")
    assert tar.code == 0
    assert "holds no key" in tar.err
    assert run("reg", "ls", tmp_path / "empty.tar", "HKLM").out.splitlines()[0] == "HKLM\\SAM"
    assert not (tmp_path / "l").exists()


def test_a_layer_to_standard_output(run: Run, windows: str, tmp_path: Path) -> None:
    done = run("env", "set", windows, "MODE", "test", "-o", "-")
    assert done.code == 0
    (tmp_path / "layer.tar").write_bytes(done.data)
    assert run("reg", "ls", tmp_path / "layer.tar", "HKLM/SYSTEM").out == "ControlSet001\\\n"


def test_env(run: Run, windows: str, tmp_path: Path) -> None:
    assert "Path=C:\\Windows\\system32;" in run("env", "ls", windows).out
    made = f"oci:{tmp_path}:made"
    done = run("env", "add-path", windows, "C:\\tools", "C:\\more", "-o", made)
    assert (done.code, done.err.count("\n")) == (0, 1)
    variables = run("env", "ls", made, "--format", "json").document["variables"]
    (path,) = [one for one in variables if one["name"] == "Path"]
    assert path["expanded"].endswith(";C:\\tools;C:\\more")
    assert path["type"] == "REG_EXPAND_SZ"
    again = run("env", "add-path", made, "c:\\tools\\", "-o", f"oci:{tmp_path}:again")
    assert "nothing" in again.out
    assert run("env", "set", made, "MODE", "x", "-o", f"oci:{tmp_path}:mode", "--format", "json").document["hives"] == [
        "SYSTEM"
    ]
    assert "MODE=x" in run("env", "ls", f"oci:{tmp_path}:mode").out.splitlines()
    assert run("env", "set", made, "A=B", "x", "-o", f"oci:{tmp_path}:bad").code == 2


def test_env_says_that_a_path_of_the_configuration_hides_it(run: Run, sample: str, tmp_path: Path) -> None:
    done = run("env", "add-path", sample, "C:\\tools", "-o", f"oci:{tmp_path}:made")
    assert done.code == 0
    assert "configuration" in done.err
    assert "configuration" not in run("env", "add-path", sample, "C:\\x", "-q", "-o", f"oci:{tmp_path}:quiet").err


def test_a_damaged_hive_is_named(run: Run, tmp_path: Path) -> None:
    (tmp_path / "SYSTEM").write_bytes(b"regf" + bytes(8192))
    ended = run("reg", "ls", tmp_path / "SYSTEM", "HKLM/SYSTEM")
    assert ended.code in (6, 7)
    assert "SYSTEM" in ended.err
