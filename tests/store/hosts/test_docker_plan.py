"""What is planned for a Docker daemon's store: steps that keep what may still be of use, in an order that works."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.store.hosts.docker_host import HOME, DockerHost, Layer
from wclayer.store.hosts import Step, open_host_stores
from wclayer.store.hosts.records import nanoseconds, nanoseconds_text
from wclayer.store.hosts.steps import argument, quoted


@pytest.fixture
def host(tmp_path: Path) -> DockerHost:
    return DockerHost(tmp_path)


@pytest.fixture
def layers(host: DockerHost) -> tuple[Layer, Layer, Layer]:
    base = host.layer("base", {"b": b"b"}, source="registry.test/base")
    middle = host.layer("middle", {"m": b"m"}, base, source="registry.test/app")
    top = host.layer("top", {"t": b"t"}, middle, source="registry.test/app")
    host.make_image(top, "registry.test/app:1")
    return base, middle, top


def plan(host: DockerHost) -> list[Step]:
    with open_host_stores(host.root) as (store,):
        return store.steps()


def of_kind(host: DockerHost, kind: str) -> list[Step]:
    return [step for step in plan(host) if step.kind == kind]


def test_a_wrong_chain_is_written_as_the_database_has_it(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    base, middle, top = layers
    (host.path(top) / "layerchain.json").write_bytes(b"\0" * 10)
    steps = plan(host)
    assert [step.kind for step in steps] == ["stop-service", "write-chain", "start-service"]
    assert steps[1].target == f"windowsfilter/{top.folder}/layerchain.json"
    assert json.loads(steps[1].content or "") == [f"{HOME}\\{middle.folder}", f"{HOME}\\{base.folder}"]
    assert steps[1].findings == ("chain-unreadable",)
    assert "Copy-Item" in steps[1].commands[0]
    # What is written is right: with it there is nothing left to do.
    (host.path(top) / "layerchain.json").write_text(steps[1].content or "")
    assert plan(host) == []


def test_a_base_layer_gets_null(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    host.chain(layers[0].folder, (layers[1].folder,))
    (step,) = (
        one for one in of_kind(host, "write-chain") if one.target.endswith(f"{layers[0].folder}/layerchain.json")
    )
    assert step.content == "null"


def test_a_lost_layer_is_fetched_from_where_it_was_seen_and_imported_on_its_parents(
    host: DockerHost, layers: tuple[Layer, ...]
) -> None:
    base, middle, top = layers
    shutil.rmtree(host.path(middle))
    shutil.rmtree(host.path(top))
    steps = plan(host)
    kinds = [step.kind for step in steps if step.kind in ("pull", "import-layer")]
    assert kinds == ["pull", "pull", "import-layer", "import-layer"]
    pulls, imports = of_kind(host, "pull"), of_kind(host, "import-layer")
    source = host.image / "distribution" / "v2metadata-by-diffid"
    for step, layer in zip(pulls, (middle, top), strict=True):
        assert step.target == "registry.test/app"
        assert step.to == json.loads((source / layer.diff_id.replace(":", "/")).read_text())[0]["Digest"]
        assert "image registry.test/app:1" in step.why
    assert [step.target for step in imports] == [f"windowsfilter/{one.folder}" for one in (middle, top)]
    assert imports[1].commands[0].index(middle.folder) < imports[1].commands[0].index(base.folder)
    assert imports[1].commands[0].endswith(f"($root + '\\windowsfilter\\{top.folder}')")


def test_chains_that_name_a_lost_layer_are_right_again_once_it_is_back(
    host: DockerHost, layers: tuple[Layer, ...]
) -> None:
    base, middle, top = layers
    host.container("web", top)
    shutil.rmtree(host.path(middle))
    (host.path(top) / "layerchain.json").write_text("{")
    steps = {step.kind: step for step in plan(host)}
    assert set(steps) == {"stop-service", "pull", "import-layer", "write-chain", "start-service"}
    assert steps["import-layer"].findings == ("layer-folder-missing", "chain-parent-missing")
    assert json.loads(steps["write-chain"].content or "") == [f"{HOME}\\{one.folder}" for one in (middle, base)]
    with open_host_stores(host.root) as (store,):
        lost = {layer.id: layer for layer in store.layers()}[middle.folder]
    assert (lost.kind, lost.path, lost.parents) == ("lost", None, (base.folder,))


def test_on_a_whole_drive_commands_begin_at_the_data_root(tmp_path: Path) -> None:
    host = DockerHost(tmp_path / "ProgramData" / "docker")
    base = host.layer("base", {"b": b"b"}, source="registry.test/base")
    top = host.layer("top", {"t": b"t"}, base, source="registry.test/app")
    host.make_image(top, "app:1")
    shutil.rmtree(host.path(top))
    (host.home / ("9" * 64 + "-removing")).mkdir()
    with open_host_stores(tmp_path) as (store,):
        steps = {step.kind: step for step in store.steps()}
    assert steps["move-aside"].commands[0] == (
        "New-Item -ItemType Directory -Force ($root + '\\windowsfilter-aside') | Out-Null"
    )
    assert steps["import-layer"].target == f"ProgramData/docker/windowsfilter/{top.folder}"
    assert steps["import-layer"].commands == (
        f"wclayer.exe import -i layer.tar.gz -l ($root + '\\windowsfilter\\{base.folder}')"
        f" ($root + '\\windowsfilter\\{top.folder}')",
    )


def test_of_a_home_alone_things_are_moved_beside_it(host: DockerHost, tmp_path: Path) -> None:
    host.layer("base", {"b": b"b"})
    (host.home / ("9" * 64 + "-removing")).mkdir()
    host.home.rename(tmp_path / "copy")
    with open_host_stores(tmp_path / "copy") as (store,):
        (moved,) = (step for step in store.steps() if step.kind == "move-aside")
    assert moved.to == "../windowsfilter-aside/" + "9" * 64 + "-removing"


def test_a_foreign_layer_is_fetched_by_its_descriptor(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    base = layers[0]
    descriptor = {
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "digest": "sha256:" + "c" * 64,
        "size": 5,
        "urls": ["https://mirror.test/blob"],
    }
    (host.record(base) / "descriptor.json").write_text(json.dumps(descriptor))
    shutil.rmtree(host.path(base))
    (step,) = of_kind(host, "pull")
    assert step.to == descriptor["digest"]
    assert "https://mirror.test/blob" in step.why


def test_a_layer_that_nobody_has_is_left_to_a_person(host: DockerHost) -> None:
    base = host.layer("base", {"b": b"b"})
    host.make_image(base)
    shutil.rmtree(host.path(base))
    steps = plan(host)
    assert [step.kind for step in steps] == ["look"]
    assert "no repository is known" in steps[0].why


def test_a_needed_layer_that_was_half_removed_is_moved_back(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    top = layers[2]
    host.path(top).rename(host.home / f"{top.folder}-removing")
    steps = plan(host)
    assert [step.kind for step in steps] == ["stop-service", "move-back", "start-service"]
    assert (steps[1].target, steps[1].to) == (
        f"windowsfilter/{top.folder}-removing",
        f"windowsfilter/{top.folder}",
    )
    assert "fsck --content" in steps[1].why


def test_what_nobody_needs_is_moved_aside_and_nothing_is_deleted(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    (host.home / ("9" * 64 + "-removing")).mkdir()
    (host.home / ("8" * 64)).mkdir()
    (host.layerdb / "tmp" / "write-set-1").mkdir()
    unused = host.layer("unused", {"u": b"u"}, layers[0])
    steps = plan(host)
    moved = {step.target for step in steps if step.kind == "move-aside"}
    assert moved == {
        "windowsfilter/" + "9" * 64 + "-removing",
        "windowsfilter/" + "8" * 64,
        "image/windowsfilter/layerdb/tmp/write-set-1",
        f"windowsfilter/{unused.folder}",
        f"image/windowsfilter/layerdb/{unused.chain_id.replace(':', '/')}",
    }
    places = [step.to for step in steps if step.kind == "move-aside"]
    assert len(set(places)) == len(places)
    assert all((place or "").startswith("windowsfilter-aside/") for place in places)
    text = str(steps)
    assert "Remove-Item" not in text
    assert "rm " not in text


def test_a_damaged_image_is_put_aside_and_pulled_by_its_name(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    (content,) = (host.image / "imagedb" / "content" / "sha256").iterdir()
    content.write_bytes(content.read_bytes() + b" ")
    steps = plan(host)
    assert [step.kind for step in steps] == ["stop-service", "move-aside", "start-service", "pull"]
    assert steps[-1].commands == ("docker pull 'registry.test/app:1'",)


def test_a_container_that_is_gone_leaves_its_files_to_be_looked_at(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    identity = host.container("web", layers[2])
    shutil.rmtree(host.root / "containers" / identity)
    moved = {step.target for step in of_kind(host, "move-aside")}
    assert moved == {
        f"image/windowsfilter/layerdb/mounts/{identity}",
        f"windowsfilter/{identity}",
        f"windowsfilter/{identity}-init",
    }


def test_every_finding_is_answered(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    base, middle, top = layers
    host.container("web", top)
    (host.path(middle) / "layerchain.json").write_text("[1]")
    (host.path(base) / "layerid").mkdir()
    (host.record(top) / "size").write_text("x")
    (host.home / ("7" * 64)).mkdir()
    (host.home / "a").symlink_to("b")
    host.repositories["gone"] = {"gone:1": "sha256:" + "1" * 64}
    host.write_names()
    with open_host_stores(host.root) as (store,):
        codes = {finding.code for finding in store.findings()}
    assert len(codes) == 6
    assert codes == {code for step in plan(host) for code in step.findings}


def test_a_name_cannot_leave_its_quotes() -> None:
    assert quoted("a'; Remove-Item C:\\ -Recurse; '") == "'a''; Remove-Item C:\\ -Recurse; '''"
    assert quoted("$root\\a'$b") == "($root + '\\a''$b')"
    assert quoted("$rootless") == "'$rootless'"
    assert quoted("a\u2019b\u201a") == "'a\u2019\u2019b\u201a\u201a'"
    assert argument("-f") == "-- '-f'"
    assert argument("a b") == "'a b'"


def test_what_happened_is_told_in_order(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    identity = host.container("web", layers[2])
    (host.home / ("9" * 64 + "-removing")).mkdir()
    with open_host_stores(host.root) as (store,):
        events = store.events()
    assert [event.time for event in events] == sorted(event.time for event in events)
    told = {(event.what, event.subject): event for event in events}
    image = f"sha256:{next((host.image / 'imagedb' / 'content' / 'sha256').iterdir()).name}"
    assert told["image-created", image].time == 1709618828123456789
    assert nanoseconds_text(told["image-tagged", image].time) == "2024-04-05T06:07:08.5Z"
    assert told["container-created", identity].detail.startswith("web")
    assert ("container-finished", identity) not in told
    assert ("removal-began", "9" * 64 + "-removing") in told
    for layer in layers:
        assert told["layer-made", layer.folder].detail == layer.chain_id
        assert told["layer-built", layer.diff_id].source.endswith(image.removeprefix("sha256:"))
        written = (host.record(layer) / "cache-id").stat().st_mtime_ns
        assert told["layer-recorded", layer.chain_id].time == written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-03-05T06:07:08.123456789Z", 1709618828123456789),
        ("2024-03-05T06:07:08Z", 1709618828000000000),
        ("2024-03-05T07:07:08.5+01:00", 1709618828500000000),
        ("1969-12-31T23:59:59.75Z", -250000000),
        ("0001-01-01T00:00:00Z", None),
        ("2024-03-05T06:07:08", None),
        ("soon", None),
        ("", None),
    ],
)
def test_times_keep_all_their_digits(text: str, expected: int | None) -> None:
    assert nanoseconds(text) == expected
    if expected is not None:
        assert nanoseconds(nanoseconds_text(expected)) == expected
