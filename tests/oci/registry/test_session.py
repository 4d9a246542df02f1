"""Redirects, repetitions and the second look at who asks: secrets stay where they belong, and waiting has an end."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.oci.registry.test_answers import DIGEST, MANIFEST, PASSWORD, manifest
from tests.registries.authority import Authority
from tests.registries.content import SETTINGS
from tests.registries.docker_registry import USER, DockerRegistry
from tests.registries.scripted import Asked, Reply, serve
from tests.registries.token_server import TokenServer
from wclayer.errors import AuthenticationError, NetworkError, NotFoundError
from wclayer.oci.registry import RegistryClient, RegistrySettings, Repository, Secret, parse_registry_name
from wclayer.oci.registry.redirects import Redirects
from wclayer.oci.registry.retrying import Patience

WITH_PASSWORD = replace(SETTINGS, username=USER, password=Secret(PASSWORD))
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
TOKEN = "a.signed.token"  # noqa: S105 - of nobody


def repository(client: RegistryClient, host: str) -> Repository:
    return client.repository(parse_registry_name(f"{host}/a/b:one"))


def blob(client: RegistryClient, host: str, **options: Any) -> bytes:
    there = repository(client, host)
    with there.request("GET", f"blobs/{DIGEST}", expect=(200, 206), **options) as answer:
        return answer.read(1 << 20, "the blob")


def always(reply: Reply) -> Callable[[Asked], Reply]:
    return lambda _: reply


def wants_password(then: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    def script(asked: Asked) -> Reply:
        if asked.headers.get("authorization") != BASIC:
            return Reply(401, headers={"WWW-Authenticate": 'Basic realm="here"'})
        return then(asked)

    return script


# ------------------------------------------------------------------------------------------------------- redirects


def test_a_redirect_to_another_host_leaves_the_credentials_behind(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serve(lambda _: Reply(206, b"bytes")) as elsewhere:
        signed = f"{elsewhere.url}/data?sig=secret"
        with serve(wants_password(lambda _: Reply(307, headers={"Location": signed}))) as server:
            lines: list[str] = []
            with RegistryClient(replace(WITH_PASSWORD, trace=lines.append)) as client:
                assert blob(client, server.host, headers={"Range": "bytes=1-2", "X-Own": "1"}) == b"bytes"
        (asked,) = elsewhere.asked
        assert asked.path == "/data?sig=secret"
        assert "sig=***" in caplog.text  # of urllib3
        assert "sig=secret" not in caplog.text
        assert asked.headers["range"] == "bytes=1-2"
        assert not {"authorization", "x-own", "cookie"} & set(asked.headers)
    shown = "\n".join(lines)
    assert "sig=***" in shown
    assert "secret" not in shown
    assert BASIC not in shown


def test_a_redirect_on_the_same_host_keeps_them() -> None:
    def script(asked: Asked) -> Reply:
        return Reply(200, b"bytes") if asked.path == "/other" else Reply(302, headers={"Location": "/other"})

    with serve(wants_password(script)) as server, RegistryClient(WITH_PASSWORD) as client:
        assert blob(client, server.host) == b"bytes"
        assert server.asked[-1].headers["authorization"] == BASIC


def test_who_comes_back_from_elsewhere_brings_no_credentials() -> None:
    home: list[str] = []
    with serve(lambda _: Reply(302, headers={"Location": f"{home[0]}/other"})) as elsewhere:

        def script(asked: Asked) -> Reply:
            return Reply(200, b"bytes") if asked.path == "/other" else Reply(302, headers={"Location": elsewhere.url})

        with serve(script) as server, RegistryClient(WITH_PASSWORD) as client:
            home.append(server.url)
            assert blob(client, server.host) == b"bytes"
            assert "authorization" not in server.asked[-1].headers


def test_circles_and_endless_ways() -> None:
    count = iter(range(1000))
    scripts: list[tuple[Callable[[Asked], Reply], str]] = [
        (lambda asked: Reply(302, headers={"Location": asked.path}), "in a circle"),
        (lambda _: Reply(302, headers={"Location": f"/{next(count)}"}), "more than 10 redirects"),
        (lambda _: Reply(302, headers={"Location": "http://[/"}), "no address"),
        (lambda _: Reply(302, headers={"Location": "ftp://example.com/"}), "not an address"),
        (lambda _: Reply(302, headers={"Location": "http://user:pw@127.0.0.1:1/"}), "not an address"),
        (lambda _: Reply(302, headers={"Location": "file:///etc/passwd"}), "not an address"),
    ]
    for script, words in scripts:
        with serve(script) as server, RegistryClient(SETTINGS) as client, pytest.raises(NetworkError, match=words) as e:
            blob(client, server.host)
        assert "pw" not in str(e.value)


def test_from_https_to_http_goes_only_what_a_digest_vouches_for(authority: Authority, tmp_path: Path) -> None:
    with serve(lambda _: manifest()) as plain:
        location = {"Location": plain.url.replace("127.0.0.1", "localhost")}
        with (
            serve(lambda _: Reply(302, headers=location), authority=authority, folder=tmp_path) as server,
            RegistryClient(replace(SETTINGS, ca_file=authority.file)) as client,
        ):
            there = repository(client, server.host)
            assert blob(client, server.host) == MANIFEST
            assert there.get_manifest(DIGEST).raw == MANIFEST
            with pytest.raises(NetworkError, match="nobody vouches"):
                there.get_manifest("one")
            with pytest.raises(NetworkError, match="nobody vouches"):
                list(there.tags())


def test_a_registry_behind_a_proxy_for_tls_may_not_know_its_scheme(authority: Authority, tmp_path: Path) -> None:
    hosts: list[str] = []

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/upload"):
            return Reply(201)
        return (
            Reply(302, headers={"Location": f"http://{hosts[0]}/other"}) if "/other" not in asked.path else manifest()
        )

    with (
        serve(script, authority=authority, folder=tmp_path) as server,
        RegistryClient(replace(WITH_PASSWORD, ca_file=authority.file)) as client,
    ):
        hosts.append(server.host)
        there = repository(client, server.host)
        assert there.get_manifest("one").raw == MANIFEST
        there.request("PUT", f"http://{server.host}/upload?x=1", body=b"x", expect=(201,), stream=False)
        assert server.lines[-1] == "PUT /upload?x=1"


def test_an_address_elsewhere_gets_no_credentials() -> None:
    with (
        serve(lambda _: Reply(201)) as elsewhere,
        serve(wants_password(lambda _: Reply(202))) as server,
        RegistryClient(WITH_PASSWORD) as client,
    ):
        there = repository(client, server.host)
        there.request("POST", "blobs/uploads/", expect=(202,), stream=False, actions="pull,push")
        there.request("PUT", f"{elsewhere.url}/upload", body=b"x", expect=(201,), stream=False, actions="pull,push")
        assert "authorization" not in elsewhere.asked[0].headers
        assert elsewhere.asked[0].body == b"x"


def test_a_body_follows_only_where_it_is_meant_to() -> None:
    with serve(lambda _: Reply(201)) as elsewhere:
        for status, followed in ((307, True), (308, True), (302, False), (303, False)):
            location = {"Location": elsewhere.url}
            with (
                serve(always(Reply(status, headers=location))) as server,
                RegistryClient(SETTINGS) as client,
            ):
                there = repository(client, server.host)
                if followed:
                    there.request("PUT", "blobs/x", body=b"x", expect=(201,), stream=False, actions="push")
                    assert elsewhere.asked.pop().body == b"x"
                else:
                    with pytest.raises(NetworkError):
                        there.request("PUT", "blobs/x", body=b"x", expect=(201,), actions="push")
                    assert elsewhere.asked == []


# ------------------------------------------------------------------------------------------------ private networks


@pytest.fixture
def public(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registries on this machine count as being in public."""

    def may_be_private(self: Redirects, _host: object) -> bool:
        return self._transport.settings.allow_private_urls

    monkeypatch.setattr(Redirects, "_may_be_private", may_be_private)


