"""A Docker daemon's store on a case-sensitive file system: what is listed, and every oddity of its chains."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.store.hosts.docker_host import HOME, DockerHost, Layer, rename_case
from wclayer.errors import FormatError, NotFoundError, StoreError, WclayerError
from wclayer.store.hosts import Finding, HostStore, open_host_stores, stores_in
from wclayer.store.hosts.docker import DockerStore
from wclayer.store.hosts.files import HostEntry, HostTree
from wclayer.store.hosts.folder_files import FolderFiles

FILES = {"Windows/System32/ntdll.dll": b"MZ" * 600, "app.txt": b"hello"}


@pytest.fixture
def host(tmp_path: Path) -> DockerHost:
    return DockerHost(tmp_path / "docker")


@pytest.fixture
def layers(host: DockerHost) -> tuple[Layer, Layer, Layer]:
    """Base, middle and top of an image with a name, and a container on it."""
    base = host.layer("base", FILES, source="registry.test/base")
    middle = host.layer("middle", {"middle.txt": b"m"}, base, source="registry.test/app")
    top = host.layer("top", {"top.txt": b"t"}, middle, source="registry.test/app")
    image = host.make_image(top, "registry.test/app:1")
    host.container("web", top, image)
    return base, middle, top


def opened(root: Path) -> HostStore:
    with open_host_stores(root) as stores:
        (store,) = stores
    return store


def findings(root: Path, *, content: bool = False) -> list[Finding]:
    return opened(root).findings(content=content)


def codes(root: Path) -> list[str]:
    return sorted(finding.code for finding in findings(root))


def test_a_whole_store_is_listed_and_nothing_is_wrong_with_it(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    store = opened(host.root)
    assert store.kind == "windowsfilter"
    assert store.place == str(host.root)
    by_id = {layer.id: layer for layer in store.layers()}
    base, middle, top = layers
    assert by_id[top.folder].parents == (middle.folder, base.folder)
    assert by_id[base.folder].parents == ()
    assert by_id[top.folder].diff_id == top.diff_id
    assert by_id[top.folder].chain_id == top.chain_id
    assert by_id[base.folder].size == 1205
    assert by_id[top.folder].images == ["registry.test/app:1"]
    assert by_id[base.folder].held_by == [
        "image registry.test/app:1",
        "container web",
        f"layer {middle.folder[:12]}",
    ]
    kinds = sorted(layer.kind for layer in by_id.values())
    assert kinds == ["init", "layer", "layer", "layer", "scratch"]
    scratch = next(layer for layer in by_id.values() if layer.kind == "scratch")
    assert scratch.parents == (top.folder, middle.folder, base.folder)
    assert scratch.held_by == ["container web"]
    (image,) = store.images()
    assert image.names == ("registry.test/app:1",)
    assert image.platform == "windows(10.0.20348.2700)/amd64"
    assert image.layers == (base.folder, middle.folder, top.folder)
    assert image.created == 1709618828123456789
    assert store.findings(content=True) == []
    assert store.steps() == []


@pytest.mark.parametrize("place", ["", "ProgramData/docker", "programdata/Docker"])
def test_a_root_may_be_a_drive_or_the_data_root(tmp_path: Path, place: str) -> None:
    host = DockerHost(tmp_path / place if place else tmp_path)
    host.make_image(host.layer("base", FILES), "base:1")
    store = opened(tmp_path)
    assert [layer.kind for layer in store.layers()] == ["layer"]
    assert store.findings() == []


def test_a_root_may_be_the_home_itself_and_what_is_beside_it_is_found(host: DockerHost) -> None:
    host.make_image(host.layer("base", FILES), "base:1")
    assert opened(host.home).images()[0].names == ("base:1",)


def test_a_home_copied_alone_has_layers_and_no_orphans(
    host: DockerHost, layers: tuple[Layer, ...], tmp_path: Path
) -> None:
    host.home.rename(tmp_path / "copy")
    store = opened(tmp_path / "copy")
    assert sorted(layer.kind for layer in store.layers()) == ["init", "layer", "layer", "layer", "scratch"]
    assert store.findings(content=True) == []


def test_something_else_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "Files").mkdir()
    (tmp_path / "file").write_bytes(b"no disk")
    for root in (tmp_path, tmp_path / "file"):
        with open_host_stores(root) as stores:
            assert stores == ()
    with pytest.raises(NotFoundError), open_host_stores(tmp_path / "nothing"):
        pass


@pytest.mark.parametrize("text", ["null", "[]", None, " null\n"])
def test_a10_no_parents_may_be_null_an_empty_list_or_no_file(host: DockerHost, text: str | None) -> None:
    base = host.layer("base", FILES)
    host.make_image(base, "base:1")
    chain = host.path(base) / "layerchain.json"
    assert chain.read_bytes() == b"null"
    chain.unlink() if text is None else chain.write_text(text)
    assert findings(host.root) == []


@pytest.mark.parametrize(
    "shape",
    [
        "D:\\elsewhere\\windowsfilter\\{}",
        "\\\\?\\C:\\ProgramData\\docker\\windowsfilter\\{}",
        "C:/ProgramData/docker/windowsfilter/{}",
        "C:\\ProgramData\\docker/windowsfilter\\{}\\",
        "{}",
    ],
)
def test_a10_elements_are_found_by_their_last_component(host: DockerHost, shape: str) -> None:
    base = host.layer("base", FILES)
    top = host.layer("top", {"t": b"t"}, base)
    host.make_image(top, "app:1")
    (host.path(top) / "layerchain.json").write_text(json.dumps([shape.format(base.folder.upper())]))
    assert findings(host.root) == []
    assert {layer.id: layer.parents for layer in opened(host.root).layers()}[top.folder] == (base.folder,)


@pytest.mark.parametrize(
    "element", [f"{HOME}\\gone", "\\\\?\\Volume{0b8d7a44-0000-0000-0000-100000000000}\\", "", "C:\\", "..", "a\\.."]
)
def test_a10_an_element_that_is_not_there_is_named(host: DockerHost, element: str) -> None:
    base = host.layer("base", FILES)
    top = host.layer("top", {"t": b"t"}, base)
    host.make_image(top, "app:1")
    (host.path(top) / "layerchain.json").write_text(json.dumps([element, f"{HOME}\\{base.folder}"]))
    (finding,) = findings(host.root)
    assert (finding.code, finding.subject) == ("chain-parent-missing", top.folder)
    assert repr(element) in finding.detail


@pytest.mark.parametrize(
    "raw", [b"", b"\0" * 64, b"{", b"{}", b'"x"', b"[1]", b"[null]", b"\xef\xbb\xbfnull", b"[" * 100_000]
)
def test_a9_a_chain_that_is_no_list_of_paths_is_an_error_of_its_layer_alone(host: DockerHost, raw: bytes) -> None:
    base = host.layer("base", FILES)
    top = host.layer("top", {"t": b"t"}, base)
    host.make_image(top, "app:1")
    (host.path(top) / "layerchain.json").write_bytes(raw)
    (finding,) = findings(host.root)
    assert (finding.code, finding.subject, finding.severity) == ("chain-unreadable", top.folder, "error")
    assert len(opened(host.root).layers()) == 2


def test_a10_a_cycle_is_found_and_so_is_a_layer_twice(host: DockerHost) -> None:
    base = host.layer("base", FILES)
    one = host.layer("one", {"1": b"1"}, base)
    two = host.layer("two", {"2": b"2"}, one)
    host.make_image(two, "app:1")
    host.chain(one.folder, (two.folder, base.folder))
    assert {(finding.code, finding.subject) for finding in findings(host.root)} == {
        ("chain-cycle", one.folder),
        ("chain-cycle", two.folder),
    }
    host.chain(one.folder, (base.folder, base.folder))
    assert [(one.code, one.subject) for one in findings(host.root)] == [("chain-cycle", one.folder)]


def test_a10_more_than_125_layers_are_reported(tmp_path: Path) -> None:
    for count, expected in ((125, set()), (126, {"chain-too-long"})):
        host = DockerHost(tmp_path / str(count))
        layer = host.layer("0", {"f": b"0"})
        for number in range(1, count + 1):
            layer = host.layer(str(number), {"f": str(number).encode()}, layer)
        (host.path(layer) / "layerchain.json").read_bytes()
        # The image itself is one layer longer than the chain below its top.
        host.make_image(layer, "deep:1")
        found = {finding.code for finding in findings(host.root) if finding.subject == layer.folder}
        assert found == expected


def test_a_chain_that_leaves_a_layer_out_is_not_the_one_of_the_database(host: DockerHost) -> None:
    base = host.layer("base", FILES)
    middle = host.layer("middle", {"m": b"m"}, base)
    top = host.layer("top", {"t": b"t"}, middle)
    host.make_image(top, "app:1")
    host.chain(top.folder, (middle.folder,))
    (finding,) = findings(host.root)
    assert (finding.code, finding.subject) == ("chain-differs", top.folder)
    (host.path(middle) / "layerchain.json").write_text("null")
    assert codes(host.root) == ["chain-differs", "chain-differs"]


@pytest.mark.parametrize("name", ["layerID", "layerId", "LAYERID"])
def test_a8_an_alias_is_found_in_any_letter_case_and_taken_verbatim(host: DockerHost, name: str) -> None:
    base = host.layer("base", FILES)
    host.make_image(base, "base:1")
    other = "f" * 64
    (host.home / other).mkdir()
    (host.home / other / name).write_text(base.folder)
    (host.record(base) / "cache-id").write_text(other)
    store = opened(host.root)
    assert isinstance(store, DockerStore)
    assert store.home.resolve(other) == base.folder
    assert {layer.id: layer.kind for layer in store.layers()} == {base.folder: "layer", other: "orphan"}
    (host.home / other / name).write_text(base.folder + "\n")
    found = {(finding.code, finding.subject) for finding in findings(host.root)}
    assert ("alias-missing", other) in found
    assert ("layer-folder-missing", base.chain_id) in found


def test_a8_of_two_aliases_the_name_that_docker_reads_is_taken_and_both_are_reported(host: DockerHost) -> None:
    base = host.layer("base", FILES)
    host.make_image(base, "base:1")
    (host.path(base) / "layerID").write_text(base.folder)
    (host.path(base) / "layerId").write_text("0" * 64)
    (finding,) = findings(host.root)
    assert finding.code == "case-variants"
    assert "layerID" in finding.detail
    assert "layerId" in finding.detail


def test_a8_an_alias_that_cannot_be_read_is_an_error(host: DockerHost) -> None:
    base = host.layer("base", FILES)
    host.make_image(base, "base:1")
    (host.path(base) / "layerId").mkdir()
    assert codes(host.root) == ["alias-unreadable"]
    (host.path(base) / "layerId").rmdir()
    (host.path(base) / "layerId").write_bytes(b"\xff\xfe")
    assert codes(host.root) == ["alias-unreadable"]


def test_a7_an_id_with_a_path_in_it_stands_for_its_last_component(host: DockerHost) -> None:
    base = host.layer("base", FILES)
    store = opened(host.root)
    assert isinstance(store, DockerStore)
    assert store.home.resolve(f"..\\..\\{base.folder}") == base.folder
    assert store.home.resolve("") is None
    assert store.home.resolve("..") is None


def test_names_that_differ_in_letter_case_are_found_and_reported(host: DockerHost) -> None:
    base = host.layer("base", FILES)
    host.make_image(base, "base:1")
    rename_case(host.path(base) / "layerchain.json", "LayerChain.JSON")
    rename_case(host.path(base) / "Files", "FILES")
    rename_case(host.image / "repositories.json", "Repositories.json")
    rename_case(host.home, "WindowsFilter")
    store = opened(host.root)
    assert store.findings(content=True) == []
    assert store.images()[0].names == ("base:1",)
    (host.root / "WindowsFilter" / base.folder.upper()).mkdir()
    assert [(one.code, one.subject) for one in findings(host.root) if one.code == "case-variants"] == [
        ("case-variants", "WindowsFilter")
    ]


def test_a_folder_whose_removal_did_not_end_is_listed_as_that(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    top = layers[2]
    (host.home / ("9" * 64 + "-removing")).mkdir()
    host.path(top).rename(host.home / f"{top.folder}-removing")
    found = {(finding.code, finding.subject) for finding in findings(host.root)}
    assert ("half-removed", "9" * 64 + "-removing") in found
    assert ("half-removed", f"{top.folder}-removing") in found
    assert ("layer-folder-missing", top.chain_id) in found
    assert {layer.kind for layer in opened(host.root).layers() if layer.id.endswith("-removing")} == {"removing"}


def test_records_whose_writing_or_removal_did_not_end_are_found(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    record = host.layerdb / "sha256" / ("a" * 64 + "-0123456789-removing")
    record.mkdir()
    (host.layerdb / "tmp" / "write-set-123").mkdir()
    assert codes(host.root) == ["record-half-removed", "record-half-written"]


def test_folders_that_nobody_knows_are_orphans(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    host.layer("stray", {"s": b"s"})
    stray = opened(host.root)
    assert isinstance(stray, DockerStore)
    for record in list((host.layerdb / "sha256").iterdir()):
        if not any(record.name in layer.chain_id for layer in layers):
            for file in record.iterdir():
                file.unlink()
            record.rmdir()
    (host.home / ("8" * 64)).mkdir()
    (host.home / ("8" * 64) / "sandbox.vhdx").write_bytes(b"vhdxfile")
    assert codes(host.root) == ["orphan", "orphan"]


def test_a_layer_that_no_image_stands_on_is_reported(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    unused = host.layer("unused", {"u": b"u"}, layers[0])
    (finding,) = findings(host.root)
    assert (finding.code, finding.subject) == ("layer-unused", unused.chain_id)


@pytest.mark.parametrize(
    ("file", "data", "expected"),
    [
        ("diff", None, "layer-record-unreadable"),
        ("diff", b"sha256:zz", "layer-record-unreadable"),
        ("diff", b"sha256:" + b"0" * 64, "chain-id-wrong"),
        ("parent", b"sha256:" + b"0" * 64, "chain-id-wrong"),
        ("size", b"many", "layer-record-unreadable"),
        ("cache-id", b"../../etc", "layer-record-unreadable"),
        ("cache-id", b"", "layer-record-unreadable"),
        ("cache-id", b"7" * 64, "layer-folder-missing"),
        ("descriptor.json", b"{", "layer-record-unreadable"),
    ],
)
def test_a_record_that_is_damaged_is_an_error(
    host: DockerHost, layers: tuple[Layer, ...], file: str, data: bytes | None, expected: str
) -> None:
    path = host.record(layers[2]) / file
    path.unlink() if data is None else path.write_bytes(data)
    found = [(finding.code, finding.subject) for finding in findings(host.root)]
    assert (expected, layers[2].chain_id) in found


def test_docker_ignores_white_space_around_what_it_keeps_in_records(
    host: DockerHost, layers: tuple[Layer, ...]
) -> None:
    for name in ("diff", "cache-id", "parent"):
        path = host.record(layers[2]) / name
        path.write_text(f"{path.read_text()}\n")
    assert findings(host.root) == []


def test_images_that_are_damaged_or_lack_layers_are_errors(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    content = host.image / "imagedb" / "content" / "sha256"
    (image,) = list(content.iterdir())
    raw = image.read_bytes()
    image.write_bytes(raw + b" ")
    assert codes(host.root) == ["image-id-wrong"]
    image.write_bytes(raw[:-5])
    assert "image-unreadable" in codes(host.root)
    image.write_bytes(raw)
    host.repositories["gone"] = {"gone:1": "sha256:" + "1" * 64}
    host.write_names()
    assert [(one.code, one.subject) for one in findings(host.root)] == [("tag-dangling", "gone:1")]
    (host.image / "repositories.json").write_bytes(b"\0" * 32)
    assert codes(host.root) == ["repositories-unreadable"]


def test_an_image_whose_layer_has_no_record_is_an_error(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    record = host.record(layers[2])
    record.rename(host.root / "taken")
    found = {finding.code for finding in findings(host.root)}
    assert found == {"image-layer-missing", "mount-parent-missing", "orphan"}


def test_a_container_without_its_layer_or_a_mount_without_its_container(
    host: DockerHost, layers: tuple[Layer, ...]
) -> None:
    (identity,) = [path.name for path in (host.layerdb / "mounts").iterdir()]
    scratch = host.home / identity
    for file in scratch.iterdir():
        file.unlink()
    scratch.rmdir()
    assert [(one.code, one.subject) for one in findings(host.root)] == [("mount-layer-missing", identity)]
    for file in (host.root / "containers" / identity).iterdir():
        file.unlink()
    (host.root / "containers" / identity).rmdir()
    assert codes(host.root) == ["mount-layer-missing", "mount-without-container"]


def test_a_layer_without_its_tree_is_an_error(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    rename_case(host.path(layers[2]) / "Files", "Elsewhere")
    assert "layer-content-missing" in codes(host.root)


def test_links_lead_nowhere(host: DockerHost, layers: tuple[Layer, ...], tmp_path: Path) -> None:
    (tmp_path / "outside" / "Files").mkdir(parents=True)
    (tmp_path / "outside" / "layerchain.json").write_text("{")
    os.symlink(tmp_path / "outside", host.home / ("6" * 64))
    os.symlink(tmp_path / "outside" / "layerchain.json", host.path(layers[0]) / "layerID")
    found = {(finding.code, finding.subject) for finding in findings(host.root)}
    assert found == {("link-in-store", f"windowsfilter/{'6' * 64}"), ("alias-unreadable", layers[0].folder)}


def test_a_pipe_where_a_file_belongs_is_not_waited_for(host: DockerHost) -> None:
    base = host.layer("base", FILES)
    host.make_image(base, "base:1")
    (host.path(base) / "layerchain.json").unlink()
    os.mkfifo(host.path(base) / "layerchain.json")
    assert codes(host.root) == ["chain-unreadable"]


def test_nothing_in_the_store_is_changed_by_looking_at_it(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    def state() -> list[tuple[str, int, int]]:
        return sorted((str(path), path.lstat().st_mtime_ns, path.lstat().st_size) for path in host.root.rglob("*"))

    before = state()
    for path in host.root.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    store = opened(host.root)
    store.layers(), store.images(), store.findings(content=True), store.steps(), store.events(), store.usage()
    for path in host.root.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert state() == before


def test_usage_counts_a_file_with_two_names_once(host: DockerHost, layers: tuple[Layer, ...]) -> None:
    base, middle, _ = layers
    os.link(host.path(base) / "Files" / "app.txt", host.path(middle) / "Files" / "linked.txt")
    used = {one.layer.id: one for one in opened(host.root).usage()}
    chain = len((host.path(middle) / "layerchain.json").read_bytes())
    assert used[base.folder].files == 3
    assert used[middle.folder].files == 3
    both = used[base.folder].size + used[middle.folder].size
    assert both == 1205 + len(b"null") + 1 + chain


class Unreadable(FolderFiles):
    """A folder of which one folder cannot be listed, as when a copy was made by somebody else."""

    def __init__(self, root: Path, path: str, error: WclayerError) -> None:
        super().__init__(root)
        self.path = path
        self.error = error

    def entries(self, path: str) -> list[HostEntry]:
        if path == self.path:
            raise self.error
        return super().entries(path)


@pytest.mark.parametrize("error", [StoreError("x: Permission denied"), FormatError("a damaged folder")])
def test_a_folder_that_cannot_be_read_is_a_finding_and_the_rest_is_looked_at(
    host: DockerHost, layers: tuple[Layer, ...], error: WclayerError
) -> None:
    middle, top = layers[1], layers[2]
    files = Unreadable(host.root, f"windowsfilter/{middle.folder}", error)
    (store,) = stores_in(HostTree(files))
    found = {(finding.code, finding.subject) for finding in store.findings()}
    assert ("unreadable", middle.folder) in found
    assert {layer.id for layer in store.layers()} >= {middle.folder, top.folder}
    record = Unreadable(host.root, f"image/windowsfilter/layerdb/{top.chain_id.replace(':', '/')}", error)
    (store,) = stores_in(HostTree(record))
    assert ("layer-record-unreadable", top.chain_id) in {(one.code, one.subject) for one in store.findings()}
