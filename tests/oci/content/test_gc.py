"""Collecting: what is needed stays, what is used stays, and the rest goes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.oci.samples import WINDOWS, layer_tar, write_image
from wclayer.errors import NetworkError
from wclayer.oci import Descriptor, Digest, Manifest, Platform
from wclayer.oci.content.gc import PARTIAL_AGE, collect, usage
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.content.store import ContentStore
from wclayer.oci.descriptors import parse_document
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_json
from wclayer.oci.mediatypes import OCI_INDEX, OCI_LAYER

NAME = "example.com/app:1"
LOOSE = b"nobody needs this"


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def put_image(store: ContentStore, name: str, *texts: str, scratch: Path) -> Manifest:
    """An image of one layer for each text, listed by ``name``."""
    entry = write_image(scratch, [layer_tar(text) for text in texts])
    for path in (scratch / "blobs" / "sha256").iterdir():
        digest = Digest("sha256", path.name)
        store.put_bytes(path.read_bytes(), OCI_LAYER, digest=digest)
    raw = (scratch / entry.digest.blob_path).read_bytes()
    if name:
        store.tag(name, raw)
    manifest = parse_document(raw)
    assert isinstance(manifest, Manifest)
    return manifest


def put_loose(store: ContentStore, data: bytes = LOOSE) -> Digest:
    return store.put_bytes(data, OCI_LAYER, digest=digest_of(data)).digest


def test_of_nothing_nothing_is_collected(store: ContentStore) -> None:
    assert collect(store).blobs == 0
    assert usage(store).blobs == 0
    assert not store.folder.exists()


def test_what_names_lead_to_stays(store: ContentStore, tmp_path: Path) -> None:
    manifest = put_image(store, NAME, "one", "two", scratch=tmp_path / "image")
    loose = put_loose(store)
    before = usage(store)
    assert (before.blobs, before.unneeded, before.unneeded_size) == (5, 1, len(LOOSE))
    assert [(one.name, one.blobs, one.missing) for one in before.names] == [(NAME, 4, 0)]
    dry = collect(store, dry_run=True)
    assert (dry.blobs, dry.size) == (1, len(LOOSE))
    assert store.blob(loose) is not None
    done = collect(store)
    assert (done.blobs, done.size, done.names) == (1, len(LOOSE), [])
    assert store.blob(loose) is None
    for blob in (manifest.config, *manifest.layers):
        assert store.blob(blob.digest, blob.size) is not None
    assert collect(store).blobs == 0


def test_layers_that_are_kept_uncompressed_stay_with_their_image(store: ContentStore, tmp_path: Path) -> None:
    put_image(store, NAME, "one", scratch=tmp_path / "image")
    diff_id = put_loose(store, layer_tar("one"))
    assert collect(store).blobs == 0
    assert store.blob(diff_id) is not None


def test_an_index_keeps_what_is_here_of_it(store: ContentStore, tmp_path: Path) -> None:
    manifest = put_image(store, "", "one", scratch=tmp_path / "image")
    here = Descriptor(manifest.media_type, manifest.digest, manifest.size, platform=WINDOWS)
    absent = Descriptor(manifest.media_type, digest_of(b"absent"), 6, platform=Platform("linux", "amd64"))
    raw = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [here.to_json(), absent.to_json()]})
    store.tag(NAME, raw, OCI_INDEX)
    found = usage(store)
    assert [(one.blobs, one.missing) for one in found.names] == [(4, 0)]
    assert collect(store).blobs == 0
    (store.folder / manifest.layers[0].digest.blob_path).unlink()
    assert usage(store).names[0].missing == 1


def test_what_was_forgotten_goes_but_for_what_others_share(store: ContentStore, tmp_path: Path) -> None:
    first = put_image(store, NAME, "base", "one", scratch=tmp_path / "first")
    second = put_image(store, "example.com/app:2", "base", "two", scratch=tmp_path / "second")
    store.untag([NAME])
    assert collect(store).blobs == 3  # the manifest, the configuration, and one layer
    assert store.blob(first.layers[1].digest) is None
    assert store.blob(second.layers[0].digest) is not None


def test_what_was_not_used_for_long_is_forgotten_when_asked(store: ContentStore, tmp_path: Path) -> None:
    old = put_image(store, NAME, "one", scratch=tmp_path / "first")
    put_image(store, "example.com/app:2", "two", scratch=tmp_path / "second")
    os.utime(store.folder / old.digest.blob_path, (1, 1))
    assert collect(store, unused_for=3600, dry_run=True).names == [NAME]
    done = collect(store, unused_for=3600)
    assert (done.names, done.blobs) == ([NAME], 3)
    assert list(store.names()) == ["example.com/app:2"]
    store.touch(store.names()["example.com/app:2"].digest)
    assert collect(store, unused_for=3600).names == []
    assert collect(store, everything=True).names == ["example.com/app:2"]
    assert usage(store).blobs == 0


def test_what_is_leased_stays_until_the_lease_ends(store: ContentStore, tmp_path: Path) -> None:
    manifest = put_image(store, NAME, "one", scratch=tmp_path / "image")
    loose = put_loose(store)
    with store.lease() as lease:
        lease.add(loose)
        lease.add(manifest.digest, manifest.config.digest, *(layer.digest for layer in manifest.layers))
        done = collect(ContentStore(store.folder), everything=True)
        assert (done.names, done.blobs, done.leased) == ([], 0, 1)
        assert store.blob(loose) is not None
    assert collect(store).blobs == 1
    assert not any((store.folder / "leases").iterdir())


LEASE = """
import sys, time
from pathlib import Path
from wclayer.oci.content.store import ContentStore
from wclayer.oci import Digest
lease = ContentStore(Path(sys.argv[1])).lease()
lease.add(Digest.parse(sys.argv[2]))
print("here", flush=True)
time.sleep(600)
"""


def test_the_lease_of_another_process_counts_while_it_lives(store: ContentStore) -> None:
    loose = put_loose(store)
    arguments = [sys.executable, "-c", LEASE, str(store.folder), str(loose)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        assert (collect(store).leased, store.blob(loose) is not None) == (1, True)
        other.kill()
    assert len(os.listdir(store.folder / "leases")) == 1
    assert (collect(store).blobs, store.blob(loose)) == (1, None)
    assert os.listdir(store.folder / "leases") == []


CHURN = """
import sys, time
from pathlib import Path
from wclayer.oci.content.store import ContentStore
from wclayer.oci.digests import digest_of
store = ContentStore(Path(sys.argv[1]))
for number in range(60):
    data = b"%d" % (number % 7)
    digest = digest_of(data)
    with store.lease() as lease:
        lease.add(digest)
        if store.blob(digest) is None:
            store.put_bytes(data, "application/octet-stream", digest=digest)
        for _ in range(3):
            assert store.blob(digest).read_bytes() == data
            time.sleep(0.001)