def test_a_public_registry_does_not_lead_into_private_networks(public: None, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: resolve("127.0.0.1" if host == "cdn.example.com" else host, *rest, **more),
    )
    with serve(lambda _: Reply(200, b"bytes")) as inside:
        port = inside.host.rpartition(":")[2]
        for host in (inside.host, f"localhost:{port}", f"cdn.example.com:{port}", f"[::1]:{port}", "169.254.169.254"):
            location = {"Location": f"http://{host}/"}
            with serve(always(Reply(302, headers=location))) as server:
                with RegistryClient(SETTINGS) as client, pytest.raises(NetworkError, match="is private") as caught:
                    blob(client, server.host)
                assert "--allow-private-urls" in str(caught.value)
        assert inside.asked == []
        location = {"Location": inside.url}
        with (
            serve(lambda _: Reply(302, headers=location)) as server,
            RegistryClient(replace(SETTINGS, allow_private_urls=True)) as client,
        ):
            assert blob(client, server.host) == b"bytes"


def test_a_public_registry_does_not_name_a_private_token_server(public: None) -> None:
    with serve(lambda _: Reply(200, b'{"token":"x"}')) as inside:
        challenge = {"WWW-Authenticate": f'Bearer realm="{inside.url}/token",service="x"'}
        with (
            serve(lambda _: Reply(401, headers=challenge)) as server,
            RegistryClient(WITH_PASSWORD) as client,
            pytest.raises(NetworkError, match="is private"),
        ):
            repository(client, server.host).get_manifest("one")
        assert inside.asked == []


