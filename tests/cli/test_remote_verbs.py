"""Every verb that takes an image takes one in a registry, and says of it what it says of the same image in a layout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run
from tests.faults.faults import corrupt, status
from tests.faults.proxy import Proxy, Script, blob_reads
from tests.faults.wire import Server
from tests.image.stacks import file, folder, gone, link, make_image
from tests.peers import require
from tests.registries.authority import Authority
from tests.registries.docker_registry import PASSWORD, USER, DockerRegistry
from tests.registries.watched import Watched, push_layout, watched
from wclayer.model import LayerItem

BASE = [folder("Files/d"), file("Files/d/a.txt", b"twelve bytes"), file("Files/b", os.urandom(3_000_000))]
UPPER: list[LayerItem] = [file("Files/d/c.txt", b"c"), link("Files/link", "Files/d/a.txt"), gone("Files/b")]

CODE = "import sys; from wclayer.cli.main import main; code = main({}); print(code, *sys.modules, file=sys.stderr)"


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A content store of this test's own, and nobody's credentials."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "store"


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_image(tmp_path_factory.mktemp("layout"), BASE, UPPER)


@pytest.fixture
def remote(registry: DockerRegistry) -> Iterator[Watched]:
    with watched(registry) as seen:
        yield seen


@pytest.fixture
def image(remote: Watched, registry: DockerRegistry, layout: str) -> str:
    """The image of ``layout``, by way of the proxy."""
    push_layout(layout, registry.name("verbs/app:1"))
    return f"{remote.host}/verbs/app:1"


def skopeo(*arguments: str) -> None:
    """Let skopeo copy something to a registry."""
    options = ["--insecure-policy", "copy", "--override-os=windows", "--dest-tls-verify=false"]
    subprocess.run([require("skopeo"), *options, *arguments], check=True, capture_output=True, timeout=120)


def same(document: Any, reference: str) -> Any:
    """``document`` without what it says about where the image is, or how long it took."""
    return json.loads(
        json.dumps(document).replace(reference.removeprefix("docker://"), "IMAGE").replace("docker://", "")
    )


@pytest.mark.parametrize("prefix", ["docker://", ""])
@pytest.mark.parametrize(
    "arguments",
    [
        ["ls", "IMAGE", "-R", "--format", "json"],
        ["ls", "IMAGE", "--layer", "1", "--format", "json"],
        ["stat", "IMAGE", "d/a.txt", "--format", "json"],
        ["verify", "IMAGE", "--format", "json"],
        ["inspect", "IMAGE", "--format", "json"],
        ["lint", "IMAGE", "--format", "json", "--fail-on", "never"],
    ],
    ids=lambda arguments: "-".join(arguments[:1]),
)
def test_what_is_told_is_the_same(prefix: str, arguments: list[str], image: str, layout: str, run: Run) -> None:
    here = run(*[layout if one == "IMAGE" else one for one in arguments])
    there = run(*[f"{prefix}{image}" if one == "IMAGE" else one for one in arguments])
    assert (here.code, there.code, there.err) == (0, 0, here.err)
    assert same(there.document, image) == same(here.document, layout)
    again = run(*[image if one == "IMAGE" else one for one in arguments], "--offline")
    if "--layer" not in arguments and "inspect" not in arguments:
        assert (again.code, same(again.document, image)) == (0, same(here.document, layout))


def test_data_and_files_are_the_same(image: str, layout: str, run: Run, tmp_path: Path) -> None:
    assert run("cat", image, "link").data == b"twelve bytes"
    assert run("cat", image, "link", "--offline").data == b"twelve bytes"
    assert run("extract", image, "d/*.txt", "-o", tmp_path / "x").code == 0
    assert (tmp_path / "x" / "d" / "a.txt").read_bytes() == b"twelve bytes"
    assert run("unpack", layout, tmp_path / "here").code == 0
    assert run("unpack", image, tmp_path / "there").code == 0
    assert run("unpack", image, tmp_path / "merged", "--view", "merged").code == 0
    assert (tmp_path / "merged" / "Files" / "d" / "a.txt").read_bytes() == b"twelve bytes"
    for one in ("manifest.json", "config.json"):
        assert (tmp_path / "here" / one).read_bytes() == (tmp_path / "there" / one).read_bytes()
    assert os.listdir(tmp_path / "here" / "layers").sort() == os.listdir(tmp_path / "there" / "layers").sort()
    assert run("verify", tmp_path / "there").code == 0


@pytest.mark.parametrize("destination", ["oci:{}:x", "transport:{}", "{}"])
def test_it_is_converted_alike(destination: str, image: str, layout: str, run: Run, tmp_path: Path) -> None:
    first = run("convert", layout, destination.format(tmp_path / "here"), "--format", "json")
    second = run("convert", image, destination.format(tmp_path / "there"), "--format", "json")
    assert (first.code, second.code) == (0, 0)
    assert second.document["diff_ids"] == first.document["diff_ids"]
    assert second.document["digest"] == first.document["digest"]


@pytest.mark.parametrize("verb", ["ls", "verify", "inspect", "unpack", "pull"])
def test_nothing_is_fetched_twice(verb: str, image: str, remote: Watched, run: Run, tmp_path: Path) -> None:
    target = [tmp_path / "out"] if verb == "unpack" else []
    assert run("pull", image).code == 0
    before = len(remote.asked)
    assert run(verb, image, *target).code == 0
    assert [method for method, _ in remote.asked[before:]] == ["HEAD"]
    assert run(verb, image, *target, "--offline").code == 0
    assert len(remote.asked) == before + 1


def test_only_what_is_asked_for_is_fetched(image: str, remote: Watched, run: Run) -> None:
    assert run("inspect", image).code == 0
    assert len(remote.blob_reads()) == 1  # the configuration
    assert run("ls", image, "--layer", "0").code == 0
    assert len(remote.blob_reads()) == 2


# ------------------------------------------------------------------------------------------------------------- offline


def test_offline_says_what_is_missing(image: str, run: Run, store: Path) -> None:
    ended = run("ls", image, "--offline")
    assert ended.code == 3
    assert f"there is no content store at {store}" in ended.err
    assert run("inspect", image).code == 0
    ended = run("ls", image, "--offline")
    assert ended.code == 3
    assert re.search(r"layer 1 of 2 .* is not here", ended.err)
    assert "run it once without --offline" in ended.err
    other = image.replace(":1", ":2")
    ended = run("ls", other, "--offline")
    assert ended.code == 3
    assert f"of this repository there are {image}" in ended.err
    document = run("inspect", image, "--offline", "--format", "json").document
    assert [layer["available"] for layer in document["layers"]] == [False, False]


def test_a_store_that_may_only_be_read_serves_offline(
    image: str, run: Run, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("pull", image).code == 0
    expected = run("ls", image).out
    shutil.rmtree(store / "leases")
    monkeypatch.setattr(os, "access", lambda *_arguments: False)  # root may write everywhere
    assert run("ls", image, "--offline").out == expected
    assert not (store / "leases").exists()


# ------------------------------------------------------------------------------------------- what is damaged on the way


@pytest.mark.parametrize("verb", ["unpack", "ls", "verify", "pull"])
def test_a_layer_that_came_damaged_is_fetched_again(
    verb: str, registry: DockerRegistry, layout: str, run: Run, tmp_path: Path
) -> None:
    push_layout(layout, registry.name("damaged/app:1"))
    script = Script(blob_reads, [None, corrupt(0.5)])
    with Server(Proxy(registry.host, script)) as server:
        image = f"{server.host}/damaged/app:1"
        ended = run(verb, image, *([tmp_path / "out"] if verb == "unpack" else []), "--retry-delay", "0")
        assert (ended.code, ended.err) == (0, "")


@pytest.mark.parametrize("verb", ["unpack", "ls", "verify", "pull"])
def test_a_layer_that_always_comes_damaged_ends_with_6(
    verb: str, registry: DockerRegistry, layout: str, run: Run, tmp_path: Path
) -> None:
    push_layout(layout, registry.name("damaged/app:1"))
    reads: list[None] = []

    def is_layer(request: Any) -> bool:
        if blob_reads(request):
            reads.append(None)
        return blob_reads(request) and len(reads) > 1

    with Server(Proxy(registry.host, Script(is_layer, iter(lambda: corrupt(0.5), None)))) as server:
        image = f"{server.host}/damaged/app:1"
        ended = run(verb, image, *([tmp_path / "out"] if verb == "unpack" else []), "--retry-delay", "0")
        assert ended.code == 6
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("code", "exit_code"), [(404, 3), (401, 4), (403, 4), (500, 5)])
def test_what_a_registry_refuses_has_its_exit_code(
    code: int, exit_code: int, registry: DockerRegistry, layout: str, run: Run
) -> None:
    push_layout(layout, registry.name("verbs/app:1"))
    script = Script(lambda request: "/blobs/" in request.path, iter(lambda: status(code), None))
    with Server(Proxy(registry.host, script)) as server:
        ended = run("ls", f"{server.host}/verbs/app:1", "--retries", "1", "--retry-delay", "0")
        assert ended.code == exit_code


def test_nobody_there_ends_with_5(run: Run) -> None:
    with Server(lambda _exchange: None) as server:
        host = server.host
    ended = run("ls", f"{host}/app:1", "--retries", "0")
    assert ended.code == 5
    assert host in ended.err


# ------------------------------------------------------------------------------------------------------------- options


def test_credentials_come_from_standard_input(
    basic_registry: DockerRegistry, layout: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = basic_registry.name("secret/app:1")
    skopeo(f"--dest-creds={USER}:{PASSWORD}", layout, f"docker://{name}")
    assert run("ls", name).code == 4
    command = [sys.executable, "-m", "wclayer", "ls", name, "--username", USER, "--password-stdin", "--http-trace"]
    done = subprocess.run(command, input=f"{PASSWORD}\n", check=True, capture_output=True, text=True, timeout=60)
    assert "d\\" in done.stdout
    assert "GET http://" in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    command[-2:] = ["--password-stdin"]
    done = subprocess.run(command, input="", check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no password on standard input" in done.stderr
    assert run("ls", name, "--username", USER).code == 2


def test_an_own_authority_is_trusted_when_it_is_named(
    tls_registry: DockerRegistry, authority: Authority, layout: str, run: Run
) -> None:
    name = tls_registry.name("tls/app:1")
    skopeo(layout, f"docker://{name}")
    assert run("inspect", name, "--ca-file", authority.file).code == 0
    assert run("inspect", name, "--insecure").code == 0
    assert run("inspect", name, "--retries", "0").code == 5


@pytest.mark.parametrize("option", ["-vv", "--http-trace"])
def test_what_is_asked_is_told_when_wanted(option: str, image: str, run: Run) -> None:
    ended = run("inspect", image, option)
    assert ended.code == 0
    assert "> HEAD http://" in ended.err
    assert ("user-agent" in ended.err.lower()) == (option == "--http-trace")
    assert run("inspect", image, "-v").err == ""


# -------------------------------------------------------------------------------------------------------------- loading


@pytest.mark.parametrize("verb", ["ls", "verify", "inspect", "lint", "unpack"])
def test_what_is_local_is_read_without_what_talks_to_registries(verb: str, layout: str, tmp_path: Path) -> None:
    arguments = [verb, layout, *([str(tmp_path / "out")] if verb == "unpack" else [])]
    code = CODE.format(arguments)
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    exit_code, *loaded = ended.stderr.split()
    assert exit_code == ("1" if verb == "lint" else "0")
    assert "wclayer.oci" in loaded
    assert not {"urllib3", "ssl", "http.client", "platformdirs", "wclayer.oci.remote"} & set(loaded)


def test_a_store_is_read_offline_without_what_talks_to_registries(image: str, run: Run) -> None:
    assert run("pull", image).code == 0
    code = (
        f"import sys; from wclayer.cli.main import main; code = main(['ls', {image!r}, '--offline']);"
        " print(code, *sys.modules, file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=60)
    exit_code, *loaded = ended.stderr.split()
    assert exit_code == "0"
    assert not {"urllib3", "ssl", "http.client"} & set(loaded)
