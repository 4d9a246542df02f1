"""A bill of materials of an image, from its reference to the finished text.

The same image by the same name gives the same bytes: nothing in the bill depends on the clock, on the machine, or on
the order in which files come.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from wclayer._version import __version__
from wclayer.errors import UnsupportedError
from wclayer.image.inspecting import inspect
from wclayer.image.progress import NO_PROGRESS, Progress
from wclayer.image.registry import ImageRegistry
from wclayer.image.registry.hives_of_view import ViewHives
from wclayer.image.sbom.collecting import Collector
from wclayer.image.sbom.inventory import Inventory, Kind, Subject
from wclayer.image.target import open_view
from wclayer.image.whole import new_file
from wclayer.writing import write_whole

if TYPE_CHECKING:
    from wclayer.oci import Limits
    from wclayer.oci.network import Network

__all__ = ["FORMATS", "Bill", "SbomFormat", "require_library", "sbom", "write_bill"]

SbomFormat = Literal["cyclonedx-json", "spdx-json"]
FORMATS: Final[tuple[SbomFormat, ...]] = ("cyclonedx-json", "spdx-json")
_LATEST: Final = 253_402_300_799  # the end of 9999
_FRACTION = re.compile(r"(\.\d{6})\d+")


@dataclass(frozen=True, slots=True)
class Bill:
    """What was found. ``counts`` are by kind; ``programs`` counts programs with and without a version.

    ``is_assessed`` says whether the registry named a build of Windows.
    """

    subject: Subject
    counts: dict[Kind, int]
    programs: int
    is_assessed: bool
    inventory: Inventory

    def pieces(self, form: SbomFormat) -> Iterator[str]:
        """The text of the bill, in pieces. UnsupportedError where the library of the format is not installed."""
        require_library(form)
        if form == "spdx-json":
            from wclayer.image.sbom.spdx import spdx_pieces

            return spdx_pieces(self.subject, self.inventory)
        from wclayer.image.sbom.cyclonedx import cyclonedx_pieces

        return cyclonedx_pieces(self.subject, self.inventory)


def require_library(form: SbomFormat) -> None:
    """UnsupportedError when what writes ``form`` is not installed."""
    try:
        if form == "spdx-json":
            import spdx_tools.spdx.model  # noqa: F401
        else:
            import cyclonedx.model.bom  # noqa: F401
    except ImportError as error:
        raise UnsupportedError(
            f"{form} needs a library that is not installed: {error.name}", hint="pip install 'wclayer[sbom]'"
        ) from None


def write_bill(bill: Bill, form: SbomFormat, path: Path) -> None:
    """Write the bill to the file ``path``, whole or not at all. StoreError, and what :meth:`Bill.pieces` raises."""
    with new_file(path) as file:
        for piece in bill.pieces(form):
            write_whole(file.write, piece.encode())


@contextmanager
def sbom(
    place: str,
    *,
    platform: str | None = None,
    network: Network | None = None,
    limits: Limits | None = None,
    progress: Progress = NO_PROGRESS,
) -> Iterator[Bill]:
    """Look at the image, unpacked image or layer folder ``place``; the bill can be written inside of the block.

    Raises what opening the image, and reading its layers and hives, raise.
    """
    document = inspect(place, platform=platform, network=network)
    with (
        open_view(place, platform=platform, limits=limits, network=network, progress=progress) as view,
        Inventory() as inventory,
    ):
        collector = Collector(inventory)
        registry = ImageRegistry(ViewHives(view))
        version = collector.registry(registry, document["config"])
        collector.files(view)
        subject = Subject(
            reference=place,
            digest=document["digest"],
            layers=tuple(layer["diff_id"] for layer in document["layers"]),
            created=_created(document["config"]),
            tool_version=__version__,
            notes=collector.notes,
        )
        yield Bill(subject, dict(inventory.counts), collector.programs, version.is_assessed, inventory)


def _created(config: dict[str, Any] | None) -> int:
    """``SOURCE_DATE_EPOCH``, else when the configuration says the image was made, else 0."""
    said = os.environ.get("SOURCE_DATE_EPOCH", "")
    if said.isascii() and said.isdigit():
        return min(int(said[:20]), _LATEST)
    text = (config or {}).get("created")
    try:
        made = datetime.fromisoformat(_FRACTION.sub(r"\1", text)) if isinstance(text, str) else None
    except ValueError:
        made = None
    if made is None or made.tzinfo is None:
        return 0
    return max(0, int(made.timestamp()))