def test_addresses_of_nobodys_registry(public: None, authority: Authority, tmp_path: Path) -> None:
    with serve(lambda _: Reply(200, b"bytes"), authority=authority, folder=tmp_path) as server:
        settings = replace(WITH_PASSWORD, ca_file=authority.file)
        with RegistryClient(settings) as client, pytest.raises(NetworkError, match="is private"):
            client.fetch_url(f"{server.url}/layer")
        with RegistryClient(replace(settings, allow_private_urls=True)) as client:
            with client.fetch_url(f"{server.url}/layer", headers={"Range": "bytes=0-4"}) as answer:
                assert answer.read(100, "it") == b"bytes"
            assert "authorization" not in server.asked[-1].headers
            for url in (f"http://{server.host}/layer", "ftp://example.com/", "file:///etc/passwd", "http://[", ""):
                with pytest.raises(NetworkError):
                    client.fetch_url(url)
    with serve(lambda _: Reply(404)) as server:
        settings = replace(SETTINGS, allow_private_urls=True, plain_http=True)
        with RegistryClient(settings) as client, pytest.raises(NotFoundError, match="not found"):
            client.fetch_url(f"{server.url}/layer")


# ---------------------------------------------------------------------------------------------------- again, later


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits there would have been, in seconds."""
    found: list[float] = []
    monkeypatch.setattr(Patience, "wait", lambda _self, seconds: found.append(seconds))
    return found


@pytest.mark.parametrize("status", [408, 429, 499, 500, 502, 503, 504, 522])
def test_a_busy_registry_is_asked_again(waits: list[float], status: int) -> None:
    replies = iter([Reply(status)] * 5 + [manifest()])
    with serve(lambda _: next(replies)) as server, RegistryClient(RegistrySettings()) as client:
        assert repository(client, server.host).get_manifest("one").digest == DIGEST
    assert len(waits) == 5
    assert all(0.25 * 2**n <= seconds <= 0.5 * 2**n for n, seconds in enumerate(waits))


def test_a_storm_has_an_end(waits: list[float]) -> None:
    with serve(lambda _: Reply(503, b"maintenance", {"Content-Type": "text/plain"})) as server:
        with RegistryClient(replace(SETTINGS, retries=3)) as client, pytest.raises(NetworkError) as caught:
            repository(client, server.host).get_manifest("one")
        assert len(server.asked) == 4
    assert "service unavailable" in str(caught.value)
    assert "maintenance" in str(caught.value)


def test_a_registry_says_how_long_to_wait(waits: list[float]) -> None:
    replies = iter([Reply(429, headers={"Retry-After": "7"}), Reply(503, headers={"Retry-After": "odd"}), manifest()])
    with serve(lambda _: next(replies)) as server, RegistryClient(SETTINGS) as client:
        repository(client, server.host).get_manifest("one")
    assert waits == [7.0, 0.01]


def test_nobody_waits_an_hour(waits: list[float]) -> None:
    with serve(lambda _: Reply(429, headers={"Retry-After": "3600"})) as server:
        with RegistryClient(SETTINGS) as client, pytest.raises(NetworkError, match="too many requests") as caught:
            repository(client, server.host).get_manifest("one")
        assert len(server.asked) == 1
    assert "3600 s" in str(caught.value)
    assert waits == []


def test_a_broken_connection_is_made_again(waits: list[float]) -> None:
    cut = b"HTTP/1.1 200 OK\r\nContent-Type: a\r\nContent-Len"
    replies = iter([Reply(raw=b""), Reply(raw=b"HTTP/1.1 200"), Reply(raw=cut), manifest()])
    with serve(lambda _: next(replies)) as server, RegistryClient(SETTINGS) as client:
        assert repository(client, server.host).get_manifest("one").digest == DIGEST
    assert len(waits) == 3


def test_what_must_not_be_done_twice_is_not(waits: list[float]) -> None:
    with serve(lambda _: Reply(503)) as server, RegistryClient(SETTINGS) as client:
        with pytest.raises(NetworkError):
            repository(client, server.host).request("POST", "blobs/uploads/", retry=False, actions="push")
        assert len(server.asked) == 1
    assert waits == []


def test_nobody_listens(waits: list[float]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        with RegistryClient(SETTINGS) as client, pytest.raises(NetworkError, match="connection refused") as caught:
            repository(client, host).get_manifest("one")
    assert "is it running" in str(caught.value)
    assert waits == []


def test_a_silent_registry_is_given_up() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings = RegistrySettings(retries=1, retry_delay=0, read_timeout=0.2)
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        with RegistryClient(settings) as client, pytest.raises(NetworkError, match="timed out"):
            repository(client, host).get_manifest("one")


def test_a_small_document_does_not_trickle_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.oci.registry.answers._SMALL_DEADLINE", -1.0)
    with (
        serve(lambda _: manifest()) as server,
        RegistryClient(SETTINGS) as client,
        pytest.raises(NetworkError, match="takes longer"),
    ):
        repository(client, server.host).get_manifest("one")


def test_closing_ends_all_waiting() -> None:
    with serve(lambda _: Reply(429, headers={"Retry-After": "200"})) as server:
        client = RegistryClient(RegistrySettings())
        errors: list[NetworkError] = []

        def ask() -> None:
            try:
                repository(client, server.host).get_manifest("one")
            except NetworkError as error:
                errors.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        deadline = time.monotonic() + 60
        while not server.asked and time.monotonic() < deadline:
            time.sleep(0.01)
        client.close()
        thread.join(60)
        assert not thread.is_alive()
        assert [error.message for error in errors] == ["the registry client was closed"]
        with pytest.raises(NetworkError, match="was closed"):
            repository(client, server.host).get_manifest("one")


def test_a_refusal_of_a_store_elsewhere_is_tried_again_from_the_start(waits: list[float]) -> None:
    replies = iter([Reply(403, b"<Error>expired</Error>", {"Content-Type": "application/xml"}), Reply(200, b"bytes")])
    with serve(lambda _: next(replies)) as elsewhere:
        number = iter(range(10))

        def script(asked: Asked) -> Reply:
            return Reply(307, headers={"Location": f"{elsewhere.url}/?sig={next(number)}"})

        with serve(script) as server, RegistryClient(SETTINGS) as client:
            assert blob(client, server.host) == b"bytes"
        assert elsewhere.lines == ["GET /?sig=0", "GET /?sig=1"]


# --------------------------------------------------------------------------------------------------- who is asking


def bearer(realm: str, scope: str = "") -> dict[str, str]:
    return {"WWW-Authenticate": f'Bearer realm="{realm}",service="here"' + (f',scope="{scope}"' if scope else "")}


def with_tokens(answer: Callable[[Asked], Reply]) -> Callable[[Asked], Reply]:
    """A registry that is its own token server, which answers as it is told."""

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return answer(asked)
        if asked.headers.get("authorization") == f"Bearer {TOKEN}":
            return manifest()
        return Reply(401, headers=bearer(f"http://{asked.headers['host']}/token", "repository:a/b:pull"))

    return script


def test_a_token_that_does_not_help_is_shown_once() -> None:
    with serve(with_tokens(lambda _: Reply(200, b'{"token":"useless"}'))) as server, RegistryClient(SETTINGS) as client:
        with pytest.raises(AuthenticationError):
            repository(client, server.host).get_manifest("one")
        assert [line.partition("?")[0] for line in server.lines] == [
            "GET /v2/a/b/manifests/one",
            "GET /token",
            "GET /v2/a/b/manifests/one",
        ]


def test_a_token_that_ends_in_the_middle_is_renewed() -> None:
    old = f"Bearer {TOKEN}"
    tokens = iter(["one", "two"])
    valid = {"one"}

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return Reply(200, json.dumps({"token": next(tokens), "expires_in": 3600}).encode())
        if asked.headers.get("authorization", old).removeprefix("Bearer ") in valid:
            return manifest()
        return Reply(401, headers=bearer(f"http://{asked.headers['host']}/token"))

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        there = repository(client, server.host)
        there.get_manifest("one")
        valid.clear()
        valid.add("two")
        there.get_manifest("one")
        there.get_manifest("one")
    assert len(server.asked) == 3 + 3 + 1


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply(200, b"<html>"), "not the JSON"),
        (Reply(200, b"{}"), "no token in it"),
        (Reply(200, b'{"token":"a b"}'), "cannot be one"),
        (Reply(200, b'{"token":"a\\r\\nX-Evil: 1"}'), "cannot be one"),
        (Reply(200, json.dumps({"token": "a" * 70_000}).encode()), "cannot be one"),
        (Reply(200, b" " * ((1 << 20) + 1)), "more than"),
        (Reply(200, b'{"token":5,"refresh_token":"leaked"}'), "not the JSON"),
        (Reply(200, b'{"token":"leaked","token":"leaked"}'), "not the JSON"),
        (Reply(302, headers={"Location": "/token"}), "circle"),
        (Reply(418), "HTTP 418"),
        (Reply(500, b'{"errors":[{"code":"UNKNOWN","message":"oops"}]}'), "UNKNOWN: oops"),
        (Reply(raw=b"nothing"), "not an answer"),
    ],
)
def test_what_no_token_server_may_answer(reply: Reply, words: str) -> None:
    with serve(with_tokens(lambda _: reply)) as server, RegistryClient(replace(SETTINGS, retries=1)) as client:
        with pytest.raises(Exception, match=words) as caught:
            repository(client, server.host).get_manifest("one")
        assert "leaked" not in str(caught.value)
        assert server.host in str(caught.value)


def test_a_lifetime_that_makes_no_sense_is_a_minute() -> None:
    for lifetime in ("-5", "0", "true", '"x"', "1e400", "null"):
        answer = f'{{"access_token":"{TOKEN}","expires_in":{lifetime}}}'.encode()
        with serve(with_tokens(always(Reply(200, answer)))) as server, RegistryClient(SETTINGS) as client:
            there = repository(client, server.host)
            for _ in range(2):
                assert there.get_manifest("one").digest == DIGEST
        assert [asked.path.partition("?")[0] for asked in server.asked].count("/token") == 1, lifetime


def test_a_busy_token_server_is_asked_again(waits: list[float]) -> None:
    replies = iter(
        [Reply(503, headers={"Retry-After": "3"}), Reply(raw=b""), Reply(200, f'{{"token":"{TOKEN}"}}'.encode())]
    )
    with serve(with_tokens(lambda _: next(replies))) as server, RegistryClient(SETTINGS) as client:
        assert repository(client, server.host).get_manifest("one").digest == DIGEST
    assert waits == [3.0, 0.01]


@pytest.mark.parametrize(
    ("realm", "words"),
    [
        ("http://127.0.0.1:1/token", "but its token server by http"),
        ("https://anna:pw@127.0.0.1:1/token", "no address"),
        ("ftp://127.0.0.1/token", "no address"),
        ("/token", "no address"),
        ("https://[/", "no address"),
        ("https://127.0.0.1:99999/", "no address"),
        ("https://127.0.0.1:1/a b", "no address"),
    ],
)
def test_a_password_is_not_sent_just_anywhere(authority: Authority, tmp_path: Path, realm: str, words: str) -> None:
    with (
        serve(lambda _: Reply(401, headers=bearer(realm)), authority=authority, folder=tmp_path) as server,
        RegistryClient(replace(WITH_PASSWORD, ca_file=authority.file)) as client,
        pytest.raises(AuthenticationError, match=words),
    ):
        repository(client, server.host).get_manifest("one")


def test_other_repositories_are_not_asked_for() -> None:
    scopes = "repository:a/b:pull,push repository:other:push registry:catalog:*"

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return Reply(200, f'{{"token":"{TOKEN}"}}'.encode())
        if asked.headers.get("authorization"):
            return manifest()
        return Reply(401, headers=bearer(f"http://{asked.headers['host']}/token?x=1", scopes))

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        repository(client, server.host).get_manifest("one")
        assert server.lines[1] == "GET /token?x=1&service=here&scope=repository%3Aa%2Fb%3Apull%2Cpush"


def test_a_mount_asks_for_both_repositories() -> None:
    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return Reply(200, f'{{"token":"{TOKEN}"}}'.encode())
        if asked.headers.get("authorization"):
            return Reply(201)
        return Reply(401, headers=bearer(f"http://{asked.headers['host']}/token"))

    with serve(script) as server, RegistryClient(SETTINGS) as client:
        there = repository(client, server.host)
        there.request("POST", "blobs/uploads/?mount=x&from=c", actions="pull,push", mount_from="c", expect=(201,))
        assert "scope=repository%3Aa%2Fb%3Apull%2Cpush&scope=repository%3Ac%3Apull" in server.lines[1]


def test_bearer_is_preferred_to_basic() -> None:
    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return Reply(200, f'{{"token":"{TOKEN}"}}'.encode())
        if asked.headers.get("authorization") == f"Bearer {TOKEN}":
            return manifest()
        challenge = bearer(f"http://{asked.headers['host']}/token")["WWW-Authenticate"]
        return Reply(401, headers={"WWW-Authenticate": f'Basic realm="x"\n{challenge}'})

    with serve(script) as server, RegistryClient(WITH_PASSWORD) as client:
        assert repository(client, server.host).get_manifest("one").digest == DIGEST


def test_many_threads_fetch_one_token(token_registry: DockerRegistry, token_server: TokenServer) -> None:
    with RegistryClient(WITH_PASSWORD) as client:
        there = client.repository(parse_registry_name(token_registry.name("tests/threads")))
        there.head_manifest("one")  # who asks is known from here on
        token_server.asked.clear()
        found: list[object] = []
        threads = [
            threading.Thread(target=lambda: found.append(there.has_blob(DIGEST, actions="pull,push")))
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [None] * 16
    assert len(token_server.asked) == 1


@pytest.mark.parametrize("kind", ["basic", "bearer"])
def test_many_threads_that_are_asked_at_once_all_answer(kind: str) -> None:
    together = threading.Barrier(8)

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/token"):
            return Reply(200, f'{{"token":"{TOKEN}"}}'.encode())
        if asked.headers.get("authorization") in (BASIC, f"Bearer {TOKEN}"):
            return Reply(404)
        together.wait(60)  # nobody hears of it before all have asked
        challenge = bearer(f"http://{asked.headers['host']}/token")
        return Reply(401, headers={"WWW-Authenticate": "Basic"} if kind == "basic" else challenge)

    with serve(script) as server, RegistryClient(replace(WITH_PASSWORD, plain_http=True)) as client:
        there = repository(client, server.host)
        found: list[object] = []
        threads = [threading.Thread(target=lambda: found.append(there.has_blob(DIGEST))) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert found == [None] * 8
        asked = [line for line in server.lines if "/token" in line]
        assert len(asked) == (1 if kind == "bearer" else 0)


def test_a_guess_about_this_machine_is_corrected(
    authority: Authority, tls_registry: DockerRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    with RegistryClient(SETTINGS) as client:
        there = repository(client, tls_registry.host)
        assert there.head_manifest("one") is None
        assert there.head_manifest("one") is None
    # One that says nothing in http.
    with (
        serve(lambda _: manifest(), authority=authority, folder=tmp_path) as server,
        RegistryClient(SETTINGS) as client,
    ):
        assert repository(client, server.host).get_manifest("one").digest == DIGEST


def test_an_error_of_a_plain_registry_here_is_still_explained() -> None:
    words = b'{"errors":[{"code":"NAME_INVALID","message":"odd name"}]}'
    with (
        serve(lambda _: Reply(400, words)) as server,
        RegistryClient(SETTINGS) as client,
        pytest.raises(NetworkError, match="NAME_INVALID: odd name"),
    ):
        repository(client, server.host).get_manifest("one")
