"""Blobs into a registry: not at all, mounted, in one request or in chunks, and nothing left behind when it fails."""

from __future__ import annotations

import random
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from tests.faults.faults import corrupt_upload, drop_upload, status
from tests.faults.origin import Bytes, Origin
from tests.faults.proxy import Proxy, Script, always, upload_data
from tests.faults.runner import connected, descriptor_of
from tests.faults.wire import Request, Server
from tests.registries.docker_registry import PASSWORD, USER, DockerRegistry
from wclayer.errors import AuthenticationError, DigestMismatchError, UnsupportedError, UsageError
from wclayer.oci.registry.blobs import open_blob
from wclayer.oci.registry.names import RegistryName, parse_registry_name
from wclayer.oci.registry.repository import Repository
from wclayer.oci.registry.secrets import Secret
from wclayer.oci.registry.upload import upload
from wclayer.oci.sources import BinarySource, open_file, read_all

MEBI = 1 << 20
NAME = "some/images"


@pytest.fixture(scope="module")
def blob() -> Bytes:
    return Bytes(random.Random(11).randbytes(3 * MEBI + 5))


@pytest.fixture
def origin() -> Origin:
    return Origin()


@pytest.fixture
def server(origin: Origin) -> Iterator[Server]:
    with Server(origin) as running:
        yield running


@pytest.fixture
def repository(server: Server) -> Iterator[Repository]:
    with connected(server.host, NAME) as repository:
        yield repository


