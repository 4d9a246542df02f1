"""The OCI Windows layer tar, read and written as a stream."""

from wclayer.formats.tar.members import HeaderRecorder, Member, Members
from wclayer.formats.tar.reader import Policy, TarLayerReader
from wclayer.formats.tar.slabs import SlabStream, slabs_of
from wclayer.formats.tar.writer import TarLayerWriter

__all__ = [
    "HeaderRecorder",
    "Member",
    "Members",
    "Policy",
    "SlabStream",
    "TarLayerReader",
    "TarLayerWriter",
    "slabs_of",
]
