"""What lies on disks: partition tables, NTFS volumes, and the disks that Windows keeps beside layers."""

from wclayer.formats.disk.partitions import Partition, find_partitions, ntfs_partition
from wclayer.formats.disk.scratch import create_blank, create_blank_base, create_sandbox, expand_sandbox
from wclayer.formats.disk.window import Window

__all__ = [
    "Partition",
    "Window",
    "create_blank",
    "create_blank_base",
    "create_sandbox",
    "expand_sandbox",
    "find_partitions",
    "ntfs_partition",
]
