"""Documents are printed as they are stored, wherever an image is, and no layer is needed for that."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Ended, Run
from tests.image.stacks import file, make_image
from tests.oci.samples import WINDOWS, layer_tar, new_docker_archive, old_docker_archive, write_image
from wclayer.cli.main import main
from wclayer.errors import NotFoundError, UnsupportedError, UsageError
from wclayer.image.documents import config_of, digest_of_image, manifest_of
from wclayer.oci import Descriptor, LayoutWriter, Platform
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_index, encode_json
from wclayer.oci.mediatypes import OCI_INDEX

VERSIONS = ["10.0.17763.6414", "10.0.20348.999", "10.0.20348.3091"]
ATTESTED = {"vnd.docker.reference.type": "attestation-manifest"}


def windows(version: str, *features: str) -> Platform:
    return Platform("windows", "amd64", "", version, features)


def make_index(layout: Path, versions: list[str] = VERSIONS, name: str = "all") -> list[Descriptor]:
    """An index of images for these versions, pretty-printed and with a key that nobody knows."""
    entries = [
        write_image(layout, [layer_tar(version)], platform=windows(version), entry_platform=windows(version))
        for version in versions
    ]
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [entry.to_json() for entry in entries],
        "x-unknown": 1.0,
    }
    LayoutWriter(layout).put_manifest(json.dumps(document, indent=3).encode(), name=name)
    return entries


def remove_layers(layout: Path) -> None:
    """Nothing but documents stays."""
    for blob in (layout / "blobs" / "sha256").iterdir():
        if blob.read_bytes()[:1] != b"{":
            blob.unlink()


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    make_index(tmp_path / "layout")
    remove_layers(tmp_path / "layout")
    return tmp_path / "layout"


def blob(layout: Path, digest: object) -> bytes:
    return (layout / "blobs" / "sha256" / str(digest).removeprefix("sha256:")).read_bytes()


def test_the_bytes_are_those_that_are_stored(layout: Path, run: Run) -> None:
    named = run("digest", f"oci:{layout}:all").out.strip()
    index = run("manifest", f"oci:{layout}:all")
    assert (index.code, index.err) == (0, "")
    assert index.data == blob(layout, named)
    assert str(digest_of(index.data)) == named
    assert index.data.startswith(b'{\n   "schemaVersion"')
    manifest = run("manifest", f"oci:{layout}:all", "--platform", "ltsc2022").data
    config = run("config", f"oci:{layout}:all", "--platform", "ltsc2022").data
    assert digest_of(manifest) == digest_of_image(f"oci:{layout}:all", platform="ltsc2022").digest
    assert json.loads(manifest)["config"]["digest"] == str(digest_of(config))
    assert json.loads(config)["os.version"] == VERSIONS[2]


@pytest.mark.parametrize(
    ("platform", "version"),
    [
        ("ltsc2019", VERSIONS[0]),
        ("ltsc2022", VERSIONS[2]),
        ("windows/amd64", VERSIONS[2]),
        ("windows/amd64:10.0.20348.999", VERSIONS[1]),
        ("windows/amd64,osver=10.0.17763", VERSIONS[0]),
        ("windows(10.0.20348+win32k)/amd64", VERSIONS[2]),
        ("23h2", VERSIONS[2]),
        ("17763", VERSIONS[0]),
    ],
)
def test_a_platform_picks_the_image_of_an_index(layout: Path, platform: str, version: str, run: Run) -> None:
    image = f"oci:{layout}:all"
    assert json.loads(run("config", image, "--platform", platform).data)["os.version"] == version
    document = run("digest", image, "--platform", platform, "--format", "json").document
    assert document["kind"] == "manifest"
    assert document["platform"] == f"windows({version})/amd64"
    assert str(digest_of(run("manifest", image, "--platform", platform).data)) == document["digest"]


def test_a_platform_that_is_not_there_is_not_found_and_what_is_there_is_listed(layout: Path, run: Run) -> None:
    for verb in ("digest", "manifest", "config"):
        ended = run(verb, f"oci:{layout}:all", "--platform", "ltsc2016")
        assert (ended.code, ended.data) == (3, b"")
        assert all(f"windows({version})/amd64" in ended.err for version in VERSIONS)


def test_of_several_configurations_the_newest_is_printed_and_told(layout: Path, run: Run) -> None:
    ended = run("config", f"oci:{layout}:all")
    assert json.loads(ended.data)["os.version"] == VERSIONS[2]
    assert f"chose windows({VERSIONS[2]})/amd64" in ended.err
    assert run("config", f"oci:{layout}:all", "--quiet").err == ""


def test_json_says_what_was_read(layout: Path, run: Run) -> None:
    document = run("manifest", f"oci:{layout}:all", "--format", "json").document
    raw = run("manifest", f"oci:{layout}:all").data
    assert document == {
        "schema": "wclayer.manifest/1",
        "reference": f"oci:{layout}:all",
        "kind": "index",
        "digest": str(digest_of(raw)),
        "media_type": OCI_INDEX,
        "size": len(raw),
        "platform": None,
        "notes": [],
        "document": json.loads(raw),
    }
    config = run("config", f"oci:{layout}:all", "--platform", "ltsc2019", "--format", "json").document
    assert (config["schema"], config["kind"]) == ("wclayer.config/1", "config")
    assert config["platform"] == "windows(10.0.17763.6414)/amd64"
    assert config["document"]["os.version"] == VERSIONS[0]


def test_text_is_a_line_for_each_blob_or_value(layout: Path, run: Run) -> None:
    first, *lines = run("manifest", f"oci:{layout}:all", "--format", "text").out.splitlines()
    assert first.split() == ["index", str(digest_of_image(f"oci:{layout}:all").digest), OCI_INDEX]
    assert [line.split()[0] for line in lines] == [f"windows({version})/amd64" for version in VERSIONS]
    lines = run("manifest", f"oci:{layout}:all", "--platform", "ltsc2019", "--format", "text").out.splitlines()
    assert [line.split()[0] for line in lines] == ["manifest", "config:", "layer:"]
    lines = run("config", f"oci:{layout}:all", "--platform", "ltsc2019", "--format", "text").out.splitlines()
    assert "os.version: 10.0.17763.6414" in lines


def forms(tmp_path: Path) -> dict[str, str]:
    """One image in every form that has a manifest."""
    reference = make_image(tmp_path / "layout", [file("Files/f", b"data")])
    assert main(["unpack", reference, str(tmp_path / "unpacked"), "--quiet", "--format", "json"]) == 0
    shutil.make_archive(str(tmp_path / "archive"), "tar", tmp_path / "layout")
    transport = tmp_path / "dir"
    transport.mkdir()
    raw = manifest_of(reference).raw
    (transport / "manifest.json").write_bytes(raw)
    (transport / "version").write_text("Directory Transport Version: 1.1\n")
    config = config_of(reference)
    (transport / config.named.digest.hex).write_bytes(config.raw)
    return {
        "layout": reference,
        "path": f"{tmp_path / 'layout'}:test",
        "digest": f"oci:{tmp_path / 'layout'}@{digest_of(raw)}",
        "archive": f"oci-archive:{tmp_path / 'archive.tar'}:test",
        "archive path": str(tmp_path / "archive.tar"),
        "dir": f"dir:{transport}",
        "dir path": str(transport),
        "unpacked": str(tmp_path / "unpacked"),
    }


def test_every_form_of_an_image_gives_the_same_documents(tmp_path: Path, run: Run) -> None:
    named = forms(tmp_path)
    manifest, config = manifest_of(named["layout"]), config_of(named["layout"])
    for form, reference in named.items():
        for platform in ((), ("--platform", "ltsc2022")):
            assert run("manifest", reference, *platform).data == manifest.raw, form
            assert run("config", reference, *platform).data == config.raw, form
            assert run("digest", reference, *platform).out == f"{manifest.named.digest}\n", form
        assert run("digest", reference, "--platform", "ltsc2019").code == 3, form
        assert run("compat", reference, "--host", "ltsc2022").code == 0, form
        assert run("index", "ls", reference).out.split()[:2] == ["windows/amd64", "10.0.20348.1"], form


def test_an_archive_of_docker_save_has_a_configuration_and_may_have_a_manifest(tmp_path: Path, run: Run) -> None:
    for name, make in (("old", old_docker_archive), ("new", new_docker_archive)):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(make([layer_tar()]))
        reference = f"docker-archive:{path}"
        assert json.loads(run("config", reference).data)["os.version"] == WINDOWS.os_version
        assert run("config", reference, "--platform", "ltsc2022").code == 0
        assert run("config", reference, "--platform", "ltsc2019").code == 3
        assert run("compat", reference, "--host", "26100").code == 0
        assert run("index", "ls", reference).out.startswith("windows/amd64  10.0.20348.2700  sha256:")
        for verb in ("manifest", "digest"):
            for platform in ((), ("--platform", "ltsc2022")):
                ended = run(verb, reference, *platform)
                assert (ended.code, ended.data) == (7, b"")
                assert "oci-archive:" in ended.err
    assert run("manifest", tmp_path / "old.tar").code == 7
    assert run("digest", tmp_path / "new.tar").code == 0


def test_an_archive_on_standard_input(layout: Path, tmp_path: Path, run: Run) -> None:
    path = shutil.make_archive(str(tmp_path / "archive"), "tar", layout)
    command = [sys.executable, "-m", "wclayer", "digest", "oci-archive:-:all"]
    with Path(path).open("rb") as file:
        ended = subprocess.run(command, stdin=file, capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == run("digest", f"oci:{layout}:all").out


def test_a_layer_tar_has_no_documents(tmp_path: Path, run: Run) -> None:
    (tmp_path / "layer.tar").write_bytes(layer_tar())
    for verb in (["manifest"], ["config"], ["digest"], ["index", "ls"], ["compat", "--host", "ltsc2022"]):
        ended = run(*verb, tmp_path / "layer.tar")
        assert (ended.code, ended.data) == (7, b"")
        assert "layer tar" in ended.err
    assert run("unpack", tmp_path / "layer.tar", tmp_path / "unpacked", "--quiet").code == 0
    assert run("manifest", tmp_path / "unpacked").code == 7


def test_several_manifests_of_one_name_need_a_platform(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    entries = make_index(layout)
    listed = [{**entry.to_json(), "annotations": {"org.opencontainers.image.ref.name": "x"}} for entry in entries]
    (layout / "index.json").write_bytes(encode_json({"schemaVersion": 2, "manifests": listed}))
    for verb in ("digest", "manifest"):
        assert run(verb, f"oci:{layout}:x").code == 2
    assert run("digest", f"oci:{layout}:x", "--platform", "ltsc2019").out == f"{entries[0].digest}\n"
    assert run("config", f"oci:{layout}:x").code == 0
    assert len(run("index", "ls", f"oci:{layout}:x").out.splitlines()) == 3


def test_what_is_damaged_or_missing_has_its_exit_code(layout: Path, run: Run) -> None:
    reference = f"oci:{layout}:all"
    digest = digest_of_image(reference).digest
    path = layout / digest.blob_path
    path.write_bytes(path.read_bytes().replace(b"1.0", b"2.0"))
    assert run("manifest", reference).code == 6
    path.unlink()
    assert run("manifest", reference).code == 3
    assert run("manifest", f"oci:{layout}:none").code == 3
    assert run("manifest", reference, "--platform", "nonsense").code == 2
    with pytest.raises(NotFoundError):
        manifest_of(str(layout / "nothing"))


def test_an_artifact_is_no_image(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    config = writer.put_bytes(b"{}", "application/vnd.oci.empty.v1+json")
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/x",
        "config": config.to_json(),
        "layers": [],
    }
    writer.put_manifest(encode_json(manifest), name="a")
    assert json.loads(manifest_of(f"oci:{tmp_path}:a").raw) == manifest
    with pytest.raises(UnsupportedError, match="application/x"):
        config_of(f"oci:{tmp_path}:a")


# ------------------------------------------------------------------------------------------------------------ index ls


def listing(run: Run, reference: str) -> Ended:
    ended = run("index", "ls", reference)
    assert (ended.code, ended.err) == (0, "")
    return ended


def test_an_index_is_listed_a_line_for_each_entry(layout: Path, run: Run) -> None:
    lines = [line.split() for line in listing(run, f"oci:{layout}:all").out.splitlines()]
    entries = json.loads(run("manifest", f"oci:{layout}:all").data)["manifests"]
    assert lines == [
        ["windows/amd64", version, entry["digest"], str(entry["size"])]
        for version, entry in zip(VERSIONS, entries, strict=True)
    ]


def test_entries_of_all_kinds_are_listed(tmp_path: Path, run: Run) -> None:
    layout = tmp_path / "layout"
    writer = LayoutWriter(layout)
    silent = write_image(layout, [layer_tar("silent")], platform=windows("10.0.26100.1", "win32k"))
    inner = make_index(layout, VERSIONS[:1], name="inner")
    nested = encode_index(inner)
    stored = writer.put_bytes(nested, OCI_INDEX)
    attests = {**ATTESTED, "vnd.docker.reference.digest": str(silent.digest)}
    entries = [
        Descriptor(silent.media_type, silent.digest, silent.size),
        stored,
        Descriptor(silent.media_type, digest_of(b"1"), 1, annotations=attests, platform=Platform("unknown", "unknown")),
        Descriptor(silent.media_type, digest_of(b"2"), 2, artifact_type="application/x"),
        Descriptor("application/y", digest_of(b"3"), 3),
    ]
    writer.put_manifest(encode_index(entries), name="mixed")
    rows = [line.rsplit(maxsplit=3)[:2] for line in listing(run, f"oci:{layout}:mixed").out.splitlines()]
    assert [[one.rstrip() for one in row] for row in rows] == [
        ["windows(+win32k)/amd64", "10.0.26100.1"],
        ["(index)", "-"],
        ["  windows/amd64", "10.0.17763.6414"],
        ["(attestation)", "-"],
        ["(artifact)", "-"],
        ["(other)", "-"],
    ]
    document = run("index", "ls", f"oci:{layout}:mixed", "--format", "json").document
    assert document["schema"] == "wclayer.index.ls/1"
    assert [entry["kind"] for entry in document["entries"]] == [
        "image", "index", "image", "attestation", "artifact", "other"
    ]  # fmt: skip
    assert [entry["depth"] for entry in document["entries"]] == [0, 0, 1, 0, 0, 0]
    assert document["entries"][3]["subject"] == str(silent.digest)
    lines = run("index", "ls", f"oci:{layout}:mixed", "--format", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == [
        {"schema": "wclayer.index.ls/1", **entry} for entry in document["entries"]
    ]


def test_an_index_without_entries_is_listed_as_nothing(tmp_path: Path, run: Run) -> None:
    LayoutWriter(tmp_path).put_manifest(encode_index([]), name="empty")
    assert listing(run, f"oci:{tmp_path}:empty").out == ""
    assert run("compat", f"oci:{tmp_path}:empty", "--host", "ltsc2022").code == 3
    with pytest.raises(UsageError):
        digest_of_image(f"oci:{tmp_path}:empty", platform="nonsense")


# -------------------------------------------------------------------------------------------------------- what it costs


@pytest.mark.parametrize(
    "arguments",
    [
        ["manifest", "IMAGE"],
        ["config", "IMAGE"],
        ["digest", "IMAGE"],
        ["index", "ls", "IMAGE"],
        ["compat", "IMAGE", "--host", "20348"],
        ["index", "filter", "IMAGE", "oci:out:x", "--platform", "windows/amd64"],
    ],
    ids=lambda arguments: " ".join(arguments[:2]),
)
def test_nothing_of_the_network_is_loaded_for_what_is_here(arguments: list[str], tmp_path: Path) -> None:
    make_index(tmp_path / "layout")
    call = [one.replace("IMAGE", "oci:layout:all") for one in arguments]
    code = f"import sys; from wclayer.cli.main import main; c = main({call!r}); print(c, *sys.modules, file=sys.stderr)"
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True, text=True, timeout=60
    )
    result, *loaded = ended.stderr.splitlines()[-1].split()
    assert result == "0"
    assert not {"urllib3", "ssl", "http.client", "wclayer.oci.registry.client"} & set(loaded)
    if arguments[:2] != ["index", "filter"]:  # which copies, also out of layer folders
        assert not {"sqlite3", "wclayer.formats.folder", "wclayer.formats.tar"} & set(loaded)
