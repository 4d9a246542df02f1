"""Each rule about layers finds what it is for, and nothing in a layer that is right."""

from __future__ import annotations

import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.formats.folder.layers import file, folder, write
from tests.image.lint.tars import FILE_SD, HIVE, Layer, rules, run
from wclayer.errors import WclayerError
from wclayer.image.lint import RULES, lint
from wclayer.image.sample import make_sample
from wclayer.model import Entry, Metadata

U, B = "upper", "base"
EMPTY_BASE_HIVES = {"base-hive-missing": 5}
LONG = "x" * 256

Make = Callable[[Layer], object]
CASES: list[tuple[str, str, Make, dict[str, int]]] = [
    ("absolute", U, lambda t: t.file("/Files/a"), {"name-absolute": 1}),
    ("drive", U, lambda t: t.file("C:/a"), {"name-absolute": 1}),
    ("dot", U, lambda t: t.file("./Files/a"), {"name-dot": 1}),
    ("dots", U, lambda t: t.file("Files/../a"), {"name-parent": 1}),
    ("backslash", U, lambda t: t.file("Files\\a"), {"name-backslash": 1}),
    ("illegal", U, lambda t: t.file("Files/a?b"), {"name-illegal": 1}),
    ("control character", U, lambda t: t.file("Files/a\x01"), {"name-illegal": 1}),
    ("folder with a colon", U, lambda t: t.folder("Files/a:b"), {"name-illegal": 1}),
    ("device", U, lambda t: t.file("Files/NUL.txt"), {"name-reserved": 1}),
    ("trailing dot", U, lambda t: t.file("Files/a."), {"name-reserved": 1}),
    ("long component", U, lambda t: t.file(f"Files/{LONG}"), {"component-too-long": 1}),
    (
        "long path",
        U,
        lambda t: t.folder("Files/" + "y" * 130).file(f"Files/{'y' * 130}/{'z' * 130}"),
        {"path-long": 1},
    ),
    ("sidecar", U, lambda t: t.file("Files/a.$WCIDIRS$"), {"sidecar-name": 1}),
    ("files in files", U, lambda t: t.folder("Files/files"), {"files-in-files": 1}),
    ("tombstones", U, lambda t: t.file("Tombstones.txt"), {"tombstones-txt": 1}),
    ("top", U, lambda t: t.folder("etc").file("etc/passwd"), {"top-level-entry": 1}),
    ("spelling", U, lambda t: t.folder("utilityVM"), {"root-spelling": 1, "uvm-in-upper-layer": 1}),
    ("no parent", U, lambda t: t.file("Files/a/b/c"), {"parent-missing": 2}),
    ("late parent", U, lambda t: t.file("Files/a/b").folder("Files/a"), {"parent-after-child": 1}),
    ("below a file", U, lambda t: t.file("Files/a").file("Files/a/b"), {"below-file": 1}),
    (
        "below a junction",
        U,
        lambda t: t.entry(
            "Files/j",
            tarfile.SYMTYPE,
            target="C:\\x",
            records={"MSWINDOWS.mountpoint": "1", "MSWINDOWS.fileattr": "1040"},
        ).file("Files/j/b"),
        {"below-reparse-point": 1},
    ),
    ("twice", U, lambda t: t.file("Files/a").file("Files/a"), {"duplicate-entry": 1}),
    ("case", U, lambda t: t.file("Files/É").file("Files/é"), {"case-collision": 1}),
    ("device entry", U, lambda t: t.entry("Files/a", tarfile.CHRTYPE), {"entry-type": 1}),
    ("pipe", U, lambda t: t.entry("Files/a", tarfile.FIFOTYPE), {"entry-type": 1}),
    ("contiguous", U, lambda t: t.entry("Files/a", tarfile.CONTTYPE, b"x"), {"entry-without-data": 1}),
    ("orphan stream", U, lambda t: t.file("Files/b").file("Files/a:s"), {"orphan-stream": 1}),
    ("own stream", U, lambda t: t.file("Files/b").file("Files/b:s").file("Files/b:t"), {}),
    ("stream of a whiteout", U, lambda t: t.whiteout("Files/.wh.b").file("Files/b:s"), {"orphan-stream": 1}),
    ("outside", U, lambda t: t.file("Files/a").link("Files/b", "a"), {"hard-link-outside": 1}),
    ("hive link", U, lambda t: t.file("Files/a").link("Hives/Sam_Delta", "Files/a"), {"hard-link-outside": 1}),
    ("unknown", U, lambda t: t.link("Files/b", "Files/a"), {"hard-link-unknown": 1}),
    ("late target", U, lambda t: t.link("Files/b", "Files/a").file("Files/a"), {"hard-link-order": 1}),
    ("link to folder", U, lambda t: t.folder("Files/a").link("Files/b", "Files/a"), {"hard-link-kind": 1}),
    ("link to link", U, lambda t: t.file("Files/a").link("Files/b", "Files/A").link("Files/c", "Files/b"), {}),
    (
        "link to symlink",
        U,
        lambda t: t.symlink("Files/a", "x").link("Files/b", "Files/a"),
        {"hard-link-kind": 1},
    ),
    ("prefix", U, lambda t: t.symlink("Files/a", "Files/b"), {"symlink-prefix": 1}),
    (
        "right prefix",
        U,
        lambda t: t.folder("Files/Files").symlink("Files/a", "Files/b").file("Files/Files/b"),
        {"files-in-files": 1},
    ),
    ("share", U, lambda t: t.symlink("Files/a", "\\\\server\\share"), {"symlink-outside": 1}),
    ("drive D", U, lambda t: t.symlink("Files/a", "D:\\x"), {"symlink-outside": 1}),
    ("above", U, lambda t: t.symlink("Files/a", "../x"), {"symlink-outside": 1}),
    ("beside", U, lambda t: t.folder("Files/d").symlink("Files/d/a", "..\\x"), {}),
    ("rooted", U, lambda t: t.symlink("Files/a", "C:\\Windows"), {}),
    ("opaque", U, lambda t: t.folder("Files/d").whiteout("Files/d/.wh..wh..opq"), {"whiteout-opaque": 1}),
    ("nameless", U, lambda t: t.whiteout("Files/.wh."), {"whiteout-nameless": 1}),
    ("dots away", U, lambda t: t.whiteout("Files/d/.wh..."), {"whiteout-nameless": 1}),
    ("hive whiteout", U, lambda t: t.whiteout("Hives/.wh.Sam_Delta"), {"whiteout-outside": 1}),
    ("Files away", U, lambda t: t.whiteout(".wh.Files"), {"whiteout-outside": 1}),
    ("own whiteout", U, lambda t: t.file("Files/a").whiteout("Files/.wh.A"), {"whiteout-of-own-entry": 1}),
    (
        "whiteout folder",
        U,
        lambda t: t.entry("Files/.wh.a/", tarfile.DIRTYPE),
        {"whiteout-slash": 1},
    ),
    ("program", U, lambda t: t.file("Files/a.EXE", sd=None), {"executable-without-descriptor": 1}),
    ("text without descriptor", U, lambda t: t.file("Files/a.txt", sd=None), {}),
    ("no base64", U, lambda t: t.file("Files/a", sd="!"), {"descriptor-malformed": 1}),
    ("no descriptor", U, lambda t: t.file("Files/a", sd="AAAA"), {"descriptor-malformed": 1}),
    ("attributes", U, lambda t: t.file("Files/a", attributes=None), {"attributes-missing": 1}),
    ("attributes text", U, lambda t: t.file("Files/a", attributes="0x20"), {"attributes-malformed": 1}),
    ("folder as file", U, lambda t: t.folder("Files/a", attributes="32"), {"attributes-and-type": 1}),
    ("file as folder", U, lambda t: t.file("Files/a", attributes="16"), {"attributes-and-type": 1}),
    ("unpadded", U, lambda t: t.file("Files/a", created="1600000000.5000000"), {"creation-time-unpadded": 1}),
    ("padded", U, lambda t: t.file("Files/a", created="1600000000.005"), {}),
    ("nine digits", U, lambda t: t.file("Files/a", created="1600000000.500000000"), {}),
    ("bad time", U, lambda t: t.file("Files/a", created="x"), {"record-malformed": 1}),
    ("far time", U, lambda t: t.file("Files/a", created="9999999999999"), {"time-range": 1}),
    ("no times", U, lambda t: t.file("Files/a", atime=None), {"times-missing": 1}),
    (
        "large attribute",
        U,
        lambda t: t.entry("Files/a", records={"MSWINDOWS.xattr." + "n" * 256: "eA=="}),
        {"attribute-too-large": 1},
    ),
    ("bad attribute", U, lambda t: t.entry("Files/a", records={"MSWINDOWS.xattr.N": "!"}), {"record-malformed": 1}),
    ("empty delta", U, lambda t: t.file("Hives/Sam_Delta", b""), {"hive-empty": 1}),
    ("bad delta", U, lambda t: t.file("Hives/SAM_DELTA", b"x" * 8192), {"hive-malformed": 1}),
    ("short delta", U, lambda t: t.file("Hives/Sam_Delta", HIVE[:4096]), {"hive-malformed": 1}),
    ("bad checksum", U, lambda t: t.file("Hives/Sam_Delta", HIVE[:9] + b"\xff" + HIVE[10:]), {"hive-malformed": 1}),
    ("good delta", U, lambda t: t.file("Hives/Sam_Delta", HIVE), {}),
    ("other hive", U, lambda t: t.file("Hives/Other", HIVE), {"hive-name": 1}),
    ("hive folder", U, lambda t: t.folder("Hives/x"), {"hives-folder": 1, "hive-name": 0}),
    (
        "uvm order",
        U,
        lambda t: t.folder("UtilityVM/Files").folder("UtilityVM", sd=None),
        {"uvm-order": 1, "uvm-in-upper-layer": 1},
    ),
    ("uvm missing", U, lambda t: t.folder("UtilityVM/Files"), {"uvm-order": 1}),
    (
        "uvm outside",
        U,
        lambda t: t.folder("UtilityVM", sd=None).folder("UtilityVM/x"),
        {"uvm-outside": 1, "uvm-in-upper-layer": 1},
    ),
    ("uvm descriptor", U, lambda t: t.folder("UtilityVM"), {"uvm-metadata": 1, "uvm-in-upper-layer": 1}),
    ("base", B, lambda t: t.base(), {}),
    ("no hives", B, lambda t: t, EMPTY_BASE_HIVES),
    ("base whiteout", B, lambda t: t.base().whiteout("Files/.wh.a"), {"whiteout-in-base": 1}),
    (
        "empty hive",
        B,
        lambda t: t.folders("Files/Windows", "Files/Windows/System32", "Files/Windows/System32/config").file(
            "Files/Windows/System32/config/SYSTEM", b""
        ),
        {"hive-empty": 1, "base-hive-missing": 4},
    ),
    ("base link", B, lambda t: t.base().link("Files/b", "Files/a"), {"hard-link-target": 1}),
    (
        "uvm without boot",
        B,
        lambda t: t.base().folders("UtilityVM", "UtilityVM/Files"),
        {"uvm-boot-configuration": 1},
    ),
]


