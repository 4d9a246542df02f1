from __future__ import annotations

import io
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.oci.samples import (
    WINDOWS,
    Opened,
    dumps,
    layer_tar,
    new_docker_archive,
    old_docker_archive,
    packed,
    read_layers,
    tar,
    write_image,
)
from wclayer.errors import FormatError, NotFoundError, StoreError, UnsupportedError, UsageError, WclayerError
from wclayer.oci import LayoutWriter, Limits, open_image
from wclayer.oci.digests import digest_of
from wclayer.oci.engines import zstd
from wclayer.oci.mediatypes import OCI_INDEX
from wclayer.oci.network import Network

LAYER = layer_tar()


def test_a_bare_path_to_a_layout_may_carry_a_name(tmp_path: Path, opened: Opened) -> None:
    write_image(tmp_path, [LAYER], name="v1")
    assert opened.image(f"{tmp_path}:v1").reference == f"oci:{tmp_path}:v1"
    assert read_layers(opened.image(f"{tmp_path}:v1")) == [LAYER]
    with pytest.raises(NotFoundError, match="no image 'v2'"):
        open_image(f"{tmp_path}:v2")


@pytest.mark.parametrize("pack", [bytes, packed, zstd.compress])
def test_a_bare_path_to_a_layer(tmp_path: Path, pack: type[bytes]) -> None:
    path = tmp_path / "layer"
    blob = pack(LAYER)
    path.write_bytes(blob)
    with open_image(str(path)) as image:
        assert (image.manifest, image.config, image.platform, image.digest, image.notes) == (None, None, None, None, ())
        (layer,) = image.layers
        assert (layer.descriptor, layer.diff_id, layer.locate().size) == (None, None, len(blob))
        assert str(layer) == "1 of 1"
        assert read_layers(image) == [LAYER]
        assert read_layers(image) == [LAYER]  # a file can be opened again


@pytest.mark.parametrize("name", ["files/x", "HIVES", "./Files", "UtilityVM/Files"])
def test_the_first_name_tells_a_windows_layer(tmp_path: Path, name: str, opened: Opened) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(tar([(name, b""), ("manifest.json", b"[]")]))
    assert opened.image(str(path)).config is None


def test_a_tar_of_other_names_is_taken_for_a_layer_and_that_is_told(tmp_path: Path, opened: Opened) -> None:
    path = tmp_path / "layer.tar"
    path.write_bytes(tar([("etc/passwd", b"")]))
    assert "taken for a layer" in opened.image(str(path)).notes[0]
    with pytest.raises(NotFoundError, match="so no image 'v1'"):
        open_image(f"{path}:v1")


def test_a_bare_path_to_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "x.tar.gz"
    path.write_bytes(packed(new_docker_archive([LAYER])))
    with open_image(f"{path}:app:1") as image:
        assert read_layers(image) == [LAYER]
        assert image.manifest is not None
    path.write_bytes(old_docker_archive([LAYER], tags=["app:1"]))
    with open_image(f"{path}:app:1") as image:
        assert read_layers(image) == [LAYER]
        assert image.manifest is None


@pytest.mark.parametrize("content", [b"", b"text, and no tar", packed(b"text"), packed(LAYER)[:100]])
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(FormatError) as caught:
        open_image(str(path))
    assert caught.value.image == str(path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="neither an OCI layout nor"):
        open_image(str(tmp_path))


@pytest.mark.parametrize("text", ["./none", "/none/at/all", "C:\\none", "Folder/Name"])
def test_a_path_that_is_not_there(text: str) -> None:
    with pytest.raises(NotFoundError, match="no such file or folder"):
        open_image(text)


@pytest.mark.parametrize("text", ["oci:/none", "dir:/none", "oci-archive:/none", "docker-archive:/none"])
def test_an_image_that_is_not_there(text: str) -> None:
    with pytest.raises(NotFoundError) as caught:
        open_image(text)
    assert caught.value.image == text


@pytest.mark.parametrize(
    "text",
    [
        "example.invalid/windows/nanoserver:ltsc2022",
        "docker://example.invalid/app:1",
        "localhost/app",
        "here:5000/app@sha256:" + 64 * "0",
        "docker://nanoserver",
    ],
)
def test_images_in_registries_are_recognised(text: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="offline: there is no content store") as caught:
        open_image(text, network=Network(store_folder=tmp_path / "none", offline=True))
    assert "wclayer pull " in str(caught.value)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["nanoserver", "nanoserver:ltsc2022", "windows/nanoserver:ltsc2022"])
def test_a_name_without_a_host_is_taken_for_a_path_that_is_not_there(text: str) -> None:
    with pytest.raises(NotFoundError, match="no such file or folder") as caught:
        open_image(text)
    assert f"docker://{text}" in str(caught.value)


def test_images_in_engines_are_recognised_with_what_to_do() -> None:
    with pytest.raises(UnsupportedError, match="engines are not available") as caught:
        open_image("docker-daemon:app:1")
    assert "skopeo copy docker-daemon:app:1 oci:DIR:TAG" in str(caught.value)


