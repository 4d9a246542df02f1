"""Hostile images: documents, digests and archives that lie, refused before anything is written."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import NamedTuple

import pytest

from tests.hostile.command import INTEGRITY
from tests.hostile.images import (
    LAYER,
    Change,
    Document,
    Layout,
    dumps,
    packed,
    sha256,
)
from tests.hostile.tars import archive, file, layer
from tests.hostile.world import World

GOOD = layer(file("Files/x", b"content"))
OTHER = layer(file("Files/y", b"content"))
EVIL = "sha256:../../evil/sentinel"


class Case(NamedTuple):
    """An image that must be refused. ``mentions`` is what the message must name."""

    name: str
    make: Callable[[], Layout]
    mentions: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.name


def _set(*path: str | int, to: object) -> Change:
    """The change that puts ``to`` at a place in a document."""

    def change(document: Document) -> None:
        *way, last = path
        place: object = document
        for step in way:
            place = place[step]  # type: ignore[index]
        place[last] = to  # type: ignore[index]

    return change


def _manifest(name: str, *path: str | int, to: object, mentions: str = "") -> Case:
    return Case(f"manifest-{name}", lambda: Layout([GOOD], change_manifest=_set(*path, to=to)), (mentions,))


def _config(name: str, *path: str | int, to: object, mentions: str = "") -> Case:
    return Case(f"config-{name}", lambda: Layout([GOOD], change_config=_set(*path, to=to)), (mentions,))


def _index(name: str, *path: str | int, to: object, mentions: str = "") -> Case:
    return Case(f"index-{name}", lambda: Layout([GOOD], change_index=_set(*path, to=to)), (mentions,))


def _raw(name: str, raw: bytes, *mentions: str) -> list[Case]:
    """The same bytes in the place of each document."""

    def index() -> Layout:
        image = Layout([GOOD])
        image.files["index.json"] = raw
        return image

    def marker() -> Layout:
        image = Layout([GOOD])
        image.files["oci-layout"] = raw
        return image

    return [
        Case(f"index-{name}", index, mentions),
        Case(f"marker-{name}", marker),
        Case(f"manifest-{name}", lambda: Layout([GOOD], manifest=raw), mentions),
        Case(f"config-{name}", lambda: Layout([GOOD], config=raw), mentions),
    ]


def _replaced(what: str, by: bytes) -> Callable[[], Layout]:
    """The image whose blob of that kind holds something else than its digest says."""

    def make() -> Layout:
        image = Layout([GOOD])
        for name, data in image.files.items():
            kind = "layer" if data == GOOD else "config" if b"rootfs" in data else "manifest"
            if name.startswith("blobs/") and kind == what:
                image.files[name] = by if by else data + b" "
        return image

    return make


def _of_size(where: Change) -> Callable[[], Layout]:
    return lambda: Layout([GOOD], change_manifest=where)


DOCUMENTS = [
    *_raw("empty", b""),
    *_raw("no-json", b"{"),
    *_raw("not-utf-8", b'{"schemaVersion":2,"x":"\xff"}'),
    *_raw("another-encoding", '{"schemaVersion":2}'.encode("utf-16")),
    *_raw("text-behind", b'{"schemaVersion":2}}'),
    *_raw("nan", b'{"schemaVersion":NaN}'),
    *_raw("a-number", b"7"),
    *_raw("an-array", b"[]"),
    *_raw("null", b"null"),
    *_raw("nested-deeply", b'{"a":' * 100_000 + b"1" + b"}" * 100_000),
    *_raw("nested-deeply-in-arrays", b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    *_raw("nested-somewhat", b'{"a":' + b"[" * 70 + b"]" * 70 + b"}"),
    *_raw("key-twice", b'{"schemaVersion":2,"schemaVersion":2,"manifests":[]}'),
    *_raw("of-nine-megabytes", b'{"a":"' + b"x" * (9 << 20) + b'"}'),
    *_raw("of-a-million-values", b'{"a":[' + b"0," * 1_000_000 + b"0]}"),
    *_raw("enormous-number", b'{"schemaVersion":' + b"9" * 5000 + b"}"),
    _index("key-in-other-case", "Manifests", to=[], mentions="Manifests"),
    _index("manifests-no-array", "manifests", to={}, mentions="manifests"),
    _index("manifest-no-object", "manifests", 0, to="x"),
    _index("size-text", "manifests", 0, "size", to="7", mentions="size"),
    _index("size-negative", "manifests", 0, "size", to=-1, mentions="size"),
    _index("size-fraction", "manifests", 0, "size", to=1.5, mentions="size"),
    _index("size-enormous", "manifests", 0, "size", to=1 << 70, mentions="size"),
    _index("size-wrong", "manifests", 0, "size", to=5, mentions="5"),
    _index("digest-with-a-path", "manifests", 0, "digest", to=EVIL, mentions="evil"),
    _index("digest-absolute", "manifests", 0, "digest", to="sha256:/etc/passwd", mentions="passwd"),
    _index("digest-backslash", "manifests", 0, "digest", to="sha256:..\\..\\evil", mentions="evil"),
    _index("digest-algorithm-with-a-path", "manifests", 0, "digest", to="../../evil:" + "a" * 64, mentions="evil"),
    _index("digest-short", "manifests", 0, "digest", to="sha256:abc", mentions="abc"),
    _index("digest-upper-case", "manifests", 0, "digest", to="sha256:" + "A" * 64, mentions="AAAA"),
    _index("digest-nul", "manifests", 0, "digest", to="sha256:\0" + "a" * 63),
    _index("digest-no-text", "manifests", 0, "digest", to=["sha256:" + "a" * 64], mentions="digest"),
    _index("annotations-no-texts", "manifests", 0, "annotations", to={"a": 1}, mentions="annotations"),
    _manifest("digest-with-a-path", "layers", 0, "digest", to=EVIL, mentions="evil"),
    _manifest("config-digest-with-a-path", "config", "digest", to=EVIL, mentions="evil"),
    _manifest("layers-no-array", "layers", to="x", mentions="layers"),
    _manifest("layer-null", "layers", 0, to=None, mentions="layers[0]"),
    _manifest("config-missing", "config", to=None, mentions="config"),
    _manifest("both-kinds", "manifests", to=[], mentions="both"),
    _manifest("version", "schemaVersion", to="2", mentions="schemaVersion"),
    _manifest("media-type-of-another-kind", "mediaType", to="application/vnd.oci.image.index.v1+json"),
    _manifest("layers-in-other-case", "Layers", to=[], mentions="Layers"),
    _manifest("urls-by-the-hundred", "layers", 0, "urls", to=["https://example.invalid/"] * 100, mentions="urls"),
    _manifest("more-layers-than-the-config", "layers", to=[], mentions="0 layers"),
    _config("diff-id-with-a-path", "rootfs", "diff_ids", 0, to=EVIL, mentions="evil"),
    _config("diff-ids-no-array", "rootfs", "diff_ids", to="x", mentions="diff_ids"),
    _config("diff-id-no-text", "rootfs", "diff_ids", 0, to=7, mentions="diff_ids"),
    _config("rootfs-missing", "rootfs", to=None, mentions="rootfs"),
    _config("rootfs-no-object", "rootfs", to=[], mentions="rootfs"),
    _config("diff-ids-in-other-case", "rootfs", to={"type": "layers", "Diff_IDs": []}, mentions="Diff_IDs"),
    _config("more-diff-ids-than-layers", "rootfs", "diff_ids", to=[sha256(GOOD)] * 2, mentions="2 DiffIDs"),
    _config("fewer-diff-ids-than-layers", "rootfs", "diff_ids", to=[], mentions="0 DiffIDs"),
    _config("platform-with-control-characters", "os.version", to="10\u001b[2J", mentions="platform"),
    _config("platform-no-text", "os", to={}, mentions="os"),
]

DIGESTS = [
    Case("layer-of-another-digest", _replaced("layer", OTHER), ("layer 1 of 1",)),
    Case("layer-of-another-size", _replaced("layer", b""), ("layer 1 of 1",)),
    Case("config-of-another-digest", _replaced("config", b""), ("config",)),
    Case("manifest-of-another-digest", _replaced("manifest", b""), ("manifest",)),
    Case("diff-id-of-another-layer", lambda: Layout([OTHER], blobs=[GOOD]), (sha256(OTHER), sha256(GOOD))),
    Case("diff-id-of-another-layer-gzip", lambda: Layout([OTHER], blobs=[packed(GOOD)]), (sha256(OTHER), sha256(GOOD))),
    Case("diff-id-of-the-blob", lambda: Layout([packed(GOOD)], blobs=[packed(GOOD)]), (sha256(GOOD),)),
    Case("size-too-small", _of_size(_set("layers", 0, "size", to=len(GOOD) - 1)), ("layer 1 of 1", str(len(GOOD) - 1))),
    Case("size-too-large", _of_size(_set("layers", 0, "size", to=len(GOOD) + 1)), ("layer 1 of 1", str(len(GOOD) + 1))),
    Case("size-zero", _of_size(_set("layers", 0, "size", to=0)), ("layer 1 of 1",)),
    Case("config-size-wrong", _of_size(_set("config", "size", to=3)), ("config",)),
    Case("zeros-behind-the-tar", lambda: Layout([GOOD], blobs=[GOOD + bytes(512)]), (sha256(GOOD),)),
    Case("text-behind-the-tar", lambda: Layout([GOOD], blobs=[packed(GOOD + b"more")]), (sha256(GOOD),)),
    Case("member-behind-the-gzip", lambda: Layout([GOOD], blobs=[packed(GOOD) + packed(b"more")]), (sha256(GOOD),)),
    Case("garbage-behind-the-gzip", lambda: Layout([GOOD], blobs=[packed(GOOD) + b"more"]), ("layer 1 of 1",)),
]


@pytest.mark.parametrize("case", [*DOCUMENTS, *DIGESTS], ids=str)
def test_unpack_refuses_a_layout(case: Case, world: World) -> None:
    reference = case.make().write(world.root / "image")
    world.refused("unpack", reference, world.destination, mentions=case.mentions)
    # As an archive the same files are the same image.
    tar = world.root / "image.tar"
    tar.write_bytes(archive(*case.make().members()))
    world.refused("unpack", f"oci-archive:{tar}", world.destination, mentions=case.mentions)


@pytest.mark.parametrize("layers", [2, 3])
def test_a_bad_layer_between_good_ones_leaves_only_good_ones(layers: int, world: World) -> None:
    good = [layer(file(f"Files/{number}", b"%d" % number)) for number in range(layers)]
    bad = [*good[:-1], OTHER]
    reference = Layout(good, blobs=bad).write(world.root / "image")
    world.refused("unpack", reference, world.destination, mentions=[sha256(OTHER)], keeps=[world.destination])
    world.require_complete_layers_only(layers - 1)


def test_an_image_with_a_wrong_diff_id_is_refused_again_and_again(world: World) -> None:
    reference = Layout([OTHER], blobs=[GOOD]).write(world.root / "image")
    for _ in range(3):
        world.refused("unpack", reference, world.destination, mentions=[sha256(OTHER)])


def test_import_refuses_a_wrong_diff_id(world: World) -> None:
    world.import_refused(GOOD, sha256(GOOD), sha256(OTHER), options=["--diff-id", sha256(OTHER)])
    world.import_refused(packed(GOOD), sha256(GOOD), options=["--diff-id", sha256(packed(GOOD))])


@pytest.mark.parametrize("text", [EVIL, "sha256:abc", "sha256:" + "g" * 64, "abc", ""])
def test_import_refuses_a_diff_id_that_is_none(text: str, world: World) -> None:
    source = world.root / "layer.tar"
    source.write_bytes(GOOD)
    outcome = world.command("import", source, world.destination, "--diff-id", text or "x")
    assert outcome.code in (2, INTEGRITY)
    assert not world.destination.exists()


def test_the_blob_of_a_config_is_no_layer(world: World) -> None:
    """A layer descriptor that names the configuration."""
    image = Layout([GOOD])
    config = next(data for data in image.files.values() if b"rootfs" in data)
    swapped = Layout(
        [GOOD],
        change_manifest=lambda document: document.update(
            layers=[{"mediaType": LAYER, "digest": sha256(config), "size": len(config)}]
        ),
    )
    world.refused("unpack", swapped.write(world.root / "image"), world.destination)


def test_an_unpacked_image_whose_document_names_other_folders_is_refused(world: World) -> None:
    reference = Layout([GOOD]).write(world.root / "image")
    assert world.command("unpack", reference, world.destination).code == 0
    document = world.destination / "image.json"
    for name in ("../../evil", "/etc", "..", ".", "", "a/b"):
        changed = json.loads(document.read_text())
        changed["layers"][0]["folder"] = name
        document.write_bytes(dumps(changed))
        for verb in ("verify", "ls"):
            assert world.command(verb, world.destination).code == INTEGRITY
