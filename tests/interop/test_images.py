"""Images that other programs make or copy are unpacked, and their layers written again byte for byte."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from tests.interop.trees import expected, make_tree, shown
from tests.peers import require
from wclayer.image.exporting import export_layer
from wclayer.image.sample import make_sample
from wclayer.image.unpack import UnpackResult, unpack
from wclayer.image.verifying import verify


def called(program: str, *arguments: object) -> str:
    command = [require(program), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def copy(*arguments: object) -> None:
    called("skopeo", "--override-os", "windows", "--insecure-policy", "copy", *arguments)


def unpacked_and_back(reference: str, work: Path) -> UnpackResult:
    """Unpack and verify an image; every layer is written again and is what the image says it is."""
    result = unpack(reference, work / "out")
    assert verify(str(work / "out")).ok
    for number, layer in enumerate(result.layers):
        export_layer(work / "out", str(work / "layer.tar"), layer=number, form="original")
        assert f"sha256:{hashlib.sha256((work / 'layer.tar').read_bytes()).hexdigest()}" == str(layer.diff_id)
    return result


@pytest.mark.parametrize(
    "target",
    ["oci:{}:t", "oci-archive:{}", "oci-archive:{}:t", "docker-archive:{}", "docker-archive:{}:app:1", "dir:{}"],
)
def test_what_skopeo_copies_is_the_same_image(target: str, tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "layout", "demo")
    reference = target.format(tmp_path / "copy")
    source = f"oci:{sample.layout}:demo"
    if target.startswith("docker-archive:"):  # skopeo cannot bring zstd there
        gzipped = f"oci:{tmp_path / 'gzipped'}:demo"
        copy("--dest-compress", "--dest-compress-format", "gzip", source, gzipped)
        source = gzipped
    copy(source, reference)
    result = unpacked_and_back(reference, tmp_path)
    assert [layer.diff_id for layer in result.layers] == list(sample.image.diff_ids)
    assert shown(tmp_path / "out", None) == shown(f"oci:{sample.layout}:demo", None)
    assert shown(reference, None) == shown(tmp_path / "out", None)


def test_what_skopeo_compresses_anew_has_the_same_layers(tmp_path: Path) -> None:
    sample = make_sample(tmp_path / "layout", "demo")
    for form in ("gzip", "zstd"):
        work = tmp_path / form
        work.mkdir()
        options = ("--dest-compress", "--dest-compress-format", form, "--dest-compress-level", 1)
        source = f"oci:{sample.layout}:demo"
        copy(*options, source, f"oci:{work}/l:t")
        result = unpacked_and_back(f"oci:{work}/l:t", work)
        assert [layer.diff_id for layer in result.layers] == list(sample.image.diff_ids)


def test_an_image_that_umoci_builds_is_unpacked(tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    tree = make_tree(tmp_path / "tree", "long")
    for whiteout in tree.rglob(".wh.*"):
        whiteout.unlink()  # umoci makes them itself
    reference = f"{layout}:t"
    called("umoci", "init", "--layout", layout)
    called("umoci", "new", "--image", reference)
    called("umoci", "config", "--image", reference, "--os", "windows", "--architecture", "amd64")
    called("umoci", "insert", "--image", reference, tree / "Files", "/Files")
    called("umoci", "insert", "--image", reference, tree / "Hives", "/Hives")
    called("umoci", "insert", "--image", reference, "--whiteout", "/Files/Windows/empty")
    result = unpacked_and_back(f"oci:{reference}", tmp_path)
    assert (len(result.layers), result.platform) == (3, "windows/amd64")
    wanted = expected(tree)
    del wanted["Files/Windows/empty"]
    assert shown(tmp_path / "out", None) == wanted


@pytest.mark.skipif(os.geteuid() != 0, reason="buildah needs root to copy into a container that does not run")
def test_an_image_that_buildah_builds_is_unpacked(tmp_path: Path) -> None:
    storage = ("--storage-driver", "vfs", "--root", tmp_path / "root", "--runroot", tmp_path / "run")
    first, second = make_tree(tmp_path / "tree", "long"), tmp_path / "second"
    for whiteout in first.rglob(".wh.*"):
        whiteout.unlink()
    (second / "Files" / "Windows").mkdir(parents=True)
    (second / "Files" / "Windows" / "new").write_bytes(b"of the second layer")
    layout = f"oci:{tmp_path / 'layout'}"
    base = called("buildah", *storage, "from", "--os", "windows", "--arch", "amd64", "scratch")
    called("buildah", *storage, "copy", base, first, "/")
    called("buildah", *storage, "commit", "--timestamp", "1600000000", base, f"{layout}:base")
    called("buildah", *storage, "commit", "--timestamp", "1600000000", base, "localhost/base:1")
    top = called("buildah", *storage, "from", "--pull-never", "--os", "windows", "localhost/base:1")
    called("buildah", *storage, "copy", top, second, "/")
    mounted = Path(called("buildah", *storage, "mount", top))
    (mounted / "Files" / "zeros").unlink()
    called("buildah", *storage, "unmount", top)
    called("buildah", *storage, "config", "--os", "windows", "--cmd", "cmd.exe", top)
    called("buildah", *storage, "commit", "--timestamp", "1600000000", top, f"{layout}:top")
    result = unpacked_and_back(f"{layout}:top", tmp_path)
    assert (len(result.layers), result.platform) == (2, "windows/amd64")
    wanted = expected(first) | {name: seen for name, seen in expected(second).items() if seen.kind == "file"}
    del wanted["Files/zeros"]
    assert shown(tmp_path / "out", None) == wanted
