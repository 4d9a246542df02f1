"""Every kind of place is copied to every other, and nothing about the image changes on the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.copying.places import KINDS, Places, contents, docker_image, root_digest, windows_index
from tests.oci.samples import WINDOWS, layer_tar, write_image
from wclayer.image.copying import CopyOptions, copy_image

LAYERS = [layer_tar("base"), layer_tar("top")]


@pytest.fixture
def source(tmp_path: Path) -> str:
    write_image(tmp_path / "source", LAYERS, name="t", entry_platform=WINDOWS)
    return f"oci:{tmp_path / 'source'}:t"


@pytest.mark.parametrize("to", KINDS)
@pytest.mark.parametrize("from_", KINDS)
def test_an_image_goes_from_every_kind_of_place_to_every_other(
    from_: str, to: str, source: str, places: Places
) -> None:
    first, second = places.new(from_), places.new(to)
    copied = copy_image(source, first)
    assert copied.status == "copied"
    result = copy_image(first, second)
    assert contents(second) == contents(source)
    kept = "docker-archive" not in (from_, to)
    assert (root_digest(second) == root_digest(source)) == kept
    assert result.digest == root_digest(second)
    assert bool(result.changed) == (to == "docker-archive" and from_ != "docker-archive")


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "docker-archive"])
def test_a_whole_index_keeps_its_digest_everywhere(kind: str, docker: bool, places: Places) -> None:
    layout = places.folder / "index"
    digest = windows_index(layout, docker=docker)
    reference = places.new(kind)
    result = copy_image(f"oci:{layout}:all", reference, CopyOptions(all_platforms=True, preserve_digests=True))
    assert (result.digest, result.images) == (digest, 5)
    back = places.new("oci")
    assert copy_image(reference, back, CopyOptions(all_platforms=True)).digest == digest
    assert contents(back) == contents(f"oci:{layout}:all")


@pytest.mark.parametrize("kind", KINDS)
def test_docker_types_stay_docker_types(kind: str, places: Places) -> None:
    digest = docker_image(places.folder / "source", LAYERS, name="t")
    reference = places.new(kind)
    copy_image(f"oci:{places.folder / 'source'}:t", reference)
    assert (root_digest(reference) == digest) == (kind != "docker-archive")
    assert contents(reference) == contents(f"oci:{places.folder / 'source'}:t")


@pytest.mark.parametrize("kind", ["oci", "dir", "registry", "store", "path"])
def test_a_second_copy_moves_nothing(kind: str, source: str, places: Places) -> None:
    reference = places.new(kind)
    first, second = copy_image(source, reference), copy_image(source, reference)
    assert {blob.outcome for blob in first.blobs} == {"copied"}
    assert {blob.outcome for blob in second.blobs} == {"present"}
    third = copy_image(source, reference, CopyOptions(skip_present=True))
    assert (third.status, third.digest) == ("present", first.digest)


def test_a_registry_mounts_blobs_from_another_repository_of_its_own(source: str, places: Places) -> None:
    first, second = places.new("registry"), places.new("registry")
    copy_image(source, first)
    result = copy_image(first, second)
    assert {blob.outcome for blob in result.blobs} == {"mounted"}
    assert result.moved == 0
    assert contents(second) == contents(source)
