from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.oci.samples import FOREIGN, WINDOWS, dumps, layer_tar, packed, read_layers, write_image
from wclayer.errors import (
    DigestMismatchError,
    FormatError,
    LimitError,
    NotFoundError,
    UnsupportedError,
    UsageError,
)
from wclayer.oci import Descriptor, LayoutWriter, Platform, open_image
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_config, encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST

LAYERS = [layer_tar("base"), layer_tar("top")]


def windows(version: str) -> Platform:
    return Platform("windows", "amd64", os_version=version)


def test_an_image_is_read_with_its_layers_base_first(tmp_path: Path) -> None:
    entry = write_image(tmp_path, LAYERS, name="v1")
    with open_image(f"oci:{tmp_path}:v1") as image:
        assert image.reference == f"oci:{tmp_path}:v1"
        assert image.digest == entry.digest
        assert image.platform == WINDOWS
        assert [layer.index for layer in image.layers] == [0, 1]
        assert [layer.diff_id for layer in image.layers] == [digest_of(layer) for layer in LAYERS]
        assert str(image.layers[1]).startswith("2 of 2 (sha256:")
        assert all(layer.is_available and layer.locate().original for layer in image.layers)
        assert read_layers(image) == LAYERS
        assert image.notes == ()


@pytest.mark.parametrize("wanted", [None, "windows/amd64", "ltsc2022", "windows/amd64:10.0.20348.2700"])
def test_a_lone_image_needs_no_name_and_no_platform(tmp_path: Path, wanted: str | None) -> None:
    write_image(tmp_path, LAYERS)
    assert read_layers(open_image(str(tmp_path), wanted)) == LAYERS


def test_a_lone_image_of_another_system_is_taken_unless_a_platform_is_asked_for(tmp_path: Path) -> None:
    write_image(tmp_path, LAYERS, platform=Platform("linux", "arm64", "v8"))
    assert open_image(f"oci:{tmp_path}").platform == Platform("linux", "arm64", "v8")
    assert open_image(f"oci:{tmp_path}", "linux/arm64").platform == Platform("linux", "arm64", "v8")
    with pytest.raises(NotFoundError, match="there are linux/arm64/v8"):
        open_image(f"oci:{tmp_path}", "windows/amd64")


def test_names_are_found_whole_or_by_their_end(tmp_path: Path) -> None:
    write_image(tmp_path, LAYERS[:1], name="example.invalid/app:1")
    second = write_image(
        tmp_path, LAYERS, name="2", annotations={"io.containerd.image.name": "example.invalid/app:two"}
    )
    for name in ("2", "two", "app:two", "example.invalid/app:two"):
        assert open_image(f"oci:{tmp_path}:{name}").digest == second.digest
    assert len(open_image(f"oci:{tmp_path}:1").layers) == 1
    with pytest.raises(NotFoundError, match=r"2, example.invalid/app:1, example.invalid/app:two"):
        open_image(f"oci:{tmp_path}:3")
    with pytest.raises(UsageError, match="2 images"):
        open_image(f"oci:{tmp_path}")


def test_a_digest_picks_a_manifest_also_one_deeper_down(tmp_path: Path) -> None:
    first = write_image(tmp_path, LAYERS[:1], name="1")
    second = write_image(tmp_path, LAYERS, name="2")
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [second.to_json()]}
    writer = LayoutWriter(tmp_path)
    entry = writer.put_manifest(dumps(index), name="2")
    assert open_image(f"oci:{tmp_path}@{first.digest}").digest == first.digest
    assert open_image(f"oci:{tmp_path}@{second.digest}").digest == second.digest
    assert open_image(f"oci:{tmp_path}@{entry.digest}").digest == second.digest
    with pytest.raises(NotFoundError, match="no manifest"):
        open_image(f"oci:{tmp_path}:1@{second.digest}")
    with pytest.raises(NotFoundError, match="no manifest"):
        open_image(f"oci:{tmp_path}@{digest_of(b'none')}")


def multi(folder: Path, *versions: str, with_platforms: bool = True) -> dict[str, Descriptor]:
    """An index of images of several versions under the name ``all``."""
    entries = {
        version: write_image(
            folder,
            [layer_tar(version)],
            platform=windows(version),
            entry_platform=windows(version) if with_platforms else None,
        )
        for version in versions
    }
    listed = [entry.to_json() for entry in entries.values()]
    LayoutWriter(folder).put_manifest(
        dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}), name="all"
    )
    return entries


