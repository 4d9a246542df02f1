"""Indexes that are made say the platforms of the configurations; filtered ones stay as they were otherwise."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.test_documents import ATTESTED, VERSIONS, blob, make_index, windows
from tests.oci.samples import FOREIGN, layer_tar, new_docker_archive, packed, read_layers, write_image
from tests.peers import require
from wclayer.image.documents import manifest_of
from wclayer.image.indexes import covers
from wclayer.oci import Descriptor, LayoutWriter, Platform, open_image
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_config, encode_index, encode_json, encode_manifest
from wclayer.oci.layout import Layout
from wclayer.oci.mediatypes import (
    DOCKER_CONFIG,
    DOCKER_LAYER_GZIP,
    DOCKER_MANIFEST,
    DOCKER_MANIFEST_LIST,
    OCI_CONFIG,
    OCI_INDEX,
)
from wclayer.oci.platforms import parse_platform
from wclayer.oci.trees import FolderTree


def names(layout: Path) -> list[str]:
    return Layout(FolderTree(layout)).names()


def test_an_index_is_made_of_images_in_several_places(tmp_path: Path, run: Run) -> None:
    platforms = [windows("10.0.17763.6414"), windows("10.0.20348.3091", "win32k"), windows("10.0.26100.2894")]
    images = []
    for number, platform in enumerate(platforms):
        folder = tmp_path / f"source{number}"
        write_image(folder, [layer_tar(str(number))], name="v1", platform=platform)  # index.json says no platform
        images.append(f"oci:{folder}:v1")
    out = f"oci:{tmp_path / 'out'}:all"
    ended = run("index", "create", out, *images, "--annotation", "a.b=c=d", "--format", "json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.document["platforms"] == [
        "windows(10.0.17763.6414)/amd64",
        "windows(10.0.20348.3091+win32k)/amd64",
        "windows(10.0.26100.2894)/amd64",
    ]
    index = json.loads(manifest_of(out).raw)
    assert index["annotations"] == {"a.b": "c=d"}
    assert [one["platform"] for one in index["manifests"]] == [
        {"architecture": "amd64", "os": "windows", "os.version": "10.0.17763.6414"},
        {"architecture": "amd64", "os": "windows", "os.version": "10.0.20348.3091", "os.features": ["win32k"]},
        {"architecture": "amd64", "os": "windows", "os.version": "10.0.26100.2894"},
    ]
    assert all("annotations" not in one for one in index["manifests"])
    for number, release in enumerate(("ltsc2019", "ltsc2022", "ltsc2025")):
        with open_image(out, release) as image:
            assert read_layers(image) == [layer_tar(str(number))]
            assert image.digest == manifest_of(images[number]).named.digest
    assert names(tmp_path / "out") == ["all"]
    assert run("verify", out, "--platform", "ltsc2022").code == 0
    again = run("index", "create", f"oci:{tmp_path / 'again'}:all", *images, "--annotation", "a.b=c=d")
    assert again.out.endswith(f"@{ended.document['digest']}  {len(manifest_of(out).raw)} B\n")


def test_skopeo_reads_an_index_that_was_made_here(tmp_path: Path, run: Run) -> None:
    make_index(tmp_path / "source")
    assert run("index", "create", f"oci:{tmp_path / 'out'}:new", f"oci:{tmp_path / 'source'}:all").code == 0
    command = [require("skopeo"), "--insecure-policy", "copy", "--all", "--quiet"]
    subprocess.run([*command, f"oci:{tmp_path / 'out'}:new", f"dir:{tmp_path / 'dir'}"], check=True, timeout=60)
    listed = run("index", "ls", f"dir:{tmp_path / 'dir'}").out.split()
    assert listed[1::4] == VERSIONS


def test_images_of_an_index_and_what_attests_them_are_taken(tmp_path: Path, run: Run) -> None:
    source = tmp_path / "source"
    (entry,) = make_index(source, VERSIONS[:1])
    attestation = write_image(source, [b"{}"], platform=Platform("unknown", "unknown"))
    attested = {**ATTESTED, "vnd.docker.reference.digest": str(entry.digest)}
    listed = Descriptor(
        attestation.media_type,
        attestation.digest,
        attestation.size,
        annotations=attested,
        platform=Platform("unknown", "unknown"),
    )
    LayoutWriter(source).put_manifest(encode_index([entry, listed]), name="x")
    write_image(source, [layer_tar("other")], name="y", platform=windows("10.0.26100.1"))
    out = f"oci:{tmp_path / 'out'}:z"
    ended = run("index", "create", out, f"oci:{source}:x", f"oci:{source}:y", f"oci:{source}:x")
    assert ended.code == 0
    assert ended.err.count("is named twice: taken once") == 2
    entries = json.loads(manifest_of(out).raw)["manifests"]
    assert [one["platform"]["os"] for one in entries] == ["windows", "unknown", "windows"]
    assert entries[1]["annotations"] == attested
    filtered = f"oci:{tmp_path / 'out'}:f"
    assert run("index", "filter", out, filtered, "--platform", "ltsc2019").code == 0
    assert json.loads(manifest_of(filtered).raw)["manifests"] == entries[:2]
    assert run("index", "filter", out, filtered, "--platform", "ltsc2025").code == 0
    assert json.loads(manifest_of(filtered).raw)["manifests"] == entries[2:]


def test_an_index_of_docker_manifests_is_a_manifest_list(tmp_path: Path, run: Run) -> None:
    writer = LayoutWriter(tmp_path / "source")
    layer = packed(layer_tar())
    config = writer.put_bytes(encode_config(windows("10.0.20348.1"), [digest_of(layer_tar())]), DOCKER_CONFIG)
    stored = writer.put_bytes(layer, DOCKER_LAYER_GZIP)
    writer.put_manifest(encode_manifest(config, [stored], media_type=DOCKER_MANIFEST), name="v1")
    out = f"oci:{tmp_path / 'out'}:all"
    assert run("index", "create", out, f"oci:{tmp_path / 'source'}:v1").code == 0
    assert manifest_of(out).named.media_type == DOCKER_MANIFEST_LIST
    write_image(tmp_path / "source", [layer_tar("oci")], name="v2", platform=windows("10.0.26100.1"))
    images = [f"oci:{tmp_path / 'source'}:v{number}" for number in (1, 2)]
    assert run("index", "create", out, *images).code == 0
    assert manifest_of(out).named.media_type == OCI_INDEX


def test_a_wrong_or_missing_platform_of_an_entry_is_completed(tmp_path: Path, run: Run) -> None:
    source = tmp_path / "source"
    entry = write_image(source, [layer_tar()], platform=windows("10.0.20348.5", "win32k"))
    for said, noted in ((Platform("windows", "amd64"), False), (windows("10.0.17763.1"), True)):
        wrong = Descriptor(entry.media_type, entry.digest, entry.size, platform=said)
        LayoutWriter(source).put_manifest(encode_index([wrong]), name="x")
        out = f"oci:{tmp_path / 'out'}:x"
        ended = run("index", "create", out, f"oci:{source}:x")
        assert ("which is taken" in ended.err) == noted
        (made,) = json.loads(manifest_of(out).raw)["manifests"]
        assert (made["platform"]["os.version"], made["platform"]["os.features"]) == ("10.0.20348.5", ["win32k"])


def test_two_images_for_one_platform_are_told(tmp_path: Path, run: Run) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / "source", [layer_tar(name)], name=name)
    images = [f"oci:{tmp_path / 'source'}:{name}" for name in "ab"]
    ended = run("index", "create", f"oci:{tmp_path / 'out'}:x", *images)
    assert ended.code == 0
    assert "are both for windows(10.0.20348.2700)/amd64: the first will be chosen" in ended.err


def foreign_image(folder: Path) -> None:
    writer = LayoutWriter(folder)
    layer = packed(layer_tar())
    config = writer.put_bytes(encode_config(windows("10.0.17763.1"), [digest_of(layer_tar())]), OCI_CONFIG)
    listed = Descriptor(FOREIGN, digest_of(layer), len(layer), urls=("https://example.invalid/blob",))
    writer.put_manifest(encode_manifest(config, [listed]), name="v1")


def test_a_foreign_layer_stays_a_descriptor_when_that_is_asked_for(tmp_path: Path, run: Run) -> None:
    foreign_image(tmp_path / "source")
    arguments = [f"oci:{tmp_path / 'out'}:x", f"oci:{tmp_path / 'source'}:v1"]
    assert run("index", "create", *arguments).code == 3
    ended = run("index", "create", *arguments, "--foreign", "keep")
    assert ended.code == 0
    assert "only its descriptor was written" in ended.err
    again = [arguments[0], f"oci:{tmp_path / 'again'}:x", "--platform", "ltsc2019", "--foreign", "keep"]
    assert run("index", "filter", *again).code == 0


def test_a_blob_that_is_missing_or_damaged_ends_it(tmp_path: Path, run: Run) -> None:
    source = tmp_path / "source"
    write_image(source, [layer_tar()], name="v1")
    layer = json.loads(manifest_of(f"oci:{source}:v1").raw)["layers"][0]["digest"]
    path = source / "blobs" / "sha256" / layer.removeprefix("sha256:")
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"x")
    out = f"oci:{tmp_path / 'out'}:x"
    assert run("index", "create", out, f"oci:{source}:v1").code == 6
    path.unlink()
    assert run("index", "create", out, f"oci:{source}:v1").code == 3
    assert not (tmp_path / "out" / "index.json").exists() or names(tmp_path / "out") == []
    path.write_bytes(whole)
    assert run("index", "create", out, f"oci:{source}:v1").code == 0


@pytest.mark.parametrize("verb", ["create", "filter"])
@pytest.mark.parametrize("form", ["oci", "oci-archive", "dir", "file"])
def test_an_index_is_written_wherever_one_can_be(verb: str, form: str, tmp_path: Path, run: Run) -> None:
    make_index(tmp_path / "source")
    source = f"oci:{tmp_path / 'source'}:all"
    out = {
        "oci": f"oci:{tmp_path / 'out'}:x",
        "oci-archive": f"oci-archive:{tmp_path / 'out.tar'}:x",
        "dir": f"dir:{tmp_path / 'dir'}",
        "file": str(tmp_path / "other.tar"),
    }[form]
    arguments = [out, source] if verb == "create" else [source, out, "--platform", "windows/amd64"]
    ended = run("index", verb, *arguments, "--format", "json")
    assert ended.code == 0, ended.err
    assert run("digest", out).out.strip() == ended.document["digest"]
    assert run("index", "ls", out).out.split()[1::4] == VERSIONS
    assert run("verify", out, "--platform", "ltsc2019", "--quiet").code == 0


@pytest.mark.parametrize("verb", ["create", "filter"])
def test_an_index_is_not_written_where_none_can_be(verb: str, tmp_path: Path, run: Run) -> None:
    make_index(tmp_path / "source")
    source = f"oci:{tmp_path / 'source'}:all"
    for out, code in ((f"docker-archive:{tmp_path / 'x.tar'}", 7), (f"oci:{tmp_path / 'x'}@sha256:{'0' * 64}", 2)):
        arguments = [out, source] if verb == "create" else [source, out, "--platform", "windows/amd64"]
        assert run("index", verb, *arguments).code == code
        assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_requests_that_make_no_sense(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / "source", [layer_tar()], name="v1")
    source, out = f"oci:{tmp_path / 'source'}:v1", f"oci:{tmp_path / 'out'}:x"
    assert run("index", "filter", source, out, "--platform", "ltsc2022").code == 2  # no index
    assert run("index", "filter", source, out).code == 2
    assert run("index", "create", out).code == 2
    assert run("index", "create", out, source, "--annotation", "nothing").code == 2
    assert run("index", "create", out, f"oci:{tmp_path / 'source'}:v2").code == 3
    (tmp_path / "saved.tar").write_bytes(new_docker_archive([layer_tar()]))
    assert not (tmp_path / "out").exists()
    for place in (f"docker-archive:{tmp_path / 'saved.tar'}", tmp_path / "saved.tar"):
        assert run("index", "create", out, place).code == 0
        assert run("index", "ls", out).out.split()[1] == "10.0.20348.2700"


def test_an_image_without_a_version_is_told(tmp_path: Path, run: Run) -> None:
    write_image(tmp_path / "source", [layer_tar()], name="v1", platform=windows(""))
    ended = run("index", "create", f"oci:{tmp_path / 'out'}:x", f"oci:{tmp_path / 'source'}:v1")
    assert ended.code == 0
    assert "does not say its version of Windows" in ended.err


# -------------------------------------------------------------------------------------------------------------- filter


def test_all_that_is_kept_stays_as_it_stands(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    entries = make_index(layout)
    whole = f"oci:{tmp_path / 'out'}:whole"
    ended = run("index", "filter", f"oci:{layout}:all", whole, "--platform", "windows/amd64")
    assert (ended.code, ended.err) == (0, "")
    assert manifest_of(whole).raw == manifest_of(f"oci:{layout}:all").raw
    part = f"oci:{tmp_path / 'out'}:part"
    ended = run("index", "filter", f"oci:{layout}:all", part, "--platform", "ltsc2022", "--format", "json")
    assert "left out 1 image for other platforms" in ended.err
    assert ended.document["platforms"] == [f"windows({version})/amd64" for version in VERSIONS[1:]]
    document = json.loads(manifest_of(part).raw)
    assert [one["digest"] for one in document["manifests"]] == [str(entry.digest) for entry in entries[1:]]
    assert document["x-unknown"] == 1.0
    assert ended.document["digest"] == str(manifest_of(part).named.digest)


def test_only_what_is_kept_is_copied(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    entries = make_index(layout)
    args = ["--platform", "windows/amd64:10.0.20348.999", "--platform", "1809"]
    assert run("index", "filter", f"oci:{layout}:all", f"oci:{tmp_path / 'out'}:x", *args).code == 0
    copied = {path.name for path in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    assert {entries[0].digest.hex, entries[1].digest.hex} <= copied
    assert entries[2].digest.hex not in copied
    assert len(copied) == 2 * 3 + 1


def test_an_index_is_filtered_where_it_is(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    make_index(layout)
    assert run("index", "filter", f"oci:{layout}:all", f"oci:{layout}:lts", "--platform", "ltsc2022").code == 0
    assert names(layout) == ["all", "lts"]
    assert len(run("index", "ls", f"oci:{layout}:lts").out.splitlines()) == 2


def test_nothing_left_is_not_found_and_what_there_is_is_listed(tmp_path: Path, run: Run) -> None:
    make_index(tmp_path / "layout")
    out = f"oci:{tmp_path / 'out'}:x"
    ended = run("index", "filter", f"oci:{tmp_path / 'layout'}:all", out, "--platform", "ltsc2025")
    assert ended.code == 3
    assert all(version in ended.err for version in VERSIONS)
    assert not (tmp_path / "out").exists()


def test_a_part_of_a_nested_index_takes_its_place(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    writer = LayoutWriter(layout)
    inner = make_index(layout, name="inner")
    nested = writer.put_bytes(blob(layout, manifest_of(f"oci:{layout}:inner").named.digest), OCI_INDEX)
    top = write_image(layout, [layer_tar("top")], platform=windows("10.0.26100.1"))
    top = Descriptor(top.media_type, top.digest, top.size)  # its platform is in its configuration alone
    writer.put_manifest(encode_index([nested, top]), name="outer")
    out = f"oci:{tmp_path / 'out'}:x"
    assert run("index", "filter", f"oci:{layout}:outer", out, "--platform", "windows/amd64").code == 0
    assert manifest_of(out).raw == manifest_of(f"oci:{layout}:outer").raw
    with open_image(out, "ltsc2019") as image:
        assert image.digest == inner[0].digest
    args = ["--platform", "ltsc2019", "--platform", "ltsc2025"]
    assert run("index", "filter", f"oci:{layout}:outer", out, *args).code == 0
    listed = json.loads(manifest_of(out).raw)["manifests"]
    assert [one["digest"] for one in listed] == [str(inner[0].digest), str(top.digest)]


@pytest.mark.parametrize(
    ("wanted", "platform", "covered"),
    [
        ("windows/amd64", windows("10.0.17763.1"), True),
        ("windows/amd64", windows(""), True),
        ("ltsc2019", windows("10.0.17763.1"), True),
        ("ltsc2025", windows("10.0.20348.1"), False),  # it runs there, and is not of that version
        ("windows/amd64:10.0.20348.1", windows("10.0.20348.1"), True),
        ("windows/amd64:10.0.20348.1", windows("10.0.20348.12"), False),
        ("windows/amd64:10.0.2034", windows("10.0.20348.1"), False),
        ("windows/amd64:10.0", windows("10.0.20348.1"), True),
        ("ltsc2019", windows(""), False),
        ("windows/arm64", windows("10.0.17763.1"), False),
        ("windows/amd64/v2", windows("10.0.17763.1"), False),
        ("windows(10.0.17763+win32k)/amd64", windows("10.0.17763.1", "win32k"), True),
        ("windows(10.0.17763+win32k)/amd64", windows("10.0.17763.1"), False),
        ("linux/amd64", Platform("linux", "x86_64"), True),
        ("linux(7)/amd64", Platform("linux", "amd64", "", "7"), True),
        ("linux(7)/amd64", Platform("linux", "amd64", "", "8"), False),
    ],
)
def test_which_images_a_platform_covers(wanted: str, platform: Platform, covered: bool) -> None:
    assert covers(parse_platform(wanted), platform) == covered


def test_a_lying_nested_index_is_refused(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    entry = write_image(layout, [layer_tar()])
    wrong = Descriptor(OCI_INDEX, entry.digest, entry.size)
    (layout / "index.json").write_bytes(encode_json({"schemaVersion": 2, "manifests": [wrong.to_json()]}))
    assert run("index", "ls", f"oci:{layout}").code == 6
