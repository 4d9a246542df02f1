"""Linting whole images, and the forms of the report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.formats.folder.layers import file, folder, write
from tests.image.images import WINDOWS, image
from tests.image.lint.tars import Layer, rules, run
from wclayer.errors import DigestMismatchError, NotFoundError, UsageError
from wclayer.image.converting import convert
from wclayer.image.lint import RULES, Findings, json_document, lint, sarif_document
from wclayer.image.lint.image_checks import look_at_config
from wclayer.image.unpack import unpack
from wclayer.oci import Digest, ImageConfig, Platform
from wclayer.oci.documents import encode_config


def test_the_layers_of_an_image_know_those_below(tmp_path: Path) -> None:
    layers = (Layer().base().file("Files/a"), Layer().link("Files/b", "Files/a").whiteout("Files/.wh.nothing"))
    report = lint(image(tmp_path / "oci", *(layer.bytes() for layer in layers)))
    assert list(report.layers.values()) == ["base", "upper"]
    assert rules(report) == {"whiteout-of-nothing": 1}


@pytest.mark.parametrize(
    ("platform", "config", "expected"),
    [
        (Platform("linux", "amd64"), {}, {"image-os": 1}),
        (Platform("windows", "amd64"), {}, {"image-os-version": 1}),
        (None, {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "Other=/usr/bin"]}, {"image-linux-path": 1}),
        (None, {"Env": ["Path=C:\\Windows"]}, {}),
        (None, {"Entrypoint": ["/bin/sh", "-c", "x"], "Cmd": ["/usr/bin/bash"]}, {"image-linux-shell": 2}),
        (None, {"Cmd": ["cmd"], "Env": None}, {}),
    ],
)
def test_the_configuration(
    tmp_path: Path, platform: Platform | None, config: dict[str, object], expected: dict[str, int]
) -> None:
    options = {} if platform is None else {"platform": platform}
    reference = image(tmp_path / "oci", Layer().base().bytes(), config=config, **options)  # type: ignore[arg-type]
    assert rules(lint(reference)) == expected


@pytest.mark.parametrize(("count", "expected"), [(128, 0), (129, 1)])
def test_too_many_layers(count: int, expected: int) -> None:
    findings = Findings()
    config = ImageConfig.parse(encode_config(WINDOWS, [Digest("sha256", "0" * 64)] * count))
    look_at_config(config, count, findings)
    assert findings.counts.get((None, "image-too-many-layers"), 0) == expected


def test_a_damaged_layer_is_no_finding_but_an_error(tmp_path: Path) -> None:
    reference = image(tmp_path / "oci", Layer().base().bytes(), diff_ids=[Digest("sha256", "0" * 64)])
    with pytest.raises(DigestMismatchError):
        lint(reference)


def test_every_form_of_a_layer_is_looked_at(tmp_path: Path) -> None:
    layer = Layer().base().file("Files/a.exe", sd=None)
    reference = image(tmp_path / "oci", layer.bytes())
    unpack(reference, tmp_path / "unpacked")
    convert(reference, f"layer:{tmp_path / 'folder'}")
    expected = {"executable-without-descriptor": 1}
    assert rules(lint(str(tmp_path / "unpacked"))) == expected
    assert rules(lint(str(tmp_path / "folder"))) == expected
    for form in ("plain", "base", "transport"):
        convert(str(tmp_path / "folder"), f"{form}:{tmp_path / form}")
        assert rules(lint(f"{form}:{tmp_path / form}", role="base")) == expected


def test_a_layer_folder_stands_on_what_it_says(tmp_path: Path) -> None:
    base = write(tmp_path / "base", folder("Files"), file("Files/a", b""))
    top = write(tmp_path / "top", folder("Files"), folder("Hives"), parents=[base])
    assert list(lint(str(top)).layers.values()) == ["upper"]
    assert list(lint(str(base)).layers.values()) == ["base"]


def test_nothing_at_all(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        lint(str(tmp_path / "nowhere"))
    with pytest.raises(UsageError):
        lint(str(tmp_path), ignored=["no-such-rule"])


def test_the_json_document(tmp_path: Path) -> None:
    document = json_document(run(tmp_path, Layer().file("Files/a").file("Files/A").file("Files/NUL.x")))
    json.dumps(document)
    assert document["severities"] == {"error": 1, "warning": 1, "note": 0}
    assert document["layers"][0]["role"] == "upper"
    (first, second) = document["findings"]
    assert (first["rule"], first["severity"], first["path"]) == ("case-collision", "error", "Files/A")
    assert first["why"] == RULES["case-collision"].why
    assert second["rule"] == "name-reserved"
    assert [count["count"] for count in document["counts"]] == [1, 1]


def test_the_sarif_document_follows_its_form(tmp_path: Path) -> None:
    layer = (
        Layer().file("Files/a").file("Files/A").file("Files/\ud800".encode("utf-8", "surrogatepass").decode("latin-1"))
    )
    document = sarif_document(run(tmp_path, layer))
    text = json.dumps(document)
    text.encode()
    assert document["version"] == "2.1.0"
    (one,) = document["runs"]
    driver = one["tool"]["driver"]
    assert driver["name"] == "wclayer"
    for result in one["results"]:
        assert driver["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] in ("error", "warning", "note")
        assert result["message"]["text"]
        assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
