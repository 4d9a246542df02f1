"""An image becomes layer folders: all of them or an error, one at a time or several."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.image.stacks import data_of, file, folder, gone, link, make_image, stream, tar
from tests.open_files import open_files
from wclayer.errors import DigestMismatchError, FormatError, IntegrityError, NotFoundError, StoreError, UnsafeEntryError
from wclayer.formats.folder import LayerFolder
from wclayer.image.progress import Progress
from wclayer.image.target import open_view
from wclayer.image.unpack import UnpackOptions, unpack
from wclayer.image.unpacked import UnpackedImage
from wclayer.model import LayerItem

BASE: list[LayerItem] = [folder("Files"), file("Files/a", b"base"), file("Files/x" * 3, b"x" * 50_000)]


def fill(number: int) -> list[LayerItem]:
    """A layer with enough to take a moment."""
    return [file(f"Files/fill{number}/{count}", os.urandom(2000)) for count in range(200)]


def linked_image(layout: Path, count: int = 5) -> str:
    """An image in which each layer links into the one below it."""
    layers = [BASE]
    for number in range(1, count):
        below = "Files/a" if number == 1 else f"Files/link{number - 1}"
        layers.append([*fill(number), link(f"Files/link{number}", below)])
    return make_image(layout, *layers)


def tree(folder: Path) -> dict[str, str]:
    """Everything below ``folder``, by content; databases by name only, for they hold the time of nothing but pages."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("layer.db", "layerchain.json", "image.json")
    }


def test_there_is_a_folder_for_each_layer_and_the_documents_of_the_image(sample: str, tmp_path: Path) -> None:
    result = unpack(sample, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".wclayer.lock",
        "config.json",
        "image.json",
        "layerchain.json",
        "layers",
        "manifest.json",
    ]
    layers = [layer.path for layer in result.layers]
    assert [layer.name for layer in layers] == [str(layer.chain_id).partition(":")[2] for layer in result.layers]
    assert result.chain == layers[::-1]
    assert json.loads((tmp_path / "out/layerchain.json").read_bytes()) == [str(path) for path in layers[::-1]]
    for number, layer in enumerate(layers):
        with LayerFolder(layer) as opened:
            assert list(opened.parent_paths) == layers[:number][::-1]
            assert opened.facts["diff_id"] == str(result.layers[number].diff_id)
            assert opened.facts["chain_id"] == result.layers[number].chain_id
    manifest = (tmp_path / "out/manifest.json").read_bytes()
    assert f"sha256:{hashlib.sha256(manifest).hexdigest()}" == str(result.digest)


@pytest.mark.parametrize("jobs", [1, 2, 3, 8])
def test_links_across_layers_resolve_however_many_are_written_at_once(jobs: int, tmp_path: Path) -> None:
    reference = linked_image(tmp_path / "layout")
    result = unpack(reference, tmp_path / "out", UnpackOptions(jobs=jobs))
    assert [layer.reused for layer in result.layers] == [False] * 5
    with open_view(str(tmp_path / "out")) as view:
        for number in range(1, 5):
            assert data_of(view, f"Files/link{number}") == b"base"
    unpack(reference, tmp_path / "other", UnpackOptions(jobs=1))
    assert tree(tmp_path / "out") == tree(tmp_path / "other")


def broken(layout: Path, *bad: int) -> str:
    """An image in which the layers ``bad`` cannot be unpacked."""
    layers: list[bytes | list[LayerItem]] = []
    for number in range(5):
        items = [*fill(number), file(f"Files/{number}")]
        if number in bad:
            items.append(link(f"Files/bad{number}", f"Files/nowhere{number}"))
        layers.append(items)
    return make_image(layout, *layers)


