"""Whose credentials are used: the order of places, the longest key, helpers; and secrets that stay secret."""

from __future__ import annotations

import base64
import copy
import json
import os
import pickle
import stat
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from wclayer.errors import FormatError, NotFoundError, StoreError, UsageError
from wclayer.oci.registry import RegistrySettings, Secret
from wclayer.oci.registry.authfiles import Credentials, parse_auth_file, read_auth_file, write_auth_file
from wclayer.oci.registry.credentials import HUB_KEY, CredentialFinder
from wclayer.oci.registry.helpers import HelperError, ask_helper, erase_with_helper, store_with_helper

HOST = "registry.example.com"


def entry(user: str, password: str = "pw") -> dict[str, str]:  # noqa: S107 - of nobody
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def auths(**users: str) -> str:
    """A file with users by their keys, in which ``__`` stands for ``/``."""
    return json.dumps({"auths": {key.replace("__", "/"): entry(user) for key, user in users.items()}})


def found(host: str = HOST, repository: str = "a/b", settings: RegistrySettings | None = None) -> str:
    """The user whose credentials are found, empty for none."""
    credentials = CredentialFinder(settings or RegistrySettings()).find(host, repository).credentials
    return credentials.username if credentials else ""


def test_the_order_of_places(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def put(path: Path, user: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"auths": {HOST: entry(user)}}))
        return path

    assert found() == ""
    put(home / ".docker" / "config.json", "docker")
    assert found() == "docker"
    put(home / ".config" / "containers" / "auth.json", "config")
    assert found() == "config"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    put(tmp_path / "run" / "containers" / "auth.json", "runtime")
    assert found() == "runtime"
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker"))
    put(tmp_path / "docker" / "config.json", "docker-config")
    assert found() == "docker-config"
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {HOST: entry("inline")}}))
    assert found() == "inline"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(put(tmp_path / "named.json", "named")))
    assert found() == "named"
    authfile = put(tmp_path / "authfile.json", "authfile")
    settings = RegistrySettings(authfile=authfile)
    assert found(settings=settings) == "authfile"
    explicit = replace(settings, username="explicit", password=Secret("pw"))
    assert found(settings=explicit) == "explicit"
    assert CredentialFinder(explicit).find(HOST, "a", explicit=False).credentials == Credentials(
        "authfile", Secret("pw"), source=str(authfile)
    )
    assert found(settings=replace(settings, anonymous=True)) == ""
    assert found("other.example.com", settings=settings) == ""


def test_home_is_asked_when_nothing_says_where_configuration_is(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    file = home / ".config" / "containers" / "auth.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"auths": {HOST: entry("home")}}))
    assert found() == "home"


def test_the_longest_key_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    users = {HOST: "all", f"{HOST}/a": "a", f"{HOST}/a/b": "ab", f"{HOST}/a/bc": "abc"}
    text = json.dumps({"auths": {key: entry(user) for key, user in users.items()}})
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", text)
    for repository, user in {
        "a/b": "ab",
        "a/b/c": "ab",
        "a/x": "a",
        "a/bc": "abc",
        "x": "all",
        "": "all",
        "ab": "all",
    }.items():
        assert found(repository=repository) == user, repository


@pytest.mark.parametrize(
    ("key", "host"),
    [
        (HUB_KEY, "docker.io"),
        ("index.docker.io", "docker.io"),
        ("docker.io", "docker.io"),
        ("registry-1.docker.io", "docker.io"),
        (f"https://{HOST}", HOST),
        (f"https://{HOST}/", HOST),
        (f"https://{HOST}/v2/", HOST),
        (f"http://{HOST}/v1/", HOST),
        (f"{HOST.upper()}", HOST),
        (f"{HOST}:5000", f"{HOST}:5000"),
    ],
)
def test_keys_are_spelt_in_many_ways(monkeypatch: pytest.MonkeyPatch, key: str, host: str) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {key: entry("anna")}}))
    assert found(host) == "anna"
    assert found("other.example.com") == found(f"{HOST}:1") == ""


