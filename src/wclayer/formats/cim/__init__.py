"""CIM images: the composite image format of Windows that hcsshim and containerd mount layers from."""

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
