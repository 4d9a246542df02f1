"""What is local costs nothing of the network: its code is loaded when a registry is asked, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

NETWORK = {"urllib3", "ssl", "http.client", "socket", "wclayer.oci.registry.http"}


@pytest.mark.parametrize(
    "code",
    [
        "import wclayer.oci.registry",
        "from wclayer.oci.registry import RegistryName, RegistrySettings, Secret, parse_registry_name",
        "import wclayer.oci, wclayer.oci.registry.names, wclayer.oci.registry.settings, wclayer.oci.registry.secrets",
        "import wclayer.cli.verbs, wclayer.cli.login, wclayer.cli.logout, wclayer.cli.tags, wclayer.image.tags",
    ],
)
def test_the_network_is_loaded_when_it_is_needed(code: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert not NETWORK & set(ended.stdout.split())


def test_every_name_of_the_package_is_there() -> None:
    import wclayer.oci.registry as package

    for name in package.__all__:
        assert getattr(package, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        package.nothing  # noqa: B018
