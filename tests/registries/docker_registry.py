"""Debian's ``docker-registry`` (distribution/distribution), started on a free port for as long as a test needs it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.peers import require
from tests.registries.authority import Authority
from tests.registries.token_server import TokenServer

__all__ = ["PASSWORD", "USER", "DockerRegistry", "start_registry"]

USER, PASSWORD = "anna", "correct horse"
# bcrypt of the password, with as few rounds as it can have
_HTPASSWD = f"{USER}:$2b$04$sXhjYKEPxCFHYQvudVBhPuGwGHKuv20SL4HXjHJTPuCU7daC6h1lW\n"
_DEADLINE = 60.0
_LISTENING = re.compile(r'msg="listening on (127\.0\.0\.1:[0-9]+)')


@dataclass(frozen=True, slots=True)
class DockerRegistry:
    """A registry that runs. ``host`` is ``127.0.0.1:PORT``, ``storage`` the folder with its content."""

    host: str
    storage: Path
    log: Path
    tokens: TokenServer | None = None

    def name(self, rest: str) -> str:
        """A full name of an image here."""
        return f"{self.host}/{rest}"


@contextmanager
def start_registry(
    folder: Path,
    *,
    storage: Path | None = None,
    basic: bool = False,
    tokens: TokenServer | None = None,
    authority: Authority | None = None,
    client_certificates: bool = False,
    read_only: bool = False,
    delete: bool = True,
    foreign_urls: bool = False,
) -> Iterator[DockerRegistry]:
    """Start a registry below ``folder`` and stop it at the end.

    ``basic`` asks for ``USER`` and ``PASSWORD``, ``tokens`` is the token server it trusts, ``authority`` signs its
    certificate (with ``client_certificates`` also those of its clients). With ``foreign_urls`` it takes manifests whose
    layers have addresses of their own.
    """
    program = require("docker-registry")
    folder.mkdir(parents=True, exist_ok=True)
    storage = storage or folder / "storage"
    http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": "not one", "draintimeout": "1s"}
    if authority is not None:
        http["tls"] = authority.server_files(folder)
        if client_certificates:
            http["tls"]["clientcas"] = [str(authority.file)]
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "info", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": delete},
            "maintenance": {"uploadpurging": {"enabled": False}, "readonly": {"enabled": read_only}},
        },
        "http": http,
    }
    if foreign_urls:
        config["validation"] = {"manifests": {"urls": {"allow": ["^https?://"]}}}
    if basic:
        (folder / "htpasswd").write_text(_HTPASSWD)
        config["auth"] = {"htpasswd": {"realm": "tests", "path": str(folder / "htpasswd")}}
    elif tokens is not None:
        config["auth"] = {"token": tokens.registry_config()}
    file = folder / "config.yml"
    file.write_text(json.dumps(config))  # JSON is YAML
    log = folder / "log"
    # It ends with the tests even when they are killed.
    guard = [setpriv, "--pdeathsig", "KILL"] if (setpriv := shutil.which("setpriv")) else []
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*guard, program, "serve", str(file)], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        yield DockerRegistry(_wait(process, log, secure=authority is not None), storage, log, tokens)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], log: Path, *, secure: bool) -> str:
    """The host of the registry, when it answers."""
    deadline = time.monotonic() + _DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        found = _LISTENING.search(log.read_text("utf-8", "replace"))
        if found and (secure or _answers(found[1])):
            return found[1]
        time.sleep(0.02)
    raise AssertionError(f"docker-registry does not start:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def _answers(host: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}/v2/", timeout=10):
            return True
    except urllib.error.HTTPError as error:
        error.close()
        return error.code == 401
    except OSError:
        return False