@pytest.mark.parametrize("with_platforms", [True, False])
def test_the_highest_version_is_the_default_and_is_told(tmp_path: Path, with_platforms: bool) -> None:
    entries = multi(tmp_path, "10.0.17763.1", "10.0.20348.3091", "10.0.20348.999", with_platforms=with_platforms)
    image = open_image(f"oci:{tmp_path}:all")
    assert image.digest == entries["10.0.20348.3091"].digest
    assert "chose windows(10.0.20348.3091)/amd64" in image.notes[0]
    assert open_image(f"oci:{tmp_path}:all", "ltsc2019").digest == entries["10.0.17763.1"].digest
    assert open_image(f"oci:{tmp_path}:all", "ltsc2019").notes == ()
    assert open_image(f"oci:{tmp_path}:all", "windows/amd64:10.0.20348.999").digest == (
        entries["10.0.20348.999"].digest
    )
    with pytest.raises(NotFoundError, match=r"windows\(10.0.17763.1\)/amd64, windows\(10.0.20348.999\)/amd64, windows"):
        open_image(f"oci:{tmp_path}:all", "windows/arm64")


def test_an_index_json_of_nameless_images_is_an_index(tmp_path: Path) -> None:
    write_image(tmp_path, LAYERS[:1], platform=windows("10.0.17763.1"))
    last = write_image(tmp_path, LAYERS, platform=windows("10.0.20348.1"))
    assert open_image(str(tmp_path)).digest == last.digest
    assert len(open_image(str(tmp_path), "ltsc2019").layers) == 1


def test_an_attestation_beside_an_image_is_passed_over(tmp_path: Path) -> None:
    image = write_image(tmp_path, LAYERS)
    attestation = Descriptor(
        OCI_MANIFEST,
        digest_of(b"not even here"),
        9,
        annotations={"vnd.docker.reference.type": "attestation-manifest"},
        platform=Platform("unknown", "unknown"),
    )
    listed = [attestation.to_json(), image.to_json()]
    LayoutWriter(tmp_path).put_manifest(
        dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": listed}), name="x"
    )
    assert open_image(f"oci:{tmp_path}:x").digest == image.digest


