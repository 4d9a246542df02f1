"""Where other tools choose another image, each as a test: their rule, what it takes, and what is taken here.

The rules are those that their sources show; skopeo is asked itself.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.oci.samples import layer_tar, write_image
from tests.peers import require
from wclayer.errors import NotFoundError
from wclayer.oci import LayoutWriter, Platform, open_image
from wclayer.oci.descriptors import Descriptor
from wclayer.oci.digests import digest_of
from wclayer.oci.documents import encode_index
from wclayer.oci.mediatypes import OCI_MANIFEST
from wclayer.oci.platforms import host_accepts, parse_platform
from wclayer.oci.selection import Candidate, select


def ours(versions: Sequence[str], wanted: str) -> str | None:
    """The version that is chosen here, None when none is."""
    platforms = [Platform("windows", "amd64", os_version=version) for version in versions]
    found = [Candidate(Descriptor(OCI_MANIFEST, digest_of(repr(one).encode()), 1), one) for one in platforms]
    try:
        chosen = select(found, parse_platform(wanted)).chosen.platform
    except NotFoundError:
        return None
    return chosen.os_version if chosen else None


def moby(versions: Sequence[str], host: str) -> str | None:
    """The pull of the Docker engine with its own store: what is too new is dropped, the host's own build goes first."""
    build = int(host.split(".")[2])
    left = [version for version in versions if int(version.split(".")[2]) <= build]
    own = host.rpartition(".")[0] + "."
    return next(iter(sorted(left, key=lambda version: not version.startswith(own))), None)


def test_moby_takes_an_image_that_is_too_old_to_run() -> None:
    index = ["10.0.17763.6414", "10.0.20348.3091"]
    assert moby(index, "10.0.25398.1") == "10.0.17763.6414"
    assert not host_accepts("10.0.25398.1", "10.0.17763.6414")
    assert ours(index, "10.0.25398.1") == "10.0.20348.3091"
    assert moby(index[:1], "10.0.25398.1") == "10.0.17763.6414"
    assert ours(index[:1], "10.0.25398.1") is None


def test_moby_takes_the_first_of_its_build_and_not_the_newest() -> None:
    index = ["10.0.20348.999", "10.0.20348.3091"]
    assert moby(index, "10.0.20348.1") == "10.0.20348.999"
    assert ours(index, "10.0.20348.1") == "10.0.20348.3091"


def test_moby_with_the_containerd_store_takes_any_first_entry_when_no_version_is_said() -> None:
    index = ["10.0.14393.7428", "10.0.26100.2894"]
    first = next(version for version in index if host_accepts("", version))  # an explicit windows/amd64 has no version
    assert first == "10.0.14393.7428"
    assert ours(index, "windows/amd64") == "10.0.26100.2894"


def containerd(versions: Sequence[str], host: str) -> str | None:
    """containerd on Windows: the right images, sorted by their version as text, descending."""
    return max((version for version in versions if host_accepts(host, version)), default=None)


def test_containerd_sorts_revisions_as_text() -> None:
    index = ["10.0.20348.999", "10.0.20348.3091"]
    assert containerd(index, "10.0.20348") == "10.0.20348.999"
    assert ours(index, "10.0.20348") == "10.0.20348.3091"


@pytest.mark.parametrize("host", ["10.0.20348.1", "10.0.25398.1", "10.0.26100.1", "10.0.26200.1"])
def test_containerd_agrees_where_revisions_have_the_same_width(host: str) -> None:
    index = [f"10.0.{build}.{revision}" for build in (17763, 20348, 25398, 26100) for revision in (1001, 3091, 2113)]
    assert ours(index, host) == containerd(index, host)


def ggcr(versions: Sequence[str], wanted: str) -> str | None:
    """go-containerregistry, and crane: the version equal to the letter."""
    return next((version for version in versions if version == wanted), None)