def test_forms_of_an_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    def credentials(**fields: str) -> Credentials | None:
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {HOST: fields}}))
        one = CredentialFinder(RegistrySettings()).find(HOST, "a").credentials
        return replace(one, source="") if one else None

    assert credentials(**entry("anna", "with:colons")) == Credentials("anna", Secret("with:colons"))
    assert credentials(**entry("anna", "nul\0\0")) == Credentials("anna", Secret("nul"))
    assert credentials(username="anna", password="pw") == Credentials("anna", Secret("pw"))  # noqa: S106
    assert credentials(**entry("anna", ""), identitytoken="id") == Credentials("anna", identity_token=Secret("id"))
    assert credentials(registrytoken="reg") == Credentials("", registry_token=Secret("reg"))
    assert credentials(email="anna@example.com") is None
    assert credentials() is None


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths": []}',
        '{"auths": {"registry.example.com": 5}}',
        '{"auths": {"registry.example.com": {"auth": "s3cret!"}}}',
        '{"auths": {"registry.example.com": {"auth": "czNjcmV0"}}}',
        '{"auths": {"registry.example.com": {"auth": "czNjcmV0//8="}}}',
        '{"auths": {"registry.example.com": {"identitytoken": "s3cret s3cret"}}}',
        '{"auths": {"registry.example.com": {"username": 5}}}',
        '{"credHelpers": {"registry.example.com": 5}}',
        '{"credsStore": []}',
    ],
)
def test_what_cannot_be_read_is_said_without_showing_it(text: str, monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", text)
    with pytest.raises(FormatError, match="DOCKER_AUTH_CONFIG") as caught:
        found()
    assert "s3cret" not in str(caught.value)
    assert "czNjcmV0" not in str(caught.value)
    monkeypatch.delenv("DOCKER_AUTH_CONFIG")


def test_a_file_of_others_that_cannot_be_read_is_a_problem_to_be_told(home: Path) -> None:
    file = home / ".docker" / "config.json"
    file.parent.mkdir()
    file.write_text("{")
    problems = CredentialFinder(RegistrySettings()).find(HOST, "a").problems
    assert len(problems) == 1
    assert str(file) in problems[0]
    with pytest.raises(FormatError):
        found(settings=RegistrySettings(authfile=file))
    with pytest.raises(NotFoundError, match="--authfile"):
        found(settings=RegistrySettings(authfile=home / "none"))
    file.write_text("")
    assert found() == ""


# --------------------------------------------------------------------------------------------------------- helpers


@pytest.fixture
def helpers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for credential helpers, which are found by their names."""
    folder = tmp_path / "helpers"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def helper(folder: Path, name: str, code: str) -> None:
    """A helper that runs ``code``, with its word in ``word`` and its input in ``given``."""
    program = folder / f"docker-credential-{name}"
    program.write_text(f"#!{sys.executable}\nimport sys\nword, given = sys.argv[1], sys.stdin.read()\n{code}\n")
    program.chmod(0o755)


def test_a_helper_is_asked_for_the_server(helpers: Path) -> None:
    helper(helpers, "one", 'print(\'{"ServerURL":"\' + given + \'","Username":"\' + given + \'","Secret":"pw"}\')')
    assert ask_helper("one", HOST) == Credentials(HOST, Secret("pw"), source="docker-credential-one")


def test_a_helper_may_keep_an_identity_token(helpers: Path) -> None:
    helper(helpers, "one", 'print(\'{"Username":"<token>","Secret":"id"}\')')
    assert ask_helper("one", HOST) == Credentials("", identity_token=Secret("id"), source="docker-credential-one")


def test_the_order_in_a_file(helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(helpers, "own", 'print(\'{"Username":"own","Secret":"pw"}\')')
    helper(helpers, "all", 'print(\'{"Username":"all","Secret":"pw"}\')')
    helper(helpers, "none", 'print("credentials not found in native keychain"); sys.exit(1)')
    document = {"auths": {HOST: entry("file")}, "credsStore": "all", "credHelpers": {HOST: "own"}}
    for own, store, user in (("own", "all", "own"), ("none", "all", "all"), ("none", "none", "file"), ("", "", "file")):
        document |= {"credHelpers": {HOST: own} if own else {}, "credsStore": store}
        monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps(document))
        assert found() == user


def test_a_helper_for_a_part_of_a_registry(helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(helpers, "own", 'print(\'{"Username":"own","Secret":"pw"}\')')
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"credHelpers": {f"{HOST}/a": "own"}}))
    assert (found(repository="a/b"), found(repository="b")) == ("own", "")


def test_a_helper_is_asked_once(helpers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    helper(
        helpers,
        "one",
        f'open({str(tmp_path / "asked")!r}, "a").write(given); print(\'{{"Username":"x","Secret":"y"}}\')',
    )
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"credsStore": "one"}))
    finder = CredentialFinder(RegistrySettings())
    for repository in ("a", "b"):
        assert finder.find("docker.io", repository).credentials
    assert (tmp_path / "asked").read_text() == HUB_KEY


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ('print("s3cret")', "does not answer with JSON"),
        ('print(\'{"Username":5,"Secret":"s3cret"}\')', "does not answer with JSON"),
        ('print("broken"); sys.exit(3)', "ends with 3: broken"),
        ('sys.stderr.write("\\x1b[31mred"); sys.exit(3)', "ends with 3:  ?\\[31mred"),
    ],
)
def test_a_helper_that_fails(helpers: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str) -> None:
    helper(helpers, "odd", code)
    with pytest.raises(HelperError, match=words) as caught:
        ask_helper("odd", HOST)
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("DOCKER_AUTH_CONFIG", json.dumps({"credsStore": "odd", "auths": {HOST: entry("file")}}))
    answer = CredentialFinder(RegistrySettings()).find(HOST, "a")
    assert answer.credentials is not None
    assert len(answer.problems) == 1


def test_a_helper_that_says_nothing_for_ever(helpers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wclayer.oci.registry.helpers._TIMEOUT", 0.2)
    helper(helpers, "slow", "import time; time.sleep(60)")
    with pytest.raises(HelperError, match="takes longer"):
        ask_helper("slow", HOST)


@pytest.mark.parametrize("name", ["none-such", "../evil", "a/b", "", "a b", "-x"])
def test_a_helper_that_is_none(name: str) -> None:
    with pytest.raises(HelperError, match="is not installed"):
        ask_helper(name, HOST)


def test_secrets_are_not_in_the_list_of_processes(helpers: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    helper(helpers, "one", f"print(sys.argv[1:], given, file=open({str(log)!r}, 'a')); print('{{\"Username\":\"x\"}}')")
    store_with_helper("one", HOST, Credentials("anna", Secret("s3cret")))
    erase_with_helper("one", HOST)
    store, get, erase = log.read_text().splitlines()
    assert store == f'[\'store\'] {{"ServerURL": "{HOST}", "Username": "anna", "Secret": "s3cret"}}'
    assert (get, erase) == (f"['get'] {HOST}", f"['erase'] {HOST}")


# ----------------------------------------------------------------------------------------------------------- files


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "config.json"
    write_auth_file(path, {"auths": {}})
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    path.chmod(0o644)
    link = tmp_path / "link.json"
    link.symlink_to(path)
    write_auth_file(link, {"auths": {HOST: entry("anna")}})
    assert link.is_symlink()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file = read_auth_file(path)
    assert file is not None
    assert list(file.auths) == [HOST]
    assert [one.name for one in path.parent.iterdir()] == ["config.json"]


def test_a_failure_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    write_auth_file(path, {"old": 1})

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StoreError, match="No space left"):
        write_auth_file(path, {"new": 1})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [one.name for one in tmp_path.iterdir() if one.name != "home"] == ["config.json"]


def test_the_empty_file_knows_nobody() -> None:
    assert parse_auth_file(b" \n", "here").auths == {}


# --------------------------------------------------------------------------------------------------------- secrets


def test_a_secret_is_not_shown() -> None:
    secret = Secret("s3cret")
    settings = RegistrySettings(username="anna", password=secret, proxy="http://anna:s3cret@proxy:1")
    credentials = Credentials("anna", secret, source="here")
    for shown in (repr(secret), str(secret), f"{secret:>9}", repr(settings), repr(credentials), credentials.shown):
        assert "s3cret" not in shown
    assert repr(credentials.basic) == "Secret('***')"
    assert (bool(Secret("")), bool(secret)) == (False, True)
    assert secret == Secret("s3cret") != Secret("other")
    assert secret.reveal() == "s3cret"
    for leak in (pickle.dumps, copy.copy):
        with pytest.raises(TypeError):
            leak(secret)


@pytest.mark.parametrize(
    "options",
    [
        {"key": Path("key")},
        {"username": "anna"},
        {"password": Secret("x")},
        {"username": "a", "password": Secret("x"), "registry_token": Secret("y")},
        {"identity_token": Secret("x"), "registry_token": Secret("y")},
        {"anonymous": True, "registry_token": Secret("y")},
        {"retries": -1},
        {"retry_delay": -1.0},
        {"connect_timeout": 0},
        {"read_timeout": float("nan")},
    ],
)
def test_settings_that_contradict_themselves(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        RegistrySettings(**options)  # type: ignore[arg-type]
