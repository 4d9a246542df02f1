"""``wclayer pull`` and ``wclayer cache`` as a person or a script sees them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_verbs import on_a_terminal
from tests.image.stacks import file, make_image
from tests.registries.docker_registry import DockerRegistry
from tests.registries.watched import Watched, push_index, push_layout, watched
from wclayer.errors import UsageError
from wclayer.oci import Digest, Platform
from wclayer.oci.digests import digest_of
from wclayer.oci.network import Network, default_store_folder
from wclayer.oci.registry import RegistrySettings

BASE = [file("Files/a", os.urandom(200_000))]
UPPER = [file("Files/b", os.urandom(100_000))]
OLD = Platform("windows", "amd64", os_version="10.0.17763.1")
NEW = Platform("windows", "amd64", os_version="10.0.20348.1")


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A content store of this test's own, and nobody's credentials."""
    monkeypatch.setenv("WCLAYER_STORE", str(tmp_path / "store"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "store"


@pytest.fixture
def remote(registry: DockerRegistry) -> Iterator[Watched]:
    with watched(registry) as seen:
        yield seen


@pytest.fixture
def image(remote: Watched, registry: DockerRegistry, repository_name: str, tmp_path: Path) -> tuple[str, Digest]:
    """The name of an image of two layers, and its digest."""
    manifest = push_layout(make_image(tmp_path / "layout", BASE, UPPER), registry.name(f"{repository_name}:1"))
    return f"{remote.host}/{repository_name}:1", manifest.digest


def test_the_last_line_is_the_reference_with_its_digest(image: tuple[str, Digest], run: Run, tmp_path: Path) -> None:
    name, digest = image
    ended = run("pull", name, "--digest-file", tmp_path / "digest")
    assert (ended.code, ended.err) == (0, "")
    pinned = ended.out.splitlines()[-1]
    assert pinned == f"{name.removesuffix(':1')}@{digest}"
    assert "2 layers, 2 fetched" in ended.out
    assert (tmp_path / "digest").read_text() == f"{digest}\n"
    assert run("ls", pinned, "--offline").out == "a\nb\n"
    assert run("pull", f"docker://{name}", "--plain-http").out.splitlines()[-1] == pinned


def test_json_says_the_same(image: tuple[str, Digest], run: Run, tmp_path: Path) -> None:
    name, digest = image
    document = run("pull", name, "--unpack", tmp_path / "out", "--format", "json").document
    assert document["schema"] == "wclayer.pull/1"
    assert (document["reference"], document["digest"]) == (name, str(digest))
    assert document["pinned"] == f"{name.removesuffix(':1')}@{digest}"
    assert document["folder"] == str(tmp_path / "out")
    assert [(one["digest"], one["layers"], one["fetched"]) for one in document["images"]] == [(str(digest), 2, 2)]
    assert (tmp_path / "out" / "layerchain.json").is_file()
    assert run("verify", tmp_path / "out").code == 0


def test_platforms(run: Run, remote: Watched, registry: DockerRegistry, repository_name: str, tmp_path: Path) -> None:
    repository = registry.name(repository_name)
    old = push_layout(make_image(tmp_path / "one", BASE), f"{repository}:one")
    new = push_layout(make_image(tmp_path / "two", UPPER), f"{repository}:two")
    index = push_index(f"{repository}:all", [(old, OLD), (new, NEW)])
    name = f"{remote.host}/{repository_name}"
    ended = run("pull", f"{name}:all")
    assert ended.out.splitlines()[-1] == f"{name}@{index}"
    assert "chose windows(10.0.20348.1)/amd64" in ended.err
    assert run("pull", f"{name}:all", "-q").err == ""
    ended = run("pull", f"{name}:all", "--platform", "ltsc2019")
    assert ended.out.splitlines()[-1] == f"{name}@{old.digest}"
    ended = run("pull", f"{name}:all", "--platform", "ltsc2019", "--platform", "ltsc2022", "--format", "json")
    assert [one["digest"] for one in ended.document["images"]] == [str(old.digest), str(new.digest)]
    assert len(run("pull", f"{name}:all", "--all-platforms", "--format", "json").document["images"]) == 2
    assert run("pull", f"{name}:all", "--all-platforms", "--platform", "ltsc2019").code == 2
    assert run("pull", f"{name}:all", "--all-platforms", "--unpack", tmp_path / "x").code == 2
    assert run("pull", f"{name}:all", "--platform", "linux/s390x").code == 3
    # An offline run chooses as one with a network does.
    assert run("ls", f"{name}:all", "--offline").out == "b\n"
    assert run("ls", f"{name}:all", "--offline", "--platform", "ltsc2019").out == "a\n"


@pytest.mark.parametrize("name", ["oci:x:y", "./x", "-", "UPPER/case:1"])
def test_what_is_not_in_a_registry_is_a_usage_error(name: str, run: Run) -> None:
    assert run("pull", name).code == 2


# ------------------------------------------------------------------------------------------------------------- progress


def test_a_terminal_sees_each_blob(image: tuple[str, Digest], remote: Watched, store: Path) -> None:
    name, _ = image
    out, err = on_a_terminal("pull", name)
    assert out.splitlines()[-1].startswith(name.removesuffix(":1"))
    assert "\x1b" not in out
    for digest in remote.blob_reads()[1:]:
        assert f"{digest[:19]}, " in err
    assert "KiB of " in err
    assert "/s" in err
    assert err.endswith("\r\x1b[K")
    assert on_a_terminal("pull", name, "--progress", "none", "--store", f"{store}2")[1] == ""
    assert on_a_terminal("pull", name, "--quiet", "--store", f"{store}3")[1] == ""


def test_elsewhere_a_short_run_says_nothing_and_more_when_asked(
    image: tuple[str, Digest], run: Run, store: Path
) -> None:
    name, _ = image
    assert run("pull", name).err == ""
    lines = run("pull", name, "--progress", "plain", "--store", f"{store}2").err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("sha256:") and line.partition(", ")[2] for line in lines)


def test_json_progress_is_a_document_a_line(image: tuple[str, Digest], run: Run, tmp_path: Path) -> None:
    name, _ = image
    ended = run("pull", name, "--progress", "json", "--unpack", tmp_path / "out")
    events = [json.loads(line) for line in ended.err.splitlines()]
    assert {event["schema"] for event in events} == {"wclayer.progress/1"}
    for what in ("blob", "layer"):
        for event in ("begin", "end"):
            assert sum((one["what"], one["event"]) == (what, event) for one in events) == 2
    assert all(one["done"] == one["size"] for one in events if (one["what"], one["event"]) == ("blob", "end"))


# ---------------------------------------------------------------------------------------------------------------- cache


def test_the_cache_is_listed_measured_and_collected(image: tuple[str, Digest], run: Run, store: Path) -> None:
    name, digest = image
    assert run("cache", "ls").out == ""
    assert run("cache", "gc").out == "removed 0 blobs, 0 B\n"
    assert not store.exists()
    assert run("pull", name).code == 0
    assert run("cache", "ls").out.startswith(f"{name}  {digest}  ")
    (listed,) = run("cache", "ls", "--format", "json").document["images"]
    assert (listed["name"], listed["digest"], listed["blobs"], listed["missing"]) == (name, str(digest), 4, 0)
    loose = store / digest_of(b"loose").blob_path
    loose.write_bytes(b"loose")
    document = run("cache", "du", "--format", "json").document
    assert (document["images"], document["blobs"], document["unneeded_blobs"], document["unneeded_size"]) == (
        1,
        5,
        1,
        5,
    )
    assert "needed by no image: 1 blobs, 5 B" in run("cache", "du").out
    assert run("cache", "gc", "--dry-run").out == "would remove 1 blobs, 5 B\n"
    assert loose.exists()
    assert run("cache", "gc", "--format", "json").document["blobs"] == 1
    assert not loose.exists()
    assert run("cache", "gc", "--unused-for", "1h").out == "removed 0 blobs, 0 B\n"
    ended = run("cache", "gc", "--all")
    assert ended.out.splitlines()[0] == f"forgot {name}"
    assert run("cache", "du", "--format", "json").document["size"] == 0
    assert run("ls", name, "--offline").code == 3


@pytest.mark.parametrize("text", ["", "1", "d", "1y", "-1d", "1 d"])
def test_a_time_is_a_number_with_a_unit(text: str, run: Run) -> None:
    assert run("cache", "gc", "--unused-for", text).code == 2


def test_a_folder_that_is_no_store_is_left_alone(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for verb in ("ls", "du", "gc"):
        ended = run("cache", verb, "--store", tmp_path)
        assert ended.code == 8
        assert "is no content store" in ended.err
    assert run("inspect", "127.0.0.1:1/app:1", "--store", tmp_path).code == 8
    assert os.listdir(tmp_path) == ["file"]


def test_the_cache_is_looked_at_without_what_talks_to_registries(store: Path) -> None:
    code = "import sys; from wclayer.cli.main import main; main(['cache', 'du']); print(*sys.modules, file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert not {"urllib3", "ssl", "http.client", "wclayer.image"} & set(ended.stderr.split())


# --------------------------------------------------------------------------------------------------------- where it is


def test_where_the_store_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert default_store_folder() == tmp_path / "store"
    monkeypatch.delenv("WCLAYER_STORE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert default_store_folder() == tmp_path / "cache" / "wclayer"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")  # to be ignored, says the specification
    assert default_store_folder().is_absolute()
    assert default_store_folder().name == "wclayer"


def test_a_network_says_nothing_of_its_secrets() -> None:
    network = Network(RegistrySettings(proxy="http://user:hidden@127.0.0.1:1"))
    assert "hidden" not in repr(network)
    with pytest.raises(UsageError):
        RegistrySettings(username="somebody")
