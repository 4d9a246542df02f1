"""Which hosts are asked, and how: ``certs.d`` in both of its forms, mirrors, and what a mirror may not do."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.oci.registry.test_answers import DIGEST, MANIFEST, PASSWORD, manifest
from tests.oci.registry.test_session import BASIC, WITH_PASSWORD, repository, wants_password
from tests.registries.authority import Authority
from tests.registries.content import SETTINGS, seed
from tests.registries.docker_registry import DockerRegistry
from tests.registries.scripted import Asked, Reply, serve
from wclayer.errors import (
    AuthenticationError,
    FormatError,
    LimitError,
    NetworkError,
    NotFoundError,
    UnsupportedError,
    UsageError,
    WclayerError,
)
from wclayer.oci.mediatypes import OCI_MANIFEST
from wclayer.oci.registry import RegistryClient, RegistrySettings, parse_registry_name
from wclayer.oci.registry.hosts import Host, hosts_of, origin
from wclayer.oci.registry.hosts_toml import find_folder, read_folder


def hosts(folder: Path, registry: str, text: str | None, settings: RegistrySettings | None = None) -> tuple[Host, ...]:
    """The hosts for ``registry`` where its ``hosts.toml`` says ``text``."""
    if text is not None:
        (folder / registry).mkdir(exist_ok=True)
        (folder / registry / "hosts.toml").write_text(text)
    return hosts_of(registry, replace(settings or RegistrySettings(), hosts_dir=folder))


@pytest.mark.parametrize(
    ("registry", "options", "base"),
    [
        ("registry.example.com", {}, "https://registry.example.com/v2"),
        ("registry.example.com:5000", {}, "https://registry.example.com:5000/v2"),
        ("registry.example.com", {"plain_http": True}, "http://registry.example.com/v2"),
        ("docker.io", {}, "https://registry-1.docker.io/v2"),
        ("localhost:5000", {}, "http://localhost:5000/v2"),
        ("127.0.0.9", {}, "http://127.0.0.9/v2"),
        ("[::1]:5000", {}, "http://[::1]:5000/v2"),
        ("localhost:5000", {"plain_http": False}, "https://localhost:5000/v2"),
        ("localhost:5000", {"insecure": True}, "https://localhost:5000/v2"),
        ("localhost:5000", {"ca_file": Path("ca.pem")}, "https://localhost:5000/v2"),
        ("localhost.example.com", {}, "https://localhost.example.com/v2"),
    ],
)
def test_the_address_of_a_registry(tmp_path: Path, registry: str, options: dict[str, object], base: str) -> None:
    settings = replace(RegistrySettings(), **options)  # type: ignore[arg-type]
    (host,) = hosts(tmp_path, registry, None, settings)
    assert host.base == base
    assert host.registry == registry
    assert not host.is_mirror
    assert host.url("x/y") == f"{base}/x/y"


def test_everything_a_hosts_file_can_say(tmp_path: Path) -> None:
    text = """
server = "https://upstream.example.com"
skip_verify = true

[host."https://mirror.example.com:444"]
  capabilities = ["pull"]
  ca = ["one.pem", "/etc/two.pem"]
  client = [["client.cert", "client.key"], ["other.pem", ""]]
  dial_timeout = "1m2.5s"
  proxy = "http://proxy.example.com:3128"
  [host."https://mirror.example.com:444".header]
    x-custom = ["a", "b"]
    x-other = "c"

[host."http://mirror.example.com/library/v2/path"]
  override_path = true
  client = "client.pem"

[host."mirror.example.com/prefix"]
  capabilities = ["pull", "resolve", "push", "referrers"]