@pytest.mark.parametrize(("role", "make", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_a_rule_finds_what_it_is_for(tmp_path: Path, role: str, make: Make, expected: dict[str, int]) -> None:
    layer = Layer()
    make(layer)
    assert rules(run(tmp_path, layer, role=role)) == {rule: count for rule, count in expected.items() if count}


def test_a_layer_without_anything_of_windows(tmp_path: Path) -> None:
    layer = Layer(roots=False).folders("etc", "usr", "usr/bin").file("usr/bin/sh")
    assert rules(run(tmp_path, layer)) == {"not-a-windows-layer": 1, "top-level-entry": 2}


def test_missing_roots(tmp_path: Path) -> None:
    layer = Layer(roots=False).file("Files/a")
    assert rules(run(tmp_path, layer)) == {"no-files-root": 1, "no-hives-root": 1}
    layer = Layer(roots=False).folder("Files").base()
    assert rules(run(tmp_path, layer, role="base")) == {}


def test_too_many_names_of_one_file(tmp_path: Path) -> None:
    layer = Layer().file("Files/a")
    for number in range(1023):
        layer.link(f"Files/{number}", "Files/a")
    assert rules(run(tmp_path, layer)) == {}
    layer = Layer().file("Files/a").link("Files/b", "Files/a")
    for number in range(1024):
        layer.link(f"Files/{number}", "Files/b")
    assert rules(run(tmp_path, layer)) == {"hard-link-count": 1}


def test_what_parents_have_counts(tmp_path: Path) -> None:
    parent = write(tmp_path / "parent", folder("Files"), file("Files/there", b""), folder("Files/dir"))
    layer = (
        Layer()
        .link("Files/a", "Files/THERE")
        .link("Files/b", "Files/missing")
        .link("Files/c", "Files/dir")
        .whiteout("Files/.wh.there")
        .whiteout("Files/.wh.missing")
        .folder("UtilityVM", sd=None)
        .folder("UtilityVM/Files")
    )
    assert rules(run(tmp_path, layer, parents=[parent])) == {
        "hard-link-target": 1,
        "hard-link-kind": 1,
        "whiteout-of-nothing": 1,
        "uvm-in-upper-layer": 1,
        "uvm-without-parent": 1,
    }


def test_an_opaque_reparse_point_of_a_layer_folder(tmp_path: Path) -> None:
    wsl = (0xA000001D).to_bytes(4, "little") + (4).to_bytes(2, "little") + bytes(2) + bytes(4)
    link = Entry("Files/x", Metadata(0x400, 1, 1, 1, 1, reparse=wsl))
    layer = write(tmp_path / "layer", folder("Files"), folder("Hives"), link)
    report = lint(str(layer), role="upper")
    (finding,) = [one for one in report.findings.listed if one.rule == "reparse-tag"]
    assert "LX_SYMLINK" in finding.evidence


def test_an_archive_that_breaks_off_is_a_finding(tmp_path: Path) -> None:
    data = Layer().file("Files/a", b"x" * 5000).bytes()
    assert "archive-malformed" in rules(run(tmp_path, data[: len(data) // 2 - 700]))


def test_a_global_header_is_a_finding(tmp_path: Path) -> None:
    path = tmp_path / "layer.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "git"}):
        pass
    plain = Layer().bytes()
    assert rules(run(tmp_path, path.read_bytes()[:1024] + plain)) == {"global-header": 1}


def test_a_name_that_is_no_utf_8(tmp_path: Path) -> None:
    assert rules(run(tmp_path, Layer().file("Files/\udcff\udcfe"))) == {"name-not-unicode": 1}


def test_the_sample_image_has_no_error(tmp_path: Path) -> None:
    make_sample(tmp_path / "oci", "demo")
    report = lint(f"oci:{tmp_path / 'oci'}:demo")
    assert list(report.layers.values()) == ["base", "upper", "upper"]
    assert [one for one in report.findings.listed if one.severity == "error"] == []
    # The sample shows on purpose what programs cannot open, and times beyond what a tar of hcsshim holds.
    assert {rule for _, rule in report.findings.counts} <= {
        "path-long",
        "name-reserved",
        "uvm-in-upper-layer",
        "symlink-outside",
        "times-missing",
        "time-range",
        "case-collision",
    }


def test_a_lone_layer_decides_itself_what_it_is(tmp_path: Path) -> None:
    assert list(run(tmp_path, Layer().base(), role="auto").layers.values()) == ["base"]
    assert list(run(tmp_path, Layer().base().whiteout("Files/.wh.x"), role="auto").layers.values()) == ["upper"]
    assert list(run(tmp_path, Layer().file("Files/x"), role="auto").layers.values()) == ["upper"]


def test_every_rule_about_layers_has_a_test() -> None:
    tested = {rule for case in CASES for rule in case[3]}
    elsewhere = {
        "archive-malformed",
        "global-header",
        "hard-link-count",
        "name-not-unicode",
        "no-files-root",
        "no-hives-root",
        "not-a-windows-layer",
        "path-too-long",
        "reparse-tag",
        "uvm-without-parent",
        "whiteout-of-nothing",
    }
    assert {rule for rule in RULES if not rule.startswith("image-")} == tested | elsewhere


def test_a_path_beyond_all_measure(tmp_path: Path) -> None:
    layer = Layer()
    path = "Files"
    while len(path) <= 32767:
        path += "/" + "d" * 250
        layer.folder(path)
    assert rules(run(tmp_path, layer))["path-too-long"] == 1


@given(st.binary(max_size=3000), st.integers(0, 3000))
def test_noise_never_breaks_the_linter(tmp_path_factory: pytest.TempPathFactory, noise: bytes, place: int) -> None:
    data = bytearray(Layer().file("Files/a", sd=FILE_SD).symlink("Files/b", "x").bytes())
    data[place : place + len(noise)] = noise
    try:
        run(tmp_path_factory.mktemp("n"), bytes(data))
    except WclayerError:
        assert place < 4096  # what is no tar at its very beginning is no layer at all
