"""What is measured with: the same options give the same layer, and it is a layer as Windows has them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bench.content import Content, synthetic
from bench.corpus import Shape, items, make_corpus, make_layout
from bench.tree import nodes
from wclayer.formats.tar import TarLayerReader
from wclayer.model import Entry, HardLink, Notices, Tombstone
from wclayer.ntfs.names import fold
from wclayer.oci import open_image, open_layer

ROOT = Path(__file__).parent.parent.parent
SHAPE = Shape(1200, 3_000_000)


@pytest.fixture(scope="module")
def content() -> Content:
    return synthetic(1, 1 << 20)


def test_the_same_options_give_the_same_layer_in_any_process(tmp_path: Path) -> None:
    digests = set()
    for hash_seed in ("1", "2"):
        folder = tmp_path / hash_seed
        options = ["--files", "120", "--bytes", "200000", "--content", "synthetic", "--compression", "none"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-m", "bench.corpus", str(folder), *options]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        digests.add(json.loads((folder / "corpus.json").read_text())["layers"][0]["diff_id"])
    assert len(digests) == 1


def test_another_seed_gives_another_layer(tmp_path: Path, content: Content) -> None:
    first, second = (
        make_layout(tmp_path / str(seed), 120, 200_000, "none", seed=seed, content=content) for seed in (1, 2)
    )
    assert first != second


def test_no_two_names_are_one_to_windows_and_folders_come_before_what_is_in_them() -> None:
    seen: set[str] = set()
    for node in nodes(SHAPE):
        name = fold(node.path)
        assert name not in seen
        parent = node.path.rpartition("/")[0]
        assert not parent or fold(parent) in seen
        if node.kind == "link":
            assert fold(node.target) in seen
        seen.add(name)


def test_a_layer_has_the_files_the_bytes_and_all_that_ntfs_knows(content: Content) -> None:
    kinds: Counter[str] = Counter()
    size = 0
    for item in items(SHAPE, content):
        kinds[type(item).__name__] += 1
        if isinstance(item, Entry):
            assert item.metadata.security_descriptor
            kinds["attributes"] += bool(item.metadata.extended_attributes)
            kinds["reparse"] += item.metadata.reparse is not None
            kinds["data"] += item.data is not None
            size += item.data.size if item.data else 0
    assert kinds["data"] + kinds["reparse"] + kinds[HardLink.__name__] == SHAPE.files
    assert kinds[HardLink.__name__] == SHAPE.files // 5
    assert 0.99 * SHAPE.size < size <= SHAPE.size
    assert kinds[Tombstone.__name__]
    assert kinds["attributes"] > 100
    assert kinds["reparse"]
    assert kinds["AlternateStream"]


def test_every_stream_yields_as_much_as_it_says(content: Content) -> None:
    for size in (0, 1, 63, 64, 65, len(content.programs) + 5, 3 * len(content.programs)):
        for program in (True, False):
            assert sum(map(len, content.source(7, size, program=program)(size))) == size


def test_the_layers_of_an_image_are_read_back_with_nothing_odd_in_them(tmp_path: Path, content: Content) -> None:
    facts = make_corpus(tmp_path / "layout", SHAPE, "gzip", content, layers=2)
    assert facts["names"]["file"] + facts["names"]["link"] + facts["names"]["reparse"] == SHAPE.files
    with open_image(f"oci:{tmp_path / 'layout'}:bench") as image:
        assert [str(layer.diff_id) for layer in image.layers] == [layer["diff_id"] for layer in facts["layers"]]
        entries = 0
        for layer in image.layers:
            notices = Notices()
            with open_layer(layer.open(), diff_id=layer.diff_id) as stream:
                for item in TarLayerReader(stream, notices=notices):
                    entries += type(item).__name__ != "AlternateStream"
                stream.finish()
            assert not notices.counts
    assert entries == facts["entries"]
