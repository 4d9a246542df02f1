"""Hostile archives of images: nothing in them leads out of them, and nothing of them is extracted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.hostile.images import LAYER, Layout, archive_link, docker_archive, sha256
from tests.hostile.tars import LINK, archive, file, folder, layer, member
from tests.hostile.world import World

GOOD = layer(file("Files/x", b"content"))
OTHER = layer(file("Files/y", b"content"))
EVIL = "sha256:../../evil/sentinel"


def _without(name: str) -> list[bytes]:
    image = Layout([GOOD])
    return [file(path, data) for path, data in image.files.items() if path != name and data != GOOD]


_BLOB = "blobs/" + sha256(GOOD).replace(":", "/")

ARCHIVES: list[tuple[str, str, Callable[[], bytes]]] = [
    (
        f"{kind}-link-{title}",
        "oci-archive",
        lambda maker=maker, target=target: archive(*_without(""), maker(_BLOB, target)),
    )
    for kind, maker in (
        ("symbolic", archive_link),
        ("hard", lambda name, target: member(name, LINK, linkname=target)),
    )
    for title, target in (
        ("out", "../../../../evil/sentinel"),
        ("out-of-folder", "../../../evil"),
        ("to-itself", _BLOB if kind == "hard" else _BLOB.rpartition("/")[2]),
        ("backslash", "..\\..\\evil"),
    )
] + [
    ("symbolic-link-absolute", "oci-archive", lambda: archive(*_without(""), archive_link(_BLOB, "/etc/passwd"))),
    (
        "symbolic-index",
        "oci-archive",
        lambda: archive(*_without("index.json"), archive_link("index.json", "/etc/passwd")),
    ),
    (
        "symbolic-marker",
        "oci-archive",
        lambda: archive(*_without("oci-layout"), archive_link("oci-layout", "../../x")),
    ),
    ("index-twice", "oci-archive", lambda: archive(*Layout([GOOD]).members(), file("index.json", b"{}"))),
    ("index-twice-by-dot", "oci-archive", lambda: archive(*Layout([GOOD]).members(), file("./index.json", b"{}"))),
    (
        "index-twice-by-dots",
        "oci-archive",
        lambda: archive(*Layout([GOOD]).members(), file("x/../index.json", b"{}")),
    ),
    ("index-twice-absolute", "oci-archive", lambda: archive(*Layout([GOOD]).members(), file("/index.json", b"{}"))),
    ("not-a-tar", "oci-archive", lambda: b"no tar " * 1000),
    ("empty", "oci-archive", lambda: b""),
    ("truncated", "oci-archive", lambda: archive(*Layout([GOOD]).members())[:3000]),
    (
        "docker-layer-link-absolute",
        "docker-archive",
        lambda: docker_archive([], archive_link("a/layer.tar", "/etc/passwd"), paths=["a/layer.tar"]),
    ),
    (
        "docker-layer-link-out",
        "docker-archive",
        lambda: docker_archive([], archive_link("a/layer.tar", "../../evil/sentinel"), paths=["a/layer.tar"]),
    ),
    (
        "docker-layer-link-in-a-circle",
        "docker-archive",
        lambda: docker_archive(
            [],
            archive_link("a/layer.tar", "../b/layer.tar"),
            archive_link("b/layer.tar", "../a/layer.tar"),
            paths=["a/layer.tar"],
        ),
    ),
    (
        "docker-fewer-layers-than-diff-ids",
        "docker-archive",
        lambda: docker_archive([("a/layer.tar", GOOD)], paths=[]),
    ),
    (
        "docker-more-layers-than-diff-ids",
        "docker-archive",
        lambda: docker_archive([("a/layer.tar", GOOD)], paths=["a/layer.tar"] * 2),
    ),
    (
        "docker-layer-of-another-diff-id",
        "docker-archive",
        lambda: docker_archive([("a/layer.tar", GOOD)], file("b/layer.tar", OTHER), paths=["b/layer.tar"]),
    ),
    (
        "docker-list-twice",
        "docker-archive",
        lambda: docker_archive([("a/layer.tar", GOOD)], file("manifest.json", b"[]")),
    ),
    (
        "docker-config-of-another-digest",
        "docker-archive",
        lambda: docker_archive([("a/layer.tar", GOOD)], config_name="0" * 64 + ".json"),
    ),
    (
        "docker-list-no-texts",
        "docker-archive",
        lambda: docker_archive([("a/layer.tar", GOOD)], change=lambda entry: entry.update(Layers=[7])),
    ),
    (
        "docker-source-with-a-path",
        "docker-archive",
        lambda: docker_archive(
            [("a/layer.tar", GOOD)],
            change=lambda entry: entry.update(LayerSources={EVIL: {"mediaType": LAYER, "digest": EVIL, "size": 1}}),
        ),
    ),
]


@pytest.mark.parametrize(("transport", "make"), [pytest.param(*case[1:], id=case[0]) for case in ARCHIVES])
def test_unpack_refuses_an_archive(transport: str, make: Callable[[], bytes], world: World) -> None:
    tar = world.root / "image.tar"
    tar.write_bytes(make())
    world.refused("unpack", f"{transport}:{tar}", world.destination)


def test_a_hard_link_of_an_archive_names_a_member_and_nothing_else(world: World) -> None:
    """An absolute one too: the archive has no such member."""
    tar = world.root / "image.tar"
    tar.write_bytes(archive(*_without(""), member(_BLOB, LINK, linkname="/etc/passwd")))
    world.refused("unpack", f"oci-archive:{tar}", world.destination, code=3)


@pytest.mark.parametrize("path", ["../evil/sentinel", "/etc/passwd", "a/../../evil/sentinel", "..", "C:\\x", "a\\b"])
def test_paths_of_a_docker_archive_lead_nowhere_but_into_it(path: str, world: World) -> None:
    """They are looked up in the archive, where they do not exist."""
    tar = world.root / "image.tar"
    for archived in (
        docker_archive([("a/layer.tar", GOOD)], paths=[path]),
        docker_archive([("a/layer.tar", GOOD)], change=lambda entry: entry.update(Config=path)),
    ):
        tar.write_bytes(archived)
        world.refused("unpack", f"docker-archive:{tar}", world.destination, code=3)


@pytest.mark.parametrize("name", ["../evil/x", "/tmp/evil", "a/../../evil/x", "C:\\evil"])
def test_members_of_an_archive_are_never_extracted(name: str, world: World) -> None:
    """An archive may hold anything beside its image; nothing of it reaches the disk."""
    tar = world.root / "image.tar"
    tar.write_bytes(archive(file(name, b"evil"), folder("../evil"), *Layout([GOOD]).members()))
    outcome = world.command("unpack", f"oci-archive:{tar}", world.destination)
    assert outcome.code == 0
    assert (world.root / "evil" / "sentinel").exists()
    assert sorted(path.name for path in (world.root / "evil").iterdir()) == ["sentinel"]
    assert world.command("verify", world.destination).code == 0
