"""A containerd of a Windows host: what its databases say, and what they and the folders contradict each other in."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.store.hosts.bolt_writer import Table
from tests.store.hosts.containerd_host import ContainerdHost, go_time, uvarint, varint
from wclayer.store.hosts import Finding, HostLayer, Step, open_host_stores
from wclayer.store.hosts.containerd import ContainerdStore
from wclayer.store.hosts.containerd.values import signed, time_of, unsigned

IMAGE = "registry.test/app:1"


@pytest.fixture
def host(tmp_path: Path) -> ContainerdHost:
    """An image of three layers, and a container on it."""
    host = ContainerdHost(tmp_path / "root")
    keys = host.image(IMAGE, [b"base", b"middle", b"top"])
    host.snapshot("web", keys[-1], "active")
    host.container("web", IMAGE, "web")
    return host


def opened(host: ContainerdHost) -> ContainerdStore:
    host.write()
    with open_host_stores(host.root) as (store,):
        assert isinstance(store, ContainerdStore)
        return store


def findings(host: ContainerdHost) -> list[Finding]:
    return opened(host).findings()


def codes(host: ContainerdHost) -> list[str]:
    return sorted(finding.code for finding in findings(host))


def steps(host: ContainerdHost, kind: str) -> list[Step]:
    return [step for step in opened(host).steps() if step.kind == kind]


def keys_of(host: ContainerdHost) -> list[str]:
    """The keys of the image's snapshots, base first."""
    return [key.decode() for key in host.references if key.startswith(b"sha256:")]


def test_a_whole_store_is_listed_and_nothing_is_wrong_with_it(host: ContainerdHost) -> None:
    store = opened(host)
    layers: dict[str, HostLayer] = {layer.id: layer for layer in store.layers()}
    assert {identity: layer.kind for identity, layer in layers.items()} == {
        "windows/1": "committed",
        "windows/2": "committed",
        "windows/3": "committed",
        "windows/4": "active",
    }
    assert layers["windows/4"].parents == ("windows/3", "windows/2", "windows/1")
    assert layers["windows/4"].held_by == ["container web"]
    assert layers["windows/1"].held_by == [f"image {IMAGE}", "container web"]
    assert layers["windows/2"].size == 2000
    assert layers["windows/2"].created == 1_700_000_002 * 10**9
    (image,) = store.images()
    assert image.layers == ("windows/1", "windows/2", "windows/3")
    assert image.platform == "windows(10.0.17763.1)/amd64"
    assert store.findings(content=True) == []
    assert store.steps() == []
    assert {one.layer.id: one.size for one in store.usage()}["windows/3"] == 3


@pytest.mark.parametrize("place", ["ProgramData/containerd/root", "PROGRAMDATA/Containerd/Root"])
def test_the_root_may_be_below_a_drive(tmp_path: Path, place: str) -> None:
    host = ContainerdHost(tmp_path / place)
    host.image(IMAGE, [b"base"])
    host.write()
    with open_host_stores(tmp_path) as (store,):
        assert store.place == f"{tmp_path}/{place}"
        assert store.findings() == []


def test_a_snapshotter_alone_is_a_store_whose_snapshots_nobody_can_miss(host: ContainerdHost) -> None:
    host.write()
    shutil.rmtree(host.root / "io.containerd.metadata.v1.bolt")
    shutil.rmtree(host.content)
    with open_host_stores(host.root) as (store,):
        assert len(store.layers()) == 4
        assert store.findings() == []


def test_a_lost_folder_takes_what_stands_on_it_along_from_the_top(host: ContainerdHost) -> None:
    base, middle, top = keys_of(host)
    shutil.rmtree(host.snapshots / "2")
    assert codes(host) == ["snapshot-folder-missing"]
    dropped = steps(host, "drop-record")
    assert [step.target for step in dropped] == ["windows web", f"windows {top}", f"windows {middle}"]
    assert dropped[0].commands == ("ctr -n 'k8s.io' snapshots --snapshotter 'windows' rm 'web'",)
    assert [step.target for step in steps(host, "pull")] == [IMAGE]
    assert base not in str(dropped)


