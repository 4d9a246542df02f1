"""Several images in one file, and out of it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.image.copying.places import (
    Places,
    contents,
    foreign_image,
    loaded,
    members,
    root_digest,
    skopeo,
    windows_index,
)
from tests.oci.samples import WINDOWS, layer_tar, new_docker_archive, old_docker_archive, tar, write_image
from wclayer.errors import NotFoundError, UsageError, WclayerError
from wclayer.image.copying import CopyOptions, copy_image
from wclayer.image.copying.bundling import bundle_images, load_images
from wclayer.oci.network import Network

LAYERS = [layer_tar("base"), layer_tar("top")]
ALL = CopyOptions(all_platforms=True)


@pytest.fixture
def references(places: Places) -> list[str]:
    """Three images in a registry: a plain one, an index, and one that shares its base."""
    write_image(places.folder / "a", LAYERS, name="t", entry_platform=WINDOWS)
    windows_index(places.folder / "b")
    write_image(places.folder / "c", [LAYERS[0], layer_tar("other")], name="t", entry_platform=WINDOWS)
    names = [places.new("registry") for _ in range(3)]
    for layout, name in zip(("a:t", "b:all", "c:t"), names, strict=True):
        copy_image(f"oci:{places.folder / layout}", name, ALL)
    return names


@pytest.fixture
def bundle(references: list[str], places: Places) -> Path:
    path = places.folder / "bundle.tar"
    bundled = bundle_images([name.removeprefix("docker://") for name in references], str(path), ALL)
    assert [f"docker://{image.name}" for image in bundled.images] == references
    return path


def test_a_bundle_holds_everything_once_and_is_the_same_each_time(
    bundle: Path, references: list[str], places: Places
) -> None:
    names = [name.removeprefix("docker://") for name in references]
    found = members(bundle)
    assert len([name for name in found if name.startswith("blobs/")]) == len(set(found) - LISTS)
    entries = loaded(bundle, "index.json")["manifests"]
    assert [entry["annotations"]["io.containerd.image.name"] for entry in entries] == names
    assert [entry["digest"] for entry in entries] == [str(root_digest(name)) for name in references]
    again = places.folder / "again.tar"
    bundle_images(references, str(again), ALL)
    assert again.read_bytes() == bundle.read_bytes()


LISTS = {"oci-layout", "index.json", "manifest.json"}


def test_docker_finds_every_image_and_its_layers_in_a_bundle(bundle: Path, references: list[str]) -> None:
    found = members(bundle)
    lines = loaded(bundle, "manifest.json")
    assert len(lines) == 1 + 5 + 1
    for line in lines:
        config = json.loads(found[line["Config"]])
        assert len(line["Layers"]) == len(config["rootfs"]["diff_ids"])
        assert all(layer in found for layer in line["Layers"])
    tagged = [line["RepoTags"] for line in lines if line["RepoTags"]]
    assert tagged == [[name.removeprefix("docker://")] for name in references]
    newest = json.loads(found[next(line for line in lines if line["RepoTags"] == tagged[1])["Config"]])
    assert newest["os.version"] == "10.0.26100.1742"


def test_skopeo_reads_an_image_of_a_bundle(bundle: Path, references: list[str], places: Places) -> None:
    theirs = places.new("oci")
    skopeo("copy", f"oci-archive:{bundle}:{references[0].removeprefix('docker://')}", theirs)
    assert root_digest(theirs) == root_digest(references[0])
    docker = places.new("oci")
    skopeo("copy", f"docker-archive:{bundle}:{references[2].removeprefix('docker://')}", docker)
    assert contents(docker) == contents(references[2])


def test_a_bundle_goes_into_the_content_store_and_is_used_without_a_network(
    bundle: Path, references: list[str]
) -> None:
    with Network(offline=True) as network:
        results = load_images(str(bundle), network=network)
    assert [result.status for result in results] == ["copied"] * 3
    for name in references:
        stored = name.replace("docker://", "store:")
        assert root_digest(stored) == root_digest(name)
        assert contents(stored) == contents(name)
    assert [result.status for result in load_images(str(bundle))] == ["present"] * 3


def test_a_bundle_goes_below_a_path_of_a_registry(bundle: Path, references: list[str], places: Places) -> None:
    prefix = f"docker://{places.host}/air/{places.repository.rpartition('/')[2]}"
    results = load_images(str(bundle), prefix)
    for result, name in zip(results, references, strict=True):
        path = name.removeprefix(f"docker://{places.host}/")
        assert result.destination == f"{prefix}/{path}"
        assert root_digest(result.destination) == root_digest(name)
    assert [result.moved for result in load_images(str(bundle), prefix)] == [0, 0, 0]


def test_a_bundle_goes_into_a_layout_and_a_layout_is_loaded_too(
    bundle: Path, references: list[str], places: Places
) -> None:
    layout = places.folder / "layout"
    load_images(str(bundle), f"oci:{layout}")
    for name in references:
        assert root_digest(f"oci:{layout}:{name.removeprefix('docker://')}") == root_digest(name)
    results = load_images(str(layout))
    assert [result.digest for result in results] == [root_digest(name) for name in references]


def test_loading_that_stopped_half_way_goes_on(bundle: Path, references: list[str], places: Places) -> None:
    """A blob in the middle of the file is damaged: what came before it stays, and is not copied again."""
    right = bundle.read_bytes()
    victim = members(bundle)[sorted(_layers(bundle))[-1]]
    place = right.rindex(victim)
    bundle.write_bytes(right[:place] + bytes(len(victim)) + right[place + len(victim) :])
    prefix = f"docker://{places.host}/half/{places.repository.rpartition('/')[2]}"
    with pytest.raises(WclayerError) as caught:
        load_images(str(bundle), prefix)
    assert caught.value.exit_code == 6
    bundle.write_bytes(right)
    results = load_images(str(bundle), prefix)
    outcomes = [blob.outcome for result in results for blob in result.blobs]
    assert "present" in outcomes
    assert "copied" in outcomes
    for result, name in zip(results, references, strict=True):
        assert contents(result.destination) == contents(name)


def _layers(bundle: Path) -> set[str]:
    return {layer for line in loaded(bundle, "manifest.json") for layer in line["Layers"]}


def test_a_bundle_holds_the_bytes_of_foreign_layers(places: Places) -> None:
    digest, foreign = foreign_image(places.folder / "f", name="example.com/foreign:1")
    path = places.folder / "bundle.tar"
    bundled = bundle_images([f"oci:{places.folder / 'f'}:example.com/foreign:1"], str(path))
    assert bundled.images[0].name == "example.com/foreign:1"
    assert foreign.digest.blob_path in members(path)
    (line,) = loaded(path, "manifest.json")
    assert next(iter(line["LayerSources"].values()))["urls"] == list(foreign.urls)
    (result,) = load_images(str(path))
    assert result.digest == digest == root_digest("store:example.com/foreign:1")


def test_what_docker_save_wrote_before_is_loaded_under_all_its_names(places: Places) -> None:
    path = places.folder / "saved.tar"
    path.write_bytes(old_docker_archive(LAYERS, tags=["app:1", "example.com/app:2"]))
    results = load_images(str(path))
    names = ["store:docker.io/library/app:1", "store:example.com/app:2"]
    assert [result.destination for result in results] == names
    for name in names:
        assert contents(name) == contents(f"docker-archive:{path}")


def test_what_docker_save_writes_now_is_loaded(places: Places) -> None:
    path = places.folder / "saved.tar"
    path.write_bytes(new_docker_archive(LAYERS, tag="app:1"))
    (result,) = load_images(str(path))
    assert result.destination == "store:example.invalid/app:1"
    assert contents("store:example.invalid/app:1") == contents(f"oci-archive:{path}")


def test_two_images_of_one_name_do_not_fit_into_a_bundle(references: list[str], places: Places) -> None:
    with pytest.raises(UsageError, match="both called"):
        bundle_images([references[0], references[0]], str(places.folder / "x.tar"))
    assert not (places.folder / "x.tar").exists()


def test_an_image_without_a_name_is_not_loaded_but_said_how_to(places: Places) -> None:
    write_image(places.folder / "nameless", LAYERS)
    archive = places.folder / "nameless.tar"
    copy_image(f"oci:{places.folder / 'nameless'}", f"oci-archive:{archive}")
    with pytest.raises(UsageError, match="wclayer copy oci-archive"):
        load_images(str(archive))
    empty = places.folder / "empty.tar"
    empty.write_bytes(
        tar([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", b'{"schemaVersion":2,"manifests":[]}')])
    )
    with pytest.raises(NotFoundError, match="no image"):
        load_images(str(empty))


def test_a_dry_run_loads_nothing(bundle: Path, places: Places) -> None:
    layout = places.folder / "layout"
    results = load_images(str(bundle), f"oci:{layout}", CopyOptions(dry_run=True))
    assert [result.status for result in results] == ["planned"] * 3
    assert not layout.exists()
