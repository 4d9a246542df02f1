from __future__ import annotations

import json
import os
import threading
from pathlib import Path

import pytest

from tests.oci.samples import Source, dumps, layer_tar, packed, write_image
from wclayer.errors import DigestMismatchError, FormatError, StoreError, UnsupportedError
from wclayer.oci import Descriptor, LayoutWriter, Platform
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_manifest
from wclayer.oci.mediatypes import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_LAYER_GZIP, OCI_MANIFEST

MANIFEST = encode_manifest(Descriptor(OCI_CONFIG, digest_of(b"{}"), 2), [])
OTHER = encode_manifest(Descriptor(OCI_CONFIG, digest_of(b"{ }"), 3), [])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def listed(folder: Path) -> list[tuple[str | None, str]]:
    index = json.loads((folder / "index.json").read_bytes())
    return [
        (entry.get("annotations", {}).get("org.opencontainers.image.ref.name"), entry["digest"])
        for entry in index["manifests"]
    ]


def test_a_new_layout_is_whole_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_image(tmp_path / name, [layer_tar("x"), layer_tar("y")], name="v1")
    assert files(tmp_path / "a") == files(tmp_path / "b")
    found = files(tmp_path / "a")
    assert found.pop("oci-layout") == b'{"imageLayoutVersion":"1.0.0"}'
    index = json.loads(found.pop("index.json"))
    assert (index["schemaVersion"], index["mediaType"], len(index["manifests"])) == (2, OCI_INDEX, 1)
    assert len(found) == 4
    for path, data in found.items():
        assert digest_of(data).blob_path == path


def test_files_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    old = os.umask(0o022)
    try:
        write_image(tmp_path, [layer_tar("x")])
    finally:
        os.umask(old)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*") if path.is_file()} == {0o644}


def test_a_name_is_replaced_and_others_keep_their_places(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    writer.put_manifest(MANIFEST, name="a")
    writer.put_manifest(MANIFEST, name="b")
    writer.put_manifest(OTHER, name="a")
    LayoutWriter(tmp_path).put_manifest(MANIFEST, name="c")
    first, other = str(digest_of(MANIFEST)), str(digest_of(OTHER))
    assert listed(tmp_path) == [("a", other), ("b", first), ("c", first)]


def test_a_nameless_manifest_is_listed_once(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    writer.put_manifest(MANIFEST, name="a")
    writer.put_manifest(MANIFEST)
    writer.put_manifest(OTHER)
    entry = writer.put_manifest(MANIFEST, platform=Platform("windows", "amd64"), annotations={"x": "y"})
    assert [name for name, _ in listed(tmp_path)] == ["a", None, None]
    assert json.loads((tmp_path / "index.json").read_bytes())["manifests"][1] == entry.to_json()


def test_what_others_wrote_into_the_index_stays(tmp_path: Path) -> None:
    LayoutWriter(tmp_path)
    strange = {"mediaType": OCI_MANIFEST, "digest": str(digest_of(b"")), "size": 0, "unknown": {"b": 1, "a": [None]}}
    index = {"annotations": {"k": "v"}, "schemaVersion": 2, "future": [1.5, "é"], "manifests": [strange]}
    (tmp_path / "index.json").write_bytes(dumps(index))
    entry = LayoutWriter(tmp_path).put_manifest(MANIFEST, name="a")
    after = json.loads((tmp_path / "index.json").read_bytes())
    assert after == {**index, "manifests": [strange, entry.to_json()]}
    assert list(after) == list(index)


def test_blobs_of_every_compression(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    for compression, media_type in (("none", OCI_LAYER), ("gzip", OCI_LAYER_GZIP), ("zstd", OCI_LAYER + "+zstd")):
        with writer.new_layer(compression) as sink:  # type: ignore[arg-type]
            sink.write_all([b"abc", b"def"])
        assert sink.diff_id == digest_of(b"abcdef")
        assert sink.descriptor.media_type == media_type
        data = (tmp_path / sink.descriptor.digest.blob_path).read_bytes()
        assert (digest_of(data), len(data)) == (sink.descriptor.digest, sink.descriptor.size)


def test_a_layer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    before = files(tmp_path)
    with pytest.raises(TypeError), writer.new_layer() as sink:
        sink.write_all([b"x" * 1_000_000, "no bytes"])  # type: ignore[list-item]
    assert files(tmp_path) == before


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_blob_is_stored_under_its_digest(tmp_path: Path, algorithm: str) -> None:
    writer = LayoutWriter(tmp_path)
    source = Source(b"content", 3)
    digest = digest_of(b"content", algorithm)
    assert writer.put_blob(source, OCI_LAYER, digest=digest, size=7) == Descriptor(OCI_LAYER, digest, 7)
    assert (tmp_path / digest.blob_path).read_bytes() == b"content"
    assert source.closed


@pytest.mark.parametrize(("digest", "size"), [(digest_of(b"other"), None), (None, 6), (None, 8)])
def test_a_blob_that_is_not_what_was_promised_is_not_stored(tmp_path: Path, digest: None, size: int | None) -> None:
    writer = LayoutWriter(tmp_path)
    before = files(tmp_path)
    source = Source(b"content")
    with pytest.raises(DigestMismatchError):
        writer.put_blob(source, OCI_LAYER, digest=digest, size=size)
    assert source.closed
    with pytest.raises(DigestMismatchError):
        writer.put_bytes(b"content", OCI_LAYER, digest=digest_of(b"other"))
    assert files(tmp_path) == before


def test_a_blob_that_is_there_is_left_and_a_half_one_is_replaced(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    path = tmp_path / writer.put_bytes(b"content", OCI_LAYER).digest.blob_path
    inode = path.stat().st_ino
    writer.put_blob(Source(b"content"), OCI_LAYER)
    writer.put_bytes(b"content", OCI_LAYER)
    assert path.stat().st_ino == inode
    path.write_bytes(b"cont")
    writer.put_bytes(b"content", OCI_LAYER)
    assert path.read_bytes() == b"content"


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "oci-layout").write_bytes(b'{"imageLayoutVersion":"9"}')
    with pytest.raises(UnsupportedError):
        LayoutWriter(tmp_path)
    file = tmp_path / "file"
    file.write_bytes(b"")
    with pytest.raises(StoreError):
        LayoutWriter(file)


def test_a_manifest_that_is_none_is_refused(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    before = files(tmp_path)
    with pytest.raises(FormatError):
        writer.put_manifest(b"{}", name="a")
    with pytest.raises(FormatError):
        writer.put_manifest(MANIFEST, name="a", media_type=OCI_INDEX)
    assert files(tmp_path) == before


def test_writers_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    LayoutWriter(tmp_path)

    def add(number: int) -> None:
        writer = LayoutWriter(tmp_path)
        for count in range(5):
            writer.put_manifest(MANIFEST, name=f"{number}-{count}")

    threads = [threading.Thread(target=add, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {name for name, _ in listed(tmp_path)} == {f"{number}-{count}" for number in range(6) for count in range(5)}
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".wclayer")]


def test_an_index_of_several_images_can_be_stored(tmp_path: Path) -> None:
    writer = LayoutWriter(tmp_path)
    index = dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    assert writer.put_manifest(index, name="all").media_type == OCI_INDEX


def test_a_blob_is_stored_as_it_came(tmp_path: Path) -> None:
    blob = packed(b"x")
    descriptor = LayoutWriter(tmp_path).put_blob(Source(blob), OCI_LAYER_GZIP, annotations={"a": "b"})
    assert descriptor.annotations == {"a": "b"}
    assert (tmp_path / descriptor.digest.blob_path).read_bytes() == blob
