"""The verbs that copy images, as they are called."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.copying.places import Places, contents, foreign_image, members, root_digest, windows_index
from tests.registries.docker_registry import DockerRegistry


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of the test's own."""
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places(tmp_path: Path, registry: DockerRegistry, repository_name: str) -> Places:
    """References of every kind, each time new ones."""
    return Places(tmp_path, registry.host, repository_name)


def test_push_and_copy_as_scripts_call_them(run: Run, sample: str, places: Places, tmp_path: Path) -> None:
    name = f"{places.host}/{places.repository}:1"
    pushed = run("push", sample, name, "--plain-http")
    assert pushed.code == 0
    digest = root_digest(sample)
    assert pushed.out.splitlines()[-1] == f"{name}@{digest}"
    copied = run(
        "copy", f"docker://{name}", f"oci:{tmp_path / 'x'}:t", "--src-plain-http", "--platform", "windows/amd64"
    )
    assert (copied.code, copied.out.splitlines()[-1]) == (0, f"oci:{tmp_path / 'x'}:t@{digest}")
    back = run("copy", f"oci:{tmp_path / 'x'}:t", f"docker://{name}-2", "--dest-plain-http", "--format", "json")
    assert back.code == 0
    assert back.document["schema"] == "wclayer.copy/1"
    assert back.document["digest"] == str(digest)
    assert {blob["outcome"] for blob in back.document["blobs"]} == {"present"}


@pytest.mark.parametrize("what", ["image", "layer"])
def test_an_unpacked_image_and_a_layer_folder_are_pushed(
    what: str, run: Run, sample: str, unpacked: Path, places: Places
) -> None:
    name = f"{places.host}/{places.repository}:1"
    source = unpacked if what == "image" else sorted((unpacked / "layers").iterdir())[0]
    pushed = run("push", source, name, "--os-version", "10.0.20348.1")
    assert pushed.code == 0
    assert "one was made of it" in pushed.err
    (found,) = contents(f"docker://{name}").values()
    (original,) = contents(sample).values()
    if what == "image":
        assert found == original  # the configuration and the tars are those that were unpacked
    else:
        assert found[1] in original[1:]


def test_a_layer_tar_on_standard_input_is_pushed(
    run: Run, unpacked: Path, places: Places, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run("export", unpacked, "-o", tmp_path / "layer.tar", "--layer", "0").code == 0
    name = f"{places.host}/{places.repository}:1"
    assert run("push", tmp_path / "layer.tar", name, "--os-version", "10.0.20348.5").code == 0
    assert list(contents(f"docker://{name}")) == ["10.0.20348.5"]


def test_the_options_of_a_copy(run: Run, places: Places, tmp_path: Path) -> None:
    windows_index(tmp_path / "i")
    source = f"oci:{tmp_path / 'i'}:all"
    assert run("copy", source, places.new("oci"), "--platform", "ltsc2022", "--all-platforms").code == 2
    both = run(
        "copy", source, places.new("oci"), "--platform", "ltsc2022", "--platform", "ltsc2019", "--format", "json"
    )
    assert (both.code, both.document["images"]) == (0, 2)
    assert list(both.document["changed"].values()) == [both.document["digest"]]
    assert run("copy", source, places.new("docker-archive"), "--preserve-digests").code == 7
    file = tmp_path / "digest"
    target = places.new("dir")
    assert run("copy", source, target, "--all-platforms", "--digest-file", file).code == 0
    assert file.read_text() == f"{root_digest(source)}\n"
    planned = run("copy", source, places.new("oci"), "--dry-run")
    assert planned.code == 0
    assert planned.out.startswith("missing")
    foreign_image(tmp_path / "f")
    kept = run("copy", f"oci:{tmp_path / 'f'}:foreign", places.new("oci"), "--foreign", "keep")
    assert kept.code == 0
    assert "left where they are" in kept.err
    assert "1 left where they are" in kept.out


def test_an_archive_on_standard_output_leaves_it_to_the_data(run: Run, sample: str, tmp_path: Path) -> None:
    ended = run("copy", sample, "-", "--format", "json")
    assert ended.code == 0
    assert json.loads(ended.err)["digest"] == str(root_digest(sample))
    (tmp_path / "x.tar").write_bytes(ended.data)
    assert "index.json" in members(tmp_path / "x.tar")


def test_recompress(run: Run, sample: str, places: Places) -> None:
    target = places.new("oci")
    assert run("recompress", sample, target).code == 2
    done = run("recompress", sample, target, "--zstd", "--level", "5")
    assert done.code == 0
    assert contents(target) == contents(sample)


def test_bundle_and_load(run: Run, sample: str, places: Places, tmp_path: Path) -> None:
    names = [f"{places.host}/{places.repository}:{tag}" for tag in ("1", "2")]
    for name in names:
        assert run("push", sample, name).code == 0
    bundled = run("bundle", *names, "-o", tmp_path / "all.tar", "--format", "json")
    assert bundled.code == 0
    assert [image["name"] for image in bundled.document["images"]] == names
    loaded = run("load", tmp_path / "all.tar", f"docker://{places.host}/air")
    assert loaded.code == 0
    assert [line.split()[0] for line in loaded.out.splitlines()] == ["copied", "copied"]
    again = run("load", tmp_path / "all.tar", f"docker://{places.host}/air", "--format", "json")
    assert [image["status"] for image in again.document["images"]] == ["present", "present"]
    assert run("load", tmp_path / "all.tar").code == 0
    offline = run("digest", names[0], "--offline")
    assert offline.out.strip().endswith(str(root_digest(sample)))


def test_mirror(run: Run, sample: str, places: Places, tmp_path: Path) -> None:
    name = f"{places.host}/{places.repository}:1"
    assert run("push", sample, name).code == 0
    (tmp_path / "list.txt").write_text(f"{places.host}/nowhere:1\n{name}\n")
    mirrored = run("mirror", tmp_path / "list.txt", "--to", f"oci:{tmp_path / 'm'}")
    assert mirrored.code == 3
    assert mirrored.out.splitlines()[-1] == "1 copied, 1 failed"
    assert "nowhere" in mirrored.err
    again = run("mirror", tmp_path / "list.txt", "--to", f"oci:{tmp_path / 'm'}", "--format", "json")
    assert (again.code, again.document["present"], again.document["failed"]) == (3, 1, 1)
    assert again.document["images"][0]["error"]["exit_code"] == 3


def test_push_takes_its_second_argument_for_a_name_whatever_else_it_could_be(
    run: Run, sample: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "Wrong").mkdir()
    assert run("push", sample, "Wrong/Name").code == 2


def test_a_copy_between_folders_loads_nothing_of_the_network(sample: str, places: Places) -> None:
    code = (
        "import sys; from wclayer.cli.main import main; code = main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr); sys.exit(code)"
    )
    for kind in ("oci", "dir", "docker-archive", "oci-archive"):
        command = [sys.executable, "-c", code, "copy", sample, places.new(kind)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        assert not {"urllib3", "ssl", "http.client", "platformdirs"} & set(done.stderr.split())
