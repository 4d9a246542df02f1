"""Documents of images in a registry: nothing but documents is fetched, and of an index no more than it takes."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Ended, Run
from tests.cli.test_documents import make_index
from tests.oci.samples import layer_tar
from tests.peers import require
from tests.registries.content import SETTINGS, put_blob
from tests.registries.docker_registry import DockerRegistry
from wclayer.oci import Descriptor, Platform
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.documents import encode_config, encode_index, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST
from wclayer.oci.registry import RegistryClient, Repository, parse_registry_name

VERSIONS = ["10.0.17763.6414", "10.0.20348.999", "10.0.20348.3091"]
_ASKED = re.compile(r"^> (GET|HEAD|POST|PUT|PATCH|DELETE) \S*?/v2/\S+?/((?:manifests|blobs|tags)/\S+)", re.MULTILINE)


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store and a home of one's own, and no proxies."""
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))


def put(repository: Repository, version: str) -> tuple[Descriptor, bytes]:
    """An image for a version of Windows, without a tag: its entry and its manifest."""
    layer = put_blob(repository, layer_tar(version))
    platform = Platform("windows", "amd64", os_version=version)
    config = put_blob(repository, encode_config(platform, [layer.digest]), OCI_CONFIG)
    raw = encode_manifest(config, [layer])
    repository.put_manifest(raw, OCI_MANIFEST, digest_of(raw))
    return Descriptor(OCI_MANIFEST, digest_of(raw), len(raw), platform=platform), raw


@pytest.fixture
def image(registry: DockerRegistry, repository_name: str) -> str:
    """An index of images, and a tag for one of them alone."""
    name = parse_registry_name(registry.name(f"{repository_name}:all"))
    with RegistryClient(SETTINGS) as client:
        repository = client.repository(name)
        images = [put(repository, version) for version in VERSIONS]
        repository.put_manifest(encode_index([entry for entry, _ in images]), OCI_INDEX, "all")
        repository.put_manifest(images[0][1], OCI_MANIFEST, "app-ltsc2019")
        repository.put_manifest(images[2][1], OCI_MANIFEST, "app-ltsc2022")
    return str(name)


def asked(ended: Ended) -> list[tuple[str, str]]:
    """The requests that were made: method, and manifests/…, blobs/… or tags/…"""
    return _ASKED.findall(ended.err)


def layers(run: Run, image: str) -> set[str]:
    """The digests of all layers."""
    found = set()
    for entry in json.loads(run("manifest", image).data)["manifests"]:
        manifest = json.loads(run("manifest", f"{image.rpartition(':')[0]}@{entry['digest']}").data)
        found |= {layer["digest"] for layer in manifest["layers"]}
    return found


def test_only_documents_are_fetched(image: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = layers(run, image)
    assert len(blobs) == len(VERSIONS)
    verbs = [
        ["manifest", image],
        ["manifest", image, "--platform", "ltsc2022"],
        ["config", image, "--platform", "ltsc2022"],
        ["digest", image],
        ["digest", image, "--platform", "ltsc2019"],
        ["index", "ls", image],
        ["compat", image, "--host", "20348"],
        ["compat", image, "--all-hosts"],
    ]
    for number, verb in enumerate(verbs):
        monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / f"store{number}"))
        ended = run(*verb, "-vv")
        assert ended.code == 0, ended.err
        requests = asked(ended)
        assert requests, verb
        assert all(method in ("GET", "HEAD") for method, _ in requests)
        assert not {path for _, path in requests if path.removeprefix("blobs/") in blobs}, verb
        fetched = [path for method, path in requests if method == "GET" and path.startswith("blobs/")]
        assert len(fetched) == (verb[0] == "config"), verb


@pytest.mark.parametrize("arguments", [["digest"], ["manifest"], ["index", "ls"]])
def test_an_index_costs_no_more_than_the_index(arguments: list[str], image: str, run: Run) -> None:
    requests = asked(run(*arguments, image, "-vv"))
    assert requests
    assert all(path.startswith("manifests/") for _, path in requests)
    assert len([method for method, _ in requests if method == "GET"]) <= 1