def test_an_artifact_is_no_image(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    empty = writer.put_bytes(b"{}", "application/vnd.oci.empty.v1+json")
    writer.put_manifest(
        dumps({"schemaVersion": 2, "artifactType": "application/x", "config": empty.to_json(), "layers": []}), name="x"
    )
    with pytest.raises(UnsupportedError, match="artifact of type application/x"):
        open_image(f"oci:{tmp_path}:x")
    with pytest.raises(NotFoundError, match="no image at all"):
        open_image(f"oci:{tmp_path}:x", "windows/amd64")


def foreign_image(folder: Path, *, urls: tuple[str, ...], layer: bytes = LAYERS[0]) -> Descriptor:
    writer = LayoutWriter(folder)
    blob = packed(layer)
    descriptor = Descriptor(FOREIGN, digest_of(blob), len(blob), urls=urls)
    config = writer.put_bytes(encode_config(WINDOWS, [digest_of(layer)]), OCI_CONFIG)
    writer.put_manifest(encode_manifest(config, [descriptor]))
    return descriptor


def test_a_missing_foreign_layer_says_where_it_is_and_what_to_do(tmp_path: Path) -> None:
    descriptor = foreign_image(tmp_path, urls=("https://one.invalid/a", "https://two.invalid/b"))
    image = open_image(str(tmp_path))
    (layer,) = image.layers
    assert not layer.is_available
    with pytest.raises(NotFoundError) as caught:
        layer.open()
    text = str(caught.value)
    for part in ("layer 1 of 1", str(descriptor.digest), "https://one.invalid/a, https://two.invalid/b", "put it at"):
        assert part in text
    (tmp_path / descriptor.digest.blob_path).write_bytes(packed(LAYERS[0]))
    assert read_layers(image) == LAYERS[:1]


def test_a_foreign_layer_without_addresses_and_a_missing_plain_layer(tmp_path: Path) -> None:
    foreign_image(tmp_path / "a", urls=())
    with pytest.raises(NotFoundError, match="foreign layer without an address"):
        open_image(str(tmp_path / "a")).layers[0].stream()
    write_image(tmp_path / "b", LAYERS)
    image = open_image(str(tmp_path / "b"))
    (tmp_path / "b" / image.layers[1].descriptor.digest.blob_path).unlink()  # type: ignore[union-attr]
    with pytest.raises(NotFoundError, match="copied without all of its layers") as caught:
        image.layers[1].stream()
    assert "foreign" not in str(caught.value)


def test_a_missing_blob_is_looked_for_by_its_diff_id(tmp_path: Path) -> None:
    foreign_image(tmp_path, urls=())
    (tmp_path / digest_of(LAYERS[0]).blob_path).write_bytes(LAYERS[0])
    image = open_image(str(tmp_path))
    assert not image.layers[0].locate().original
    assert read_layers(image) == LAYERS[:1]


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_damage_is_found_wherever_it_is(tmp_path: Path) -> None:
    entry = write_image(tmp_path, LAYERS)
    image = open_image(str(tmp_path))
    assert image.manifest is not None
    layer = tmp_path / image.manifest.layers[0].digest.blob_path
    config = tmp_path / image.manifest.config.digest.blob_path
    manifest = tmp_path / entry.digest.blob_path
    good = layer.read_bytes()
    damage(layer)
    with pytest.raises((DigestMismatchError, FormatError)) as caught:
        read_layers(image)
    assert caught.value.layer is not None
    layer.write_bytes(packed(layer_tar("other")))
    with pytest.raises(DigestMismatchError):
        read_layers(image)
    layer.write_bytes(good)
    for path in (config, manifest):
        good = path.read_bytes()
        damage(path)
        with pytest.raises(DigestMismatchError):
            open_image(str(tmp_path))
        path.write_bytes(good + b" ")
        with pytest.raises(DigestMismatchError):
            open_image(str(tmp_path))
        path.write_bytes(good)
    assert read_layers(open_image(str(tmp_path))) == LAYERS


def test_a_manifest_with_more_layers_than_diff_ids_is_refused_before_any_is_read(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    layer = Descriptor(OCI_LAYER_GZIP, digest_of(b"absent"), 1)
    config = writer.put_bytes(encode_config(WINDOWS, [digest_of(b"")]), OCI_CONFIG)
    writer.put_manifest(encode_manifest(config, [layer, layer]))
    with pytest.raises(FormatError, match="2 layers and the configuration 1"):
        open_image(str(tmp_path))


@pytest.mark.parametrize(
    ("path", "content", "error"),
    [
        ("oci-layout", b'{"imageLayoutVersion":"2.0.0"}', UnsupportedError),
        ("oci-layout", b"{}", FormatError),
        ("oci-layout", b'{"imageLayoutVersion":"1.0.0"}' + b" " * 5000, LimitError),
        ("index.json", b"{}", FormatError),
        ("index.json", b"[]", FormatError),
        ("index.json", encode_manifest(Descriptor(OCI_CONFIG, digest_of(b""), 0), []), FormatError),
        ("index.json", None, NotFoundError),
        ("oci-layout", None, NotFoundError),
        ("index.json", b'{"schemaVersion":2,"manifests":[]}', NotFoundError),
    ],
)
def test_a_broken_layout_is_refused(tmp_path: Path, path: str, content: bytes | None, error: Any) -> None:
    write_image(tmp_path, LAYERS)
    (tmp_path / path).unlink()
    if content is not None:
        (tmp_path / path).write_bytes(content)
    with pytest.raises(error) as caught:
        open_image(f"oci:{tmp_path}")
    assert caught.value.image == f"oci:{tmp_path}"


def test_an_index_entry_that_is_something_else_than_it_says_is_refused(tmp_path: Path) -> None:
    entry = write_image(tmp_path, LAYERS)
    index = json.loads((tmp_path / "index.json").read_bytes())
    index["manifests"][0]["mediaType"] = OCI_INDEX
    (tmp_path / "index.json").write_bytes(dumps(index))
    with pytest.raises(FormatError, match=r"where .* was announced"):
        open_image(f"oci:{tmp_path}")
    index["manifests"][0] = {**entry.to_json(), "size": entry.size + 1}
    (tmp_path / "index.json").write_bytes(dumps(index))
    with pytest.raises(DigestMismatchError):
        open_image(f"oci:{tmp_path}")