class Sources:
    """Gives the bytes of a blob from the start each time, and remembers how often."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.opened: list[BytesIO] = []

    def __call__(self) -> BinarySource:
        self.opened.append(BytesIO(self.data))
        return self.opened[-1]


def methods(server: Server) -> list[str]:
    return [request.method for request in server.requests]


def sibling(repository: Repository, name: str) -> RegistryName:
    return parse_registry_name(f"{repository.name.host}/{name}")


@pytest.mark.parametrize("size", [0, 1, 2, MEBI])
@pytest.mark.parametrize("chunk", [None, 1, 300_000])
def test_a_blob_is_uploaded_once(
    repository: Repository, server: Server, origin: Origin, size: int, chunk: int | None
) -> None:
    if chunk == 1:
        size = min(size, 5)
    wanted = Bytes(random.Random(size).randbytes(size))
    told: list[int] = []
    sources = Sources(wanted.data)
    answer = upload(repository, sources, descriptor_of(wanted), chunk_size=chunk, advance=told.append)
    assert answer == "uploaded"
    stored = origin.blobs[NAME, str(wanted.digest)]
    assert isinstance(stored, Bytes)
    assert stored.data == wanted.data
    assert sum(told) == size
    assert all(source.closed for source in sources.opened)
    assert methods(server).count("PATCH") == (-(-size // chunk) if chunk else min(size, 1))
    assert upload(repository, sources, descriptor_of(wanted)) == "exists"
    assert methods(server)[-1] == "HEAD"


def test_a_chunk_carries_its_range_and_length(repository: Repository, server: Server, blob: Bytes) -> None:
    upload(repository, Sources(blob.data), descriptor_of(blob), chunk_size=MEBI)
    chunks = [
        (request.headers["content-range"], request.headers["content-length"])
        for request in server.requests
        if request.method == "PATCH"
    ]
    assert chunks == [
        ("0-1048575", "1048576"),
        ("1048576-2097151", "1048576"),
        ("2097152-3145727", "1048576"),
        ("3145728-3145732", "5"),
    ]


def test_chunks_are_as_large_as_the_registry_wants_them(
    repository: Repository, server: Server, origin: Origin, blob: Bytes
) -> None:
    origin.chunk_minimum = 2 * MEBI
    upload(repository, Sources(blob.data), descriptor_of(blob), chunk_size=1000)
    lengths = [request.headers["content-length"] for request in server.requests if request.method == "PATCH"]
    assert lengths == [str(2 * MEBI), str(MEBI + 5)]


def test_a_chunk_of_nothing_is_refused(repository: Repository, blob: Bytes) -> None:
    with pytest.raises(UsageError):
        upload(repository, Sources(blob.data), descriptor_of(blob), chunk_size=0)


def test_a_blob_of_another_repository_is_mounted(
    repository: Repository, server: Server, origin: Origin, blob: Bytes
) -> None:
    origin.blobs["base/images", str(blob.digest)] = blob
    sources = Sources(blob.data)
    candidates = [
        parse_registry_name("elsewhere.example/base/images"),
        repository.name,
        sibling(repository, "base/images"),
        sibling(repository, "more/images"),
    ]
    assert upload(repository, sources, descriptor_of(blob), mount_from=candidates) == "mounted"
    assert sources.opened == []
    assert methods(server) == ["HEAD", "POST"]
    assert (NAME, str(blob.digest)) in origin.blobs


def test_where_nothing_can_be_mounted_one_session_is_used_and_the_others_are_cancelled(
    repository: Repository, server: Server, origin: Origin, blob: Bytes
) -> None:
    candidates = [sibling(repository, f"base{number}/images") for number in range(9)]
    assert upload(repository, Sources(blob.data), descriptor_of(blob), mount_from=candidates) == "uploaded"
    assert methods(server).count("POST") == 4, "not every candidate is asked"
    assert methods(server).count("DELETE") == 3
    assert origin.uploads == {}


@pytest.mark.parametrize("code", [401, 403, 404, 405])
def test_a_mount_that_is_refused_is_an_upload(server: Server, origin: Origin, blob: Bytes, code: int) -> None:
    def mounts(request: Request) -> bool:
        return "mount" in request.query

    with (
        Server(Proxy(server.host, Script(mounts, always(status(code))))) as proxy,
        connected(proxy.host, NAME) as repository,
    ):
        candidates = [sibling(repository, "base/images")]
        assert upload(repository, Sources(blob.data), descriptor_of(blob), mount_from=candidates) == "uploaded"
    assert (NAME, str(blob.digest)) in origin.blobs


def test_after_a_drop_only_the_rest_is_sent(server: Server, blob: Bytes, tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(blob.data)
    script = Script(upload_data, [None, drop_upload(0.5)])
    told: list[int] = []
    with Server(Proxy(server.host, script)) as proxy, connected(proxy.host, NAME) as repository:
        upload(
            repository,
            lambda: open_file(tmp_path / "blob"),
            descriptor_of(blob),
            chunk_size=MEBI,
            advance=told.append,
        )
    patches = [request.headers["content-range"] for request in proxy.requests if request.method == "PATCH"]
    assert patches == ["0-1048575", "1048576-2097151", "1572864-2621439", "2621440-3145732"]
    assert sum(told) == blob.size


def test_an_upload_that_fails_leaves_no_session(server: Server, origin: Origin, blob: Bytes) -> None:
    script = Script(lambda request: request.method == "PUT", always(status(403)))
    with (
        Server(Proxy(server.host, script)) as proxy,
        connected(proxy.host, NAME) as repository,
        pytest.raises(AuthenticationError) as caught,
    ):
        upload(repository, Sources(blob.data), descriptor_of(blob))
    assert caught.value.image is not None
    assert methods(proxy)[-1] == "DELETE"
    assert origin.uploads == {}


def test_an_interrupted_upload_leaves_no_session(repository: Repository, origin: Origin, blob: Bytes) -> None:
    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        upload(repository, Sources(blob.data), descriptor_of(blob), advance=interrupt)
    assert origin.uploads == {}


def test_our_own_damaged_copy_is_named_as_such(repository: Repository, origin: Origin, blob: Bytes) -> None:
    damaged = Sources(bytes(blob.size))
    with pytest.raises(DigestMismatchError, match="the blob to send has the digest"):
        upload(repository, damaged, descriptor_of(blob))
    assert origin.blobs == {}
    assert origin.uploads == {}


def test_a_copy_that_is_too_short_is_named_as_such(repository: Repository, origin: Origin, blob: Bytes) -> None:
    with pytest.raises(DigestMismatchError, match="shorter than its 3145733 bytes"):
        upload(repository, Sources(blob.data[:-1]), descriptor_of(blob))
    assert origin.blobs == {}
    assert origin.uploads == {}


def test_a_right_copy_that_arrives_wrong_twice_is_not_ours_to_blame(server: Server, blob: Bytes) -> None:
    with (
        Server(Proxy(server.host, Script(upload_data, always(corrupt_upload(0.3))))) as proxy,
        connected(proxy.host, NAME) as repository,
        pytest.raises(DigestMismatchError, match="something on the way changes it"),
    ):
        upload(repository, Sources(blob.data), descriptor_of(blob))
    assert methods(proxy).count("PATCH") == 1
    assert methods(proxy).count("PUT") == 2


# ------------------------------------------------------------------------------------------------------ docker-registry


@pytest.mark.parametrize("chunk", [None, MEBI])
def test_docker_registry_takes_a_blob_and_gives_it_back(
    registry: DockerRegistry, repository_name: str, blob: Bytes, chunk: int | None
) -> None:
    with connected(registry.host, repository_name) as repository:
        assert upload(repository, Sources(blob.data), descriptor_of(blob), chunk_size=chunk) == "uploaded"
        assert upload(repository, Sources(blob.data), descriptor_of(blob), chunk_size=chunk) == "exists"
        back = read_all(open_blob(repository, descriptor_of(blob)), blob.size, what="the blob")
        part = read_all(open_blob(repository, descriptor_of(blob), offset=9, length=9), blob.size, what="the blob")
    assert back == blob.data
    assert part == blob.data[9:18]
    assert not list((registry.storage).rglob(f"{repository_name}/_uploads/*")), "no session is left"


def test_docker_registry_mounts_a_blob(registry: DockerRegistry, repository_name: str, blob: Bytes) -> None:
    with connected(registry.host, f"{repository_name}/base") as base:
        upload(base, Sources(blob.data), descriptor_of(blob))
    sources = Sources(blob.data)
    with connected(registry.host, repository_name) as repository:
        assert upload(repository, sources, descriptor_of(blob), mount_from=[base.name]) == "mounted"
        assert repository.has_blob(descriptor_of(blob).digest) == blob.size
    assert sources.opened == []


def test_mounting_asks_for_a_token_for_both_repositories(
    token_registry: DockerRegistry, repository_name: str, blob: Bytes
) -> None:
    person = {"anonymous": False, "username": USER, "password": Secret(PASSWORD)}
    with connected(token_registry.host, f"{repository_name}/base", **person) as base:
        upload(base, Sources(blob.data), descriptor_of(blob))
    with connected(token_registry.host, repository_name, **person) as repository:
        assert upload(repository, Sources(blob.data), descriptor_of(blob), mount_from=[base.name]) == "mounted"


def test_nobody_may_push_without_a_password(basic_registry: DockerRegistry, blob: Bytes) -> None:
    with connected(basic_registry.host, "secret/images") as repository, pytest.raises(AuthenticationError):
        upload(repository, Sources(blob.data), descriptor_of(blob))


def test_a_registry_that_only_reads_says_so(
    read_only_registry: DockerRegistry, repository_name: str, blob: Bytes
) -> None:
    with (
        connected(read_only_registry.host, repository_name) as repository,
        pytest.raises(UnsupportedError),
    ):
        upload(repository, Sources(blob.data), descriptor_of(blob))
