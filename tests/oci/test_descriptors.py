from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wclayer.errors import FormatError, LimitError, UnsafeEntryError, UnsupportedError, WclayerError
from wclayer.oci.descriptors import (
    MANIFEST_LIMIT,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    parse_document,
    require_image,
)
from wclayer.oci.digests import Digest, digest_of
from wclayer.oci.documents import encode_config, encode_json, encode_manifest
from wclayer.oci.mediatypes import (
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from wclayer.oci.strictjson import Node

DIGEST = str(digest_of(b"x"))
CONFIG = {"mediaType": OCI_CONFIG, "digest": DIGEST, "size": 1}
LAYER = {"mediaType": OCI_LAYER_GZIP, "digest": DIGEST, "size": 1}
MANIFEST: dict[str, Any] = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": CONFIG, "layers": [LAYER]}
INDEX: dict[str, Any] = {
    "schemaVersion": 2,
    "mediaType": OCI_INDEX,
    "manifests": [{**CONFIG, "mediaType": OCI_MANIFEST}],
}


def raw(document: object) -> bytes:
    return json.dumps(document).encode()


def test_a_manifest_keeps_its_bytes_and_their_digest() -> None:
    data = json.dumps(MANIFEST, indent=3).encode()
    manifest = parse_document(data, OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    assert manifest.raw == data
    assert manifest.size == len(data)
    assert manifest.digest == digest_of(data)
    assert manifest.config.media_type == OCI_CONFIG
    assert [layer.type.compression for layer in manifest.layers] == ["gzip"]


def test_an_index_is_read() -> None:
    index = parse_document(raw({**INDEX, "annotations": {"a": "b"}}))
    assert isinstance(index, Index)
    assert index.manifests[0].type.role == "manifest"
    assert index.annotations == {"a": "b"}


@pytest.mark.parametrize("declared", [None, OCI_MANIFEST, DOCKER_MANIFEST])
def test_a_manifest_without_a_media_type_takes_the_announced_one(declared: str | None) -> None:
    document = {key: value for key, value in MANIFEST.items() if key != "mediaType"}
    assert parse_document(raw(document), declared).media_type == (declared or OCI_MANIFEST)


def test_an_index_may_be_empty_as_go_writes_it() -> None:
    index = parse_document(raw({"schemaVersion": 2, "manifests": None}))
    assert isinstance(index, Index)
    assert index.manifests == ()


def test_parameters_of_an_announced_type_do_not_matter() -> None:
    assert parse_document(raw(MANIFEST), OCI_MANIFEST + "; charset=utf-8").media_type == OCI_MANIFEST


@pytest.mark.parametrize(
    ("change", "announced", "kind"),
    [
        ({"manifests": []}, None, "media-type"),
        ({"manifests": None}, None, "media-type"),
        ({"mediaType": OCI_INDEX}, None, "media-type"),
        ({"mediaType": OCI_CONFIG}, None, "media-type"),
        ({}, DOCKER_MANIFEST, "media-type"),
        ({}, OCI_INDEX, "media-type"),
        ({"mediaType": None}, OCI_INDEX, "media-type"),
        ({"mediaType": 5}, None, "json-type"),
        ({"schemaVersion": 3}, None, "schema-version"),
        ({"schemaVersion": 2.0}, None, "schema-version"),
        ({"schemaVersion": True}, None, "schema-version"),
        ({"schemaVersion": None}, None, "schema-version"),
        ({"Layers": []}, None, "json-key-case"),
        ({"Manifests": []}, None, "json-key-case"),
        ({"config": None}, None, "json-type"),
        ({"layers": {}}, None, "json-type"),
        ({"layers": [None]}, None, "json-type"),
        ({"layers": [{**LAYER, "size": -1}]}, None, "json-type"),
        ({"layers": [{**LAYER, "Digest": DIGEST}]}, None, "json-key-case"),
        ({"layers": [{**LAYER, "digest": "sha256:00"}]}, None, "digest"),
        ({"layers": [{**LAYER, "urls": "https://x"}]}, None, "json-type"),
        ({"layers": [{**LAYER, "urls": ["x"] * 100}]}, None, "urls"),
        ({"layers": [{**LAYER, "data": "?"}]}, None, "base64"),
        ({"layers": [{**LAYER, "data": "\u00e9"}]}, None, "base64"),
        ({"config": {**CONFIG, "platform": {"os": "win\u001bdows"}}}, None, "platform"),
        ({"annotations": {"a": 1}}, None, "json-type"),
    ],
)
def test_a_manifest_with_two_meanings_or_none_is_refused(
    change: dict[str, Any], announced: str | None, kind: str
) -> None:
    with pytest.raises(FormatError) as caught:
        parse_document(raw({**MANIFEST, **change}), announced)
    assert caught.value.kind == kind


def test_neither_manifest_nor_index_is_refused() -> None:
    with pytest.raises(FormatError, match="neither"):
        parse_document(raw({"schemaVersion": 2}))


def test_the_place_of_a_bad_digest_is_named() -> None:
    layers = [LAYER, {**LAYER, "digest": "sha256:../../x"}]
    with pytest.raises(UnsafeEntryError, match=r"layers\[1\]"):
        parse_document(raw({**MANIFEST, "layers": layers}))


@pytest.mark.parametrize(
    ("document", "announced"),
    [
        ({"schemaVersion": 1, "fsLayers": []}, None),
        ({"schemaVersion": 1}, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ({"schemaVersion": 1, "mediaType": "application/vnd.docker.distribution.manifest.v1+json"}, None),
    ],
)
def test_schema_1_is_told_apart(document: object, announced: str | None) -> None:
    with pytest.raises(UnsupportedError, match="schema 1"):
        parse_document(raw(document), announced)


def test_a_manifest_that_is_too_large_is_not_parsed() -> None:
    with pytest.raises(LimitError):
        parse_document(raw(MANIFEST) + b" " * MANIFEST_LIMIT)


def test_a_descriptor_survives_json() -> None:
    descriptor = Descriptor(
        OCI_MANIFEST,
        digest_of(b"y", "sha512"),
        7,
        urls=("https://example.invalid/y",),
        annotations={"b": "2", "a": "1"},
        platform=Platform("windows", "amd64", "v2", "10.0.20348.1", ("win32k",)),
        artifact_type="application/x",
        data=b"\0\1",
    )
    document = descriptor.to_json()
    assert list(document["annotations"]) == ["a", "b"]  # type: ignore[call-overload]
    assert document["data"] == base64.b64encode(b"\0\1").decode()
    assert Descriptor.of(Node(document, "d")) == descriptor
    assert hash(descriptor) == hash(Descriptor.of(Node(document, "d")))


CONFIG_DOCUMENT: dict[str, Any] = {
    "architecture": "amd64",
    "os": "windows",
    "os.version": "10.0.17763.5820",
    "os.features": ["win32k"],
    "variant": "v3",
    "config": {"Cmd": ["cmd"], "User": "ContainerUser"},
    "rootfs": {"type": "layers", "diff_ids": [DIGEST]},
    "history": [{"created": "2020-01-01T00:00:00Z", "created_by": "x"}, {"empty_layer": True}],
}


def test_the_windows_fields_of_a_configuration_are_read() -> None:
    config = ImageConfig.parse(raw(CONFIG_DOCUMENT))
    assert config.platform == Platform("windows", "amd64", "v3", "10.0.17763.5820", ("win32k",))
    assert config.os_version == "10.0.17763.5820"
    assert config.diff_ids == (Digest.parse(DIGEST),)
    assert [line.empty_layer for line in config.history] == [False, True]
    assert config.document["config"] == {"Cmd": ["cmd"], "User": "ContainerUser"}
    assert config.digest == digest_of(config.raw)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"rootfs": None}, FormatError),
        ({"rootfs": {"type": "layers", "diff_ids": ["x"]}}, FormatError),
        ({"rootfs": {"type": "layers", "diff_ids": "x"}}, FormatError),
        ({"rootfs": {"type": "layers+base"}}, UnsupportedError),
        ({"rootfs": {"type": "layers", "Diff_ids": []}}, FormatError),
        ({"os": 1}, FormatError),
        ({"OS": "linux"}, FormatError),
        ({"os.features": "win32k"}, FormatError),
        ({"os.version": "10\n"}, FormatError),
        ({"history": [1]}, FormatError),
        ({"history": [{"empty_layer": "yes"}]}, FormatError),
    ],
)
def test_a_configuration_of_wrong_types_is_refused(change: dict[str, Any], error: type[WclayerError]) -> None:
    with pytest.raises(error):
        ImageConfig.parse(raw({**CONFIG_DOCUMENT, **change}))


