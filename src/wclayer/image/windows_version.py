r"""Which Windows an image is: what its registry says, what its configuration says, and where the two disagree.

The registry is the truth about what runs; the configuration is what hosts go by when they choose an image. A build that
was patched without telling the configuration, or the other way round, is a finding.

Source of the names: ``HKLM\SOFTWARE\Microsoft\Windows NT\CurrentVersion`` as Windows documents it for detecting
versions; ``UBR`` is the revision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wclayer.oci.platforms import RELEASES, version_numbers
from wclayer.regf import LayeredKey

if TYPE_CHECKING:
    from wclayer.image.registry import ImageRegistry

__all__ = ["CURRENT_VERSION", "WindowsVersion", "windows_version"]

CURRENT_VERSION = "HKLM/SOFTWARE/Microsoft/Windows NT/CurrentVersion"
_ENVIRONMENT = "HKLM/SYSTEM/{control}/Control/Session Manager/Environment"
_ARCHITECTURES = {"amd64": "amd64", "arm64": "arm64", "x86": "386", "arm": "arm"}


@dataclass(frozen=True, slots=True)
class WindowsVersion:
    """The answer. Texts are None and numbers are None where nothing says them.

    ``version`` is the whole of it, ``10.0.20348.2322``; ``release`` the name that goes with the build (``ltsc2022``).
    ``layer`` is the number of the layer that set the revision. ``config_version`` and ``config_architecture`` are what
    the configuration says. ``disagreements`` are sentences, and so are ``not_assessed``.
    """

    product: str | None
    edition: str | None
    installation_type: str | None
    display_version: str | None
    version: str | None
    build: int | None
    revision: int | None
    release: str | None
    architecture: str | None
    layer: int | None
    config_version: str | None
    config_architecture: str | None
    disagreements: tuple[str, ...] = ()
    not_assessed: tuple[str, ...] = ()

    @property
    def is_assessed(self) -> bool:
        """Whether the registry says which build this is."""
        return self.build is not None


def windows_version(registry: ImageRegistry, config: Mapping[str, Any] | None) -> WindowsVersion:
    """What ``registry`` and ``config``, the parsed configuration, say. Raises what reading hives raises."""
    key = registry.key(CURRENT_VERSION)
    facts = _Facts(key)
    build = facts.integer("CurrentBuildNumber", "CurrentBuild")
    revision = facts.number("UBR")
    major, minor = facts.number("CurrentMajorVersionNumber"), facts.number("CurrentMinorVersionNumber")
    if major is None:
        old = version_numbers(facts.text("CurrentVersion") or "")  # Windows before 10 says it nowhere else
        major, minor = old if len(old) == 2 else (None, None)
    version = None
    if build is not None and major is not None:
        version = f"{major}.{minor or 0}.{build}" + (f".{revision}" if revision is not None else "")
    architecture = _architecture(registry)
    setter = facts.layer("UBR", "CurrentBuildNumber", "CurrentBuild")
    said_version = _text(config, "os.version")
    said_architecture = _text(config, "architecture")
    missing = []
    if key is None:
        missing.append("the registry has no SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion, so the OS is not assessed")
    elif build is None:
        missing.append("the registry names no build of Windows, so the OS is not assessed")
    elif revision is None:
        missing.append("the registry has no UBR, so the revision is not known")
    if config is None:
        missing.append("there is no configuration to compare with")
    elif said_version is None:
        missing.append("the configuration has no os.version to compare with")
    return WindowsVersion(
        product=facts.text("ProductName"),
        edition=facts.text("EditionID"),
        installation_type=facts.text("InstallationType"),
        display_version=facts.text("DisplayVersion") or facts.text("ReleaseId"),
        version=version,
        build=build,
        revision=revision,
        release=_release(build),
        architecture=architecture,
        layer=registry.files("SOFTWARE")[setter].layer if setter is not None else None,
        config_version=said_version,
        config_architecture=said_architecture,
        disagreements=tuple(_disagreements(facts, version, architecture, said_version, said_architecture, config)),
        not_assessed=tuple(missing),
    )


def _disagreements(
    facts: _Facts,
    version: str | None,
    architecture: str | None,
    said_version: str | None,
    said_architecture: str | None,
    config: Mapping[str, Any] | None,
) -> list[str]:
    found = []
    if version and said_version and not _agree(version, said_version):
        found.append(f"the registry says {version}, the configuration says os.version {said_version}")
    if architecture and said_architecture and architecture != said_architecture:
        found.append(f"the registry is that of {architecture}, the configuration says {said_architecture}")
    said_os = _text(config, "os")
    if version and said_os and said_os.lower() != "windows":
        found.append(f"the registry is that of Windows, the configuration says os {said_os}")
    current, number = facts.integer("CurrentBuild"), facts.integer("CurrentBuildNumber")
    if current is not None and number is not None and current != number:
        found.append(f"the registry says CurrentBuild {current} and CurrentBuildNumber {number}")
    return found


def _agree(version: str, said: str) -> bool:
    """Whether two versions say the same as far as both go."""
    return all(one == other for one, other in zip(version_numbers(version), version_numbers(said), strict=False)) and (
        bool(version_numbers(said))
    )


def _release(build: int | None) -> str | None:
    names = [name for name, number in RELEASES.items() if number == build]
    return next((name for name in names if name.startswith("ltsc")), names[0] if names else None)


def _architecture(registry: ImageRegistry) -> str | None:
    select = registry.key("HKLM/SYSTEM/Select")
    number = _Facts(select).number("Current") or 1
    control = f"ControlSet{number:03d}" if number < 1000 else "ControlSet001"
    said = _Facts(registry.key(_ENVIRONMENT.format(control=control))).text("PROCESSOR_ARCHITECTURE")
    return _ARCHITECTURES.get(said.lower(), said.lower()) if said else None


def _text(config: Mapping[str, Any] | None, name: str) -> str | None:
    value = (config or {}).get(name)
    return value if isinstance(value, str) and value else None


class _Facts:
    """The values of a key, which may not be there."""

    def __init__(self, key: LayeredKey | None) -> None:
        self._key = key

    def text(self, name: str) -> str | None:
        value = self._decoded(name)
        return value if isinstance(value, str) and value else None

    def number(self, name: str) -> int | None:
        value = self._decoded(name)
        return value if isinstance(value, int) else None

    def integer(self, *names: str) -> int | None:
        """The first of the texts that is a number."""
        for name in names:
            text = self.text(name)
            if text and text.isascii() and text.isdigit() and len(text) < 10:
                return int(text)
        return None

    def layer(self, *names: str) -> int | None:
        """Which hive of the stack set the first of the values that is there."""
        for name in names:
            found = self._key.value(name) if self._key is not None else None
            if found is not None:
                return found.layer
        return None

    def _decoded(self, name: str) -> object:
        found = self._key.value(name) if self._key is not None else None
        return found.value.decoded() if found is not None else None
