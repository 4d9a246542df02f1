"""``os``, ``base``, ``catalog`` and ``sbom``: what they print, and the exit codes that pipelines go by."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.registry.windows_images import WindowsBuilder, patch, server_core, three_layers
from tests.image.sbom.programs import program
from tests.registries.docker_registry import DockerRegistry


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> str:
    return three_layers(tmp_path_factory.mktemp("windows") / "layout")


@pytest.fixture(scope="module")
def no_registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    windows = WindowsBuilder()
    windows.hives = {}
    windows.commit({"Files/tool.exe": program({"CompanyName": "x"}, (1, 2, 3, 4))})
    return windows.image(tmp_path_factory.mktemp("none") / "layout")


# ---------------------------------------------------------------------- os


def test_os_prints_version_updates_and_their_layers(run: Run, image: str) -> None:
    ended = run("os", image)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert "version: 10.0.20348.2322" in lines
    assert "release: ltsc2022" in lines
    assert "set by layer: 1" in lines
    assert any("KB5034770" in line and "installed" in line and "layer 1" in line for line in lines)
    assert "software: 0" in lines


def test_os_has_a_document(run: Run, image: str) -> None:
    document = run("os", image, "--format", "json").document
    assert document["schema"] == "wclayer.os/1"
    assert (document["assessed"], document["version"], document["release"]) == (True, "10.0.20348.2322", "ltsc2022")
    assert {one["kb"]: one["layer"] for one in document["updates"] if one["kb"]} == {"KB5034129": 0, "KB5034770": 1}
    assert (document["too_old"], document["fail_if_older_than"]) == (None, None)


def test_os_fails_when_the_newest_update_is_too_old(run: Run, image: str) -> None:
    ended = run("os", image, "--fail-if-older-than", "45d", "--format", "json")
    assert ended.code == 1
    assert ended.document["too_old"] is True
    assert "older than 45d" in ended.err
    ended = run("os", image, "--fail-if-older-than", "99999d", "--format", "json")
    assert (ended.code, ended.document["too_old"]) == (0, False)


def test_os_never_takes_no_answer_for_a_good_one(run: Run, no_registry: str) -> None:
    ended = run("os", no_registry)
    assert ended.code == 1
    assert "NOT ASSESSED: the registry has no SOFTWARE" in ended.out
    assert "the OS was not assessed" in ended.err
    ended = run("os", no_registry, "--fail-if-older-than", "99999d", "--format", "json")
    assert ended.code == 1
    assert (ended.document["assessed"], ended.document["too_old"]) == (False, True)


def test_os_refuses_what_is_no_age(run: Run, image: str) -> None:
    assert run("os", image, "--fail-if-older-than", "soon").code == 2


def test_os_says_a_disagreement(run: Run, tmp_path: Path) -> None:
    reference = server_core().image(tmp_path / "layout", os_version="10.0.17763.1")
    assert "DISAGREEMENT: the registry says 10.0.20348.2227, the configuration says" in run("os", reference).out


# ---------------------------------------------------------------------- base and catalog


def test_a_catalogue_is_made_listed_and_asked(run: Run, tmp_path: Path) -> None:
    windows = server_core()
    patch(windows)
    base = windows.image(tmp_path / "bases", os_version="10.0.20348.2322")
    windows.commit({"Files/app.txt": b"x"}, all_deltas=False)
    own = windows.image(tmp_path / "own", os_version="10.0.20348.2322")
    catalog = tmp_path / "catalog.json"
    ended = run("catalog", "update", "--from", base, "--catalog", catalog, "--format", "json")
    assert ended.code == 0
    assert ended.document["schema"] == "wclayer.catalog.update/1"
    assert (ended.document["added"], ended.document["images"]) == (1, 1)
    listed = run("catalog", "ls", "--catalog", catalog, "--format", "json").document
    assert [one["name"] for one in listed["images"]] == [base]
    assert "2 layers" in run("catalog", "ls", "--catalog", catalog).out
    ended = run("base", own, "--catalog", catalog)
    assert ended.code == 0
    assert ended.out.splitlines() == [
        f"base: {base}  10.0.20348.2322  amd64",
        "layers: 2 of the base, 1 of its own",
    ]
    document = run("base", own, "--catalog", catalog, "--format", "json").document
    assert (document["schema"], document["known"], document["own_layers"]) == ("wclayer.base/1", True, 1)
    assert run("catalog", "update", "--catalog", catalog, "--format", "json").document["added"] == 0


def test_a_base_that_is_not_known_is_a_finding(run: Run, tmp_path: Path) -> None:
    catalog = tmp_path / "catalog.json"
    windows = server_core()
    patch(windows)
    assert run("catalog", "update", windows.image(tmp_path / "one"), "--catalog", catalog).code == 0
    other = server_core()
    patch(other, ubr=2333)
    ended = run("base", other.image(tmp_path / "other"), "--catalog", catalog)
    assert ended.code == 1
    assert "base: not known" in ended.out
    assert "shared layers: 1, with" in ended.out


def test_without_a_catalogue_it_is_said_how_to_make_one(run: Run, image: str, tmp_path: Path) -> None:
    for arguments in (["base", image], ["catalog", "ls"], ["catalog", "update"]):
        ended = run(*arguments, "--catalog", tmp_path / "none.json")
        assert ended.code == 3
        assert "wclayer catalog update" in ended.err


def test_a_catalogue_of_a_registry_fetches_documents_only(
    run: Run, registry: DockerRegistry, repository_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    catalog, name = tmp_path / "catalog.json", registry.name(f"{repository_name}:ltsc2022")
    windows = server_core()
    patch(windows)
    base = windows.image(tmp_path / "bases", os_version="10.0.20348.2322")
    assert run("push", base, name, "--anonymous").code == 0
    ended = run("catalog", "update", name, "--catalog", catalog, "--anonymous", "--http-trace")
    assert ended.code == 0
    diff_ids = json.loads(catalog.read_text())["images"][0]["diff_ids"]
    assert len(diff_ids) == 2
    layers = json.loads(run("manifest", base).data)["layers"]
    assert not any(layer["digest"] in ended.err for layer in layers)
    answer = run("base", name, "--catalog", catalog, "--anonymous", "--format", "json").document
    assert [one["name"] for one in answer["bases"]] == [name]
    assert run("os", name, "--anonymous", "--format", "json").document["version"] == "10.0.20348.2322"


# ---------------------------------------------------------------------- sbom


@pytest.mark.parametrize(("form", "key"), [("cyclonedx-json", "components"), ("spdx-json", "packages")])
def test_sbom_writes_the_same_to_a_file_and_to_standard_output(
    run: Run, image: str, tmp_path: Path, form: str, key: str
) -> None:
    path = tmp_path / "bill.json"
    assert run("sbom", image, "-o", path, "--format", form).code == 0
    ended = run("sbom", image, "--format", form)
    assert ended.code == 0
    assert ended.data == path.read_bytes()
    assert len(ended.document[key]) >= 5
    assert "components: 1 os" in ended.err


def test_sbom_of_what_cannot_be_assessed_is_written_and_is_a_finding(run: Run, no_registry: str) -> None:
    ended = run("sbom", no_registry)
    assert ended.code == 1
    assert [one["name"] for one in ended.document["components"]] == ["tool.exe"]
    assert "the OS is not assessed" in json.dumps(ended.document["metadata"])
    assert "the OS was not assessed" in ended.err


@pytest.mark.parametrize(("form", "module"), [("cyclonedx-json", "cyclonedx"), ("spdx-json", "spdx_tools")])
def test_sbom_without_its_library_says_what_to_install(
    run: Run, image: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, module: str
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == module]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)
    ended = run("sbom", image, "-o", tmp_path / "bill.json", "--format", form)
    assert ended.code == 7
    assert "pip install 'wclayer[sbom]'" in ended.err
    assert not (tmp_path / "bill.json").exists()
