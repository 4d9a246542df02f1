"""Copies do not look at the credentials, the proxies and the content store of whoever runs the tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.image.copying.places import Places
from tests.registries.docker_registry import DockerRegistry

OF_THE_USER = ("REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "SOURCE_DATE_EPOCH")


@pytest.fixture(autouse=True)
def nobodys_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home without anything, and no proxies."""
    home = tmp_path / "home"
    home.mkdir()
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(home))
    monkeypatch.setenv("WCLAYER_STORE", str(home / "store"))
    for name in OF_THE_USER:
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def places(tmp_path: Path, registry: DockerRegistry, repository_name: str) -> Places:
    """References of every kind, each time new ones."""
    return Places(tmp_path, registry.host, repository_name)