def test_crane_has_to_be_told_the_whole_revision() -> None:
    index = ["10.0.17763.6414", "10.0.20348.3091"]
    assert ggcr(index, "10.0.20348") is None
    assert ours(index, "windows/amd64:10.0.20348") == "10.0.20348.3091"
    assert ggcr(index, "10.0.20348.3091") == ours(index, "windows/amd64:10.0.20348.3091") == "10.0.20348.3091"


def regclient(versions: Sequence[str], host: str) -> str | None:
    """regctl: the host's own build only, the newest revision by number."""
    own = [version.split(".") for version in versions if version.split(".")[:3] == host.split(".")[:3]]
    newest = max(own, key=lambda parts: int(parts[3]), default=None)
    return ".".join(newest) if newest else None


def test_regctl_knows_no_ranges_of_builds() -> None:
    index = ["10.0.20348.999", "10.0.20348.3091"]
    assert regclient(index, "10.0.26100.1") is None
    assert ours(index, "10.0.26100.1") == "10.0.20348.3091"
    assert regclient(index, "10.0.20348.1") == ours(index, "10.0.20348.1") == "10.0.20348.3091"


def ko(versions: Sequence[str], wanted: str) -> list[str]:
    """ko: ``X.Y.Z`` also matches ``X.Y.Z.*``."""
    return [one for one in versions if one == wanted or (wanted.count(".") == 2 and one.rpartition(".")[0] == wanted)]


def test_ko_matches_builds_and_no_ranges() -> None:
    index = ["10.0.17763.1234", "10.0.20348.3091"]
    assert ko(index, "10.0.17763") == ["10.0.17763.1234"]
    assert ours(index, "windows/amd64:10.0.17763") == "10.0.17763.1234"
    assert ko(index, "10.0.26100") == []
    assert ours(index, "windows/amd64:10.0.26100") == "10.0.20348.3091"


def zlayer(versions: Sequence[str], wanted: str) -> str:
    """ZLayer: equal text, else the beginning of a text, else the first."""
    equal = [version for version in versions if version == wanted]
    begins = [version for version in versions if version.startswith(wanted)]
    return [*equal, *begins, *versions][0]


def test_zlayer_takes_the_beginning_of_a_number_for_the_number() -> None:
    index = ["10.0.20348.3091", "10.0.2034.1"]
    assert zlayer(index, "10.0.2034") == "10.0.20348.3091"
    assert ours(index, "windows/amd64:10.0.2034") == "10.0.2034.1"
    assert zlayer(index, "10.0.2") == "10.0.20348.3091"
    assert ours(index[:1], "windows/amd64:10.0.2") is None


def test_zlayer_falls_back_to_the_first_image_of_any_version() -> None:
    index = ["10.0.14393.7428", "10.0.26100.2894"]
    assert zlayer(index, "10.0.20348") == "10.0.14393.7428"
    assert ours(index, "windows/amd64:10.0.20348") is None


@pytest.mark.parametrize("versions", [["10.0.17763.1", "10.0.26100.2894"], ["10.0.26100.2894", "10.0.17763.1"]])
def test_skopeo_takes_the_first_image_whatever_its_version(tmp_path: Path, versions: list[str]) -> None:
    layout = tmp_path / "layout"
    entries = []
    for version in versions:
        platform = Platform("windows", "amd64", os_version=version)
        entries.append(write_image(layout, [layer_tar(version)], platform=platform, entry_platform=platform))
    LayoutWriter(layout).put_manifest(encode_index(entries), name="all")
    command = [require("skopeo"), "--override-os", "windows", "--override-arch", "amd64", "inspect", "--config"]
    config = subprocess.run([*command, f"oci:{layout}:all"], check=True, capture_output=True, text=True).stdout
    assert json.loads(config)["os.version"] == versions[0]
    for wanted, version in (("ltsc2019", "10.0.17763.1"), ("ltsc2025", "10.0.26100.2894"), (None, "10.0.26100.2894")):
        with open_image(f"oci:{layout}:all", wanted) as image:
            assert image.platform is not None
            assert image.platform.os_version == version
