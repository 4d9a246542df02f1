"""Proxies: which one is taken, and that it works; what it asks for is not told to anybody else."""

from __future__ import annotations

import base64
import select
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.oci.registry.test_answers import DIGEST, manifest
from tests.oci.registry.test_session import repository
from tests.registries.authority import Authority
from tests.registries.content import SETTINGS
from tests.registries.docker_registry import DockerRegistry
from tests.registries.scripted import Reply, serve
from wclayer.errors import NetworkError, UnsupportedError, UsageError
from wclayer.oci.registry import RegistryClient, RegistrySettings
from wclayer.oci.registry.proxies import proxy_for, split_proxy

BOTH = {"HTTPS_PROXY": "http://secure:1", "HTTP_PROXY": "http://plain:1"}


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://a.example.com", BOTH, "http://secure:1"),
        ("http://a.example.com", BOTH, "http://plain:1"),
        ("http://a.example.com", {**BOTH, "http_proxy": "lower:1"}, "lower:1"),
        ("http://a.example.com", {"ALL_PROXY": "all:1"}, "all:1"),
        ("https://a.example.com", {**BOTH, "all_proxy": "all:1"}, "http://secure:1"),
        ("https://a.example.com", {}, None),
        ("https://a.example.com", {"HTTPS_PROXY": ""}, None),
        ("http://a.example.com", {**BOTH, "REQUEST_METHOD": "GET"}, None),
        ("https://a.example.com", {**BOTH, "REQUEST_METHOD": "GET"}, "http://secure:1"),
        ("https://localhost:5000", BOTH, None),
        ("https://127.0.0.1", BOTH, None),
        ("https://[::1]:5000", BOTH, None),
    ],
)
def test_the_proxy_of_an_address(url: str, environment: dict[str, str], proxy: str | None) -> None:
    assert proxy_for(url, environment) == proxy


@pytest.mark.parametrize(
    ("host", "rules", "direct"),
    [
        ("a.example.com", "*", True),
        ("a.example.com", "example.com", True),
        ("example.com", "example.com", True),
        ("a.example.com", ".example.com", True),
        ("example.com", ".example.com", False),
        ("a.example.com", "*.example.com", True),
        ("badexample.com", "example.com", False),
        ("a.example.com", "b.org, EXAMPLE.com ", True),
        ("a.example.com", "b.org example.com", True),
        ("a.example.com:444", "example.com:444", True),
        ("a.example.com:444", "example.com:443", False),
        ("a.example.com", "example.com:443", True),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3:5000", "10.1.2.3:5000", True),
        ("10.1.2.3", "10.1.2.30", False),
        ("[fd00::1]:5000", "fd00::/8", True),
        ("[fd00::1]:5000", "[fd00::1]:5000", True),
        ("[fd00::1]:5000", "fd00::1", True),
        ("a.example.com", "10.0.0.0/8,,", False),
        ("a.example.com", "10.0.0.0/99", False),
        ("a.example.com.", "example.com", True),
    ],
)
def test_exceptions(host: str, rules: str, direct: bool) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        assert (proxy_for(f"https://{host}", {**BOTH, name: rules}) is None) == direct


def test_the_address_of_a_proxy() -> None:
    assert split_proxy("proxy.example.com:3128") == ("http://proxy.example.com:3128", None)
    assert split_proxy("https://proxy.example.com/") == ("https://proxy.example.com:443", None)
    assert split_proxy("http://a%40b:p%3Aw@[::1]:1") == ("http://[::1]:1", "a@b:p:w")
    for text in ("http://", "http://a:99999", "http://a/path", "http://a?x"):
        with pytest.raises(UsageError):
            split_proxy(text)
    with pytest.raises(UnsupportedError, match="socks5"):
        split_proxy("socks5://anna:pw@a:1")


@dataclass
class Proxy:
    """A proxy that runs; ``asked`` are its requests, the first line and the credentials of each."""

    host: str
    asked: list[tuple[str, str]] = field(default_factory=list)


