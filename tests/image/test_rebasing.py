"""Images on another base: every own layer stays, whatever the histories tell, and the platform is the base's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.image.stacks import file, folder, tar
from wclayer.errors import NotFoundError, UsageError
from wclayer.image.copying import CopyOptions
from wclayer.image.rebased_documents import BASE_DIGEST, BASE_NAME, stitch_history
from wclayer.image.rebasing import RebaseOptions, rebase_image
from wclayer.oci import Descriptor, LayoutWriter, Platform, open_image
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_index, encode_json, encode_manifest
from wclayer.oci.mediatypes import (
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    Compression,
)

OLD = Platform("windows", "amd64", os_version="10.0.20348.1")
NEW = Platform("windows", "amd64", os_version="10.0.20348.900", os_features=("win32k",))
OTHER = Platform("windows", "amd64", os_version="10.0.26100.1")
ALONE = RebaseOptions()
WHOLE = RebaseOptions(CopyOptions(all_platforms=True))


def layer(text: str) -> bytes:
    return tar([folder("Files"), file(f"Files/{text}.txt", text.encode())])


def lines(*texts: str) -> list[dict[str, Any]]:
    """Lines of a history; one that begins with a minus made no layer."""
    return [{"created_by": text, "empty_layer": True} if text[0] == "-" else {"created_by": text} for text in texts]


def put(
    layout: Path,
    tag: str,
    *layers: str,
    platform: Platform = OLD,
    history: Sequence[dict[str, Any]] | None = None,
    compression: Compression = "gzip",
    docker: bool = False,
    annotations: dict[str, str] | None = None,
) -> Descriptor:
    """An image of layers with these words in them."""
    writer = LayoutWriter(layout)
    descriptors, diff_ids = [], []
    for text in layers:
        with writer.new_layer(compression, media_type=DOCKER_LAYER_GZIP if docker else None) as sink:
            sink.write(layer(text))
        descriptors.append(sink.descriptor)
        diff_ids.append(str(sink.diff_id))
    document: dict[str, Any] = {"os": platform.os, "architecture": platform.architecture, "config": {"Cmd": [tag]}}
    document |= {"os.version": platform.os_version} if platform.os_version else {}
    document |= {"os.features": list(platform.os_features)} if platform.os_features else {}
    document["rootfs"] = {"type": "layers", "diff_ids": diff_ids}
    if history is not None:
        document["history"] = history
    config_type = "application/vnd.docker.container.image.v1+json" if docker else OCI_CONFIG
    config = writer.put_bytes(encode_json(document), config_type)
    media_type = DOCKER_MANIFEST if docker else OCI_MANIFEST
    raw = encode_manifest(config, descriptors, media_type=media_type, annotations=annotations)
    return writer.put_manifest(raw, name=tag, media_type=media_type, platform=platform)


def put_index(layout: Path, tag: str, entries: Sequence[Descriptor]) -> None:
    bare = [Descriptor(one.media_type, one.digest, one.size, platform=one.platform) for one in entries]
    LayoutWriter(layout).put_manifest(encode_index(bare), name=tag, media_type=OCI_INDEX)


def rebased(layout: Path, options: RebaseOptions = ALONE) -> dict[str, Any]:
    """The image ``app`` on ``new`` in place of ``old``: its configuration."""
    rebase_image(f"oci:{layout}:app", f"oci:{layout}:out", f"oci:{layout}:old", f"oci:{layout}:new", options)
    return written(layout)


def written(layout: Path, platform: str | None = None) -> dict[str, Any]:
    """The configuration of what was written, all layers of which are read."""
    with open_image(f"oci:{layout}:out", platform) as image:
        assert image.config is not None
        for one in image.layers:
            with one.stream() as stream:
                stream.finish()
        document: dict[str, Any] = json.loads(image.config.raw)
        document["words"] = [str(diff_id) for diff_id in image.config.diff_ids]
        return document


def words(*texts: str) -> list[str]:
    """The DiffIDs of layers with these words."""
    return [str(digest_of(layer(text))) for text in texts]


def told(config: dict[str, Any]) -> list[str]:
    return [line.get("created_by", "?") for line in config["history"] if not line.get("empty_layer")]


def test_h15_the_own_layers_stand_on_the_new_base_and_nothing_else_changes(tmp_path: Path) -> None:
    put(tmp_path, "old", "a", "b", history=lines("a", "b", "-c"))
    put(tmp_path, "new", "c", platform=NEW, history=lines("n", "-m"))
    kept = {"example.key": "kept", BASE_NAME: "example.invalid/gone:1"}
    put(tmp_path, "app", "a", "b", "x", "y", history=lines("a", "b", "-c", "-w", "x", "y"), annotations=kept)
    config = rebased(tmp_path, RebaseOptions(base_name="example.invalid/base:2"))
    assert config["words"] == words("c", "x", "y")
    assert [line["created_by"] for line in config["history"]] == ["n", "-m", "-w", "x", "y"]
    assert config["config"] == {"Cmd": ["app"]}
    with open_image(f"oci:{tmp_path}:out") as image, open_image(f"oci:{tmp_path}:new") as base:
        assert image.manifest is not None
        assert base.manifest is not None
        assert image.manifest.annotations == {
            "example.key": "kept",
            BASE_NAME: "example.invalid/base:2",
            BASE_DIGEST: str(base.manifest.digest),
        }


def test_h15_no_history_at_all_loses_no_layer(tmp_path: Path) -> None:
    put(tmp_path, "old", "a")
    put(tmp_path, "new", "c", "d", platform=NEW)
    put(tmp_path, "app", "a", "x", "y")
    config = rebased(tmp_path)
    assert config["words"] == words("c", "d", "x", "y")
    assert told(config) == ["?"] * 4


@pytest.mark.parametrize(
    ("image", "old", "expected"),
    [
        (["x", "y"], [], ["n", "x", "y"]),  # the base brought none
        (["y"], [], ["n", "?", "y"]),
        (["a", "y"], ["a"], ["n", "?", "y"]),
        ([], ["a"], ["n", "?", "?"]),
        (["other", "x", "y"], ["a"], ["n", "x", "y"]),
        (["a", "b", "c", "x", "y"], ["q"], ["n", "x", "y"]),
    ],
)
def test_h15_a_short_history_is_fitted_to_the_layers(
    image: list[str], old: list[str], expected: list[str], tmp_path: Path
) -> None:
    put(tmp_path, "old", "a", history=lines(*old))
    put(tmp_path, "new", "c", platform=NEW, history=lines("n"))
    put(tmp_path, "app", "a", "x", "y", history=lines(*image))
    config = rebased(tmp_path)
    assert told(config) == expected
    assert config["words"] == words("c", "x", "y")


LINES = st.lists(
    st.fixed_dictionaries({"created_by": st.sampled_from("abc")}, optional={"empty_layer": st.booleans()}), max_size=8
)
COUNTS = st.integers(0, 5)


@given(LINES, LINES, LINES, COUNTS, COUNTS, COUNTS, st.booleans())
def test_h15_whatever_the_histories_tell_there_is_one_line_for_each_layer(
    image: list[dict[str, Any]],
    old: list[dict[str, Any]],
    new: list[dict[str, Any]],
    below: int,
    own: int,
    layers: int,
    stands: bool,
) -> None:
    image = [*old, *image] if stands else image
    stitched = stitch_history(image, below + own, old, below, new, layers)
    assert sum(not line.get("empty_layer") for line in stitched) == layers + own
    if [bool(line.get("empty_layer")) for line in new].count(False) == layers:
        assert stitched[: len(new)] == new


@given(LINES, LINES)
def test_h15_the_lines_of_an_image_that_tells_all_stay_as_they_are(
    old: list[dict[str, Any]], own: list[dict[str, Any]]
) -> None:
    def count(some: list[dict[str, Any]]) -> int:
        return sum(not line.get("empty_layer") for line in some)

    assert stitch_history([*old, *own], count(old) + count(own), old, count(old), [], 0) == own


def test_h15_platform_and_features_are_those_of_the_new_base(tmp_path: Path) -> None:
    put(tmp_path, "old", "a")
    put(tmp_path, "new", "c", platform=NEW)
    put(tmp_path, "app", "a", "x")
    config = rebased(tmp_path)
    assert config["os.version"] == NEW.os_version
    assert config["os.features"] == ["win32k"]
    index = json.loads((tmp_path / "index.json").read_text())
    (entry,) = [
        one for one in index["manifests"] if one["annotations"].get("org.opencontainers.image.ref.name") == "out"
    ]
    assert entry["platform"]["os.version"] == NEW.os_version
    assert entry["platform"]["os.features"] == ["win32k"]


def test_h15_features_that_the_new_base_lacks_go(tmp_path: Path) -> None:
    put(tmp_path, "old", "a", platform=NEW)
    put(tmp_path, "new", "c", platform=OLD)
    put(tmp_path, "app", "a", "x", platform=NEW)
    config = rebased(tmp_path)
    assert "os.features" not in config
    assert config["os.version"] == OLD.os_version


def test_h15_every_image_of_an_index_gets_the_base_of_its_build(tmp_path: Path) -> None:
    newer = Platform("windows", "amd64", os_version="10.0.26100.77")
    put_index(tmp_path, "old", [put(tmp_path, "o1", "a"), put(tmp_path, "o2", "b", platform=OTHER)])
    bases = [
        put(tmp_path, "n2", "d", platform=newer),
        put(tmp_path, "n0", "z", platform=Platform("windows", "amd64", os_version="10.0.20348.91")),
        put(tmp_path, "n1", "c", platform=NEW),
    ]
    put_index(tmp_path, "new", bases)
    put_index(tmp_path, "app", [put(tmp_path, "a1", "a", "x"), put(tmp_path, "a2", "b", "y", platform=OTHER)])
    rebased_images = rebase_image(
        f"oci:{tmp_path}:app", f"oci:{tmp_path}:out", f"oci:{tmp_path}:old", f"oci:{tmp_path}:new", WHOLE
    ).images
    assert [one.version for one in rebased_images] == [NEW.os_version, newer.os_version]
    assert written(tmp_path, "windows/amd64:10.0.20348")["words"] == words("c", "x")
    assert written(tmp_path, "windows/amd64:10.0.26100")["words"] == words("d", "y")


def test_h15_an_attestation_of_what_is_no_more_is_left_out(tmp_path: Path) -> None:
    put(tmp_path, "old", "a")
    put(tmp_path, "new", "c", platform=NEW)
    app, about = (
        put(tmp_path, "a1", "a", "x"),
        put(tmp_path, "a2", "statement", platform=Platform("unknown", "unknown")),
    )
    attested = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(app.digest)}
    entries = [
        Descriptor(app.media_type, app.digest, app.size, platform=OLD),
        Descriptor(about.media_type, about.digest, about.size, annotations=attested, platform=about.platform),
    ]
    LayoutWriter(tmp_path).put_manifest(encode_index(entries), name="app", media_type=OCI_INDEX)
    result = rebase_image(
        f"oci:{tmp_path}:app", f"oci:{tmp_path}:out", f"oci:{tmp_path}:old", f"oci:{tmp_path}:new", WHOLE
    )
    assert len(result.images) == 1
    assert any("attests" in note for note in result.copied.notes)


@pytest.mark.parametrize("compression", ["zstd", "none"])
def test_h15_a_base_that_was_compressed_anew_is_the_same_base(compression: Compression, tmp_path: Path) -> None:
    put(tmp_path, "old", "a", "b", compression=compression)
    put(tmp_path, "new", "c", platform=NEW)
    put(tmp_path, "app", "a", "b", "x")
    assert rebased(tmp_path)["words"] == words("c", "x")


def test_h15_documents_of_docker_and_oci_are_not_mixed(tmp_path: Path) -> None:
    put(tmp_path, "old", "a")
    put(tmp_path, "new", "c", platform=NEW)
    put(tmp_path, "app", "a", "x", docker=True)
    assert rebased(tmp_path)["words"] == words("c", "x")
    with open_image(f"oci:{tmp_path}:out") as image:
        assert image.manifest is not None
        assert image.manifest.media_type == OCI_MANIFEST
        assert {one.media_type for one in image.manifest.layers} == {f"{OCI_LAYER}+gzip"}
    put(tmp_path, "new", "c", platform=NEW, docker=True)
    rebased(tmp_path)
    with open_image(f"oci:{tmp_path}:out") as image:
        assert image.manifest is not None
        assert image.manifest.media_type == DOCKER_MANIFEST


@pytest.fixture
def untouched(tmp_path: Path) -> Iterator[Path]:
    """A layout that a test does not change, and beside which it leaves nothing."""
    layout = tmp_path / "images"
    put(layout, "old", "a", "b")
    put(layout, "new", "c", platform=NEW)
    put(layout, "strange", "q")
    put(layout, "other", "c", platform=OTHER)
    put(layout, "arm", "c", platform=Platform("windows", "arm64", os_version=OLD.os_version))
    put(layout, "app", "a", "b", "x")
    put(layout, "small", "a")
    put_index(layout, "several", [put(layout, "s1", "c", platform=OTHER), put(layout, "s2", "d", platform=OTHER)])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    yield layout
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("image", "old", "new", "error", "said"),
    [
        ("app", "strange", "new", UsageError, "does not stand on .*: layer 0 is sha256"),
        ("small", "old", "new", UsageError, "does not stand on .*: layer 1 is none"),
        ("app", "old", "other", UsageError, "made for another build"),
        ("app", "old", "arm", UsageError, "is for windows.*arm64"),
        ("app", "old", "several", NotFoundError, "has no image for windows"),
        ("app", "old", "missing", NotFoundError, "missing"),
    ],
)
def test_h15_what_cannot_be_done_is_said_and_nothing_is_left(
    image: str, old: str, new: str, error: type[Exception], said: str, untouched: Path
) -> None:
    for destination in (f"oci:{untouched}:out", f"oci:{untouched.parent / 'out'}:v1"):
        with pytest.raises(error, match=said):
            rebase_image(f"oci:{untouched}:{image}", destination, f"oci:{untouched}:{old}", f"oci:{untouched}:{new}")


def test_h15_another_build_is_taken_when_it_must_be(tmp_path: Path) -> None:
    put(tmp_path, "old", "a")
    put(tmp_path, "new", "c", platform=OTHER)
    put(tmp_path, "app", "a", "x")
    config = rebased(tmp_path, RebaseOptions(force=True))
    assert config["os.version"] == OTHER.os_version
    assert config["words"] == words("c", "x")


def test_h15_a_dry_run_writes_nothing(untouched: Path) -> None:
    names = (
        f"oci:{untouched}:app",
        f"oci:{untouched.parent / 'out'}:v1",
        f"oci:{untouched}:old",
        f"oci:{untouched}:new",
    )
    result = rebase_image(*names, RebaseOptions(CopyOptions(dry_run=True)))
    assert result.copied.status == "planned"
    assert [one.own_layers for one in result.images] == [1]


def test_h15_a_tar_of_docker_save_can_be_written_and_read(tmp_path: Path) -> None:
    put(tmp_path, "old", "a")
    put(tmp_path, "new", "c", platform=NEW)
    put(tmp_path, "app", "a", "x")
    saved = f"docker-archive:{tmp_path / 'saved.tar'}:example.invalid/app:2"
    rebase_image(f"oci:{tmp_path}:app", saved, f"oci:{tmp_path}:old", f"oci:{tmp_path}:new")
    rebase_image(saved, f"oci:{tmp_path}:out", f"oci:{tmp_path}:new", f"oci:{tmp_path}:old")
    assert written(tmp_path)["words"] == words("a", "x")


def test_h15_the_foreign_layers_of_a_base_may_stay_where_they_are(tmp_path: Path) -> None:
    bases = tmp_path / "bases"
    writer = LayoutWriter(bases)
    put(bases, "old", "a")
    new = put(bases, "new", "c", platform=NEW)
    with open_image(f"oci:{bases}:new") as image:
        assert image.manifest is not None
        document = json.loads(image.manifest.raw)
    document["layers"][0] |= {
        "mediaType": "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "urls": ["https://example.invalid/layer"],
    }
    writer.put_manifest(encode_json(document), name="new", platform=new.platform)
    put(bases, "app", "a", "x")
    result = rebase_image(
        f"oci:{bases}:app",
        f"oci:{tmp_path / 'out'}:v1",
        f"oci:{bases}:old",
        f"oci:{bases}:new",
        RebaseOptions(CopyOptions(foreign="keep")),
    )
    outcomes = {str(blob.digest): blob.outcome for blob in result.copied.blobs}
    assert outcomes[document["layers"][0]["digest"]] == "left"
    with open_image(f"oci:{tmp_path / 'out'}:v1") as image:
        assert image.manifest is not None
        assert image.manifest.layers[0].urls == ("https://example.invalid/layer",)
        assert not image.layers[0].is_available
        assert image.layers[1].is_available


@pytest.mark.parametrize(
    ("tag", "annotations"), [("example.invalid/base:2", {BASE_NAME: "example.invalid/base:2"}), ("new", {})]
)
def test_h15_a_base_is_annotated_by_a_name_that_others_understand(
    tag: str, annotations: dict[str, str], tmp_path: Path
) -> None:
    put(tmp_path, "old", "a")
    new = put(tmp_path, tag, "c", platform=NEW)
    put(tmp_path, "app", "a", "x", annotations={BASE_NAME: "example.invalid/gone:1"})
    rebase_image(f"oci:{tmp_path}:app", f"oci:{tmp_path}:out", f"oci:{tmp_path}:old", f"oci:{tmp_path}:{tag}")
    with open_image(f"oci:{tmp_path}:out") as image:
        assert image.manifest is not None
        assert image.manifest.annotations == {**annotations, BASE_DIGEST: str(new.digest)}
