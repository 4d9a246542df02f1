"""The content store: what is put into it, by whom, and how it survives."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from wclayer.errors import DigestMismatchError, NetworkError, NotFoundError, StoreError, UnsupportedError
from wclayer.oci import open_image
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.content.store import MARKER, ContentStore
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_json
from wclayer.oci.layout import Layout
from wclayer.oci.mediatypes import OCI_INDEX, OCI_LAYER
from wclayer.oci.trees import FolderTree

DATA = os.urandom(3_000_000)
DIGEST = digest_of(DATA)
DEADLINE = 60.0


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(tmp_path / "store")


def write_all(partial: PartialBlob) -> None:
    for start, end in partial.missing():
        partial.write(start, DATA[start:end])


def write_zeros(partial: PartialBlob) -> None:
    partial.write(0, bytes(len(DATA)))


def test_looking_makes_nothing(store: ContentStore) -> None:
    assert store.blob(DIGEST) is None
    assert store.read(DIGEST, 10, what="x") is None
    assert store.names() == {}
    assert not store.exists()
    assert not store.folder.exists()


def test_what_is_put_into_it_is_a_layout(store: ContentStore) -> None:
    raw = encode_json({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []})
    store.tag("example.com:5000/app/one:1", raw)
    store.tag("example.com:5000/app/two:1", raw)
    assert store.names()["example.com:5000/app/one:1"].digest == digest_of(raw)
    assert Layout(FolderTree(store.folder)).names() == ["example.com:5000/app/one:1", "example.com:5000/app/two:1"]
    with pytest.raises(NotFoundError, match="there is no image at all"):
        open_image(f"oci:{store.folder}:example.com:5000/app/two:1")
    store.untag(["example.com:5000/app/one:1", "never/there:1"])
    assert list(store.names()) == ["example.com:5000/app/two:1"]
    assert store.blob(digest_of(raw)) is not None


@pytest.mark.parametrize("name", ["file.txt", "oci-layout", "index.json"])
def test_a_folder_with_something_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"{}")
    with pytest.raises(StoreError, match="is no content store") as caught:
        ContentStore(tmp_path)
    assert name in str(caught.value)
    assert os.listdir(tmp_path) == [name]


def test_an_empty_folder_is_taken(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    store.put_bytes(b"x", OCI_LAYER, digest=digest_of(b"x"))
    assert store.blob(digest_of(b"x"), 1) is not None
    assert store.blob(digest_of(b"x"), 2) is None
    assert ContentStore(tmp_path).exists()


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text('{"schema": "wclayer.store/2"}')
    with pytest.raises(UnsupportedError, match="another version"):
        ContentStore(tmp_path)


def test_a_blob_is_fetched_once_and_appears_whole(store: ContentStore) -> None:
    fronts: list[int] = []
    path = store.ingest(DIGEST, len(DATA), write_all, watch=fronts.append)
    assert path == store.blob(DIGEST, len(DATA))
    assert path.read_bytes() == DATA
    assert fronts[-1] == len(DATA)
    assert os.listdir(store.folder / "ingest") == []

    def never(_partial: PartialBlob) -> None:
        raise AssertionError

    assert store.ingest(DIGEST, len(DATA), never) == path


@pytest.mark.parametrize("data", [b"", b"x"])
def test_small_blobs_are_blobs_too(data: bytes, store: ContentStore) -> None:
    def write(partial: PartialBlob) -> None:
        if data:
            partial.write(0, data)

    assert store.ingest(digest_of(data), len(data), write).read_bytes() == data


def test_wrong_bytes_never_become_a_blob(store: ContentStore) -> None:
    with pytest.raises(DigestMismatchError):
        store.ingest(DIGEST, len(DATA), write_zeros)
    with pytest.raises(DigestMismatchError):
        store.put_bytes(b"other", OCI_LAYER, digest=DIGEST)
    with pytest.raises(DigestMismatchError):
        store.put_once(DIGEST, OCI_LAYER, lambda: b"other", size=None)
    assert store.blob(DIGEST) is None
    assert store.ingest(DIGEST, len(DATA), write_all).read_bytes() == DATA


def test_a_failed_fetch_leaves_what_came_for_the_next_one(store: ContentStore) -> None:
    def half(partial: PartialBlob) -> None:
        partial.write(0, DATA[:2_000_000])
        raise NetworkError("it broke")

    with pytest.raises(NetworkError):
        store.ingest(DIGEST, len(DATA), half)
    seen: list[int] = []

    def rest(partial: PartialBlob) -> None:
        seen.append(partial.present)
        write_all(partial)

    assert store.ingest(DIGEST, len(DATA), rest).read_bytes() == DATA
    assert seen == [2_000_000]


def test_a_blob_of_the_wrong_size_is_replaced(store: ContentStore) -> None:
    path = store.ingest(DIGEST, len(DATA), write_all)
    path.write_bytes(DATA[:-1])
    assert store.blob(DIGEST, len(DATA)) is None
    assert store.ingest(DIGEST, len(DATA), write_all).read_bytes() == DATA


def test_threads_that_want_the_same_share_one_fetch(tmp_path: Path) -> None:
    fetched: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def slow(partial: PartialBlob) -> None:
        fetched.append(1)
        begun.set()
        partial.write(0, DATA[:2_000_000])
        assert go.wait(DEADLINE)
        write_all(partial)

    paths: list[Path] = []
    fronts: list[int] = []

    def want() -> None:
        paths.append(ContentStore(tmp_path / "store").ingest(DIGEST, len(DATA), slow, watch=fronts.append))

    threads = [threading.Thread(target=want) for _ in range(5)]
    for thread in threads:
        thread.start()
    assert begun.wait(DEADLINE)
    deadline = time.monotonic() + DEADLINE
    while fronts.count(2_000_000) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)  # those who wait see how far it is
    go.set()
    for thread in threads:
        thread.join(DEADLINE)
    assert fetched == [1]
    assert len(paths) == 5
    assert {path.read_bytes() for path in paths} == {DATA}


def test_who_waits_may_give_up(store: ContentStore) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(partial: PartialBlob) -> None:
        begun.set()
        assert go.wait(DEADLINE)
        write_all(partial)

    first = threading.Thread(target=store.ingest, args=(DIGEST, len(DATA), slow))
    first.start()
    assert begun.wait(DEADLINE)

    class Enough(Exception):
        pass

    def enough(_front: int) -> None:
        raise Enough

    with pytest.raises(Enough):
        ContentStore(store.folder).ingest(DIGEST, len(DATA), write_all, watch=enough)
    go.set()
    first.join(DEADLINE)
    assert store.blob(DIGEST, len(DATA)) is not None


HOLD = """
import sys, time
from pathlib import Path
from wclayer.oci.content.store import ContentStore
from wclayer.oci import Digest
def fetch(partial):
    partial.write(0, Path(sys.argv[3]).read_bytes()[:2_000_000])
    print("here", flush=True)
    time.sleep(600)
ContentStore(Path(sys.argv[1])).ingest(Digest.parse(sys.argv[2]), 3_000_000, fetch)
"""


def test_when_the_one_who_fetches_is_killed_the_next_one_goes_on(store: ContentStore, tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(DATA)
    arguments = [sys.executable, "-c", HOLD, str(store.folder), str(DIGEST), str(tmp_path / "data")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"here\n"
        seen: list[int] = []

        def rest(partial: PartialBlob) -> None:
            seen.append(partial.front)
            write_all(partial)

        waiting = threading.Thread(target=store.ingest, args=(DIGEST, len(DATA), rest))
        waiting.start()
        time.sleep(0.1)
        assert not seen
        other.kill()
        waiting.join(DEADLINE)
    assert seen == [2_000_000]
    assert store.blob(DIGEST, len(DATA)) is not None


def test_a_read_only_folder_is_an_error_of_the_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        ContentStore(tmp_path / "file" / "store").put_bytes(b"x", OCI_LAYER, digest=digest_of(b"x"))
