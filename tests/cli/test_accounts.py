"""``login``, ``logout`` and ``tags``, against real registries."""

from __future__ import annotations

import base64
import io
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Ended, Run
from tests.registries.authority import Authority
from tests.registries.content import seed
from tests.registries.docker_registry import PASSWORD, USER, DockerRegistry
from tests.registries.token_server import IDENTITY_TOKEN, TokenServer

# A helper that keeps what it is given in a folder, one file for each server.
HELPER = """#!{python}
import json, pathlib, sys
kept = pathlib.Path({folder!r})
given = sys.stdin.read()
if sys.argv[1] == "store":
    server = json.loads(given)["ServerURL"]
    (kept / server.replace("/", "_")).write_text(given)
else:
    place = kept / given.strip().replace("/", "_")
    if not place.exists():
        print("credentials not found in native keychain")
        sys.exit(1)
    if sys.argv[1] == "get":
        print(place.read_text())
    else:
        place.unlink()
"""


_VARIABLES = (
    "REGISTRY_AUTH_FILE",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CONFIG",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_CACHE_HOME",
    "WCLAYER_STORE",
)


class Shell:
    """Runs the command as somebody whose home is ``home``."""

    def __init__(self, home: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home = home
        self.environment: dict[str, str] = {}
        self._run = run
        self._monkeypatch = monkeypatch

    def run(self, *arguments: str, text: str = "", code: int = 0) -> Ended:
        with self._monkeypatch.context() as patched:
            for name in _VARIABLES:
                patched.delenv(name, raising=False)
            patched.setenv("HOME", str(self.home))
            patched.setenv("PATH", f"{self.home / 'bin'}:{os.environ['PATH']}")
            for name, value in self.environment.items():
                patched.setenv(name, value)
            patched.setattr(sys, "stdin", io.StringIO(text))
            done = self._run(*arguments)
        assert done.code == code, done.err
        assert PASSWORD not in done.out + done.err
        return done

    def login(self, registry: str, *options: str, password: str = PASSWORD, code: int = 0) -> str:
        return self.run(
            "login", registry, "--username", USER, "--password-stdin", *options, text=f"{password}\n", code=code
        ).err

    def read(self, name: str) -> Any:
        return json.loads((self.home / name).read_text())

    def helper(self) -> Path:
        """Install a credential helper; the folder with what it keeps."""
        kept, programs = self.home / "kept", self.home / "bin"
        kept.mkdir()
        programs.mkdir()
        program = programs / "docker-credential-tests"
        program.write_text(HELPER.format(python=sys.executable, folder=str(kept)))
        program.chmod(0o755)
        return kept


@pytest.fixture
def shell(tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> Shell:
    home = tmp_path / "home"
    home.mkdir()
    return Shell(home, run, monkeypatch)


def test_a_login_is_kept_and_used(shell: Shell, basic_registry: DockerRegistry, repository_name: str) -> None:
    name = basic_registry.name(repository_name)
    seed(f"{name}:one", user=USER, password=PASSWORD)
    assert "wclayer login" in shell.run("tags", name, code=4).err
    said = shell.login(basic_registry.host)
    file = shell.home / ".docker" / "config.json"
    assert f"kept in {file}" in said
    assert "unencrypted" in said
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    assert shell.read(".docker/config.json") == {"auths": {basic_registry.host: {"auth": auth}}}
    assert shell.run("tags", name).out == "one\n"
    found = json.loads(shell.run("tags", name, "--format", "json").out)
    assert found == {"schema": "wclayer.tags/1", "reference": f"docker://{name}", "tags": ["one"]}
    assert "removed from" in shell.run("logout", basic_registry.host).err
    assert shell.read(".docker/config.json") == {"auths": {}}
    shell.run("tags", name, code=4)
    assert "not logged in" in shell.run("logout", basic_registry.host, code=3).err


def test_what_the_registry_refuses_is_not_kept(
    shell: Shell, basic_registry: DockerRegistry, token_registry: DockerRegistry
) -> None:
    for registry in (basic_registry, token_registry):
        assert "does not accept" in shell.login(registry.host, password="a wrong one", code=4)  # noqa: S106 - that is it
    assert not (shell.home / ".docker").exists()


def test_the_rest_of_the_file_stays(shell: Shell, basic_registry: DockerRegistry, tmp_path: Path) -> None:
    file = tmp_path / "auth.json"
    other = {"auths": {"other.example.com": {"auth": "YTpi"}}, "psFormat": "{{.ID}}", "HttpHeaders": {"a": "b"}}
    file.write_text(json.dumps(other))
    shell.login(basic_registry.host, "--authfile", str(file))
    kept = json.loads(file.read_text())
    assert kept["auths"].pop(basic_registry.host)
    assert kept == other
    shell.run("logout", basic_registry.host, "--authfile", str(file))
    assert json.loads(file.read_text()) == other
    assert not (shell.home / ".docker").exists()


def test_skopeo_and_we_know_each_others_logins(
    shell: Shell,
    basic_registry: DockerRegistry,
    repository_name: str,
    tmp_path: Path,
    peer: Callable[[str], str],
) -> None:
    name = basic_registry.name(repository_name)
    seed(f"{name}:one", user=USER, password=PASSWORD)
    ours, theirs = tmp_path / "ours.json", tmp_path / "theirs.json"
    shell.login(basic_registry.host, "--authfile", str(ours))

    def skopeo(*arguments: str, text: str = "") -> str:
        return subprocess.run(
            [peer("skopeo"), *arguments], input=text, check=True, capture_output=True, text=True, timeout=120
        ).stdout

    listed = skopeo("list-tags", "--authfile", str(ours), "--tls-verify=false", f"docker://{name}")
    assert json.loads(listed)["Tags"] == ["one"]
    options = ("--authfile", str(theirs), "--tls-verify=false", "--username", USER, "--password-stdin")
    skopeo("login", *options, basic_registry.host, text=PASSWORD)
    assert shell.run("tags", name, "--authfile", str(theirs)).out == "one\n"
    shell.run("logout", basic_registry.host, "--authfile", str(theirs))
    shell.run("tags", name, "--authfile", str(theirs), code=4)


def test_a_login_for_a_part_of_a_registry(shell: Shell, basic_registry: DockerRegistry, repository_name: str) -> None:
    names = [basic_registry.name(f"{part}/{repository_name}") for part in ("mine", "theirs")]
    for name in names:
        seed(f"{name}:one", user=USER, password=PASSWORD)
    shell.login(f"{basic_registry.host}/mine")
    assert shell.run("tags", names[0]).out == "one\n"
    shell.run("tags", names[1], code=4)
    shell.run("logout", basic_registry.host, code=3)
    shell.run("logout", f"{basic_registry.host}/mine")


def test_an_identity_token_is_kept_instead_of_the_password(
    shell: Shell, token_registry: DockerRegistry, token_server: TokenServer, repository_name: str
) -> None:
    name = token_registry.name(repository_name)
    seed(f"{name}:one", user=USER, password=PASSWORD)
    assert "identity token" in shell.login(token_registry.host)
    entry = shell.read(".docker/config.json")["auths"][token_registry.host]
    assert entry["identitytoken"] == IDENTITY_TOKEN
    assert base64.b64decode(entry["auth"]) == f"{USER}:".encode()
    token_server.asked.clear()
    assert shell.run("tags", name).out == "one\n"
    assert [asked.parameters["grant_type"] for asked in token_server.asked] == [["refresh_token"]]


def test_an_identity_token_can_be_given(
    shell: Shell, token_registry: DockerRegistry, token_server: TokenServer, repository_name: str
) -> None:
    token_server.gives_identity_tokens = False
    name = token_registry.name(repository_name)
    seed(f"{name}:one", user=USER, password=PASSWORD)
    options = ("--username", "<token>", "--password-stdin")
    assert shell.run("tags", name, *options, text=f"{IDENTITY_TOKEN}\n").out == "one\n"
    shell.run("login", token_registry.host, *options, text=f"{IDENTITY_TOKEN}\n")
    assert shell.run("tags", name).out == "one\n"


@pytest.mark.parametrize("key", ["credsStore", "credHelpers"])
def test_a_helper_keeps_the_secret(
    shell: Shell, basic_registry: DockerRegistry, repository_name: str, key: str
) -> None:
    name = basic_registry.name(repository_name)
    seed(f"{name}:one", user=USER, password=PASSWORD)
    kept = shell.helper()
    file = shell.home / ".docker" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({key: "tests" if key == "credsStore" else {basic_registry.host: "tests"}}))
    assert "kept in docker-credential-tests" in shell.login(basic_registry.host)
    assert shell.read(".docker/config.json")["auths"] == {basic_registry.host: {}}
    assert json.loads((kept / basic_registry.host).read_text())["Secret"] == PASSWORD
    assert shell.run("tags", name).out == "one\n"
    assert "docker-credential-tests" in shell.run("logout", basic_registry.host).err
    assert list(kept.iterdir()) == []


def test_a_helper_that_is_missing_is_told_when_it_matters(
    shell: Shell, basic_registry: DockerRegistry, registry: DockerRegistry, repository_name: str
) -> None:
    seed(registry.name(f"{repository_name}:one"))
    file = shell.home / ".docker" / "config.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"credsStore": "desktop.exe"}))
    assert shell.run("tags", registry.name(repository_name)).err == ""
    said = shell.run("tags", basic_registry.name(repository_name), code=4).err
    assert "docker-credential-desktop.exe is not installed" in said


def test_what_comes_first_is_told(shell: Shell, basic_registry: DockerRegistry, tmp_path: Path) -> None:
    auth = base64.b64encode(b"bert:another one").decode()
    shell.environment["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {basic_registry.host: {"auth": auth}}})
    assert "DOCKER_AUTH_CONFIG comes first" in shell.login(basic_registry.host)
    said = shell.run("logout", basic_registry.host).err
    assert "DOCKER_AUTH_CONFIG still has credentials" in said
    assert "another one" not in said


def test_where_a_login_is_kept(shell: Shell, basic_registry: DockerRegistry, tmp_path: Path) -> None:
    existing = tmp_path / "config" / "containers" / "auth.json"
    existing.parent.mkdir(parents=True)
    existing.write_text("{}")
    shell.environment["XDG_CONFIG_HOME"] = str(tmp_path / "config")
    shell.environment["XDG_RUNTIME_DIR"] = str(tmp_path / "run")
    assert f"kept in {existing}" in shell.login(basic_registry.host)
    shell.environment["DOCKER_CONFIG"] = str(tmp_path / "docker")
    assert f"kept in {tmp_path / 'docker' / 'config.json'}" in shell.login(basic_registry.host)
    shell.environment["REGISTRY_AUTH_FILE"] = str(tmp_path / "named.json")
    assert f"kept in {tmp_path / 'named.json'}" in shell.login(basic_registry.host)
    # The first place that knows the registry wins, and logging out finds them all.
    said = shell.run("logout", basic_registry.host).err
    assert said.index("named.json") < said.index("docker") < said.index("containers")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--password-stdin"], "secret"),
        (["--username", USER, "--password-stdin"], ""),
        (["--username", USER], ""),
        ([], ""),
    ],
)
def test_half_a_login_is_a_usage_error(shell: Shell, arguments: list[str], text: str) -> None:
    shell.run("login", "127.0.0.1:1", *arguments, text=text, code=2)


