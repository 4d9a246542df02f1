"""Which files of a layer are registry hives, and of which hive they are a part.

A base layer has its hives where Windows has them, in ``System32/config``, and after it was processed also as
``Hives/*_Base``; a layer above has ``Hives/*_Delta``. Names are matched without regard to case, for ``Software_Delta``
is also written ``SOFTWARE_DELTA``, and the delta of DEFAULT is called ``DefaultUser_Delta``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol

from wclayer.errors import FormatError
from wclayer.ntfs.names import fold

if TYPE_CHECKING:
    from wclayer.regf.reader import Buffer

__all__ = ["CONFIG_FOLDER", "DELTA_NAMES", "HiveFile", "HiveSource", "hive_paths", "hive_stack", "named_hive"]

#: Where Windows keeps its hives, as a layer path.
CONFIG_FOLDER: Final = "Files/Windows/System32/config"
#: How Windows spells the delta hives.
DELTA_NAMES: Final = {
    "SAM": "Sam_Delta",
    "SECURITY": "Security_Delta",
    "SOFTWARE": "Software_Delta",
    "SYSTEM": "System_Delta",
    "DEFAULT": "DefaultUser_Delta",
}


@dataclass(frozen=True, slots=True)
class HiveFile:
    """A file that holds a hive, or a part of one.

    ``layer`` counts from 0, the base; ``label`` names the layer to people. ``path`` is as the layer spells it.
    """

    hive: str
    role: Literal["base", "delta"]
    layer: int
    label: str
    path: str

    @property
    def what(self) -> str:
        """The file in an error."""
        return f"the hive {self.path} of layer {self.layer}"


class HiveSource(Protocol):
    """A place that holds hive files."""

    #: What the user called the place.
    reference: str
    #: The only hive there is, when the place is a hive file.
    alone: str | None
    #: Names of the layers, base first.
    labels: tuple[str, ...]
    #: What is good to know.
    notes: tuple[str, ...]

    def candidates(self, hive: str) -> Sequence[HiveFile]:
        """All files that are called like a part of ``hive``, layers base first."""

    def load(self, files: Sequence[HiveFile]) -> Sequence[Buffer]:
        """What is in these files, in their order; it stays readable until :meth:`close`."""

    def logs(self, file: HiveFile) -> Sequence[bytes]:
        """The transaction logs that lie beside a hive, the first before the second."""

    def close(self) -> None:
        """Let go of everything. Harmless when called twice."""


def hive_paths(hive: str) -> tuple[tuple[str, Literal["base", "delta"]], ...]:
    """Where a layer may have a part of ``hive``, as ``(layer path, role)``; what counts most comes first."""
    delta = DELTA_NAMES[hive]
    return (
        (f"Hives/{delta}", "delta"),
        (f"Hives/{delta.removesuffix('_Delta')}_Base", "base"),
        (f"{CONFIG_FOLDER}/{hive}", "base"),
    )


def hive_stack(candidates: Sequence[HiveFile]) -> tuple[list[HiveFile], list[str]]:
    """The files that make up a hive, base first, and notes about those that do not count.

    The lowest hive that is no delta is the base, and deltas count above it. What a layer above has in ``config`` is no
    part of the registry of a container, for Windows makes that of the base and the deltas.
    """
    by_layer: dict[int, list[HiveFile]] = {}
    for file in candidates:
        by_layer.setdefault(file.layer, []).append(file)
    lowest = min((layer for layer, files in by_layer.items() if any(file.role == "base" for file in files)), default=-1)
    stack: list[HiveFile] = []
    for layer, files in sorted(by_layer.items()):
        role = "base" if layer == lowest else "delta"
        if layer >= lowest:
            stack += [file for file in files if file.role == role][:1]
    notes = [
        f"layer {file.layer} has a whole hive {file.path}, which containers do not use"
        for file in candidates
        if lowest < file.layer and lowest >= 0 and file.role == "base" and fold(file.path).startswith("FILES/")
    ]
    return stack, notes


def named_hive(path: Path) -> tuple[str, Literal["base", "delta"]] | None:
    """Of which hive a file of that name is a part; None when the name says nothing."""
    name = fold(path.name)
    for hive in DELTA_NAMES:
        for candidate, role in hive_paths(hive):
            if name == fold(candidate.rpartition("/")[2]):
                return hive, role
        if name.partition("_")[0] == hive and name.endswith(("_DELTA", "_BASE")):
            return hive, "delta" if name.endswith("_DELTA") else "base"
    return None


def require_size(size: int, file: HiveFile) -> int:
    """``size``, in bytes, unless no hive is so large; FormatError."""
    if size > 1 << 31:
        raise FormatError(f"{file.what} has {size} bytes, and no hive has more than 2 GiB", kind="hive", path=file.path)
    return size
