"""``wclayer cim``: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.image.stacks import file, folder, folders, gone, make_image

EXPERIMENTAL = "wclayer: writing CIM images is experimental"


@pytest.fixture
def image(tmp_path: Path) -> str:
    base = [*folders("Files", "Files/d"), file("Files/d/f", b"data"), file("Files/gone", b"gone")]
    return make_image(tmp_path / "layout", base, [gone("Files/gone"), file("Files/new", b"new")], tag="v1")


@pytest.fixture
def cims(image: str, tmp_path: Path, run: Run) -> Path:
    """The folder that the image was converted to."""
    assert run("convert", image, f"cim:{tmp_path / 'cims'}", "--quiet").code == 0
    return tmp_path / "cims"


@pytest.fixture
def cim(cims: Path) -> Path:
    return cims / "cim-layers" / "0.cim"


def test_an_image_is_converted_and_every_verb_looks_into_it(run: Run, image: str, tmp_path: Path) -> None:
    ended = run("convert", image, f"cim:{tmp_path / 'cims'}", "--format", "json")
    assert ended.code == 0
    assert ended.document["kind"] == "cim"
    assert len(ended.document["layers"]) == 2
    assert ended.err.startswith(EXPERIMENTAL)
    place = f"cim:{tmp_path / 'cims'}"
    assert run("ls", place).out.splitlines() == ["d\\", "new"]
    assert run("ls", place, "--layer", "1").out.splitlines() == ["gone (deleted)", "new"]
    assert run("stat", place, "C:/new", "--format", "json").document["size"] == 3
    assert run("cat", place, "D/F").data == b"data"
    assert run("verify", place).code == 0
    assert run("diff", place, image, "--times").code == 0
    assert run("extract", place, "C:/d", "-o", tmp_path / "x").code == 0
    assert (tmp_path / "x" / "d" / "f").read_bytes() == b"data"
    assert run("unpack", place, tmp_path / "out", "--format", "json").document["layers"][0]["path"].endswith("layer-0")
    assert run("verify", tmp_path / "out").code == 0
    assert run("convert", place, f"oci:{tmp_path / 'back'}:v1").code == 0
    assert run("diff", image, f"oci:{tmp_path / 'back'}:v1").code == 0


def test_ls(run: Run, cim: Path) -> None:
    ended = run("cim", "ls", cim)
    assert (ended.code, ended.out, ended.err) == (0, "Files\\\n", "")
    assert run("cim", "ls", cim, "files", "-R").out.splitlines() == ["Files\\d", "Files\\d\\f", "Files\\gone"]
    (line,) = run("cim", "ls", "-l", cim, "Files/d").out.splitlines()
    assert line.split() == ["--A---", "file", "4", "2020-01-01T00:00:00.0000000Z", "f"]
    document = run("cim", "ls", cim, "Files", "--format", "json").document
    assert document["schema"] == "wclayer.cim.ls/1"
    assert [entry["path"] for entry in document["entries"]] == ["Files/d", "Files/gone"]
    (line,) = run("cim", "ls", cim, "-d", "--format", "jsonl").out.splitlines()
    assert json.loads(line)["kind"] == "directory"
    assert run("cim", "ls", cim, "nowhere").code == 3
    assert run("cim", "ls", cim.parent / "9.cim").code == 3


def test_a_folder_of_images_is_its_top_one(run: Run, cims: Path) -> None:
    assert run("cim", "ls", cims, "Files").out.splitlines() == ["d\\", "new"]


def test_stat_and_cat(run: Run, cim: Path) -> None:
    ended = run("cim", "stat", cim, "Files\\d\\f")
    assert ended.code == 0
    assert "Path:                Files\\d\\f\n" in ended.out
    assert "Size:                4\n" in ended.out
    assert "Creation:            not said\n" in ended.out
    document = run("cim", "stat", cim, "Files/d/f", "--format", "json").document
    assert (document["schema"], document["names"]) == ("wclayer.cim.stat/1", ["Files/d/f"])
    assert run("cim", "cat", cim, "Files/d/f").data == b"data"
    assert run("cim", "cat", cim, "Files/d/f", "--stream", "x").code == 3
    assert run("cim", "cat", cim, "Files").code == 2


def test_info_and_usage(run: Run, cims: Path, cim: Path) -> None:
    ended = run("cim", "info", cims / "cim-layers" / "1.cim")
    assert ended.code == 0
    assert "Fork of:             0.cim\n" in ended.out
    document = run("cim", "info", cim, "--format", "json").document
    assert (document["schema"], document["form"]) == ("wclayer.cim.info/1", "files")
    assert (document["files"], document["forks"], document["version"]) == (2, ["1.cim"], "2.0")
    document = run("cim", "usage", cim, cims / "cim-layers" / "1.cim", "--format", "json").document
    assert document["usage"] == sum(one["usage"] for one in document["images"]) > 0
    assert run("cim", "usage", cim).out.endswith(f"  {cim}\n")
    assert len(run("cim", "usage", cims).out.splitlines()) == 2


def test_verify(run: Run, cims: Path, cim: Path) -> None:
    ended = run("cim", "verify", cim, cims / "cim-layers" / "1.cim")
    assert (ended.code, ended.out) == (0, f"ok   {cim}\nok   {cims / 'cim-layers' / '1.cim'}\n")
    assert run("cim", "verify", cims).out == ended.out
    raw = bytearray(cim.read_bytes())
    raw[56:64] = b"\xff" * 8
    cim.write_bytes(raw)
    ended = run("cim", "verify", cim)
    assert ended.code == 6
    assert ended.out.startswith(f"BAD  {cim}\n     BAD  ")
    document = run("cim", "verify", cim, "--format", "json").document
    assert (document["schema"], document["ok"]) == ("wclayer.cim.verify/1", False)
    assert document["images"][0]["findings"][0]["severity"] == "error"
    assert run("verify", f"cim:{cims}").code == 6
    assert run("cim", "ls", cim).code == 6
    assert run("cim", "verify", cims / "nowhere.cim").code == 3


def test_what_is_odd_is_wrong_when_one_is_strict(run: Run, cims: Path, cim: Path) -> None:
    next((cims / "cim-layers").glob("objectid_*")).unlink()
    codes = [run("cim", "verify", *(cims / "cim-layers").glob("*.cim"), *more).code for more in ((), ("--strict",))]
    assert codes == [0, 6]


def test_dump(run: Run, cim: Path) -> None:
    rows = [json.loads(line) for line in run("cim", "dump", cim).out.splitlines()]
    assert [row["path"] for row in rows] == ["", "Files", "Files\\d", "Files\\d\\f", "Files\\gone"]
    wanted = "path fileid parentfileid baseregion dir attributes flags reparsetag creation lastwrite change lastaccess"
    wanted += (
        " size sha256 streamtype sparse dataregion dataoffset sdoffset sd ea reparse streams nlinks entrysize tail"
    )
    assert set(rows[0]) == set(wanted.split())
    assert rows[3]["sha256"] == "3a6eb0790f39ac87c94f3856b2dd2c5d110e6811602261a9a923d3bb23adc8b7"
    assert json.loads(run("cim", "dump", cim, "--no-contents").out.splitlines()[3])["sha256"] is None
    assert run("cim", "dump", cim, "--format", "json").document["entries"] == rows


def test_making_says_that_it_is_experimental(run: Run, image: str, tmp_path: Path, cims: Path) -> None:
    layer = tmp_path / "layer.tar"
    assert run("convert", f"cim:{cims / 'cim-layers' / '0.cim'}", layer).code == 0
    made = tmp_path / "made"
    made.mkdir()
    calls = [
        ["create", made / "a.cim", layer],
        ["fork", made / "b.cim", made / "a.cim", layer],
        ["import", layer, made / "cim-layers" / "0.cim", "--no-processing"],
        ["merge", made / "c.cim", image],
    ]
    for call in calls:
        ended = run("cim", *call)
        assert ended.code == 0, ended.err
        assert [line.startswith(EXPERIMENTAL) for line in ended.err.splitlines()].count(True) == 1
        assert ended.out.startswith(str(made))
    assert run("diff", f"cim:{made / 'c.cim'}", image).code == 0
    document = run("cim", "create", made / "d.cim", layer, "--format", "json", "--quiet", "--compact").document
    assert document["schema"] == "wclayer.cim.create/1"
    assert document["counts"]["files"] == 2
    ended = run("cim", "create", made / "a.cim", layer, "--quiet")
    assert (ended.code, ended.data) == (8, b"")
    assert run("cim", "create", made / "a.cim", layer, "--replace", "--quiet").code == 8  # it has a fork
    assert run("cim", "fork", tmp_path / "b.cim", made / "a.cim", layer, "-q").code == 2
    assert run("cim", "import", layer, made / "cim-layers" / "1.cim", "-q").code == 3  # no hives
    assert run("cim", "create", made / "e.cim", image, "-q").code == 2  # two layers
    assert run("cim", "create", made / "e.cim", tmp_path / "nowhere.tar", "-q").code == 3


def test_extract(run: Run, cim: Path, tmp_path: Path) -> None:
    ended = run("cim", "extract", cim, "-o", tmp_path / "x", "--format", "json")
    assert (ended.code, ended.document["files"]) == (0, ["Files/d/f", "Files/gone"])
    assert run("cim", "extract", cim, "Files/d", "-o", tmp_path / "x").code == 2  # there already
    assert run("cim", "extract", cim, "Files/d", "-o", tmp_path / "x", "--force").code == 0
    ended = run("cim", "extract", cim, "-o", tmp_path / "x.tar.gz")
    assert ended.code == 0
    assert run("diff", tmp_path / "x.tar.gz", f"cim:{cim}", "--times").code == 0
    ended = run("cim", "extract", cim, "-o", "-", "--format", "json")
    assert json.loads(ended.err)["diff_id"].startswith("sha256:")
    (tmp_path / "y.tar").write_bytes(ended.data)
    assert run("diff", tmp_path / "y.tar", f"cim:{cim}").code == 0
    assert run("cim", "extract", cim, "Files", "-o", tmp_path / "z.tar").code == 2


def test_destroy(run: Run, cims: Path, cim: Path) -> None:
    ended = run("cim", "destroy", cim)
    assert ended.code == 8
    assert "1.cim" in ended.err
    ended = run("cim", "destroy", cims / "cim-layers" / "1.cim", "--layer", "--format", "json")
    assert (ended.code, ended.document["schema"]) == (0, "wclayer.cim.destroy/1")
    assert run("cim", "destroy", cim, "--force").out.startswith("removed ")
    assert not [path for path in (cims / "cim-layers").iterdir() if path.name.startswith("region")]
    assert run("cim", "destroy", cim).code == 3


def test_an_image_of_windows_10_is_read_on_request(run: Run, tmp_path: Path) -> None:
    from tests.formats.cim.images import build
    from tests.formats.cim.images import folder as image_folder

    path = build(tmp_path, image_folder({}), major=1, entry_size=88)
    for verb in ("ls", "verify", "dump", "info", "stat"):
        assert run("cim", verb, path, "--version-1").code == 0, verb
        assert run("cim", verb, path).code in (6, 7), verb


def test_a_plain_folder_becomes_an_image(run: Run, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "x").write_bytes(b"x")
    assert run("cim", "create", tmp_path / "a.cim", tmp_path / "plain", "-q").code == 0
    assert run("cim", "ls", tmp_path / "a.cim").out == "x\n"


def test_a_conversion_into_one_file_is_one_layer(run: Run, image: str, tmp_path: Path) -> None:
    ended = run("convert", image, f"cim:{tmp_path / 'a.cim'}", "-q")
    assert (ended.code, ended.data) == (2, b"")
    assert "wclayer cim merge" in ended.err
    lone = make_image(tmp_path / "layout", [folder("Files"), file("Files/f", b"x")], tag="lone")
    assert run("convert", lone, f"cim:{tmp_path / 'a.cim'}", "-q").code == 0
    assert run("cim", "ls", tmp_path / "a.cim", "Files").out == "f\n"


def test_a_verb_that_wants_a_manifest_says_what_to_do(run: Run, cims: Path) -> None:
    ended = run("inspect", f"cim:{cims}")
    assert (ended.code, ended.data) == (3, b"")
    assert f"wclayer convert cim:{cims} oci:DIR:TAG" in ended.err