def test_the_bytes_are_those_of_the_registry(image: str, run: Run) -> None:
    index = run("manifest", image)
    assert str(digest_of(index.data)) == run("digest", image).out.strip()
    by_digest = f"{image.rpartition(':')[0]}@{digest_of(index.data)}"
    assert run("manifest", by_digest).data == index.data
    assert run("manifest", f"docker://{image}").data == index.data
    chosen = json.loads(index.data)["manifests"][2]["digest"]
    assert run("digest", image, "--platform", "ltsc2022").out == f"{chosen}\n"
    assert json.loads(run("config", image, "--platform", "ltsc2022").data)["os.version"] == VERSIONS[2]


def test_skopeo_sees_the_same_bytes(image: str, run: Run) -> None:
    command = [require("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{image}"]
    raw = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    assert run("manifest", image).data == raw


def test_another_tag_of_the_repository_that_would_run_is_named(image: str, run: Run) -> None:
    repository = image.rpartition(":")[0]
    ended = run("compat", f"{repository}:app-ltsc2019", "--host", "20348", "--format", "json", "-vv")
    assert ended.code == 1
    first, *_ = ended.document["alternatives"]
    assert first["reference"] == f"docker://{repository}:app-ltsc2022"
    assert first["platform"] == f"windows({VERSIONS[2]})/amd64"
    assert any(path.startswith("tags/") for _, path in asked(ended))


def test_an_index_is_made_of_remote_images(image: str, run: Run, tmp_path: Path) -> None:
    repository = image.rpartition(":")[0]
    out = f"oci:{tmp_path / 'out'}:new"
    images = [f"{repository}:app-ltsc2019", f"{repository}:app-ltsc2022"]
    assert run("index", "create", out, *images).code == 0
    assert run("index", "ls", out).out.split()[1::4] == [VERSIONS[0], VERSIONS[2]]
    assert run("verify", out, "--platform", "ltsc2019", "--quiet").code == 0
    assert run("index", "filter", image, f"oci:{tmp_path / 'out'}:part", "--platform", "ltsc2022").code == 0
    assert run("index", "ls", f"oci:{tmp_path / 'out'}:part").out.split()[1::4] == VERSIONS[1:]


def test_an_index_is_made_in_a_registry(image: str, run: Run, tmp_path: Path) -> None:
    repository = image.rpartition(":")[0]
    make_index(tmp_path / "local", ["10.0.26100.2894"])
    out = f"{repository}-new:all"
    images = [f"{repository}:app-ltsc2019", f"oci:{tmp_path / 'local'}:all"]
    ended = run("index", "create", out, *images, "--format", "json")
    assert ended.code == 0, ended.err
    assert run("index", "ls", out).out.split()[1::4] == [VERSIONS[0], "10.0.26100.2894"]
    command = [require("skopeo"), "inspect", "--raw", "--tls-verify=false", f"docker://{out}"]
    raw = subprocess.run(command, check=True, capture_output=True, timeout=60).stdout
    assert str(digest_of(raw)) == ended.document["digest"]
    assert run("verify", out, "--platform", "ltsc2025", "--quiet").code == 0
    part = f"{repository}-new:part"
    assert run("index", "filter", out, part, "--platform", "ltsc2025").code == 0
    assert run("index", "ls", part).out.split()[1::4] == ["10.0.26100.2894"]
    assert run("index", "filter", out, part, "--platform", "windows/amd64").code == 0
    assert run("digest", part).out.strip() == ended.document["digest"]


def test_what_is_not_there_has_its_exit_code(image: str, run: Run) -> None:
    for verb in (["manifest"], ["config"], ["digest"], ["index", "ls"], ["compat", "--host", "20348"]):
        ended = run(*verb, f"{image.rpartition(':')[0]}:none")
        assert (ended.code, ended.data) == (3, b"")
        ended = run(*verb, "127.0.0.1:1/nothing:here", "--retries", "0")
        assert (ended.code, ended.data) == (5, b"")


def test_offline_only_what_was_seen_is_known(image: str, run: Run) -> None:
    assert run("digest", image, "--offline").code == 3
    online = run("digest", image).out
    ended = run("digest", image, "--offline")
    assert (ended.code, ended.out) == (0, online)
    assert str(Digest.parse(online.strip())) == online.strip()
