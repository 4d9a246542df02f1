"""The registries that tests may ask for; each is started once for all tests of a process.

Content is not taken away between tests, so every test uses a repository of its own (:func:`repository_name`).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registries.authority import Authority
from tests.registries.docker_registry import PASSWORD, USER, DockerRegistry, start_registry
from tests.registries.token_server import TokenServer, start_token_server

__all__ = [
    "authority",
    "basic_registry",
    "mutual_tls_registry",
    "read_only_registry",
    "registry",
    "repository_name",
    "tls_registry",
    "token_registry",
    "token_server",
    "undeletable_registry",
]


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A plain registry for everybody, with deletion."""
    with start_registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="session")
def read_only_registry(registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """The content of ``registry``, read only."""
    folder = tmp_path_factory.mktemp("read-only")
    registry.storage.mkdir(parents=True, exist_ok=True)
    with start_registry(folder, storage=registry.storage, read_only=True) as started:
        yield started


@pytest.fixture(scope="session")
def undeletable_registry(
    registry: DockerRegistry, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerRegistry]:
    """The content of ``registry``, with deletion switched off, as most registries have it."""
    folder = tmp_path_factory.mktemp("undeletable")
    with start_registry(folder, storage=registry.storage, delete=False) as started:
        yield started


@pytest.fixture(scope="session")
def basic_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that asks for ``USER`` and ``PASSWORD`` at every request."""
    with start_registry(tmp_path_factory.mktemp("basic"), basic=True) as started:
        yield started


@pytest.fixture(scope="session")
def running_token_server(authority: Authority) -> Iterator[TokenServer]:
    """The token server of ``token_registry``."""
    with start_token_server(authority, {USER: PASSWORD}) as started:
        yield started


@pytest.fixture(scope="session")
def running_token_registry(
    running_token_server: TokenServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[DockerRegistry]:
    """The registry behind ``token_registry``."""
    with start_registry(tmp_path_factory.mktemp("token"), tokens=running_token_server) as started:
        yield started


@pytest.fixture
def token_server(running_token_server: TokenServer) -> Iterator[TokenServer]:
    """The token server of ``token_registry``, whose behaviour is as usual again after the test."""
    usual = {"takes_post": True, "lifetime": 300, "gives_identity_tokens": True}
    running_token_server.asked.clear()
    yield running_token_server
    running_token_server.readers.clear()
    for name, value in usual.items():
        setattr(running_token_server, name, value)


@pytest.fixture
def token_registry(running_token_registry: DockerRegistry, token_server: TokenServer) -> DockerRegistry:
    """A registry with a token server: ``USER`` may do everything, anybody may pull what is below ``public/``."""
    return running_token_registry


@pytest.fixture(scope="session")
def tls_registry(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """A registry that speaks TLS, with a certificate of ``authority`` for 127.0.0.1 and localhost."""
    with start_registry(tmp_path_factory.mktemp("tls"), authority=authority) as started:
        yield started


@pytest.fixture(scope="session")
def mutual_tls_registry(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DockerRegistry]:
    """The same, which wants to see a certificate of ``authority`` too."""
    folder = tmp_path_factory.mktemp("mutual-tls")
    with start_registry(folder, authority=authority, client_certificates=True) as started:
        yield started


@pytest.fixture
def repository_name(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The name of a repository that no other test uses."""
    letters = "".join(c if c.isalnum() else "-" for c in tmp_path.name.lower())
    return f"tests/{'-'.join(part for part in letters.split('-') if part)}"
