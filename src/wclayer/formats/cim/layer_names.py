r"""The names of a layer that is kept as a CIM, and which of its files are kept beside the image, too.

A layer has two places: the image with its regions, and a folder. While a layer is imported a few files go to the folder
first: the hives, which are worked on before they go into the image, and which the layers above are merged with; and the
boot files of a utility VM. hcsshim calls them standard files. Hives are known whatever their case, the files of the
utility VM only as written.

Source: hcsshim ``internal/wclayer/cim/common.go`` and ``internal/wclayer/wclayer.go``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

from wclayer.ntfs.names import fold

__all__ = [
    "CIM_LAYERS",
    "CONFIG",
    "HIVES",
    "HIVES_FOLDER",
    "LAYOUT",
    "LAYOUT_MARKER",
    "UTILITY_VM",
    "CimLayer",
    "HiveNames",
    "cim_of_folder",
    "is_std_file",
    "layer_in",
    "windows_path",
]

CIM_LAYERS: Final = "cim-layers"
"""The folder of the images, beside the folders of the layers."""

HIVES_FOLDER: Final = "Hives"
CONFIG: Final = "Files/Windows/System32/config"
UTILITY_VM: Final = "UtilityVM"
LAYOUT: Final = "layout"
LAYOUT_MARKER: Final = b"vhd-with-hives\n"


class HiveNames(NamedTuple):
    """A hive: its file in the configuration folder, and its two forms in ``Hives``."""

    name: str
    base: str
    delta: str

    @property
    def config_path(self) -> str:
        """Where the hive of a base layer is."""
        return f"{CONFIG}/{self.name}"

    @property
    def base_path(self) -> str:
        """Where the whole hive of a layer is: its own with those of all layers below."""
        return f"{HIVES_FOLDER}/{self.base}"

    @property
    def delta_path(self) -> str:
        """Where an upper layer says what it changes."""
        return f"{HIVES_FOLDER}/{self.delta}"


#: The hives in the order in which layers are processed.
HIVES: Final = (
    HiveNames("SYSTEM", "SYSTEM_BASE", "SYSTEM_DELTA"),
    HiveNames("SOFTWARE", "SOFTWARE_BASE", "SOFTWARE_DELTA"),
    HiveNames("SAM", "SAM_BASE", "SAM_DELTA"),
    HiveNames("SECURITY", "SECURITY_BASE", "SECURITY_DELTA"),
    HiveNames("DEFAULT", "DEFAULTUSER_BASE", "DEFAULTUSER_DELTA"),
)

_STD_HIVES = frozenset(fold(path) for hive in HIVES for path in (hive.delta_path, hive.config_path))
_STD_FILES = frozenset(
    f"UtilityVM/Files/{path}"
    for path in (
        "Windows/System32/config/SYSTEM",
        "Windows/System32/config/SOFTWARE",
        "EFI/Microsoft/Boot/BCD",
        "EFI/Microsoft/Boot/bootmgfw.efi",
    )
)
_TOPS = ("f", "F", "h", "H", "U")


def is_std_file(path: str) -> bool:
    """Whether the file ``path`` of a layer is kept beside the image until the end of an import."""
    return path.startswith(_TOPS) and (path in _STD_FILES or fold(path) in _STD_HIVES)


class CimLayer(NamedTuple):
    """A layer that is kept as a CIM: the image, and the folder of what is kept beside it."""

    cim: Path
    folder: Path


def layer_in(root: Path, name: str) -> CimLayer:
    """The layer called ``name`` in a store at ``root``, as hcsshim and containerd lay it out."""
    return CimLayer(root / CIM_LAYERS / f"{name}.cim", root / name)


def windows_path(path: str) -> str:
    """``path`` as hcsshim spells it in its errors."""
    return path.replace("/", "\\")


def cim_of_folder(folder: Path) -> Path:
    """The image of the layer whose folder is ``folder``."""
    return layer_in(folder.parent, folder.name).cim