@pytest.mark.parametrize("jobs", [1, 3, 5])
@pytest.mark.parametrize("bad", [(0,), (2,), (4,), (1, 2), (1, 4)], ids=str)
def test_the_lowest_bad_layer_is_the_error_and_those_below_it_stay(
    bad: tuple[int, ...], jobs: int, tmp_path: Path
) -> None:
    reference = broken(tmp_path / "layout", *bad)
    before = threading.active_count()
    with pytest.raises(UnsafeEntryError, match=f"nowhere{bad[0]}") as caught:
        unpack(reference, tmp_path / "out", UnpackOptions(jobs=jobs))
    assert threading.active_count() == before
    assert (caught.value.image, caught.value.path) == (reference, f"Files/bad{bad[0]}")
    assert f"{bad[0] + 1} of 5" in str(caught.value)
    layers = tmp_path / "out" / "layers"
    assert len(list(layers.iterdir()) if layers.exists() else []) == bad[0]
    with pytest.raises(NotFoundError):
        open_view(str(tmp_path / "out"))


def test_another_run_takes_what_is_complete(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    reference = linked_image(layout)
    blobs = {path: path.read_bytes() for path in (layout / "blobs/sha256").iterdir()}
    manifest = json.loads((layout / "index.json").read_bytes())["manifests"][0]["digest"].partition(":")[2]
    third = json.loads((layout / "blobs/sha256" / manifest).read_bytes())["layers"][2]["digest"].partition(":")[2]
    path = layout / "blobs/sha256" / third
    path.write_bytes(blobs[path][:-9] + b"x" + blobs[path][-8:])
    with pytest.raises(IntegrityError):
        unpack(reference, tmp_path / "out")
    with pytest.raises(NotFoundError, match="not unpacked to its end"):
        open_view(str(tmp_path / "out"))
    path.write_bytes(blobs[path])
    result = unpack(reference, tmp_path / "out")
    assert [layer.reused for layer in result.layers] == [True, True, False, False, False]
    assert [layer.reused for layer in unpack(reference, tmp_path / "out").layers] == [True] * 5


def test_a_failure_leaves_nothing_of_its_own(tmp_path: Path) -> None:
    reference = make_image(tmp_path / "layout", [link("Files/a", "Files/nowhere")])
    with pytest.raises(UnsafeEntryError):
        unpack(reference, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "there").mkdir()
    with pytest.raises(UnsafeEntryError):
        unpack(reference, tmp_path / "there")
    assert list((tmp_path / "there").iterdir()) == []
    unpack(make_image(tmp_path / "layout", BASE), tmp_path / "there")


def test_a_folder_that_holds_something_else_is_left_alone(sample: str, tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"x")
    with pytest.raises(StoreError, match="it holds precious"):
        unpack(sample, tmp_path)
    unpack(make_image(tmp_path / "layout", BASE), tmp_path / "out")
    with pytest.raises(StoreError, match="holds another image"):
        unpack(sample, tmp_path / "out")


def test_a_missing_blob_is_said_before_anything_is_written(tmp_path: Path) -> None:
    reference = linked_image(tmp_path / "layout")
    largest = max((tmp_path / "layout/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    largest.unlink()
    with pytest.raises(NotFoundError, match="is not here"):
        unpack(reference, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_is_odd_is_counted_listed_and_refused_when_strict(tmp_path: Path) -> None:
    reference = make_image(tmp_path / "layout", [file("Files/a"), file("Files/A"), gone("Hives/x")])
    result = unpack(reference, tmp_path / "out")
    assert result.notices == {"case-collision": 1, "tombstone-outside": 1}
    assert sorted(notice.path for notice in result.layers[0].listed) == ["Files/A", "Hives/x"]
    again = unpack(reference, tmp_path / "out")
    assert (again.notices, again.layers[0].reused) == (result.notices, True)
    with pytest.raises(FormatError, match="--strict"):
        unpack(reference, tmp_path / "strict", UnpackOptions(strict=True))
    with pytest.raises(FormatError, match="an earlier run kept it"):
        unpack(reference, tmp_path / "out", UnpackOptions(strict=True))


def test_a_stream_apart_from_its_file_is_told_once(tmp_path: Path) -> None:
    items: list[LayerItem] = [
        file("Files/a"),
        stream("Files/a", "near", b"1"),
        file("Files/b"),
        stream("Files/a", "far", b"2"),
    ]
    result = unpack(make_image(tmp_path / "layout", items), tmp_path / "out")
    assert result.notices == {"stream-apart": 1}


def test_a_bare_layer_tar_is_an_image_of_one_layer(tmp_path: Path) -> None:
    (tmp_path / "layer.tar").write_bytes(tar(BASE))
    result = unpack(str(tmp_path / "layer.tar"), tmp_path / "out")
    assert (result.platform, result.digest, len(result.layers)) == (None, None, 1)
    assert result.layers[0].chain_id == str(result.layers[0].diff_id)
    again = unpack(str(tmp_path / "layer.tar"), tmp_path / "out")
    assert again.layers[0].reused
    (tmp_path / "layer.tar").write_bytes(tar([file("Files/other")]))
    with pytest.raises(StoreError, match="holds another layer"):
        unpack(str(tmp_path / "layer.tar"), tmp_path / "out")


def test_a_damaged_description_is_an_error(tmp_path: Path) -> None:
    unpack(make_image(tmp_path / "layout", BASE), tmp_path / "out")
    path = tmp_path / "out" / "image.json"
    for text in (
        "",
        "[]",
        "{}",
        '{"layers": 3}',
        '{"layers": [{"folder": "../x", "diff_id": "a"}], "reference": ""}',
        "[" * 10**5,
    ):
        path.write_text(text)
        with pytest.raises(FormatError, match="unpack the image again"):
            UnpackedImage.load(tmp_path / "out")


def test_moved_folders_are_found(sample: str, tmp_path: Path) -> None:
    result = unpack(sample, tmp_path / "out")
    top = result.chain[0].name
    with open_view(str(tmp_path / "out")) as view:
        expected = [found.path for found in view.walk(view.root)]
    shutil.move(tmp_path / "out", tmp_path / "moved")
    for target in (tmp_path / "moved", tmp_path / "moved" / "layers" / top):
        with open_view(str(target)) as view:
            assert [found.path for found in view.walk(view.root)] == expected
            assert data_of(view, "Files/Sample/Links/of the base.txt").startswith(b"This image")


class _Watcher:
    """Counts, and does something when a number of bytes has gone by."""

    def __init__(self, act: Callable[[], None] = lambda: None) -> None:
        self.act = act
        self.parts = self.begun = self.ended = self.done = 0
        self.total: int | None = 0

    def expect(self, parts: int, total: int | None) -> None:
        self.parts += parts
        self.total = None if total is None or self.total is None else self.total + total

    def begin(self, part: str) -> None:  # noqa: ARG002
        self.begun += 1

    def advance(self, part: str, count: int) -> None:  # noqa: ARG002
        self.done += count
        self.act()

    def end(self, part: str) -> None:  # noqa: ARG002
        self.ended += 1


def test_progress_counts_every_layer_and_every_byte(sample: str, tmp_path: Path) -> None:
    for _ in range(2):
        watcher = _Watcher()
        checked: Progress = watcher
        unpack(sample, tmp_path / "out", progress=checked)
        assert (watcher.parts, watcher.begun, watcher.ended) == (3, 3, 3)
        assert watcher.done == watcher.total


@pytest.mark.parametrize("jobs", [1, 3])
def test_an_interruption_stops_all_and_leaves_no_half_layer(jobs: int, tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    reference = linked_image(tmp_path / "layout")
    with pytest.raises(KeyboardInterrupt):
        unpack(reference, tmp_path / "out", UnpackOptions(jobs=jobs), _Watcher(interrupt))
    assert not list((tmp_path / "out").rglob("layer.db") if (tmp_path / "out").exists() else ())


def test_two_processes_take_turns(tmp_path: Path) -> None:
    reference = linked_image(tmp_path / "layout")
    errors: list[BaseException] = []

    def run() -> None:
        try:
            unpack(reference, tmp_path / "out")
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert len(unpack(reference, tmp_path / "out").layers) == 5


def test_a_wrong_digest_is_an_error_that_names_the_layer(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    reference = make_image(layout, BASE, compression="none")
    blob = max((layout / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    data = blob.read_bytes()
    blob.write_bytes(data.replace(b"base", b"BASE"))
    with pytest.raises(DigestMismatchError) as caught:
        unpack(reference, tmp_path / "out")
    assert caught.value.layer is not None
    assert caught.value.layer.startswith("1 of 1")


@pytest.fixture(autouse=True)
def _nothing_is_left_open() -> Iterator[None]:
    before = open_files()
    yield
    assert len(open_files()) <= len(before) + 1