@pytest.mark.parametrize("case", ["files", "parent", "cycle"])
def test_a_snapshot_that_cannot_serve_is_an_error(host: ContainerdHost, case: str) -> None:
    base, _, top = keys_of(host)
    if case == "files":
        shutil.rmtree(host.snapshots / "3" / "Files")
        expected = {"layer-content-missing"}
    elif case == "parent":
        host.record_of(top)[b"parent"] = b"k8s.io/99/gone"
        expected = {"snapshot-parent-missing", "chain-differs"}
    else:
        reference = host.references[top.encode()]
        assert isinstance(reference, dict)
        host.record_of(base)[b"parent"] = reference[b"name"]
        expected = {"chain-cycle", "chain-differs"}
    assert set(codes(host)) == expected
    assert steps(host, "drop-record")
    assert [step.target for step in steps(host, "pull")] == [IMAGE]


def test_chains_of_more_than_125_are_reported(tmp_path: Path) -> None:
    host = ContainerdHost(tmp_path)
    keys = host.image(IMAGE, [str(number).encode() for number in range(126)])
    assert codes(host) == []
    host.snapshot("deep", keys[-1], "active")
    host.container("deep", IMAGE, "deep")
    (finding,) = findings(host)
    assert finding.code == "chain-too-long"


def test_leftovers_are_moved_aside_and_not_deleted(host: ContainerdHost) -> None:
    for name in ("rm-7", "new-1234", "77", "stray"):
        (host.snapshots / name).mkdir()
    (host.content / "ingest" / "abc").mkdir()
    (host.content / "ingest" / "abc" / "data").write_bytes(b"half")
    (host.content / "blobs" / "sha256" / ("5" * 64)).write_bytes(b"unknown")
    assert codes(host) == ["blob-unknown", "half-made", "half-removed", "ingest-left", "orphan", "stranger"]
    planned = opened(host).steps()
    assert [step.kind for step in planned] == ["stop-service", *["move-aside"] * 5, "start-service", "look"]
    moved = {step.target: step.to for step in planned if step.kind == "move-aside"}
    snapshots = "io.containerd.snapshotter.v1.windows/snapshots"
    assert moved[f"{snapshots}/rm-7"] == f"wclayer-aside/{snapshots.replace('/', '_')}_rm-7"
    assert not any("Remove-Item" in command for step in planned for command in step.commands)


def test_records_that_nothing_holds_are_asked_to_go(host: ContainerdHost) -> None:
    host.snapshot("extract-1 sha256:0", "", "active")
    host.blob(b"unused")
    found = {finding.code: finding.subject for finding in findings(host)}
    assert found["snapshot-unused"].endswith("extract-1 sha256:0")
    assert set(found) == {"snapshot-unused", "blob-unused"}
    (dropped,) = steps(host, "drop-record")
    assert "rm 'extract-1 sha256:0'" in dropped.commands[0]


def test_leases_and_root_labels_hold(host: ContainerdHost) -> None:
    host.snapshot("leased", "", "active")
    host.snapshot("rooted", "", "active")
    digest = host.blob(b"leased too")
    host.blob(b"rooted too", **{"containerd__io/gc__root": "now"})
    host.leases[b"lease"] = {
        b"createdat": go_time(1),
        b"content": {digest.encode(): b""},
        b"snapshots": {b"windows": {b"leased": b""}},
    }
    reference = host.references[b"rooted"]
    assert isinstance(reference, dict)
    reference[b"labels"] = {b"containerd.io/gc.root": b"now"}
    assert findings(host) == []


def test_what_clients_name_and_the_snapshotter_lacks_is_lost(host: ContainerdHost) -> None:
    _, _, top = keys_of(host)
    reference = host.references[top.encode()]
    assert isinstance(reference, dict)
    name = reference[b"name"]
    assert isinstance(name, bytes)
    del host.records[name]
    found = codes(host)
    assert "snapshot-lost" in found
    assert "orphan" in found
    assert f"windows {top}" in [step.target for step in steps(host, "drop-record")]


def test_what_the_snapshotter_has_and_nobody_names_goes_by_itself(host: ContainerdHost) -> None:
    host.snapshot("forgotten", "", "active")
    del host.references[b"forgotten"]
    (finding,) = findings(host)
    assert finding.code == "snapshot-unknown"
    (step,) = opened(host).steps()
    assert (step.kind, step.commands) == ("look", ())