def test_a_file_named_like_an_image_is_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: Opened
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nanoserver").write_bytes(LAYER)
    assert read_layers(opened.image("nanoserver")) == [LAYER]


def stdin(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data))))


def test_a_layer_on_standard_input_can_be_read_once(monkeypatch: pytest.MonkeyPatch, opened: Opened) -> None:
    stdin(monkeypatch, packed(LAYER))
    image = opened.image("-")
    assert read_layers(image) == [LAYER]
    assert not sys.stdin.closed
    with pytest.raises(StoreError, match="only once"):
        read_layers(image)


def test_an_archive_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin(monkeypatch, packed(old_docker_archive([LAYER])))
    with open_image("docker-archive:-") as image:
        assert read_layers(image) == [LAYER]
    stdin(monkeypatch, new_docker_archive([LAYER]))
    with open_image("oci-archive:-") as image:
        assert read_layers(image) == [LAYER]


def test_a_terminal_is_no_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.BytesIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(Terminal()))
    with pytest.raises(UsageError, match="terminal"):
        open_image("-").layers[0].open()


def test_the_outer_compression_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    path.write_bytes(packed(tar([("manifest.json", b"[]"), ("zeros", bytes(32 << 20))])))
    with pytest.raises(WclayerError, match="bomb"):
        open_image(f"docker-archive:{path}", limits=Limits(ratio_after=1 << 20))


def dir_image(source: Path, target: Path, *, version: bytes = b"Directory Transport Version: 1.1\n") -> None:
    """The image of a layout, as skopeo's dir transport keeps it."""
    with open_image(str(source)) as image:
        assert image.manifest is not None
        target.mkdir()
        (target / "version").write_bytes(version)
        (target / "manifest.json").write_bytes(image.manifest.raw)
        for descriptor in (image.manifest.config, *image.manifest.layers):
            (target / descriptor.digest.hex).write_bytes((source / descriptor.digest.blob_path).read_bytes())


def test_a_folder_of_the_dir_transport(tmp_path: Path, opened: Opened) -> None:
    write_image(tmp_path / "oci", [LAYER, layer_tar("b")])
    dir_image(tmp_path / "oci", tmp_path / "dir")
    for text in (f"dir:{tmp_path / 'dir'}", str(tmp_path / "dir")):
        image = opened.image(text)
        assert image.platform == WINDOWS
        assert read_layers(image) == [LAYER, layer_tar("b")]


def test_an_index_in_a_folder_of_the_dir_transport(tmp_path: Path, opened: Opened) -> None:
    entry = write_image(tmp_path / "oci", [LAYER])
    dir_image(tmp_path / "oci", tmp_path / "dir")
    (tmp_path / "dir" / "manifest.json").rename(tmp_path / "dir" / f"{entry.digest.hex}.manifest.json")
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.to_json()]}
    (tmp_path / "dir" / "manifest.json").write_bytes(dumps(index))
    image = opened.image(f"dir:{tmp_path / 'dir'}")
    assert image.digest == entry.digest
    assert read_layers(image) == [LAYER]


def test_another_version_of_the_dir_transport_is_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "oci", [LAYER])
    dir_image(tmp_path / "oci", tmp_path / "dir", version=b"Directory Transport Version: 2.0\n")
    with pytest.raises(UnsupportedError, match="another version"):
        open_image(str(tmp_path / "dir"))


def test_a_missing_layer_in_the_dir_transport(tmp_path: Path, opened: Opened) -> None:
    write_image(tmp_path / "oci", [LAYER])
    dir_image(tmp_path / "oci", tmp_path / "dir")
    image = opened.image(str(tmp_path / "dir"))
    assert image.manifest is not None
    (tmp_path / "dir" / image.manifest.layers[0].digest.hex).unlink()
    with pytest.raises(NotFoundError, match="layer 1 of 1"):
        read_layers(image)


def test_layers_of_an_open_archive_are_read_at_the_same_time(tmp_path: Path) -> None:
    layers = [tar([(f"Files/{number}", bytes([number]) * 3_000_000)]) for number in range(3)]
    path = tmp_path / "x.tar"
    path.write_bytes(new_docker_archive(layers))
    with open_image(str(path)) as image:
        streams = [layer.stream() for layer in image.layers]
        contents = [b""] * 3
        for _ in range(3):
            for number, stream in enumerate(streams):
                contents[number] += bytes(next(stream))
        for number, stream in enumerate(streams):
            stream.finish()
            assert stream.diff_id == digest_of(layers[number])
            assert layers[number].startswith(contents[number])


@given(st.text(max_size=30).filter(lambda text: text != "-"))
def test_references_raise_nothing_but_errors_of_the_package(text: str) -> None:
    with suppress(WclayerError):
        open_image(text).close()


def test_a_platform_that_is_none_is_a_usage_error(tmp_path: Path) -> None:
    LayoutWriter(tmp_path)
    with pytest.raises(UsageError, match="not a platform"):
        open_image(str(tmp_path), "windows//")
