"""Pulling images: what is fetched, how often, in which order, and what is there afterwards."""

from __future__ import annotations

import gzip
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.image.stacks import file, link, make_image, tar
from tests.oci.samples import FOREIGN
from tests.registries.content import SETTINGS, WINDOWS, put_blob
from tests.registries.docker_registry import DockerRegistry
from tests.registries.watched import Watched, push_index, push_layout, watched
from wclayer.errors import NotFoundError, UsageError, WclayerError
from wclayer.image.pulling import PullOptions, PullResult, pull
from wclayer.image.unpack import UnpackOptions, unpack
from wclayer.model import LayerItem
from wclayer.oci import Descriptor, Manifest, Platform, open_image
from wclayer.oci.content.gc import collect, usage
from wclayer.oci.content.partial import read_front
from wclayer.oci.content.store import ContentStore
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_LAYER, OCI_MANIFEST
from wclayer.oci.network import Network
from wclayer.oci.registry import RegistryClient, parse_registry_name

BASE = [file("Files/a", b"a" * 5000), file("Files/b", os.urandom(5_000_000))]
UPPER: list[LayerItem] = [file("Files/c", os.urandom(200_000)), link("Files/d", "Files/a")]
PULL = [sys.executable, "-m", "wclayer", "pull"]
DEADLINE = 60.0


@pytest.fixture
def remote(registry: DockerRegistry) -> Iterator[Watched]:
    with watched(registry) as seen:
        yield seen


@pytest.fixture
def image(registry: DockerRegistry, repository_name: str, tmp_path: Path) -> tuple[str, Manifest]:
    """The name of an image of two layers, without the host, and its manifest."""
    reference = make_image(tmp_path / "pushed", BASE, UPPER)
    return f"{repository_name}:1", push_layout(reference, registry.name(f"{repository_name}:1"))


def network(tmp_path: Path, **more: Any) -> Network:
    return Network(SETTINGS, tmp_path / "store", **more)


def pulled(name: str, tmp_path: Path, options: PullOptions = PullOptions(), **more: Any) -> PullResult:  # noqa: B008
    with network(tmp_path, **more) as way:
        return pull(name, options, way)


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "Files" in path.parts
    }


