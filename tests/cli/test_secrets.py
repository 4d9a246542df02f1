"""No verb shows a secret, however much it is asked to tell, nor leaves one in a file or in the arguments of a program.

Every verb with the options about registries is tried, with all it can tell, let in and refused; a verb that is missing
in the table here fails a test.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest

from tests.cli.conftest import Ended, Run
from tests.cli.leaks import PROXY_PASSWORD, WRONG, arguments_of, check, leaks
from tests.image.stacks import file, folder, make_image, tar
from tests.registries.content import WINDOWS, put_image
from tests.registries.docker_registry import PASSWORD, USER, DockerRegistry
from tests.registries.token_server import IDENTITY_TOKEN
from wclayer.cli.network_options import NetworkOption
from wclayer.cli.output import tell
from wclayer.cli.verbs import VERBS, cli
from wclayer.image.base_images import Catalog, known_bases
from wclayer.oci import Descriptor
from wclayer.oci.documents import encode_index
from wclayer.oci.mediatypes import OCI_INDEX, OCI_MANIFEST
from wclayer.oci.registry import RegistryClient, RegistrySettings, Secret, parse_registry_name

_VARIABLES = ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")


@pytest.mark.parametrize(
    "data",
    [
        PASSWORD.encode(),
        b"https://anna:correct%20horse@host/",
        b"password=correct+horse&x",
        b"Authorization: Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()),
        f'{{"identitytoken":"{IDENTITY_TOKEN}"}}'.encode(),
        b"Bearer eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ0ZXN0cyJ9.c2lnbmF0dXJl",
        b"PATCH /v2/x/blobs/uploads/1?_state=REZ0-x",
    ],
)
def test_a_leak_would_be_seen(data: bytes) -> None:
    assert leaks(b"before " + data + b" after")
    assert not leaks(b"Authorization: Basic ***\n?_state=***&digest=sha256:00")


# ---------------------------------------------------------------------------------------------------- where it happens


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Home, store and temporary there: all that a verb may leave anything in. Credentials lie beside it."""
    for name in (*_VARIABLES, *_PROXIES, *(name.upper() for name in _PROXIES)):
        monkeypatch.delenv(name, raising=False)
    there = tmp_path / "place"
    for name in ("home", "tmp", "store", "out"):
        (there / name).mkdir(parents=True)
    monkeypatch.setenv("HOME", str(there / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(there / "home" / ".config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(there / "home" / ".cache"))
    monkeypatch.setenv("WCLAYER_STORE", str(there / "store"))
    monkeypatch.setenv("TMPDIR", str(there / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.chdir(there)
    return there


def seed(registry: DockerRegistry, repository: str) -> str:
    """An index of one image."""
    settings = RegistrySettings(retry_delay=0.01, username=USER, password=Secret(PASSWORD))
    name = parse_registry_name(registry.name(f"{repository}:v1"))
    with RegistryClient(settings) as client:
        opened = client.repository(name)
        digest = put_image(opened, [tar([folder("Files"), file("Files/f.txt", b"data")])], "single")
        size = len(opened.get_manifest(digest).raw)
        entry = Descriptor(OCI_MANIFEST, digest, size, platform=WINDOWS)
        opened.put_manifest(encode_index([entry]), OCI_INDEX, "v1")
    return str(name)


@pytest.fixture(params=["basic", "token"])
def image(request: pytest.FixtureRequest, repository_name: str) -> str:
    """An image in a registry that wants to know who asks."""
    return seed(request.getfixturevalue(f"{request.param}_registry"), repository_name)


def authfile(folder: Path, host: str, **entry: str) -> Path:
    path = folder / "auth.json"
    path.write_text(json.dumps({"auths": {host: entry}}))
    return path


def coded(password: str = PASSWORD) -> str:
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


# --------------------------------------------------------------------------------------------------------- every verb


def calls(image: str, place: Path) -> dict[str, list[list[str]]]:
    """For each verb that talks to registries, a call or several."""
    repository = image.rpartition(":")[0]
    local = make_image(place / "out" / "local", [file("Files/f.txt", b"local")], tag="v1")
    named = make_image(place / "out" / "named", [file("Files/f.txt", b"named")], tag="example.invalid/app:v1")
    listing = place / "out" / "list.txt"
    listing.write_text(f"{image} {repository}-mirror:v1\n")
    catalog = Catalog()
    catalog.add(known_bases(local))
    catalog.save(place / "out" / "catalog.json")
    return {
        "base": [[image, "--catalog", str(place / "out" / "catalog.json")]],
        "bundle": [[image, "-o", str(place / "out" / "bundle.tar")]],
        "cat": [[image, "f.txt"]],
        "catalog": [["update", image, "--catalog", str(place / "out" / "catalog.json")]],
        "cim": [
            ["create", str(place / "out" / "a.cim"), image],
            ["fork", str(place / "out" / "b.cim"), str(place / "out" / "a.cim"), image],
            ["import", image, str(place / "out" / "cims" / "cim-layers" / "0.cim"), "--no-processing"],
            ["merge", str(place / "out" / "c.cim"), image, local],
        ],
        "commit": [[str(place / "home"), "--parent", image, "-o", str(place / "out" / "layer.tar")]],
        "compat": [[image, "--host", "ltsc2022"], [image, "--all-hosts"]],
        "config": [[image]],
        "convert": [[image, f"oci:{place / 'out' / 'converted'}:v1"]],
        "copy": [[image, f"{repository}-copy:v1"], [image, f"oci:{place / 'out' / 'copied'}:v1"]],
        "diff": [[image, image], [image, local]],
        "digest": [[image]],
        "env": [["ls", image]],
        "extract": [[image, "f.txt", "-o", str(place / "out" / "extracted")]],
        "index": [
            ["ls", image],
            ["create", f"{repository}-index:v1", image, local],
            ["filter", f"{repository}-index:v1", f"{repository}-index:v2", "--platform", "windows/amd64"],
        ],
        "inspect": [[image]],
        "lint": [[image, "--fail-on", "never"]],
        "load": [[named.removeprefix("oci:").partition(":")[0], f"docker://{image.partition('/')[0]}/loaded"]],
        "ls": [[image]],
        "manifest": [[image]],
        "mirror": [[str(listing)]],
        "mount": [[image, str(place / "out" / "mounted"), "--no-fuse"]],
        "os": [[image]],
        "pull": [[image], [image, "--unpack", str(place / "out" / "pulled")]],
        "push": [[local, f"{repository}-push:v1"]],
        "rebase": [[image, f"oci:{place / 'out' / 'rebased'}:v1", "--old-base", image, "--new-base", image]],
        "recompress": [[image, f"oci:{place / 'out' / 'smaller'}:v1", "--zstd"]],
        "reg": [["ls", image], ["diff", image, image]],
        "sbom": [[image, "-o", str(place / "out" / "sbom.json")]],
        "stat": [[image, "f.txt"]],
        "tags": [[image]],
        "unpack": [[image, str(place / "out" / "unpacked")]],
        "verify": [[image]],
    }


def talkative(verb: str) -> bool:
    """Whether a verb has the options about registries."""
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    inner = command.commands.values() if isinstance(command, click.Group) else [command]
    return any(isinstance(parameter, NetworkOption) for one in inner for parameter in one.params)


TALKATIVE = [verb for verb in sorted(VERBS) if talkative(verb) and verb != "login"]


def test_every_verb_that_talks_to_registries_is_tried(place: Path) -> None:
    assert sorted(calls("127.0.0.1:1/x:v1", place)) == TALKATIVE


@pytest.mark.parametrize("verb", TALKATIVE)
def test_no_verb_shows_a_secret(verb: str, image: str, place: Path, tmp_path: Path, run: Run) -> None:
    host = image.partition("/")[0]
    path = authfile(tmp_path, host, auth=coded())
    for number, arguments in enumerate(calls(image, place)[verb]):
        store = ["--store", str(place / "store" / str(number))]
        ended = run(verb, *arguments, "--authfile", path, *store, "-vv", "--http-trace")
        assert ended.code == 0 or (ended.code == 1 and verb in ("base", "diff", "os", "sbom")), ended.err[
            -600:
        ]  # it finds nothing
        assert re.search(r"^> [Aa]uthorization: (Basic|Bearer) \*\*\*$", ended.err, re.MULTILINE)
        check(ended, place)


@pytest.mark.parametrize("verb", TALKATIVE)
def test_no_verb_shows_a_secret_when_it_is_refused(
    verb: str, image: str, place: Path, tmp_path: Path, run: Run
) -> None:
    path = authfile(tmp_path, image.partition("/")[0], auth=coded(WRONG))
    ended = run(verb, *calls(image, place)[verb][0], "--authfile", path, "-vv", "--http-trace")
    assert ended.code == 4, ended.err[-600:]
    check(ended, place)


# ------------------------------------------------------------------------------------------------- every way to give it


def by_standard_input(_folder: Path, _host: str, patched: pytest.MonkeyPatch) -> list[str]:
    patched.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    return ["--username", USER, "--password-stdin"]


def by_variable(_folder: Path, host: str, patched: pytest.MonkeyPatch) -> list[str]:
    patched.setenv("DOCKER_AUTH_CONFIG", json.dumps({"auths": {host: {"auth": coded()}}}))
    return []


def by_docker_config(folder: Path, host: str, patched: pytest.MonkeyPatch) -> list[str]:
    (folder / "config.json").write_text(json.dumps({"auths": {host: {"username": USER, "password": PASSWORD}}}))
    patched.setenv("DOCKER_CONFIG", str(folder))
    return []


def by_helper(folder: Path, host: str, patched: pytest.MonkeyPatch) -> list[str]:
    make_helper(folder, patched)
    (folder / "config.json").write_text(json.dumps({"credHelpers": {host: "of-the-tests"}}))
    patched.setenv("DOCKER_CONFIG", str(folder))
    return []


WAYS = [by_standard_input, by_variable, by_docker_config, by_helper]


def make_helper(folder: Path, patched: pytest.MonkeyPatch) -> None:
    """A credential helper that notes how it was called, and what is in its environment."""
    answer = json.dumps({"ServerURL": "x", "Username": USER, "Secret": PASSWORD})
    helper = folder / "docker-credential-of-the-tests"
    helper.write_text(
        "#!/bin/sh\n"
        f"tr '\\0' ' ' < /proc/$$/cmdline >> '{folder}/called'\n"
        f"env >> '{folder}/environment'\n"
        f"cat >> '{folder}/input'\n"
        f"[ \"$1\" != get ] || echo '{answer}'\n"
    )
    helper.chmod(0o755)
    patched.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("verb", ["manifest", "pull", "index"])
def test_no_secret_is_shown_however_it_was_given(
    verb: str,
    way: Callable[[Path, str, pytest.MonkeyPatch], list[str]],
    image: str,
    place: Path,
    tmp_path: Path,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = way(tmp_path, image.partition("/")[0], monkeypatch)
    ended = run(verb, *calls(image, place)[verb][-2 if verb == "index" else 0], *options, "-vv", "--http-trace")
    assert ended.code == 0, ended.err[-600:]
    check(ended, place)
    if way is by_helper:
        assert b"docker-credential-of-the-tests get" in (tmp_path / "called").read_bytes()
        assert leaks((tmp_path / "called").read_bytes()) == []
        assert leaks((tmp_path / "environment").read_bytes()) == []


@pytest.mark.parametrize("verb", ["manifest", "pull"])
@pytest.mark.parametrize("code", [0, 4])
def test_no_identity_token_is_shown(
    verb: str,
    code: int,
    token_registry: DockerRegistry,
    repository_name: str,
    place: Path,
    tmp_path: Path,
    run: Run,
) -> None:
    image = seed(token_registry, repository_name)
    token = IDENTITY_TOKEN if code == 0 else WRONG
    path = authfile(tmp_path, token_registry.host, identitytoken=token)
    ended = run(verb, image, "--authfile", path, "-vv", "--http-trace")
    assert ended.code == code, ended.err[-600:]
    check(ended, place)


def test_no_password_of_a_proxy_is_shown(place: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"http://{USER}:{PROXY_PASSWORD}@127.0.0.1:1"
    for options in (["--proxy", proxy], []):
        ended = run("manifest", "registry.invalid/x:v1", *options, "--retries", "0", "-vv", "--http-trace")
        assert ended.code == 5, ended.err[-600:]
        check(ended, place)
        monkeypatch.setenv("HTTPS_PROXY", proxy)


@pytest.mark.parametrize(
    "text", ["docker://anna:{}@127.0.0.1:1/x:v1", "anna:{}@127.0.0.1:1/x:v1", "https://a:{}@h.i/x"]
)
@pytest.mark.parametrize("verb", ["manifest", "pull", "tags", "push", "copy", "login", "logout"])
def test_no_password_in_a_reference_is_shown(
    text: str, verb: str, place: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = text.format(PROXY_PASSWORD)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    local = make_image(place / "out" / "local", [file("Files/f.txt", b"local")], tag="v1")
    for arguments in (
        [[local, reference], [reference, f"oci:{place / 'out' / 'x'}"]]
        if verb == "copy"
        else [[local, reference] if verb == "push" else [reference]]
    ):
        tracing = [] if verb == "logout" else ["-vv", "--http-trace"]
        account = ["--username", USER, "--password-stdin"] if verb == "login" else []
        ended = run(verb, *arguments, *account, *tracing)
        assert ended.code in (2, 3), ended.err[-600:]
        check(ended, place)


# ------------------------------------------------------------------------------------------------- login and processes


def test_login_keeps_a_secret_in_one_file_only(
    image: str, place: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = image.partition("/")[0]
    path = tmp_path / "auth.json"
    arguments = [host, "--username", USER, "--password-stdin", "--authfile", path, "-vv", "--http-trace"]
    for password, code in ((WRONG, 4), (PASSWORD, 0)):
        monkeypatch.setattr(sys, "stdin", io.StringIO(f"{password}\n"))
        ended = run("login", *arguments)
        assert ended.code == code, ended.err[-600:]
        assert path.exists() == (code == 0)
        check(ended, place)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == [path.name]
    check(run("manifest", image, "--authfile", path, "-vv", "--http-trace"), place)
    ended = run("logout", host, "--authfile", path)
    assert ended.code == 0
    check(ended, place)
    assert leaks(path.read_bytes() if path.exists() else b"") == []


def test_login_gives_a_helper_the_secret_by_its_input(
    image: str, place: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = image.partition("/")[0]
    make_helper(tmp_path, monkeypatch)
    (tmp_path / "config.json").write_text(json.dumps({"credsStore": "of-the-tests"}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"{PASSWORD}\n"))
    ended = run("login", host, "--username", USER, "--password-stdin", "-vv", "--http-trace")
    assert ended.code == 0, ended.err[-600:]
    check(ended, place)
    assert b"docker-credential-of-the-tests store" in (tmp_path / "called").read_bytes()
    assert leaks((tmp_path / "input").read_bytes())  # this is the way it has to take
    for name in ("called", "environment", "config.json"):
        assert leaks((tmp_path / name).read_bytes()) == [], name


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is needed to see the arguments of processes")
def test_no_process_has_a_secret_among_its_arguments(
    image: str, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_helper(tmp_path, monkeypatch)
    (tmp_path / "config.json").write_text(json.dumps({"credHelpers": {image.partition("/")[0]: "of-the-tests"}}))
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    command = [sys.executable, "-m", "wclayer", "pull", image, "--unpack", str(place / "out" / "x"), "--jobs", "2"]
    seen: set[bytes] = set()
    over = threading.Event()
    with subprocess.Popen(
        [*command, "-vv", "--http-trace"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:

        def watch() -> None:
            while not over.wait(0.002):
                seen.update(arguments_of(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            out, err = process.communicate(timeout=120)
        finally:
            over.set()
            watcher.join()
    assert process.returncode == 0, err
    assert any(b"wclayer" in one for one in seen)
    assert [leaks(one) for one in seen if leaks(one)] == []
    check(Ended(0, out, err.decode()), place)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("image anna:secret@host/x: no", "image anna:***@host/x: no"),
        ("docker://anna:se:cr@et@host.example/x", "docker://anna:***@host.example/x"),
        (
            "from http://anna:secret@127.0.0.1:1 (anna:secret@[::1])",
            "from http://anna:***@127.0.0.1:1 (anna:***@[::1])",
        ),
        ("host/x:v1@sha256:00 and x:v1@sha512:00", "host/x:v1@sha256:00 and x:v1@sha512:00"),
        ("oci:folder@host and oci-archive:a@b", "oci:folder@host and oci-archive:a@b"),
        ("mail to anna@host", "mail to anna@host"),
    ],
)
def test_a_password_in_an_address_is_not_told(text: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    tell(text)
    assert capsys.readouterr().err == f"wclayer: {told}\n"


def test_a_secret_has_no_text() -> None:
    secret = Secret(PASSWORD)
    settings = RegistrySettings(username=USER, password=secret)
    shown: list[Any] = [str(secret), repr(secret), f"{secret}", f"{secret!r}", settings]
    assert [one for one in shown if leaks(str(one).encode())] == []
