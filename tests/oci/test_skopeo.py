"""What skopeo writes is read, and what is written here skopeo reads."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.oci.samples import WINDOWS, layer_tar, read_layers, write_image
from tests.peers import require
from wclayer.oci import LayoutWriter, Platform, open_image
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import OCI_INDEX

LAYERS = [layer_tar("base"), layer_tar("top")]


def skopeo(*arguments: object) -> str:
    command = [require("skopeo"), "--override-os", "windows", "--insecure-policy", *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    folder = tmp_path / "layout"
    write_image(folder, LAYERS, name="v1", entry_platform=WINDOWS)
    return folder


@pytest.mark.parametrize(
    "target",
    [
        "oci:{}",
        "oci:{}:tag",
        "oci-archive:{}",
        "oci-archive:{}:tag",
        "docker-archive:{}",
        "docker-archive:{}:app:1",
        "dir:{}",
    ],
)
def test_what_skopeo_copies_is_read(layout: Path, tmp_path: Path, target: str) -> None:
    path = tmp_path / "copy"
    reference = target.format(path)
    skopeo("copy", f"oci:{layout}:v1", reference)
    for text in (reference, str(path)):
        for platform in (None, "ltsc2022"):
            with open_image(text, platform) as image:
                assert image.platform == WINDOWS
                assert read_layers(image) == LAYERS


@pytest.mark.parametrize("form", ["gzip", "zstd"])
def test_what_skopeo_compresses_is_read(layout: Path, tmp_path: Path, form: str) -> None:
    skopeo("copy", "--dest-compress", "--dest-compress-format", form, f"oci:{layout}:v1", f"oci:{tmp_path / 'copy'}:v1")
    with open_image(f"oci:{tmp_path / 'copy'}:v1") as image:
        assert read_layers(image) == LAYERS


def test_equal_layers_in_an_archive_of_skopeo(tmp_path: Path) -> None:
    write_image(tmp_path / "layout", [LAYERS[0], LAYERS[1], LAYERS[0]], name="v1")
    skopeo("copy", f"oci:{tmp_path / 'layout'}:v1", f"docker-archive:{tmp_path / 'x.tar'}:app:1")
    with open_image(f"docker-archive:{tmp_path / 'x.tar'}") as image:
        assert read_layers(image) == [LAYERS[0], LAYERS[1], LAYERS[0]]


def test_skopeo_reads_what_is_written_here(layout: Path) -> None:
    found = json.loads(skopeo("inspect", f"oci:{layout}:v1"))
    with open_image(f"oci:{layout}:v1") as image:
        assert image.manifest is not None
        assert found["Digest"] == str(image.digest)
        assert found["Layers"] == [str(layer.digest) for layer in image.manifest.layers]
    assert (found["Os"], found["Architecture"]) == ("windows", "amd64")


@pytest.mark.parametrize("target", ["oci:{}:all", "dir:{}"])
def test_an_index_that_skopeo_copies_whole_is_read(tmp_path: Path, target: str) -> None:
    layout = tmp_path / "layout"
    versions = ["10.0.17763.1", "10.0.20348.3091", "10.0.20348.999"]
    entries = [
        write_image(
            layout, [layer_tar(v)], platform=(p := Platform("windows", "amd64", os_version=v)), entry_platform=p
        )
        for v in versions
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.to_json() for entry in entries]}
    LayoutWriter(layout).put_manifest(encode_json(index), name="all")
    reference = target.format(tmp_path / "copy")
    skopeo("copy", "--all", f"oci:{layout}:all", reference)
    for wanted, version in ((None, versions[1]), ("ltsc2019", versions[0]), ("ltsc2022", versions[1])):
        with open_image(reference, wanted) as image:
            assert read_layers(image) == [layer_tar(version)]
