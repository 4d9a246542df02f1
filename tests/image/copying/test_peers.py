"""skopeo, umoci and ORAS read what is written here and write what is read here, with the same digests."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from tests.image.copying.places import (
    Places,
    called,
    contents,
    document,
    foreign_image,
    root_digest,
    skopeo,
    windows_index,
)
from tests.oci.samples import WINDOWS, layer_tar, write_image
from tests.registries.docker_registry import DockerRegistry
from wclayer.image.copying import CopyOptions, copy_image

LAYERS = [layer_tar("base"), layer_tar("top")]
ALL = CopyOptions(all_platforms=True)


@pytest.fixture
def source(tmp_path: Path) -> str:
    write_image(tmp_path / "source", LAYERS, name="t", entry_platform=WINDOWS)
    return f"oci:{tmp_path / 'source'}:t"


def test_there_and_back_by_way_of_skopeo(source: str, places: Places) -> None:
    """Ours, a registry, skopeo, an archive, ours, a registry, skopeo, a layout, ours."""
    digest = root_digest(source)
    first, archive, second, layout = map(places.new, ("registry", "oci-archive", "registry", "oci"))
    copy_image(source, first)
    assert json.loads(skopeo("inspect", first))["Digest"] == str(digest)
    skopeo("copy", first, archive)
    assert root_digest(archive) == digest
    copy_image(archive, second)
    skopeo("copy", second, layout)
    assert root_digest(layout) == digest
    last = places.new("dir")
    copy_image(layout, last)
    assert root_digest(last) == digest
    assert contents(last) == contents(source)


def test_a_windows_index_there_and_back_by_way_of_skopeo(places: Places) -> None:
    digest = windows_index(places.folder / "source")
    source = f"oci:{places.folder / 'source'}:all"
    first, layout, second = map(places.new, ("registry", "oci", "registry"))
    copy_image(source, first, ALL)
    skopeo("copy", "--all", first, layout)
    assert root_digest(layout) == digest
    copy_image(layout, second, ALL)
    assert json.loads(skopeo("inspect", "--raw", second)) == json.loads(document(source).raw)
    assert contents(second) == contents(source)


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir", "registry"])
def test_skopeo_reads_every_form_that_is_written_here(kind: str, source: str, places: Places) -> None:
    ours, theirs = places.new(kind), places.new("oci")
    copy_image(source, ours)
    skopeo("copy", ours, theirs)
    assert contents(theirs) == contents(source)
    assert (root_digest(theirs) == root_digest(source)) == (kind != "docker-archive")


@pytest.mark.parametrize("kind", ["oci", "oci-archive", "docker-archive", "dir", "registry"])
def test_every_form_that_skopeo_writes_is_copied(kind: str, source: str, places: Places) -> None:
    theirs, ours = places.new(kind), places.new("oci")
    skopeo("copy", source, theirs)
    copy_image(theirs, ours)
    assert contents(ours) == contents(source)
    assert root_digest(ours) == root_digest(theirs)


def test_umoci_reads_a_layout_that_was_copied(source: str, places: Places) -> None:
    layout = places.folder / "for-umoci"
    copy_image(source, f"oci:{layout}:t")
    assert called("umoci", "ls", "--layout", layout) == "t"
    called("umoci", "raw", "unpack", "--rootless", "--image", f"{layout}:t", places.folder / "root")
    found = sorted(path.name for path in (places.folder / "root" / "Files").iterdir())
    assert found == ["base.txt", "top.txt"]


def test_an_image_that_umoci_made_is_pushed(places: Places) -> None:
    layout = places.folder / "by-umoci"
    called("umoci", "init", "--layout", layout)
    called("umoci", "new", "--image", f"{layout}:t")
    called("umoci", "config", "--image", f"{layout}:t", "--os", "windows", "--architecture", "amd64")
    (places.folder / "Files").mkdir()
    (places.folder / "Files" / "a.txt").write_text("a")
    called("umoci", "insert", "--image", f"{layout}:t", places.folder / "Files", "/Files")
    reference = places.new("registry")
    assert copy_image(f"oci:{layout}:t", reference).digest == root_digest(f"oci:{layout}:t")
    assert json.loads(skopeo("inspect", reference))["Os"] == "windows"


@pytest.fixture
def oras(registry: DockerRegistry) -> Any:
    logging.getLogger("oras").setLevel(logging.ERROR)
    client = pytest.importorskip("oras.client", reason="oras is not installed")
    return client.OrasClient(hostname=registry.host, insecure=True)


def test_an_artifact_of_oras_is_copied_as_it_is(oras: Any, places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(places.folder)
    Path("note.txt").write_text("about an image")
    reference = places.new("registry")
    oras.push(target=reference.removeprefix("docker://"), files=["note.txt:text/plain"], quiet=True)
    layout, second = places.new("oci"), places.new("registry")
    digest = copy_image(reference, layout).digest
    assert copy_image(layout, second).digest == digest
    fetched = oras.pull(target=second.removeprefix("docker://"), outdir=str(places.folder / "out"))
    assert [Path(path).read_text() for path in fetched] == ["about an image"]


def test_oras_reads_the_manifest_and_the_blobs_of_an_image_that_was_pushed(
    oras: Any, source: str, places: Places
) -> None:
    reference = places.new("registry")
    copy_image(source, reference)
    name = reference.removeprefix("docker://")
    manifest = oras.get_manifest(name)
    assert manifest == json.loads(document(source).raw)
    for layer in manifest["layers"]:
        blob = oras.get_blob(oras.get_container(name), layer["digest"])
        assert len(blob.content) == layer["size"]


# ------------------------------------------------------------------------------------------------ what others lose


def test_skopeo_leaves_the_bytes_of_foreign_layers_out_and_they_are_kept_here(places: Places) -> None:
    layout = places.folder / "source"
    _, foreign = foreign_image(layout)
    theirs, ours = places.folder / "theirs", places.folder / "ours"
    skopeo("copy", f"dir:{as_dir(layout, places)}", f"oci:{theirs}:t")
    assert not (theirs / foreign.digest.blob_path).exists()
    copy_image(f"oci:{layout}:foreign", f"oci:{ours}:t")
    assert (ours / foreign.digest.blob_path).stat().st_size == foreign.size


def as_dir(layout: Path, places: Places) -> Path:
    """The foreign image in skopeo's own folder, whole."""
    folder = places.folder / "whole"
    copy_image(f"oci:{layout}:foreign", f"dir:{folder}")
    return folder


