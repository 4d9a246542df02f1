"""Layers compressed anew: other blobs, the same content, the same image."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.copying.places import (
    KINDS,
    Places,
    contents,
    docker_image,
    document,
    files,
    foreign_image,
    root_digest,
    skopeo,
    windows_index,
)
from tests.oci.samples import WINDOWS, layer_tar, write_image
from wclayer.errors import IntegrityError, NotFoundError, UnsupportedError, UsageError
from wclayer.image.copying import CopyOptions
from wclayer.image.copying.recompressing import recompress_image
from wclayer.oci import Index, Manifest
from wclayer.oci.mediatypes import DOCKER_MANIFEST, OCI_MANIFEST

LAYERS = [layer_tar("base"), layer_tar("top")]
ALL = CopyOptions(all_platforms=True)


@pytest.fixture
def source(tmp_path: Path) -> str:
    write_image(tmp_path / "source", LAYERS, name="t", entry_platform=WINDOWS)
    return f"oci:{tmp_path / 'source'}:t"


def manifest(reference: str) -> Manifest:
    found = document(reference)
    assert isinstance(found, Manifest)
    return found


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "docker-archive"])
def test_the_content_stays_and_the_types_are_right(kind: str, source: str, places: Places) -> None:
    target, back = places.new(kind), places.new("oci")
    result = recompress_image(source, target, "zstd")
    assert contents(target) == contents(source)
    assert [layer.media_type for layer in manifest(target).layers] == [
        "application/vnd.oci.image.layer.v1.tar+zstd"
    ] * 2
    assert manifest(target).config == manifest(source).config
    assert result.changed[root_digest(source)] == result.digest == root_digest(target)
    assert {blob.outcome for blob in result.blobs if "layer" in blob.media_type} == {"copied"}
    recompress_image(target, back, "gzip")
    assert contents(back) == contents(source)
    assert root_digest(back) == root_digest(source)  # they were compressed by the same library


def test_the_same_image_gives_the_same_bytes(source: str, places: Places) -> None:
    first, second = places.new("oci"), places.new("oci")
    for target in (first, second):
        recompress_image(source, target, "zstd", 19)
    assert files(Path(first.split(":")[1])) == files(Path(second.split(":")[1]))


def test_a_level_compresses_also_what_fits_already(source: str, places: Places) -> None:
    target = places.new("oci")
    result = recompress_image(source, target, "gzip")
    assert result.digest == root_digest(source)
    assert any("already" in note for note in result.notes)
    assert recompress_image(source, places.new("oci"), "gzip", 0).digest != root_digest(source)
    with pytest.raises(UsageError, match="levels"):
        recompress_image(source, places.new("oci"), "zstd", 99)


def test_skopeo_reads_what_was_compressed_anew(source: str, places: Places) -> None:
    target, theirs = places.new("registry"), places.new("oci")
    recompress_image(source, target, "zstd")
    skopeo("copy", target, theirs)
    assert contents(theirs) == contents(source)


def test_dockers_manifests_become_oci_manifests_for_zstd_only(places: Places) -> None:
    layout = places.folder / "docker"
    docker_image(layout, LAYERS, name="t")
    zstd, gzip = places.new("oci"), places.new("oci")
    result = recompress_image(f"oci:{layout}:t", zstd, "zstd")
    assert manifest(zstd).media_type == OCI_MANIFEST
    assert manifest(zstd).config.media_type == "application/vnd.oci.image.config.v1+json"
    assert any("OCI manifests" in note for note in result.notes)
    recompress_image(f"oci:{layout}:t", gzip, "gzip", 1)
    assert manifest(gzip).media_type == DOCKER_MANIFEST
    assert {layer.media_type for layer in manifest(gzip).layers} == {
        "application/vnd.docker.image.rootfs.diff.tar.gzip"
    }
    assert contents(zstd) == contents(gzip) == contents(f"oci:{layout}:t")


def test_every_image_of_an_index_and_the_index_itself(places: Places) -> None:
    windows_index(places.folder / "source")
    source, target = f"oci:{places.folder / 'source'}:all", places.new("registry")
    recompress_image(source, target, "zstd", options=ALL)
    assert contents(target) == contents(source)
    old, new = document(source), document(target)
    assert isinstance(old, Index)
    assert isinstance(new, Index)
    assert [entry.platform for entry in new.manifests] == [entry.platform for entry in old.manifests]
    assert old.manifests[-1].digest == new.manifests[-1].digest  # the attestation has no layers of an image


def test_a_foreign_layer_stays_as_it_is_unless_it_becomes_an_ordinary_one(places: Places) -> None:
    _, foreign = foreign_image(places.folder / "source")
    source = f"oci:{places.folder / 'source'}:foreign"
    kept, rewritten = places.new("oci"), places.new("oci")
    result = recompress_image(source, kept, "zstd")
    assert manifest(kept).layers[0].digest == foreign.digest
    assert any("foreign layers stay" in note for note in result.notes)
    recompress_image(source, rewritten, "zstd", options=CopyOptions(foreign="strip"))
    assert [layer.type.compression for layer in manifest(rewritten).layers] == ["zstd", "zstd"]
    assert contents(kept) == contents(rewritten) == contents(source)


def test_a_damaged_layer_is_refused(source: str, places: Places) -> None:
    blob = places.folder / "source" / manifest(source).layers[1].digest.blob_path
    blob.write_bytes(blob.read_bytes()[:-8] + bytes(8))
    target = places.new("oci")
    with pytest.raises(IntegrityError):
        recompress_image(source, target, "zstd")
    with pytest.raises(NotFoundError):
        root_digest(target)


def test_an_archive_of_docker_compresses_nothing(source: str, places: Places) -> None:
    with pytest.raises(UnsupportedError, match="uncompressed"):
        recompress_image(source, places.new("docker-archive"), "gzip")


def test_a_dry_run_writes_nothing(source: str, places: Places) -> None:
    target = places.new("oci")
    assert recompress_image(source, target, "zstd", options=CopyOptions(dry_run=True)).status == "planned"
    assert not Path(target.split(":")[1]).exists()
