"""CIM images: the composite image format of Windows that hcsshim and containerd mount layers from.

The names are loaded when they are first used: most of what converts a layer never meets a CIM image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wclayer._lazy import lazy_names

if TYPE_CHECKING:
    from wclayer.formats.cim.dump import dump
    from wclayer.formats.cim.file import CimFile
    from wclayer.formats.cim.files import cim_usage, destroy_cim, forks_of, sweep_cims
    from wclayer.formats.cim.findings import Finding
    from wclayer.formats.cim.layer_names import CimLayer, layer_in
    from wclayer.formats.cim.layer_reader import CimLayerReader
    from wclayer.formats.cim.layer_writer import CimLayerWriter
    from wclayer.formats.cim.merging import flatten, merge_cims
    from wclayer.formats.cim.profiles import LTSC2022, LTSC2025, Profile, profile_for_build
    from wclayer.formats.cim.reader import CimImage, read_header
    from wclayer.formats.cim.streams import CimStream
    from wclayer.formats.cim.verify import verify_cim
    from wclayer.formats.cim.writer import CimSink, CimWriter, CimWritten

__all__ = [
    "LTSC2022",
    "LTSC2025",
    "CimFile",
    "CimImage",
    "CimLayer",
    "CimLayerReader",
    "CimLayerWriter",
    "CimSink",
    "CimStream",
    "CimWriter",
    "CimWritten",
    "Finding",
    "Profile",
    "cim_usage",
    "destroy_cim",
    "dump",
    "flatten",
    "forks_of",
    "layer_in",
    "merge_cims",
    "profile_for_build",
    "read_header",
    "sweep_cims",
    "verify_cim",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "wclayer.formats.cim.dump": ("dump",),
        "wclayer.formats.cim.file": ("CimFile",),
        "wclayer.formats.cim.files": ("cim_usage", "destroy_cim", "forks_of", "sweep_cims"),
        "wclayer.formats.cim.findings": ("Finding",),
        "wclayer.formats.cim.layer_names": ("CimLayer", "layer_in"),
        "wclayer.formats.cim.layer_reader": ("CimLayerReader",),
        "wclayer.formats.cim.layer_writer": ("CimLayerWriter",),
        "wclayer.formats.cim.merging": ("flatten", "merge_cims"),
        "wclayer.formats.cim.profiles": ("LTSC2022", "LTSC2025", "Profile", "profile_for_build"),
        "wclayer.formats.cim.reader": ("CimImage", "read_header"),
        "wclayer.formats.cim.streams": ("CimStream",),
        "wclayer.formats.cim.verify": ("verify_cim",),
        "wclayer.formats.cim.writer": ("CimSink", "CimWriter", "CimWritten"),
    },
)