class _Handler(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        proxy: Proxy = self.server.proxy  # type: ignore[attr-defined]
        line = self.rfile.readline().decode()
        headers = []
        while (header := self.rfile.readline().decode()).strip():
            headers.append(header)
        secret = next((one.strip() for one in headers if one.lower().startswith("proxy-authorization:")), "")
        proxy.asked.append((line.strip(), secret.partition(":")[2].strip()))
        method, target, _ = line.split()
        if method == "CONNECT":
            host, _, port = target.rpartition(":")
            with socket.create_connection((host, int(port)), 30) as there:
                self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                self._pass_on(there)
            return
        host, _, path = target.removeprefix("http://").partition("/")
        name, _, port = host.rpartition(":")
        with socket.create_connection((name, int(port)), 30) as there:
            kept = [header for header in headers if not header.lower().startswith(("proxy-", "connection:"))]
            there.sendall(f"{method} /{path} HTTP/1.1\r\n{''.join(kept)}Connection: close\r\n\r\n".encode())
            while piece := there.recv(1 << 16):
                self.wfile.write(piece)

    def _pass_on(self, there: socket.socket) -> None:
        while True:
            ready, _, _ = select.select([self.connection, there], [], [], 30)
            for end in ready:
                piece = end.recv(1 << 16)
                if not piece:
                    return
                (there if end is self.connection else self.connection).sendall(piece)
            if not ready:
                return


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_: Any) -> None:
            """Clients come and go."""

    with Server(("127.0.0.1", 0), _Handler) as server:
        made = Proxy(f"127.0.0.1:{server.server_address[1]}")
        server.proxy = made  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def test_http_through_a_proxy_that_wants_to_know_who_asks(proxy: Proxy) -> None:
    lines: list[str] = []
    settings = replace(SETTINGS, proxy=f"http://anna:s3cret@{proxy.host}", trace=lines.append)
    with serve(lambda _: manifest()) as server, RegistryClient(settings) as client:
        assert repository(client, server.host).get_manifest("one").digest == DIGEST
        assert "proxy-authorization" not in server.asked[0].headers
    expected = "Basic " + base64.b64encode(b"anna:s3cret").decode()
    assert proxy.asked == [(f"GET http://{server.host}/v2/a/b/manifests/one HTTP/1.1", expected)]
    assert "s3cret" not in "".join(lines) + repr(settings)
    assert expected not in "".join(lines)


def test_https_through_a_proxy(proxy: Proxy, authority: Authority, tls_registry: DockerRegistry) -> None:
    settings = replace(SETTINGS, proxy=f"http://{proxy.host}", ca_file=authority.file)
    with RegistryClient(settings) as client:
        assert repository(client, tls_registry.host).head_manifest("one") is None
    assert proxy.asked == [(f"CONNECT {tls_registry.host} HTTP/1.1", "")] or proxy.asked[0][0].startswith("CONNECT")


def test_the_proxy_of_the_environment(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://{proxy.host}")
    settings = RegistrySettings(plain_http=True, retries=0, connect_timeout=1)
    with serve(lambda _: manifest()) as server:
        with RegistryClient(settings) as client:  # this machine is reached without it
            assert repository(client, server.host).get_manifest("one").digest == DIGEST
        assert proxy.asked == []
        with RegistryClient(settings) as client, pytest.raises(NetworkError):
            repository(client, "registry.invalid:5000").get_manifest("one")
        assert proxy.asked[0][0].startswith("GET http://registry.invalid:5000/v2/")
        with RegistryClient(replace(settings, proxy="")) as client, pytest.raises(NetworkError):
            repository(client, "registry.invalid:5000").get_manifest("one")
        assert len(proxy.asked) == 1


def test_the_proxy_of_a_hosts_file(proxy: Proxy, tmp_path: Path) -> None:
    with serve(lambda _: manifest()) as server:
        folder = tmp_path / server.host
        folder.mkdir()
        (folder / "hosts.toml").write_text(f'server = "http://{server.host}"\nproxy = "http://{proxy.host}"\n')
        with RegistryClient(replace(SETTINGS, hosts_dir=tmp_path)) as client:
            assert repository(client, server.host).get_manifest("one").digest == DIGEST
    assert len(proxy.asked) == 1


def test_a_proxy_that_lets_nobody_through(tls_registry: DockerRegistry) -> None:
    refusal = Reply(raw=b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
    with (
        serve(lambda _: refusal) as server,
        RegistryClient(replace(SETTINGS, proxy=server.url, plain_http=False)) as client,
        pytest.raises(NetworkError, match="407") as caught,
    ):
        repository(client, tls_registry.host).get_manifest("one")
    assert "the proxy says so" in str(caught.value)
    assert len(server.asked) == 1


def test_a_proxy_that_is_not_there() -> None:
    with (
        RegistryClient(replace(SETTINGS, proxy="http://anna:s3cret@127.0.0.1:1", retries=0)) as client,
        pytest.raises(NetworkError, match="refused") as caught,
    ):
        repository(client, "registry.example.com").get_manifest("one")
    assert "s3cret" not in str(caught.value)