def test_skopeo_takes_the_first_windows_image_of_an_index_and_here_it_is_the_newest(places: Places) -> None:
    layout = places.folder / "source"
    windows_index(layout)
    reference, theirs, ours = places.new("registry"), places.new("oci"), places.new("oci")
    copy_image(f"oci:{layout}:all", reference, ALL)
    skopeo("copy", reference, theirs)
    assert list(contents(theirs)) == ["10.0.17763.6414"]  # the first of the list, whatever the host is
    result = copy_image(reference, ours)
    assert list(contents(ours)) == ["10.0.26100.1742"]
    assert any("10.0.26100.1742" in note and "10.0.17763.6414" in note for note in result.notes)


def test_skopeo_forgets_the_foreign_identity_in_an_archive_and_here_it_comes_back(places: Places) -> None:
    layout = places.folder / "source"
    _, foreign = foreign_image(layout)
    archive = places.new("docker-archive")
    copy_image(f"oci:{layout}:foreign", archive)
    theirs, ours = places.new("dir"), places.new("dir")
    skopeo("copy", archive, theirs)
    assert not any(layer.urls for layer in document(theirs).layers)  # type: ignore[union-attr]
    copy_image(archive, ours, CopyOptions(foreign="keep"))
    assert document(ours).layers[0].digest == foreign.digest  # type: ignore[union-attr]
    assert document(ours).layers[0].urls == foreign.urls  # type: ignore[union-attr]


def test_oras_believes_a_blob_without_hashing_it_and_here_it_is_refused(
    oras: Any, source: str, places: Places, registry: DockerRegistry
) -> None:
    reference = places.new("registry")
    copy_image(source, reference)
    layer = document(source).layers[1]  # type: ignore[union-attr]
    data = registry.storage / "docker/registry/v2/blobs/sha256" / layer.digest.hex[:2] / layer.digest.hex / "data"
    right = data.read_bytes()
    data.write_bytes(bytes(len(right)))
    try:
        name = reference.removeprefix("docker://")
        blob = oras.get_blob(oras.get_container(name), str(layer.digest))
        assert blob.content == bytes(len(right))
        for kind in ("oci", "oci-archive", "dir", "docker-archive"):
            target = places.new(kind)
            with pytest.raises(Exception, match="digest") as caught:
                copy_image(reference, target)
            assert getattr(caught.value, "exit_code", None) == 6
            with pytest.raises(Exception, match=r"no|not"):
                root_digest(target)
    finally:
        data.write_bytes(right)
