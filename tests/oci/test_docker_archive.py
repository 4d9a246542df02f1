from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.oci.samples import (
    WINDOWS,
    Opened,
    config_json,
    dumps,
    layer_tar,
    new_docker_archive,
    old_docker_archive,
    packed,
    read_layers,
    sha256,
    tar,
)
from wclayer.errors import DigestMismatchError, FormatError, NotFoundError, UnsafeEntryError, UsageError
from wclayer.oci import Platform, open_image
from wclayer.oci.digests import digest_of

LAYERS = [layer_tar("base"), layer_tar("top")]


@pytest.fixture
def save(tmp_path: Path) -> Any:
    path = tmp_path / "saved.tar"

    def write(data: bytes) -> str:
        path.write_bytes(data)
        return str(path)

    return write


@pytest.mark.parametrize("prefix", ["", "./"])
@pytest.mark.parametrize("pack", [bytes, packed])
def test_the_old_form(save: Any, pack: Any, prefix: str) -> None:
    path = save(pack(old_docker_archive(LAYERS, tags=["example.invalid/app:1"], prefix=prefix)))
    for text in (f"docker-archive:{path}", f"docker-archive:{path}:app:1", f"docker-archive:{path}:@0", path):
        with open_image(text) as image:
            assert image.manifest is None
            assert image.platform == WINDOWS
            assert [layer.diff_id for layer in image.layers] == [digest_of(layer) for layer in LAYERS]
            assert [layer.descriptor for layer in image.layers] == [None, None]
            assert read_layers(image) == LAYERS


def test_equal_layers_are_links_in_the_old_form(save: Any) -> None:
    path = save(old_docker_archive([LAYERS[0]] * 3, duplicate=True))
    with open_image(f"docker-archive:{path}") as image:
        assert read_layers(image) == [LAYERS[0]] * 3


def test_the_new_form_is_read_either_way(save: Any) -> None:
    path = save(new_docker_archive(LAYERS))
    for text in (path, f"oci-archive:{path}", f"oci-archive:{path}:1", f"docker-archive:{path}:app:1"):
        with open_image(text) as image:
            assert read_layers(image) == LAYERS
    with open_image(path) as image:
        assert image.manifest is not None
        assert image.reference == f"oci-archive:{path}"


@pytest.mark.parametrize("transport", ["oci-archive", "docker-archive"])
def test_a_foreign_layer_is_found_by_its_diff_id(save: Any, transport: str) -> None:
    path = save(new_docker_archive(LAYERS, foreign={0}))
    with open_image(f"{transport}:{path}") as image:
        descriptor = image.layers[0].descriptor
        assert descriptor is not None
        assert descriptor.digest == digest_of(packed(LAYERS[0]))
        assert descriptor.urls == ("https://example.invalid/blob",)
        assert not descriptor.type.distributable
        assert not image.layers[0].locate().original
        assert read_layers(image) == LAYERS


LAYER_SOURCE = {"mediaType": "x", "digest": str(digest_of(b"x")), "size": 1}


def saved(
    layers: list[bytes],
    *,
    listing: Any = None,
    config: bytes | None = None,
    extra: list[tuple[str, bytes]] | None = None,
) -> bytes:
    """An archive with layers 0.tar, 1.tar … and a configuration config.json."""
    members: list[tuple[str, bytes | None]] = [(f"{number}.tar", layer) for number, layer in enumerate(layers)]
    members.append(("config.json", config or config_json([digest_of(layer) for layer in layers])))
    if listing is None:
        listing = [{"Config": "config.json", "RepoTags": None, "Layers": [f"{n}.tar" for n in range(len(layers))]}]
    return tar([*members, ("manifest.json", dumps(listing)), *(extra or [])])


def test_a_foreign_layer_is_found_where_the_list_of_the_archive_has_it(save: Any, opened: Opened) -> None:
    path = save(new_docker_archive(LAYERS, foreign={0}, layer_paths=["base/layer.tar", digest_of(LAYERS[1]).blob_path]))
    assert read_layers(opened.image(f"oci-archive:{path}")) == LAYERS


def test_layers_may_be_compressed(save: Any, opened: Opened) -> None:
    config = config_json([digest_of(layer) for layer in LAYERS])
    path = save(saved([packed(layer) for layer in LAYERS], config=config))
    assert read_layers(opened.image(f"docker-archive:{path}")) == LAYERS


def test_a_layer_that_is_not_its_diff_id_is_refused(save: Any, opened: Opened) -> None:
    config = config_json([digest_of(b"other"), digest_of(LAYERS[1])])
    path = save(saved(LAYERS, config=config))
    with pytest.raises(DigestMismatchError, match=str(digest_of(b"other"))):
        read_layers(opened.image(f"docker-archive:{path}"))


