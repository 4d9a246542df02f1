"""Foreign layers: the registry, then the addresses in the manifest, which lead nowhere that they must not lead."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.faults import corrupt, drop, redirect, status
from tests.faults.origin import Bytes, Origin
from tests.faults.proxy import Fault, Proxy, Script, always, blob_reads
from tests.faults.runner import connected, descriptor_of
from tests.faults.wire import Exchange, Server
from tests.registries.authority import Authority
from wclayer.errors import AuthenticationError, DigestMismatchError, NetworkError, NotFoundError
from wclayer.oci.content.partial import PartialBlob
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.registry import foreign
from wclayer.oci.registry.repository import Repository
from wclayer.oci.registry.secrets import Secret

STORE = "windows/base"
FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
Start = Callable[..., Server]


@pytest.fixture(scope="module")
def blob() -> Bytes:
    return Bytes(random.Random(13).randbytes((1 << 20) + 3))


@pytest.fixture
def start(authority: Authority, tmp_path: Path) -> Iterator[Start]:
    """``start(handle)`` is a server that speaks TLS; with ``tls=False`` it does not."""
    files = authority.server_files(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files["certificate"], files["key"])
    with ExitStack() as stack:
        yield lambda handle, *, tls=True: stack.enter_context(Server(handle, tls=context if tls else None))


def url_of(server: Server, blob: Bytes, scheme: str = "https") -> str:
    return f"{scheme}://{server.host}/v2/{STORE}/blobs/{blob.digest}"


def foreign_layer(blob: Bytes, *urls: str) -> Descriptor:
    return replace(descriptor_of(blob), media_type=FOREIGN, urls=urls)


def fetch(repository: Repository, descriptor: Descriptor, folder: Path, **rest: object) -> bytes:
    with PartialBlob(folder / "blob", descriptor.digest, descriptor.size) as partial:
        foreign.fetch(repository.client, repository, descriptor, partial, **rest)  # type: ignore[arg-type]
    return (folder / "blob").read_bytes()


def broken(upstream: Server, fault: Fault) -> Proxy:
    return Proxy(upstream.host, Script(blob_reads, always(fault)))


@pytest.fixture
def empty(start: Start) -> Server:
    """A registry that has nothing."""
    return start(Origin())


@pytest.fixture
def upstream(start: Start, blob: Bytes) -> Server:
    """What has the blob, for proxies before it."""
    return start(Origin(blob, repository=STORE), tls=False)


@pytest.fixture
def cdn(start: Start, upstream: Server) -> Server:
    """A server that has the blob."""
    return start(Proxy(upstream.host, Script()))


@pytest.fixture
def settings(authority: Authority) -> dict[str, object]:
    """The certificates of the tests are trusted, and so is this machine."""
    return {"plain_http": False, "ca_file": authority.file, "allow_private_urls": True, "retries": 1}


def test_the_registry_is_asked_first(cdn: Server, start: Start, upstream: Server, blob: Bytes, tmp_path: Path,
                                     settings: dict[str, object]) -> None:  # fmt: skip
    registry = start(Proxy(upstream.host, Script()))
    with connected(registry.host, STORE, **settings) as repository:
        assert fetch(repository, foreign_layer(blob, url_of(cdn, blob)), tmp_path) == blob.data
    assert cdn.requests == []


def test_the_addresses_come_first_where_that_is_wanted(
    cdn: Server, empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    with connected(empty.host, STORE, **settings, foreign_order="urls") as repository:
        assert fetch(repository, foreign_layer(blob, url_of(cdn, blob)), tmp_path) == blob.data
    assert empty.requests == []


@pytest.mark.parametrize("code", [401, 403, 404, 405, 429, 500, 503])
def test_a_registry_that_does_not_give_it_is_passed_over(
    cdn: Server, start: Start, upstream: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object], code: int
) -> None:
    registry = start(broken(upstream, status(code)))
    with connected(registry.host, STORE, **settings) as repository:
        assert fetch(repository, foreign_layer(blob, url_of(cdn, blob)), tmp_path) == blob.data


def test_an_address_that_does_not_work_is_passed_over_and_what_it_sent_is_kept(
    cdn: Server, start: Start, upstream: Server, empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    script = Script(blob_reads, [drop(0.6), *[status(500)] * 9])
    breaks = start(Proxy(upstream.host, script))
    urls = [url_of(empty, blob), url_of(breaks, blob), url_of(cdn, blob)]
    with connected(empty.host, STORE, **settings) as repository:
        assert fetch(repository, foreign_layer(blob, *urls), tmp_path) == blob.data
    assert cdn.bytes_sent < 0.5 * blob.size


def test_content_that_is_wrong_is_passed_over(
    cdn: Server, start: Start, upstream: Server, empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    wrong = start(broken(upstream, corrupt(0.5)))
    with connected(empty.host, STORE, **settings) as repository:
        layer = foreign_layer(blob, url_of(wrong, blob), url_of(cdn, blob))
        assert fetch(repository, layer, tmp_path) == blob.data


def test_no_credentials_go_to_an_address(
    cdn: Server, start: Start, empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    def wants_to_know(exchange: Exchange) -> None:
        if "authorization" in exchange.request.headers:
            exchange.respond(404)
        else:
            exchange.respond(401, [("WWW-Authenticate", 'Basic realm="here"')])

    registry = start(wants_to_know)
    who = {"anonymous": False, "username": "anna", "password": Secret("secret")}
    with connected(registry.host, STORE, **{**settings, **who}) as repository:
        url = url_of(cdn, blob)
        assert fetch(repository, foreign_layer(blob, url), tmp_path) == blob.data
        assert any("authorization" in request.headers for request in registry.requests)
        asked = len(registry.requests)
        nosy = foreign_layer(blob, url_of(registry, blob))  # the registry's own host: not as its registry this time
        with (
            PartialBlob(tmp_path / "nosy", blob.digest, blob.size) as partial,
            pytest.raises(NetworkError, match="401"),
        ):
            foreign.fetch(repository.client, None, nosy, partial)
    assert len(registry.requests) == asked + 1
    assert "authorization" not in registry.requests[-1].headers
    assert not any({"authorization", "cookie"} & set(request.headers) for request in cdn.requests)


def test_without_a_registry_the_addresses_are_all_there_is(
    cdn: Server, empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    with connected(empty.host, STORE, **settings) as repository:
        layer = foreign_layer(blob, url_of(cdn, blob))
        with PartialBlob(tmp_path / "blob", layer.digest, layer.size) as partial:
            foreign.fetch(repository.client, None, layer, partial, parts=3)
        nowhere = foreign_layer(blob)
        with (
            PartialBlob(tmp_path / "other", layer.digest, layer.size) as partial,
            pytest.raises(NotFoundError, match="no address"),
        ):
            foreign.fetch(repository.client, None, nowhere, partial)
    assert empty.requests == []


def test_a_blob_without_addresses_is_an_ordinary_one(
    empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    with connected(empty.host, STORE, **settings) as repository, pytest.raises(NotFoundError) as caught:
        fetch(repository, descriptor_of(blob), tmp_path)
    assert "cannot be had anywhere" not in caught.value.message


def test_the_error_names_every_place_that_was_tried(
    start: Start, upstream: Server, empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    urls = [
        url_of(empty, blob),
        url_of(start(broken(upstream, status(503))), blob),
        url_of(start(broken(upstream, redirect(lambda _: "ftp://there/"))), blob),
        url_of(empty, blob, "http"),
        f"https://{empty.host}/signed?sig=secret",
        url_of(empty, blob),  # the same again is not tried again
    ]
    with connected(empty.host, STORE, **settings) as repository, pytest.raises(NetworkError) as caught:
        fetch(repository, foreign_layer(blob, *urls), tmp_path)
    message = str(caught.value)
    for place in (f"the registry {empty.host}", *(url.partition("?")[0] for url in urls)):
        assert place in message
    assert message.count(url_of(empty, blob) + ":") == 1
    assert "no https address" in message
    assert "HTTP 503" in message
    assert "sig=secret" not in message


def test_no_more_addresses_are_tried_than_are_worth_it(
    empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object]
) -> None:
    urls = [f"https://{empty.host}/{number}" for number in range(60)]
    with connected(empty.host, STORE, **settings) as repository, pytest.raises(NotFoundError):
        fetch(repository, foreign_layer(blob, *urls), tmp_path)
    assert len(empty.requests) == 9


@pytest.mark.parametrize(
    ("faults", "kind"),
    [
        ([404, 404], NotFoundError),
        ([403, 404], AuthenticationError),
        ([403, 500], NetworkError),
        ([404, None], DigestMismatchError),
    ],
)
def test_the_gravest_failure_is_the_exit_code(
    start: Start, upstream: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object], faults: list[int | None],
    kind: type[Exception],
) -> None:  # fmt: skip
    servers = [start(broken(upstream, corrupt(0.1) if code is None else status(code))) for code in faults]
    with connected(servers[0].host, STORE, **settings) as repository, pytest.raises(kind):
        fetch(repository, foreign_layer(blob, url_of(servers[1], blob)), tmp_path)


def test_no_more_than_was_promised_is_read(
    start: Start, empty: Server, tmp_path: Path, settings: dict[str, object]
) -> None:
    small = Bytes(b"a small layer")

    def endless(exchange: Exchange) -> None:
        exchange.start(200)
        while True:
            exchange.send(bytes(1 << 16))

    server = start(endless)
    with connected(empty.host, STORE, **settings) as repository, pytest.raises(DigestMismatchError):
        fetch(repository, foreign_layer(small, url_of(server, small)), tmp_path)
    assert server.bytes_sent < 64 << 20, "no more than what buffers between the two hold"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "10.1.2.3", "169.254.169.254", "[fe80::1]"])
def test_private_addresses_are_refused(
    empty: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object], host: str
) -> None:
    url = f"https://{host}:{empty.port}/blob"
    cautious = {**settings, "allow_private_urls": False, "connect_timeout": 1.0}
    with connected(empty.host, STORE, **cautious) as repository:
        before = len(empty.requests)
        layer = foreign_layer(blob, url)
        with (
            PartialBlob(tmp_path / "blob", layer.digest, layer.size) as partial,
            pytest.raises(NetworkError, match="private"),
        ):
            foreign.fetch(repository.client, None, layer, partial)
    assert len(empty.requests) == before


def test_a_redirect_to_a_private_address_is_refused(
    cdn: Server, start: Start, upstream: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    # 127.0.0.1 plays the public address here, and 127.0.0.2 the private one.
    monkeypatch.setattr("wclayer.oci.registry.http.is_private_address", lambda ip: ip != "127.0.0.1")
    monkeypatch.setattr("wclayer.oci.registry.http.is_private_host", lambda host, **_: host != "127.0.0.1")
    inward = start(broken(upstream, redirect(lambda _: url_of(cdn, blob).replace("127.0.0.1", "127.0.0.2"))))
    cautious = {**settings, "allow_private_urls": False}
    with connected(cdn.host, STORE, **cautious) as repository:
        layer = foreign_layer(blob, url_of(inward, blob))
        with (
            PartialBlob(tmp_path / "blob", layer.digest, layer.size) as partial,
            pytest.raises(NetworkError, match=r"127\.0\.0\.2 is private"),
        ):
            foreign.fetch(repository.client, None, layer, partial)
    assert cdn.requests == []


def test_a_name_that_turns_out_to_lead_into_a_private_network_is_refused(
    cdn: Server, blob: Bytes, tmp_path: Path, settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The name looked harmless, and the connection shows that it is not: nothing is sent over it.
    monkeypatch.setattr("wclayer.oci.registry.http.is_private_host", lambda *_, **__: False)
    cautious = {**settings, "allow_private_urls": False}
    with connected(cdn.host, STORE, **cautious) as repository:
        layer = foreign_layer(blob, url_of(cdn, blob).replace("127.0.0.1", "localhost"))
        with (
            PartialBlob(tmp_path / "blob", layer.digest, layer.size) as partial,
            pytest.raises(NetworkError, match="private"),
        ):
            foreign.fetch(repository.client, None, layer, partial)
    assert cdn.requests == []