def test_manifest_and_configuration_must_count_the_same_layers() -> None:
    manifest = parse_document(raw({**MANIFEST, "layers": [LAYER, LAYER]}))
    assert isinstance(manifest, Manifest)
    with pytest.raises(FormatError, match="2 layers and the configuration 1"):
        require_image(manifest, ImageConfig.parse(raw(CONFIG_DOCUMENT)))


def test_documents_made_here_are_read_back_and_are_the_same_each_time() -> None:
    diff_id = digest_of(b"tar")
    platform = Platform("windows", "amd64", "v2", "10.0.1.2", ("win32k",))
    history = ImageConfig.parse(raw(CONFIG_DOCUMENT)).history
    data = encode_config(platform, [diff_id], created="2020-01-01T00:00:00Z", config={"Cmd": ["x"]}, history=history)
    config = ImageConfig.parse(data)
    assert (config.platform, config.diff_ids, config.history) == (platform, (diff_id,), history)
    layer = Descriptor(OCI_LAYER_GZIP, digest_of(b"gz"), 2)
    first = encode_manifest(Descriptor(OCI_CONFIG, config.digest, len(data)), [layer], annotations={"b": "", "a": ""})
    manifest = parse_document(first, OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    assert manifest.layers == (layer,)
    assert list(manifest.annotations) == ["a", "b"]
    require_image(manifest, config)
    assert encode_json({"name": "\ud800"}) == b'{"name":"\\ud800"}'


mutations = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from([DIGEST, OCI_MANIFEST, OCI_INDEX]),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["mediaType", "digest", "size", "urls", "platform", "os", "os.version", "x", "data"]),
            children,
        )
    ),
    max_leaves=8,
)
KEYS = [
    "schemaVersion",
    "mediaType",
    "config",
    "layers",
    "manifests",
    "annotations",
    "subject",
    "rootfs",
    "history",
    "os",
]


@given(
    st.sampled_from([MANIFEST, INDEX, CONFIG_DOCUMENT]), st.dictionaries(st.sampled_from(KEYS), mutations, max_size=3)
)
def test_documents_raise_nothing_but_errors_of_the_package(base: dict[str, Any], change: dict[str, Any]) -> None:
    for announced in (None, OCI_MANIFEST, DOCKER_MANIFEST_LIST):
        with suppress(WclayerError):
            parse_document(raw({**base, **change}), announced)
    with suppress(WclayerError):
        ImageConfig.parse(raw({**base, **change}))