def test_a_layer_that_is_missing_is_not_found(save: Any, opened: Opened) -> None:
    listing = [{"Config": "config.json", "RepoTags": [], "Layers": ["nope.tar"]}]
    path = save(saved(LAYERS[:1], listing=listing))
    with pytest.raises(NotFoundError, match="layer 1 of 1"):
        read_layers(opened.image(f"docker-archive:{path}"))


@pytest.mark.parametrize(
    ("listing", "error"),
    [
        ({}, FormatError),
        ("x", FormatError),
        ([None], FormatError),
        ([{"Layers": []}], FormatError),
        ([{"Config": 1, "Layers": []}], FormatError),
        ([{"Config": "config.json", "Layers": "0.tar"}], FormatError),
        ([{"Config": "config.json", "layers": []}], FormatError),
        ([{"Config": "config.json", "Layers": []}], FormatError),  # one DiffID
        ([{"Config": "nope.json", "Layers": []}], NotFoundError),
        ([{"Config": "../../etc/passwd", "Layers": []}], NotFoundError),
        ([{"Config": "config.json", "Layers": ["0.tar"], "LayerSources": {"../x": {}}}], FormatError),
        (
            [{"Config": "config.json", "Layers": ["0.tar"], "LayerSources": {"sha256:../x": LAYER_SOURCE}}],
            UnsafeEntryError,
        ),
        ([], NotFoundError),
    ],
)
def test_a_broken_list_is_refused(save: Any, listing: Any, error: Any) -> None:
    path = save(saved(LAYERS[:1], listing=listing))
    with pytest.raises(error):
        open_image(f"docker-archive:{path}")


def test_null_is_no_list(save: Any) -> None:
    path = save(tar([("manifest.json", b"null")]))
    with pytest.raises(FormatError):
        open_image(f"docker-archive:{path}")


def test_an_archive_without_a_list_is_told_apart(save: Any) -> None:
    path = save(tar([("x", b"")]))
    with pytest.raises(NotFoundError, match=r"does not contain a manifest\.json"):
        open_image(f"docker-archive:{path}")


def test_two_lists_are_refused(save: Any) -> None:
    path = save(saved(LAYERS, extra=[("manifest.json", b"[]")]))
    with pytest.raises(FormatError, match="more than once"):
        open_image(f"docker-archive:{path}")


def test_a_config_under_a_wrong_digest_is_refused(save: Any) -> None:
    name = f"{sha256(b'other')}.json"
    listing = [{"Config": name, "Layers": ["0.tar"]}]
    path = save(saved(LAYERS[:1], listing=listing, extra=[(name, config_json([digest_of(LAYERS[0])]))]))
    with pytest.raises(DigestMismatchError):
        open_image(f"docker-archive:{path}")


def several() -> bytes:
    linux = config_json([digest_of(LAYERS[0])], Platform("linux", "amd64"))
    listing = [
        {"Config": "config.json", "RepoTags": ["example.invalid/app:latest"], "Layers": ["0.tar"]},
        {"Config": "linux.json", "RepoTags": ["tool:2", "tool:3"], "Layers": ["0.tar"]},
    ]
    return saved(LAYERS[:1], listing=listing, extra=[("linux.json", linux)])


def test_one_of_several_images_is_picked_by_name_number_or_platform(save: Any, opened: Opened) -> None:
    path = save(several())
    for text in ("app", "app:latest", "example.invalid/app", "@0"):
        assert opened.image(f"docker-archive:{path}:{text}").platform == WINDOWS
    for text in ("tool:2", "tool:3", "@1"):
        assert opened.image(f"docker-archive:{path}:{text}").platform == Platform("linux", "amd64")
    assert opened.image(f"docker-archive:{path}", "ltsc2022").platform == WINDOWS
    assert opened.image(f"docker-archive:{path}", "linux").platform == Platform("linux", "amd64")


def test_what_cannot_be_picked_is_an_error_that_lists_the_names(save: Any) -> None:
    path = save(several())
    with pytest.raises(UsageError, match="app:latest, tool:2, tool:3"):
        open_image(f"docker-archive:{path}")
    for text in ("tool", "tool:4", "ool:2"):
        with pytest.raises(NotFoundError, match="tool:2"):
            open_image(f"docker-archive:{path}:{text}")
    with pytest.raises(NotFoundError, match="it has 2"):
        open_image(f"docker-archive:{path}:@2")
    with pytest.raises(NotFoundError, match="there are linux/amd64"):
        open_image(f"docker-archive:{path}:tool:2", "windows/amd64")