"""


def test_what_was_seen_under_a_lease_is_never_collected(store: ContentStore) -> None:
    put_loose(store)
    users = [subprocess.Popen([sys.executable, "-c", CHURN, str(store.folder)]) for _ in range(3)]
    removed = 0
    while any(user.poll() is None for user in users):
        removed += collect(store).blobs
    assert [user.wait() for user in users] == [0, 0, 0]
    assert removed > 1


def test_downloads_nobody_goes_on_with_are_given_up_after_a_week(store: ContentStore) -> None:
    data = os.urandom(2_000_000)

    def half(partial: PartialBlob) -> None:
        partial.write(0, data[:1_500_000])
        raise NetworkError("it broke")

    with pytest.raises(NetworkError):
        store.ingest(digest_of(data), len(data), half)
    found = usage(store)
    assert found.partials == 1
    assert found.partial_size >= 1_500_000
    assert collect(store).partials == 0
    dry = collect(store, now=lambda: time.time() + PARTIAL_AGE + 60, dry_run=True)
    assert (dry.partials, usage(store).partials) == (1, 1)
    done = collect(store, now=lambda: time.time() + PARTIAL_AGE + 60)
    assert (done.partials, usage(store).partials) == (1, 0)
    assert os.listdir(store.folder / "ingest") == []
    with pytest.raises(NetworkError):
        store.ingest(digest_of(data), len(data), half)
    assert collect(store, everything=True).partials == 1


def test_a_download_that_goes_on_is_left_alone(store: ContentStore) -> None:
    data = os.urandom(2_000_000)

    def fetch(partial: PartialBlob) -> None:
        partial.write(0, data[:1_500_000])
        assert collect(ContentStore(store.folder), everything=True).partials == 0
        partial.write(1_500_000, data[1_500_000:])

    assert store.ingest(digest_of(data), len(data), fetch).read_bytes() == data


def test_what_is_no_blob_is_left_alone(store: ContentStore) -> None:
    put_loose(store)
    (store.folder / "blobs" / "sha256" / "README").write_text("mine")
    (store.folder / ".wclayer-0123456789abcdef").write_text("left by a program that died")
    os.utime(store.folder / ".wclayer-0123456789abcdef", (1, 1))
    assert collect(store).blobs == 1
    assert (store.folder / "blobs" / "sha256" / "README").read_text() == "mine"
    assert not (store.folder / ".wclayer-0123456789abcdef").exists()


def test_a_manifest_that_is_damaged_leads_nowhere(store: ContentStore, tmp_path: Path) -> None:
    manifest = put_image(store, NAME, "one", scratch=tmp_path / "image")
    (store.folder / manifest.digest.blob_path).write_bytes(b"{")
    assert collect(store).blobs == 2
    assert list(store.names()) == [NAME]