"""
    first, second, third, server = hosts(tmp_path, "registry.example.com", text)
    folder = tmp_path / "registry.example.com"
    assert first.base == "https://mirror.example.com:444/v2"
    assert first.capabilities == {"pull"}
    assert first.route.tls.ca_files == (folder / "one.pem", Path("/etc/two.pem"))
    assert first.route.tls.client is not None
    assert (first.route.tls.client.certificate, first.route.tls.client.key) == (
        folder / "client.cert",
        folder / "client.key",
    )
    assert first.route.tls.verify
    assert first.route.connect_timeout == 62.5
    assert first.route.proxy == "http://proxy.example.com:3128"
    assert first.headers == (("x-custom", "a, b"), ("x-other", "c"))
    assert first.url("a/tags/list?n=1") == "https://mirror.example.com:444/v2/a/tags/list?n=1&ns=registry.example.com"
    assert second.base == "http://mirror.example.com/library/v2/path"
    assert third.base == "https://mirror.example.com/prefix/v2"
    assert "push" in third.capabilities
    assert all(host.is_mirror for host in (first, second, third))
    assert server.base == "https://upstream.example.com/v2"
    assert not server.route.tls.verify


def test_a_host_that_is_the_server_is_asked_once(tmp_path: Path) -> None:
    text = 'server = "https://docker.io"\n[host."https://registry-1.docker.io"]\n'
    assert [host.base for host in hosts(tmp_path, "docker.io", text)] == [
        "https://registry-1.docker.io/v2",
        "https://docker.io/v2",
    ]
    assert len(hosts(tmp_path, "a.example.com", '[host."https://a.example.com"]\n')) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server = 5", "an address"),
        ("server = ", "not TOML"),
        ("host = 5", "a table for each"),
        ('[host]\n"https://a" = 5', "a table"),
        ('capabilities = ["pull", "fly"]', "pull, resolve, push"),
        ("capabilities = 5", "array of strings"),
        ("ca = [5]", "array of strings"),
        ("client = 5", "array of pairs"),
        ('client = [["a"]]', "array of pairs"),
        ('skip_verify = "yes"', "true or false"),
        ("proxy = 5", "a string"),
        ('dial_timeout = "soon"', "a duration"),
        ("dial_timeout = 5", "a duration"),
        ('dial_timeout = "0s"', "above 0"),
        ("header = 5", "a table"),
        ('[header]\n"a b" = "c"', "a string or"),
        ('[header]\na = "b\\r\\nc: d"', "a string or"),
        ("[header]\na = [5]", "a string or"),
    ],
)
def test_what_no_hosts_file_may_say(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(FormatError, match=words) as caught:
        hosts(tmp_path, "registry.example.com", text)
    assert "hosts.toml" in str(caught.value)


@pytest.mark.parametrize(
    "address", ["ftp://a.example.com", "https://", "https://user:pw@a", "https://a:0", "https://a:b"]
)
def test_an_address_that_is_none(tmp_path: Path, address: str) -> None:
    with pytest.raises(UsageError, match="not the address"):
        hosts(tmp_path, "registry.example.com", f'[host."{address}"]')


def test_a_hosts_file_is_not_endless(tmp_path: Path) -> None:
    with pytest.raises(LimitError):
        hosts(tmp_path, "registry.example.com", "#" * ((1 << 20) + 1))


def test_names_of_folders(tmp_path: Path) -> None:
    roots = [tmp_path / "own", tmp_path / "system"]
    for root in roots:
        root.mkdir()
    assert find_folder("a.example.com:5000", roots) is None
    for name in ("_default", "a.example.com5000", "a.example.com:5000", "a.example.com_5000_"):
        (roots[1] / name).mkdir()
        assert find_folder("a.example.com:5000", roots) == roots[1] / name
    assert find_folder("b.example.com", roots) == roots[1] / "_default"
    (roots[0] / "_default").mkdir()
    assert find_folder("b.example.com", roots) == roots[0] / "_default"
    assert find_folder("[::1]:5000", [tmp_path / "none"]) is None


def test_the_usual_folders_are_looked_at(home: Path) -> None:
    folder = home / ".config" / "containerd" / "certs.d" / "registry.example.com"
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text('[host."https://mirror.example.com"]\n')
    assert [host.name for host in hosts_of("registry.example.com", RegistrySettings())] == [
        "mirror.example.com",
        "registry.example.com",
    ]


def test_certificates_without_a_hosts_file(tmp_path: Path) -> None:
    for name in ("ca.crt", "other.crt", "client.cert", "client.key", "README"):
        (tmp_path / name).touch()
    file = read_folder(tmp_path)
    assert file.mirrors == ()
    assert file.server.ca_files == (tmp_path / "ca.crt", tmp_path / "other.crt")
    assert file.server.client is not None
    assert file.server.client.key == tmp_path / "client.key"
    (tmp_path / "client.key").unlink()
    with pytest.raises(FormatError, match=r"client\.key is missing"):
        read_folder(tmp_path)


def test_certificates_of_a_folder_are_used(
    authority: Authority, mutual_tls_registry: DockerRegistry, tmp_path: Path
) -> None:
    folder = tmp_path / mutual_tls_registry.host
    folder.mkdir()
    (folder / "ca.crt").write_bytes(authority.file.read_bytes())
    cert, key = authority.client_files(folder)
    cert.rename(folder / "own.cert")
    key.rename(folder / "own.key")
    with RegistryClient(replace(SETTINGS, hosts_dir=tmp_path)) as client:
        assert repository(client, mutual_tls_registry.host).head_manifest("one") is None


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"ca_file": Path("missing.pem")}, NotFoundError),
        ({"ca_file": Path(__file__)}, UsageError),
        ({"cert": Path("missing.pem")}, NotFoundError),
        ({"cert": Path(__file__)}, UsageError),
    ],
)
def test_files_that_are_no_use(options: dict[str, Path], error: type[WclayerError]) -> None:
    settings = replace(SETTINGS, **options)  # type: ignore[arg-type]
    with RegistryClient(settings) as client, pytest.raises(error):
        repository(client, "127.0.0.1:1").head_manifest("one")


# --------------------------------------------------------------------------------------------------------- mirrors


def mirrored(tmp_path: Path, mirror: str, server: str, *lines: str) -> RegistrySettings:
    """Settings in which ``mirror`` stands before ``server``."""
    folder = tmp_path / "certs.d" / server
    folder.mkdir(parents=True)
    (folder / "hosts.toml").write_text("\n".join([f'[host."http://{mirror}"]', *lines]))
    return replace(SETTINGS, hosts_dir=tmp_path / "certs.d")


def test_a_mirror_is_asked_first_and_told_for_whom(tmp_path: Path) -> None:
    with serve(lambda _: manifest()) as mirror, serve(lambda _: Reply(500)) as server:
        with RegistryClient(mirrored(tmp_path, mirror.host, server.host)) as client:
            assert repository(client, server.host).get_manifest("one").digest == DIGEST
        assert mirror.lines == [f"GET /v2/a/b/manifests/one?ns={server.host}"]
        assert server.asked == []


def test_the_server_is_asked_when_a_mirror_fails(tmp_path: Path) -> None:
    for reply in (Reply(404), Reply(500), Reply(401), Reply(403), Reply(raw=b""), manifest(b"x", "text/html")):
        with serve(lambda _, r=reply: r) as mirror, serve(lambda _: manifest()) as server:  # type: ignore[misc]
            with RegistryClient(mirrored(tmp_path / mirror.host, mirror.host, server.host)) as client:
                if reply.status == 200 and reply.raw is None:
                    with pytest.raises(NetworkError):  # what a mirror says wrongly is not hidden
                        repository(client, server.host).get_manifest("one")
                    continue
                assert repository(client, server.host).get_manifest("one").digest == DIGEST
            assert len(mirror.asked) <= 2
            assert len(server.asked) == 1


def test_a_mirror_that_cannot_be_reached_is_left_alone_for_a_while(tmp_path: Path) -> None:
    lines: list[str] = []
    with serve(lambda _: manifest()) as server:
        settings = replace(mirrored(tmp_path, "127.0.0.1:1", server.host), trace=lines.append)
        with RegistryClient(settings) as client:
            for _ in range(3):
                assert repository(client, server.host).get_manifest("one").digest == DIGEST
    assert len([line for line in lines if line.startswith("> GET http://127.0.0.1:1/")]) == 1


def test_when_all_fail_all_are_told(tmp_path: Path) -> None:
    with serve(lambda _: Reply(404)) as mirror, serve(lambda _: Reply(404)) as server:
        with (
            RegistryClient(mirrored(tmp_path, mirror.host, server.host)) as client,
            pytest.raises(NotFoundError) as caught,
        ):
            repository(client, server.host).get_manifest("one")
        assert mirror.host in caught.value.message
        assert server.host in caught.value.message


def test_a_mirror_that_must_not_resolve_gives_content_only(tmp_path: Path) -> None:
    with serve(lambda _: manifest()) as mirror, serve(lambda _: manifest()) as server:
        settings = mirrored(tmp_path, mirror.host, server.host, 'capabilities = ["pull"]')
        with RegistryClient(settings) as client:
            there = repository(client, server.host)
            there.get_manifest("one")
            there.head_manifest("one")
            assert mirror.asked == []
            assert there.get_manifest(DIGEST).raw == MANIFEST
            assert there.has_blob(DIGEST) is not None
            assert len(mirror.asked) == 2


def takes_everything(asked: Asked) -> Reply:
    return Reply(200 if asked.method == "HEAD" else 201)


def test_nothing_is_pushed_to_a_mirror(tmp_path: Path) -> None:
    with serve(lambda _: Reply(500)) as mirror, serve(takes_everything) as server:
        with RegistryClient(mirrored(tmp_path, mirror.host, server.host)) as client:
            there = repository(client, server.host)
            there.put_manifest(MANIFEST, OCI_MANIFEST, "one")
            there.has_blob(DIGEST, actions="pull,push")
        assert mirror.asked == []


def test_unless_it_is_said_to_take_it(tmp_path: Path) -> None:
    with serve(takes_everything) as mirror, serve(lambda _: Reply(500)) as server:
        settings = mirrored(tmp_path, mirror.host, server.host, 'capabilities = ["pull", "push"]')
        with RegistryClient(settings) as client:
            there = repository(client, server.host)
            there.put_manifest(MANIFEST, OCI_MANIFEST, "one")
            there.request("PUT", f"{mirror.url}/upload", body=b"x", expect=(201,), stream=False, actions="pull,push")
        assert len(mirror.asked) == 2
        assert server.asked == []


def test_a_registry_that_must_not_be_pushed_to(tmp_path: Path) -> None:
    with serve(takes_everything) as server:
        folder = tmp_path / server.host
        folder.mkdir()
        (folder / "hosts.toml").write_text('capabilities = ["pull", "resolve"]')
        settings = replace(SETTINGS, hosts_dir=tmp_path)
        with RegistryClient(settings) as client, pytest.raises(UnsupportedError, match="may be pushed to"):
            repository(client, server.host).put_manifest(MANIFEST, OCI_MANIFEST, "one")
        assert server.asked == []


def test_a_mirror_gets_its_own_credentials_and_headers_only(tmp_path: Path, home: Path) -> None:
    with serve(wants_password(lambda _: manifest())) as mirror, serve(wants_password(lambda _: manifest())) as server:
        settings = mirrored(
            tmp_path, mirror.host, server.host, f'[host."http://{mirror.host}".header]', 'x-token = "s3cret"'
        )
        lines: list[str] = []
        settings = replace(
            settings, username=WITH_PASSWORD.username, password=WITH_PASSWORD.password, trace=lines.append
        )
        with RegistryClient(settings) as client:
            assert repository(client, server.host).get_manifest("one").digest == DIGEST
        assert [asked.headers.get("authorization") for asked in mirror.asked] == [None]
        assert {asked.headers["x-token"] for asked in mirror.asked} == {"s3cret"}
        assert server.asked[-1].headers["authorization"] == BASIC
        assert not [asked for asked in server.asked if "x-token" in asked.headers]
    shown = "\n".join(lines)
    assert "s3cret" not in shown
    assert PASSWORD not in shown


def test_a_real_registry_as_a_mirror(
    registry: DockerRegistry, read_only_registry: DockerRegistry, repository_name: str, tmp_path: Path
) -> None:
    digest = seed(registry.name(f"{repository_name}:one"))
    settings = mirrored(tmp_path, read_only_registry.host, "registry.example.com")
    with RegistryClient(settings) as client:
        there = client.repository(parse_registry_name(f"registry.example.com/{repository_name}:one"))
        assert there.get_manifest("one").digest == digest


def test_a_server_in_place_of_the_registry(tmp_path: Path) -> None:
    folder = tmp_path / "_default"
    folder.mkdir()
    with serve(lambda _: manifest()) as server:
        (folder / "hosts.toml").write_text(f'server = "http://{server.host}"\n')
        with RegistryClient(replace(SETTINGS, hosts_dir=tmp_path)) as client:
            assert repository(client, "registry.example.com").get_manifest("one").digest == DIGEST
        assert server.lines == ["GET /v2/a/b/manifests/one?ns=registry.example.com"]


def test_the_origin_of_an_address() -> None:
    assert origin("https://Example.com/x") == "https://example.com:443"
    assert origin("http://example.com:80") == origin("http://example.com")
    assert origin("https://example.com") != origin("http://example.com:443")
    assert origin("https://[/") == ""


def test_a_password_is_not_for_whoever_takes_the_place_of_the_registry(tmp_path: Path) -> None:
    """A server that ``certs.d`` puts in the place of a registry is not the one that a person gave a password for."""

    def script(asked: Asked) -> Reply:
        return Reply(401, headers={"WWW-Authenticate": "Basic"})

    folder = tmp_path / "_default"
    folder.mkdir()
    with serve(script) as server:
        (folder / "hosts.toml").write_text(f'server = "http://{server.host}"\n')
        with RegistryClient(replace(WITH_PASSWORD, hosts_dir=tmp_path)) as client, pytest.raises(AuthenticationError):
            repository(client, "registry.example.com").get_manifest("one")
        assert not [asked for asked in server.asked if "authorization" in asked.headers]
