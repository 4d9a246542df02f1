"""All that is known of the Windows in an image, as one value: version, updates, software, age, and what is missing."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from wclayer.image.inspecting import inspect
from wclayer.image.os_age import Age, age_of
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.registry import ImageRegistry
from wclayer.image.registry.hives_of_view import ViewHives
from wclayer.image.software import (
    DotNet,
    InternetInformationServices,
    Software,
    dotnet,
    iis,
    installed_software,
    server_features,
)
from wclayer.image.updates import Update, installed_updates
from wclayer.image.windows_version import WindowsVersion, windows_version
from wclayer.ntfs.filetime import from_unix

if TYPE_CHECKING:
    from wclayer.oci import Limits
    from wclayer.oci.network import Network

__all__ = ["OsReport", "os_report", "report_of"]


@dataclass(frozen=True, slots=True)
class OsReport:
    """The answer for one image. ``notes`` say what could not be read."""

    reference: str
    version: WindowsVersion
    updates: tuple[Update, ...]
    software: tuple[Software, ...]
    dotnet: tuple[DotNet, ...]
    iis: InternetInformationServices | None
    features: tuple[tuple[str, int], ...]
    age: Age
    notes: tuple[str, ...] = ()

    @property
    def not_assessed(self) -> tuple[str, ...]:
        """What could not be found out, as sentences; the notes among them."""
        missing = list(self.version.not_assessed)
        if self.version.is_assessed and not self.updates:
            missing.append("the registry lists no updates")
        return (*missing, *self.notes)

    def to_json(self) -> dict[str, Any]:
        """The values as JSON has them."""
        version = asdict(self.version)
        disagreements = list(version.pop("disagreements"))
        version.pop("not_assessed")
        return {
            "reference": self.reference,
            "assessed": self.version.is_assessed,
            **version,
            "disagreements": disagreements,
            "not_assessed": list(self.not_assessed),
            "updates": [
                {
                    **asdict(update),
                    "name": update.name,
                    "installed": update.installed_text,
                    "installed_filetime": update.installed,
                }
                for update in self.updates
            ],
            "software": [asdict(software) for software in self.software],
            "dotnet": [asdict(one) for one in self.dotnet],
            "iis": {**asdict(self.iis), "components": list(self.iis.components)} if self.iis else None,
            "features": [{"name": name, "layer": layer} for name, layer in self.features],
            "age": asdict(self.age),
        }


def os_report(
    place: str,
    *,
    platform: str | None = None,
    network: Network | None = None,
    limits: Limits | None = None,
    progress: Progress = NO_PROGRESS,
    now: int | None = None,
) -> OsReport:
    """Look at the registry of ``place``; ``now`` is in FILETIME ticks, None is the clock.

    ``place`` is what :meth:`wclayer.image.registry.effective.ImageRegistry.open` takes; what is no image has no
    configuration to compare with.

    Raises what opening the image and reading its hives raise.
    """
    with ImageRegistry.open(place, platform=platform, network=network, limits=limits, progress=progress) as registry:
        is_image = isinstance(registry.source, ViewHives)
        config = inspect(place, platform=platform, network=network)["config"] if is_image else None
        return report_of(registry, config, reference=place, now=now)


def report_of(
    registry: ImageRegistry, config: dict[str, Any] | None, *, reference: str, now: int | None = None
) -> OsReport:
    """The same of what is open already."""
    version = windows_version(registry, config)
    updates = installed_updates(registry)
    return OsReport(
        reference=reference,
        version=version,
        updates=tuple(updates),
        software=tuple(installed_software(registry)),
        dotnet=tuple(dotnet(registry)),
        iis=iis(registry),
        features=tuple(server_features(registry)),
        age=age_of(version, updates, from_unix(int(time.time())) if now is None else now),
        notes=tuple(registry.notes),
    )