def test_a_container_without_its_snapshot_and_an_image_without_its_manifest(host: ContainerdHost) -> None:
    host.container("lost", IMAGE, "nowhere")
    image = host.images[IMAGE.encode()]
    assert isinstance(image, dict)
    host.images[b"registry.test/gone:1"] = {**image, b"target": {b"digest": b"sha256:" + b"0" * 64}}
    found = {(finding.code, finding.subject, finding.namespace) for finding in findings(host)}
    assert found == {
        ("container-snapshot-missing", "lost", "k8s.io"),
        ("image-target-missing", "registry.test/gone:1", "k8s.io"),
    }
    assert steps(host, "pull")[0].commands == ("ctr -n 'k8s.io' images pull 'registry.test/gone:1'",)


def test_blobs_that_are_not_there_or_of_another_size(host: ContainerdHost) -> None:
    layer = sorted(host.blobs)[0].decode()
    path = host.content / "blobs" / layer.replace(":", "/")
    path.write_bytes(path.read_bytes() + b"!")
    assert "blob-size-wrong" in codes(host)
    path.unlink()
    assert "blob-missing" in codes(host)
    (step,) = (one for one in steps(host, "pull") if one.to == layer)
    assert step.commands == (f"ctr -n 'k8s.io' content fetch '{IMAGE}'",)


@pytest.mark.parametrize("database", ["io.containerd.metadata.v1.bolt/meta.db", "metadata.db"])
def test_a_database_that_cannot_be_read_is_a_finding_and_the_rest_is_looked_at(
    host: ContainerdHost, database: str
) -> None:
    host.write()
    path = host.root / database if "/" in database else host.snapshotter / database
    path.write_bytes(b"\0" * 8192)
    (host.snapshots / "rm-1").mkdir()
    with open_host_stores(host.root) as (store,):
        found = {finding.code for finding in store.findings()}
        store.layers(), store.images(), store.events(), store.steps(), store.usage()
    assert {"database-unreadable", "half-removed"} <= found
    assert "snapshot-unknown" not in found
    assert "snapshot-lost" not in found
    assert "orphan" not in found


def test_a_torn_meta_page_is_a_warning(host: ContainerdHost) -> None:
    host.write()
    path = host.snapshotter / "metadata.db"
    raw = bytearray(path.read_bytes())
    raw[40] ^= 1
    path.write_bytes(raw)
    with open_host_stores(host.root) as (store,):
        (finding,) = store.findings()
    assert (finding.code, finding.severity) == ("database-damaged", "warning")


def test_records_of_nonsense_are_findings(host: ContainerdHost) -> None:
    odd: Table = {b"id": b"\xff" * 11, b"kind": b"\x09", b"createdat": b"soon"}
    host.records[b"k8s.io/50/odd"] = odd
    host.references[b"odd\xff"] = {b"name": b"k8s.io/50/odd"}
    assert "snapshot-unreadable" in codes(host)
    opened(host).events()


def test_what_happened_is_told_in_order(host: ContainerdHost) -> None:
    events = opened(host).events()
    assert [event.time for event in events] == sorted(event.time for event in events)
    told = {(event.what, event.subject): event.time for event in events}
    assert told["image-recorded", IMAGE] == 1_700_000_100 * 10**9
    assert told["image-updated", IMAGE] == 1_700_000_200 * 10**9 + 5
    assert told["container-created", "web"] == 1_700_001_000 * 10**9
    assert told["snapshot-committed", "windows/1"] == 1_700_000_001 * 10**9
    assert told["snapshot-made", "windows/4"] == 1_700_000_004 * 10**9
    assert ("scratch-written", "windows/4") in told
    image_id = opened(host).images()[0].id
    assert told["image-created", image_id] == 1704164645 * 10**9


def test_numbers_and_times_are_those_of_go() -> None:
    for number in (0, 1, 127, 128, 300, (1 << 64) - 1):
        assert unsigned(uvarint(number)) == number
    for number in (0, 1, -1, 63, -64, 64, (1 << 63) - 1, -(1 << 63)):
        assert signed(varint(number)) == number
    for wrong in (None, b"", b"\x80", b"\xff" * 10, b"\x01\x01", b"\xff" * 9 + b"\x7f"):
        assert unsigned(wrong) is None
        assert signed(wrong) is None
    assert time_of(go_time(1_700_000_000, 7)) == 1_700_000_000 * 10**9 + 7
    assert time_of(b"\x02" + go_time(-5)[1:] + b"\x00") == -5 * 10**9
    for wrong in (None, b"", b"\x01", b"\x03" + go_time(0)[1:], b"\x01" + bytes(14), go_time(0, 10**9)):
        assert time_of(wrong) is None