def test_everything_is_in_the_store_afterwards_and_fetched_once(
    remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    result = pulled(f"{remote.host}/{name}", tmp_path)
    assert result.digest == manifest.digest
    assert result.pinned == f"{remote.host}/{name.partition(':')[0]}@{manifest.digest}"
    assert [(one.digest, one.layers, one.fetched) for one in result.images] == [(manifest.digest, 2, 2)]
    store = ContentStore(tmp_path / "store")
    for blob in (manifest.config, *manifest.layers):
        path = store.blob(blob.digest, blob.size)
        assert path is not None
        assert digest_of(path.read_bytes()) == blob.digest
    assert store.names()[f"{remote.host}/{name}"].digest == manifest.digest
    assert sorted(remote.blob_reads()) == sorted(str(one.digest) for one in (manifest.config, *manifest.layers))
    assert not any((tmp_path / "store" / "ingest").iterdir())
    assert not any((tmp_path / "store" / "leases").iterdir())
    before = len(remote.asked)
    again = pulled(f"{remote.host}/{name}", tmp_path)
    assert again.images[0].fetched == 0
    assert remote.asked[before:] == [("HEAD", f"/v2/{name.replace(':', '/manifests/')}")]
    pinned = pulled(result.pinned, tmp_path)
    assert (pinned.digest, len(remote.asked)) == (result.digest, before + 1)


def test_the_store_is_a_layout_that_is_read_by_its_names(
    remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name = f"{remote.host}/{image[0]}"
    pulled(name, tmp_path)
    with open_image(f"oci:{tmp_path}/store:{name}") as opened:
        assert opened.digest == image[1].digest
        for layer in opened.layers:
            with layer.stream() as stream:
                stream.finish()


def test_a_tag_that_moved_is_noticed(remote: Watched, registry: DockerRegistry, tmp_path: Path) -> None:
    name = "moves/app:1"
    first = push_layout(make_image(tmp_path / "one", BASE), registry.name(name))
    assert pulled(f"{remote.host}/{name}", tmp_path).digest == first.digest
    second = push_layout(make_image(tmp_path / "two", BASE, UPPER), registry.name(name))
    result = pulled(f"{remote.host}/{name}", tmp_path)
    assert (result.digest, result.images[0].fetched) == (second.digest, 1)
    done = collect(ContentStore(tmp_path / "store"))
    assert done.blobs == 2  # the manifest and the configuration of the first
    assert pulled(f"{remote.host}/{name}", tmp_path, offline=True).digest == second.digest


def test_platforms_are_chosen_out_of_an_index(
    remote: Watched, registry: DockerRegistry, repository_name: str, tmp_path: Path
) -> None:
    repository = registry.name(repository_name)
    first = push_layout(make_image(tmp_path / "one", BASE), f"{repository}:one")
    second = push_layout(make_image(tmp_path / "two", BASE, UPPER), f"{repository}:two")
    old = Platform("windows", "amd64", os_version="10.0.17763.1")
    new = Platform("windows", "amd64", os_version="10.0.20348.1")
    index = push_index(f"{repository}:all", [(first, old), (second, new)])
    name = f"{remote.host}/{repository_name}:all"
    newest = pulled(name, tmp_path)
    assert (newest.digest, [one.digest for one in newest.images]) == (index, [second.digest])
    assert len(newest.notes) == 1
    wanted = pulled(name, tmp_path, PullOptions(platforms=("ltsc2019",)))
    assert (wanted.digest, [one.digest for one in wanted.images]) == (first.digest, [first.digest])
    both = pulled(name, tmp_path, PullOptions(platforms=("ltsc2019", "ltsc2022", "ltsc2022")))
    assert (both.digest, [one.digest for one in both.images]) == (index, [first.digest, second.digest])
    everything = pulled(name, tmp_path, PullOptions(all_platforms=True))
    assert (everything.digest, [one.digest for one in everything.images]) == (index, [first.digest, second.digest])
    with pytest.raises(UsageError, match="one folder"):
        pulled(name, tmp_path, PullOptions(all_platforms=True, unpack_to=tmp_path / "out"))
    with pytest.raises(NotFoundError, match="no image for the platform"):
        pulled(name, tmp_path, PullOptions(platforms=("windows/arm64",)))


@pytest.mark.parametrize("name", ["oci:layout:tag", "./folder", "-", "dir:x"])
def test_only_registries_are_pulled_from(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not in a registry"):
        pulled(name, tmp_path)


# ---------------------------------------------------------------------------------------------------- while they come


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_layer_is_unpacked_while_the_next_one_is_still_to_come(
    jobs: int, remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    gate = remote.hold(manifest.layers[1].digest)
    out = tmp_path / "out"
    options = PullOptions(unpack_to=out, unpack=UnpackOptions(jobs=jobs))
    ended: list[PullResult] = []
    thread = threading.Thread(target=lambda: ended.append(pulled(f"{remote.host}/{name}", tmp_path, options)))
    thread.start()
    try:
        base = str(_diff_id(tmp_path, 0))
        deadline = time.monotonic() + DEADLINE
        while not (out / "layers" / base / "layer.db").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (out / "layers" / base / "layer.db").is_file()
        assert thread.is_alive()
        assert not gate.is_set()
    finally:
        gate.set()
        thread.join(DEADLINE)
    assert ended[0].unpacked is not None
    assert [layer.reused for layer in ended[0].unpacked.layers] == [False, False]
    unpack(f"oci:{tmp_path}/pushed:test", tmp_path / "expected")
    assert files_of(out) == files_of(tmp_path / "expected")


def test_a_layer_is_read_before_all_of_it_has_come(
    remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    layer = manifest.layers[0]
    gate = remote.hold(layer.digest, after=layer.size - 10)
    with network(tmp_path) as way, open_image(f"{remote.host}/{name}", network=way) as opened:
        opened.layers[0].prefetch()
        remote.wait_until_held(layer.digest)
        with opened.layers[0].stream(following=True) as stream:
            slab = next(stream)
            assert len(slab) > 0
            assert not gate.is_set()
            gate.set()
            stream.finish()
        assert stream.diff_id == opened.layers[0].diff_id


def test_layers_that_are_unpacked_already_are_not_asked_for_by_unpack(
    remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    unpack(f"oci:{tmp_path}/pushed:test", tmp_path / "out")
    (tmp_path / "out" / "image.json").unlink()
    with network(tmp_path) as way:
        done = unpack(f"{remote.host}/{name}", tmp_path / "out", UnpackOptions(network=way))
    assert [layer.reused for layer in done.layers] == [True, True]
    assert remote.blob_reads() == [str(manifest.config.digest)]


def _diff_id(tmp_path: Path, number: int) -> Any:
    with open_image(f"oci:{tmp_path}/pushed:test") as opened:
        diff_id = opened.layers[number].diff_id
        assert diff_id is not None
        return diff_id.hex


# ------------------------------------------------------------------------------------------------------ many processes


def start(name: str, store: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*PULL, name, "--store", str(store), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_ten_processes_pull_one_image_with_one_download(
    remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    gate = remote.hold(manifest.layers[0].digest, after=1000)
    pulls = [start(f"{remote.host}/{name}", tmp_path / "store") for _ in range(10)]
    deadline = time.monotonic() + DEADLINE
    path = f"/v2/{name.replace(':', '/manifests/')}"
    while remote.asked.count(("HEAD", path)) < 10 and time.monotonic() < deadline:
        time.sleep(0.01)
    gate.set()
    ended = [process.communicate(timeout=DEADLINE) for process in pulls]
    assert [(process.returncode, err) for process, (_, err) in zip(pulls, ended, strict=True)] == [(0, "")] * 10
    assert {out.splitlines()[-1].rpartition("@")[2] for out, _ in ended} == {str(manifest.digest)}
    blobs = [str(one.digest) for one in (manifest.config, *manifest.layers)]
    assert sorted(remote.blob_reads()) == sorted(blobs)
    assert sum(method == "GET" and "/manifests/" in path for method, path in remote.asked) == 1
    assert usage(ContentStore(tmp_path / "store")).unneeded == 0
    assert not any((tmp_path / "store" / "ingest").iterdir())


def test_a_second_process_goes_on_where_the_first_one_was_killed(
    remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    layer = manifest.layers[0]
    gate = remote.hold(layer.digest, after=layer.size - 100)
    first = start(f"{remote.host}/{name}", tmp_path / "store")
    remote.wait_until_held(layer.digest)
    second = start(f"{remote.host}/{name}", tmp_path / "store")
    partial = tmp_path / "store" / "ingest" / f"sha256-{layer.digest.hex}"
    deadline = time.monotonic() + DEADLINE
    while not (partial.exists() and read_front(partial) > layer.size // 2) and time.monotonic() < deadline:
        time.sleep(0.01)
    there = read_front(partial)
    assert there > layer.size // 2
    os.kill(first.pid, signal.SIGKILL)
    first.communicate(timeout=DEADLINE)
    before = remote.sent
    gate.set()
    out, err = second.communicate(timeout=DEADLINE)
    assert (second.returncode, err) == (0, "")
    assert out.splitlines()[-1].endswith(str(manifest.digest))
    assert remote.sent - before <= layer.size - there + manifest.layers[1].size + 10_000
    collect(ContentStore(tmp_path / "store"))
    assert not any((tmp_path / "store" / "leases").iterdir())


@pytest.mark.parametrize("moment", range(8))
def test_killed_at_any_moment_it_leaves_a_store_that_works(
    moment: int, remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    store = tmp_path / "store"
    process = start(f"{remote.host}/{name}", store)
    deadline = time.monotonic() + DEADLINE
    while len(remote.asked) <= moment and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    process.communicate(timeout=DEADLINE)
    collect(ContentStore(store))
    for path in (store / "blobs").rglob("*") if (store / "blobs").is_dir() else ():
        if path.is_file():
            assert str(digest_of(path.read_bytes())) == f"{path.parent.name}:{path.name}"
    assert pulled(f"{remote.host}/{name}", tmp_path).digest == manifest.digest
    assert usage(ContentStore(store)).unneeded == 0


@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pull_says_so_and_goes_on_later(
    number: signal.Signals, jobs: str, remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    layer = manifest.layers[0]
    gate = remote.hold(layer.digest, after=layer.size - 100)
    process = start(f"{remote.host}/{name}", tmp_path / "store", "--unpack", str(tmp_path / "out"), "--jobs", jobs)
    remote.wait_until_held(layer.digest)
    partial = tmp_path / "store" / "ingest" / f"sha256-{layer.digest.hex}"
    deadline = time.monotonic() + DEADLINE
    while read_front(partial) < layer.size // 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    begun = time.monotonic()
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=DEADLINE)
    assert time.monotonic() - begun < 20
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert out == ""
    assert "came and are kept: the same command goes on from there" in err
    assert "Traceback" not in err
    before = remote.sent
    gate.set()
    options = PullOptions(unpack_to=tmp_path / "out")
    assert pulled(f"{remote.host}/{name}", tmp_path, options).digest == manifest.digest
    assert remote.sent - before <= layer.size // 2 + manifest.layers[1].size + 10_000


# ----------------------------------------------------------------------------------------------- what is there already


def test_what_is_being_pulled_is_not_collected(remote: Watched, image: tuple[str, Manifest], tmp_path: Path) -> None:
    name, manifest = image
    gate = remote.hold(manifest.layers[1].digest)
    process = start(f"{remote.host}/{name}", tmp_path / "store")
    store = ContentStore(tmp_path / "store")
    deadline = time.monotonic() + DEADLINE
    while store.blob(manifest.layers[0].digest) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    done = collect(store, everything=True)
    assert (done.blobs, done.partials) == (0, 0)
    gate.set()
    out, err = process.communicate(timeout=DEADLINE)
    assert (process.returncode, err) == (0, "")
    assert out.splitlines()[-1].endswith(str(manifest.digest))
    assert usage(store).names[0].missing == 0


def test_a_layer_that_the_store_has_uncompressed_is_not_fetched(
    remote: Watched, image: tuple[str, Manifest], tmp_path: Path
) -> None:
    name, manifest = image
    store = ContentStore(tmp_path / "store")
    with open_image(f"oci:{tmp_path}/pushed:test") as pushed:
        layer = pushed.layers[0]
        assert layer.diff_id is not None
        with layer.stream() as stream:
            data = b"".join(bytes(slab) for slab in stream)
            stream.finish()
        store.put_bytes(data, OCI_LAYER, digest=layer.diff_id)
    with network(tmp_path) as way:
        done = unpack(f"{remote.host}/{name}", tmp_path / "out", UnpackOptions(network=way))
    assert [one.reused for one in done.layers] == [False, False]
    assert str(manifest.layers[0].digest) not in remote.blob_reads()
    assert str(manifest.layers[1].digest) in remote.blob_reads()


def test_a_foreign_layer_comes_from_its_address(remote: Watched, repository_name: str, tmp_path: Path) -> None:
    """The registry has the manifest only; what the urls name is another repository."""
    blob, uncompressed = gzip.compress(tar(BASE), mtime=0), tar(BASE)
    with RegistryClient(SETTINGS) as client:
        there = client.repository(parse_registry_name(remote.registry.name(f"{repository_name}-elsewhere:1")))
        put_blob(there, blob)
    address = f"http://{remote.host}/v2/{repository_name}-elsewhere/blobs/{digest_of(blob)}"
    layer = Descriptor(FOREIGN, digest_of(blob), len(blob), urls=(address,))
    config = encode_config(WINDOWS, [digest_of(uncompressed)])
    raw = encode_manifest(Descriptor(OCI_CONFIG, digest_of(config), len(config)), [layer])
    store = ContentStore(tmp_path / "store")
    store.put_bytes(config, OCI_CONFIG, digest=digest_of(config))
    store.put_bytes(raw, OCI_MANIFEST, digest=digest_of(raw))
    name = f"{remote.host}/{repository_name}@{digest_of(raw)}"
    with Network(replace(SETTINGS, allow_private_urls=True, plain_http=True), tmp_path / "store") as way:
        done = unpack(name, tmp_path / "out", UnpackOptions(network=way))
    assert [one.diff_id for one in done.layers] == [digest_of(uncompressed)]
    paths = [path for method, path in remote.asked if method == "GET" and "/blobs/" in path]
    assert paths[-1] == address.removeprefix(f"http://{remote.host}")
    assert any(path.startswith(f"/v2/{repository_name}/blobs/") for path in paths)


# ------------------------------------------------------------------------------------------------------------- errors


def test_what_a_registry_does_not_have_is_named(remote: Watched, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError) as caught:
        pulled(f"{remote.host}/nobody/has:this", tmp_path)
    assert f"{remote.host}/nobody/has" in str(caught.value)
    assert not ContentStore(tmp_path / "store").names()


def test_a_layer_that_is_gone_leaves_the_name_as_it_was(
    remote: Watched, registry: DockerRegistry, repository_name: str, tmp_path: Path
) -> None:
    name = f"{repository_name}:1"
    first = push_layout(make_image(tmp_path / "one", BASE), registry.name(name))
    assert pulled(f"{remote.host}/{name}", tmp_path).digest == first.digest
    lost = os.urandom(100_000)
    second = push_layout(make_image(tmp_path / "two", BASE, [file("Files/x", lost)]), registry.name(name))
    hexadecimal = second.layers[1].digest.hex
    data = registry.storage / "docker/registry/v2/blobs/sha256" / hexadecimal[:2] / hexadecimal / "data"
    data.unlink()
    with pytest.raises(WclayerError) as caught:
        pulled(f"{remote.host}/{name}", tmp_path)
    assert hexadecimal[:12] in str(caught.value)
    assert ContentStore(tmp_path / "store").names()[f"{remote.host}/{name}"].digest == first.digest