def test_a_registry_that_asks_nobody(shell: Shell, registry: DockerRegistry) -> None:
    assert "nothing was checked" in shell.login(registry.host)


def test_what_is_no_registry(shell: Shell) -> None:
    assert "not the address" in shell.login("not a registry", code=2)
    shell.run("logout", "http://", code=2)


def test_a_login_over_tls(shell: Shell, tls_registry: DockerRegistry, authority: Authority) -> None:
    assert "--ca-file" in shell.login(tls_registry.host, code=5)
    shell.login(tls_registry.host, "--ca-file", str(authority.file))


def test_the_trace_has_no_secrets(
    shell: Shell, basic_registry: DockerRegistry, token_registry: DockerRegistry, token_server: TokenServer
) -> None:
    for registry in (basic_registry, token_registry):
        said = shell.login(registry.host, "--http-trace")
        assert "> Authorization: B" in said
        assert base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode() not in said
        assert IDENTITY_TOKEN not in said
        assert "eyJ" not in said  # how every signed token begins


def test_the_names_in_a_layout_are_its_tags(shell: Shell, tmp_path: Path) -> None:
    shell.run("sample", "-o", f"oci:{tmp_path / 'image'}:demo")
    assert shell.run("tags", f"oci:{tmp_path / 'image'}").out == "demo\ndemo-base\n"
    (tmp_path / "layer.tar").write_bytes(b"\0" * 10240)
    shell.run("tags", str(tmp_path / "layer.tar"), code=2)
