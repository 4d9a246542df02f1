"""Which images of an index are copied."""

from __future__ import annotations

import json

import pytest

from tests.image.copying.places import VERSIONS, Places, contents, document, root_digest, windows_index
from tests.oci.samples import layer_tar, write_image
from wclayer.errors import NotFoundError, UnsupportedError, UsageError
from wclayer.image.copying import CopyOptions, copy_image
from wclayer.oci import Index, LayoutWriter, Manifest, Platform
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import OCI_INDEX


@pytest.fixture
def source(places: Places) -> str:
    windows_index(places.folder / "source")
    return f"oci:{places.folder / 'source'}:all"


def versions(reference: str) -> list[str]:
    return list(contents(reference))


def test_without_a_platform_the_newest_windows_image_is_copied_and_said(source: str, places: Places) -> None:
    target = places.new("oci")
    result = copy_image(source, target)
    assert isinstance(document(target), Manifest)
    assert versions(target) == ["10.0.26100.1742"]
    assert any(note.startswith("chose windows(10.0.26100.1742)/amd64") for note in result.notes)


def test_one_platform_gives_just_that_image_byte_for_byte(source: str, places: Places) -> None:
    target = places.new("oci")
    copy_image(source, target, CopyOptions(platforms=("ltsc2022",)))
    assert versions(target) == ["10.0.20348.3091"]  # the highest revision by its number, not by its text
    index = document(source)
    assert isinstance(index, Index)
    assert root_digest(target) == index.manifests[3].digest


def test_several_platforms_give_an_index_of_these_with_everything_else_kept(source: str, places: Places) -> None:
    target = places.new("oci")
    options = CopyOptions(platforms=("ltsc2019", "ltsc2025", "linux/amd64"))
    result = copy_image(source, target, options)
    assert sorted(versions(target)) == ["10.0.17763.6414", "10.0.26100.1742", "linux"]
    old, new = json.loads(document(source).raw), json.loads(document(target).raw)
    assert new["x-unknown"] == old["x-unknown"]
    kept = [entry for entry in old["manifests"] if entry.get("x-kept") in ("linux", VERSIONS[0], VERSIONS[3])]
    attestation = old["manifests"][-1]
    assert new["manifests"] == [*kept, attestation]  # in the order of the old one, with the attestation of ltsc2019
    assert result.changed == {root_digest(source): root_digest(target)}


def test_an_attestation_goes_with_its_image_only(source: str, places: Places) -> None:
    target = places.new("oci")
    copy_image(source, target, CopyOptions(platforms=("ltsc2022", "ltsc2025")))
    assert len(json.loads(document(target).raw)["manifests"]) == 2


def test_an_index_of_which_all_is_taken_is_the_same_index(places: Places) -> None:
    layout = places.folder / "two"
    entries = []
    for version in VERSIONS[:2]:
        platform = Platform("windows", "amd64", os_version=version)
        entry = write_image(layout, [layer_tar(version)], platform=platform, entry_platform=platform)
        entries.append(entry.to_json())
    raw = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}, indent=3).encode()
    digest = LayoutWriter(layout).put_manifest(raw, name="all").digest
    target = places.new("registry")
    options = CopyOptions(platforms=("ltsc2019", "ltsc2022"), preserve_digests=True)
    assert copy_image(f"oci:{layout}:all", target, options).digest == digest


def test_two_platforms_that_one_image_fits_give_that_image(source: str, places: Places) -> None:
    target = places.new("oci")
    copy_image(source, target, CopyOptions(platforms=("ltsc2022", "windows/amd64:10.0.20348.3091")))
    assert isinstance(document(target), Manifest)


def test_a_nested_index_is_opened_and_its_images_join_the_new_one(places: Places) -> None:
    layout = places.folder / "nested"
    windows_index(layout, name="inner")
    platform = Platform("windows", "arm64", os_version="10.0.26100.1")
    entry = write_image(layout, [layer_tar("arm")], platform=platform, entry_platform=platform)
    inner = document(f"oci:{layout}:inner")
    listed = {"mediaType": OCI_INDEX, "digest": str(inner.digest), "size": len(inner.raw)}
    writer = LayoutWriter(layout)
    raw = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [entry.to_json(), listed, listed]})
    whole = writer.put_manifest(raw, name="outer").digest
    target = places.new("registry")
    copy_image(f"oci:{layout}:outer", target, CopyOptions(platforms=("ltsc2019", "windows/arm64")))
    assert sorted(versions(target)) == ["10.0.17763.6414", "10.0.26100.1"]
    second = places.new("registry")
    assert copy_image(f"oci:{layout}:outer", second, CopyOptions(all_platforms=True)).digest == whole


def test_a_platform_that_is_not_there_is_an_error_that_lists_what_is(source: str, places: Places) -> None:
    with pytest.raises(NotFoundError, match=r"10\.0\.17763\.6414"):
        copy_image(source, places.new("oci"), CopyOptions(platforms=("windows/arm64",)))


def test_digests_that_must_stay_forbid_a_smaller_index(source: str, places: Places) -> None:
    with pytest.raises(UnsupportedError, match="would become"):
        copy_image(source, places.new("oci"), CopyOptions(platforms=("ltsc2019", "ltsc2022"), preserve_digests=True))


def test_an_archive_of_docker_holds_no_index(source: str, places: Places) -> None:
    target = places.new("docker-archive")
    with pytest.raises(UnsupportedError, match="index"):
        copy_image(source, target, CopyOptions(all_platforms=True))
    with pytest.raises(UnsupportedError, match="uncompressed"):
        copy_image(source, target, CopyOptions(preserve_digests=True))
    assert not list(places.folder.glob("place*"))


def test_a_layout_with_several_names_wants_one(places: Places) -> None:
    layout = places.folder / "several"
    for name in ("a", "b"):
        write_image(layout, [layer_tar(name)], name=name)
    with pytest.raises(UsageError, match="a, b"):
        copy_image(f"oci:{layout}", places.new("oci"))


def test_a_dry_run_says_what_is_missing_and_writes_nothing(source: str, places: Places) -> None:
    target = places.new("oci")
    folder = target.split(":")[1]
    result = copy_image(source, target, CopyOptions(dry_run=True))
    assert result.status == "planned"
    assert {blob.outcome for blob in result.blobs} == {"missing"}
    assert not places.folder.joinpath(folder).exists()
    copy_image(source, target)
    again = copy_image(source, target, CopyOptions(dry_run=True))
    assert {blob.outcome for blob in again.blobs} == {"present"}
    for kind in ("oci-archive", "dir", "docker-archive", "registry", "store"):
        assert copy_image(source, places.new(kind), CopyOptions(dry_run=True)).status == "planned"
    assert sorted(path.name for path in places.folder.glob("place*")) == [folder.rpartition("/")[2]]
