"""What the tests of registries share: nobody's credentials, and no proxies, whatever machine they run on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.registries.content import SETTINGS
from wclayer.oci.registry import RegistryClient

_VARIABLES = (
    "REGISTRY_AUTH_FILE",
    "DOCKER_AUTH_CONFIG",
    "DOCKER_CONFIG",
    "XDG_RUNTIME_DIR",
    *(name for low in ("http_proxy", "https_proxy", "all_proxy", "no_proxy") for name in (low, low.upper())),
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home of somebody who has logged in nowhere."""
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / ".config"))
    return folder


@pytest.fixture
def client() -> Iterator[RegistryClient]:
    """A client with the settings that most have, which does not wait between attempts."""
    with RegistryClient(SETTINGS) as made:
        yield made
